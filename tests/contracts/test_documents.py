"""How the data model stands in MongoDB, field by field and type by type, and what is tolerated when reading it."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo.database import Database as SyncDatabase
from pymongo.errors import BulkWriteError

from coordinator.adapters.mongo.bookings import MongoBookings
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.documents import (
    participant_key,
    read_registration,
    read_slot,
    registration_document,
    slot_document,
)
from coordinator.adapters.mongo.liveness import MongoLiveness
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.adapters.mongo.replies import MongoReplies
from coordinator.domain.ids import NodeId, SessionId, SlotId, UserId
from coordinator.domain.model import Level, ParticipantStatus, RegistrationStatus, SlotChanges
from coordinator.ports.replies import Remembered, Reply
from tests.contracts.claiming import claim
from tests.contracts.making import (
    ANNA,
    BEN,
    CLEO,
    MOMENT,
    NOON,
    URL,
    full_series,
    full_session,
    full_slot,
    new_session_id,
    new_slot_id,
    participant,
    registration,
    series,
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


@pytest.fixture
def bookings(database: Database) -> MongoBookings:
    return MongoBookings(database)


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
        "seriesNumber": 3,
        "settleAt": NOON + timedelta(minutes=30),
    }


async def test_what_a_slot_does_not_have_is_absent(catalog: MongoCatalog, raw: Raw) -> None:
    await catalog.add_slot(slot())
    document = only(raw, "timeslots")
    assert not document.keys() & {"recurrence", "seriesId", "sessionId", "seriesNumber", "settleAt"}
    assert (document["maxParticipants"], document["minParticipants"]) == (8, 2)
    assert (document["timezone"], document["registeredCount"]) == ("UTC", 0)


async def test_a_claim_stores_an_object_id_and_a_date(catalog: MongoCatalog, raw: Raw) -> None:
    offered, session_id = slot(), new_session_id()
    await catalog.add_slot(offered)
    await claim(catalog, offered, session_id)
    document = only(raw, "timeslots")
    assert document["sessionId"] == ObjectId(session_id)
    assert document["settleAt"] == offered.end_time


async def test_a_settled_slot_has_nothing_left_to_settle(catalog: MongoCatalog, raw: Raw) -> None:
    offered = slot(settle_at=NOON)
    await catalog.add_slot(offered)
    await catalog.settle(offered.id, NOON)
    assert "settleAt" not in only(raw, "timeslots")


async def test_an_adopted_slot_stores_an_object_id(catalog: MongoCatalog, raw: Raw) -> None:
    offered, series_id = slot(), new_slot_id()
    await catalog.add_slot(offered)
    await catalog.adopt_slot(offered.id, series_id, 0)
    document = only(raw, "timeslots")
    assert (document["seriesId"], document["seriesNumber"]) == (ObjectId(series_id), 0)


async def test_a_change_leaves_nothing_else_behind(catalog: MongoCatalog, raw: Raw) -> None:
    before = slot()
    await catalog.add_slot(before)
    document = only(raw, "timeslots")
    changed = slot(before.id, duration_minutes=15, is_active=False, updated_at=NOON)
    assert await catalog.change_slot(changed, before.updated_at, unopened=True)
    assert only(raw, "timeslots") == {**document, "durationMinutes": 15, "isActive": False, "updatedAt": NOON}


async def test_a_series_with_everything(catalog: MongoCatalog, raw: Raw) -> None:
    full = full_series()
    await catalog.add_series(full)
    assert only(raw, "series") == {
        "_id": ObjectId(full.id),
        "targetLanguageCode": "fr",
        "level": "A2",
        "anchor": "2030-03-04T12:00:00.123",
        "durationMinutes": 45,
        "maxParticipants": 12,
        "minParticipants": 3,
        "recurrence": "daily",
        "timezone": "Europe/Paris",
        "isActive": True,
        "createdAt": NOON - timedelta(days=1),
        "updatedAt": NOON - timedelta(hours=1),
        "nextNumber": 14,
        "nextStart": NOON + timedelta(days=14),
        "pending": {
            "targetLanguageCode": "en",
            "level": "C1",
            "startTime": NOON + timedelta(days=14),
            "durationMinutes": 15,
            "maxParticipants": 50,
            "minParticipants": 2,
            "timezone": "UTC",
            "isActive": False,
        },
    }


async def test_what_a_series_does_not_have_is_absent(catalog: MongoCatalog, raw: Raw) -> None:
    plain = series()
    await catalog.add_series(plain)
    assert not only(raw, "series").keys() & {"nextStart", "pending"}
    partly = series(plain.id, pending=SlotChanges(level=Level.A1))
    assert await catalog.change_series(partly, plain.updated_at)
    assert only(raw, "series")["pending"] == {"level": "A1"}
    nothing = series(plain.id, pending=SlotChanges())
    assert await catalog.change_series(nothing, plain.updated_at)
    assert "pending" not in only(raw, "series")


async def test_a_registration_with_a_seat(bookings: MongoBookings, raw: Raw) -> None:
    booking = registration(new_slot_id(), CLEO, seat=0)
    await bookings.add(booking)
    expected = {
        "_id": ObjectId(booking.id),
        "timeSlotId": ObjectId(booking.time_slot_id),
        "userId": CLEO,
        "status": "registered",
        "registeredAt": NOON,
        "seat": 0,
    }
    assert only(raw, "registrations") == expected
    await bookings.cancel(booking.time_slot_id, CLEO, NOON + MOMENT)
    cancelled = {**expected, "status": "cancelled", "cancelledAt": NOON + MOMENT}
    del cancelled["seat"]
    assert only(raw, "registrations") == cancelled
    assert await bookings.revive(booking)
    assert only(raw, "registrations") == expected


async def test_a_cancelled_registration(bookings: MongoBookings, raw: Raw) -> None:
    booking = registration(
        new_slot_id(), CLEO, status=RegistrationStatus.CANCELLED, cancelled_at=NOON + timedelta(days=1)
    )
    await bookings.add(booking)
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
    assert not registration_document(registration(new_slot_id())).keys() & {"cancelledAt", "seat"}


@pytest.mark.parametrize("status", ["registered", "attended", "noshow"])
async def test_a_registration_put_in_by_hand_holds_a_seat_without_a_number(
    bookings: MongoBookings, raw: Raw, status: str
) -> None:
    slot_id = new_slot_id()
    documents = [
        {"timeSlotId": ObjectId(slot_id), "userId": user, "status": status, "registeredAt": NOON, **extra}
        for user, extra in (("anna", {}), ("ben", {"seat": None, "cancelledAt": None}))
    ]
    raw["registrations"].insert_many(documents)
    assert {(item.user_id, item.seat) for item in await bookings.holders(slot_id)} == {(ANNA, None), (BEN, None)}
    assert await bookings.cancel(slot_id, BEN, NOON) is (status == "registered")


async def test_a_reply(database: Database, raw: Raw) -> None:
    replies = MongoReplies(database)
    await replies.remember("alice:POST:key", "fingerprint", NOON)
    asked = {"_id": "alice:POST:key", "fingerprint": "fingerprint", "at": NOON}
    assert only(raw, "replies") == asked
    reply = Reply(status=201, headers={"Content-Type": "application/json", "ETag": "1"}, body=b"{}")
    await replies.keep("alice:POST:key", reply)
    answered = {
        **asked,
        "status": 201,
        "headers": [{"name": "Content-Type", "value": "application/json"}, {"name": "ETag", "value": "1"}],
        "body": b"{}",
    }
    assert only(raw, "replies") == answered
    raw["replies"].delete_many({})
    await replies.keep("alice:POST:key", reply)
    assert raw["replies"].count_documents({}) == 0


async def test_a_reply_that_is_forgotten_while_it_is_looked_up_was_never_there(database: Database, raw: Raw) -> None:
    replies = MongoReplies(database)
    for number in range(20):
        await replies.remember("key", f"{number}", NOON)
        again, _ = await asyncio.gather(
            replies.remember("key", f"again {number}", NOON), asyncio.to_thread(raw["replies"].delete_many, {})
        )
        assert again in (None, Remembered(fingerprint=f"{number}"))
        raw["replies"].delete_many({})


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


@pytest.mark.parametrize("absent", [{}, {"registeredCount": None, "sessionId": None, "settleAt": None}])
async def test_a_slot_put_in_by_hand_can_be_counted_changed_and_claimed(
    catalog: MongoCatalog, raw: Raw, absent: dict[str, Any]
) -> None:
    before = slot()
    await catalog.add_slot(before)
    unset = {"$set": absent} if absent else {"$unset": {"registeredCount": "", "sessionId": ""}}
    raw["timeslots"].update_one({"_id": ObjectId(before.id)}, unset)
    assert not await catalog.set_registered_count(before.id, 1, 2)
    assert await catalog.set_registered_count(before.id, 0, 2)
    assert not await catalog.set_registered_count(before.id, 0, 2)
    changed = slot(before.id, level=Level.A1, registered_count=2, updated_at=NOON)
    assert await catalog.change_slot(changed, before.updated_at, unopened=True)
    assert await catalog.slot(before.id) == changed
    assert await catalog.unsettled(NOON, 10) == []
    assert await claim(catalog, changed, new_session_id()) == await catalog.slot(before.id)


@pytest.mark.parametrize("recurrence", ["daily", "weekly"])
@pytest.mark.parametrize("absent", [{}, {"seriesId": None, "seriesNumber": None}])
async def test_a_repeating_slot_put_in_by_hand_is_to_be_adopted(
    catalog: MongoCatalog, raw: Raw, recurrence: str, absent: dict[str, Any]
) -> None:
    offered = slot()
    await catalog.add_slot(offered)
    raw["timeslots"].update_one({"_id": ObjectId(offered.id)}, {"$set": {"recurrence": recurrence, **absent}})
    assert [item.id for item in await catalog.slots_to_adopt(10)] == [offered.id]
    await catalog.adopt_slot(offered.id, offered.id, 0)
    assert await catalog.slots_to_adopt(10) == []
    found = await catalog.slot(offered.id)
    assert found is not None
    assert (found.series_id, found.series_number) == (offered.id, 0)


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


async def test_a_date_that_no_datetime_can_hold_does_not_keep_a_document_from_being_read(database: Database) -> None:
    # The embedded server takes no such date, so that it cannot be shown with a stored one; MongoDB takes any.
    for milliseconds, year in ((2**52, 9999), (-(2**52), 1)):
        stored = bson.encode({**slot_document(slot()), "updatedAt": DatetimeMS(milliseconds)})
        document = bson.decode(stored, codec_options=database.timeslots.codec_options)
        assert read_slot(document).updated_at.year == year
