"""The shape of each collection: its validator, its indexes and its shard key, as tables (SPEC section 1).

Owns what a document may look like in the database, for us and for foreign tools alike. What no validator checks (that
`minParticipants` is not above `maxParticipants`, say) is a rule, and rules are the domain's. Slots and registrations
can be put in by hand: fields that have a default, or that this project added to the model, may be missing or null.

Shard keys count on a sharded cluster only; why each is what it is stands in `sharding`.
"""

from enum import StrEnum
from typing import Any

import msgspec

from coordinator.domain.ids import USER_ID_MAX_LENGTH
from coordinator.domain.model import (
    DURATIONS_MINUTES,
    SESSION_KEPT,
    EndReason,
    Language,
    Level,
    ParticipantStatus,
    Recurrence,
    RegistrationStatus,
    SessionStatus,
)
from coordinator.domain.slots import SEATS_LEAST, SEATS_MOST

SESSION_TTL_SECONDS = int(SESSION_KEPT.total_seconds())
"""How long a session document is kept after the session was opened: 30 days."""
REPLY_TTL_SECONDS = 24 * 3600
"""How long a reply is kept for requests that are repeated: a day."""

_Schema = dict[str, Any]


class IndexShape(msgspec.Struct, frozen=True):
    """An index: its keys in order, and what it does beside. It has the name that MongoDB gives it."""

    keys: tuple[tuple[str, int], ...]
    options: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The index's name."""
        return "_".join(f"{field}_{direction}" for field, direction in self.keys)


class ShardKey(msgspec.Struct, frozen=True):
    """What decides on which shard a document lies.

    Attributes:
        fields: The fields.
        is_hashed: Whether the hash of the one field counts, not its order.
    """

    fields: tuple[str, ...]
    is_hashed: bool = True

    @property
    def keys(self) -> tuple[tuple[str, int | str], ...]:
        """The key as MongoDB writes it: each field with 1, or the one with `hashed`."""
        return tuple((field, "hashed" if self.is_hashed else 1) for field in self.fields)


_BY_ID = ShardKey(("_id",))


class CollectionShape(msgspec.Struct, frozen=True):
    """A collection.

    Attributes:
        name: Its name.
        validator: What its documents may look like.
        indexes: Its indexes, beside the one over `_id`.
        shard_key: How to spread it over shards, where it is sharded.
        is_busy: Whether it carries the load of live sessions or grows with them, and so is worth sharding.
    """

    name: str
    validator: _Schema
    indexes: tuple[IndexShape, ...] = ()
    shard_key: ShardKey = _BY_ID
    is_busy: bool = False


def _index(*fields: str, **options: Any) -> IndexShape:
    return IndexShape(tuple((field, 1) for field in fields), options)


def _object(required: dict[str, _Schema], optional: dict[str, _Schema] | None = None) -> _Schema:
    return {
        "bsonType": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    }


def _document(identity: _Schema, required: dict[str, _Schema], optional: dict[str, _Schema] | None = None) -> _Schema:
    # Every document has an `_id` before it is validated, so there is no need to require one.
    return {"$jsonSchema": _object(required, {"_id": identity, **(optional or {})})}


def _one_of(values: type[StrEnum]) -> _Schema:
    return {"enum": [str(value) for value in values]}


def _integer(minimum: int, maximum: int | None = None) -> _Schema:
    bounds = {"minimum": minimum} if maximum is None else {"minimum": minimum, "maximum": maximum}
    return {"bsonType": ["int", "long"], **bounds}


def _or_null(schemas: dict[str, _Schema]) -> dict[str, _Schema]:
    """Let each of these be null as well, which many tools write for a field without a value."""
    return {name: _nullable(schema) for name, schema in schemas.items()}


def _nullable(schema: _Schema) -> _Schema:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    types = schema["bsonType"]
    return {**schema, "bsonType": [*(types if isinstance(types, list) else [types]), "null"]}


_OBJECT_ID: _Schema = {"bsonType": "objectId"}
_DATE: _Schema = {"bsonType": "date"}
_BOOLEAN: _Schema = {"bsonType": "bool"}
_TEXT: _Schema = {"bsonType": "string", "minLength": 1}
_USER_ID: _Schema = {"bsonType": "string", "minLength": 1, "maxLength": USER_ID_MAX_LENGTH}
_HASH: _Schema = {"bsonType": "string", "minLength": 64, "maxLength": 64}
_SEQ = _integer(1)
_DURATION: _Schema = {"bsonType": ["int", "long"], "enum": list(DURATIONS_MINUTES)}
_SEATS = _integer(SEATS_LEAST, SEATS_MOST)

TIMESLOTS = CollectionShape(
    "timeslots",
    _document(
        _OBJECT_ID,
        {
            "targetLanguageCode": _one_of(Language),
            "level": _one_of(Level),
            "startTime": _DATE,
            "durationMinutes": _DURATION,
            "isActive": _BOOLEAN,
            "createdAt": _DATE,
            "updatedAt": _DATE,
        },
        _or_null(
            {
                "maxParticipants": _SEATS,
                "minParticipants": _SEATS,
                "recurrence": _one_of(Recurrence),
                "timezone": _TEXT,
                "seriesId": _OBJECT_ID,
                "sessionId": _OBJECT_ID,
                "registeredCount": _integer(0),
                "seriesNumber": _integer(0),
                "settleAt": _DATE,
            }
        ),
    ),
    (
        _index("targetLanguageCode", "level", "startTime"),
        _index("startTime", "isActive"),
        _index("seriesId", "startTime"),
        _index("recurrence", "seriesId", "isActive"),
        _index("settleAt", sparse=True),
    ),
)

_CHANGES = {
    "targetLanguageCode": _one_of(Language),
    "level": _one_of(Level),
    "startTime": _DATE,
    "durationMinutes": _DURATION,
    "maxParticipants": _SEATS,
    "minParticipants": _SEATS,
    "timezone": _TEXT,
    "isActive": _BOOLEAN,
}

SERIES = CollectionShape(
    "series",
    _document(
        _OBJECT_ID,
        {
            "targetLanguageCode": _one_of(Language),
            "level": _one_of(Level),
            "anchor": _TEXT,
            "durationMinutes": _DURATION,
            "maxParticipants": _SEATS,
            "minParticipants": _SEATS,
            "recurrence": {"enum": [str(Recurrence.DAILY), str(Recurrence.WEEKLY)]},
            "timezone": _TEXT,
            "isActive": _BOOLEAN,
            "createdAt": _DATE,
            "updatedAt": _DATE,
            "nextNumber": _integer(0),
        },
        {"nextStart": _DATE, "pending": _object({}, _CHANGES)},
    ),
    (_index("nextStart", sparse=True),),
)

REGISTRATIONS = CollectionShape(
    "registrations",
    _document(
        _OBJECT_ID,
        {
            "timeSlotId": _OBJECT_ID,
            "userId": _USER_ID,
            "status": _one_of(RegistrationStatus),
            "registeredAt": _DATE,
        },
        _or_null({"cancelledAt": _DATE, "seat": _integer(0, SEATS_MOST - 1)}),
    ),
    (
        _index("timeSlotId", "status"),
        _index("userId", "status"),
        _index("timeSlotId", "userId", unique=True),
        _index("timeSlotId", "seat", unique=True, partialFilterExpression={"seat": {"$gte": 0}}),
    ),
    shard_key=ShardKey(("timeSlotId",)),
    is_busy=True,
)

SESSIONS = CollectionShape(
    "sessions",
    _document(
        _OBJECT_ID,
        {
            "timeSlotId": _OBJECT_ID,
            "targetLanguageCode": _one_of(Language),
            "level": _one_of(Level),
            "status": _one_of(SessionStatus),
            "recordingEnabled": _BOOLEAN,
            "createdAt": _DATE,
            "updatedAt": _DATE,
        },
        {
            "startedAt": _DATE,
            "endedAt": _DATE,
            "recordings": {
                "bsonType": "array",
                "items": _object({"userId": _USER_ID, "url": _TEXT, "startTime": _DATE}),
            },
            "scheduledStart": _DATE,
            "scheduledEnd": _DATE,
            "endReason": _one_of(EndReason),
            "seq": _SEQ,
            "nextDeadline": _DATE,
        },
    ),
    (
        _index("timeSlotId"),
        _index("status", "targetLanguageCode"),
        _index("createdAt", expireAfterSeconds=SESSION_TTL_SECONDS),
        _index("nextDeadline"),
    ),
    is_busy=True,
)

PARTICIPANTS = CollectionShape(
    "participants",
    _document(
        _OBJECT_ID,
        {
            "sessionId": _OBJECT_ID,
            "userId": _USER_ID,
            "status": _one_of(ParticipantStatus),
            "cameraEnabled": _BOOLEAN,
            "micEnabled": _BOOLEAN,
            "recordingConsent": _BOOLEAN,
            "joinedAt": _DATE,
        },
        {"leftAt": _DATE, "seq": _SEQ},
    ),
    (_index("sessionId"), _index("userId", "status")),
    is_busy=True,
)

# The events themselves are sealed by the hash, and looking into each of them would add a fifth to the cost of a commit.
EVENTS = CollectionShape(
    "events",
    _document(
        _OBJECT_ID,
        {
            "sessionId": _OBJECT_ID,
            "seq": _SEQ,
            "at": _DATE,
            "events": {"bsonType": "array", "minItems": 1, "items": {"bsonType": "object"}},
            "prevHash": _HASH,
            "hash": _HASH,
        },
    ),
    (_index("sessionId", "seq", unique=True),),
    shard_key=ShardKey(("sessionId",)),
    is_busy=True,
)

NODES = CollectionShape("nodes", _document(_TEXT, {"at": _DATE}))

REPLIES = CollectionShape(
    "replies",
    _document(
        _TEXT,
        {"fingerprint": _TEXT, "at": _DATE},
        {
            "status": _integer(100, 599),
            "headers": {
                "bsonType": "array",
                "items": _object({"name": _TEXT, "value": {"bsonType": "string"}}),
            },
            "body": {"bsonType": "binData"},
        },
    ),
    (_index("at", expireAfterSeconds=REPLY_TTL_SECONDS),),
)

CONSUMERS = CollectionShape(
    "consumers",
    _document(
        _TEXT,
        {"owner": _TEXT, "cursor": _TEXT, "exact": _BOOLEAN, "upTo": _DATE, "beginning": _OBJECT_ID},
        {
            "scope": {"bsonType": "array", "items": _OBJECT_ID},
            "recent": {"bsonType": "object", "additionalProperties": _integer(0)},
        },
    ),
)

MARKS = CollectionShape(
    "marks",
    _document(_OBJECT_ID, {"consumer": _TEXT, "beginning": _OBJECT_ID, "sessionId": _OBJECT_ID, "seq": _integer(0)}),
    (_index("consumer", "beginning", "sessionId", unique=True), _index("sessionId")),
    shard_key=ShardKey(("consumer", "beginning", "sessionId"), is_hashed=False),
)

COLLECTIONS = (TIMESLOTS, SERIES, REGISTRATIONS, SESSIONS, PARTICIPANTS, EVENTS, NODES, REPLIES, CONSUMERS, MARKS)
"""Every collection of the database."""
