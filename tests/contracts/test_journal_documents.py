"""The journal's documents as a foreign tool sees them, and what tampering with them brings to light. MongoDB only."""

import hashlib
import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo import WriteConcern
from pymongo.database import Database as SyncDatabase

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.commit_documents import raw_commit
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.domain.events import MicChanged, RecordingAttached
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import GENESIS, Commit, Flaw, canonical_event, canonical_stored_event, find_flaws
from tests.contracts.making import ANNA, EVERY_KIND, MOMENT, NOON, OPENED, URL, commit, new_id, new_session_id, toggles

Raw = SyncDatabase[dict[str, Any]]


@pytest.fixture
def journal(database: Database) -> MongoJournal:
    return MongoJournal(database)


@pytest.fixture
async def story(journal: MongoJournal) -> list[Commit]:
    """Three commits, of 2, 3 and 1 events; the tests meddle with the second, which begins at 3."""
    session_id = new_session_id()
    attached = RecordingAttached(user_id=ANNA, url=URL, start_time=NOON)
    first = commit(session_id, (OPENED, *toggles(1)))
    second = commit(session_id, (*toggles(2), attached), seq=3, prev_hash=first.hash)
    third = commit(session_id, toggles(1), seq=6, prev_hash=second.hash)
    for item in (first, second, third):
        await journal.append([item])
    return [first, second, third]


def meddle(raw: Raw, item: Commit, change: dict[str, Any]) -> None:
    events = raw["events"].with_options(write_concern=WriteConcern("majority"))
    result = events.update_one({"_id": ObjectId(item.id)}, change, bypass_document_validation=True)
    assert result.modified_count == 1


async def flaws_of(journal: MongoJournal, session_id: SessionId) -> list[Flaw]:
    return find_flaws(session_id, await journal.stored(session_id))


async def test_a_commit_is_one_document_in_types_of_mongodb(journal: MongoJournal, raw: Raw) -> None:
    written = commit(new_session_id(), (OPENED, MicChanged(user_id=ANNA, mic_enabled=True)))
    await journal.append([written])
    (document,) = raw["events"].find()
    actor = {"userId": "anna", "role": "participant"}
    assert document == {
        "_id": ObjectId(written.id),
        "sessionId": ObjectId(written.session_id),
        "seq": 1,
        "at": NOON + 2 * MOMENT,
        "events": [
            {
                "seq": 1,
                "type": "session_opened",
                "at": NOON + MOMENT,
                "actor": actor,
                "data": {
                    "timeSlotId": OPENED.time_slot_id,  # inside the data, ids stay text
                    "targetLanguageCode": "fr",
                    "level": "B1",
                    "scheduledStart": NOON + timedelta(minutes=10),
                    "scheduledEnd": NOON + timedelta(minutes=40),
                    "noShowAt": NOON + timedelta(minutes=20),
                    "minParticipants": 2,
                    "maxParticipants": 8,
                    "emptyTimeoutSeconds": 60.0,
                    "reconnectGraceSeconds": 0.25,
                },
            },
            {
                "seq": 2,
                "type": "mic_changed",
                "at": NOON + 2 * MOMENT,
                "actor": actor,
                "data": {"userId": "anna", "micEnabled": True},
            },
        ],
        "prevHash": GENESIS,
        "hash": written.hash,
    }
    assert isinstance(document["events"][0]["data"]["emptyTimeoutSeconds"], float)


async def test_every_kind_of_event_has_the_same_canonical_form_before_and_after(
    journal: MongoJournal, raw: Raw
) -> None:
    written = commit(new_session_id(), EVERY_KIND)
    await journal.append([written])
    (document,) = raw["events"].find()
    for sealed, stored in zip(written.events, document["events"], strict=True):
        assert canonical_stored_event(written.session_id, stored) == sealed.json == canonical_event(sealed.event)


async def test_fields_of_a_newer_version_are_kept_in_what_subscribers_get(journal: MongoJournal, raw: Raw) -> None:
    session_id, commit_id = new_session_id(), ObjectId()
    data = {"userId": "anna", "micEnabled": True, "since": NOON, "gain": {"zeta": 0.5, "alpha": [1, None, NOON]}}
    actor = {"userId": "anna", "role": "participant"}
    event = {"seq": 1, "type": "mic_changed", "at": NOON, "actor": actor, "data": data}
    at = "2030-03-04T12:00:00.123Z"
    plain = {**event, "at": at, "data": {**data, "since": at, "gain": {"zeta": 0.5, "alpha": [1, None, at]}}}
    line = json.dumps({**plain, "sessionId": session_id}, sort_keys=True, separators=(",", ":")).encode()
    head = {"at": at, "id": str(commit_id), "prevHash": GENESIS, "seq": 1, "sessionId": session_id}
    head_line = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    raw["events"].insert_one(
        {
            "_id": commit_id,
            "sessionId": ObjectId(session_id),
            "seq": 1,
            "at": NOON,
            "events": [event],
            "prevHash": GENESIS,
            "hash": hashlib.sha256(head_line + b"\n" + line).hexdigest(),
        }
    )
    (found,) = await journal.read(session_id)
    assert found.events[0].event.body == MicChanged(user_id=ANNA, mic_enabled=True)
    assert found.events[0].json == line
    assert await flaws_of(journal, session_id) == []


def other(value: Any) -> Any:
    """A value of the same type that differs as little as possible."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value[:-1] + ("x" if value[-1] != "x" else "y")
        case datetime():
            return value + MOMENT
        case ObjectId():
            return ObjectId(value.binary[:-1] + bytes([value.binary[-1] ^ 1]))
    raise AssertionError(f"no other {value!r}")


def paths(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every scalar inside a document with its path in dots."""
    items: list[tuple[str, Any]]
    if isinstance(value, dict):
        items = [(str(name), item) for name, item in value.items()]
    elif isinstance(value, list):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return [(path, value)]
    return [found for name, item in items for found in paths(item, f"{path}.{name}" if path else name)]


async def test_the_smallest_change_of_any_field_is_found(journal: MongoJournal, raw: Raw, story: list[Commit]) -> None:
    tampered = story[1]
    document = raw["events"].find_one({"_id": ObjectId(tampered.id)})
    assert document is not None
    changed = {path for path, _ in paths(document)} - {"_id", "sessionId"}  # those two have tests of their own
    assert len(changed) == 4 + 3 * 5 + 2 + 2 + 3
    for path, value in paths(document):
        if path in changed:
            meddle(raw, tampered, {"$set": {path: other(value)}})
            flaws = await flaws_of(journal, tampered.session_id)
            assert flaws, path
            assert flaws[0].seq == (4 if path == "seq" else 3), path
            meddle(raw, tampered, {"$set": {path: value}})
    assert await flaws_of(journal, tampered.session_id) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seq", Int64(3)),
        ("seq", 3.0),
        ("at", "{same characters}"),
        ("at", 1),
        ("at", None),
        ("at", ObjectId()),
        ("at", datetime(1, 1, 1, tzinfo=UTC)),
        ("prevHash", Binary(b"0")),
        ("hash", 5),
        ("events", []),
        ("events", {}),
        ("events", "none"),
        ("events.1", "an event"),
        ("events.1.seq", Int64(4)),
        ("events.1.seq", 4.0),
        ("events.1.seq", Decimal128("4")),
        ("events.1.at", "{same characters}"),
        ("events.1.at", None),
        ("events.1.actor", None),
        ("events.1.data", {}),
        ("events.1.data.micEnabled", 1),
        ("events.1.data.userId", ObjectId()),
        ("events.1.data.userId", Binary(b64decode("anna"))),  # which JSON would spell "anna"
        ("events.2.data.startTime", ObjectId()),
        ("extra", 1),
        ("id", "another"),
        ("events.1.extra", None),
        ("events.1.sessionId", "another"),
        ("events.1.actor.extra", 1),
        ("events.1.data.extra", 1),
    ],
)
async def test_a_foreign_value_or_field_is_found(
    journal: MongoJournal, raw: Raw, story: list[Commit], path: str, value: Any
) -> None:
    tampered = story[1]
    if value == "{same characters}":
        (_, stored, _) = await journal.stored(tampered.session_id)
        value = stored["at"] if path == "at" else stored["events"][1]["at"]
    meddle(raw, tampered, {"$set": {path: value}})
    flaws = await flaws_of(journal, tampered.session_id)
    assert flaws[0].seq == 3


def test_a_date_beyond_all_calendars_is_found() -> None:
    # MongoDB stores such a date; the embedded server does not, so what the driver makes of it is put in by hand.
    document = {"_id": ObjectId(), "sessionId": ObjectId(), "seq": 1, "at": DatetimeMS(2**60)}
    actor = {"userId": "anna", "role": "participant"}
    event = {
        "seq": 1,
        "type": "recording_attached",
        "at": NOON,
        "actor": actor,
        "data": {"startTime": DatetimeMS(2**60)},
    }
    rest = {"prevHash": GENESIS, "hash": "0" * 64}
    session_id = str(document["sessionId"])
    for foreign in ({**document, "events": [event], **rest}, {**document, "at": NOON, "events": [event], **rest}):
        assert [flaw.seq for flaw in find_flaws(session_id, [raw_commit(foreign)])] == [1]


@pytest.mark.parametrize("field", ["at", "seq", "prevHash", "hash", "events"])
async def test_a_missing_field_is_found(journal: MongoJournal, raw: Raw, story: list[Commit], field: str) -> None:
    meddle(raw, story[1], {"$unset": {field: ""}})
    flaws = await flaws_of(journal, story[1].session_id)
    # A commit without a seq sorts before all others.
    assert flaws[0].seq == (1 if field == "seq" else 3)


async def test_a_commit_given_away_to_another_session_is_found_in_both(
    journal: MongoJournal, raw: Raw, story: list[Commit]
) -> None:
    thief = new_id()
    meddle(raw, story[1], {"$set": {"sessionId": ObjectId(thief)}})
    assert (await flaws_of(journal, story[1].session_id))[0].seq == 6
    assert (await flaws_of(journal, SessionId(thief)))[0].seq == 3


async def test_a_commit_under_another_id_is_found(journal: MongoJournal, raw: Raw, story: list[Commit]) -> None:
    document = raw["events"].find_one({"_id": ObjectId(story[1].id)})
    assert document is not None
    raw["events"].delete_one({"_id": document["_id"]})
    raw["events"].insert_one({**document, "_id": ObjectId()})
    assert (await flaws_of(journal, story[1].session_id))[0].seq == 3


@pytest.mark.parametrize(("removed", "seq"), [(0, 3), (1, 6)])
async def test_a_removed_commit_is_found(
    journal: MongoJournal, raw: Raw, story: list[Commit], removed: int, seq: int
) -> None:
    raw["events"].delete_one({"_id": ObjectId(story[removed].id)})
    assert (await flaws_of(journal, story[0].session_id))[0].seq == seq


async def test_an_untouched_journal_has_no_flaw(journal: MongoJournal, story: list[Commit]) -> None:
    assert await flaws_of(journal, story[0].session_id) == []
