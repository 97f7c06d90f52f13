"""A node's own clock: a little wrong, and not always by the same. Owns the error; true time is the loop's."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from coordinator.ports.clock import Timer

_MILLISECOND = timedelta(milliseconds=1)


class SkewedClock:
    """A `Clock` on a loop with virtual time.

    Args:
        loop: The loop.
        epoch: What a true clock tells when the loop's time is 0; aware.
        ahead_seconds: By how much this one is ahead of it then.
        drift: By how much it gains in each second.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, epoch: datetime, ahead_seconds: float = 0.0, drift: float = 0.0
    ) -> None:
        self._loop = loop
        self._epoch = epoch
        self._ahead_seconds = ahead_seconds
        self._pace = 1.0 + drift

    def now(self) -> datetime:
        """Return the wall-clock time, cut to milliseconds."""
        return self._epoch + int((self._ahead_seconds + self.monotonic()) * 1000) * _MILLISECOND

    def monotonic(self) -> float:
        """Return seconds since the beginning, by this clock."""
        return self._loop.time() * self._pace

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once this clock is `seconds` further (at once if not positive)."""
        if seconds <= 0:
            return self._loop.call_soon(callback)
        return self._loop.call_later(seconds / self._pace, callback)

    async def sleep(self, seconds: float) -> None:
        """Wait until this clock is `seconds` further; at least let the loop run once."""
        await asyncio.sleep(seconds / self._pace)
