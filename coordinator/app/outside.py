"""What a node has from the outside world: the ports with their adapters, the database, the tokens' secret.

Owns which adapter the settings ask for; must not know what is done with it.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from coordinator.adapters.jwt.development_secret import read_or_make_secret
from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.adapters.mongo.bookings import MongoBookings
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import connect
from coordinator.adapters.mongo.commit_stream import MongoCommitStream
from coordinator.adapters.mongo.consumers import MongoConsumers
from coordinator.adapters.mongo.embedded import EmbeddedServer
from coordinator.adapters.mongo.ids import ObjectIds
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.liveness import MongoLiveness
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.adapters.mongo.replies import MongoReplies
from coordinator.adapters.mongo.schema import prepare
from coordinator.adapters.no_bus import NoBus
from coordinator.adapters.redis.bus import RedisBus
from coordinator.adapters.system import SystemClock
from coordinator.domain.ids import NodeId
from coordinator.ports.bookings import Bookings
from coordinator.ports.bus import Bus
from coordinator.ports.catalog import Catalog
from coordinator.ports.clock import Clock
from coordinator.ports.commit_stream import CommitStream
from coordinator.ports.consumers import Consumers
from coordinator.ports.identity import IdSource, TokenVerifier
from coordinator.ports.journal import Journal
from coordinator.ports.liveness import Liveness
from coordinator.ports.projections import Projections
from coordinator.ports.replies import Replies
from coordinator.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything from the outside world that one coordinator works with."""

    journal: Journal
    bus: Bus
    projections: Projections
    catalog: Catalog
    bookings: Bookings
    replies: Replies
    liveness: Liveness
    commit_stream: CommitStream
    consumers: Consumers
    clock: Clock
    ids: IdSource
    tokens: TokenVerifier


def signing_secret(settings: Settings) -> str:
    """Return the secret that tokens are signed with; for the embedded database one is made if none is set.

    Raises:
        SettingsError: A database was named but no secret: that is a production set-up, and nobody must guess it.
    """
    if settings.auth.secret is not None:
        return settings.auth.secret
    if settings.mongo.url is not None:
        problem = "auth.secret: must be set (COORDINATOR_AUTH__SECRET, at least 32 bytes) when mongo.url is given"
        raise SettingsError([problem])
    return read_or_make_secret(Path(settings.mongo.data_dir))


def make_tokens(settings: Settings, clock: Clock) -> Hs256Tokens:
    """Return the signer and verifier of tokens."""
    auth = settings.auth
    return Hs256Tokens(
        signing_secret(settings),
        issuer=auth.issuer,
        audience=auth.audience,
        leeway_seconds=auth.leeway_seconds,
        clock=clock,
    )


@asynccontextmanager
async def database_url(settings: Settings) -> AsyncIterator[str]:
    """Give the URL of the database: the one that is set, or an embedded server's that runs for as long as this does."""
    if settings.mongo.url is not None:
        yield settings.mongo.url
        return
    embedded = EmbeddedServer(Path(settings.mongo.data_dir), durable=settings.mongo.durable)
    url = await embedded.start()
    try:
        yield url
    finally:
        await embedded.stop()


def _bus(settings: Settings) -> Bus:
    if settings.redis.url is None:
        return NoBus()
    try:
        return RedisBus(settings.redis.url, NodeId(secrets.token_hex(6)))
    except ValueError as error:
        raise SettingsError([str(error)]) from None


@asynccontextmanager
async def mongo_ports(settings: Settings, url: str) -> AsyncIterator[Ports]:
    """Give the real ports, over the database at `url`, whose collections and indexes are made if need be."""
    clock = SystemClock()
    tokens = make_tokens(settings, clock)
    database = connect(url, settings.mongo.database)
    try:
        await database.ping()  # answers soon, one way or the other; preparing may take its time
        await prepare(database)
        yield Ports(
            journal=MongoJournal(database),
            bus=_bus(settings),
            projections=MongoProjections(database),
            catalog=MongoCatalog(database),
            bookings=MongoBookings(database),
            replies=MongoReplies(database),
            liveness=MongoLiveness(database),
            commit_stream=MongoCommitStream(database),
            consumers=MongoConsumers(database),
            clock=clock,
            ids=ObjectIds(),
            tokens=tokens,
        )
    finally:
        await database.close()
