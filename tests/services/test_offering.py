"""Single slots are offered and edited (withdrawn: `_withdrawals`; whole series: `_series`)."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from coordinator.domain.errors import (
    CoordinatorError,
    InvalidRequestError,
    NotFoundError,
    SlotOverError,
    StaleVersionError,
    UnavailableError,
)
from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import Language, Level, Recurrence, SlotChanges
from coordinator.ports.bookings import RegistrationQuery
from coordinator.ports.catalog import SlotQuery
from coordinator.services.slot_writer import ATTEMPTS
from tests.domain.story import ANNA, BEN, CLEO, LOBBY, MOMENT, START, minutes, user
from tests.services.desks import BEGINNING, DAY, FIRST, SLOT, Desk, daily, terms
from tests.services.faults import Mishap
from tests.services.harness import World, soon

NOWHERE = SlotId("f" * 24)
SESSION = SessionId("5e" * 12)


@pytest.fixture
async def desk(world: World) -> Desk:
    return Desk(world, "a0")


async def all_slots(world: World) -> int:
    return len(await world.catalog.page(SlotQuery(start_from=BEGINNING, limit=10_000)))


class TestOffers:
    async def test_a_slot_is_kept_as_it_was_offered(self, world: World, desk: Desk) -> None:
        offered = terms(
            target_language_code=Language.SPANISH,
            level=Level.C2,
            duration_minutes=45,
            max_participants=12,
            min_participants=3,
            timezone="Europe/Paris",
        )
        slot = await desk.offer(offered)
        assert slot == await world.found(SLOT)
        assert (slot.id, slot.target_language_code, slot.level) == (SLOT, Language.SPANISH, Level.C2)
        assert (slot.start_time, slot.duration_minutes, slot.timezone) == (FIRST, 45, "Europe/Paris")
        assert (slot.max_participants, slot.min_participants) == (12, 3)
        assert slot.recurrence is Recurrence.ONCE
        assert (slot.is_active, slot.registered_count, slot.session_id, slot.settle_at) == (True, 0, None, None)
        assert (slot.series_id, slot.series_number) == (None, None)
        assert slot.created_at == slot.updated_at == world.clock.now()

    async def test_its_start_is_kept_in_utc_and_whole_milliseconds(self, desk: Desk) -> None:
        start = datetime(2030, 3, 6, 19, 0, 0, 1_999, tzinfo=timezone(timedelta(hours=1)))
        slot = await desk.offer(terms(start_time=start))
        assert slot.start_time == datetime(2030, 3, 6, 18, 0, 0, 1_000, tzinfo=UTC)
        assert slot.start_time.utcoffset() == timedelta(0)

    @pytest.mark.parametrize("offered", [terms, daily])
    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"duration_minutes": 20}, "durationMinutes"),
            ({"max_participants": 51}, "maxParticipants"),
            ({"min_participants": 9}, "minParticipants"),
            ({"timezone": "Mars/Base"}, "timezone"),
            ({"start_time": START + LOBBY}, "startTime"),
            ({"start_time": START - DAY}, "startTime"),
            # Cut to milliseconds it is now, which is not in the future.
            ({"start_time": START + LOBBY + timedelta(microseconds=999)}, "startTime"),
        ],
    )
    async def test_what_may_not_be_offered_leaves_nothing(
        self, world: World, desk: Desk, offered: Any, fields: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(InvalidRequestError) as refusal:
            await desk.offer(offered(**fields))
        assert refusal.value.field == named
        assert await all_slots(world) == 0
        assert await world.catalog.series(SLOT) is None

    @pytest.mark.parametrize("offered", [terms(), daily()], ids=["once", "daily"])
    async def test_an_offer_that_is_repeated_changes_nothing(self, world: World, desk: Desk, offered: Any) -> None:
        first = await desk.offer(offered)
        count = await all_slots(world)
        await world.at(minutes(5))
        assert await desk.offer(offered) == first
        edited = await desk.edit(SLOT, level=Level.A1)
        assert await Desk(world, "b0").offer(offered) == edited
        assert await all_slots(world) == count

    async def test_it_may_be_repeated_when_its_start_has_passed(self, world: World, desk: Desk) -> None:
        first = await desk.offer(terms())
        await world.at(2 * DAY)
        assert await desk.offer(terms()) == first

    @pytest.mark.parametrize(("offered", "count"), [(terms(), 1), (daily(), 13)], ids=["once", "daily"])
    async def test_an_offer_that_reaches_several_nodes_at_once_is_one(
        self, world: World, offered: Any, count: int
    ) -> None:
        desks = [Desk(world, name) for name in ("a0", "b0", "c0", "d0")]
        answers = await asyncio.gather(*(desk.offer(offered) for desk in desks))
        assert [answer.id for answer in answers] == [SLOT] * 4
        assert len({answer.start_time for answer in answers}) == 1
        assert await all_slots(world) == count

    @pytest.mark.parametrize("mishap", [Mishap.NOT_DONE, Mishap.NOT_ANSWERED])
    async def test_an_offer_in_silence_is_unavailable_and_repeating_it_does_it(
        self, world: World, mishap: Mishap
    ) -> None:
        at = 0
        while True:
            at += 1
            here = World(world.logs)
            desk = Desk(here, "a0")
            desk.course.begin(at, mishap)
            try:
                await desk.offer(terms())
            except UnavailableError:
                desk.course.begin(0, mishap)
                assert (await desk.offer(terms())).start_time == FIRST
            else:
                break
            assert await all_slots(here) == 1
            await here.close()
        assert at == 4  # it looks, adds, and reads
        await here.close()


class TestReading:
    async def test_slots_are_read_one_by_one_and_in_pages(self, desk: Desk) -> None:
        slot = await desk.offer(terms())
        other = await desk.offer(terms(start_time=FIRST + DAY), SlotId("0ffe" * 5 + "0001"))
        assert await desk.offering.slot(SLOT) == slot
        assert await desk.offering.page(SlotQuery(start_from=FIRST)) == [slot, other]
        assert await desk.offering.page(SlotQuery(start_from=FIRST + MOMENT)) == [other]

    async def test_a_session_is_shown_once_it_can_be_joined(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA])
        query, mine = SlotQuery(start_from=START), RegistrationQuery(user_id=ANNA)

        async def shown() -> list[SessionId | None]:
            found = await desk.offering.slot(slot)
            (listed,) = await desk.offering.page(query)
            ((_, booked),) = await desk.node.booking.of_user(mine)
            return [found.session_id, listed.session_id, booked.session_id]

        desk.node.line.hold()
        opening = asyncio.ensure_future(desk.node.openings.open_due())
        await world.settle()
        session = await world.session_of(slot)
        assert session is not None, "it is claimed"
        assert await shown() == [None] * 3
        desk.node.line.release()
        await soon(opening)
        assert await shown() == [session] * 3
        await world.clock.advance(1)
        desk.node.rooms.drop_idle()
        assert desk.node.rooms.loaded == []
        assert await shown() == [session] * 3

    async def test_there_may_be_no_such_slot(self, desk: Desk) -> None:
        with pytest.raises(NotFoundError):
            await desk.offering.slot(NOWHERE)
        with pytest.raises(NotFoundError):
            await desk.edit(NOWHERE, level=Level.A1)
        with pytest.raises(NotFoundError):
            await desk.edit_series(NOWHERE, level=Level.A1)
        with pytest.raises(NotFoundError):
            await desk.deactivate(NOWHERE)
        with pytest.raises(NotFoundError):
            await desk.stop(NOWHERE)

    async def test_a_database_that_is_silent_is_unavailable(self, desk: Desk) -> None:
        await desk.offer(terms())
        for work in (desk.offering.slot(SLOT), desk.offering.page(SlotQuery(start_from=FIRST))):
            desk.course.begin(1, Mishap.NOT_DONE)
            with pytest.raises(UnavailableError):
                await soon(work)


class TestEdits:
    async def test_an_edit_makes_a_new_version(self, world: World, desk: Desk) -> None:
        before = await desk.offer(terms())
        await world.at(minutes(1))
        after = await desk.edit(
            SLOT,
            target_language_code=Language.ENGLISH,
            level=Level.A2,
            start_time=FIRST + DAY,
            duration_minutes=15,
            max_participants=20,
            min_participants=5,
            timezone="Asia/Tokyo",
        )
        assert after == await world.found(SLOT)
        assert (after.target_language_code, after.level) == (Language.ENGLISH, Level.A2)
        assert (after.start_time, after.duration_minutes, after.timezone) == (FIRST + DAY, 15, "Asia/Tokyo")
        assert (after.max_participants, after.min_participants) == (20, 5)
        assert (after.created_at, after.updated_at) == (before.created_at, world.clock.now())

    async def test_versions_of_the_same_instant_differ(self, desk: Desk) -> None:
        versions = [(await desk.offer(terms())).updated_at]
        versions += [(await desk.edit(SLOT, level=level)).updated_at for level in (Level.A1, Level.A2, Level.B1)]
        assert versions == sorted(set(versions))

    async def test_a_new_start_is_cut_to_milliseconds(self, desk: Desk) -> None:
        await desk.offer(terms())
        moved = await desk.edit(SLOT, start_time=FIRST + timedelta(microseconds=1_999))
        assert moved.start_time == FIRST + timedelta(milliseconds=1)
        assert await desk.edit(SLOT, start_time=FIRST + timedelta(microseconds=1_001)) == moved

    @pytest.mark.parametrize("changes", [{}, {"level": Level.B1, "is_active": True}], ids=str)
    async def test_an_edit_without_effect_leaves_the_slot_as_it_is(self, desk: Desk, changes: dict[str, Any]) -> None:
        before = await desk.offer(terms())
        assert await desk.edit(SLOT, **changes) == before
        assert await desk.edit(SLOT, before.updated_at, **changes) == before

    async def test_an_edit_of_another_version_is_refused(self, world: World, desk: Desk) -> None:
        first = await desk.offer(terms())
        second = await desk.edit(SLOT, first.updated_at, level=Level.A1)
        for changes in ({"level": Level.A2}, {"level": Level.A1}, {"is_active": False}, {}):
            with pytest.raises(StaleVersionError) as refusal:
                await desk.edit(SLOT, first.updated_at, **changes)
            assert (refusal.value.field, refusal.value.status) == ("If-Match", 412)
        assert await world.found(SLOT) == second

    @pytest.mark.parametrize(
        ("changes", "error", "named"),
        [
            ({"duration_minutes": 50}, InvalidRequestError, "durationMinutes"),
            ({"min_participants": 9}, InvalidRequestError, "minParticipants"),
            ({"timezone": "Mars/Base"}, InvalidRequestError, "timezone"),
            ({"start_time": START + LOBBY}, InvalidRequestError, "startTime"),
            ({"is_active": False, "level": Level.A1}, InvalidRequestError, "isActive"),
        ],
        ids=str,
    )
    async def test_a_refused_edit_changes_nothing(
        self, world: World, desk: Desk, changes: dict[str, Any], error: type[CoordinatorError], named: str
    ) -> None:
        before = await desk.offer(terms())
        with pytest.raises(error) as refusal:
            await desk.edit(SLOT, **changes)
        assert refusal.value.field == named
        assert await world.found(SLOT) == before

    async def test_a_slot_that_is_over_is_not_edited(self, world: World, desk: Desk) -> None:
        await desk.offer(terms())
        await world.at(DAY + minutes(30))
        with pytest.raises(SlotOverError):
            await desk.edit(SLOT, level=Level.A1)

    async def test_a_slot_with_a_session_keeps_its_rules(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA])
        await soon(desk.node.openings.open_due())
        before = await world.found(slot)
        with pytest.raises(InvalidRequestError) as refusal:
            await desk.edit(slot, duration_minutes=15)
        assert refusal.value.field == "durationMinutes"
        assert await world.found(slot) == before

    async def test_a_session_that_is_claimed_meanwhile_is_in_time(self, world: World, desk: Desk) -> None:
        await desk.offer(terms())
        desk.catalog.before("change_slot", lambda: world.claim(SLOT, SESSION))
        with pytest.raises(InvalidRequestError) as refusal:
            await desk.edit(SLOT, level=Level.A1)
        assert refusal.value.field == "level"
        assert (await world.found(SLOT)).level is Level.B1

    async def test_edits_of_different_fields_at_the_same_time_all_hold(self, world: World) -> None:
        desks = [Desk(world, name) for name in ("a0", "b0", "c0", "d0")]
        await desks[0].offer(terms())
        edits: list[dict[str, Any]] = [
            {"level": Level.C1},
            {"duration_minutes": 45},
            {"start_time": FIRST + DAY},
            {"max_participants": 30},
        ]
        await asyncio.gather(*(desk.edit(SLOT, **edit) for desk, edit in zip(desks, edits, strict=True)))
        slot = await world.found(SLOT)
        assert (slot.level, slot.duration_minutes) == (Level.C1, 45)
        assert (slot.start_time, slot.max_participants) == (FIRST + DAY, 30)

    async def test_of_edits_of_the_same_version_at_the_same_time_one_holds(self, world: World) -> None:
        desks = [Desk(world, name) for name in ("a0", "b0", "c0", "d0")]
        version = (await desks[0].offer(terms())).updated_at
        levels = [Level.A1, Level.A2, Level.C1, Level.C2]
        edits = (desk.edit(SLOT, version, level=level) for desk, level in zip(desks, levels, strict=True))
        answers = await asyncio.gather(*edits, return_exceptions=True)
        (winner,) = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert sum(isinstance(answer, StaleVersionError) for answer in answers) == 3
        assert (await world.found(SLOT)).level is winner.level

    async def test_an_edit_that_always_comes_second_gives_up(self, world: World, desk: Desk) -> None:
        await desk.offer(terms())
        rival = Desk(world, "b0")
        for n in range(ATTEMPTS):
            desk.catalog.before("change_slot", partial(rival.edit, SLOT, max_participants=10 + n % 2))
        with pytest.raises(UnavailableError):
            await desk.edit(SLOT, level=Level.A1)
        assert (await desk.edit(SLOT, level=Level.A1)).level is Level.A1


class TestSeats:
    async def test_seats_are_not_fewer_than_those_that_are_taken(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA, BEN, CLEO], start=FIRST)
        before = await world.found(slot)
        with pytest.raises(InvalidRequestError) as refusal:
            await desk.edit(slot, max_participants=2)
        assert refusal.value.field == "maxParticipants"
        assert await world.found(slot) == before
        assert (await desk.edit(slot, max_participants=3)).max_participants == 3

    async def test_cancelled_registrations_hold_no_seat(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA, BEN, CLEO], start=FIRST)
        await desk.node.booking.cancel(slot, CLEO)
        assert (await desk.edit(slot, max_participants=2)).max_participants == 2

    async def test_a_registration_that_slips_in_undoes_the_whole_edit(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA, BEN], start=FIRST)
        before = await world.found(slot)
        desk.catalog.before("change_slot", lambda: world.register(slot, CLEO))
        with pytest.raises(InvalidRequestError) as refusal:
            await desk.edit(slot, max_participants=2, level=Level.A1)
        assert refusal.value.field == "maxParticipants"
        after = await world.found(slot)
        assert (after.max_participants, after.level) == (before.max_participants, before.level)
        assert after.updated_at > before.updated_at

    async def test_an_edit_by_which_a_session_opened_meanwhile_holds(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA, BEN])

        async def slip_in() -> None:
            await world.register(slot, CLEO)
            await desk.node.openings.open_due()

        desk.bookings.before("holders", lambda: asyncio.sleep(0))  # the look before the edit
        desk.bookings.before("holders", slip_in)
        after = await desk.edit(slot, max_participants=2, duration_minutes=45)
        assert (after.max_participants, after.duration_minutes) == (2, 45)
        found = await world.found(slot)
        assert (found.max_participants, found.duration_minutes) == (2, 45)
        assert found.session_id is not None
        state = await world.state(found.session_id)
        assert (state.max_participants, state.scheduled_end) == (2, found.end_time)

    async def test_undoing_an_edit_leaves_what_others_have_edited_since(self, world: World, desk: Desk) -> None:
        slot = await world.slot([ANNA, BEN], start=FIRST)
        rival = Desk(world, "b0")
        desk.catalog.before("change_slot", lambda: world.register(slot, CLEO))
        desk.catalog.before("slot", lambda: asyncio.sleep(0))  # the look before the edit
        desk.catalog.before("slot", lambda: rival.edit(slot, level=Level.C2, duration_minutes=45))
        with pytest.raises(InvalidRequestError):
            await desk.edit(slot, max_participants=2, level=Level.A1)
        after = await world.found(slot)
        assert (after.max_participants, after.level, after.duration_minutes) == (8, Level.C2, 45)

    async def test_bookings_and_fewer_seats_at_the_same_time_never_leave_too_many(self, world: World) -> None:
        for width in range(12):
            desk, other = Desk(world, f"a{width:x}"), Desk(world, f"b{width:x}")
            slot = await world.slot([user(1), user(2)], start=FIRST + (width + 1) * DAY)

            async def book(slot: SlotId = slot, other: Desk = other, width: int = width) -> None:
                for _ in range(width):
                    await asyncio.sleep(0)
                await asyncio.gather(
                    *(other.node.booking.register(slot, user(n)) for n in (3, 4, 5)), return_exceptions=True
                )

            await soon(asyncio.gather(book(), desk.edit(slot, max_participants=3), return_exceptions=True))
            assert len(await world.bookings.holders(slot)) <= (await world.found(slot)).max_participants


async def test_a_change_is_made_of_what_is_asked_for(world: World, desk: Desk) -> None:
    """The whole way: offered, moved, withdrawn, and what everybody sees in between."""
    await desk.offer(terms())
    other = Desk(world, "b0")
    assert (await other.offering.slot(SLOT)).start_time == FIRST
    await desk.offering.edit(SLOT, SlotChanges(start_time=FIRST + DAY), whole_series=False, expected=None)
    assert (await other.offering.slot(SLOT)).start_time == FIRST + DAY
    await other.deactivate(SLOT)
    assert (await desk.offering.slot(SLOT)).is_active is False
