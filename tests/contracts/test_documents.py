"""How the data model stands in MongoDB, field by field and type by type, and what is tolerated when reading it."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from bson import Int64, ObjectId
from pymongo.database import Database as SyncDatabase
from pymongo.errors import BulkWriteError

from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.documents import participant_key, read_registration, registration_document
from coordinator.adapters.mongo.liveness import MongoLiveness
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.domain.ids import NodeId, SessionId, SlotId, UserId
from coordinator.domain.model import ParticipantStatus, RegistrationStatus
from tests.contracts.making import (
    ANNA,
    BEN,
    CLEO,
    MOMENT,
    NOON,
    URL,
    full_session,
    full_slot,
    new_session_id,
    new_slot_id,
    participant,
    registration,
    session,
    slot,
)

Raw = SyncDatabase[dict[str, Any]]


@pytest.fixture
def projections(database: Database) -> MongoProjections:
    return MongoProjections(database)


@pytest.fixture
def catalog(database: Database) -> MongoCatalog:
    return MongoCatalog(database)


def only(raw: Raw, collection: str) -> dict[str, Any]:
    (document,) = raw[collection].find()
    return document


async def test_a_session_with_everything(projections: MongoProjections, raw: Raw) -> None:
    full = full_session()
    await projections.write([full], [])
    assert only(raw, "sessions") == {
        "_id": ObjectId(full.id),
        "timeSlotId": ObjectId(full.time_slot_id),
        "targetLanguageCode": "fr",
        "level": "B1",
        "status": "ended",
        "recordingEnabled": True,
        "createdAt": NOON,
        "updatedAt": NOON + MOMENT,
        "scheduledStart": NOON + timedelta(minutes=10),
        "scheduledEnd": NOON + timedelta(minutes=40),
        "seq": 77,
        "startedAt": NOON + timedelta(minutes=10),
        "endedAt": NOON + timedelta(minutes=40),
        "endReason": "completed",
        "recordings": [
            {"userId": "anna", "url": URL, "startTime": NOON + timedelta(minutes=12)},
            {"userId": CLEO, "url": URL + "?2", "startTime": NOON + timedelta(minutes=13)},
        ],
        "nextDeadline": NOON + timedelta(minutes=41),
    }


async def test_what_a_session_does_not_have_is_absent(projections: MongoProjections, raw: Raw) -> None:
    plain = session()
    await projections.write([plain], [])
    assert only(raw, "sessions") == {
        "_id": ObjectId(plain.id),
        "timeSlotId": ObjectId(plain.time_slot_id),
        "targetLanguageCode": "fr",
        "level": "B1",
        "status": "waiting",
        "recordingEnabled": False,
        "createdAt": NOON,
        "updatedAt": NOON + MOMENT,
        "scheduledStart": NOON + timedelta(minutes=10),
        "scheduledEnd": NOON + timedelta(minutes=40),
        "seq": 1,
    }


async def test_a_participant(projections: MongoProjections, raw: Raw) -> None:
    session_id = new_session_id()
    there = participant(session_id, CLEO)
    expected = {
        "_id": participant_key(session_id, CLEO),
        "sessionId": ObjectId(session_id),
        "userId": CLEO,
        "status": "connected",
        "cameraEnabled": False,
        "micEnabled": True,
        "recordingConsent": False,
        "joinedAt": NOON,
        "seq": 2,
    }
    await projections.write([], [there])
    assert only(raw, "participants") == expected
    gone = participant(session_id, CLEO, status=ParticipantStatus.DISCONNECTED, left_at=NOON + MOMENT, seq=3)
    await projections.write([], [gone])
    assert only(raw, "participants") == {
        **expected,
        "status": "disconnected",
        "leftAt": NOON + MOMENT,
        "seq": 3,
    }


def test_a_participant_has_an_id_of_its_own_for_good() -> None:
    session_id, other_id = SessionId("5e55105e55105e55105e5510"), SessionId("5e55105e55105e55105e5511")
    digest = hashlib.sha256(bytes.fromhex(session_id) + b"\x00" + "cléo".encode()).hexdigest()
    assert str(participant_key(session_id, UserId("cléo"))) == digest[:24]
    assert len({participant_key(item, user) for item in (session_id, other_id) for user in (ANNA, BEN, CLEO)}) == 6


async def test_a_slot_with_everything(catalog: MongoCatalog, raw: Raw) -> None:
    full = full_slot()
    await catalog.add_slot(full)
    assert only(raw, "timeslots") == {
        "_id": ObjectId(full.id),
        "targetLanguageCode": "es",
        "level": "C2",
        "startTime": NOON,
        "durationMinutes": 30,
        "isActive": True,
        "createdAt": NOON - timedelta(days=1),
        "updatedAt": NOON - timedelta(hours=1),
        "maxParticipants": 50,
        "minParticipants": 3,
        "recurrence": "weekly",
        "timezone": "Europe/Madrid",
        "seriesId": ObjectId(full.series_id),
        "sessionId": ObjectId(full.session_id),
        "registeredCount": 7,
    }


async def test_what_a_slot_does_not_have_is_absent(catalog: MongoCatalog, raw: Raw) -> None:
    await catalog.add_slot(slot())
    document = only(raw, "timeslots")
    assert not document.keys() & {"recurrence", "seriesId", "sessionId"}
    assert (document["maxParticipants"], document["minParticipants"]) == (8, 2)
    assert (document["timezone"], document["registeredCount"]) == ("UTC", 0)


async def test_a_claim_stores_an_object_id(catalog: MongoCatalog, raw: Raw) -> None:
    offered, session_id = slot(), new_session_id()
    await catalog.add_slot(offered)
    await catalog.claim_session(offered.id, session_id)
    assert only(raw, "timeslots")["sessionId"] == ObjectId(session_id)


async def test_a_registration(catalog: MongoCatalog, raw: Raw) -> None:
    booking = registration(
        new_slot_id(), CLEO, status=RegistrationStatus.CANCELLED, cancelled_at=NOON + timedelta(days=1)
    )
    await catalog.add_registration(booking)
    expected = {
        "_id": ObjectId(booking.id),
        "timeSlotId": ObjectId(booking.time_slot_id),
        "userId": CLEO,
        "status": "cancelled",
        "registeredAt": NOON,
        "cancelledAt": NOON + timedelta(days=1),
    }
    assert only(raw, "registrations") == expected
    assert read_registration(expected) == booking
    assert "cancelledAt" not in registration_document(registration(new_slot_id()))


async def test_a_heartbeat(database: Database, raw: Raw) -> None:
    await MongoLiveness(database).beat(NodeId("node-a"), NOON)
    assert only(raw, "nodes") == {"_id": "node-a", "at": NOON}


async def test_a_slot_put_in_by_hand_has_the_defaults(catalog: MongoCatalog, raw: Raw) -> None:
    by_hand = {
        "targetLanguageCode": "es",
        "level": "C2",
        "startTime": NOON,
        "durationMinutes": Int64(30),
        "isActive": True,
        "createdAt": NOON - timedelta(days=1),
        "updatedAt": NOON - timedelta(hours=1),
        "colour": "unknown here",
    }
    key = ObjectId()
    raw["timeslots"].insert_one({"_id": key, **by_hand}, bypass_document_validation=True)
    assert await catalog.slot(SlotId(str(key))) == slot(SlotId(str(key)))
    assert await catalog.active_slots(NOON, NOON) == [slot(SlotId(str(key)))]


async def test_unknown_fields_are_passed_over(projections: MongoProjections, raw: Raw) -> None:
    full = full_session()
    await projections.write([full], [participant(full.id)])
    for collection in ("sessions", "participants"):
        raw[collection].update_one({}, {"$set": {"colour": "blue"}}, bypass_document_validation=True)
    assert await projections.session(full.id) == full
    assert list(await projections.participants(full.id)) == [participant(full.id)]


async def test_a_document_without_seq_gives_way(projections: MongoProjections, raw: Raw) -> None:
    plain = session()
    await projections.write([plain], [])
    raw["sessions"].update_one({}, {"$unset": {"seq": ""}})
    newer = session(plain.id, recording_enabled=True)
    await projections.write([newer], [])
    assert await projections.session(plain.id) == newer


async def test_rebuild_removes_a_second_document_of_the_same_user(projections: MongoProjections, raw: Raw) -> None:
    wanted = session()
    await projections.write([wanted], [participant(wanted.id)])
    document = only(raw, "participants")
    raw["participants"].insert_one({**document, "_id": ObjectId()})
    await projections.rebuild(wanted, [participant(wanted.id)])
    assert only(raw, "participants") == document


async def test_participants_are_written_before_sessions(projections: MongoProjections, raw: Raw) -> None:
    behind = session()
    refused = participant(behind.id, UserId("x" * 129))  # no validator takes that
    with pytest.raises(BulkWriteError):
        await projections.write([behind], [participant(behind.id), refused])
    assert only(raw, "participants")["userId"] == ANNA
    assert await projections.session(behind.id) is None
