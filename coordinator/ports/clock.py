"""Time. The only source of it above the domain, so that tests can stand still."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol


class Timer(Protocol):
    """Something that will be called, unless cancelled before."""

    def cancel(self) -> None:
        """Do not call; harmless when called already."""


class Clock(Protocol):
    """Wall clock, stopwatch and alarm."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware UTC, cut to milliseconds."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start; never runs backwards."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the event loop after `seconds` (at once if not positive)."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
