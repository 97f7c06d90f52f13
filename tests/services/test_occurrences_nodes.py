"""However many nodes make occurrences, each is made once, and all follow the series as it is in the end."""

import asyncio
import random
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.domain.errors import SlotInactiveError, UnavailableError
from coordinator.domain.ids import occurrence_id
from coordinator.domain.model import Level, SlotChanges
from coordinator.domain.recurrence import wall_clock
from tests.domain.story import MOMENT, minutes
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
    values,
    weekly,
)
from tests.services.faults import Mishap
from tests.services.harness import World, soon


@pytest.fixture
async def desk(world: World) -> Desk:
    return Desk(world, "a0")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class TestSeveralNodes:
    @pytest.mark.parametrize("nodes", [2, 3, 4])
    async def test_each_occurrence_is_made_once(self, world: World, nodes: int) -> None:
        desks = [Desk(world, f"a{n}") for n in range(nodes)]
        await desks[0].offer(daily())
        await world.at(5 * DAY)
        await asyncio.gather(*(desk.make_due() for desk in desks), *(soon(d.occurrences.bring_up(SLOT)) for d in desks))
        assert await starts_of(world) == days(FIRST, 19)
        made = [entry["slot"] for entry in world.logs if entry["event"] == "occurrence_made"]
        assert sorted(made) == sorted(values(await slots_of(world), "id"))
        series = await series_of(world)
        assert (series.next_number, series.next_start, series.pending) == (19, FIRST + 19 * DAY, None)

    async def test_a_node_that_reads_late_finds_nothing_to_do(self, world: World, desk: Desk) -> None:
        await desk.offer(daily())
        other = Desk(world, "b0")
        await world.at(DAY)
        desk.course.begin(0, Mishap.NOT_DONE)
        desk.catalog.before("change_series", other.make_due)
        await desk.make_due()
        series = await series_of(world)
        assert series.next_number == 15
        assert await starts_of(world) == days(FIRST, 15)
        assert desk.course.calls.count("change_series") == 1
        assert other.course.calls.count("change_series") == 1

    async def test_a_series_that_always_changes_is_left_to_the_next_round(self, world: World, desk: Desk) -> None:
        await desk.offer(daily())
        await world.at(DAY)

        async def touch() -> None:
            series = await series_of(world)
            touched = replace(series, updated_at=series.updated_at + MOMENT, next_start=world.clock.now())
            assert await world.catalog.change_series(touched, series.updated_at)

        for _ in range(100):
            desk.catalog.before("change_series", touch)
        with pytest.raises(UnavailableError):
            await desk.make_due()
        assert await starts_of(world) == days(FIRST, 15)

    async def test_what_a_slow_node_makes_from_older_terms_is_put_right(self, world: World, desk: Desk) -> None:
        """It has read the series, is overtaken by an edit that moves everything far ahead, and then makes a slot."""
        await desk.offer(weekly())
        other = Desk(world, "b0")
        await world.at(WEEK)

        async def overtake() -> None:
            await other.edit_series(occurrence_id(SLOT, 1), level=Level.C2, start_time=FIRST + 10 * WEEK)

        desk.catalog.before("add_slot", overtake)
        await desk.make_due()
        slots = await slots_of(world)
        assert values(slots[1:], "level") == [Level.C2] * 2
        assert values(slots, "start_time") == [FIRST, FIRST + 10 * WEEK, FIRST + 11 * WEEK]

    async def test_also_when_it_dies_at_once(self, world: World, desk: Desk) -> None:
        await desk.offer(weekly())
        other = Desk(world, "b0")
        await world.at(WEEK)
        overtaken = other.edit_series(occurrence_id(SLOT, 1), level=Level.C2, start_time=FIRST + 10 * WEEK)
        desk.catalog.before("add_slot", lambda: overtaken)
        # The calls are: look for slots to adopt, for series due, read the series, add a slot.
        assert await desk.cut_short(desk.occurrences.make_due(), 4, Mishap.DEATH_AFTER)
        assert (await number(world, 2)).level is Level.B1
        await soon(other.occurrences.bring_up(SLOT))
        assert (await number(world, 2)).level is Level.C2
        assert (await number(world, 2)).start_time == FIRST + 11 * WEEK

    async def test_a_slow_node_does_not_revive_a_series_that_was_stopped(self, world: World, desk: Desk) -> None:
        await desk.offer(daily())
        other = Desk(world, "b0")
        await world.at(DAY)
        desk.catalog.before("add_slot", lambda: other.stop(SLOT))
        await desk.make_due()
        slots = await slots_of(world)
        assert [slot.id for slot in slots if slot.is_active and slot.start_time > world.clock.now()] == []
        assert len(slots) > 13  # it did make some

    async def test_a_node_that_is_overtaken_while_it_puts_things_right_puts_them_right_again(
        self, world: World, desk: Desk
    ) -> None:
        """Each of its writes comes after a newer edit has reached every slot."""
        await desk.offer(daily())
        other = Desk(world, "b0")
        begun = other.offering.edit(SLOT, SlotChanges(level=Level.C1), whole_series=True, expected=None)
        assert await other.cut_short(begun, 5, Mishap.NOT_DONE)  # the series is written, no slot is
        assert (await series_of(world)).pending == SlotChanges(level=Level.C1)

        async def overtake_again() -> None:
            desk.catalog.before("change_slot", partial(other.edit_series, SLOT, level=Level.A2))

        other.course.begin(0, Mishap.NOT_DONE)
        desk.catalog.before("change_slot", partial(other.edit_series, SLOT, level=Level.A1))
        desk.catalog.before("change_series", overtake_again)
        await desk.make_due()
        assert (await series_of(world)).level is Level.A2
        assert set(values(await slots_of(world), "level")) == {Level.A2}

    @pytest.mark.parametrize("seed", range(60))
    async def test_in_whatever_order_several_nodes_work_the_slots_are_what_the_series_says(
        self, world: World, seed: int
    ) -> None:
        dice = random.Random(seed)
        desks = [Desk(world, f"a{n}", dice) for n in range(4)]
        await desks[0].offer(daily())
        await world.at(2 * DAY)
        last = occurrence_id(SLOT, 12)
        works: list[Any] = [desk.make_due() for desk in desks]
        works += [desks[1].edit_series(last, level=Level.C1, max_participants=20)]
        works += [desks[2].edit_series(last, level=Level.A1, start_time=FIRST + 12 * DAY + minutes(45))]
        works += [desks[3].edit_series(last, level=Level.A2, timezone="Asia/Tokyo")]
        works += [desks[n].edit(occurrence_id(SLOT, 5 + n), duration_minutes=45) for n in range(4)]
        if seed % 2:
            works += [desks[0].stop(SLOT), desks[1].edit_series(SLOT, is_active=True)]
        dice.shuffle(works)
        answers = await asyncio.gather(*works, return_exceptions=True)
        # Between the stop and its end, edits are refused; and that is all that is.
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert all(isinstance(answer, SlotInactiveError) and seed % 2 for answer in refused)
        series = await series_of(world)
        assert series.pending is None
        assert series.is_active or series.next_start is None
        coming = [slot for slot in await slots_of(world) if slot.start_time > world.clock.now()]
        assert len(coming) >= 10
        local = {wall_clock(slot.start_time, slot.timezone).time() for slot in coming}
        assert local == {datetime.fromisoformat(series.anchor).time()}
        for slot in coming:
            assert slot.is_active is series.is_active
            assert (slot.level, slot.max_participants) == (series.level, series.max_participants)
            assert slot.timezone == series.timezone
        if not refused:
            assert [slot.series_number for slot in coming if slot.duration_minutes == 45] == [5, 6, 7, 8]
            assert {slot.start_time.minute for slot in coming} == {45}
            assert (series.max_participants, series.timezone) == (20, "Asia/Tokyo")
