"""Nodes on a bus in tests: each with an ear that writes down what it hears, on a bus that can be taken down."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from typing import Protocol

from coordinator.adapters.memory.bus import MemoryBus, MemoryExchange
from coordinator.adapters.redis.bus import RedisBus
from coordinator.domain.ids import NodeId, SessionId
from coordinator.ports.bus import Bus, BusListener, Hint
from tests.redis_server import RedisProcess, redis_cluster, redis_process, server_url

PATIENCE_SECONDS = 30.0

_numbers = count(1)


class Ear(BusListener):
    """Writes down what it hears.

    Attributes:
        hints: What was heard, in order.
        lives: Which sessions came to life, in order.
    """

    def __init__(self) -> None:
        self.hints: list[Hint] = []
        self.lives: list[SessionId] = []
        self._news = asyncio.Event()

    def heard(self, hint: Hint) -> None:
        self.hints.append(hint)
        self._news.set()

    def live(self, session_id: SessionId) -> None:
        self.lives.append(session_id)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until hearing something makes this true."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._news.clear()
                await self._news.wait()


class End:
    """One node's end of a bus that is running."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.ear = Ear()
        self.running = asyncio.create_task(bus.run(self.ear))

    async def follow(self, *sessions: SessionId) -> None:
        """Follow sessions, and wait until they are live."""
        for session_id in sessions:
            self.bus.follow(session_id)
        await self.live(*sessions)

    async def live(self, *sessions: SessionId) -> None:
        """Wait until sessions are live."""
        await self.ear.until(lambda: all(map(self.bus.is_live, sessions)))

    async def hears(self, *hints: Hint) -> None:
        """Wait until so many hints have been heard as there are here; they are these, in this order."""
        await self.ear.until(lambda: len(self.ear.hints) >= len(hints))
        assert self.ear.hints == list(hints)

    async def stop(self) -> None:
        """Cancel it, and wait for its end."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        assert self.running.cancelled(), self.running


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is true that no ear is told of."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - there is nothing else to wait for: nobody is told
            await asyncio.sleep(0.001)


class Place(Protocol):
    """Where nodes meet."""

    def bus(self) -> Bus:
        """Make one more node's end."""

    def go_down(self) -> None:
        """Be out of reach, at once and without a word."""

    def come_up(self) -> None:
        """Be there again."""


@asynccontextmanager
async def ends(place: Place, number: int) -> AsyncIterator[Sequence[End]]:
    """Run so many ends; all are up."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(number):
            opened.append(End(place.bus()))
            stack.push_async_callback(opened[-1].stop)
        await until(lambda: all(end.bus.is_up for end in opened))
        yield opened


class MemoryPlace(Place):
    """An exchange in memory."""

    def __init__(self) -> None:
        self._exchange = MemoryExchange()

    def bus(self) -> Bus:
        return MemoryBus(self._exchange)

    def go_down(self) -> None:
        self._exchange.go_down()

    def come_up(self) -> None:
        self._exchange.come_up()


class RedisPlace(Place):
    """A server, or a cluster of which one node goes down.

    Args:
        url: Where it is.
        process: The process to kill; without one it cannot go down.
    """

    def __init__(self, url: str, process: RedisProcess | None = None) -> None:
        self.url = url
        self.prefix = f"test-{uuid.uuid4().hex}"
        self._process = process

    def bus(self) -> RedisBus:
        return RedisBus(self.url, NodeId(f"node-{next(_numbers)}"), self.prefix)

    def go_down(self) -> None:
        assert self._process is not None
        self._process.kill()

    def come_up(self) -> None:
        assert self._process is not None
        self._process.start()


@contextmanager
def place_of(kind: str, *, fragile: bool = False) -> Iterator[Place]:
    """Give a place of a kind that can go down if it is `fragile`."""
    if kind == "memory":
        yield MemoryPlace()
    elif kind == "redis cluster":
        with redis_cluster() as nodes:
            yield RedisPlace(nodes[0].url, nodes[0])
    elif fragile:
        with redis_process() as server:
            yield RedisPlace(server.url, server)
    else:
        yield RedisPlace(server_url())
