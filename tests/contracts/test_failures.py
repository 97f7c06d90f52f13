"""What happens when the database does not answer: every method of every port says so in the same way. MongoDB only."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pymongo.errors as driver
import pytest

from coordinator.adapters.mongo.bookings import MongoBookings
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.commit_stream import MongoCommitStream
from coordinator.adapters.mongo.consumers import MongoConsumers
from coordinator.adapters.mongo.failures import leaves_outcome_unknown, refused_duplicates, unanswered_is_unknown
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.liveness import MongoLiveness
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.adapters.mongo.replies import MongoReplies
from coordinator.adapters.mongo.schema import inspect, prepare
from coordinator.domain.ids import CommitId, NodeId, UserId
from coordinator.ports.bookings import Bookings, RegistrationQuery
from coordinator.ports.catalog import Catalog, Claim, SlotQuery
from coordinator.ports.commit_stream import CommitStream
from coordinator.ports.consumers import Consumers
from coordinator.ports.journal import Journal, OutcomeUnknownError
from coordinator.ports.liveness import Liveness
from coordinator.ports.projections import Projections, SessionQuery
from coordinator.ports.replies import Replies, Reply
from tests.contracts.making import (
    ANNA,
    NOON,
    OWNER,
    commit,
    consumer,
    new_id,
    new_session_id,
    new_slot_id,
    participant,
    registration,
    series,
    session,
    slot,
)


async def _every_session_id(database: Database) -> list[str]:
    return [found async for found in MongoJournal(database).session_ids()]


async def _every_session_id_of_documents(database: Database) -> list[str]:
    return [found async for found in MongoProjections(database).session_ids()]


CALLS: dict[str, Callable[[Database], Awaitable[Any]]] = {
    "append": lambda database: MongoJournal(database).append([commit(new_session_id())]),
    "replace": lambda database: MongoJournal(database).replace(commit(new_session_id())),
    "written": lambda database: MongoJournal(database).written([CommitId(new_id())]),
    "read": lambda database: MongoJournal(database).read(new_session_id()),
    "events_after": lambda database: MongoJournal(database).events_after(new_session_id(), 3),
    "session_ids": _every_session_id,
    "stored": lambda database: MongoJournal(database).stored(new_session_id()),
    "head": lambda database: MongoJournal(database).head(new_session_id()),
    "mentions": lambda database: MongoJournal(database).mentions(new_session_id(), ANNA, {"session_opened"}),
    "expired": lambda database: MongoJournal(database).expired(NOON, 10),
    "discard": lambda database: MongoJournal(database).discard(new_session_id()),
    "write": lambda database: MongoProjections(database).write([session()], [participant(new_session_id())]),
    "write sessions": lambda database: MongoProjections(database).write([session()], []),
    "rebuild": lambda database: MongoProjections(database).rebuild(session(), []),
    "rebuild_participants": lambda database: MongoProjections(database).rebuild_participants(new_session_id(), []),
    "discard documents": lambda database: MongoProjections(database).discard(new_session_id()),
    "session_ids of documents": _every_session_id_of_documents,
    "sessions_of": lambda database: MongoProjections(database).sessions_of(ANNA, None, 10),
    "session": lambda database: MongoProjections(database).session(new_session_id()),
    "participants": lambda database: MongoProjections(database).participants(new_session_id()),
    "seqs": lambda database: MongoProjections(database).seqs([new_session_id()]),
    "live": lambda database: MongoProjections(database).live(),
    "due": lambda database: MongoProjections(database).due(NOON, 10),
    "sessions": lambda database: MongoProjections(database).page(SessionQuery()),
    "sessions of a slot": lambda database: MongoProjections(database).page(SessionQuery(slot_id=new_slot_id())),
    "add_slot": lambda database: MongoCatalog(database).add_slot(slot()),
    "slot": lambda database: MongoCatalog(database).slot(new_slot_id()),
    "slots": lambda database: MongoCatalog(database).slots({new_slot_id()}),
    "page of slots": lambda database: MongoCatalog(database).page(SlotQuery(start_from=NOON)),
    "active_slots": lambda database: MongoCatalog(database).active_slots(NOON, NOON),
    "change_slot": lambda database: MongoCatalog(database).change_slot(slot(), NOON, unopened=True),
    "set_registered_count": lambda database: MongoCatalog(database).set_registered_count(new_slot_id(), 0, 1),
    "claim_sessions": lambda database: MongoCatalog(database).claim_sessions([Claim(slot(), new_session_id())]),
    "unsettled": lambda database: MongoCatalog(database).unsettled(NOON, 10),
    "settle": lambda database: MongoCatalog(database).settle(new_slot_id(), NOON),
    "add_series": lambda database: MongoCatalog(database).add_series(series()),
    "series": lambda database: MongoCatalog(database).series(new_slot_id()),
    "change_series": lambda database: MongoCatalog(database).change_series(series(), NOON),
    "due_series": lambda database: MongoCatalog(database).due_series(NOON, 10),
    "slots_to_adopt": lambda database: MongoCatalog(database).slots_to_adopt(10),
    "adopt_slot": lambda database: MongoCatalog(database).adopt_slot(new_slot_id(), new_slot_id(), 0),
    "add": lambda database: MongoBookings(database).add(registration(new_slot_id())),
    "revive": lambda database: MongoBookings(database).revive(registration(new_slot_id())),
    "take_back": lambda database: MongoBookings(database).take_back(registration(new_slot_id()), None),
    "take_back what was revived": lambda database: MongoBookings(database).take_back(
        *[registration(new_slot_id())] * 2
    ),
    "find": lambda database: MongoBookings(database).find(new_slot_id(), ANNA),
    "is_registered": lambda database: MongoBookings(database).is_registered(new_slot_id(), ANNA),
    "holders": lambda database: MongoBookings(database).holders(new_slot_id()),
    "slots_of": lambda database: MongoBookings(database).slots_of(ANNA),
    "booked": lambda database: MongoBookings(database).booked({new_slot_id()}),
    "page of registrations": lambda database: MongoBookings(database).page(RegistrationQuery(user_id=ANNA)),
    "cancel": lambda database: MongoBookings(database).cancel(new_slot_id(), ANNA, NOON),
    "cancel_all": lambda database: MongoBookings(database).cancel_all(new_slot_id(), NOON),
    "rename": lambda database: MongoBookings(database).rename(ANNA, UserId("erased-" + "0" * 32)),
    "record_attendance": lambda database: MongoBookings(database).record_attendance(new_slot_id(), {ANNA}),
    "remember": lambda database: MongoReplies(database).remember("key", "fingerprint", NOON),
    "keep": lambda database: MongoReplies(database).keep("key", Reply(status=204, headers={}, body=b"")),
    "release": lambda database: MongoReplies(database).release("key"),
    "open": lambda database: MongoCommitStream(database).open(),
    "claim": lambda database: MongoConsumers(database).claim("recorder", OWNER),
    "begin": lambda database: MongoConsumers(database).begin(consumer()),
    "advance": lambda database: MongoConsumers(database).advance(
        "recorder", OWNER, cursor="s.p", marks={new_session_id(): 1}, up_to=NOON, is_caught_up=True
    ),
    "marks": lambda database: MongoConsumers(database).marks("recorder"),
    "owners": lambda database: MongoConsumers(database).owners(["recorder"]),
    "all": lambda database: MongoConsumers(database).all(),
    "forget a consumer": lambda database: MongoConsumers(database).forget("recorder"),
    "forget_sessions": lambda database: MongoConsumers(database).forget_sessions({new_session_id()}),
    "beat": lambda database: MongoLiveness(database).beat(NodeId("a"), NOON),
    "heartbeats": lambda database: MongoLiveness(database).heartbeats(),
    "forget": lambda database: MongoLiveness(database).forget(NodeId("a")),
    "ping": lambda database: database.ping(),
    "inspect": inspect,
    "prepare": prepare,
}


PAGES = {"page of slots", "page of registrations", "sessions"}


def test_every_method_of_every_port_is_called_here() -> None:
    methods = {
        name
        for port in (Bookings, Catalog, CommitStream, Consumers, Journal, Liveness, Projections, Replies)
        for name in vars(port)
        if not name.startswith("_")
    }
    assert methods - {"page"} <= set(CALLS)
    assert set(CALLS) >= PAGES


async def test_a_dead_server_leaves_the_outcome_of_everything_unknown(dead_database: Database) -> None:
    outcomes = await asyncio.gather(*(call(dead_database) for call in CALLS.values()), return_exceptions=True)
    answered = {
        name: outcome
        for name, outcome in zip(CALLS, outcomes, strict=True)
        if not isinstance(outcome, OutcomeUnknownError) or "did not answer" not in str(outcome)
    }
    assert answered == {}


async def test_a_live_server_answers(bare: Database) -> None:
    await bare.ping()


def bulk(*codes: int, concern: bool = False) -> driver.BulkWriteError:
    refusals = [{"index": index, "code": code, "errmsg": ""} for index, code in enumerate(codes)]
    concerns = [{"code": 64, "errmsg": "waiting for replication timed out"}] if concern else []
    return driver.BulkWriteError({"writeErrors": refusals, "writeConcernErrors": concerns})


@pytest.mark.parametrize(
    "error",
    [
        driver.AutoReconnect("connection closed"),
        driver.NetworkTimeout("timed out"),
        driver.NotPrimaryError("not primary"),
        driver.ServerSelectionTimeoutError("no servers"),
        driver.WaitQueueTimeoutError("no connection free"),
        driver.ProtocolError("nonsense"),
        driver.ExecutionTimeout("operation exceeded time limit", 50),
        driver.WriteConcernError("not enough data-bearing nodes", 100),
        driver.WTimeoutError("waiting for replication timed out", 64),
        driver.OperationFailure("interrupted at shutdown", 11600),
        driver.OperationFailure("primary stepped down", 189),
        driver.OperationFailure("try again", 1, {"errorLabels": ["RetryableWriteError"]}),
        bulk(11000, 11600),
        bulk(11000, concern=True),
        bulk(concern=True),
    ],
)
async def test_errors_of_a_server_in_trouble_leave_the_outcome_unknown(error: driver.PyMongoError) -> None:
    assert leaves_outcome_unknown(error)
    with pytest.raises(OutcomeUnknownError) as raised, unanswered_is_unknown():
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        driver.ConfigurationError("no such option"),
        driver.InvalidOperation("closed"),
        driver.DuplicateKeyError("E11000", 11000),
        driver.WriteError("failed validation", 121),
        driver.OperationFailure("not authorized", 13),
        driver.OperationFailure("authentication failed", 18),
        bulk(121),
        bulk(11000),
    ],
)
async def test_mistakes_pass_through(error: driver.PyMongoError) -> None:
    assert not leaves_outcome_unknown(error)
    with pytest.raises(type(error)) as raised, unanswered_is_unknown():
        raise error
    assert raised.value is error


async def test_other_exceptions_pass_through() -> None:
    with pytest.raises(KeyError), unanswered_is_unknown():
        raise KeyError


def test_only_a_bulk_of_duplicates_has_refused_ones() -> None:
    assert refused_duplicates(bulk(11000, 11000)) == [0, 1]
    for error in (bulk(11000, 121), bulk(11000, concern=True)):
        with pytest.raises(driver.BulkWriteError):
            refused_duplicates(error)
