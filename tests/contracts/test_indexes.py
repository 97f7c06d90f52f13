"""Every query of the catalogue, the bookings and the session pages uses an index, however much is over. MongoDB only.

What the adapters really send is recorded and handed to `explain`. On a MongoDB that settles it for each of them. The
embedded server explains a query truthfully only where an index covers all of its fields: elsewhere it speaks of a scan
while it uses the index of the first field. For those it has to prove itself by the clock, against a query on the same
collection that no index can serve: an index makes more than a fourfold difference here, and without one there is none.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.database import Database as SyncDatabase
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from coordinator.adapters.mongo.bookings import MongoBookings
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.consumers import MongoConsumers
from coordinator.adapters.mongo.documents import (
    participant_document,
    registration_document,
    series_document,
    session_document,
    slot_document,
)
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.adapters.mongo.schema import prepare
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import (
    Language,
    Level,
    Participant,
    Recurrence,
    Registration,
    RegistrationStatus,
    Session,
    SessionStatus,
    TimeSlot,
)
from coordinator.ports.bookings import RegistrationQuery
from coordinator.ports.catalog import SlotQuery
from coordinator.ports.projections import SessionQuery
from tests.contracts.making import (
    MOMENT,
    NOON,
    new_session_id,
    new_slot_id,
    participant,
    registration,
    series,
    session,
    slot,
)
from tests.contracts.tables import SMALLEST
from tests.database import client, fresh_database, open_database, server_url

OVER = 2500
"""How many slots are over, registrations settled and sessions ended."""
FEW = OVER // 10
"""A query that examines no more than that uses its index."""
DAY = timedelta(days=1)
NOW = datetime.now(UTC)
SERIES, SLOT, USER = SlotId("5e71e55e71e55e71e55e71e5"), SlotId("510751075107510751075107"), UserId("user7")
SESSION = SessionId("5e55105e55105e55105e5510")
CONSUMER, BEGINNING = "recorder", ObjectId()

Raw = SyncDatabase[dict[str, Any]]


def fill(raw: Raw) -> None:
    """Put in much that is over and a little that is to come."""
    dice = random.Random(5)
    numbers = range(OVER + 40)
    raw["timeslots"].insert_many([slot_document(some_slot(dice, number)) for number in numbers])
    raw["registrations"].insert_many([registration_document(some_registration(number)) for number in numbers])
    raw["sessions"].insert_many([session_document(some_session(dice, number)) for number in numbers])
    stopped = [series_document(series(is_active=False)) for _ in range(OVER)]
    raw["series"].insert_many([*stopped, series_document(series(next_start=NOON))])
    raw["consumers"].insert_one({**SMALLEST["consumers"], "_id": CONSUMER, "beginning": BEGINNING})
    raw["marks"].insert_many([some_mark(number) for number in numbers])
    raw["participants"].insert_many([participant_document(some_participant(number)) for number in numbers])
    raw["events"].insert_many([some_commit(number) for number in numbers])


def some_slot(dice: random.Random, number: int) -> TimeSlot:
    is_over, repeats = number < OVER, number % 4 == 0
    return slot(
        start_time=NOON + dice.randrange(24 * 365) * timedelta(hours=-1 if is_over else 0.02),
        target_language_code=dice.choice(list(Language)),
        level=dice.choice(list(Level)),
        is_active=number % 10 != 0,
        recurrence=Recurrence.DAILY if repeats else None,
        series_id=SERIES if number % 200 == 0 else new_slot_id() if repeats else None,
        session_id=new_session_id() if is_over else None,
        settle_at=None if is_over else NOON,
    )


def some_registration(number: int) -> Registration:
    status = list(RegistrationStatus)[number % 4]
    seat = None if status is RegistrationStatus.CANCELLED else number // 200
    slot_id = SLOT if number % 200 == 0 else new_slot_id()
    return registration(slot_id, UserId(f"user{number // 5}"), status=status, seat=seat)


def some_session(dice: random.Random, number: int) -> Session:
    return session(
        status=SessionStatus.ENDED if number < OVER else SessionStatus.ACTIVE,
        target_language_code=dice.choice(list(Language)),
        time_slot_id=new_slot_id(),
        created_at=NOW - dice.randrange(1, 29 * 24 * 60) * timedelta(minutes=1),
    )


def some_mark(number: int) -> dict[str, Any]:
    beginning = BEGINNING if number < FEW // 2 else ObjectId()
    return {"consumer": CONSUMER, "beginning": beginning, "sessionId": ObjectId(), "seq": 1}


def some_participant(number: int) -> Participant:
    return participant(new_session_id(), UserId(f"user{number // 5}"))


def some_commit(number: int) -> dict[str, Any]:
    """One of the twenty commits of a session of today."""
    session_id = ObjectId(f"{int(NOW.timestamp()):08x}{number // 20:016x}")
    return {**SMALLEST["events"], "sessionId": session_id, "seq": number % 20 + 1}


@pytest.fixture(scope="module")
def filled() -> Iterator[str]:
    """The name of a database with much in it that is over; it is read by every test here, and changed by none."""

    async def make(name: str) -> None:
        database = open_database(name)
        await prepare(database)
        await database.close()

    with fresh_database() as name:
        asyncio.run(make(name))
        fill(client()[name])
        yield name


@pytest.fixture
def raw(filled: str) -> Raw:
    return client()[filled]


class Recorder(CommandListener):
    """Keeps the commands that a client sends."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.commands.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to do."""


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def database(filled: str, recorder: Recorder) -> AsyncIterator[Database]:
    """The filled database, over a client whose commands are recorded."""
    recorded: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        server_url(), io_loop=asyncio.get_running_loop(), tz_aware=True, event_listeners=[recorder]
    )
    database = Database(recorded, filled)
    yield database
    await database.close()


def queries(commands: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield, as `find` commands, what is looked for by commands of any kind."""
    for command in commands:
        match command:
            case {"find": collection, "filter": condition}:
                extra: dict[str, Any] = {
                    name: command[name] for name in ("sort", "limit", "projection") if name in command
                }
                yield {"find": collection, "filter": condition, **extra}
            case {"distinct": collection, "query": condition}:
                yield {"find": collection, "filter": condition}
            case {"delete": collection, "deletes": deletes}:
                yield from ({"find": collection, "filter": delete["q"]} for delete in deletes)
            case {"update": collection, "updates": updates}:
                yield from ({"find": collection, "filter": update["q"]} for update in updates)


def stages(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the stages of a plan, the last one first."""
    yield plan["stage"]
    for inner in [plan[name] for name in ("inputStage",) if name in plan] + plan.get("inputStages", []):
        yield from stages(inner)


def is_embedded(raw: Raw) -> bool:
    return "secantusVersion" in raw.command("buildInfo")


def seconds(raw: Raw, find: dict[str, Any]) -> float:
    before = time.perf_counter()
    raw.command(find)
    return time.perf_counter() - before


def check_by_explaining(raw: Raw, find: dict[str, Any]) -> None:
    explained = raw.command({"explain": find, "verbosity": "executionStats"})
    plan = explained["queryPlanner"]["winningPlan"]
    used = set(stages(plan.get("queryPlan", plan)))
    assert used & {"IXSCAN", "IDHACK", "EXPRESS_IXSCAN", "EXPRESS_CLUSTERED_IXSCAN"}, find
    assert "COLLSCAN" not in used, find
    assert explained["executionStats"]["totalDocsExamined"] <= FEW, find


def check_by_the_clock(raw: Raw, find: dict[str, Any]) -> None:
    scan = {"find": find["find"], "filter": {"no field has this name": 1}}
    ours, theirs = [], []
    for _ in range(30):  # until both have had a quiet moment
        ours.append(seconds(raw, find))
        theirs.append(seconds(raw, scan))
        if 4 * min(ours) < min(theirs):
            return
    raise AssertionError(f"{find} took {min(ours):.4f} s, and looking at every document {min(theirs):.4f} s")


class Query(NamedTuple):
    """A call of an adapter, and whether an index covers all fields of each query that it sends."""

    call: Callable[[Database], Awaitable[Any]]
    is_covered: bool


def slot_page(*, is_covered: bool, **more: Any) -> Query:
    query = SlotQuery(**{"start_from": NOON, "limit": 5, **more})
    return Query(lambda database: MongoCatalog(database).page(query), is_covered)


def session_page(*, is_covered: bool, **more: Any) -> Query:
    query = SessionQuery(**{"limit": 5, **more})
    return Query(lambda database: MongoProjections(database).page(query), is_covered)


def booking_page(*, is_covered: bool, **more: Any) -> Query:
    query = RegistrationQuery(**{"limit": 5, **more})
    return Query(lambda database: MongoBookings(database).page(query), is_covered)


LANGUAGE = {"target_language_code": Language.FRENCH}
LEVEL = {"level": Level.B1}
SOME_TIME_AGO = NOON - 100 * DAY
REGISTERED = RegistrationStatus.REGISTERED

LISTS = {
    "slots": slot_page(is_covered=True),
    "slots from some time ago on": slot_page(start_from=SOME_TIME_AGO, is_covered=True),
    "slots of a day": slot_page(start_from=SOME_TIME_AGO, start_until=SOME_TIME_AGO + DAY, is_covered=True),
    "active slots": slot_page(is_active=True, is_covered=False),
    "inactive slots": slot_page(is_active=False, is_covered=False),
    "slots in a language": slot_page(**LANGUAGE, is_covered=False),
    "slots at a level": slot_page(**LEVEL, is_covered=False),
    "slots in a language at a level": slot_page(**LANGUAGE, **LEVEL, is_covered=True),
    "active slots in a language": slot_page(**LANGUAGE, is_active=True, is_covered=False),
    "active slots at a level": slot_page(**LEVEL, is_active=True, is_covered=False),
    "active slots in a language at a level": slot_page(**LANGUAGE, **LEVEL, is_active=True, is_covered=False),
    "slots after another": slot_page(after=(NOON + MOMENT, SLOT), is_covered=False),
    "slots after another that is over": slot_page(
        start_from=NOON - 200 * DAY, after=(SOME_TIME_AGO, SLOT), is_active=True, is_covered=False
    ),
    "slots of a series": slot_page(series_id=SERIES, is_covered=True),
    "active slots of a series": slot_page(series_id=SERIES, is_active=True, is_covered=False),
    "slots of a series after another": slot_page(series_id=SERIES, after=(NOON, SLOT), is_covered=False),
    "sessions": session_page(is_covered=True),
    "ended sessions": session_page(status=SessionStatus.ENDED, is_covered=False),
    "active sessions": session_page(status=SessionStatus.ACTIVE, is_covered=True),
    "waiting sessions": session_page(status=SessionStatus.WAITING, is_covered=True),
    "sessions in a language": session_page(**LANGUAGE, is_covered=False),
    "ended sessions in a language": session_page(**LANGUAGE, status=SessionStatus.ENDED, is_covered=False),
    "active sessions in a language": session_page(**LANGUAGE, status=SessionStatus.ACTIVE, is_covered=True),
    "sessions after another": session_page(after=(NOW - 10 * DAY, SESSION), is_covered=False),
    "sessions of a slot": session_page(slot_id=SLOT, is_covered=True),
    "ended sessions of a slot": session_page(slot_id=SLOT, status=SessionStatus.ENDED, is_covered=False),
    "registrations for a slot": booking_page(slot_id=SLOT, is_covered=True),
    "registrations for a slot after another": booking_page(slot_id=SLOT, after="5" * 24, is_covered=False),
    "registrations for a slot with a status": booking_page(slot_id=SLOT, status=REGISTERED, is_covered=True),
    "registrations of a user": booking_page(user_id=USER, is_covered=True),
    "registrations of a user after another": booking_page(user_id=USER, after="5" * 24, is_covered=False),
    "registrations of a user with a status": booking_page(user_id=USER, status=REGISTERED, is_covered=True),
    "registration of a user for a slot": booking_page(slot_id=SLOT, user_id=USER, is_covered=True),
}
SCHEDULING = {
    "slots to open": Query(
        lambda database: MongoCatalog(database).active_slots(NOON - DAY / 24, NOON + DAY / 144), is_covered=False
    ),
    "slots to settle": Query(lambda database: MongoCatalog(database).unsettled(NOON, 100), is_covered=True),
    "series with an occurrence to make": Query(
        lambda database: MongoCatalog(database).due_series(NOON, 100), is_covered=True
    ),
    "slots to adopt": Query(lambda database: MongoCatalog(database).slots_to_adopt(100), is_covered=True),
    "booked slots": Query(
        lambda database: MongoBookings(database).booked({SLOT, *(new_slot_id() for _ in range(20))}), is_covered=False
    ),
    "attendance": Query(
        lambda database: MongoBookings(database).record_attendance(new_slot_id(), {USER}), is_covered=False
    ),
    "cancelling a slot": Query(
        lambda database: MongoBookings(database).cancel_all(new_slot_id(), NOON), is_covered=True
    ),
}
MANY = ("timeslots", "series", "registrations", "sessions", "marks", "participants", "events")
BOOKING = {
    "holders of a slot": Query(lambda database: MongoBookings(database).holders(SLOT), is_covered=True),
    "slots of a user": Query(lambda database: MongoBookings(database).slots_of(USER), is_covered=True),
    "a registration": Query(lambda database: MongoBookings(database).find(SLOT, USER), is_covered=True),
    "cancelling a registration": Query(
        lambda database: MongoBookings(database).cancel(new_slot_id(), USER, NOON), is_covered=False
    ),
    "several slots": Query(
        lambda database: MongoCatalog(database).slots({SLOT, *(new_slot_id() for _ in range(20))}), is_covered=True
    ),
}
FEED = {
    "marks of a consumer": Query(lambda database: MongoConsumers(database).marks(CONSUMER), is_covered=False),
    "marks of some sessions": Query(
        lambda database: MongoConsumers(database).marks(CONSUMER, [new_session_id() for _ in range(20)]),
        is_covered=False,
    ),
    "forgetting sessions": Query(
        lambda database: MongoConsumers(database).forget_sessions({new_session_id()}), is_covered=True
    ),
}
LEDGER = {
    "sessions that a user has a part in": Query(
        lambda database: MongoProjections(database).sessions_of(USER, None, 10), is_covered=False
    ),
    "those after another": Query(
        lambda database: MongoProjections(database).sessions_of(USER, SESSION, 10), is_covered=False
    ),
    "what a log says of a user": Query(
        lambda database: MongoJournal(database).mentions(SESSION, USER, {"recording_consent_granted"}), is_covered=False
    ),
    "the end of a log": Query(lambda database: MongoJournal(database).head(SESSION), is_covered=True),
    "logs that are too old": Query(
        lambda database: MongoJournal(database).expired(NOW - 30 * DAY, 100), is_covered=False
    ),
    "taking a log away": Query(lambda database: MongoJournal(database).discard(SESSION), is_covered=True),
    "taking documents away": Query(lambda database: MongoProjections(database).discard(SESSION), is_covered=True),
}
EVERY = {**LISTS, **SCHEDULING, **BOOKING, **FEED, **LEDGER}


@pytest.mark.parametrize("name", EVERY)
async def test_a_query_uses_an_index(name: str, database: Database, recorder: Recorder, raw: Raw) -> None:
    query = EVERY[name]
    await query.call(database)
    every_consumer = {"find": "consumers", "filter": {}}  # of which there are few
    sent = [find for find in queries(recorder.commands) if find != every_consumer]
    assert sent
    for find in sent:
        if query.is_covered or not is_embedded(raw) or set(find["filter"]) == {"_id"}:
            await asyncio.to_thread(check_by_explaining, raw, find)
        else:
            await asyncio.to_thread(check_by_the_clock, raw, find)


async def test_what_is_there_is_enough_to_tell_an_index_from_a_scan(raw: Raw) -> None:
    assert all(raw[name].count_documents({}) > OVER for name in MANY)
    by_chance = {"find": "timeslots", "filter": {"updatedAt": NOON, "_id": {"$ne": ObjectId()}}}
    with pytest.raises(AssertionError):
        check_by_explaining(raw, by_chance)
    if is_embedded(raw):
        with pytest.raises(AssertionError):
            check_by_the_clock(raw, by_chance)
