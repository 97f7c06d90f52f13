"""What is about to be written: gathered for each socket while the event loop is busy, then written in one piece.

One system call for each socket and turn of the loop is what a broadcast costs; the number of messages hardly counts.
"""

import asyncio
from typing import Protocol

from coordinator.telemetry import get_logger

_log = get_logger("outgoing")


class Writable(Protocol):
    """A socket with something to write."""

    def flush(self) -> None:
        """Write what has been gathered; must not raise."""


class Outgoing:
    """The sockets of one event loop that have something to write."""

    def __init__(self) -> None:
        self._waiting: list[Writable] = []

    def mark(self, socket: Writable) -> None:
        """Let a socket be flushed once what runs now has run. To be called once until then."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(socket)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for socket in waiting:
            try:
                socket.flush()
            except Exception:  # noqa: BLE001 - a defect with one socket must not silence all that come after it
                _log.exception("flush_failed")
