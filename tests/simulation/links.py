"""A connection between a client and a node: in order in each direction, late, and sometimes gone without a word.

Owns what arrives and when each side learns that the other is gone; must not know what is said.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from random import Random
from typing import Any, Protocol

from tests.simulation.loop import Process

PING_TIMEOUT_SECONDS = 3.0
"""After this a side that hears nothing takes the connection for gone."""
_LATENCY_SECONDS = 0.015
_LEAST_APART_SECONDS = 1e-6


class Side(Protocol):
    """One end of a link."""

    def receive(self, message: Any) -> None:
        """Take the next message."""

    def lost(self) -> None:
        """Learn that the other side is gone. Called once, unless this side has closed before."""


class Link:
    """A connection.

    Args:
        process: The node that it leads to.
        random: Where chance comes from.

    Attributes:
        is_broken: Whether nothing gets through any more, in either direction.
    """

    def __init__(self, process: Process, random: Random) -> None:
        self.is_broken = False
        self._random = random
        self._up = _Direction(process.context, self)
        self._down = _Direction(Context(), self)

    def attach(self, client: Side, server: Side) -> None:
        """Say who is at its ends."""
        self._up.side, self._down.side = server, client

    def serve(self, server: Side) -> None:
        """Let someone else be at the node's end from here on."""
        self._up.side = server

    def send_up(self, message: Any) -> None:
        """Send a message to the node."""
        self._up.send(self._latency(), lambda side: side.receive(message))

    def send_down(self, message: Any) -> None:
        """Send a message to the client."""
        self._down.send(self._latency(), lambda side: side.receive(message))

    def hang_up(self) -> None:
        """Close from the client's side: the node learns of it after everything sent before."""
        self._down.close()
        self._up.send(self._latency(), lambda side: side.lost())

    def shut(self) -> None:
        """Close from the node's side: the client learns of it after everything sent before."""
        self._up.close()
        self._down.send(self._latency(), lambda side: side.lost())

    def tear(self, client_after: float, server_after: float) -> None:
        """Break now, with everything on its way lost; the sides learn of it so many seconds later."""
        self.is_broken = True
        self._down.tell_later(client_after)
        self._up.tell_later(server_after)

    def _latency(self) -> float:
        return self._random.random() * 2 * _LATENCY_SECONDS


class _Direction:
    """What goes one way."""

    def __init__(self, context: Context, link: Link) -> None:
        self.side: Side | None = None
        self._context = context
        self._link = link
        self._last_arrival = 0.0
        self._is_closed = False

    def send(self, seconds: float, tell: Callable[[Side], None]) -> None:
        loop = asyncio.get_running_loop()
        # Strictly later than the one before: timers for the same instant promise no order.
        self._last_arrival = max(loop.time() + seconds, self._last_arrival + _LEAST_APART_SECONDS)
        loop.call_at(self._last_arrival, self._arrive, tell, context=self._context)

    def close(self) -> None:
        """Let the receiver hear nothing more."""
        self._is_closed = True

    def tell_later(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._learn, context=self._context)

    def _arrive(self, tell: Callable[[Side], None]) -> None:
        if not self._is_closed and not self._link.is_broken and self.side is not None:
            tell(self.side)

    def _learn(self) -> None:
        if not self._is_closed and self.side is not None:
            self._is_closed = True
            self.side.lost()
