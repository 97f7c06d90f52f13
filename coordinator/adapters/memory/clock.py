"""Time that stands still until it is moved. Owns its timers; must not know who set them."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime, timedelta

from coordinator.ports.clock import Timer

_PASSES_WITHOUT_INSIGHT = 100
_PASSES_UNTIL_HOPELESS = 100_000


class ManualClock:
    """A `Clock` for tests: `advance` is the only thing that moves it.

    Args:
        start: The first instant that `now` tells; aware.
    """

    def __init__(self, start: datetime) -> None:
        self._start = start
        # Whole microseconds: a thousand steps of 0.1 s must be 100 s.
        self._elapsed_us = 0
        self._timers: list[_ManualTimer] = []
        self._timers_made = 0

    def now(self) -> datetime:
        """Return the wall-clock time, cut to milliseconds."""
        instant = self._start + timedelta(microseconds=self._elapsed_us)
        return instant.replace(microsecond=instant.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Return seconds since `start`."""
        return self._elapsed_us / 1_000_000

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the event loop once the clock has been advanced by `seconds` (at once if not positive)."""
        if seconds <= 0:
            return asyncio.get_running_loop().call_soon(callback)
        self._timers_made += 1
        timer = _ManualTimer(self._elapsed_us + _microseconds(seconds), self._timers_made, callback)
        heapq.heappush(self._timers, timer)
        return timer

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by `seconds`; at least let the event loop run once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Move time forward by `seconds`, calling what falls due at its own instant, in order of time.

        Before, between and after the calls the event loop runs until nothing is left to run, so that everything that a
        call sets in motion (further timers included) happens at the time of that call. Work on other threads is not
        waited for.
        """
        target_us = self._elapsed_us + _microseconds(seconds)
        await settle()
        while self._timers and self._timers[0].due_us <= target_us:
            timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                self._elapsed_us = max(self._elapsed_us, timer.due_us)
                asyncio.get_running_loop().call_soon(timer.go_off)
                await settle()
        # Whatever ran meanwhile may have advanced this clock itself; it never goes back.
        self._elapsed_us = max(self._elapsed_us, target_us)
        await settle()

    async def advance_to(self, instant: datetime) -> None:
        """Move time forward to `instant`; nothing happens if that is not later than now."""
        behind = instant - self._start - timedelta(microseconds=self._elapsed_us)
        await self.advance(max(0.0, behind / timedelta(seconds=1)))

    @property
    def pending(self) -> int:
        """How many timers and sleepers wait."""
        return sum(timer.callback is not None for timer in self._timers)


class _ManualTimer:
    """A call to come. Timers due at the same instant go off in the order in which they were set."""

    __slots__ = ("callback", "due_us", "number")

    def __init__(self, due_us: int, number: int, callback: Callable[[], None]) -> None:
        self.due_us = due_us
        self.number = number
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: "_ManualTimer") -> bool:
        return (self.due_us, self.number) < (other.due_us, other.number)

    def go_off(self) -> None:
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()

    def cancel(self) -> None:
        """Do not call; harmless when called already."""
        self.callback = None


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


async def settle() -> None:
    """Let the event loop run until nothing but this task is ready to.

    Raises:
        RuntimeError: That does not happen, because something always is: two tasks that settle at once, for instance.
    """
    # asyncio's own loop tells what is ready; of another (uvloop) only a number of passes can be asked.
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    if ready is None:
        for _ in range(_PASSES_WITHOUT_INSIGHT):
            await asyncio.sleep(0)
        return
    for _ in range(_PASSES_UNTIL_HOPELESS):
        await asyncio.sleep(0)
        if not ready:
            return
    raise RuntimeError("the event loop never comes to rest")
