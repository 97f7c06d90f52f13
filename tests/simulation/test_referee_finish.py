"""What the stores must hold when a story is over."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.adapters.memory.bookings import MemoryBookings
from coordinator.adapters.memory.catalog import MemoryCatalog
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.adapters.memory.projections import MemoryProjections
from coordinator.domain.erasure import rewritten_without
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.ledger import GENESIS, Commit, seal
from coordinator.domain.model import Registration, RegistrationStatus, TimeSlot
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    DINA,
    END,
    END_IT,
    LOBBY,
    OPEN,
    PASS,
    SESSION,
    SLOT,
    START,
    Story,
    erase,
    join,
    media,
    minutes,
    remove,
)
from tests.simulation.court import Case, caught
from tests.simulation.referee import Invariant

LATER = START + END + minutes(5)
OTHER_SLOT = SlotId("07e407e407e407e407e407e4")
OTHER_SESSION = SessionId("07e55105e55105e55105e551")
EARLY = START - timedelta(days=1)
REGISTERED, CANCELLED, ATTENDED, NOSHOW = RegistrationStatus


def a_slot(**fields: Any) -> TimeSlot:
    slot = TimeSlot(
        id=SLOT,
        target_language_code=OPEN.target_language_code,
        level=OPEN.level,
        start_time=START,
        duration_minutes=30,
        is_active=True,
        created_at=EARLY,
        updated_at=EARLY,
        session_id=SESSION,
    )
    return replace(slot, **fields)


class Stores:
    """The stores as they should be after a session of Anna and Ben that Cleo missed, and that Dina had cancelled."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.journal, self.projections = MemoryJournal(), MemoryProjections()
        self.bookings, self.catalog = MemoryBookings(), MemoryCatalog()
        self.slots = [a_slot()]
        self.booked: dict[UserId, RegistrationStatus] = {ANNA: ATTENDED, BEN: ATTENDED, CLEO: NOSHOW, DINA: CANCELLED}
        self.registered_at = EARLY
        self.snapshot = case.snapshot()
        self.commits = list(case.commits)

    async def fill(self) -> None:
        for slot in self.slots:
            await self.catalog.add_slot(slot)
        for number, (user, status) in enumerate(self.booked.items()):
            registration = Registration(
                id=f"{number:024x}",
                time_slot_id=self.slots[0].id,
                user_id=user,
                status=status,
                registered_at=self.registered_at,
                cancelled_at=EARLY if status is CANCELLED else None,
            )
            await self.bookings.add(registration)
        for commit in self.commits:
            await self.journal.append([commit])
        await self.projections.rebuild(self.snapshot.session, self.snapshot.participants)

    async def judge(self, now: datetime = LATER) -> None:
        await self.case.referee.finish(self.journal, self.projections, self.bookings, self.catalog, now)

    async def fill_and_judge(self, now: datetime = LATER) -> None:
        await self.fill()
        await self.judge(now)


@pytest.fixture
def stores() -> Stores:
    return Stores(told())


def told() -> Case:
    case = Case(Story()).given(join(ANNA), join(BEN), at=minutes(-5)).given(PASS, at=minutes(0))
    return case.given(media(ANNA, camera=True), remove(BEN, "rude"), at=minutes(1)).given(PASS, at=END)


async def test_stores_as_they_should_be_hold(stores: Stores) -> None:
    await stores.fill_and_judge()
    checked = stores.case.referee.checked
    of_stores = (Invariant.ACKS, Invariant.CHAIN, Invariant.DOCUMENTS, Invariant.ATTENDANCE, Invariant.ONE_SESSION)
    assert all(checked[invariant] > 0 for invariant in of_stores)
    assert checked[Invariant.REGISTERED] == 2


# The journal.


async def test_a_commit_that_has_gone_is_caught(stores: Stores) -> None:
    stores.commits.pop()
    with caught(Invariant.ACKS, "the journal ends with"):
        await stores.fill_and_judge()


async def test_a_journal_that_has_gone_is_caught(stores: Stores) -> None:
    stores.commits.clear()
    with caught(Invariant.ACKS, "ends with 0"):
        await stores.fill_and_judge()


async def test_a_commit_that_nobody_was_told_of_is_caught(stores: Stores) -> None:
    (event,) = Story().commits[0]
    stores.commits.append(seal(stores.commits[0].id, [replace(event, session_id=OTHER_SESSION)], GENESIS))
    with caught(Invariant.CHAIN, "never heard of"):
        await stores.fill_and_judge()


async def test_a_commit_in_place_of_another_is_caught(stores: Stores) -> None:
    last = stores.commits[-1]
    late = [replace(sealed.event, at=sealed.event.at + timedelta(seconds=1)) for sealed in last.events]
    stores.commits[-1] = seal(last.id, late, last.prev_hash, stores.case.state().aliases)
    with caught(Invariant.ACKS, "has changed"):
        await stores.fill_and_judge()


async def test_a_hash_that_proves_nothing_is_caught(stores: Stores) -> None:
    case = stores.case
    commit: Commit = case.commits[0]
    false = replace(commit, hash="f" * 64)
    referee = Case(Story(opened=False)).referee
    referee.committed(false, commit.at)
    stores.case.referee, stores.commits = referee, [false]
    with caught(Invariant.CHAIN, "the hash does not match"):
        await stores.fill_and_judge()


async def test_a_log_from_which_a_user_was_erased_holds(stores: Stores) -> None:
    case = told().given(erase(BEN), at=END + minutes(1))
    stores = Stores(case)
    stores.booked = {ANNA: ATTENDED, UserId("erased-" + "0" * 32): ATTENDED, CLEO: NOSHOW}
    await stores.fill()
    for commit in rewritten_without(stores.commits, BEN):
        assert await stores.journal.replace(commit)
    await stores.judge()


# Documents.


async def test_a_document_that_has_not_followed_is_caught(stores: Stores) -> None:
    stores.snapshot = stores.case.snapshot(len(stores.case.events) - 1)
    with caught(Invariant.DOCUMENTS, "its document at the end is"):
        await stores.fill_and_judge()


@pytest.mark.parametrize("kept", [[0], [0, 0]])
async def test_a_participant_without_the_right_document_is_caught(stores: Stores, kept: list[int]) -> None:
    anna, ben = stores.snapshot.participants
    found = [anna, replace(ben, mic_enabled=True)][: len(kept)]
    stores.snapshot = replace(stores.snapshot, participants=found)
    with caught(Invariant.DOCUMENTS, "the document of ben at the end"):
        await stores.fill_and_judge()


async def test_documents_without_a_journal_are_caught(stores: Stores) -> None:
    await stores.fill()
    await stores.projections.write([replace(stores.snapshot.session, id=OTHER_SESSION)], [])
    with caught(Invariant.DOCUMENTS, "no journal"):
        await stores.judge()


# Slots and their sessions.


@pytest.mark.parametrize(
    "slots",
    [[], [a_slot(session_id=None)], [a_slot(session_id=OTHER_SESSION)], [a_slot(id=OTHER_SLOT)]],
    ids=["no slot", "no claim", "another's claim", "another slot's"],
)
async def test_a_session_that_its_slot_does_not_name_is_caught(stores: Stores, slots: list[TimeSlot]) -> None:
    stores.slots = [*slots, a_slot(id=SlotId("f" * 24), session_id=None)]
    with caught(Invariant.ONE_SESSION, "is of slot"):
        await stores.fill_and_judge()


async def test_a_session_under_other_terms_than_its_slot_has_is_caught(stores: Stores) -> None:
    stores.slots = [a_slot(max_participants=7)]
    with caught(Invariant.ONE_SESSION, "goes by"):
        await stores.fill_and_judge()


@pytest.mark.parametrize("claim", [None, OTHER_SESSION])
async def test_a_booked_slot_whose_time_has_come_without_a_session_is_caught(claim: SessionId | None) -> None:
    stores = Stores(Case())
    stores.slots, stores.commits = [a_slot(session_id=claim)], []
    stores.booked = {ANNA: REGISTERED}
    await stores.fill()
    referee = Case(Story(opened=False)).referee
    stores.projections = MemoryProjections()
    stores.case.referee = referee
    await stores.judge(START + LOBBY)
    with caught(Invariant.ONE_SESSION, "never opened"):
        await stores.judge(START + LOBBY + minutes(1))


@pytest.mark.parametrize(
    ("slot", "status"),
    [
        (a_slot(session_id=None, is_active=False), REGISTERED),
        (a_slot(session_id=None), CANCELLED),
        (a_slot(session_id=None, start_time=LATER + minutes(11)), REGISTERED),
    ],
    ids=["withdrawn", "cancelled", "to come"],
)
async def test_a_slot_that_calls_for_no_session_holds(slot: TimeSlot, status: RegistrationStatus) -> None:
    stores = Stores(Case())
    stores.case.referee, stores.commits = Case(Story(opened=False)).referee, []
    stores.slots, stores.booked = [slot], {ANNA: status}
    await stores.fill()
    stores.projections = MemoryProjections()
    await stores.judge()


async def test_someone_who_joined_without_registering_is_caught(stores: Stores) -> None:
    del stores.booked[BEN]
    with caught(Invariant.REGISTERED, "ben joined"):
        await stores.fill_and_judge()


# Attendance.


@pytest.mark.parametrize(
    ("user", "status", "facts"),
    [
        (ANNA, NOSHOW, "anna is noshow, and was present"),
        (CLEO, ATTENDED, "cleo is attended, and was never present"),
        (BEN, REGISTERED, "ben is registered, long after"),
        (CLEO, REGISTERED, "cleo is registered, long after"),
    ],
)
async def test_attendance_that_is_wrong_or_missing_is_caught(
    stores: Stores, user: UserId, status: RegistrationStatus, facts: str
) -> None:
    stores.booked[user] = status
    with caught(Invariant.ATTENDANCE, facts):
        await stores.fill_and_judge()


async def test_someone_present_who_cancelled_stays_cancelled(stores: Stores) -> None:
    stores.booked[BEN] = CANCELLED
    await stores.fill_and_judge()


async def test_someone_who_had_cancelled_and_counts_as_absent_is_caught(stores: Stores) -> None:
    await stores.fill()
    dina = await stores.bookings.find(SLOT, DINA)
    assert dina is not None
    stores.bookings._registrations[SLOT, DINA] = replace(dina, status=NOSHOW)
    with caught(Invariant.ATTENDANCE, "had cancelled"):
        await stores.judge()


@pytest.mark.parametrize("status", [ATTENDED, NOSHOW])
async def test_attendance_before_the_end_is_caught(status: RegistrationStatus) -> None:
    stores = Stores(Case(Story()).given(join(ANNA)))
    stores.booked = {ANNA: status}
    with caught(Invariant.ATTENDANCE, "has not ended"):
        await stores.fill_and_judge()


@pytest.mark.parametrize(
    ("registered_at", "after", "holds"),
    [
        (EARLY, 33, True),
        (EARLY, 34, False),
        (START + minutes(1), 93, True),
        (START + minutes(1), 94, False),
    ],
)
async def test_what_follows_from_the_end_may_take_its_time(registered_at: datetime, after: int, holds: bool) -> None:
    ended = Case(Story()).given(END_IT, at=minutes(1))
    stores = Stores(ended)
    stores.booked, stores.registered_at = {CLEO: REGISTERED}, registered_at
    await stores.fill()
    now = ended.now + timedelta(seconds=after)
    judge: Callable[[datetime], Awaitable[None]] = stores.judge
    if holds:
        await judge(now)
    else:
        with caught(Invariant.ATTENDANCE, "long after"):
            await judge(now)
