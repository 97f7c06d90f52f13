"""How a session's log is written down: commits, their canonical form, and the hash chain that proves them unaltered.

A commit holds all events of one decision batch, so it is atomic without a transaction. Its hash covers everything
else in it and the hash before it (SPEC section 1, events):

    hash = SHA-256( head LF event LF event … )

where `head` is the canonical JSON of `{at, id, prevHash, seq, sessionId}` and each `event` that of
`{actor, at, data, seq, sessionId, type}`: UTF-8, keys sorted, no spaces, times as RFC 3339 with milliseconds and `Z`.
The canonical JSON of an event is also what clients receive, so it is made once.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from coordinator.domain.events import EVENT_TYPES, Actor, Event, EventBody, Role
from coordinator.domain.ids import CommitId, SessionId, UserId

GENESIS = "0" * 64
"""`prevHash` of a session's first commit."""
MAX_COMMIT_EVENTS = 1024
"""Most events in one commit. A reader who knows that finds the commit that holds a given event by a bounded search."""

_ENCODER = msgspec.json.Encoder(order="sorted")


def wire_time(instant: datetime) -> str:
    """Write an instant as RFC 3339 in UTC with milliseconds and `Z`."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def wire_value(value: Any) -> Any:
    """Return plain data (dicts, lists, scalars) with every instant written as `wire_time`."""
    if isinstance(value, datetime):
        return wire_time(value)
    if isinstance(value, dict):
        return {key: wire_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [wire_value(item) for item in value]
    return value


def plain_data(body: EventBody) -> dict[str, Any]:
    """Return an event's data as a plain dict in camelCase, instants kept as datetimes."""
    data: dict[str, Any] = msgspec.to_builtins(body, builtin_types=(datetime,))
    return data


class SealedEvent(msgspec.Struct, frozen=True):
    """An event with its canonical JSON."""

    event: Event
    json: bytes


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one decision batch, chained to the commit before.

    Attributes:
        id: Made by the writer before the write: an unknown outcome is looked up by it.
        session_id: The session.
        seq: The first event's.
        at: When it was decided.
        events: At least one, dense from `seq`.
        prev_hash: The hash of the session's previous commit, or `GENESIS`.
        hash: This commit's own.
    """

    id: CommitId
    session_id: SessionId
    seq: int
    at: datetime
    events: tuple[SealedEvent, ...]
    prev_hash: str
    hash: str

    @property
    def last_seq(self) -> int:
        """The last event's `seq`."""
        return self.seq + len(self.events) - 1


def seal(commit_id: CommitId, events: Sequence[Event], prev_hash: str) -> Commit:
    """Make a commit of `events`, which are dense and of one session, after the commit with `prev_hash`."""
    first = events[0]
    sealed = tuple(SealedEvent(event, canonical_event(event)) for event in events)
    at = events[-1].at
    digest = _chain_hash(
        {
            "at": wire_time(at),
            "id": commit_id,
            "prevHash": prev_hash,
            "seq": first.seq,
            "sessionId": first.session_id,
        },
        (item.json for item in sealed),
    )
    return Commit(
        id=commit_id,
        session_id=first.session_id,
        seq=first.seq,
        at=at,
        events=sealed,
        prev_hash=prev_hash,
        hash=digest,
    )


def canonical_event(event: Event) -> bytes:
    """Encode an event canonically; this is the payload that subscribers get."""
    return _ENCODER.encode(
        {
            "actor": {"role": str(event.actor.role), "userId": event.actor.user_id},
            "at": wire_time(event.at),
            "data": wire_value(plain_data(event.body)),
            "seq": event.seq,
            "sessionId": event.session_id,
            "type": event.body.kind,
        }
    )


def canonical_stored_event(session_id: SessionId, stored: Mapping[str, Any]) -> bytes:
    """Encode a stored event `{seq, type, at, actor, data}` canonically, fields unknown to this version included.

    For an event that was stored as it was sealed, these are the same bytes as `canonical_event` made then.
    """
    return _ENCODER.encode({**wire_value(stored), "sessionId": session_id})


def _chain_hash(head: Mapping[str, Any], lines: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\n".join((_ENCODER.encode(head), *lines))).hexdigest()


class UnknownEventError(Exception):
    """A stored event of a kind that this version does not know."""


def read_event(session_id: SessionId, stored: Mapping[str, Any]) -> Event:
    """Read one stored event `{seq, type, at, actor, data}`; unknown fields are tolerated.

    Raises:
        UnknownEventError: Its type is not known here.
        ValueError, KeyError, msgspec.ValidationError: It has not the form of an event.
    """
    body_type = EVENT_TYPES.get(stored["type"])
    if body_type is None:
        raise UnknownEventError(f"event {stored['seq']} of session {session_id} has unknown type {stored['type']!r}")
    actor = stored["actor"]
    return Event(
        session_id=session_id,
        seq=stored["seq"],
        at=stored["at"],
        actor=Actor(user_id=UserId(actor["userId"]), role=Role(actor["role"])),
        body=msgspec.convert(stored["data"], body_type),
    )


class Flaw(msgspec.Struct, frozen=True):
    """Something wrong with a session's journal or projection, and where."""

    session_id: str
    seq: int
    problem: str


_COMMIT_KEYS = {"id", "sessionId", "seq", "at", "events", "prevHash", "hash"}
_EVENT_KEYS = {"seq", "type", "at", "actor", "data"}


def find_flaws(session_id: str, stored: Iterable[Mapping[str, Any]]) -> list[Flaw]:
    """Check a session's commits as they are stored: chain, order and canonical form.

    Args:
        session_id: The session that they are said to belong to.
        stored: Its commits in order of `seq`, as plain data with wire times and nothing left out or added.

    Returns:
        Every flaw found, each with the `seq` at which it stands. None: the log is what was written.
    """
    flaws: list[Flaw] = []
    prev_hash, expected = GENESIS, 1
    for commit in stored:
        seq = commit.get("seq") if type(commit.get("seq")) is int else expected
        assert isinstance(seq, int)
        problem = _commit_problem(session_id, commit, prev_hash, expected)
        if problem is not None:
            flaws.append(Flaw(session_id, seq, problem))
        events = commit.get("events")
        expected = seq + (len(events) if isinstance(events, list) and events else 1)
        prev_hash = str(commit.get("hash"))
    return flaws


def _commit_problem(session_id: str, commit: Mapping[str, Any], prev_hash: str, expected: int) -> str | None:
    if commit.keys() != _COMMIT_KEYS:
        return f"fields differ: {sorted(commit.keys() ^ _COMMIT_KEYS)}"
    events = commit["events"]
    if not isinstance(events, list) or not events:
        return "holds no events"
    if any(not isinstance(event, dict) or event.keys() != _EVENT_KEYS for event in events):
        return "an event's fields differ from seq, type, at, actor, data"
    if commit["seq"] != expected:
        return f"seq {commit['seq']} where {expected} should follow"
    if [event["seq"] for event in events] != list(range(expected, expected + len(events))):
        return "its events are not dense"
    if commit["sessionId"] != session_id:
        return "belongs to another session"
    if commit["prevHash"] != prev_hash:
        return "prevHash is not the hash of the commit before"
    foreign = _foreign_type(dict(commit))
    if foreign is not None:
        return f"holds a value of a foreign type: {foreign}"
    head = {key: commit[key] for key in ("at", "id", "prevHash", "seq", "sessionId")}
    computed = _chain_hash(head, (_ENCODER.encode({**event, "sessionId": session_id}) for event in events))
    if computed != commit["hash"]:
        return "the hash does not match the content"
    return None


def _foreign_type(value: Any) -> str | None:
    """Name the first type in plain data that is never written: the encoder would pass some of them off for text."""
    if value is None or type(value) in (str, int, float, bool):
        return None
    if type(value) is list:
        items: Iterable[Any] = value
    elif type(value) is dict:
        items = (*value.keys(), *value.values())
    else:
        return type(value).__name__
    return next((found for item in items if (found := _foreign_type(item)) is not None), None)
