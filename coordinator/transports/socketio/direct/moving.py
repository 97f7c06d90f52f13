"""From polling to a WebSocket: Engine.IO's probe, after which a client of the ordinary road is one of the direct road.

Browsers begin with polling unless told otherwise, so this is how most of them get here. Nothing is lost on the way: a
client that has said that it moves polls no more, and what still waits for it goes out on the WebSocket, in order.
"""

import asyncio
from typing import NamedTuple, Protocol

from aiohttp import web

from coordinator.ports.clock import Timer
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.direct.handover import can_hand_over, hand_over
from coordinator.transports.socketio.direct.road import DirectClient, DirectRoad
from coordinator.transports.socketio.limits import Spent
from coordinator.transports.socketio.wire.frames import FrameReader, text_frame

_PROBE, _ANSWER, _MOVE = "2probe", b"3probe", "5"


class Luggage(NamedTuple):
    """What a client takes along.

    Attributes:
        client_id: What Engine.IO calls it.
        connections: What it is on each namespace.
        unsent: Engine.IO messages that it has not fetched, in order.
        spent: What it has used up elsewhere than in its connections.
    """

    client_id: str
    connections: tuple[Connection, ...]
    unsent: list[bytes]
    spent: Spent | None


class Mover(Protocol):
    """A client that polls, as long as it does."""

    @property
    def can_move(self) -> bool:
        """Whether it polls, and is not about to go or to move."""

    def pause(self) -> None:
        """Send nothing to polls any more, the one that is waiting included."""

    def resume(self) -> None:
        """Go on with polling: the WebSocket has come to nothing."""

    def leave(self) -> Luggage | None:
        """Leave the ordinary road without a trace; None if it cannot go, because it is being closed."""


def can_move(request: web.Request, mover: Mover | None) -> bool:
    """Tell whether a request opens a WebSocket for a client that polls, on a socket that can be taken over."""
    return mover is not None and mover.can_move and can_hand_over(request)


def move(request: web.Request, mover: Mover, road: DirectRoad) -> web.StreamResponse:
    """Take over the socket of a request; return what its handler must return."""
    return hand_over(request, lambda transport, answer: _Probe(road, transport, answer, mover))


class _Probe(asyncio.Protocol):
    """A WebSocket on which a client tries whether it can move."""

    def __init__(self, road: DirectRoad, transport: asyncio.Transport, answer: bytes, mover: Mover) -> None:
        transport.write(answer)
        self._road = road
        self._transport = transport
        self._mover = mover
        self._reader = FrameReader(road.limits.most_bytes)
        self._is_paused = False
        self._patience: Timer | None = None

    def connection_made(self, _transport: asyncio.BaseTransport) -> None:
        """Wait for the probe, but not for ever."""
        self._patience = self._road.clock.call_later(self._road.limits.ping_timeout_seconds, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take the probe, then the move; whatever else comes ends the attempt."""
        messages = self._reader.feed(data)
        for number, message in enumerate(messages, start=1):
            if message == _PROBE and not self._is_paused and self._mover.can_move:
                self._is_paused = True
                self._transport.write(text_frame(_ANSWER))
                self._mover.pause()
            elif message == _MOVE and self._is_paused and (luggage := self._mover.leave()) is not None:
                self._is_paused = False
                self._go_on(luggage).take(messages[number:])
                return
            else:
                self._transport.abort()
                return

    def connection_lost(self, _error: Exception | None) -> None:
        """Let the client go on with polling, if it has not moved."""
        self._stop_waiting()
        if self._is_paused:
            self._is_paused = False
            self._mover.resume()

    def _go_on(self, luggage: Luggage) -> DirectClient:
        self._stop_waiting()
        client = DirectClient(self._road, self._transport, luggage.client_id, self._reader)
        client.spent = luggage.spent
        self._transport.set_protocol(client)
        client.begin(luggage.connections, luggage.unsent)
        return client

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
