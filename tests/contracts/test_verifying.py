"""Verification over the documents of a real session: nothing can be altered without being named. MongoDB only.

Every test leaves the journal as it found it, or works on one of its own.
"""

import copy
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from bson import Code, Int64, ObjectId
from msgspec.structs import replace
from pymongo import WriteConcern
from pymongo.database import Database as SyncDatabase

from coordinator.adapters.memory.clock import ManualClock
from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.domain.ids import CommitId, SessionId
from coordinator.domain.ledger import GENESIS, Commit, seal, wire_time
from coordinator.domain.model import SESSION_KEPT
from coordinator.services.catching_up import snapshot_of
from coordinator.services.verifier import Verdict, Verifier
from tests.contracts.making import commit, new_session_id
from tests.domain.stored import chain_hash
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    END,
    PASS,
    SESSION,
    START,
    Story,
    attach,
    consent,
    join,
    leave,
    lose,
    media,
    minutes,
    mute,
    phone,
    record,
    remove,
    revoke,
)

Raw = SyncDatabase[dict[str, Any]]
Document = dict[str, Any]
MOMENT = timedelta(milliseconds=1)


class HurriedClock(ManualClock):
    """Nobody writes here meanwhile, so there is nothing to wait for."""

    async def sleep(self, seconds: float) -> None:
        del seconds


class Case:
    """A session in a database, and whoever verifies it."""

    def __init__(self, database: Database, raw: Raw, story: Story) -> None:
        self.journal = MongoJournal(database)
        self.projections = MongoProjections(database)
        self.clock = HurriedClock(START + END)
        self.verifier = Verifier(self.journal, self.projections, self.clock)
        self.events = raw["events"].with_options(write_concern=WriteConcern("majority"))
        self.raw = raw
        self.story = story
        self.log: list[Commit] = story.sealed()
        self.expected = snapshot_of(story.session)

    async def write(self) -> None:
        for item in self.log:
            assert await self.journal.append([item])
        await self.projections.rebuild(self.expected.session, self.expected.participants)

    def documents(self) -> list[Document]:
        """The log as it is stored."""
        return [self.events.find_one({"_id": ObjectId(item.id)}) or {} for item in self.log]

    def put(self, *documents: Document) -> None:
        """Put documents in the place of those with the same `_id`."""
        self.events.delete_many({"_id": {"$in": [document["_id"] for document in documents]}})
        self.events.insert_many(documents, bypass_document_validation=True)

    async def verdict(self, *, repair: bool = False) -> Verdict:
        return await self.verifier.verify(SESSION, repair=repair)

    async def everything(self, *, repair: bool = False) -> list[Verdict]:
        return [verdict async for verdict in self.verifier.verify_all(repair=repair)]

    async def named(self, *, alone: bool = False) -> int:
        """Verify everything, or this session alone, and repair what can be; return where the first flaw stands."""
        before = None if alone else self.stored()
        verdicts = [await self.verdict(repair=True)] if alone else await self.everything(repair=True)
        (found,) = (verdict for verdict in verdicts if verdict.session_id == SESSION)
        assert found.flaws, "it went unnoticed"
        assert not found.repaired
        assert all(flaw.session_id == SESSION and flaw.problem for flaw in found.flaws)
        assert alone or self.stored() == before, "what was tampered with is named, not papered over"
        return found.flaws[0].seq

    def stored(self) -> Any:
        return [list(self.raw[name].find().sort("_id", 1)) for name in ("events", "sessions", "participants")]


def told() -> Story:
    """A whole session with events of nearly every kind."""
    story = Story().given(join(ANNA), join(BEN), consent(ANNA, "2030-01"), record(), at=minutes(-5))
    story.given(PASS, at=minutes(0)).given(media(BEN, camera=True, mic=True), mute(BEN), join(CLEO), at=minutes(1))
    story.given(lose(ANNA), at=minutes(2)).given(join(ANNA, phone(ANNA)), consent(CLEO), at=minutes(2.1))
    story.given(attach(ANNA, minutes(1.5)), revoke(ANNA, "2030-01", phone(ANNA)), at=minutes(3))
    story.given(remove(CLEO, "be kind"), record(enabled=False), leave(BEN), at=minutes(4))
    return story.given(PASS, at=END)


@pytest.fixture
async def case(database: Database, raw: Raw) -> Case:
    case = Case(database, raw, told())
    await case.write()
    assert (await case.verdict()).flaws == []
    return case


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every scalar inside a document, and where it stands."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield path, value
        return
    for key, item in inner:
        yield from leaves(item, (*path, key))


def objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every object inside a document stands."""
    if isinstance(value, dict):
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from objects(item, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def altered(document: Document, path: tuple[Any, ...], value: Any) -> Document:
    changed = copy.deepcopy(document)
    at(changed, path[:-1])[path[-1]] = value
    return changed


def other(value: Any) -> Any:
    """A value of the same type that differs as little as possible."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value[:-1] + ("x" if value[-1] != "x" else "y")
        case datetime():
            return value + MOMENT
        case ObjectId():
            return ObjectId(value.binary[:-1] + bytes([value.binary[-1] ^ 128]))
    raise AssertionError(f"no other {value!r}")


def foreign(value: Any) -> list[Any]:
    """What says the same, or nearly, in other types."""
    match value:
        case bool():
            return [int(value), str(value).lower(), None]
        case int():
            return [Int64(value), float(value), str(value)]
        case float():
            return [int(value), str(value)]
        case str():
            return [Code(value), value.encode(), None]
        case datetime():
            return [wire_time(value), int(value.timestamp() * 1000), None]
        case ObjectId():
            return [str(value), value.binary, None]
    raise AssertionError(f"no foreign {value!r}")


async def check_each(case: Case, change: Callable[[Any, int], Any]) -> None:
    """Alter every field of every commit, one at a time; each is named where it stands, or what follows it."""
    log = case.documents()
    turn = 0
    for number, document in enumerate(log):
        last = case.log[number].last_seq
        for path, value in leaves(document):
            turn += 1
            if path == ("seq",) and type(change(value, turn)) is int:
                continue  # its neighbour's place is taken
            changed = altered(document, path, change(value, turn))
            if path == ("_id",):
                case.events.delete_one({"_id": document["_id"]})
            case.put(changed)
            seq = await case.named(alone=True)
            expected = {document["seq"]}
            if path == ("sessionId",):
                expected = {last + 1} if document is not log[-1] else expected
            elif path == ("seq",):
                expected.add(last + 1)
            assert seq in expected, (path, changed)
            case.events.delete_one({"_id": changed["_id"]})
            case.put(document)
    assert (await case.verdict()).flaws == []


async def test_the_smallest_change_of_any_field_of_any_commit_is_named(case: Case) -> None:
    assert len(case.log) > 15
    await check_each(case, lambda value, _turn: other(value))
    # Most places in the order are taken; this one is behind the end.
    *_, last = case.documents()
    case.put({**last, "seq": last["seq"] + 1})
    assert await case.named() == last["seq"] + 1


async def test_another_type_of_any_field_of_any_commit_is_named(case: Case) -> None:
    await check_each(case, lambda value, turn: foreign(value)[turn % len(foreign(value))])


async def test_a_field_too_many_or_too_few_is_named(case: Case) -> None:
    for document in case.documents()[::3]:
        for path in objects(document):
            changes = [altered(document, (*path, "extra"), None)]
            for name in at(document, path):
                if (*path, name) != ("_id",):
                    changes.append(copy.deepcopy(document))
                    del at(changes[-1], path)[name]
            for change in changes:
                case.put(change)
                gone = {"seq", "sessionId"} - change.keys()
                assert await case.named(alone=True) == document["seq"] or gone
                case.put(document)
    assert (await case.verdict()).flaws == []


async def test_a_commit_taken_out_is_named(case: Case) -> None:
    log = case.documents()
    for number, document in enumerate(log[:-1]):
        case.events.delete_one({"_id": document["_id"]})
        assert await case.named() == log[number + 1]["seq"]
        case.put(document)
    assert (await case.verdict()).flaws == []


async def test_two_commits_that_have_changed_places_are_named(case: Case) -> None:
    log = case.documents()
    for one, two in pairwise(log):
        case.put({**one, "_id": two["_id"]}, {**two, "_id": one["_id"]})
        assert await case.named() == one["seq"]
        case.put(one, two)
        # In the order of their seq, but each with what the other says.
        case.put({**one, "events": two["events"]}, {**two, "events": one["events"]})
        assert await case.named() == one["seq"]
        case.put(one, two)
    assert (await case.verdict()).flaws == []


async def test_a_commit_that_is_there_twice_is_named(case: Case) -> None:
    log = case.documents()
    last = case.log[-1].last_seq
    for document in log:
        double = {**document, "_id": ObjectId(), "seq": last + 1}
        case.put(double)
        assert await case.named() == last + 1
        case.events.delete_one({"_id": double["_id"]})
    assert (await case.verdict()).flaws == []


async def test_newest_commits_that_are_gone_are_betrayed_by_the_documents(case: Case) -> None:
    log, seen = case.documents(), case.expected.session.seq
    for count in range(1, len(log)):
        case.events.delete_many({"_id": {"$in": [document["_id"] for document in log[-count:]]}})
        left = case.log[-count - 1].last_seq
        assert await case.named() == left + 1
        (flaw,) = (await case.verdict()).flaws
        assert flaw.problem == f"the journal ends at seq {left}, but the session document has seen {seen}"
        case.put(*log[-count:])
    assert (await case.verdict()).flaws == []


async def test_also_by_the_document_of_a_participant_alone(case: Case) -> None:
    case.raw["sessions"].delete_many({})
    case.events.delete_one({"_id": ObjectId(case.log[-1].id)})
    left = case.log[-2].last_seq
    assert await case.named() == left + 1
    (flaw,) = (await case.verdict()).flaws
    assert flaw.problem.startswith(f"the journal ends at seq {left}, but the participant document of ")


@pytest.mark.parametrize("forgotten", ["sessions", "participants", "replies"])
async def test_a_log_that_is_gone_as_a_whole_is_named(case: Case, forgotten: str) -> None:
    case.events.delete_many({})
    case.raw[forgotten].delete_many({})
    assert await case.named() == 1
    (flaw,) = (await case.verdict()).flaws
    assert flaw.problem.startswith("the journal ends at seq 0, but the ")


async def test_commits_given_to_nobody_are_named(case: Case) -> None:
    document = case.documents()[-1]
    for key in (str(document["sessionId"]), "", 5, None):
        case.put({**document, "sessionId": key})
        verdicts = await case.everything()
        assert [verdict.session_id for verdict in verdicts if not verdict.flaws] == []
        assert sorted(len(verdict.session_id) == 24 for verdict in verdicts) == [False, True]
        assert (await case.verdict()).flaws[0].seq == document["seq"]
        case.put(document)
    assert [verdict.flaws for verdict in await case.everything()] == [[]]


async def test_an_event_that_this_version_cannot_read_is_named(case: Case) -> None:
    session_id = new_session_id()
    (document, *_) = case.documents()
    sealed = commit(session_id)
    event = {
        "seq": 1,
        "type": "session_planned",
        "at": sealed.at,
        "actor": {"userId": "system", "role": "system"},
        "data": {"idea": "of a newer version"},
    }
    key = ObjectId()
    plain = {
        "id": str(key),
        "sessionId": session_id,
        "seq": 1,
        "at": wire_time(sealed.at),
        "events": [{**event, "at": wire_time(sealed.at)}],
        "prevHash": "0" * 64,
    }
    case.put(
        {
            **document,
            "_id": key,
            "sessionId": ObjectId(session_id),
            "at": sealed.at,
            "events": [event],
            "hash": chain_hash(plain),
        }
    )
    (found,) = [verdict for verdict in await case.everything(repair=True) if verdict.flaws]
    (flaw,) = found.flaws
    assert (flaw.session_id, flaw.seq, found.repaired) == (session_id, 1, False)
    assert "session_planned" in flaw.problem


async def test_a_sound_chain_that_no_coordinator_would_write_is_named(case: Case) -> None:
    session_id = new_session_id()
    joins = replace(case.log[1].events[0].event, session_id=session_id, seq=1)  # what was never opened
    assert await case.journal.append([seal(CommitId("c" * 24), [joins], GENESIS)])
    found = await case.verifier.verify(session_id, repair=True)
    assert [flaw.seq for flaw in found.flaws] == [1]
    assert not found.repaired


async def drop(case: Case) -> None:
    case.raw["sessions"].delete_many({})
    case.raw["participants"].delete_many({})


async def alter(case: Case) -> None:
    case.raw["sessions"].update_many({}, {"$set": {"level": "C2", "status": "waiting"}, "$unset": {"endedAt": ""}})
    case.raw["participants"].update_many({}, {"$set": {"recordingConsent": True, "micEnabled": True}})


async def put_back(case: Case) -> None:
    case.raw["sessions"].update_many({}, {"$set": {"seq": 1}})
    case.raw["participants"].update_many({}, {"$set": {"seq": 2}})


async def spoil(case: Case) -> None:
    unreadable: list[tuple[str, Document]] = [
        ("sessions", {"$set": {"level": "D1"}}),
        ("participants", {"$unset": {"joinedAt": ""}}),
    ]
    for collection, change in unreadable:
        case.raw[collection].update_many({}, change, bypass_document_validation=True)


async def invent(case: Case) -> None:
    (document, *_) = case.raw["participants"].find()
    case.raw["participants"].insert_one({**document, "_id": ObjectId(), "userId": "nobody"})


@pytest.mark.parametrize("damage", [drop, alter, put_back, spoil, invent], ids=lambda damage: damage.__name__)
async def test_documents_are_rebuilt_to_equality(case: Case, damage: Callable[[Case], Awaitable[None]]) -> None:
    before = case.stored()
    await damage(case)
    (found,) = await case.everything()
    assert found.flaws
    assert not found.repaired
    assert case.stored() != before
    (repaired,) = await case.everything(repair=True)
    assert repaired.repaired
    assert repaired.flaws == found.flaws
    assert case.stored() == before
    assert [verdict.flaws for verdict in await case.everything()] == [[]]


async def test_a_session_that_has_vanished_is_not_reproached_and_does_not_come_back(case: Case) -> None:
    case.raw["sessions"].delete_many({})
    assert (await case.verdict()).flaws
    await case.clock.advance_to(case.expected.session.created_at + SESSION_KEPT)
    assert (await case.verdict()).flaws == []
    await alter(case)
    assert {flaw.problem.partition(" of ")[0] for flaw in (await case.verdict()).flaws} == {"the participant document"}
    assert (await case.verdict(repair=True)).repaired
    assert await case.projections.session(SESSION) is None
    assert list(await case.projections.participants(SESSION)) == case.expected.participants
    # While the database has not forgotten it yet, its document still has to be right.
    await case.projections.rebuild(case.expected.session, case.expected.participants)
    await alter(case)
    assert (await case.verdict(repair=True)).repaired
    assert await case.projections.session(SESSION) == case.expected.session


async def test_nothing_is_said_of_a_session_of_which_nothing_is_left(case: Case) -> None:
    other_id = SessionId("d" * 24)
    assert [verdict.session_id for verdict in await case.everything()] == [SESSION]
    (flaw,) = (await case.verifier.verify(other_id, repair=True)).flaws
    assert flaw.problem == "the journal holds no event of this session"
    assert len(case.stored()[0]) == len(case.log)
