"""Whole series are stopped and taken up again: every slot to come follows, what has begun does not."""

import asyncio

import pytest

from coordinator.domain.errors import (
    CoordinatorError,
    SlotInactiveError,
)
from coordinator.domain.ids import SlotId, UserId, occurrence_id
from coordinator.domain.model import Level, Recurrence, SessionStatus
from coordinator.services.settlement import AFTERMATH
from tests.domain.story import ANNA, BEN, CLEO, LOBBY, MOMENT, minutes, user
from tests.services.desks import (
    DAY,
    FIRST,
    SLOT,
    WEEK,
    Desk,
    daily,
    days,
    series_of,
    slots_of,
    starts_of,
    values,
    weekly,
)
from tests.services.faults import Mishap
from tests.services.harness import World, soon

HOUR = minutes(60)


@pytest.fixture
async def desk(world: World) -> Desk:
    """A desk that has offered a daily slot; numbers 0 to 12 are made."""
    desk = Desk(world, "a0")
    await desk.offer(daily())
    return desk


def numbered(which: int) -> SlotId:
    return occurrence_id(SLOT, which)


async def book(desk: Desk, which: int, *users: UserId) -> None:
    for who in users:
        await soon(desk.node.booking.register(numbered(which), who))


class TestStop:
    async def test_everything_to_come_is_withdrawn_and_no_more_is_made(self, world: World, desk: Desk) -> None:
        await book(desk, 0, ANNA)
        await book(desk, 5, BEN, CLEO)
        answer = await desk.stop(numbered(5))
        assert (answer.id, answer.is_active, answer.registered_count) == (numbered(5), False, 0)
        assert values(await slots_of(world), "is_active") == [False] * 13
        assert await world.statuses(SLOT) == {ANNA: "cancelled"}
        assert await world.statuses(numbered(5)) == {BEN: "cancelled", CLEO: "cancelled"}
        series = await series_of(world)
        assert (series.is_active, series.next_start, series.pending) == (False, None, None)
        for day in (1, 10, 30):
            await world.at(day * DAY)
            await desk.make_due()
        assert len(await slots_of(world)) == 13

    async def test_a_session_that_waits_is_ended_and_one_that_runs_is_not(self, world: World, desk: Desk) -> None:
        await book(desk, 0, ANNA, BEN)
        await book(desk, 1, ANNA, BEN)
        await world.at(DAY + LOBBY)
        await soon(desk.node.openings.open_due())
        running = await world.session_of(SLOT)
        assert running is not None
        await desk.node.joined(running, ANNA, BEN)
        await world.at(DAY + minutes(5))
        assert (await world.state(running)).status is SessionStatus.ACTIVE
        # The next one is moved so that its lobby is open while the first still runs.
        await desk.edit(numbered(1), start_time=FIRST + minutes(12))
        await soon(desk.node.openings.open_due())
        waiting = await world.session_of(numbered(1))
        assert waiting is not None
        await desk.stop(SLOT)
        assert (await world.state(running)).status is SessionStatus.ACTIVE
        assert (await world.state(waiting)).status is SessionStatus.ENDED
        assert (await world.found(SLOT)).is_active
        assert values((await slots_of(world))[1:], "is_active") == [False] * 12
        assert await world.statuses(SLOT) == {ANNA: "registered", BEN: "registered"}
        assert await world.statuses(numbered(1)) == {ANNA: "cancelled", BEN: "cancelled"}

    async def test_a_series_is_stopped_by_a_slot_that_is_over(self, world: World, desk: Desk) -> None:
        await world.at(3 * DAY + HOUR)
        answer = await desk.stop(SLOT)
        assert answer.is_active  # it did take place
        assert values(await slots_of(world), "is_active") == [True] * 3 + [False] * 10

    async def test_an_edit_can_stop_it_too(self, world: World, desk: Desk) -> None:
        assert (await desk.edit_series(SLOT, is_active=False)).is_active is False
        assert (await series_of(world)).is_active is False

    async def test_stopping_again_changes_nothing(self, world: World, desk: Desk) -> None:
        await desk.stop(SLOT)
        before = values(await slots_of(world), "updated_at")
        await world.at(minutes(5))
        await desk.stop(SLOT)
        assert values(await slots_of(world), "updated_at") == before
        assert (await series_of(world)).next_start is None

    async def test_withdrawing_one_slot_does_not_stop_the_series(self, world: World, desk: Desk) -> None:
        await desk.deactivate(SLOT)
        await world.at(DAY)
        await desk.make_due()
        assert values(await slots_of(world), "is_active") == [False] + 14 * [True]

    async def test_a_series_that_was_stopped_is_not_edited_but_its_slots_can_be_taken_up(
        self, world: World, desk: Desk
    ) -> None:
        await desk.stop(SLOT)
        with pytest.raises(SlotInactiveError):
            await desk.edit_series(SLOT, level=Level.C1)
        assert (await desk.edit(numbered(4), is_active=True)).is_active
        await desk.make_due()
        assert [slot.series_number for slot in await slots_of(world) if slot.is_active] == [4]

    async def test_registrations_that_come_during_the_stop_are_refused_or_cancelled(
        self, world: World, desk: Desk
    ) -> None:
        others = [Desk(world, name) for name in ("b0", "c0")]
        bookings = [
            soon(other.node.booking.register(numbered(n), user(n))) for other in others for n in range(0, 13, 2)
        ]
        answers = await asyncio.gather(desk.stop(SLOT), *bookings, return_exceptions=True)
        assert all(not isinstance(answer, BaseException) or isinstance(answer, CoordinatorError) for answer in answers)
        desk.node.tick()
        await world.at(2 * AFTERMATH)
        for slot in await slots_of(world):
            assert set((await world.statuses(slot.id)).values()) <= {"cancelled"}
            assert (slot.registered_count, slot.settle_at) == (0, None)

    async def test_what_another_node_withdrew_and_did_not_settle_is_settled(self, world: World, desk: Desk) -> None:
        await book(desk, 2, ANNA)
        await world.deactivate(numbered(2))
        await desk.stop(SLOT)
        assert await world.statuses(numbered(2)) == {ANNA: "cancelled"}

    async def test_all_are_withdrawn_before_the_first_is_settled(self, desk: Desk) -> None:
        await book(desk, 2, ANNA)
        desk.node.course.begin(0, Mishap.NOT_DONE)
        await desk.stop(SLOT)
        calls = desk.course.calls
        last_write = len(calls) - 1 - calls[::-1].index("change_series")
        assert calls.index("cancel_all") > last_write
        assert calls[last_write:].count("cancel_all") == 13


class TestTakingUpAgain:
    async def test_slots_to_come_are_active_again_and_missing_ones_are_made(self, world: World, desk: Desk) -> None:
        await book(desk, 6, ANNA)
        await desk.stop(SLOT)
        await world.at(5 * DAY)
        answer = await desk.edit_series(numbered(6), is_active=True)
        assert answer.is_active
        slots = await slots_of(world)
        assert values(slots, "start_time") == days(FIRST, 19)
        assert values(slots, "is_active") == [False] * 5 + [True] * 14
        # Who was registered then has to register again.
        assert await world.statuses(numbered(6)) == {ANNA: "cancelled"}
        await soon(desk.node.booking.register(numbered(6), ANNA))
        desk.node.tick()
        await world.at(5 * DAY + 2 * AFTERMATH)
        assert await world.statuses(numbered(6)) == {ANNA: "registered"}

    async def test_after_a_long_pause_it_goes_on_from_then(self, world: World, desk: Desk) -> None:
        await desk.stop(SLOT)
        await world.at(50 * DAY)
        await desk.edit_series(SLOT, is_active=True)
        slots = await slots_of(world)
        assert values(slots, "series_number") == [*range(13), *range(50, 64)]
        assert values(slots, "start_time") == [*days(FIRST, 13), *days(FIRST + 50 * DAY, 14)]

    async def test_together_with_other_changes(self, world: World, desk: Desk) -> None:
        await desk.stop(SLOT)
        await desk.edit_series(numbered(2), is_active=True, level=Level.C1, start_time=FIRST + 2 * DAY + HOUR)
        slots = await slots_of(world)
        assert set(values(slots, "level")) == {Level.C1}
        assert set(values(slots, "is_active")) == {True}
        assert values(slots, "start_time") == days(FIRST + HOUR, 13)

    async def test_a_slot_whose_session_was_ended_stays_withdrawn(self, world: World, desk: Desk) -> None:
        await book(desk, 0, ANNA)
        await world.at(DAY + LOBBY)
        await soon(desk.node.openings.open_due())
        await desk.stop(SLOT)
        await desk.edit_series(SLOT, is_active=True)
        assert values(await slots_of(world), "is_active") == [False] + 13 * [True]

    async def test_stopping_and_going_on_at_the_same_time_ends_in_one_of_both(self, world: World, desk: Desk) -> None:
        other = Desk(world, "b0")
        for _ in range(5):
            await asyncio.gather(desk.stop(SLOT), other.edit_series(SLOT, is_active=True), other.make_due())
            series = await series_of(world)
            assert set(values(await slots_of(world), "is_active")) == {series.is_active}
            assert (series.next_start is None) is not series.is_active


class TestSixtyDays:
    async def test_a_series_lives_through_edits_a_pause_and_the_change_of_clocks(self, world: World) -> None:
        """Weekdays do not matter; in Paris it is 18:00 at 17:00 UTC, from 31 March 2030 at 16:00."""
        desks = [Desk(world, name) for name in ("a0", "b0")]
        start = FIRST - HOUR
        await desks[0].offer(daily(start_time=start, timezone="Europe/Paris"))
        for day in range(1, 61):
            await world.at(day * DAY - 2 * HOUR)
            await asyncio.gather(*(desk.make_due() for desk in desks))
            if day == 10:
                await desks[0].edit_series(numbered(12), start_time=start + 12 * DAY + HOUR, level=Level.C1)
            if day == 20:
                await desks[1].stop(SLOT)
            if day == 25:
                await desks[0].edit_series(SLOT, is_active=True)
            if day == 40:
                await desks[1].edit(numbered(45), duration_minutes=15)
        slots = await slots_of(world)
        assert values(slots, "id") == [numbered(n) for n in range(len(slots))]
        assert len(slots) == 73
        # Day n is the day of number n - 1: 0 to 8 were over at the first edit, 19 to 23 fell into the pause.
        assert values(slots, "start_time") == [
            *days(start, 9),
            *days(start + 9 * DAY + HOUR, 17),
            *days(start + 26 * DAY, 47),
        ]
        assert values(slots, "level") == [Level.B1] * 9 + [Level.C1] * 64
        assert [slot.series_number for slot in slots if not slot.is_active] == [19, 20, 21, 22, 23]
        assert [slot.series_number for slot in slots if slot.duration_minutes == 15] == [45]

    async def test_a_weekly_series_moves_to_another_day(self, world: World) -> None:
        desk = Desk(world, "a0")
        await desk.offer(weekly())
        await world.at(8 * DAY)
        await desk.make_due()
        await desk.edit_series(numbered(2), start_time=FIRST + 2 * WEEK + 2 * DAY)
        await world.at(3 * WEEK)
        await desk.make_due()
        assert await starts_of(world) == [
            FIRST,
            FIRST + WEEK,
            FIRST + 2 * WEEK + 2 * DAY,
            FIRST + 3 * WEEK + 2 * DAY,
            FIRST + 4 * WEEK + 2 * DAY,
        ]

    async def test_a_series_put_in_by_hand_can_be_edited_once_it_is_adopted(self, world: World) -> None:
        desk = Desk(world, "a0")
        slot = await world.slot([ANNA], start=FIRST, recurrence=Recurrence.WEEKLY)
        await desk.make_due()
        await desk.edit_series(slot, level=Level.C1, start_time=FIRST + MOMENT)
        assert values(await slots_of(world, slot), "level") == [Level.C1] * 2
        assert await starts_of(world, slot) == [FIRST + MOMENT, FIRST + WEEK + MOMENT]
        await desk.stop(slot)
        assert await world.statuses(slot) == {ANNA: "cancelled"}
