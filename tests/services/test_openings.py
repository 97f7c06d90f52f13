"""Sessions open on time, for slots that someone booked, and exactly once however many nodes try."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from msgspec.structs import replace

from coordinator.domain.errors import NotFoundError, UnavailableError
from coordinator.domain.events import SessionOpened
from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import EndReason, RegistrationStatus, SessionStatus, TimeSlot
from coordinator.ports.catalog import Claim
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.background import every
from coordinator.services.openings import SessionRules
from tests.domain.story import ANNA, BEN, LOBBY, MOMENT, START, minutes, seconds
from tests.services.faults import Fate
from tests.services.harness import Node, World, soon

TICK_SECONDS = 1.0
SOON = timedelta(minutes=30)
"""A slot so far ahead that its lobby is still closed."""


async def opened(world: World, slot: SlotId) -> SessionId | None:
    """The slot's session, if it has been opened."""
    session = await world.session_of(slot)
    return session if session is not None and await world.journal.read(session) else None


def tick(node: Node) -> None:
    """Look at the slots every second, as a running coordinator does."""
    node.errands.start(every(node.clock, TICK_SECONDS, node.openings.open_due, "openings"), "openings")


async def test_a_session_opens_when_its_lobby_does(world: World, node: Node) -> None:
    slot = await world.slot([ANNA], start=START + SOON)
    await world.at(SOON + LOBBY - MOMENT)
    await soon(node.openings.open_due())
    assert await world.session_of(slot) is None
    await world.at(SOON + LOBBY)
    await soon(node.openings.open_due())
    session = await opened(world, slot)
    assert session is not None
    (event,) = await world.log(session)
    assert event.at == START + SOON + LOBBY


async def test_a_session_takes_its_slots_facts_and_the_rules_of_the_day(world: World) -> None:
    rules = SessionRules(lobby_minutes=5, no_show_minutes=7.5, empty_timeout_seconds=1.5, reconnect_grace_seconds=2)
    node = world.node("a0", rules=rules)
    slot = await world.slot([ANNA], duration_minutes=45, min_participants=3, max_participants=4)
    await world.at(-minutes(5) - MOMENT)
    await soon(node.openings.open_due())
    assert await opened(world, slot) is None
    await world.at(-minutes(5))
    await soon(node.openings.open_due())
    session = await opened(world, slot)
    assert session is not None
    (event,) = await world.log(session)
    found = await world.catalog.slot(slot)
    assert found is not None
    assert event.body == SessionOpened(
        time_slot_id=slot,
        target_language_code=found.target_language_code,
        level=found.level,
        scheduled_start=START,
        scheduled_end=START + minutes(45),
        no_show_at=START + minutes(7.5),
        min_participants=3,
        max_participants=4,
        empty_timeout_seconds=1.5,
        reconnect_grace_seconds=2,
    )


async def test_only_active_slots_with_a_registration_are_opened(world: World, node: Node) -> None:
    unbooked = await world.slot()
    inactive = await world.slot([ANNA], is_active=False)
    cancelled = await world.slot()
    await world.register(cancelled, ANNA, RegistrationStatus.CANCELLED)
    booked = await world.slot([ANNA])
    await soon(node.openings.open_due())
    assert [await opened(world, slot) is None for slot in (unbooked, inactive, cancelled, booked)] == [
        True,
        True,
        True,
        False,
    ]


async def test_a_late_registration_opens_within_two_seconds(world: World, node: Node) -> None:
    slot = await world.slot()
    tick(node)
    await world.at(-minutes(2))
    assert await opened(world, slot) is None
    await world.register(slot, ANNA)
    await world.clock.advance(2)
    assert await opened(world, slot) is not None


async def test_also_after_the_start_but_not_after_the_end(world: World, node: Node) -> None:
    running, over = await world.slot(), await world.slot(duration_minutes=15)
    await world.at(minutes(15))
    for slot in (running, over):
        await world.register(slot, ANNA)
    await soon(node.openings.open_due())
    assert await opened(world, running) is not None
    assert await opened(world, over) is None


async def test_past_slots_and_opened_ones_are_not_looked_at_again(world: World, node: Node) -> None:
    past = await world.slot([ANNA])
    await world.at(minutes(100))
    current = await world.slot([ANNA], start=world.clock.now())
    await soon(node.openings.open_due())
    assert world.catalog.asked == [(START + minutes(40), START + minutes(110))]
    assert await world.session_of(past) is None
    assert await opened(world, current) is not None
    asked = list(world.bookings.asked_booked)
    assert asked == [{current}]
    reads = node.line.reads
    for _ in range(3):
        await soon(node.openings.open_due())
    assert world.bookings.asked_booked == asked
    assert node.line.reads == reads


async def test_nodes_that_race_open_one_session_each_slot(world: World) -> None:
    nodes = [world.node(name) for name in ("a0", "b0", "c0")]
    slots = [await world.slot([ANNA, BEN]) for _ in range(5)]
    await soon(asyncio.gather(*(node.openings.open_due() for node in nodes)))
    sessions = [await opened(world, slot) for slot in slots]
    assert None not in sessions
    assert len(set(sessions)) == 5
    assert sorted([session async for session in world.journal.session_ids()]) == sorted(filter(None, sessions))
    for session in filter(None, sessions):
        assert await world.kinds(session) == ["session_opened"]
        assert {(await node.room(session)).seq for node in nodes} == {1}


async def test_a_race_of_two_writers_at_the_same_first_commit(world: World, node: Node) -> None:
    other = world.node("b0")
    slot = await world.slot([ANNA])
    node.line.hold()
    slow = asyncio.ensure_future(node.openings.open_due())
    await world.settle()
    assert node.line.held == 1
    await soon(other.openings.open_due())
    node.line.release()
    await soon(slow)
    session = await opened(world, slot)
    assert session is not None
    assert await world.kinds(session) == ["session_opened"]
    assert len(node.line.appends) == len(other.line.appends) == 1


@pytest.mark.parametrize("at_start", [True, False])
async def test_a_claim_whose_process_died_is_finished_by_another(world: World, node: Node, at_start: bool) -> None:
    slot = await world.slot([ANNA])
    node.line.hold()
    opening = asyncio.ensure_future(node.openings.open_due())
    await world.settle()
    claimed = await world.session_of(slot)
    assert claimed is not None
    await node.crash()
    opening.cancel()
    assert await opened(world, slot) is None

    other = world.node("b0")
    await soon(other.openings.open_missed() if at_start else other.openings.open_due())
    assert await opened(world, slot) == claimed
    assert await world.kinds(claimed) == ["session_opened"]


async def test_a_claim_is_finished_even_if_nobody_is_registered_any_more(world: World, node: Node) -> None:
    slot = await world.slot()
    await world.claim(slot, SessionId("c" * 24))
    await soon(node.openings.open_due())
    assert await opened(world, slot) == "c" * 24


async def test_a_slot_deactivated_since_it_was_read_is_left_alone(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def withdrawn(claims: Sequence[Claim]) -> list[TimeSlot]:
        return []

    slot = await world.slot([ANNA])
    monkeypatch.setattr(world.catalog, "claim_sessions", withdrawn)
    await soon(node.openings.open_due())
    assert await opened(world, slot) is None
    assert node.rooms.loaded == []
    monkeypatch.undo()
    await soon(node.openings.open_due())
    assert await opened(world, slot) is not None


async def test_an_outage_only_delays_openings(world: World, node: Node) -> None:
    slots = [await world.slot([ANNA]) for _ in range(3)]
    tick(node)
    node.line.is_cut = True
    world.catalog.is_cut = True
    await world.clock.advance(30)
    world.catalog.is_cut = False
    await world.clock.advance(30)
    node.line.is_cut = False
    await world.clock.advance(10)
    for slot in slots:
        session = await opened(world, slot)
        assert session is not None
        assert await world.kinds(session) == ["session_opened"]


async def test_a_failed_round_says_so(world: World, node: Node) -> None:
    await world.slot([ANNA])
    world.catalog.is_cut = True
    with pytest.raises(OutcomeUnknownError):
        await soon(node.openings.open_due())
    world.catalog.is_cut = False
    node.line.is_cut = True
    opening = asyncio.ensure_future(node.openings.open_due())
    await world.clock.advance(30)  # meanwhile the outcome of the write is looked for
    with pytest.raises(UnavailableError):
        await soon(opening)


@pytest.mark.parametrize("lands", [True, False])
async def test_an_opening_of_unknown_outcome_is_found_by_those_who_come_next(
    world: World, node: Node, lands: bool
) -> None:
    slot = await world.slot([ANNA])
    opening = asyncio.ensure_future(node.openings.open_due())
    node.line.lose(Fate.LATE)
    node.line.is_read_only = True
    await world.clock.advance(10)
    with pytest.raises(UnavailableError):
        await soon(opening)
    session = await world.session_of(slot)
    assert session is not None
    anna = node.client(ANNA, session)
    node.line.is_read_only = False
    if lands:
        assert [room.state for room in node.rooms.loaded] == [None]
        await node.line.land()
    else:
        with pytest.raises(NotFoundError):
            await soon(anna.join())
        await soon(node.openings.open_due())
    assert (await soon(anna.join())).seq == 2


async def test_what_was_missed_is_opened_and_ends_at_start_up(world: World) -> None:
    running = await world.slot([ANNA], start=START + minutes(595))
    over = await world.slot([ANNA, BEN])
    long_ago = await world.slot([ANNA], start=START - timedelta(days=8))
    unbooked = await world.slot()
    await world.at(minutes(600))
    node = world.node("a0")
    await soon(node.openings.open_missed())
    await world.clock.advance(1)
    session = await opened(world, over)
    assert session is not None
    assert await world.kinds(session) == ["session_opened", "session_ended"]
    assert (await world.state(session)).end_reason is EndReason.NOT_ENOUGH_PARTICIPANTS
    current = await opened(world, running)
    assert current is not None
    assert (await world.state(current)).status is SessionStatus.WAITING
    assert await opened(world, long_ago) is None
    assert await opened(world, unbooked) is None
    # A second start has nothing left to do.
    await node.crash()
    await soon(world.node("b0").openings.open_missed())
    await world.clock.advance(seconds(1).total_seconds())
    assert len(await world.log(session)) == 2


async def test_what_ended_during_an_outage_is_opened_when_it_is_over(world: World, node: Node) -> None:
    slots = [await world.slot([ANNA], start=START + minutes(start)) for start in (0, 90, 200)]
    tick(node)
    await world.at(LOBBY + minutes(1))
    world.catalog.is_cut = True
    await world.at(minutes(150))
    world.catalog.is_cut = False
    await world.clock.advance(2)
    session = await opened(world, slots[1])
    assert session is not None
    assert await world.kinds(session) == ["session_opened", "session_ended"]
    assert await world.statuses(slots[1]) == {ANNA: "noshow"}
    assert await opened(world, slots[2]) is None
    await world.clock.advance(2)
    assert world.clock.now() - world.catalog.asked[-1][0] <= timedelta(hours=1, seconds=2), "no further than it must"


async def test_sessions_that_are_over_and_settled_are_not_read_again_at_start_up(world: World, node: Node) -> None:
    node.tick()
    for hours in range(5):
        await world.slot([ANNA], start=START + timedelta(hours=hours))
    unsettled = await world.slot([ANNA], start=START + timedelta(hours=5))
    await world.at(timedelta(hours=5, minutes=15))
    await node.crash()
    session = await world.session_of(unsettled)
    assert session is not None
    other = world.node("b0")
    await soon(other.openings.open_missed())
    assert [room.session_id for room in other.rooms.loaded] == [session]


async def test_a_slot_that_was_deactivated_while_it_opened_is_settled_by_its_opener(world: World, node: Node) -> None:
    slot, other = await world.slot([ANNA]), await world.slot([BEN])
    node.line.hold()
    opening = asyncio.ensure_future(node.openings.open_due())
    await world.settle()
    await world.deactivate(slot)
    node.line.release()
    await soon(opening)
    session = await opened(world, slot)
    assert session is not None
    assert await world.kinds(session) == ["session_opened", "session_ended"]
    assert await world.statuses(slot) == {ANNA: "cancelled"}
    assert await opened(world, other) is not None


async def test_a_slot_that_was_moved_since_it_was_read_is_opened_when_it_is_due_then(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = await world.slot([ANNA])
    claim_sessions = world.catalog.claim_sessions

    async def claim_after_a_move(claims: Sequence[Claim]) -> list[TimeSlot]:
        ((found, _),) = claims
        later = replace(found, start_time=START + timedelta(days=1), updated_at=found.updated_at + MOMENT)
        assert await world.catalog.change_slot(later, found.updated_at, unopened=True)
        return await claim_sessions(claims)

    monkeypatch.setattr(world.catalog, "claim_sessions", claim_after_a_move)
    await soon(node.openings.open_due())
    monkeypatch.undo()
    await soon(node.openings.open_due())
    assert await world.session_of(slot) is None
    await world.at(timedelta(days=1) + LOBBY)
    await soon(node.openings.open_due())
    assert await opened(world, slot) is not None


async def test_sessions_of_the_same_hour_open_together(world: World, node: Node) -> None:
    slots = [await world.slot([ANNA]) for _ in range(60)]
    await soon(node.openings.open_due())
    assert None not in [await opened(world, slot) for slot in slots]
    assert [len(commits) for commits in node.line.appends] == [50, 10]


async def test_one_slot_that_cannot_be_claimed_does_not_keep_the_others_and_is_told_once(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tolerated = {"opening_failed"}
    first, refused, last = [await world.slot([ANNA]) for _ in range(3)]
    claim_sessions = world.catalog.claim_sessions

    async def claim_but_one(claims: Sequence[Claim]) -> list[TimeSlot]:
        claimed = await claim_sessions([claim for claim in claims if claim.slot.id == first])
        if refused in {claim.slot.id for claim in claims}:
            raise ValueError("a validator refuses it")
        return [*claimed, *await claim_sessions([claim for claim in claims if claim.slot.id != first])]

    monkeypatch.setattr(world.catalog, "claim_sessions", claim_but_one)
    for _ in range(3):
        await soon(node.openings.open_due())
    assert await opened(world, first) is not None
    assert await opened(world, last) is not None
    assert await world.session_of(refused) is None
    assert [entry["slot"] for entry in world.logs if entry["event"] == "opening_failed"] == [refused]
    monkeypatch.undo()
    await soon(node.openings.open_due())
    assert await opened(world, refused) is not None


async def test_one_slot_that_cannot_be_opened_does_not_keep_the_others_and_is_told_once(
    world: World, node: Node
) -> None:
    world.tolerated = {"opening_failed"}
    damaged, sound = await world.open_session(node, [ANNA]), await world.open_session(node, [BEN])
    await world.clock.advance(1)
    await node.crash()
    world.journal._sessions[damaged][2] = world.journal._sessions[sound][1]  # nobody can fold this
    waiting = await world.slot([ANNA])
    other = world.node("b0")
    for _ in range(3):
        await soon(other.openings.open_due())
    assert await opened(world, waiting) is not None
    failures = [entry["slot"] for entry in world.logs if entry["event"] == "opening_failed"]
    assert [await world.session_of(slot) for slot in failures] == [damaged]
