"""One client on one namespace: who it is, what it listens to, how it is told."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import socketio.packet

from coordinator.domain.events import Actor, DisconnectReason
from coordinator.domain.ids import ConnectionId, SessionId, UserId
from coordinator.ports.clock import Timer
from coordinator.ports.identity import Identity
from coordinator.protocol.codec import encode
from coordinator.telemetry import get_logger
from coordinator.transports.socketio.limits import Pace, SocketLimits, TokenBucket
from coordinator.transports.socketio.server import Outbox, frame

_FINAL = frozenset({"replaced", "removed"})
"""Reasons after which the client is told not to come back by itself."""
_RETURNING = frozenset({"seat_lost"})
"""Reasons after which every client is to come back by itself, whatever its library."""

_log = get_logger("connection")


class Connection:
    """A connected client. It is the `Subscriber` of whatever it listens to.

    Attributes:
        identity: Whose token it presented.
        order: Held while a command is being taken, so that commands take effect in the order of arrival.
        session_id: The session that it joined last, if any; only on `/rooms`.
        is_closed: Whether it is gone, or about to be.
        close_reason: Why this server closes it, where it does.
        expiry: The timer that ends it with its token.
        buckets: How much it may send still, at each pace.
    """

    def __init__(
        self,
        connection_id: ConnectionId,
        namespace: str,
        identity: Identity,
        outbox: Outbox,
        limits: SocketLimits,
        now: float,
        spawn: Callable[[Any, str], Any],
    ) -> None:
        self._connection_id = connection_id
        self._prefix = f"2{namespace},"
        self._namespace = namespace
        self._outbox = outbox
        self._send_buffer_bytes = limits.send_buffer_bytes
        self._spawn = spawn
        self.identity = identity
        self.order = asyncio.Lock()
        self.session_id: SessionId | None = None
        self.is_closed = False
        self.close_reason: DisconnectReason | None = None
        self.expiry: Timer | None = None
        self.buckets = {pace: TokenBucket(*limits.rate(pace), now) for pace in Pace}

    @property
    def connection_id(self) -> ConnectionId:
        """The connection's name in the journal."""
        return self._connection_id

    @property
    def user_id(self) -> UserId:
        """The user of its token."""
        return self.identity.user_id

    @property
    def actor(self) -> Actor:
        """The user as the actor of commands."""
        return self.identity.actor

    @property
    def prefix(self) -> str:
        """What every event frame to this client begins with; clients with the same prefix can share frames."""
        return self._prefix

    def notify(self, name: str, payload: Mapping[str, Any]) -> None:
        """Send a transient message."""
        self.send(frame(f'{self._prefix}["{name}",{encode(payload).decode()}]'))

    def send(self, packet: Any) -> None:
        """Send a frame in order with everything else; a client that does not read is disconnected."""
        if self.is_closed:
            return
        self._outbox.put(packet)
        if self._outbox.waiting_bytes > self._send_buffer_bytes:
            _log.info("too_slow", user=self.user_id, connection=self.connection_id)
            self.is_closed = True
            self.close_reason = DisconnectReason.TOO_SLOW
            self._spawn(self._outbox.abort(), f"abort {self.connection_id}")

    def close(self, reason: str) -> None:
        """Close after everything sent so far; `replaced` and `removed` clients are told not to come back."""
        if self.is_closed:
            return
        if reason in _FINAL:
            self._outbox.put(frame(f"{socketio.packet.DISCONNECT}{self._namespace},"))
        self.is_closed = True
        self._spawn(self._outbox.close(reason, in_silence=reason in _RETURNING), f"close {self.connection_id}")

    def expire(self) -> None:
        """Close because the token is not valid any more; the client may come back with a fresh one."""
        self.close_reason = DisconnectReason.TOKEN_EXPIRED
        self.close("token_expired")
