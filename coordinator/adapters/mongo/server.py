"""The database server itself: whether it is a router of a cluster, and what time it is there.

Owns the reading of its answer to `hello`; must not know what is kept in the database.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.failures import unanswered_is_unknown

_ROUTER = "isdbgrid"
_LOOKS = 3


class Server(msgspec.Struct, frozen=True):
    """What the server says of itself.

    Attributes:
        is_router: Whether it is a router (mongos) of a sharded cluster.
        time: What time it was there when it answered.
        lag_seconds: By how much the clock here is behind that of the server; negative where it is ahead.
        doubt_seconds: By how much that may be wrong at most: half of the time that the answer took.
    """

    is_router: bool
    time: datetime
    lag_seconds: float
    doubt_seconds: float


async def ask_server(database: Database, now: Callable[[], datetime]) -> Server:
    """Ask the server a few times, and return its quickest answer.

    Args:
        database: The database.
        now: The clock here.

    Raises:
        OutcomeUnknownError: The database does not answer.
    """
    return min([await _ask(database, now) for _ in range(_LOOKS)], key=lambda server: server.doubt_seconds)


async def _ask(database: Database, now: Callable[[], datetime]) -> Server:
    asked = now()
    with unanswered_is_unknown():
        hello = await database.command({"hello": 1})
    doubt = (now() - asked) / 2
    time = hello["localTime"].replace(tzinfo=UTC)
    return Server(
        is_router=hello.get("msg") == _ROUTER,
        time=time,
        lag_seconds=(time - (asked + doubt)).total_seconds(),
        doubt_seconds=doubt.total_seconds(),
    )
