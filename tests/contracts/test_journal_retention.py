"""The port `Journal`, over every backend: where logs end, what they say of a user, and how they are taken away."""

import asyncio
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from bson import ObjectId
from msgspec.structs import replace
from pymongo.database import Database as SyncDatabase

from coordinator.adapters.memory.clock import ManualClock
from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.consumers import MongoConsumers
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.domain.events import RecordingConsentGranted, RecordingConsentRevoked
from coordinator.domain.ids import SessionId
from coordinator.ports.journal import Head, Journal, Mention
from coordinator.services.retention import Retention
from tests.contracts.making import (
    ANNA,
    BEN,
    CLEO,
    EVERY_KIND,
    MOMENT,
    NOON,
    OWNER,
    chain,
    commit,
    consumer,
    new_session_id,
    participant,
    toggles,
)

Raw = SyncDatabase[dict[str, Any]]
DAY = timedelta(days=1)
CONSENTS = {RecordingConsentGranted.kind, RecordingConsentRevoked.kind}

_numbers = count(1)


def session_of(moment: datetime) -> SessionId:
    """A session's id as it was made at that time."""
    return SessionId(f"{int(moment.timestamp()):08x}{next(_numbers):016x}")


async def write(journal: Journal, moment: datetime, sizes: tuple[int, ...] = (2, 1, 3)) -> SessionId:
    """Write the log of a session that was opened then."""
    session_id = session_of(moment)
    for item in chain(session_id, sizes):
        assert await journal.append([replace(item, at=moment + item.seq * MOMENT - MOMENT)])
    return session_id


async def test_the_head_is_the_last_commit(journal: Journal) -> None:
    session_id = new_session_id()
    assert await journal.head(session_id) is None
    for number, item in enumerate(chain(session_id, (2, 1, 3)), start=1):
        await journal.append([item])
        await journal.append([commit(new_session_id())])
        assert await journal.head(session_id) == Head(item.last_seq, item.hash, number)


async def test_mentions_are_the_events_about_a_user_in_order_with_their_commits(journal: Journal) -> None:
    session_id = new_session_id()
    first = commit(session_id, EVERY_KIND)
    about = (
        RecordingConsentGranted(user_id=ANNA, policy_version="2"),
        RecordingConsentGranted(user_id=CLEO),
        *toggles(1),
        RecordingConsentRevoked(user_id=ANNA),
    )
    second = commit(session_id, about, seq=first.last_seq + 1, prev_hash=first.hash)
    elsewhere = commit(new_session_id(), EVERY_KIND)
    for item in (first, second, elsewhere):
        await journal.append([item])

    def of(item: Any, *bodies: Any) -> list[Mention]:
        return [Mention(sealed.event, item.hash) for sealed in item.events if sealed.event.body in bodies]

    mine = of(second, about[0], about[3])
    assert list(await journal.mentions(session_id, ANNA, CONSENTS)) == mine
    found = await journal.mentions(session_id, CLEO, CONSENTS)
    assert [(item.event.seq, item.commit_hash) for item in found] == [
        (6, first.hash),
        (7, first.hash),
        (first.last_seq + 2, second.hash),
    ]
    assert list(await journal.mentions(session_id, BEN, CONSENTS)) == []
    assert list(await journal.mentions(new_session_id(), ANNA, CONSENTS)) == []
    assert list(await journal.mentions(session_id, ANNA, {RecordingConsentRevoked.kind})) == mine[1:]


async def test_expired_are_the_sessions_that_were_opened_before(journal: Journal) -> None:
    ages = [0.0, 1.0, 29.99, 30.0, 30.01, 31.0, 400.0, 4000.0]
    sessions = [await write(journal, NOON - age * DAY) for age in ages]
    assert set(await journal.expired(NOON - 30 * DAY, 100)) == set(sessions[4:])
    assert set(await journal.expired(NOON - 30 * DAY + MOMENT, 100)) == set(sessions[3:])
    assert set(await journal.expired(NOON - 5000 * DAY, 100)) == set()
    assert set(await journal.expired(NOON - 36_500 * DAY, 100)) == set()
    assert set(await journal.expired(NOON + DAY, 100)) == set(sessions)


async def test_a_session_is_as_old_as_its_first_commit_not_as_its_id(journal: Journal) -> None:
    session_id = session_of(NOON - 31 * DAY)
    first = replace(commit(session_id), at=NOON - 30 * DAY)
    await journal.append([first])
    assert list(await journal.expired(NOON - 30 * DAY, 10)) == []
    assert list(await journal.expired(NOON - 30 * DAY + MOMENT, 10)) == [session_id]


async def test_so_many_expired_sessions_are_named_as_are_asked_for(journal: Journal) -> None:
    sessions = {await write(journal, NOON - age * DAY) for age in (31, 31.01, 35, 50, 50.1, 300)}
    for limit in (1, 2, 5, 6, 7):
        found = await journal.expired(NOON - 30 * DAY, limit)
        assert len(set(found)) == len(found) == min(limit, 6)
        assert set(found) <= sessions


async def test_what_is_discarded_is_gone_and_nothing_else(journal: Journal) -> None:
    gone, kept = await write(journal, NOON - 31 * DAY), await write(journal, NOON - 31 * DAY)
    before = await journal.read(kept)
    written = [item.id for item in await journal.read(gone)]
    for _ in range(2):
        await journal.discard(gone)
        assert list(await journal.read(gone)) == []
        assert await journal.head(gone) is None
        assert await journal.written(written) == set()
        assert list(await journal.expired(NOON, 10)) == [kept]
        assert [found async for found in journal.session_ids()] == [kept]
    assert await journal.read(kept) == before


async def test_a_long_log_is_discarded_whole(journal: Journal) -> None:
    session_id = await write(journal, NOON, (1,) * 450)
    await journal.discard(session_id)
    assert list(await journal.stored(session_id)) == []


async def test_several_may_discard_the_same_at_once(journal: Journal) -> None:
    session_id = await write(journal, NOON, (1,) * 30)
    await asyncio.gather(*(journal.discard(session_id) for _ in range(4)))
    assert list(await journal.stored(session_id)) == []


@pytest.fixture
def mongo_journal(database: Database) -> MongoJournal:
    return MongoJournal(database)


async def test_a_log_is_taken_away_from_its_end(
    mongo_journal: MongoJournal, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await write(mongo_journal, NOON, (1, 2, 1, 3, 1))
    deleted: list[int] = []
    seqs = {document["_id"]: document["seq"] for document in raw["events"].find()}
    genuine = mongo_journal._events.bulk_write

    async def bulk_write(operations: Any, *, ordered: bool) -> Any:
        assert ordered
        deleted.extend(seqs[operation._filter["_id"]] for operation in operations)
        return await genuine(operations, ordered=ordered)

    monkeypatch.setattr(mongo_journal, "_events", Proxy(mongo_journal._events, bulk_write=bulk_write))
    await mongo_journal.discard(session_id)
    assert deleted == [8, 5, 4, 2, 1]


class Proxy:
    """Something with one method replaced."""

    def __init__(self, genuine: Any, **replaced: Any) -> None:
        self._genuine = genuine
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._genuine, name)


async def test_what_belongs_to_no_session_is_named_as_such(mongo_journal: MongoJournal, raw: Raw) -> None:
    sessions = [await write(mongo_journal, NOON) for _ in range(2)]
    for key in ("f" * 24, 5, None, "", ObjectId(sessions[0]).binary):
        document = raw["events"].find_one({"sessionId": ObjectId(sessions[0])})
        assert document is not None
        raw["events"].insert_one({**document, "_id": ObjectId(), "sessionId": key}, bypass_document_validation=True)
    found = [session_id async for session_id in mongo_journal.session_ids()]
    assert sorted(item for item in found if len(item) == 24) == sorted(sessions)
    assert len(found) == 7


async def test_an_event_that_cannot_be_read_hides_no_consent(mongo_journal: MongoJournal, raw: Raw) -> None:
    session_id = new_session_id()
    written = commit(session_id, (RecordingConsentGranted(user_id=ANNA), *toggles(1)))
    await mongo_journal.append([written])
    raw["events"].update_one({}, {"$set": {"events.1.type": "of_a_newer_version"}})
    (found,) = await mongo_journal.mentions(session_id, ANNA, CONSENTS)
    assert found == Mention(written.events[0].event, written.hash)


async def test_retention_takes_away_what_is_too_old_and_nothing_else(database: Database, raw: Raw) -> None:
    journal, projections, consumers = MongoJournal(database), MongoProjections(database), MongoConsumers(database)
    clock = ManualClock(NOON)
    sweeper = Retention(journal, projections, consumers, clock, retention_days=60)
    old, young = await write(journal, NOON - 60 * DAY - MOMENT), await write(journal, NOON - 60 * DAY)
    for session_id in (old, young):
        await projections.write([], [participant(session_id, ANNA)])
    await consumers.begin(consumer())
    marks = {old: 6, young: 6}
    assert await consumers.advance(consumer().name, OWNER, cursor="s.p", marks=marks, up_to=NOON, is_caught_up=True)
    await sweeper.sweep()
    assert [found async for found in journal.session_ids()] == [young]
    assert list(await projections.sessions_of(ANNA, None, 10)) == [young]
    assert await consumers.marks(consumer().name) == {young: 6}
    await clock.advance(0.001)
    await sweeper.sweep()
    assert [raw[name].count_documents({}) for name in ("events", "sessions", "participants", "marks")] == [0] * 4
