"""Occurrences are made two weeks ahead, each once, at the wall-clock time of their zone (cut short: `_crashes`)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.adapters.memory.bookings import MemoryBookings
from coordinator.adapters.memory.catalog import MemoryCatalog
from coordinator.adapters.memory.clock import ManualClock
from coordinator.domain.ids import SlotId, occurrence_id
from coordinator.domain.model import Language, Level, Recurrence
from coordinator.domain.series import offered_series
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.occurrences import Occurrences
from tests.domain.story import ANNA, LOBBY, START, minutes
from tests.services.desks import (
    DAY,
    FIRST,
    SLOT,
    WEEK,
    Desk,
    daily,
    days,
    number,
    series_of,
    slots_of,
    starts_of,
    terms,
    values,
    weekly,
)
from tests.services.faults import Mishap
from tests.services.harness import World, soon

NOW = START + LOBBY
PARIS = "Europe/Paris"


@pytest.fixture
async def desk(world: World) -> Desk:
    return Desk(world, "a0")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def by_hand(world: World, start: datetime = FIRST, **fields: Any) -> SlotId:
    """A slot that somebody put into the database, as if it should repeat."""
    return await world.slot(start=start, **{"recurrence": Recurrence.DAILY, **fields})


async def bring_time(world: World, to: datetime) -> None:
    await world.clock.advance_to(to)


class TestMaking:
    async def test_the_offered_slot_is_the_first_of_two_weeks(self, world: World, desk: Desk) -> None:
        slot = await desk.offer(daily())
        slots = await slots_of(world)
        assert slots[0] == slot
        assert values(slots, "series_number") == list(range(13))
        assert values(slots, "start_time") == days(FIRST, 13)
        # The next one starts ten minutes after the horizon.
        assert (await series_of(world)).next_start == FIRST + 13 * DAY == NOW + 14 * DAY + minutes(10)

    async def test_one_that_starts_at_the_horizon_is_made(self, world: World, desk: Desk) -> None:
        await desk.offer(daily(start_time=NOW + DAY))
        assert await starts_of(world) == days(NOW + DAY, 14)

    async def test_a_weekly_slot_has_two_occurrences_in_two_weeks(self, world: World, desk: Desk) -> None:
        await desk.offer(weekly())
        assert await starts_of(world) == [FIRST, FIRST + WEEK]
        assert (await series_of(world)).next_number == 2

    async def test_occurrences_are_what_was_offered(self, world: World, desk: Desk) -> None:
        await desk.offer(
            weekly(
                target_language_code=Language.ENGLISH,
                level=Level.C1,
                duration_minutes=45,
                max_participants=20,
                min_participants=4,
                timezone=PARIS,
            )
        )
        await world.at(minutes(1))
        first, second = await slots_of(world)
        assert second == replace(first, id=occurrence_id(SLOT, 1), series_number=1, start_time=FIRST + WEEK)
        assert (first.id, first.series_id, first.series_number) == (SLOT, SLOT, 0)
        assert (first.target_language_code, first.level) == (Language.ENGLISH, Level.C1)
        assert (first.duration_minutes, first.max_participants, first.min_participants) == (45, 20, 4)
        assert (first.recurrence, first.timezone) == (Recurrence.WEEKLY, PARIS)
        assert (first.is_active, first.registered_count, first.created_at, first.updated_at) == (True, 0, NOW, NOW)

    async def test_a_first_slot_beyond_the_horizon_is_made_alone(self, world: World, desk: Desk) -> None:
        far = FIRST + 30 * DAY
        slot = await desk.offer(daily(start_time=far))
        assert (slot.start_time, await starts_of(world)) == (far, [far])
        await bring_time(world, far - 14 * DAY)
        await desk.make_due()
        assert await starts_of(world) == [far]
        await bring_time(world, far - 13 * DAY)
        await desk.make_due()
        assert await starts_of(world) == [far, far + DAY]

    async def test_the_second_of_two_equal_times_is_kept_for_the_slot_that_was_offered(
        self, world: World, desk: Desk
    ) -> None:
        # In Paris it is 02:30 at 00:30 and at 01:30 UTC on 27 October 2030.
        second = at("2030-10-27 01:30")
        await bring_time(world, second - DAY)
        slot = await desk.offer(daily(start_time=second, timezone=PARIS))
        assert slot.start_time == second
        assert (await starts_of(world))[:3] == days(second, 3)
        await desk.make_due()
        assert (await starts_of(world))[:3] == days(second, 3)

    async def test_a_day_that_a_zone_left_out_is_left_out(self, world: World) -> None:
        """Apia had no 30 December 2011: the occurrence of that day falls on the next one, which is number 3."""
        clock = ManualClock(at("2011-12-28 00:00"))
        catalog = MemoryCatalog()
        occurrences = Occurrences(catalog, MemoryBookings(), Desk(world, "a0").node.settlement, clock)
        start = at("2011-12-28 19:00")
        await catalog.add_series(
            offered_series(daily(start_time=start, timezone="Pacific/Apia"), SLOT, clock.now()),
        )
        await soon(occurrences.bring_up(SLOT))
        slots = await soon(occurrences.coming(SLOT))
        assert values(slots, "start_time") == days(start, 14)
        assert values(slots, "series_number") == [0, 1, 2, *range(4, 15)]
        await clock.advance_to(at("2011-12-30 20:00"))
        await soon(occurrences.make_due())
        assert values(await soon(occurrences.coming(SLOT)), "start_time") == days(start, 17)[3:]

    async def test_time_brings_one_occurrence_after_the_other(self, world: World, desk: Desk) -> None:
        await desk.offer(daily())
        for day in range(1, 8):
            await world.at(day * DAY + LOBBY)
            await desk.make_due()
            await desk.make_due()
            assert await starts_of(world) == days(FIRST, 13 + day)

    async def test_nothing_is_written_while_nothing_is_due(self, world: World, desk: Desk) -> None:
        await desk.offer(daily())
        before = await series_of(world)
        desk.course.begin(0, Mishap.NOT_DONE)
        await desk.make_due()
        assert desk.course.calls == ["slots_to_adopt", "due_series"]
        await soon(desk.occurrences.bring_up(SLOT))
        assert await series_of(world) == before
        assert "add_slot" not in desk.course.calls
        assert "change_series" not in desk.course.calls

    async def test_only_what_is_to_come_is_made_after_a_long_time_without_any_node(
        self, world: World, desk: Desk
    ) -> None:
        await desk.offer(daily())
        await world.at(100 * DAY)
        await desk.make_due()
        # The one that begins at this instant is not to come any more.
        assert await starts_of(world) == [*days(FIRST, 13), *days(START + 101 * DAY, 14)]
        assert values((await slots_of(world))[13:], "series_number") == list(range(100, 114))

    async def test_the_cost_does_not_grow_with_what_is_over(self, world: World, desk: Desk) -> None:
        await desk.offer(daily())
        costs = []
        for day in range(1, 60):
            await world.at(day * DAY + LOBBY)
            desk.course.begin(0, Mishap.NOT_DONE)
            await desk.make_due()
            costs.append(len(desk.course.calls))
        assert len(await slots_of(world)) == 13 + 59
        assert len(set(costs)) == 1

    async def test_slots_once_are_left_alone(self, world: World, desk: Desk) -> None:
        await desk.offer(terms())
        await desk.make_due()
        assert await world.catalog.series(SLOT) is None
        assert (await world.found(SLOT)).series_id is None

    async def test_a_series_that_does_not_exist_has_nothing_to_be_brought_up(self, desk: Desk) -> None:
        desk.course.begin(0, Mishap.NOT_DONE)
        await soon(desk.occurrences.bring_up(SLOT))
        assert desk.course.calls == ["series"]

    async def test_more_slots_to_come_than_fit_a_page_are_all_seen(self, world: World, desk: Desk) -> None:
        await desk.offer(weekly())
        first = await world.found(SLOT)
        for n in range(2, 252):
            moved = replace(first, id=occurrence_id(SLOT, n), series_number=n, start_time=FIRST + (n // 3) * DAY)
            await world.catalog.add_slot(moved)
        coming = await soon(desk.occurrences.coming(SLOT))
        assert len(coming) == len({slot.id for slot in coming}) == 252
        assert values(coming, "start_time") == sorted(await starts_of(world))


class TestWallClock:
    @pytest.mark.parametrize("nodes", [1, 3])
    async def test_sixty_days_over_the_end_of_winter(self, world: World, nodes: int) -> None:
        """Every day at 18:00 in Paris, from 5 March 2030; the clocks go forward on the 31st."""
        desks = [Desk(world, f"a{n}") for n in range(nodes)]
        await desks[0].offer(daily(start_time=at("2030-03-05 17:00"), timezone=PARIS))
        for day in range(1, 61):
            await world.at(day * DAY)
            await asyncio.gather(*(desk.make_due() for desk in desks))
        slots = await slots_of(world)
        # The last day is 3 May, 18:00 UTC; the horizon lies two weeks later, on the 17th.
        assert values(slots, "start_time") == [*days(at("2030-03-05 17:00"), 26), *days(at("2030-03-31 16:00"), 48)]
        assert values(slots, "series_number") == list(range(74))
        assert values(slots, "id") == [occurrence_id(SLOT, n) for n in range(74)]

    async def test_a_night_that_is_skipped_does_not_move_the_next(self, world: World, desk: Desk) -> None:
        await bring_time(world, at("2030-03-28 12:00"))
        await desk.offer(daily(start_time=at("2030-03-29 01:30"), timezone=PARIS))
        assert (await starts_of(world))[:4] == [
            at("2030-03-29 01:30"),
            at("2030-03-30 01:30"),
            at("2030-03-31 01:30"),  # 03:30 in Paris
            at("2030-04-01 00:30"),
        ]

    async def test_weeks_over_the_end_of_summer(self, world: World, desk: Desk) -> None:
        """Every Wednesday at 20:00 in New York, which is Thursday in UTC; the clocks go back on 3 November 2030."""
        await bring_time(world, at("2030-10-20 12:00"))
        await desk.offer(weekly(start_time=at("2030-10-24 00:00"), timezone="America/New_York"))
        await bring_time(world, at("2030-11-10 12:00"))
        await desk.make_due()
        assert await starts_of(world) == [
            at("2030-10-24 00:00"),
            at("2030-10-31 00:00"),
            # The one of 7 November was due while nothing ran.
            at("2030-11-14 01:00"),
            at("2030-11-21 01:00"),
        ]


class TestAdoption:
    async def test_a_slot_put_in_by_hand_becomes_the_first_of_a_series(self, world: World, desk: Desk) -> None:
        slot = await by_hand(world, level=Level.A2, timezone=PARIS, max_participants=5)
        before = await world.found(slot)
        await desk.make_due()
        slots = await slots_of(world, slot)
        assert slots[0] == replace(before, series_id=slot, series_number=0)
        assert values(slots, "start_time") == days(FIRST, 13)
        assert values(slots, "id") == [occurrence_id(slot, n) for n in range(13)]
        assert set(values(slots, "level")) == {Level.A2}
        assert set(values(slots, "timezone")) == {PARIS}
        assert set(values(slots, "max_participants")) == {5}

    async def test_an_old_one_goes_on_from_now(self, world: World, desk: Desk) -> None:
        slot = await by_hand(world, start=START - 1000 * WEEK, recurrence=Recurrence.WEEKLY)
        await desk.make_due()
        assert await starts_of(world, slot) == [START - 1000 * WEEK, START, START + WEEK]
        assert values(await slots_of(world, slot), "series_number") == [0, 1000, 1001]

    async def test_one_that_was_deactivated_or_is_once_does_not(self, world: World, desk: Desk) -> None:
        left = [
            await by_hand(world, is_active=False),
            await by_hand(world, recurrence=Recurrence.ONCE),
            await by_hand(world, recurrence=None),
        ]
        await desk.make_due()
        assert [(await world.found(slot)).series_id for slot in left] == [None] * 3
        assert [await world.catalog.series(slot) for slot in left] == [None] * 3

    @pytest.mark.parametrize("nodes", [2, 4])
    async def test_several_nodes_adopt_it_once(self, world: World, nodes: int) -> None:
        slots = [await by_hand(world, start=FIRST + minutes(n)) for n in range(3)]
        desks = [Desk(world, f"a{n}") for n in range(nodes)]
        await asyncio.gather(*(desk.make_due() for desk in desks))
        for n, slot in enumerate(slots):
            assert await starts_of(world, slot) == days(FIRST + minutes(n), 13)
        assert sum(entry["event"] == "slot_adopted" for entry in world.logs) == 3


class TestDefects:
    async def test_a_slot_in_a_zone_that_does_not_exist_holds_up_nobody(self, world: World, desk: Desk) -> None:
        world.tolerated.add("series_failed")
        bad = await by_hand(world, timezone="Mars/Base")
        good = await by_hand(world)
        for _ in range(3):
            await desk.make_due()
        assert len(await slots_of(world, good)) == 13
        assert (await world.found(bad)).series_id is None
        # It is said once, not in each round.
        assert [entry["series"] for entry in world.logs if entry["event"] == "series_failed"] == [bad]

    async def test_nor_does_a_series_that_cannot_be_read(self, world: World, desk: Desk) -> None:
        world.tolerated.add("series_failed")
        await desk.offer(daily())
        series = await series_of(world)
        broken = replace(series, id=SlotId("b" * 24), anchor="some time", next_start=NOW - DAY)
        await world.catalog.add_series(broken)
        await world.at(DAY)
        await desk.make_due()
        assert await starts_of(world) == days(FIRST, 15)
        await world.catalog.change_series(replace(broken, anchor=series.anchor), broken.updated_at)
        await desk.make_due()
        assert (await series_of(world, broken.id)).next_number == 15

    async def test_many_defective_ones_do_not_take_the_places_of_the_others(
        self, world: World, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("coordinator.services.occurrences._AT_ONCE", 3)
        world.tolerated.add("series_failed")
        for _ in range(5):
            await by_hand(world, timezone="Mars/Base")
        good = await by_hand(world)
        for _ in range(3):
            await desk.make_due()
        assert len(await slots_of(world, good)) == 13

    @pytest.mark.parametrize("call", ["slots_to_adopt", "due_series", "series", "add_slot", "page", "change_series"])
    async def test_silence_is_passed_on_and_the_next_round_does_it(self, world: World, desk: Desk, call: str) -> None:
        await desk.offer(daily())
        await world.at(DAY)

        async def silence() -> None:
            raise OutcomeUnknownError("nobody answers")

        desk.catalog.before(call, silence)
        with pytest.raises(OutcomeUnknownError):
            await desk.make_due()
        await desk.make_due()
        assert await starts_of(world) == days(FIRST, 15)
        assert (await series_of(world)).next_number == 15

    async def test_a_registration_is_no_obstacle(self, world: World, desk: Desk) -> None:
        await desk.offer(daily())
        await soon(desk.node.booking.register(occurrence_id(SLOT, 3), ANNA))
        await world.at(2 * DAY)
        await desk.make_due()
        assert await world.statuses(occurrence_id(SLOT, 3)) == {ANNA: "registered"}
        assert (await number(world, 3)).registered_count == 1
        assert await starts_of(world) == days(FIRST, 16)
        assert timedelta(0) < (await series_of(world)).updated_at - NOW
