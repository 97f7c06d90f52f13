"""What the manual clock promises beyond the port `Clock`: everything happens at its own time, in order, to the end."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from coordinator.adapters.memory.clock import ManualClock, settle
from coordinator.ports.clock import Timer

START = datetime(2030, 3, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


async def test_it_stands_still_until_it_is_advanced(clock: ManualClock) -> None:
    await settle()
    assert clock.now() == START
    assert clock.monotonic() == 0
    await clock.advance(1.5)
    assert clock.now() == START + timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


async def test_it_can_be_advanced_to_an_instant(clock: ManualClock) -> None:
    await clock.advance_to(START + timedelta(minutes=3))
    assert clock.now() == START + timedelta(minutes=3)
    await clock.advance_to(START)
    assert clock.now() == START + timedelta(minutes=3)


async def test_many_small_steps_are_one_large_one(clock: ManualClock) -> None:
    for _ in range(1000):
        await clock.advance(0.1)
    assert clock.monotonic() == 100
    assert clock.now() == START + timedelta(seconds=100)


async def test_timers_go_off_in_order_of_time_each_at_its_own_instant(clock: ManualClock) -> None:
    seen: list[tuple[str, datetime, float]] = []

    def note(name: str) -> None:
        seen.append((name, clock.now(), clock.monotonic()))

    for name, seconds in (("c", 3), ("a", 1), ("late", 5.001), ("b", 2), ("on the dot", 5)):
        clock.call_later(seconds, partial(note, name))
    await clock.advance(5)
    expected = [("a", 1), ("b", 2), ("c", 3), ("on the dot", 5)]
    assert seen == [(name, START + timedelta(seconds=at), at) for name, at in expected]
    assert clock.pending == 1


async def test_timers_of_one_instant_go_off_in_the_order_in_which_they_were_set(clock: ManualClock) -> None:
    seen: list[int] = []
    for number in range(20):
        clock.call_later(1, partial(seen.append, number))
    await clock.advance(1)
    assert seen == list(range(20))


async def test_what_a_timer_sets_in_motion_happens_at_its_time(clock: ManualClock) -> None:
    seen: list[tuple[str, float]] = []

    async def work(name: str) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        seen.append((name, clock.monotonic()))

    tasks: list[asyncio.Task[None]] = []
    clock.call_later(1, lambda: tasks.append(asyncio.create_task(work("first"))))
    clock.call_later(2, lambda: tasks.append(asyncio.create_task(work("second"))))
    await clock.advance(10)
    assert seen == [("first", 1), ("second", 2)]


async def test_timers_that_timers_set_go_off_too(clock: ManualClock) -> None:
    seen: list[float] = []

    def again() -> None:
        seen.append(clock.monotonic())
        clock.call_later(1, again)

    clock.call_later(1, again)
    await clock.advance(4.5)
    assert seen == [1, 2, 3, 4]


async def test_sleepers_wake_in_turn(clock: ManualClock) -> None:
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            seen.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("a", 1, 2, 3))
        group.create_task(sleeper("b", 2, 2))
        # Both have fallen asleep by the time the clock moves, though nothing has let them run yet.
        await clock.advance(6)
    assert seen == [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 6)]


async def test_a_cancelled_sleeper_leaves_no_timer(clock: ManualClock) -> None:
    sleeper = asyncio.create_task(clock.sleep(1))
    await settle()
    assert clock.pending == 1
    sleeper.cancel()
    await settle()
    assert sleeper.cancelled()
    assert clock.pending == 0
    await clock.advance(2)


async def test_a_timer_cancelled_by_an_earlier_one_of_the_same_instant_does_not_go_off(clock: ManualClock) -> None:
    seen: list[str] = []
    timers: list[Timer] = []

    def cancel_the_next() -> None:
        timers[0].cancel()

    clock.call_later(1, cancel_the_next)
    timers.append(clock.call_later(1, lambda: seen.append("called")))
    await clock.advance(1)
    assert seen == []


async def test_a_loop_that_never_rests_is_reported(clock: ManualClock) -> None:
    loop = asyncio.get_running_loop()
    restless = True

    def again() -> None:
        if restless:
            loop.call_soon(again)

    again()
    with pytest.raises(RuntimeError, match="never comes to rest"):
        await clock.advance(1)
    restless = False


async def test_now_is_cut_to_milliseconds(clock: ManualClock) -> None:
    await clock.advance(0.0019)
    assert clock.now() == START + timedelta(milliseconds=1)
    assert clock.monotonic() == 0.0019
