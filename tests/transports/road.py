"""Both roads over one small namespace, without a database: who comes, what is said, who goes; time stands still.

Owns a web server on a free port and the least that a namespace can be. Knows nothing of what is right.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web

from coordinator.adapters.memory.clock import ManualClock
from coordinator.domain.errors import UnauthenticatedError
from coordinator.domain.events import DisconnectReason, Role
from coordinator.domain.ids import NodeId, UserId
from coordinator.ports.identity import Identity
from coordinator.protocol.messages import Message
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.direct.road import DirectClient
from coordinator.transports.socketio.handshake import Connections
from coordinator.transports.socketio.limits import SocketLimits
from coordinator.transports.socketio.namespace import Handler, Immediate, Namespace, Reply, SeqAnswer, Surroundings
from coordinator.transports.socketio.ordinary.road import OrdinaryClient
from coordinator.transports.socketio.server import SocketServer
from tests.transports.clients import NAMESPACE
from tests.transports.harness import eventually
from tests.transports.sockets import BareSocket

START = datetime(2030, 1, 1, tzinfo=UTC)
BUFFER_BYTES = 300_000
LIMITS = SocketLimits(
    commands_per_second=1e9, command_burst=1_000_000, connections_per_user=1_000, send_buffer_bytes=BUFFER_BYTES
)


class Say(Message, frozen=True, kw_only=True):
    """Something to be taken down, or else to be refused, or to be met with a defect."""

    text: Any = None
    fail: bool = False
    defect: bool = False


class Tokens:
    """Takes every token for the name of its user, but for one."""

    def verify(self, token: str) -> Identity:
        """Return who it is."""
        if token == "bad":
            raise UnauthenticatedError("the token is no good")
        return Identity(user_id=UserId(token), role=Role.PARTICIPANT, expires_at=datetime(2040, 1, 1, tzinfo=UTC))


class Notebook(Namespace):
    """Takes down what is said, at once or once the gate is open, and who goes.

    Attributes:
        said: What was said, in the order in which it took effect.
        gone: Who went, and why.
        gate: What slow messages wait for.
    """

    def __init__(self, name: str, surroundings: Surroundings) -> None:
        handlers: dict[str, Handler[Any] | Immediate[Any]] = {
            "say": Immediate(Say, self._say),
            "say_slowly": Handler(Say, self._say_slowly),
        }
        super().__init__(name, frozenset({Role.PARTICIPANT}), surroundings, handlers)
        self.said: list[Any] = []
        self.gone: list[tuple[str, DisconnectReason]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def departed(self, connection: Connection, reason: DisconnectReason) -> None:
        """Take down who goes."""
        self.gone.append((connection.user_id, reason))

    def _say(self, _connection: Connection, message: Say, answer: SeqAnswer) -> None:
        self._take_down(message)
        answer.set_result(len(self.said))

    async def _say_slowly(self, _connection: Connection, message: Say) -> Reply:
        await self.gate.wait()
        self._take_down(message)
        return {"ok": True, "seq": len(self.said)}

    def _take_down(self, message: Say) -> None:
        if message.fail:
            raise UnauthenticatedError("as you wish")
        if message.defect:
            raise RuntimeError("a defect")
        self.said.append(message.text)


class Road:
    """A running server.

    Attributes:
        address: Where it answers.
        clock: Its time.
        sockets: The Socket.IO server.
        connections: All connections.
        notebook: The namespace `/rooms`.
        runner: The web server.
    """

    def __init__(self, limits: SocketLimits = LIMITS) -> None:
        self.address = ""
        self.clock = ManualClock(START)
        self.connections = Connections(NodeId("n"), Tokens(), self.clock, limits, self._spawn)
        surroundings = Surroundings(self.connections, self.clock, self._spawn)
        self.notebook = Notebook(NAMESPACE, surroundings)
        namespaces = (self.notebook, Notebook("/other", surroundings))
        self.sockets = SocketServer(self.connections, namespaces, limits, self.clock, ())
        app = web.Application()
        self.sockets.attach(app)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._bare: list[BareSocket] = []

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.ensure_future(work)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def bare(self, receive_buffer: int = 65_536) -> BareSocket:
        """Return a socket that is closed at the end."""
        socket = BareSocket(receive_buffer)
        self._bare.append(socket)
        return socket

    async def enter(self, user: str = "ada") -> BareSocket:
        """Connect a user to `/rooms` on a WebSocket from its first byte on."""
        socket = self.bare()
        await socket.connect(self.address, user)
        return socket

    @property
    def direct_clients(self) -> list[DirectClient]:
        """Who has come by the direct road."""
        return list(self.sockets.direct.clients)

    @property
    def ordinary_clients(self) -> list[OrdinaryClient]:
        """Who has come by the ordinary road."""
        return list(self.sockets.ordinary.clients.values())

    def connection(self, user: str = "ada") -> Connection:
        """Return the one connection of a user."""
        (found,) = [connection for connection in self.connections._connections if connection.user_id == user]
        return found

    async def all_gone(self, count: int = 1) -> None:
        """Wait until that many have gone, and nobody is left."""
        await eventually(lambda: len(self.notebook.gone) >= count, f"{count} who have gone: {self.notebook.gone}")
        await eventually(lambda: not self.sockets.direct.clients and not self.sockets.ordinary.clients, "nobody")
        assert len(self.notebook.gone) == count

    async def nobody_left(self) -> None:
        """Wait until no client is left, and check that nothing of any is."""
        await eventually(lambda: not self.sockets.direct.clients and not self.sockets.ordinary.clients, "nobody")
        await eventually(lambda: not self._tasks, "nothing under way")
        await eventually(lambda: not self.sizes()["HTTP connections"], "no connections")
        left = {what: size for what, size in self.sizes().items() if size}
        assert left == {}, left
        assert self.clock.pending == 0

    def sizes(self) -> dict[str, int]:
        """Return how much is remembered, and where."""
        direct, ordinary = self.sockets.direct, self.sockets.ordinary
        return {
            "connections": len(self.connections._connections),
            "users": len(self.connections._of_user),
            "strangers": len(self.connections._strangers),
            "direct clients": len(direct.clients),
            "to be written": len(direct.outgoing._waiting),
            "pings": sum(map(len, direct.pings._spokes)),
            "count of pings": direct.pings._count,
            "ordinary clients": len(ordinary.clients),
            "environments": len(ordinary.environ),
            # Those that are closed stay until Engine.IO's service task comes by, some seconds later.
            "Engine.IO's sockets": sum(not known.closed for known in ordinary.eio.sockets.values()),
            "Socket.IO's rooms": sum(len(rooms) for rooms in ordinary.manager.rooms.values()),
            "Socket.IO's goodbyes": sum(len(sids) for sids in ordinary.manager.pending_disconnect.values()),
            "HTTP connections": len(self.runner.server.connections) if self.runner.server else 0,
        }

    async def stop(self) -> None:
        """Close all sockets, and the server."""
        for socket in self._bare:
            socket.close()
        await self.sockets.close_all(0.0, 0.0)
        await self.runner.cleanup()


@asynccontextmanager
async def running_road(limits: SocketLimits = LIMITS) -> AsyncIterator[Road]:
    """Run a server."""
    road = Road(limits)
    await road.runner.setup()
    await web.TCPSite(road.runner, "127.0.0.1", 0).start()
    host, port = road.runner.addresses[0][:2]
    road.address = f"http://{host}:{port}"
    try:
        yield road
    finally:
        await road.stop()


class Polling:
    """A client that polls, by hand.

    Attributes:
        url: Where it polls.
        packets: All Engine.IO packets that it got, in order.
    """

    def __init__(self, http: aiohttp.ClientSession, address: str) -> None:
        self._http = http
        self.url = f"{address}/socket.io/?EIO=4&transport=polling"
        self.sid = ""
        self.packets: list[str] = []

    async def open(self) -> None:
        """Begin."""
        status, (opened, *_) = await self.poll()
        assert status == 200
        self.sid = json.loads(opened[1:])["sid"]
        self.url += f"&sid={self.sid}"

    async def connect(self, user: str, namespace: str = NAMESPACE) -> None:
        """Open, and enter a namespace."""
        await self.open()
        await self.post(f"40{namespace},{json.dumps({'token': user})}")
        assert (await self.poll())[1][-1].startswith(f"40{namespace},")

    async def poll(self) -> tuple[int, list[str]]:
        """Poll once; return the status and the packets."""
        async with self._http.get(self.url) as response:
            packets = (await response.text()).split("\x1e")
            if response.status == 200:
                self.packets += packets
            return response.status, packets

    async def post(self, *packets: str) -> int:
        """Send packets; return the status."""
        async with self._http.post(self.url, data="\x1e".join(packets)) as response:
            return response.status
