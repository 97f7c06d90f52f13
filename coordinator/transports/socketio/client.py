"""The other end: one client of Engine.IO, whatever its transport, and what can be sent to many of them at once.

Two roads lead to a client: `direct`, a WebSocket from its first byte on, and `ordinary`, python-socketio for all else.
Whoever uses this module does not know which. Nothing here knows what is said.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from coordinator.transports.socketio.limits import Spent
from coordinator.transports.socketio.wire.frames import text_frame

if TYPE_CHECKING:
    from coordinator.transports.socketio.connection import Connection


class Frames:
    """Engine.IO messages for many clients, in order, each made once for each road.

    Attributes:
        texts: The messages, type digits included.
        websocket: The messages as WebSocket frames, one behind the other; nothing until `framed` was asked for them.
        packets: What the ordinary road has made of them; None as long as nobody there needed it.
    """

    __slots__ = ("packets", "texts", "websocket")

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.texts = texts
        self.packets: list[Any] | None = None
        self.websocket = b""

    def framed(self) -> bytes:
        """Make the messages into WebSocket frames, and keep these for all others."""
        self.websocket = b"".join(map(text_frame, self.texts))
        return self.websocket


class Client(ABC):
    """One client, from its first byte to its last.

    Attributes:
        client_id: What Engine.IO calls it; whoever knows it can speak for a client that polls.
        connections: What it is on each namespace that let it in: mostly one.
        spent: What it has used up elsewhere than in these; None while there is nothing, as with nearly all.
    """

    __slots__ = ("client_id", "connections", "spent")

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.connections: tuple[Connection, ...] = ()
        self.spent: Spent | None = None

    def on(self, namespace: str) -> "Connection | None":
        """Return its connection on a namespace."""
        for connection in self.connections:
            if connection.namespace == namespace:
                return connection
        return None

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether it is there, and not about to go."""

    @abstractmethod
    def send(self, text: bytes) -> None:
        """Send an Engine.IO message after everything sent before; silently nothing once the client is gone."""

    @abstractmethod
    def send_all(self, frames: Frames) -> None:
        """Send messages that go to others as well, otherwise as `send`."""

    @abstractmethod
    async def abort(self) -> None:
        """Drop the connection without waiting for the client to read anything."""

    @abstractmethod
    async def close(self, reason: str | None = None, *, in_silence: bool = False) -> None:
        """Close the connection once everything sent so far has gone out.

        A client that is told goodbye takes it for final where its library does (python-socketio never reconnects then).
        With `in_silence` its WebSocket just ends, after which every library comes back.
        """

    @abstractmethod
    async def end(self) -> None:
        """Close in silence, and drop a WebSocket that has not ended soon after."""

    def overflow(self) -> None:
        """Drop a client that does not read what is sent to it; it comes back and misses nothing."""
        for connection in self.connections:
            connection.drop_as_too_slow()
