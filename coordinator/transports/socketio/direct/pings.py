"""Which clients are silent: Engine.IO's pings, for all clients together.

A wheel with a few spokes turns once in a ping interval. A client is looked at when its spoke comes by: whoever has not
answered the ping of the last turn is lost, everyone else gets the next one. So a client costs a place in a set instead
of a timer or a task, and is found to be lost one interval after its ping.
"""

from typing import Protocol

from coordinator.ports.clock import Clock, Timer
from coordinator.telemetry import get_logger

_SPOKES = 20

_log = get_logger("pings")


class Pinged(Protocol):
    """Someone who must answer pings."""

    def ping(self) -> None:
        """Ask whether it is still there; or let go of it, if it has not answered the last time. Must not raise."""


class Pings:
    """The wheel.

    Args:
        clock: Time.
        interval_seconds: How often each client is asked, and how long it has to answer.
    """

    def __init__(self, clock: Clock, interval_seconds: float) -> None:
        self._clock = clock
        self._step_seconds = interval_seconds / _SPOKES
        self._spokes: list[set[Pinged]] = [set() for _ in range(_SPOKES)]
        self._current = 0
        self._count = 0
        self._timer: Timer | None = None

    def add(self, client: Pinged) -> int:
        """Ask a client from one interval from now on; return its spoke."""
        spoke = (self._current - 1) % _SPOKES  # that of the step just begun: a whole turn away
        self._spokes[spoke].add(client)
        self._count += 1
        if self._timer is None:
            self._timer = self._clock.call_later(self._step_seconds, self._turn)
        return spoke

    def remove(self, client: Pinged, spoke: int) -> None:
        """Ask a client no more."""
        self._spokes[spoke].discard(client)
        self._count -= 1
        if not self._count and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._timer = self._clock.call_later(self._step_seconds, self._turn)
        spoke = self._spokes[self._current]
        self._current = (self._current + 1) % _SPOKES
        for client in list(spoke):
            if client not in spoke:
                continue  # it has gone because another one did
            try:
                client.ping()
            except Exception:  # noqa: BLE001 - a defect with one client must not leave the others alone
                _log.exception("ping_failed")
