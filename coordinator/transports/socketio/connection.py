"""One client on one namespace: who it is, what it listens to, how it is told."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from coordinator.domain.events import DisconnectReason
from coordinator.domain.ids import ConnectionId, SessionId
from coordinator.ports.identity import Identity
from coordinator.protocol.codec import encode
from coordinator.telemetry import get_logger
from coordinator.transports.socketio.client import Client, Frames
from coordinator.transports.socketio.limits import Pace, SocketLimits, TokenBucket
from coordinator.transports.socketio.wire import packets

_FINAL = frozenset({"replaced", "removed"})
"""Reasons after which the client is told not to come back by itself."""
_RETURNING = frozenset({"seat_lost"})
"""Reasons after which every client is to come back by itself, whatever its library."""

_log = get_logger("connection")


class Connection:
    """A connected client. It is the `Subscriber` of whatever it listens to.

    Attributes:
        connection_id: Its name in the journal.
        namespace: Where it is connected.
        client: The other end, which may be connected to more namespaces.
        identity: Whose token it presented.
        user_id: The user of that token.
        actor: The same as the actor of commands.
        session_id: The session that it joined last, if any; only on `/rooms`.
        buckets: What it may still send.
        is_closed: Whether it is gone, or about to be.
        close_reason: Why this server closes it, where it does.
        waiting: How many of its messages wait for their turn or are having it; later ones must queue behind them.
    """

    __slots__ = (
        "_limits",
        "_order",
        "_spawn",
        "actor",
        "buckets",
        "client",
        "close_reason",
        "connection_id",
        "identity",
        "is_closed",
        "namespace",
        "session_id",
        "user_id",
        "waiting",
    )

    def __init__(
        self,
        connection_id: ConnectionId,
        namespace: str,
        identity: Identity,
        client: Client,
        limits: SocketLimits,
        spawn: Callable[[Any, str], Any],
        buckets: dict[Pace, TokenBucket],
    ) -> None:
        self.connection_id = connection_id
        self._limits = limits
        self._spawn = spawn
        self.buckets = buckets
        self._order: asyncio.Lock | None = None
        self.namespace = namespace
        self.client = client
        self.identity = identity
        self.user_id = identity.user_id
        self.actor = identity.actor
        self.session_id: SessionId | None = None
        self.is_closed = False
        self.close_reason: DisconnectReason | None = None
        self.waiting = 0

    @property
    def order(self) -> asyncio.Lock:
        """Held while a message that takes a while is being taken, so that all take effect in the order of arrival."""
        if self._order is None:
            self._order = asyncio.Lock()
        return self._order

    def may_send(self, pace: Pace, now: float) -> bool:
        """Count a message at its pace; tell whether it is within the limit.

        Args:
            pace: What counts it.
            now: Seconds of a clock that never runs backwards.
        """
        bucket = self.buckets.get(pace)
        if bucket is None:
            bucket = self.buckets[pace] = TokenBucket(*self._limits.rate(pace), now)
        return bucket.take(now)

    def notify(self, name: str, payload: Mapping[str, Any]) -> None:
        """Send a transient message."""
        self.send(packets.event_packet(self.namespace, name, encode(payload)))

    def acknowledge(self, packet_id: int | None, reply: bytes) -> None:
        """Answer an event, if an answer is wanted."""
        if packet_id is not None and not self.is_closed:
            self.client.send(packets.ack_packet(self.namespace, packet_id, reply))

    def send(self, text: bytes) -> None:
        """Send an Engine.IO message in order with everything else; a client that does not read is disconnected."""
        if not self.is_closed:
            self.client.send(text)

    def send_all(self, frames: Frames) -> None:
        """Send messages that go to others as well, otherwise as `send`."""
        if not self.is_closed:
            self.client.send_all(frames)

    def drop_as_too_slow(self) -> None:
        """Drop the connection: more waits for the client than may."""
        if self.is_closed:
            return
        _log.info("too_slow", user=self.user_id, connection=self.connection_id)
        self.is_closed = True
        self.close_reason = DisconnectReason.TOO_SLOW
        self._spawn(self.client.abort(), f"abort {self.connection_id}")

    def close(self, reason: str) -> None:
        """Close after everything sent so far; `replaced` and `removed` clients are told not to come back."""
        if self.is_closed:
            return
        if reason in _FINAL:
            self.client.send(packets.disconnect_packet(self.namespace))
        self.is_closed = True
        self._spawn(self.client.close(reason, in_silence=reason in _RETURNING), f"close {self.connection_id}")

    def expire(self) -> None:
        """Close because the token is not valid any more; the client may come back with a fresh one."""
        self.close_reason = DisconnectReason.TOKEN_EXPIRED
        self.close("token_expired")
