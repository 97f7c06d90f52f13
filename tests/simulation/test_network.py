"""What can become of a call to a store: each mishap does to it what its name says."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from coordinator.ports.journal import OutcomeUnknownError
from tests.simulation.loop import Process, VirtualLoop, run_virtually
from tests.simulation.network import Death, Line, Mishap, Moment, Weather
from tests.simulation.trace import Trace


class Counter:
    """A store that counts, in two writes."""

    def __init__(self) -> None:
        self.first = 0
        self.second = 0
        self.is_half_done = asyncio.Event()

    async def count(self) -> int:
        await asyncio.sleep(0)
        self.first += 1
        self.is_half_done.set()
        await asyncio.sleep(0)
        self.second += 1
        return self.second


Test = Callable[[VirtualLoop, Line, Counter], Awaitable[None]]


def on_a_line(test: Test) -> None:
    """Run a test with a line to a counter, in the network's usual weather."""

    async def main(loop: VirtualLoop) -> None:
        await test(loop, Line("a1", Weather(), Random(1), Trace()), Counter())

    run_virtually(main)


class OneMishap(Random):
    """Chance that brings about one mishap, and is quick otherwise."""

    def __init__(self, mishap: Mishap) -> None:
        super().__init__(1)
        self._mishap = mishap

    def choice(self, options: Any) -> Any:
        return self._mishap if self._mishap in options else options[-1]


async def refused(line: Line, store: Counter) -> None:
    with pytest.raises(OutcomeUnknownError, match="did not answer count"):
        await line.through("count", store.count)


def test_in_calm_a_call_is_done_once_and_answered() -> None:
    async def test(loop: VirtualLoop, line: Line, store: Counter) -> None:
        assert await line.through("count", store.count) == 1
        assert (store.first, store.second) == (1, 1)
        assert 0 < loop.time() < 0.1

    on_a_line(test)


@pytest.mark.parametrize(("mishap", "at_once", "in_the_end"), [("LOST", 0, 0), ("UNANSWERED", 1, 1), ("LATE", 0, 1)])
def test_each_mishap_is_what_its_name_says(mishap: str, at_once: int, in_the_end: int) -> None:
    async def test(_loop: VirtualLoop, line: Line, store: Counter) -> None:
        line.weather.mishaps = 1.0
        line.random = OneMishap(Mishap[mishap])
        await refused(line, store)
        assert store.second == at_once
        await asyncio.sleep(10)
        assert store.second == in_the_end

    on_a_line(test)


@pytest.mark.parametrize("what", ["the line", "the stores"])
def test_nothing_gets_through_where_there_is_no_way(what: str) -> None:
    async def test(_loop: VirtualLoop, line: Line, store: Counter) -> None:
        line.is_cut, line.weather.is_out = what == "the line", what == "the stores"
        await asyncio.gather(*(refused(line, store) for _ in range(40)))
        assert store.first == 0
        line.is_cut = line.weather.is_out = False
        await asyncio.sleep(10)
        assert 0 < store.second < 40  # some were sent again

    on_a_line(test)


def test_who_is_cut_off_between_two_writes_has_made_one() -> None:
    async def test(loop: VirtualLoop, line: Line, store: Counter) -> None:
        call = loop.create_task(line.through("count", store.count))
        await store.is_half_done.wait()
        line.is_cut = True
        with pytest.raises(OutcomeUnknownError):
            await call
        assert (store.first, store.second) == (1, 0)

    on_a_line(test)


@pytest.mark.parametrize(("moment", "done"), [(Moment.BEFORE, 1), (Moment.AFTER, 2)])
def test_who_dies_of_a_call_hears_nothing_more(moment: Moment, done: int) -> None:
    async def test(loop: VirtualLoop, line: Line, store: Counter) -> None:
        process = Process("a1")
        died: list[str] = []

        def die(when: str) -> None:
            died.append(when)
            process.kill()

        line.die = die
        line.dies_of = Death(moment, "count", 2)
        answers: list[int] = []

        async def work() -> None:
            await line.through("other", store.count)
            store.first = store.second = 0
            answers.append(await line.through("count", store.count))
            answers.append(await line.through("count", store.count))

        task = loop.create_task(work(), context=process.context)
        await asyncio.sleep(10)
        assert not task.done()
        assert answers == [1]
        assert store.second == done
        assert len(died) == 1

    on_a_line(test)


def test_what_was_sent_arrives_though_the_sender_stands_still() -> None:
    async def test(loop: VirtualLoop, line: Line, store: Counter) -> None:
        process = Process("a1")
        task = loop.create_task(line.through("count", store.count), context=process.context)
        await asyncio.sleep(0)
        process.pause()
        await asyncio.sleep(10)
        assert store.second == 1
        assert not task.done()
        process.go_on(loop)
        assert await task == 1

    on_a_line(test)
