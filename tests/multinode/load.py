"""Rooms full of users who toggle for ever, spread over nodes; what is measured on them, and the checks at their end."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.adapters.system import SystemClock
from coordinator.domain.ids import SessionId
from tests.multinode.checks import check_attendance, check_session, journal_of, until_present
from tests.multinode.cluster import NODE_TIMEOUT_SECONDS, Cluster, Node
from tests.multinode.roaming import RoamingClient

ALLOWANCE_SECONDS = 1.0
"""What a machine with two processors may add to a time that is promised."""
_STEPS = 4
"""Reads and writes, one after the other, from finding out that a node is dead to telling it."""
QUIET_SECONDS = 20
EVERYWHERE_SECONDS = 5
"""Within what time everything that is durable must have reached everybody, however it travels."""
_LOOK_SECONDS = 0.01
_numbers = itertools.count(1)


@dataclass
class Room:
    """A session with its users.

    Attributes:
        session_id: The session.
        clients: Those who toggle.
        guests: Users who are registered as well, for the test to connect.
    """

    session_id: SessionId
    clients: list[RoamingClient]
    guests: list[str]

    @property
    def users(self) -> set[str]:
        """Those who toggle, by name."""
        return {client.user for client in self.clients}

    def on(self, node: Node) -> list[RoamingClient]:
        """Return those who are connected to a node."""
        return [client for client in self.clients if client.node is node and client.joined.is_set()]

    @property
    def seq(self) -> int:
        """The last event that somebody has been told."""
        return max(client.seq for client in self.clients)

    def elsewhere(self, node: Node) -> RoamingClient:
        """Return one of those who are connected to another node."""
        return next(client for client in self.clients if client.node is not node and client.joined.is_set())


@dataclass
class Load:
    """All rooms of one test.

    Attributes:
        cluster: Where they are.
        rooms: The rooms.
    """

    cluster: Cluster
    rooms: list[Room]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def clients(self) -> list[RoamingClient]:
        """Everyone who toggles."""
        return [client for room in self.rooms for client in room.clients]

    def start(self) -> None:
        """Let everybody connect and toggle."""
        self._tasks = [asyncio.create_task(client.toggle_for_ever()) for client in self.clients]

    async def stop(self) -> None:
        """Let everybody go."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=QUIET_SECONDS)
            assert not pending

    async def spread(self) -> None:
        """Let somebody of each session be on another node than the others, if chance has brought them all to one."""
        for room in self.rooms:
            first, *others = room.clients
            if all(client.node is first.node for client in others):
                await first.move(self.cluster.chance.choice(self.cluster.others(first.node)))

    async def acks(self, count: int = 3) -> None:
        """Wait until everybody has got that many more acks."""
        await asyncio.gather(*(client.acks(count) for client in self.clients))

    async def quiet(self) -> None:
        """Let nobody ask anything more, and wait until everybody is connected and has all answers."""
        for client in self.clients:
            client.pause()
        async with asyncio.timeout(QUIET_SECONDS):
            while not all(client.is_quiet for client in self.clients):
                await SystemClock().sleep(_LOOK_SECONDS)

    def go_on(self) -> None:
        """Let everybody toggle again."""
        for client in self.clients:
            client.go_on()

    async def everything_everywhere(self) -> float:
        """Make a pause; wait until everybody has been told everything. Return how long that took since it was quiet."""
        await self.quiet()
        loop = asyncio.get_running_loop()
        began = loop.time()
        database = self.cluster.database
        for room in self.rooms:
            told = min(client.seq for client in room.clients)
            last = max([told, *(event["seq"] for event in await journal_of(database, room.session_id, told))])
            try:
                async with asyncio.timeout(EVERYWHERE_SECONDS):
                    while any(client.seq < last for client in room.clients):
                        await SystemClock().sleep(_LOOK_SECONDS)
            except TimeoutError:
                behind = {f"{client.user}@{client.node.name}": client.seq for client in room.clients}
                raise AssertionError(f"the journal ends at {last}, but who was told what: {behind}") from None
        self.go_on()
        return loop.time() - began

    def allowance(self, since: float) -> float:
        """Return what the machine may add to a time that is promised: more where it has been busy with other things.

        Args:
            since: When the time began, on the loop's clock.
        """
        waited = [took for client in self.clients for at, took in client.waited if at >= since]
        return ALLOWANCE_SECONDS + _STEPS * max(waited, default=0.0)

    def latencies(self, since: float = 0.0) -> list[float]:
        """Return, for each ack and each user on another node, how long after the ack the event was seen there.

        Args:
            since: Leave out acks from before that, on the loop's clock.
        """
        return [
            seen - acked
            for room in self.rooms
            for actor in room.clients
            for seq, (acked, node) in actor.acked_at.items()
            for other in room.clients
            for seen, place in [other.seen_at.get(seq, (acked, node))]
            if place is not node and acked >= since
        ]

    async def end(self) -> None:
        """End everything, and check all of it."""
        await self.everything_everywhere()
        await self.stop()
        database = self.cluster.database
        for room in self.rooms:
            for guest in self.cluster.connected(room.guests):
                await guest.close()
            # Whoever is closed is gone at once; nobody has to be found out by silence.
            await until_present(database, room.session_id, set(), NODE_TIMEOUT_SECONDS)
            node = self.cluster.chance.choice(self.cluster.others())
            await self.cluster.ask(node, "POST", f"/sessions/{room.session_id}/end")
            await check_session(database, room.session_id, room.clients)
            self.cluster.settled[room.session_id] = await check_attendance(database, room.session_id)
        # A node that is asked about what others have ended says so as well.
        stored = await MongoProjections(database).seqs([room.session_id for room in self.rooms])
        for node in self.cluster.others():
            for room in self.rooms:
                told = await self.cluster.ask(node, "GET", f"/sessions/{room.session_id}")
                assert (told["status"], told["seq"]) == ("ended", stored[room.session_id])


@asynccontextmanager
async def load(
    cluster: Cluster,
    spread: Sequence[Sequence[Node]],
    seats: int = 6,
    guests: int = 0,
    kind: type[RoamingClient] = RoamingClient,
) -> AsyncIterator[Load]:
    """Fill a session for each of `spread`, its users in turn on these nodes; at the end, check everything.

    Args:
        cluster: The nodes.
        spread: For each session, where its users connect first.
        seats: Users of each session who toggle.
        guests: Users of each session who do not connect by themselves.
        kind: What they toggle.
    """
    run = next(_numbers)
    rooms = await asyncio.gather(
        *(_room(cluster, f"{run}-{number}", nodes, seats, guests, kind) for number, nodes in enumerate(spread))
    )
    made = Load(cluster, list(rooms))
    made.start()
    try:
        await made.acks(1)
        yield made
        await made.end()
    finally:
        await made.stop()


async def _room(
    cluster: Cluster, name: str, nodes: Sequence[Node], seats: int, guests: int, kind: type[RoamingClient]
) -> Room:
    users = [f"user-{name}-{seat}" for seat in range(seats)]
    invited = [f"guest-{name}-{number}" for number in range(guests)]
    session_id = await nodes[0].offer([*users, *invited, f"absent-{name}"])
    places = itertools.cycle(nodes)
    clients = [kind(user, session_id, cluster.nodes, next(places), cluster.chance) for user in users]
    return Room(session_id, clients, invited)
