"""Whatever is cut short, at whichever call and in whichever way: the next round of any node finishes it, once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from coordinator.domain.ids import SlotId, occurrence_id
from coordinator.domain.model import Level, Recurrence, SessionStatus, SlotChanges, TimeSlot
from coordinator.services.settlement import AFTERMATH
from tests.domain.story import ANNA, BEN, CLEO, LOBBY, START, minutes
from tests.services.desks import DAY, FIRST, SLOT, Desk, daily, days, series_of, slots_of, starts_of, values
from tests.services.faults import Mishap
from tests.services.harness import World, soon

Scene = Callable[[World, Desk], Awaitable[Any]]

pytestmark = pytest.mark.parametrize("mishap", list(Mishap))


async def cuts(world: World, mishap: Mishap, scene: Scene, work: Scene) -> AsyncIterator[tuple[World, Desk, bool]]:
    """Cut some work short at each of its calls, each time in a world of its own, in which the scene has been set.

    Yields:
        The world, another node that lives, and whether the work was cut short: the last time it was not.
    """
    at, is_cut = 0, True
    while is_cut:
        at += 1
        here = World(world.logs)
        await scene(here, Desk(here, "50"))
        doomed = Desk(here, "a0")
        is_cut = await doomed.cut_short(work(here, doomed), at, mishap)
        await doomed.node.crash()
        yield here, Desk(here, "b0"), is_cut
        await here.close()
    assert at > 3, "nothing was cut short"


async def nothing(world: World, desk: Desk) -> None:
    pass


async def offered(world: World, desk: Desk) -> None:
    await desk.offer(daily())


async def finish(world: World, desk: Desk) -> None:
    """One round of everything that a living node does by itself, and a second one, which has nothing left to do."""
    await desk.make_due()
    await soon(desk.node.settlement.settle_due())
    before = [await series_of(world)] if await world.catalog.series(SLOT) else []
    await desk.make_due()
    assert before == ([await series_of(world)] if before else [])


async def check_whole(world: World, count: int) -> list[TimeSlot]:
    """Check that a daily series has its first `count` occurrences, each once, and nothing left to do."""
    slots = await slots_of(world)
    assert values(slots, "id") == [occurrence_id(SLOT, n) for n in range(count)]
    assert values(slots, "series_number") == list(range(count))
    series = await series_of(world)
    assert (series.next_number, series.pending) == (count, None)
    return slots


async def test_an_offer(world: World, mishap: Mishap) -> None:
    def offer(_: World, desk: Desk) -> Awaitable[Any]:
        return desk.offering.offer(daily(), SLOT)

    outcomes = set()
    async for here, living, is_cut in cuts(world, mishap, nothing, offer):
        await finish(here, living)
        outcomes.add(is_offered := await here.catalog.series(SLOT) is not None)
        assert is_cut or is_offered
        if is_offered:
            assert values(await check_whole(here, 13), "start_time") == days(FIRST, 13)
        else:
            assert await slots_of(here) == []
        # The client, who has heard nothing, asks again.
        slot = await living.offer(daily())
        assert (slot.id, slot.start_time, slot.series_number) == (SLOT, FIRST, 0)
        await check_whole(here, 13)
    assert outcomes == {False, True}


async def test_a_round_that_makes_occurrences(world: World, mishap: Mishap) -> None:
    async def three_days_later(here: World, desk: Desk) -> None:
        await desk.offer(daily())
        await here.at(3 * DAY)

    async for here, living, _ in cuts(world, mishap, three_days_later, lambda _, desk: desk.occurrences.make_due()):
        await finish(here, living)
        assert values(await check_whole(here, 17), "start_time") == days(FIRST, 17)


async def test_the_adoption_of_a_slot_put_in_by_hand(world: World, mishap: Mishap) -> None:
    by_hand: list[SlotId] = []

    async def put_in(here: World, _: Desk) -> None:
        by_hand[:] = [await here.slot([ANNA], start=FIRST, recurrence=Recurrence.DAILY)]

    async for here, living, _ in cuts(world, mishap, put_in, lambda _, desk: desk.occurrences.make_due()):
        await finish(here, living)
        slots = await slots_of(here, by_hand[0])
        assert values(slots, "id") == [occurrence_id(by_hand[0], n) for n in range(13)]
        assert values(slots, "start_time") == days(FIRST, 13)
        assert (await series_of(here, by_hand[0])).next_number == 13


async def test_an_edit_of_a_series(world: World, mishap: Mishap) -> None:
    changes = SlotChanges(level=Level.C1, max_participants=5, start_time=FIRST + 3 * DAY + minutes(45))

    def edit(_: World, desk: Desk) -> Awaitable[Any]:
        return desk.offering.edit(occurrence_id(SLOT, 3), changes, whole_series=True, expected=None)

    async def two_days_later(here: World, desk: Desk) -> None:
        await desk.offer(daily())
        await here.at(2 * DAY + minutes(50))

    outcomes = set()
    async for here, living, is_cut in cuts(world, mishap, two_days_later, edit):
        await finish(here, living)
        slots = await check_whole(here, 16)
        coming, over = slots[2:], slots[:2]
        assert values(over, "start_time") == days(FIRST, 2)
        assert set(values(over, "level")) == {Level.B1}
        outcomes.add(is_edited := coming[0].level is Level.C1)
        assert is_cut or is_edited
        if is_edited:
            # All or none: what comes is what the series says.
            assert set(values(coming, "level")) == {Level.C1}
            assert set(values(coming, "max_participants")) == {5}
            assert values(coming, "start_time") == days(FIRST + 2 * DAY + minutes(45), 14)
        else:
            assert values(slots, "start_time") == days(FIRST, 16)
            assert set(values(slots, "level")) == {Level.B1}
    assert outcomes == {False, True}


async def test_the_end_of_a_series(world: World, mishap: Mishap) -> None:
    async def booked_and_open(here: World, desk: Desk) -> None:
        """The lobby of the first slot is open; the third has registrations."""
        await desk.offer(daily())
        for user, slot in ((ANNA, SLOT), (BEN, SLOT), (CLEO, occurrence_id(SLOT, 2))):
            await soon(desk.node.booking.register(slot, user))
        await here.at(DAY + LOBBY)
        await desk.make_due()
        await soon(desk.node.openings.open_due())
        assert await here.session_of(SLOT) is not None

    def stop(_: World, desk: Desk) -> Awaitable[Any]:
        return desk.offering.deactivate(SLOT, whole_series=True, expected=None)

    outcomes = set()
    async for here, living, is_cut in cuts(world, mishap, booked_and_open, stop):
        await finish(here, living)
        session = await here.session_of(SLOT)
        assert session is not None
        series = await series_of(here)
        outcomes.add(is_stopped := not series.is_active)
        assert is_cut or is_stopped
        slots = await check_whole(here, 14)
        assert values(slots, "is_active") == [not is_stopped] * 14
        status = "cancelled" if is_stopped else "registered"
        assert await here.statuses(SLOT) == {ANNA: status, BEN: status}
        assert await here.statuses(occurrence_id(SLOT, 2)) == {CLEO: status}
        assert (await here.state(session)).status is (SessionStatus.ENDED if is_stopped else SessionStatus.WAITING)
        await here.at(DAY + LOBBY + AFTERMATH)
        await soon(living.node.settlement.settle_due())
        assert is_stopped == (series.next_start is None)
        await here.at(20 * DAY)
        await living.make_due()
        assert len(await slots_of(here)) == 14 if is_stopped else len(await slots_of(here)) > 14
    assert outcomes == {False, True}


async def test_a_series_that_goes_on(world: World, mishap: Mishap) -> None:
    async def stopped(here: World, desk: Desk) -> None:
        await desk.offer(daily())
        await desk.stop(SLOT)
        await here.at(2 * DAY)

    def go_on(_: World, desk: Desk) -> Awaitable[Any]:
        return desk.offering.edit(SLOT, SlotChanges(is_active=True), whole_series=True, expected=None)

    outcomes = set()
    async for here, living, is_cut in cuts(world, mishap, stopped, go_on):
        await finish(here, living)
        series = await series_of(here)
        outcomes.add(series.is_active)
        assert is_cut or series.is_active
        slots = await check_whole(here, 16 if series.is_active else 13)
        # Number 1 starts at this instant, so it is not to come.
        assert values(slots, "is_active") == [False, False, *[series.is_active] * (len(slots) - 2)]
        assert await starts_of(here) == days(FIRST, len(slots))
        assert here.clock.now() == START + 2 * DAY
    assert outcomes == {False, True}
