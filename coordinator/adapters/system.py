"""Time as the machine tells it. Owns the real clock and the event loop's timers; must not know who waits for them."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from coordinator.ports.clock import Timer


class SystemClock:
    """The `Clock` of a running coordinator. Timers need a running event loop."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware UTC, cut to milliseconds."""
        # A third of what cutting a datetime would cost; as a float, whole milliseconds are exact to less than half a
        # microsecond.
        return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start; never runs backwards."""
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the event loop after `seconds` (at once if not positive)."""
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, callback) if seconds > 0 else loop.call_soon(callback)

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`; at least let the event loop run once."""
        await asyncio.sleep(seconds)
