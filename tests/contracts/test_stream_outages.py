"""The stream of commits while the database dies, hangs and comes back. MongoDB only, with servers of their own."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from coordinator.adapters.mongo.client import Database, connect
from coordinator.adapters.mongo.commit_stream import MongoCommitStream
from coordinator.adapters.mongo.embedded import EmbeddedServer
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.schema import prepare
from coordinator.domain.cursors import Position
from coordinator.domain.ids import CommitId
from coordinator.domain.ledger import Commit
from coordinator.ports.commit_stream import OpenStream
from coordinator.ports.journal import OutcomeUnknownError
from tests.contracts.making import chain, new_session_id
from tests.contracts.streaming import PATIENCE_SECONDS, commits_of, opened, read_until, write
from tests.database import open_database
from tests.transports.relay import Relay

TIMEOUT_SECONDS = 2.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that comes back, with everything that was acknowledged, when it is killed."""
    server = EmbeddedServer(tmp_path, durable=True)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def own(server: EmbeddedServer) -> AsyncIterator[Database]:
    """A prepared database on it."""
    database = connect(server.url, "own", timeout_seconds=TIMEOUT_SECONDS)
    await prepare(database)
    yield database
    await database.close()


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    """A way to the run's server that can be cut."""
    relay = Relay()
    await relay.mend()
    yield relay
    await relay.cut()


def process_of(data_dir: Path) -> psutil.Process:
    return psutil.Process(json.loads((data_dir / "database.json").read_bytes())["database"]["pid"])


@contextmanager
def hanging(process: psutil.Process) -> Iterator[None]:
    """A process that takes connections and bytes, and does nothing about it."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def fails(reader: OpenStream) -> None:
    """Read until it fails, as it must while the database is away."""
    with pytest.raises(OutcomeUnknownError):
        async with asyncio.timeout(4 * TIMEOUT_SECONDS):
            await reader.read()


async def test_a_server_that_cannot_be_reached_is_noticed_and_nothing_is_lost(relay: Relay, database: Database) -> None:
    journal, commits = MongoJournal(database), chain(new_session_id(), [1, 1, 1])
    remote = connect(relay.url, database.name, timeout_seconds=TIMEOUT_SECONDS)
    commit_stream = MongoCommitStream(remote)
    async with opened(commit_stream) as reader:
        await write(journal, commits[:1])
        assert commits_of(await read_until(reader, 1)) == commits[:1]
        reading = asyncio.create_task(fails(reader))
        await asyncio.wait([reading], timeout=0.01)
        await relay.cut()
        await write(journal, commits[1:2])
        await reading
        with pytest.raises(OutcomeUnknownError):
            await commit_stream.open()
        async with asyncio.timeout(4 * TIMEOUT_SECONDS):
            await reader.close()
    await relay.mend()
    await write(journal, commits[2:])
    async with opened(commit_stream, reader.position) as reader:
        assert commits_of(await read_until(reader, 2)) == commits[1:]
    await remote.close()


async def test_a_server_that_hangs_is_noticed_and_nothing_is_lost(own: Database, tmp_path: Path) -> None:
    journal, commits = MongoJournal(own), chain(new_session_id(), [1, 1])
    commit_stream = MongoCommitStream(own)
    async with opened(commit_stream) as reader:
        await write(journal, commits[:1])
        assert commits_of(await read_until(reader, 1)) == commits[:1]
        with hanging(process_of(tmp_path)):
            await fails(reader)
            async with asyncio.timeout(4 * TIMEOUT_SECONDS):
                await reader.close()
    await write(journal, commits[1:])
    async with opened(commit_stream, reader.position) as reader:
        assert commits_of(await read_until(reader, 1)) == commits[1:]


class Follower:
    """Reads, and opens another stream where the last one stood whenever the database is away."""

    def __init__(self, commit_stream: MongoCommitStream) -> None:
        self.seen: list[Commit] = []
        self._commit_stream = commit_stream
        self._news = asyncio.Condition()

    async def follow(self, reader: OpenStream, count: int) -> None:
        """Read until so many have come."""
        while len(self.seen) < count:
            try:
                found = await reader.read()
            except OutcomeUnknownError:
                await reader.close()
                reader = await self._reopen(reader.position)
            else:
                self.seen += commits_of(found)
                async with self._news:
                    self._news.notify_all()
        await reader.close()

    async def has_seen(self, count: int) -> None:
        """Wait until so many have come."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.seen) >= count)

    async def _reopen(self, position: Position) -> OpenStream:
        while True:
            with suppress(OutcomeUnknownError):
                return await self._commit_stream.open(position)


async def keep_writing(journal: MongoJournal, commits: list[Commit]) -> None:
    """Write commits one after the other, each as often as it takes."""
    for item in commits:
        written: AbstractSet[CommitId] = frozenset()
        while not written:
            with suppress(OutcomeUnknownError):
                written = await journal.append([item])


async def test_each_commit_comes_once_however_often_the_server_is_killed(own: Database, tmp_path: Path) -> None:
    journals = [chain(new_session_id(), [1] * 60) for _ in range(4)]
    follower = Follower(MongoCommitStream(own))
    reader = await MongoCommitStream(own).open()
    async with asyncio.timeout(2 * PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(follower.follow(reader, 240))
        for commits in journals:
            group.create_task(keep_writing(MongoJournal(own), commits))
        for _ in range(3):
            await follower.has_seen(min(len(follower.seen) + 20, 240))
            with suppress(psutil.NoSuchProcess):  # all has been read, and it is on its way up again
                process_of(tmp_path).kill()
    for commits in journals:
        assert [item for item in follower.seen if item.session_id == commits[0].session_id] == commits
    assert len(follower.seen) == 240


async def test_closing_after_the_client_is_harmless(database: Database) -> None:
    other = open_database(database.name)
    idle, busy = [await MongoCommitStream(other).open() for _ in range(2)]
    reading = asyncio.create_task(busy.read())
    await asyncio.wait([reading], timeout=0.01)
    await other.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        for reader in (idle, busy, idle, busy):
            await reader.close()
        await asyncio.gather(reading, return_exceptions=True)
    assert reading.done()
