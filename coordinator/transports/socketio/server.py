"""Socket.IO as a whole: both roads, the namespaces that they lead to, how it begins and how it stops."""

import asyncio
from collections.abc import Callable, Iterable

from aiohttp import web

from coordinator.ports.clock import Clock
from coordinator.transports.socketio.client import Client
from coordinator.transports.socketio.direct.road import DirectRoad
from coordinator.transports.socketio.handshake import Connections, stopping
from coordinator.transports.socketio.limits import SocketLimits
from coordinator.transports.socketio.namespace import Namespace
from coordinator.transports.socketio.ordinary.road import OrdinaryRoad
from coordinator.transports.socketio.reception import EngineLimits, Reception

_HARD_LIMIT_FACTOR = 4
"""Messages up to this many times the limit are read, to refuse them by code; larger ones end the connection."""
_PING_INTERVAL_SECONDS = 10
_PING_TIMEOUT_SECONDS = 10
_BEGINNINGS = frozenset({"join", "watch", "subscribe"})
"""Events that begin something which would end at once on a server that stops."""


class SocketServer:
    """The Socket.IO server.

    Args:
        connections: All connections of this node.
        namespaces: What they can connect to.
        limits: Limits of a connection.
        clock: Time.
        cors_origins: Origins that may connect; empty for the server's own only.
        websocket_only: Whether to refuse clients that poll: where requests of one client may reach different processes.
    """

    def __init__(
        self,
        connections: Connections,
        namespaces: Iterable[Namespace],
        limits: SocketLimits,
        clock: Clock,
        cors_origins: tuple[str, ...],
        *,
        websocket_only: bool = False,
    ) -> None:
        self._connections = connections
        self.reception = Reception(connections, limits.message_bytes)
        for namespace in namespaces:
            self.reception.serve(namespace)
        engine = EngineLimits(
            most_bytes=_HARD_LIMIT_FACTOR * limits.message_bytes,
            ping_interval_seconds=_PING_INTERVAL_SECONDS,
            ping_timeout_seconds=_PING_TIMEOUT_SECONDS,
        )
        self.direct = DirectRoad(self.reception, clock, engine, limits.send_buffer_bytes)
        self.ordinary = OrdinaryRoad(
            self.reception,
            engine,
            cors_origins,
            limits.send_buffer_bytes,
            self.direct,
            websocket_only=websocket_only,
        )

    def attach(self, app: web.Application) -> None:
        """Answer at `/socket.io/`."""
        self.ordinary.attach(app)

    def drain(self, reconnect_after_ms: Callable[[], int]) -> None:
        """Let nobody in any more, begin nothing, and tell everybody (see `Connections.drain`)."""
        self.ordinary.refuse(stopping())
        self.reception.refuse(_BEGINNINGS, stopping())
        self._connections.drain(reconnect_after_ms)

    async def close_all(self, apart_seconds: float, within_seconds: float) -> None:
        """Close every client in the way that makes it come back (to another node, or to this one restarted).

        Args:
            apart_seconds: How long after one the next is closed.
            within_seconds: The last one is closed at this time, if there are so many that it would be later.
        """
        clients: list[Client] = [*self.direct.clients, *self.ordinary.clients.values()]
        apart = min(apart_seconds, within_seconds / max(1, len(clients)))
        await asyncio.gather(*(_end(client, number * apart) for number, client in enumerate(clients)))
        # Whoever has moved from the ordinary road meanwhile was not found there.
        await asyncio.gather(*(client.end() for client in self.direct.clients))
        await self.ordinary.stop()

    async def answered(self) -> None:
        """Wait until everything that clients have asked is answered, whether or not they are there still."""
        await self.reception.answered()


async def _end(client: Client, delay_seconds: float) -> None:
    await asyncio.sleep(delay_seconds)
    await client.end()
