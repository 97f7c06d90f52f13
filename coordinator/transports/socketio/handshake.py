"""Who may connect: the token in the handshake, the role of the namespace, how many connections (SPEC sections 3 and 5).

Owns all connections of this node, from the handshake until they are gone.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

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
from coordinator.telemetry import get_logger
from coordinator.transports.socketio.client import Client
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.expiry import Expiries
from coordinator.transports.socketio.limits import Pace, SocketLimits, Spent, TokenBucket

_log = get_logger("handshake")


class Connections:
    """The connections of this node.

    Args:
        node: This process.
        tokens: Verifies tokens.
        clock: Time.
        limits: Limits of a connection.
        spawn: Runs a coroutine in the background under a name.

    Attributes:
        is_draining: Whether nobody is let in any more.
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
        self._connections: dict[Connection, None] = {}  # in the order of arrival
        self._of_user: defaultdict[UserId, int] = defaultdict(int)
        self._strangers: dict[Client, Timer] = {}
        self._expiries = Expiries(clock, Connection.expire)
        self.is_draining = False

    def drain(self, reconnect_after_ms: Callable[[], int]) -> None:
        """Let nobody in any more, and tell everybody; whoever is closed from here on goes because the server stops.

        Args:
            reconnect_after_ms: Asked for each connection how long it is to wait before it comes back, in milliseconds:
                not all at once.
        """
        self.is_draining = True
        for connection in self._connections:
            connection.close_reason = connection.close_reason or DisconnectReason.SERVER_STOPPED
            connection.notify("server_draining", {"reconnectAfterMs": reconnect_after_ms()})

    def by_namespace(self) -> Mapping[str, int]:
        """Return how many connections there are in each namespace."""
        return Counter(connection.namespace for connection in self._connections)

    def await_handshake(self, client: Client) -> None:
        """Close a client that does not say who it is in time."""

        def give_up() -> None:
            del self._strangers[client]
            self._spawn(client.close(), f"no handshake {client.client_id[:4]}")

        self._strangers[client] = self._clock.call_later(self._limits.handshake_seconds, give_up)

    def admit(self, namespace: str, roles: frozenset[Role], client: Client, auth: Any) -> Connection:
        """Let a client connect.

        Raises:
            CoordinatorError: It may not. A stranger stays one, who does not get to stay.
        """
        if client.spent is not None and not client.spent.entries.take(self._clock.monotonic()):
            raise RateLimitedError("too many attempts to connect; slow down")
        try:
            connection = self._register(namespace, self._identify(auth, roles), client)
        except CoordinatorError:
            self._count_further(client)
            raise
        self._forget_stranger(client)
        return connection

    def dismiss(self, connection: Connection) -> None:
        """Forget a connection that is gone; harmless to repeat."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        connection.is_closed = True
        self._expiries.remove(connection)
        self._of_user[connection.user_id] -= 1
        if self._of_user[connection.user_id] <= 0:
            del self._of_user[connection.user_id]
        client = connection.client
        client.connections = tuple(known for known in client.connections if known is not connection)
        if client.is_open:
            self._count_further(client).left[connection.namespace] = connection.buckets
            if not client.connections:
                self.await_handshake(client)  # it left its last namespace only, and is nobody again

    def gone(self, client: Client) -> None:
        """Forget a client that is gone altogether; its connections have been dismissed."""
        self._forget_stranger(client)

    def _count_further(self, client: Client) -> Spent:
        """From now on, count the client's attempts to connect; the first was free."""
        if client.spent is None:
            client.spent = Spent(TokenBucket(*self._limits.rate(Pace.COMMANDS), self._clock.monotonic()))
        return client.spent

    def _forget_stranger(self, client: Client) -> None:
        timer = self._strangers.pop(client, None)
        if timer is not None:
            timer.cancel()

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

    def _register(self, namespace: str, identity: Identity, client: Client) -> Connection:
        if self.is_draining:
            raise stopping()
        if self._of_user[identity.user_id] >= self._limits.connections_per_user:
            raise RateLimitedError(f"a user may have {self._limits.connections_per_user} connections")
        name = connection_id(self._node, next(self._numbers))
        buckets = {} if client.spent is None else client.spent.left.pop(namespace, {})
        connection = Connection(name, namespace, identity, client, self._limits, self._spawn, buckets)
        client.connections = (*client.connections, connection)
        self._connections[connection] = None
        self._of_user[identity.user_id] += 1
        self._expiries.add(connection)
        return connection


def stopping() -> UnavailableError:
    """Return what refuses whoever comes, or begins something, while this server stops."""
    return UnavailableError("this server is stopping; connect again")
