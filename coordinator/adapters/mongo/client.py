"""The connection to MongoDB: how it is opened, what it guarantees, how it is closed.

Owns the driver's client and its options; must not know what the collections mean.
"""

import asyncio
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from datetime import UTC
from typing import Any, TypeAlias

import pymongo
from bson.codec_options import DatetimeConversion
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase

from coordinator.adapters.mongo.failures import unanswered_is_unknown

Document: TypeAlias = dict[str, Any]
Collection: TypeAlias = "AsyncIOMotorCollection[Document]"

TIMEOUT_SECONDS = 5.0
"""How long one operation may take, with all the repeats that the driver makes by itself."""
_SELECTION_SECONDS = 2.0
"""How long to look for a server where the time of one operation does not bound that already (`unhurried`)."""
_APP_NAME = "conversation-coordinator"


class Database:
    """The coordinator's database on one connected client.

    Every write is acknowledged by a majority that has journalled it, every read sees only such writes, and times are
    aware UTC.

    Attributes:
        name: The database's name.
        events: The journal: one document per commit.
        sessions: Projected sessions.
        participants: Projected participants.
        timeslots: Time slots.
        series: Series, whose occurrences are time slots.
        registrations: Registrations.
        nodes: The last heartbeat of each coordinator.
        replies: Replies to requests that may be repeated.
        consumers: Who reads the feed, and from where on.
        marks: What of each session a consumer has.
    """

    def __init__(self, client: "AsyncIOMotorClient[Document]", name: str) -> None:
        self._client = client
        self._database: AsyncIOMotorDatabase[Document] = client[name]
        self.name = name
        self.events = self.collection("events")
        self.sessions = self.collection("sessions")
        self.participants = self.collection("participants")
        self.timeslots = self.collection("timeslots")
        self.series = self.collection("series")
        self.registrations = self.collection("registrations")
        self.nodes = self.collection("nodes")
        self.replies = self.collection("replies")
        self.consumers = self.collection("consumers")
        self.marks = self.collection("marks")

    def collection(self, name: str) -> Collection:
        """Return a collection by its name."""
        return self._database[name]

    async def command(self, command: MutableMapping[str, Any]) -> Document:
        """Run a database command and return its reply; the driver's errors come through."""
        reply: Document = await self._database.command(command)
        return reply

    async def ping(self) -> None:
        """Make sure that the database answers and could take a write.

        Raises:
            OutcomeUnknownError: It does not.
        """
        with unanswered_is_unknown():
            await self.command({"ping": 1})

    async def close(self) -> None:
        """Give the connections back. On a thread, because saying goodbye to a dead server takes a while."""
        await asyncio.to_thread(self._client.close)


def unhurried() -> AbstractContextManager[Any]:
    """Lift the time limit from the operations inside, which may rightly take long; a missing server is still noticed.

    With a longer limit instead, the driver would look for a missing server for all of that time.
    """
    return pymongo.timeout(0)


def connect(url: str, name: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Database:
    """Open a client for the running event loop; the first operation makes the first connection.

    Args:
        url: A `mongodb://` or `mongodb+srv://` URL. What it says about timeouts and guarantees is overruled, but not
            whether the driver repeats writes (`retryWrites`).
        name: The database's name.
        timeout_seconds: How long one operation may take.

    Raises:
        pymongo.errors.ConfigurationError: The URL is not one.
    """
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        url,
        io_loop=asyncio.get_running_loop(),
        tz_aware=True,
        tzinfo=UTC,
        # Someone may have put a date there that no datetime can hold. It must not keep all others from being read.
        datetime_conversion=DatetimeConversion.DATETIME_CLAMP,
        w="majority",
        journal=True,
        readConcernLevel="majority",
        readPreference="primary",
        retryReads=True,  # writes too, unless the URL says otherwise, as that of the embedded server does
        timeoutMS=round(timeout_seconds * 1000),
        serverSelectionTimeoutMS=round(min(timeout_seconds, _SELECTION_SECONDS) * 1000),
        connectTimeoutMS=round(min(timeout_seconds, _SELECTION_SECONDS) * 1000),
        appname=_APP_NAME,
    )
    return Database(client, name)
