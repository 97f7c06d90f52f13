"""How a session's log is written down: commits, their canonical form, and the hash chain that proves them unaltered.

A commit holds all events of one decision batch, so it is atomic without a transaction. Its hash covers everything
else in it and the hash before it (SPEC section 1, events):

    hash = SHA-256( head LF line LF line … )

where `head` is the canonical JSON of `{at, id, prevHash, seq, sessionId}` and each `line` that of an event,
`{actor, at, data, seq, sessionId, type}`: UTF-8, keys sorted, no spaces, times as RFC 3339 with milliseconds and `Z`.
In a line, every user who has a salt is replaced by a pseudonym (`pseudonyms` says by which); in a log without salts a
line is the event as it stands. To compute a hash by hand:

1. Go through the session's commits from the first, and note for each `participant_joined` with a `salt` whose it is.
2. Of each event leave out `salt`, add `sessionId`, replace the users who have a salt and the texts about them, write it
   canonically: that is its line.
3. Write the head canonically, put the lines below it, separated by single line feeds, and take SHA-256, in hex.

The canonical JSON of an event as it stands, without its salt, is what clients receive; it is made once.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec

from coordinator.domain.events import EVENT_TYPES, Actor, Event, EventBody, Role
from coordinator.domain.ids import CommitId, SessionId, UserId
from coordinator.domain.pseudonyms import NOBODY, Alias, Cast, StoredCast, is_salt

GENESIS = "0" * 64
"""`prevHash` of a session's first commit."""
MAX_COMMIT_EVENTS = 1024
"""Most events in one commit. A reader who knows that finds the commit that holds a given event by a bounded search."""

_ENCODER = msgspec.json.Encoder(order="sorted")


def wire_time(instant: datetime) -> str:
    """Write an instant as RFC 3339 in UTC with milliseconds and `Z`."""
    if instant.tzinfo is UTC:
        # As all are that were made here. The encoder is five times as fast as `isoformat`; it writes microseconds, or
        # no fraction where that is zero.
        text = _ENCODER.encode(instant)
        return text[1:24].decode() + "Z" if instant.microsecond else text[1:20].decode() + ".000Z"
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


class SealedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event with its canonical JSON."""

    event: Event
    json: bytes


class Commit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


def seal(
    commit_id: CommitId, events: Sequence[Event], prev_hash: str, aliases: Mapping[UserId, Alias] = NOBODY
) -> Commit:
    """Make a commit of `events`, which are dense and of one session, after the commit with `prev_hash`.

    Args:
        commit_id: Its id.
        events: At least one.
        prev_hash: The hash of the session's commit before, or `GENESIS`.
        aliases: Those of the session's state before the first of the events.
    """
    first, cast = events[0], Cast(aliases)
    sealed, lines = [], []
    at, at_on_wire = first.at, wire_time(first.at)
    for event in events:
        if event.at is not at:  # what is decided together mostly shares one instant
            at, at_on_wire = event.at, wire_time(event.at)
        json = _canonical(event, at_on_wire)
        sealed.append(SealedEvent(event, json))
        alias = cast.alias_throughout(event)
        if alias is not None:
            lines.append(_renamed(json, event.actor.user_id, alias))
            continue
        covered = cast.covered(event)
        lines.append(json if covered is event else _canonical(covered, at_on_wire))
    digest = _chain_hash(
        {
            "at": at_on_wire,
            "id": commit_id,
            "prevHash": prev_hash,
            "seq": first.seq,
            "sessionId": first.session_id,
        },
        lines,
    )
    return Commit(
        id=commit_id,
        session_id=first.session_id,
        seq=first.seq,
        at=at,
        events=tuple(sealed),
        prev_hash=prev_hash,
        hash=digest,
    )


def _renamed(json: bytes, user: UserId, alias: Alias) -> bytes:
    """Return canonical JSON with a user's pseudonym wherever the id is, without encoding it all once more.

    Only an id matches: inside a text of somebody every quotation mark has a backslash before it, which is not so here.
    """
    return json.replace(b'"userId":' + _ENCODER.encode(user), f'"userId":"{alias.pseudonym}"'.encode())


def canonical_event(event: Event) -> bytes:
    """Encode an event canonically, without its salt; this is the payload that subscribers get."""
    return _canonical(event, wire_time(event.at))


class _Line(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """An event as it is encoded. The encoder sorts the fields itself: no need to make plain data of them before."""

    actor: Actor
    at: str
    data: EventBody | dict[str, Any]
    seq: int
    session_id: SessionId
    type: str


_DATED = frozenset(
    body
    for body in EVENT_TYPES.values()
    if any(datetime in (field.type, *get_args(field.type)) for field in msgspec.structs.fields(body))
)
"""Events whose data holds instants, which the encoder would not write as `wire_time` does."""


def _canonical(event: Event, at_on_wire: str) -> bytes:
    body = event.body
    data = wire_value(plain_data(body)) if type(body) in _DATED else body
    return _ENCODER.encode(_Line(event.actor, at_on_wire, data, event.seq, event.session_id, body.kind))


def canonical_stored_event(session_id: SessionId, stored: Mapping[str, Any]) -> bytes:
    """Encode a stored event `{seq, type, at, actor, data}` canonically, fields unknown to this version included.

    For an event that was stored as it was sealed, these are the same bytes as `canonical_event` made then. The salt,
    if there is one, is left out.
    """
    plain: dict[str, Any] = {**wire_value(stored), "sessionId": session_id}
    plain.pop("salt", None)
    return _ENCODER.encode(plain)


def _chain_hash(head: Mapping[str, Any], lines: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\n".join((_ENCODER.encode(head), *lines))).hexdigest()


class UnknownEventError(Exception):
    """A stored event of a kind that this version does not know."""


def read_event(session_id: SessionId, stored: Mapping[str, Any]) -> Event:
    """Read one stored event `{seq, type, at, actor, data, salt?}`; unknown fields are tolerated.

    Raises:
        UnknownEventError: Its type is not known here.
        ValueError, KeyError, msgspec.ValidationError: It has not the form of an event.
    """
    body_type = EVENT_TYPES.get(stored["type"])
    if body_type is None:
        raise UnknownEventError(f"event {stored['seq']} of session {session_id} has unknown type {stored['type']!r}")
    actor, salt = stored["actor"], stored.get("salt")
    if salt is not None and not is_salt(salt):
        raise ValueError(f"event {stored['seq']} of session {session_id} has something else for a salt")
    return Event(
        session_id=session_id,
        seq=stored["seq"],
        at=stored["at"],
        actor=Actor(user_id=UserId(actor["userId"]), role=Role(actor["role"])),
        body=msgspec.convert(stored["data"], body_type),
        salt=salt,
    )


class Flaw(msgspec.Struct, frozen=True):
    """Something wrong with a session's journal or projection, and where."""

    session_id: str
    seq: int
    problem: str


_COMMIT_KEYS = {"id", "sessionId", "seq", "at", "events", "prevHash", "hash"}
_EVENT_KEYS = {"seq", "type", "at", "actor", "data"}


def find_flaws(session_id: str, stored: Iterable[Mapping[str, Any]]) -> list[Flaw]:
    """Check a session's commits as they are stored: chain, order and canonical form, and who hides behind a pseudonym.

    An erasure that was begun and not finished is no flaw: the chain covers the same before, during and after it.

    Args:
        session_id: The session that they are said to belong to.
        stored: Its commits in order of `seq`, as plain data with wire times and nothing left out or added.

    Returns:
        Every flaw found, each with the `seq` at which it stands. None: the log is what was written.
    """
    flaws: list[Flaw] = []
    cast = StoredCast()
    prev_hash, expected = GENESIS, 1
    for commit in stored:
        seq = commit.get("seq") if type(commit.get("seq")) is int else expected
        assert isinstance(seq, int)
        events = commit.get("events")
        # Also of a commit with a flaw, so that those after it are read with the right salts.
        covered = [cast.covered(event, seq) for event in events] if isinstance(events, list) else []
        problem = _commit_problem(session_id, commit, prev_hash, expected, covered)
        if problem is not None:
            flaws.append(Flaw(session_id, seq, problem))
        expected = seq + (len(events) if isinstance(events, list) and events else 1)
        prev_hash = str(commit.get("hash"))
    # What a broken chain says of erasures proves nothing.
    return flaws or [Flaw(session_id, seq, problem) for seq, problem in cast.unexplained()]


def _commit_problem(
    session_id: str,
    commit: Mapping[str, Any],
    prev_hash: str,
    expected: int,
    covered: Sequence[dict[str, Any] | str],
) -> str | None:
    if commit.keys() != _COMMIT_KEYS:
        return f"fields differ: {sorted(commit.keys() ^ _COMMIT_KEYS)}"
    events = commit["events"]
    if not isinstance(events, list) or not events:
        return "holds no events"
    if any(not isinstance(event, dict) or event.keys() - {"salt"} != _EVENT_KEYS for event in events):
        return "an event's fields differ from seq, type, at, actor, data and salt"
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
    lines = []
    for event in covered:
        if isinstance(event, str):
            return event
        lines.append(_ENCODER.encode({**event, "sessionId": session_id}))
    head = {key: commit[key] for key in ("at", "id", "prevHash", "seq", "sessionId")}
    if _chain_hash(head, lines) != commit["hash"]:
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
