"""What the database shall look like, collection by collection: indexes, and documents that go in or do not."""

from datetime import UTC, datetime
from typing import Any

from bson import Int64, ObjectId

AT = datetime(2030, 3, 4, 12, 0, tzinfo=UTC)

# What SPEC section 1 lists, and "whatever else is needed": the journal's, and those that find what is due.
INDEXES: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {
    "timeslots": {
        ("targetLanguageCode", "level", "startTime"): {},
        ("startTime", "isActive"): {},
        ("seriesId", "startTime"): {},
        ("recurrence", "seriesId", "isActive"): {},
        ("settleAt",): {"sparse": True},
    },
    "series": {("nextStart",): {"sparse": True}},
    "registrations": {
        ("timeSlotId", "status"): {},
        ("userId", "status"): {},
        ("timeSlotId", "userId"): {"unique": True},
        ("timeSlotId", "seat"): {"unique": True, "partialFilterExpression": {"seat": {"$gte": 0}}},
    },
    "sessions": {
        ("timeSlotId",): {},
        ("status", "targetLanguageCode"): {},
        ("createdAt",): {"expireAfterSeconds": 2_592_000},
        ("nextDeadline",): {},
    },
    "participants": {("sessionId",): {}, ("userId", "status"): {}},
    "events": {("sessionId", "seq"): {"unique": True}},
    "nodes": {},
    "replies": {("at",): {"expireAfterSeconds": 86_400}},
    "consumers": {},
    "marks": {("consumer", "beginning", "sessionId"): {"unique": True}, ("sessionId",): {}},
}

SMALLEST: dict[str, dict[str, Any]] = {
    "timeslots": {
        "targetLanguageCode": "en",
        "level": "A1",
        "startTime": AT,
        "durationMinutes": 15,
        "isActive": True,
        "createdAt": AT,
        "updatedAt": AT,
    },
    "series": {
        "targetLanguageCode": "en",
        "level": "A1",
        "anchor": "2030-03-04T12:00:00.000",
        "durationMinutes": 15,
        "maxParticipants": 8,
        "minParticipants": 2,
        "recurrence": "daily",
        "timezone": "UTC",
        "isActive": True,
        "createdAt": AT,
        "updatedAt": AT,
        "nextNumber": 0,
    },
    "registrations": {"timeSlotId": ObjectId(), "userId": "anna", "status": "registered", "registeredAt": AT},
    "sessions": {
        "timeSlotId": ObjectId(),
        "targetLanguageCode": "en",
        "level": "A1",
        "status": "waiting",
        "recordingEnabled": False,
        "createdAt": datetime.now(UTC),  # an old one would be swept away
        "updatedAt": AT,
    },
    "participants": {
        "sessionId": ObjectId(),
        "userId": "anna",
        "status": "waiting",
        "cameraEnabled": False,
        "micEnabled": False,
        "recordingConsent": False,
        "joinedAt": AT,
    },
    "events": {
        "sessionId": ObjectId(),
        "seq": 1,
        "at": AT,
        "events": [{"seq": 1}],
        "prevHash": "0" * 64,
        "hash": "1" * 64,
    },
    "nodes": {"_id": "node-a", "at": AT},
    "replies": {"_id": "key", "fingerprint": "of the request", "at": datetime.now(UTC)},
    "consumers": {
        "_id": "recorder",
        "owner": "node-1",
        "cursor": "s.position",
        "exact": True,
        "upTo": AT,
        "beginning": ObjectId(),
    },
    "marks": {"consumer": "recorder", "beginning": ObjectId(), "sessionId": ObjectId(), "seq": Int64(0)},
}

RECORDING = {"userId": "anna", "url": "https://example.org", "startTime": AT}
HEADER = {"name": "Content-Type", "value": ""}
OPTIONAL: dict[str, dict[str, Any]] = {
    "timeslots": {
        "maxParticipants": 8,
        "minParticipants": 2,
        "recurrence": "daily",
        "timezone": "Europe/Paris",
        "seriesId": ObjectId(),
        "sessionId": ObjectId(),
        "registeredCount": Int64(0),
        "seriesNumber": Int64(0),
        "settleAt": AT,
    },
    "series": {"nextStart": AT, "pending": {"level": "A2", "startTime": AT}},
    "registrations": {"cancelledAt": AT, "seat": Int64(0)},
    "sessions": {
        "startedAt": AT,
        "endedAt": AT,
        "recordings": [RECORDING, RECORDING],
        "scheduledStart": AT,
        "scheduledEnd": AT,
        "endReason": "empty",
        "seq": Int64(5),
        "nextDeadline": AT,
    },
    "participants": {"leftAt": AT, "seq": 1},
    "events": {},
    "nodes": {},
    "replies": {"status": 200, "headers": [HEADER, HEADER], "body": b"{}"},
    "consumers": {"scope": [ObjectId(), ObjectId()], "recent": {"5e55105e55105e55105e5510": Int64(0)}},
    "marks": {},
}

NOT_A_DATE = ("2030-03-04T12:00:00.000Z", 1, None)
NOT_A_BOOLEAN = (1, "true", None)
NOT_AN_ID = ("510751075107510751075107", 1, None)
NOT_A_LANGUAGE = ("de", "EN", "", None, 1)
NOT_A_LEVEL = ("A3", "a1", None)
NOT_A_SEQ = (0, -1, 1.0, "1", None, True)
NOT_A_USER = ("", "x" * 129, 1, None, ObjectId())
NOT_A_COUNT = (-1, 0.0, "0")
NOT_A_DURATION = (20, 0, 15.0, "15", None)
NOT_SEATS = (1, 51, 8.0, "8")
NOT_TEXT = ("", 1, None)
NOT_A_HASH = ("0" * 63, "0" * 65, b"0" * 64, None)

WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "timeslots": {
        "_id": ("510751075107510751075107", 1),
        "targetLanguageCode": NOT_A_LANGUAGE,
        "level": NOT_A_LEVEL,
        "startTime": NOT_A_DATE,
        "durationMinutes": NOT_A_DURATION,
        "maxParticipants": NOT_SEATS,
        "minParticipants": NOT_SEATS,
        "recurrence": ("monthly", ""),
        "isActive": NOT_A_BOOLEAN,
        "createdAt": NOT_A_DATE,
        "updatedAt": NOT_A_DATE,
        "timezone": NOT_TEXT[:-1],
        "seriesId": NOT_AN_ID[:-1],
        "sessionId": NOT_AN_ID[:-1],
        "registeredCount": NOT_A_COUNT,
        "seriesNumber": NOT_A_COUNT,
        "settleAt": NOT_A_DATE[:-1],
        "unknown": (1,),
    },
    "series": {
        "_id": ("510751075107510751075107", 1),
        "targetLanguageCode": NOT_A_LANGUAGE,
        "level": NOT_A_LEVEL,
        "anchor": NOT_TEXT,
        "durationMinutes": NOT_A_DURATION,
        "maxParticipants": (*NOT_SEATS, None),
        "minParticipants": (*NOT_SEATS, None),
        "recurrence": ("monthly", "once", "", None),
        "timezone": NOT_TEXT,
        "isActive": NOT_A_BOOLEAN,
        "createdAt": NOT_A_DATE,
        "updatedAt": NOT_A_DATE,
        "nextNumber": (*NOT_A_COUNT, None),
        "nextStart": NOT_A_DATE,
        "pending": (
            None,
            1,
            *({"targetLanguageCode": value} for value in NOT_A_LANGUAGE),
            *({"level": value} for value in NOT_A_LEVEL),
            *({"startTime": value} for value in NOT_A_DATE),
            *({"durationMinutes": value} for value in NOT_A_DURATION),
            *({name: value} for name in ("maxParticipants", "minParticipants") for value in NOT_SEATS),
            *({"timezone": value} for value in NOT_TEXT),
            *({"isActive": value} for value in NOT_A_BOOLEAN),
            {"recurrence": "weekly"},
        ),
        "unknown": (1,),
    },
    "registrations": {
        "_id": ("1",),
        "timeSlotId": NOT_AN_ID,
        "userId": NOT_A_USER,
        "status": ("booked", "", None),
        "registeredAt": NOT_A_DATE,
        "cancelledAt": NOT_A_DATE[:-1],
        "seat": (*NOT_A_COUNT, 50),
        "unknown": (1,),
    },
    "sessions": {
        "_id": ("1",),
        "timeSlotId": NOT_AN_ID,
        "targetLanguageCode": NOT_A_LANGUAGE,
        "level": NOT_A_LEVEL,
        "status": ("open", "connected", None),
        "startedAt": NOT_A_DATE,
        "endedAt": NOT_A_DATE,
        "recordingEnabled": NOT_A_BOOLEAN,
        "recordings": (
            RECORDING,
            None,
            [1],
            [{**RECORDING, "unknown": 1}],
            *([{name: value for name, value in RECORDING.items() if name != missing}] for missing in RECORDING),
            *([{**RECORDING, "startTime": value}] for value in NOT_A_DATE),
            *([{**RECORDING, "userId": value}] for value in NOT_A_USER),
            *([{**RECORDING, "url": value}] for value in ("", 1)),
        ),
        "createdAt": NOT_A_DATE,
        "updatedAt": NOT_A_DATE,
        "scheduledStart": NOT_A_DATE,
        "scheduledEnd": NOT_A_DATE,
        "endReason": ("bored", None),
        "seq": NOT_A_SEQ,
        "nextDeadline": NOT_A_DATE,
        "unknown": (1,),
    },
    "participants": {
        "_id": ("1",),
        "sessionId": NOT_AN_ID,
        "userId": NOT_A_USER,
        "status": ("away", "active", None),
        "cameraEnabled": NOT_A_BOOLEAN,
        "micEnabled": NOT_A_BOOLEAN,
        "recordingConsent": NOT_A_BOOLEAN,
        "joinedAt": NOT_A_DATE,
        "leftAt": NOT_A_DATE,
        "seq": NOT_A_SEQ,
        "unknown": (1,),
    },
    "events": {
        "_id": ("1",),
        "sessionId": NOT_AN_ID,
        "seq": NOT_A_SEQ,
        "at": NOT_A_DATE,
        "events": ([], {}, [1], None),
        "prevHash": NOT_A_HASH,
        "hash": NOT_A_HASH,
        "unknown": (1,),
    },
    "nodes": {"_id": (ObjectId(), 1, ""), "at": NOT_A_DATE, "unknown": (1,)},
    "replies": {
        "_id": (ObjectId(), 1, ""),
        "fingerprint": NOT_TEXT,
        "at": NOT_A_DATE,
        "status": (99, 600, 200.0, "200", None),
        "headers": (
            HEADER,
            None,
            [1],
            [{**HEADER, "unknown": 1}],
            *([{name: value for name, value in HEADER.items() if name != missing}] for missing in HEADER),
            *([{**HEADER, "name": value}] for value in NOT_TEXT),
            *([{**HEADER, "value": value}] for value in (1, None)),
        ),
        "body": ("{}", 1, None),
        "unknown": (1,),
    },
    "consumers": {
        "_id": (ObjectId(), 1, ""),
        "owner": NOT_TEXT,
        "cursor": NOT_TEXT,
        "exact": NOT_A_BOOLEAN,
        "upTo": NOT_A_DATE,
        "beginning": NOT_AN_ID,
        "scope": (None, ObjectId(), ["510751075107510751075107"]),
        "recent": (None, 1, [1], *({"5e55105e55105e55105e5510": value} for value in (*NOT_A_COUNT, None))),
        "unknown": (1,),
    },
    "marks": {
        "_id": ("1",),
        "consumer": NOT_TEXT,
        "beginning": NOT_AN_ID,
        "sessionId": NOT_AN_ID,
        "seq": (*NOT_A_COUNT, None),
        "unknown": (1,),
    },
}
