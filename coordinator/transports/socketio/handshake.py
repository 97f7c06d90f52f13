"""Who may connect: the token in the handshake, the role of the namespace, how many connections (SPEC sections 3 and 5).

Owns all connections of this node, from the handshake until they are gone.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import socketio.exceptions

from coordinator.domain.errors import (
    CoordinatorError,
    ForbiddenError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)
from coordinator.domain.events import DisconnectReason, Role
from coordinator.domain.ids import NodeId, UserId, connection_id
from coordinator.ports.clock import Clock, Timer
from coordinator.ports.identity import Identity, TokenVerifier
from coordinator.protocol.codec import error_to_wire
from coordinator.telemetry import get_logger
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.limits import SocketLimits
from coordinator.transports.socketio.server import EventServer

_LONGEST_TIMER_SECONDS = 86400.0
_BEGINNINGS = frozenset({"join", "watch", "subscribe"})
"""Events that begin something which would end at once on a server that stops."""

_log = get_logger("handshake")


class Connections:
    """The connections of this node, by namespace and Socket.IO id.

    Args:
        node: This process.
        tokens: Verifies tokens.
        clock: Time.
        limits: Limits of a connection.
        spawn: Runs a coroutine in the background under a name.
    """

    def __init__(
        self,
        node: NodeId,
        tokens: TokenVerifier,
        clock: Clock,
        limits: SocketLimits,
        spawn: Callable[[Any, str], Any],
    ) -> None:
        self._node = node
        self._tokens = tokens
        self._clock = clock
        self._limits = limits
        self._spawn = spawn
        self._numbers = itertools.count(1)
        self._connections: dict[tuple[str, str], Connection] = {}
        self._of_user: defaultdict[UserId, int] = defaultdict(int)
        self._of_engine: defaultdict[str, int] = defaultdict(int)
        self._handshakes: dict[str, Timer] = {}
        self._server: EventServer | None = None
        self.is_draining = False

    def attach(self, server: EventServer) -> None:
        """Name the server whose connections these are."""
        self._server = server

    def drain(self, reconnect_after_ms: Callable[[], int]) -> None:
        """Let nobody in any more, and tell everybody; whoever is closed from here on goes because the server stops.

        Args:
            reconnect_after_ms: Asked for each connection how long it is to wait before it comes back, in milliseconds:
                not all at once.
        """
        self.is_draining = True
        assert self._server is not None
        self._server.refuse(_BEGINNINGS, _stopping())
        for connection in self._connections.values():
            connection.close_reason = connection.close_reason or DisconnectReason.SERVER_STOPPED
            connection.notify("server_draining", {"reconnectAfterMs": reconnect_after_ms()})

    def get(self, namespace: str, sid: str) -> Connection | None:
        """Return a connection."""
        return self._connections.get((namespace, sid))

    def by_namespace(self) -> Mapping[str, int]:
        """Return how many connections there are in each namespace."""
        return Counter(namespace for namespace, _ in self._connections)

    def await_handshake(self, engine_id: str) -> None:
        """Close a client that does not say who it is in time."""

        def give_up() -> None:
            self._handshakes.pop(engine_id, None)
            if self._server is not None:
                self._spawn(self._server.close_engine(engine_id), f"no handshake {engine_id[:4]}")

        self._handshakes[engine_id] = self._clock.call_later(self._limits.handshake_seconds, give_up)

    def admit(self, namespace: str, roles: frozenset[Role], sid: str, auth: Any) -> Connection:
        """Let a client connect.

        Raises:
            socketio.exceptions.ConnectionRefusedError: It may not; the code is the message, the details its data.
        """
        assert self._server is not None
        try:
            identity = self._identify(auth, roles)
            connection = self._register(namespace, sid, identity, self._server)
        except CoordinatorError as error:
            # The timer of the handshake goes on: a refused client does not get to stay.
            raise socketio.exceptions.ConnectionRefusedError(error.code, error_to_wire(error)) from None
        engine_id = self._server.engine_id(sid, namespace)
        self._of_engine[engine_id] += 1
        timer = self._handshakes.pop(engine_id, None)
        if timer is not None:
            timer.cancel()
        return connection

    def dismiss(self, namespace: str, sid: str) -> Connection | None:
        """Forget a connection that is gone; return it if it was known."""
        connection = self._connections.pop((namespace, sid), None)
        if connection is None:
            return None
        connection.is_closed = True
        if connection.expiry is not None:
            connection.expiry.cancel()
        self._of_user[connection.user_id] -= 1
        if self._of_user[connection.user_id] <= 0:
            del self._of_user[connection.user_id]
        if self._server is not None:
            engine_id = self._server.engine_id(sid, namespace)
            self._of_engine[engine_id] -= 1
            if self._of_engine[engine_id] <= 0:
                del self._of_engine[engine_id]
                if self._server.is_open(engine_id):
                    self.await_handshake(engine_id)  # it left its last namespace only, and is nobody again
        return connection

    def _identify(self, auth: Any, roles: frozenset[Role]) -> Identity:
        token = auth.get("token") if isinstance(auth, dict) else None
        if not isinstance(token, str):
            raise UnauthenticatedError("auth.token: the handshake must carry a token", field="token")
        try:
            identity = self._tokens.verify(token)
        except CoordinatorError:
            raise
        except Exception as defect:
            # python-socketio would take a TypeError for a handler without an auth argument and call again without it.
            _log.exception("token_verifier_failed")
            raise UnavailableError("the token could not be checked; try again") from defect
        if identity.role not in roles:
            raise ForbiddenError(f"role {identity.role} may not use this namespace")
        return identity

    def _register(self, namespace: str, sid: str, identity: Identity, server: EventServer) -> Connection:
        if self.is_draining:
            raise _stopping()
        if self._of_user[identity.user_id] >= self._limits.connections_per_user:
            raise RateLimitedError(f"a user may have {self._limits.connections_per_user} connections")
        connection = Connection(
            connection_id(self._node, next(self._numbers)),
            namespace,
            identity,
            server.outbox(sid, namespace),
            self._limits,
            self._clock.monotonic(),
            self._spawn,
        )
        self._connections[namespace, sid] = connection
        self._of_user[identity.user_id] += 1
        self._await_expiry(connection)
        return connection

    def _await_expiry(self, connection: Connection) -> None:
        def check() -> None:
            left = (connection.identity.expires_at - self._clock.now()).total_seconds()
            if left <= 0:
                connection.expire()
            else:
                # Timers have an upper bound; a token that is valid for months is looked at again every day.
                connection.expiry = self._clock.call_later(min(left, _LONGEST_TIMER_SECONDS), check)

        check()


def _stopping() -> UnavailableError:
    return UnavailableError("this server is stopping; connect again")
