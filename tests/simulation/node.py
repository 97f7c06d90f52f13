"""A simulated node: the services of one coordinator, wired as `coordinator.app` wires them, over simulated ports.

Owns its process (start, crash, standing still, restart under a new name) and its clients' connections.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, NamedTuple

from coordinator.adapters.memory.ids import SequentialIds
from coordinator.domain.errors import UnavailableError
from coordinator.domain.events import Actor
from coordinator.domain.ids import NodeId, connection_id
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.background import BackgroundTasks, every
from coordinator.services.following import LOOK_SECONDS, Following
from coordinator.services.moderation import Moderation
from coordinator.services.neighbours import BEATS_PER_TIMEOUT, LOOKS_PER_TIMEOUT, Neighbours
from coordinator.services.openings import Openings, SessionRules
from coordinator.services.participation import Participation
from coordinator.services.projector import Projector
from coordinator.services.recovery import Recovery
from coordinator.services.rooms import Rooms
from coordinator.services.settlement import Settlement
from coordinator.services.stopping import Stop
from coordinator.services.watching import Watching
from tests.simulation.bus import Exchange
from tests.simulation.clock import SkewedClock
from tests.simulation.links import Link, Side
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Line
from tests.simulation.server import ServerConnection, SimulatedFanout, Welcome
from tests.simulation.stores import Remote, Stores

_TICK_SECONDS = 1.0
_PENDING_COMMANDS = 1000
_WATCHED_SESSIONS = 8
_CLOSED_APART_SECONDS = 0.01


class _InOrder(dict[Any, None]):
    """A set that goes through its members in the order in which they came, in every run."""

    def add(self, member: Any) -> None:
        self[member] = None

    def discard(self, member: Any) -> None:
        self.pop(member, None)


class NodeSettings(NamedTuple):
    """What every node of a story is started with.

    Attributes:
        rules: What a session gets when it opens.
        node_timeout_seconds: Silence after which a node counts as dead.
        replay_limit: Missed events up to which they are replayed instead of a snapshot.
    """

    rules: SessionRules
    node_timeout_seconds: float
    replay_limit: int


class Node:
    """One run of one coordinator process.

    Args:
        name: Hex digits that no other run has; its ids begin with them.
        loop: Time.
        line: Its way to the stores.
        stores: What it shares with others.
        exchange: The bus; None: there is none.
        clock: Its own.
        settings: What it is started with.
        process: What it runs in. It must be the running one (`Process.context`) while this is called.

    Attributes:
        is_serving: Whether it takes connections.
        connections: Those that are open.
        knocking: Those that wait to be accepted.
    """

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        line: Line,
        stores: Stores,
        exchange: Exchange,
        clock: SkewedClock,
        settings: NodeSettings,
        process: Process,
    ) -> None:
        self.id = NodeId(name)
        self.process = process
        self.line = line
        self.clock = clock
        self.is_serving = False
        self.connections: dict[ServerConnection, Link] = {}
        self.knocking: dict[Link, None] = {}
        self._loop = loop
        self._accepted = 0
        self._settings = settings
        journal: Any = Remote(stores.journal, line)
        projections: Any = Remote(stores.projections, line)
        catalog: Any = Remote(stores.catalog, line)
        bookings: Any = Remote(stores.bookings, line)
        liveness: Any = Remote(stores.liveness, line)
        ids = SequentialIds(name)
        self._errands, self._loops = _tasks(), _tasks()
        self._projector = Projector(projections, clock)
        self.rooms = Rooms(journal, clock, ids, self._projector, SimulatedFanout(), self._errands, _PENDING_COMMANDS)
        self.bus = exchange.end(process)
        neighbours = Neighbours(self.id, liveness, clock, settings.node_timeout_seconds)
        self._following = Following(self.rooms, self.bus, projections, neighbours, clock)
        self._settlement = Settlement(catalog, bookings, self.rooms, clock, self._errands)
        self.rooms.on_ended(self._settlement.session_ended)
        self.participation = Participation(
            self.rooms,
            self._following,
            journal,
            bookings,
            clock,
            require_registration=True,
            replay_limit=settings.replay_limit,
        )
        self.watching = Watching(
            self.rooms, journal, clock, replay_limit=settings.replay_limit, most_sessions=_WATCHED_SESSIONS
        )
        self.moderation = Moderation(self.rooms)
        self._openings = Openings(catalog, bookings, self.rooms, clock, ids, settings.rules, self._settlement)
        self._recovery = Recovery(neighbours, self.rooms, projections, self._following, clock, self._settlement)

    @property
    def is_dead(self) -> bool:
        """Whether its process has been killed, or has given up."""
        return self.process.is_dead

    @property
    def is_running(self) -> bool:
        """Whether it does anything at the moment."""
        return not (self.process.is_dead or self.process.is_paused)

    async def start(self) -> None:
        """Take up what was left, then work on time from here on; as `Coordinator.start` does.

        Raises:
            OutcomeUnknownError, UnavailableError: The stores are out of reach.
        """
        self._loops.start(self.rooms.write(), "group commit")
        self._loops.start(self._projector.run(), "projections")
        self._loops.start(self._following.listen(), "bus")
        self._loops.start(self._following.catch_up(), "catching up")
        await self._recovery.start()
        await self._openings.open_missed()
        await self._recovery.go_on()
        await self._settlement.settle_missed()
        timeout = self._settings.node_timeout_seconds
        self._every(_TICK_SECONDS, self._openings.open_due)
        self._every(_TICK_SECONDS, self._settlement.settle_due)
        self._every(_TICK_SECONDS, self._recovery.sweep)
        self._every(LOOK_SECONDS, self._following.look)
        self._every(timeout / BEATS_PER_TIMEOUT, self._recovery.beat)
        self._every(timeout / LOOKS_PER_TIMEOUT, self._recovery.look)
        self.is_serving = True

    async def stop(self) -> None:
        """Stop as planned: let everyone go, write down that they are gone; as `Coordinator.drain` and `stop` do."""
        self.is_serving = False
        stop = Stop()
        for connection in self.connections:
            connection.drain()
        await stop.step("closing connections", 2.5, self._close_all())
        all_departed = await stop.step("departures", 2.0, self._departures())
        await stop.step("errands", 0.5, self._errands.stop())
        await stop.step("documents", 3.0 if all_departed else 0.5, self._documents())
        await stop.step("loops", 0.5, self._loops.stop())
        if all_departed:
            await stop.step("farewell", 0.5, self._recovery.stop())
        stop.tell()

    async def _close_all(self) -> None:
        for connection in list(self.connections):
            connection.close("server_stopped")
            await self.clock.sleep(_CLOSED_APART_SECONDS)

    async def _departures(self) -> None:
        if not await self._errands.wait_idle(2.0):
            raise TimeoutError

    async def _documents(self) -> None:
        await self._projector.flush()
        while any(room.projected_seq < room.seq for room in self.rooms.loaded):
            await self.clock.sleep(0.02)

    def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        name = work.__name__
        self._loops.start(every(self.clock, seconds, work, name), name)

    def accept(self, actor: Actor, link: Link) -> Side | None:
        """Take a new connection and return this side of it; None if it is refused. Runs in the node's process."""
        if not self.is_serving:
            link.shut()
            return None
        self._accepted += 1
        connection = ServerConnection(self, link, actor, connection_id(self.id, self._accepted))
        self.connections[connection] = link
        link.send_down(Welcome(connection.connection_id))
        return connection

    def dismissed(self, connection: ServerConnection) -> None:
        """Forget a connection that is gone."""
        self.connections.pop(connection, None)

    def knock(self, client: Side, actor: Actor, random: Random) -> Link:
        """Begin a connection from a client's side; the node hears of it in its turn, and welcomes it or not."""
        link = Link(self.process, random)
        link.attach(client, Door(self, actor, link))
        if self.process.is_dead:
            link.tear(random.random(), 0.0)
        else:
            self.knocking[link] = None
            link.send_up(None)
        return link

    def spawn(self, work: Any, name: str) -> None:
        """Run something in the background."""
        self._errands.start(work, name)

    def vanish(self) -> list[Link]:
        """Be dead from here on; return the links to its clients, who do not know yet."""
        self.process.kill()
        self.line.is_dead = True
        links = [*self.connections.values(), *self.knocking]
        self.connections, self.knocking = {}, {}
        return links


def _tasks() -> BackgroundTasks:
    tasks = BackgroundTasks()
    in_order: Any = _InOrder()  # tasks are ended in the order in which they are gone through
    tasks._tasks = in_order
    return tasks


class Door(Side):
    """Where a client knocks: the node's side of a connection that it has not accepted yet."""

    def __init__(self, node: Node, actor: Actor, link: Link) -> None:
        self._node = node
        self._actor = actor
        self._link = link

    def receive(self, _message: Any) -> None:
        """Let the client in."""
        self._node.knocking.pop(self._link, None)
        connection = self._node.accept(self._actor, self._link)
        if connection is not None:
            self._link.serve(connection)

    def lost(self) -> None:
        """The client has gone again before."""
        self._node.knocking.pop(self._link, None)


Failure = (OutcomeUnknownError, UnavailableError)
"""What a node cannot start with."""
