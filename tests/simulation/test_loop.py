"""The loop whose time is a number: order, jumps, and processes that stand still or die. Sleeping takes no time here."""

import asyncio
import time

import pytest

from tests.simulation.loop import Process, VirtualLoop, run_virtually


async def note(log: list[str], name: str, seconds: float, times: int) -> None:
    """Write a name time and again, and at the end that it is over."""
    try:
        for _ in range(times):
            await asyncio.sleep(seconds)
            log.append(name)
    finally:
        log.append(f"end of {name}")


def test_time_jumps_to_the_next_timer() -> None:
    async def main(loop: VirtualLoop) -> list[float]:
        moments = []
        for seconds in (3600.0, 0.5):
            await asyncio.sleep(seconds)
            moments.append(loop.time())
        return moments

    begin = time.monotonic()
    assert run_virtually(main) == [3600.0, 3600.5]
    assert time.monotonic() - begin < 60


def test_what_is_ready_runs_in_the_order_in_which_it_became_ready() -> None:
    async def main(loop: VirtualLoop) -> list[int]:
        ran: list[int] = []
        for number in range(20):
            loop.call_soon(ran.append, number)
        await asyncio.sleep(0)
        return ran

    assert run_virtually(main) == list(range(20))


def test_a_process_that_stands_still_runs_later_what_it_would_have_run() -> None:
    async def main(loop: VirtualLoop) -> tuple[list[str], list[str]]:
        log: list[str] = []
        process = Process("a")
        task = loop.create_task(note(log, "a", 1.0, 3), context=process.context)
        await asyncio.sleep(1.5)
        process.pause()
        await asyncio.sleep(10)
        meanwhile = list(log)
        process.go_on(loop)
        await task
        assert loop.time() == 12.5
        return meanwhile, log

    meanwhile, log = run_virtually(main)
    assert meanwhile == ["a"]
    assert log == ["a", "a", "a", "end of a"]


def test_a_dead_process_runs_nothing_more_not_even_its_cleaning_up() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        log: list[str] = []
        process = Process("a")
        task = loop.create_task(note(log, "a", 1.0, 3), context=process.context)
        await asyncio.sleep(1.5)
        process.kill()
        await asyncio.sleep(10)
        assert not task.done()
        return list(log)

    assert run_virtually(main) == ["a"]


def test_a_process_stands_still_with_all_that_it_has_started() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        log: list[str] = []
        process = Process("a")

        async def start() -> None:
            asyncio.get_running_loop().call_later(2.0, log.append, "its timer")
            await asyncio.create_task(note(log, "its task", 1.0, 5))

        task = loop.create_task(start(), context=process.context)
        await asyncio.sleep(0.5)
        process.pause()
        await asyncio.sleep(10)
        assert not task.done()
        return list(log)

    assert run_virtually(main) == []


def test_what_a_callback_raises_ends_the_run() -> None:
    async def main(loop: VirtualLoop) -> None:
        def fail() -> None:
            raise ValueError("a callback")

        loop.call_later(1.0, fail)
        await asyncio.sleep(100)

    with pytest.raises(ValueError, match="a callback"):
        run_virtually(main)


def test_a_run_in_which_nothing_can_happen_any_more_ends() -> None:
    async def main(loop: VirtualLoop) -> None:
        await loop.create_future()

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        run_virtually(main)
