"""How a commit is written in MongoDB (SPEC section 1, events): one document, ids as ObjectIds, times as dates.

Owns the form of the documents of the collection `events`; must not know how they are looked up or followed.
"""

from datetime import UTC, datetime
from typing import Any

import bson
import msgspec
from bson import ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion

from coordinator.adapters.mongo.client import Document
from coordinator.domain.events import EVENT_TYPES
from coordinator.domain.ids import CommitId, SessionId
from coordinator.domain.ledger import (
    MAX_COMMIT_EVENTS,
    Commit,
    SealedEvent,
    canonical_stored_event,
    plain_data,
    read_event,
    wire_time,
    wire_value,
)

# Someone may have put a date there that no datetime can hold; whoever looks for tampering must get to see it.
_RAW: CodecOptions[Document] = CodecOptions(
    tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
_DATES = {
    kind: {field.encode_name: field.type is datetime for field in msgspec.structs.fields(body)}
    for kind, body in EVENT_TYPES.items()
}
"""Of each kind of event, which fields of its data are dates."""


def commit_document(commit: Commit) -> Document:
    """Write a commit.

    Raises:
        ValueError: It has more than `MAX_COMMIT_EVENTS` events.
    """
    if len(commit.events) > MAX_COMMIT_EVENTS:
        raise ValueError(f"a commit of {len(commit.events)} events; at most {MAX_COMMIT_EVENTS} are allowed")
    return {
        "_id": ObjectId(commit.id),
        "sessionId": ObjectId(commit.session_id),
        "seq": commit.seq,
        "at": commit.at,
        "events": [_event_document(sealed) for sealed in commit.events],
        "prevHash": commit.prev_hash,
        "hash": commit.hash,
    }


def _event_document(sealed: SealedEvent) -> Document:
    event = sealed.event
    document = {
        "seq": event.seq,
        "type": event.body.kind,
        "at": event.at,
        "actor": {"userId": event.actor.user_id, "role": str(event.actor.role)},
        "data": plain_data(event.body),
    }
    if event.salt is not None:
        document["salt"] = event.salt
    return document


def read_commit(document: Document) -> Commit:
    """Read a commit, fields that this version does not know included.

    Raises:
        UnknownEventError: An event of a kind that this version does not know.
        ValueError, TypeError, KeyError, AttributeError: This is no commit.
    """
    session_id = SessionId(str(document["sessionId"]))
    return Commit(
        id=CommitId(str(document["_id"])),
        session_id=session_id,
        seq=document["seq"],
        at=document["at"],
        events=tuple(
            SealedEvent(read_event(session_id, stored), canonical_stored_event(session_id, stored))
            for stored in document["events"]
        ),
        prev_hash=document["prevHash"],
        hash=document["hash"],
    )


def stored_commit(written: bytes) -> Document:
    """Return a commit exactly as stored, as the plain data that `Journal.stored` promises.

    Args:
        written: The document as the database keeps it, in BSON.
    """
    document = bson.decode(written, _RAW)
    plain = raw_commit(document)
    if bson.encode(document, codec_options=_RAW) != written:
        # Some values have several spellings that read alike, such as a text and a symbol. Only one of them is ours.
        plain["spelling"] = "foreign"
    return plain


def raw_commit(document: Document) -> Document:
    """Return the plain data of a commit that may hold anything; see `stored_commit`."""
    # A foreign field may be called "id": it takes the name that the real one gave up, and so remains foreign.
    plain = {"_id" if name == "id" else name: value for name, value in document.items() if name != "_id"}
    plain["id"] = _raw_id(document["_id"])
    for name, convert in (("sessionId", _raw_id), ("at", _raw_time)):
        if name in document:
            plain[name] = convert(document[name])
    if isinstance(document.get("events"), list):
        plain["events"] = [_raw_event(event) for event in document["events"]]
    return plain


def _raw_event(event: Any) -> Any:
    if not isinstance(event, dict):
        return event
    plain = dict(event)
    if "at" in event:
        plain["at"] = _raw_time(event["at"])
    if isinstance(event.get("data"), dict):
        plain["data"] = _raw_data(event.get("type"), event["data"])
    return plain


def _raw_data(kind: Any, data: Document) -> Document:
    """Return an event's data, with those values as wire times that are written as dates; a text stays no date."""
    # What only a newer version knows may be a date or not.
    is_date = _DATES.get(kind, {}) if type(kind) is str else {}
    return {
        name: wire_value(value) if name not in is_date else _raw_time(value) if is_date[name] else value
        for name, value in data.items()
    }


def _raw_id(value: Any) -> str:
    return str(value) if isinstance(value, ObjectId) else _misfit(value)


def _raw_time(value: Any) -> str:
    return wire_time(value) if isinstance(value, datetime) else _misfit(value)


def _misfit(value: Any) -> str:
    # Where a date or an id belongs, the same characters stored as a text must not pass for it.
    return f"{type(value).__name__} {value!r}"
