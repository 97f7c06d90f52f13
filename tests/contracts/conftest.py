"""Each port over each of its backends: a test that asks for `journal` runs once with each."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pymongo.database import Database as SyncDatabase

from coordinator.adapters.memory.bookings import MemoryBookings
from coordinator.adapters.memory.catalog import MemoryCatalog
from coordinator.adapters.memory.commit_stream import MemoryCommitStream
from coordinator.adapters.memory.consumers import MemoryConsumers
from coordinator.adapters.memory.ids import SequentialIds
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.adapters.memory.liveness import MemoryLiveness
from coordinator.adapters.memory.projections import MemoryProjections
from coordinator.adapters.memory.replies import MemoryReplies
from coordinator.adapters.mongo.bookings import MongoBookings
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import Database, connect
from coordinator.adapters.mongo.commit_stream import MongoCommitStream
from coordinator.adapters.mongo.consumers import MongoConsumers
from coordinator.adapters.mongo.ids import ObjectIds
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.liveness import MongoLiveness
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.adapters.mongo.replies import MongoReplies
from coordinator.adapters.mongo.schema import prepare
from coordinator.ports.bookings import Bookings
from coordinator.ports.catalog import Catalog
from coordinator.ports.commit_stream import CommitStream
from coordinator.ports.consumers import Consumers
from coordinator.ports.identity import IdSource
from coordinator.ports.journal import Journal
from coordinator.ports.liveness import Liveness
from coordinator.ports.projections import Projections
from coordinator.ports.replies import Replies
from tests.contracts.bus_ends import Place, place_of
from tests.database import DEAD_URL, client, fresh_database, open_database


@pytest.fixture(params=["memory", "mongo"])
def backend(request: pytest.FixtureRequest) -> str:
    """Where things are kept."""
    name: str = request.param
    return name


@pytest.fixture
def database_name() -> Iterator[str]:
    """A database that does not exist yet; dropped afterwards."""
    with fresh_database() as name:
        yield name


@pytest.fixture
async def bare(database_name: str) -> AsyncIterator[Database]:
    """An empty database in which nothing has been prepared."""
    database = open_database(database_name)
    yield database
    await database.close()


@pytest.fixture
async def database(bare: Database) -> Database:
    """An empty database, prepared."""
    await prepare(bare)
    return bare


@pytest.fixture
def raw(database: Database) -> SyncDatabase[dict[str, Any]]:
    """The same database through the driver alone, as a foreign tool sees it."""
    return client()[database.name]


@pytest.fixture
async def dead_database() -> AsyncIterator[Database]:
    """A database whose server does not answer."""
    database = connect(DEAD_URL, "nowhere", timeout_seconds=0.05)
    yield database
    await database.close()


def _database(request: pytest.FixtureRequest) -> Database:
    # Asked for only by name, so that the memory backend needs no server.
    database: Database = request.getfixturevalue("database")
    return database


@pytest.fixture
def journal(backend: str, request: pytest.FixtureRequest) -> Journal:
    return MemoryJournal() if backend == "memory" else MongoJournal(_database(request))


@pytest.fixture
def commit_stream(journal: Journal, request: pytest.FixtureRequest) -> CommitStream:
    """The stream of what goes into `journal`."""
    return MemoryCommitStream(journal) if isinstance(journal, MemoryJournal) else MongoCommitStream(_database(request))


@pytest.fixture
async def stream_elsewhere(
    commit_stream: CommitStream, journal: Journal, database_name: str
) -> AsyncIterator[CommitStream]:
    """The same stream as another node has it."""
    if isinstance(journal, MemoryJournal):
        yield MemoryCommitStream(journal)
        return
    database = open_database(database_name)
    yield MongoCommitStream(database)
    await database.close()


@pytest.fixture
async def foreign(backend: str) -> AsyncIterator[tuple[Journal, CommitStream]]:
    """A journal that has nothing to do with `journal`, and its stream."""
    if backend == "memory":
        journal = MemoryJournal()
        yield journal, MemoryCommitStream(journal)
        return
    with fresh_database() as name:
        database = open_database(name)
        await prepare(database)
        yield MongoJournal(database), MongoCommitStream(database)
        await database.close()


@pytest.fixture(params=["memory", "mongo", "mongo with no room for recent marks"])
def consumers(request: pytest.FixtureRequest) -> Consumers:
    match request.param:
        case "memory":
            return MemoryConsumers()
        case "mongo":
            return MongoConsumers(_database(request))
        case _:
            return MongoConsumers(_database(request), recent_marks=1)


@pytest.fixture
def projections(backend: str, request: pytest.FixtureRequest) -> Projections:
    return MemoryProjections() if backend == "memory" else MongoProjections(_database(request))


@pytest.fixture
def catalog(backend: str, request: pytest.FixtureRequest) -> Catalog:
    return MemoryCatalog() if backend == "memory" else MongoCatalog(_database(request))


@pytest.fixture
def bookings(backend: str, request: pytest.FixtureRequest) -> Bookings:
    return MemoryBookings() if backend == "memory" else MongoBookings(_database(request))


@pytest.fixture
def replies(backend: str, request: pytest.FixtureRequest) -> Replies:
    return MemoryReplies() if backend == "memory" else MongoReplies(_database(request))


@pytest.fixture
def liveness(backend: str, request: pytest.FixtureRequest) -> Liveness:
    return MemoryLiveness() if backend == "memory" else MongoLiveness(_database(request))


@pytest.fixture
def ids(backend: str) -> IdSource:
    return SequentialIds() if backend == "memory" else ObjectIds()


@pytest.fixture(params=["memory", "redis", "redis cluster"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Where the nodes' ends of the bus meet."""
    with place_of(request.param) as found:
        yield found


@pytest.fixture(params=["memory", "redis", "redis cluster"])
def fragile_place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The same, and it can go down."""
    with place_of(request.param, fragile=True) as found:
        yield found
