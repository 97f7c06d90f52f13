"""Several coordinators in processes of their own, over one database and one Redis: started, killed, suspended.

Owns processes and what is asked of them from outside. Knows nothing of what should come of it.
"""

import asyncio
import os
import random
import re
import uuid
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import aiohttp
import psutil

from coordinator.adapters.mongo.client import Database, connect
from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId
from coordinator.ports.journal import OutcomeUnknownError
from tests.database import URL_VARIABLE, fresh_database
from tests.processes.server import ServerProcess
from tests.redis_server import RedisProcess
from tests.transports.clients import MODERATION, NAMESPACE, RECORDING, RoomClient

NODE_TIMEOUT_SECONDS = 3.0
GRACE_SECONDS = 5.0
READY_SECONDS = 30
ANSWER_SECONDS = 30
_LOOK_SECONDS = 0.02
_ROLES = {NAMESPACE: Role.PARTICIPANT, MODERATION: Role.MODERATOR, RECORDING: Role.RECORDER}


class Node(ServerProcess):
    """One coordinator; a start after its end is another process at the same address.

    Args:
        name: What it is called in messages.
        folder: Where its log lies.
        mongo_url: The database server.
        database: The database, to look into.
        variables: Settings.
    """

    def __init__(self, name: str, folder: Path, mongo_url: str, database: Database, **variables: str) -> None:
        super().__init__(folder / name, mongo_url, COORDINATOR_MONGO__DATABASE=database.name, **variables)
        self.name = name
        self.is_suspended = False
        self._database = database
        self._seen_of_log = 0

    @property
    def is_running(self) -> bool:
        """Whether its process has not ended, though it may stand still."""
        return bool(self.address) and self.process.returncode is None

    @property
    def is_alive(self) -> bool:
        """Whether clients are sent to it, as a load balancer would."""
        return self.is_running and not self.is_suspended

    def suspend(self) -> None:
        """SIGSTOP: it stands still, and does not know."""
        self.is_suspended = True
        psutil.Process(self.process.pid).suspend()

    def resume(self) -> None:
        """SIGCONT."""
        psutil.Process(self.process.pid).resume()
        self.is_suspended = False

    def new_errors(self) -> list[str]:
        """Return what it has logged as an error since this was asked last."""
        lines = self.log.splitlines()[self._seen_of_log :]
        self._seen_of_log += len(lines)
        return [line for line in lines if re.search(r'"level": ?"(error|critical)"|Traceback', line)]

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Look into the database."""
        yield self._database


class Cluster:
    """Nodes that share a database, and a Redis if there is one.

    Attributes:
        nodes: The coordinators.
        redis: What they hear of each other on; None where they have only the database in common.
        database: The database.
        chance: What is left to chance, the same in every run.
        settled: The attendance of each session that has ended, as it was recorded: nobody may touch it any more.
    """

    def __init__(
        self, nodes: Sequence[Node], redis: RedisProcess | None, database: Database, http: aiohttp.ClientSession
    ) -> None:
        self.nodes = list(nodes)
        self.redis = redis
        self.database = database
        self.chance = random.Random(7)
        self.settled: dict[SessionId, dict[str, str]] = {}
        self._http = http
        self._redis: Literal["running", "suspended", "ended"] = "running"
        self._open: list[RoomClient] = []

    def others(self, *without: Node) -> list[Node]:
        """Return the nodes that are alive, but for these."""
        return [node for node in self.nodes if node.is_alive and node not in without]

    def connected(self, users: Collection[str]) -> list[RoomClient]:
        """Return the connections of these users that do not come back by themselves, and are there still."""
        return [client for client in self._open if client.user in users and client.gone is None]

    @asynccontextmanager
    async def well(self) -> AsyncIterator[None]:
        """Let everything run that should, wait until it is ready, and look afterwards whether an error was logged."""
        await self._heal()
        try:
            yield
        finally:
            for client in self._open:
                await client.close()
            self._open.clear()
        assert {node.name: node.new_errors() for node in self.nodes} == {node.name: [] for node in self.nodes}

    async def stop(self) -> None:
        """Stop all nodes as planned."""
        self.start_redis()
        running = [node for node in self.nodes if node.is_running]
        for node in running:
            if node.is_suspended:
                node.resume()
        codes = await asyncio.gather(*(node.stop() for node in running))
        assert codes == [0] * len(running)

    async def _heal(self) -> None:
        self.start_redis()
        for node in self.nodes:
            if node.is_suspended:
                node.resume()
        await asyncio.gather(*(node.start() for node in self.nodes if not node.is_running))
        await asyncio.gather(*(self.until_ready(node) for node in self.nodes))

    def kill_redis(self) -> None:
        """kill -9; what it knew of subscriptions is gone."""
        assert self.redis is not None
        self.redis.kill()
        self._redis = "ended"

    def suspend_redis(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        assert self.redis is not None
        self.redis.suspend()
        self._redis = "suspended"

    def start_redis(self) -> None:
        """Let it run again, whatever was done to it."""
        if self.redis is not None and self._redis == "ended":
            self.redis.start()
        elif self.redis is not None and self._redis == "suspended":
            self.redis.resume()
        self._redis = "running"

    async def client(self, node: Node, user: str, namespace: str = NAMESPACE) -> RoomClient:
        """Connect a user to a node; it does not come back by itself."""
        client = RoomClient(user, namespace)
        await client.connect(node.address, {"token": node.token(user, _ROLES[namespace])})
        self._open.append(client)
        return client

    async def joined(self, node: Node, user: str, session_id: str) -> RoomClient:
        """Connect a user to a node and let it join a session."""
        client = await self.client(node, user)
        reply = await client.join(session_id)
        assert reply["ok"], reply
        return client

    async def ask(
        self, node: Node, method: str, path: str, user: str = "boss", role: Role = Role.ADMIN, body: Any = None
    ) -> Any:
        """Ask a node something over HTTP that it must be able to answer; return the answer."""
        headers = {"Authorization": f"Bearer {node.token(user, role)}"}
        url = f"{node.address}/api/v1{path}"
        async with self._http.request(method, url, headers=headers, json=body) as response:
            assert response.status < 300, f"{node.name}: {response.status} {await response.text()}"
            return await response.json(content_type=None)

    async def readiness(self, node: Node) -> tuple[int, dict[str, Any]]:
        """Return what a node says of whether it can answer requests."""
        async with self._http.get(f"{node.address}/readyz") as response:
            return response.status, await response.json()

    async def until_ready(self, node: Node, *, ready: bool = True) -> dict[str, Any]:
        """Wait until a node says that it is ready, or is not; return its words."""
        async with asyncio.timeout(READY_SECONDS):
            while ((found := await self.readiness(node))[0] == 200) is not ready:
                await SystemClock().sleep(_LOOK_SECONDS)
        return found[1]

    async def until_database(self) -> None:
        """Wait until the database answers."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                try:
                    await self.database.ping()
                except OutcomeUnknownError:
                    continue  # it has waited by itself
                return

    async def metric(self, node: Node, name: str) -> float:
        """Return one of a node's numbers."""
        async with self._http.get(f"{node.address}/metrics") as response:
            text = await response.text()
        match = re.search(rf"^coordinator_{name} (\S+)$", text, re.MULTILINE)
        assert match is not None, name
        return float(match[1])


@asynccontextmanager
async def running_cluster(
    count: int, folder: Path, mongo_url: str, redis: RedisProcess | None = None
) -> AsyncIterator[Cluster]:
    """Run that many nodes over a new database; at the end each of them must stop as planned."""
    variables = {
        "COORDINATOR_SESSION__NODE_TIMEOUT_SECONDS": str(NODE_TIMEOUT_SECONDS),
        "COORDINATOR_SESSION__RECONNECT_GRACE_SECONDS": str(GRACE_SECONDS),
        "COORDINATOR_SESSION__NO_SHOW_MINUTES": "60",
        "COORDINATOR_LIMITS__REPLAY_EVENTS": "100000",
    }
    if redis is not None:
        variables["COORDINATOR_REDIS__URL"] = redis.url
    async with AsyncExitStack() as stack:
        database = connect(mongo_url, stack.enter_context(_database_name()))
        stack.push_async_callback(database.close)
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        nodes = [Node(f"node-{name}", folder, mongo_url, database, **variables) for name in "abcdefgh"[:count]]
        cluster = Cluster(nodes, redis, database, http)
        stack.push_async_callback(cluster.stop)
        yield cluster


@contextmanager
def _database_name() -> Iterator[str]:
    """Name a database that does not exist yet; on a server that the run was given, it is dropped afterwards."""
    if os.environ.get(URL_VARIABLE):
        with fresh_database() as name:
            yield name
    else:
        yield f"test_{uuid.uuid4().hex}"
