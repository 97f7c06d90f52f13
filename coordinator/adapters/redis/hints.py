"""What a message on the bus looks like.

    <node> <kind> <JSON>

The node that published it comes first, so that a node knows its own without looking further. The kind carries the
version of the form: what a later version of the coordinator sends in another form is another kind, and is dropped here.
The events of a commit are embedded as they were sealed, byte for byte.

Must not know how messages travel.
"""

from datetime import datetime
from typing import Any, Union

import msgspec

from coordinator.domain.events import EVENT_TYPES, Actor, Event, EventBody
from coordinator.domain.ids import CommitId, ConnectionId, NodeId, SessionId, UserId
from coordinator.domain.ledger import Commit, SealedEvent
from coordinator.domain.pseudonyms import is_salt
from coordinator.ports.bus import Hint, RelayedSignal

_COMMIT = b"commit/1"
_SIGNAL = b"signal/1"


class UndecodableHintError(Exception):
    """A message is not one that this version of the coordinator can read."""


class _WireCommit(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    id: str
    seq: int
    at: datetime
    prev_hash: str
    hash: str
    events: list[msgspec.Raw]
    salts: list[str | None] | None = None


class _WireSignal(msgspec.Struct, frozen=True):
    to: str
    sender: str
    data: Any


def _wire_event(body_type: type[EventBody]) -> type[msgspec.Struct]:
    fields = [("seq", int), ("session_id", str), ("at", datetime), ("actor", Actor), ("data", body_type)]
    return msgspec.defstruct(f"_Wire{body_type.__name__}", fields, tag_field="type", tag=body_type.kind, rename="camel")


_ENCODER = msgspec.json.Encoder()
_COMMITS = msgspec.json.Decoder(_WireCommit)
_SIGNALS = msgspec.json.Decoder(_WireSignal)
_EVENTS: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    Union[tuple(_wire_event(body_type) for body_type in EVENT_TYPES.values())]  # noqa: UP007 - made at run time
)


def is_word(text: str) -> bool:
    """Tell whether a text is one word of printable ASCII."""
    return bool(text) and all("!" <= character <= "~" for character in text)


def header(node: NodeId) -> bytes:
    """Return what every message of `node`, and of no other, begins with.

    Raises:
        ValueError: The node's name is not one word of ASCII.
    """
    if not is_word(node):
        raise ValueError(f"node: {node!r} must be one word of ASCII")
    return node.encode() + b" "


def encode(own_header: bytes, hint: Hint) -> bytes:
    """Write a hint as a message of the node with this header.

    Raises:
        TypeError, ValueError: The data of a signal cannot be written as JSON.
    """
    if isinstance(hint, Commit):
        return b"%b%b %b" % (own_header, _COMMIT, _ENCODER.encode(_wire_commit(hint)))
    signal = _WireSignal(to=hint.to, sender=hint.sender, data=hint.data)
    return b"%b%b %b" % (own_header, _SIGNAL, _ENCODER.encode(signal))


def decode(session_id: SessionId, message: bytes) -> Hint:
    """Read a message that came on the channel of a session.

    Raises:
        UndecodableHintError: It is of another version, or no message of a coordinator at all.
    """
    try:
        _, kind, body = message.split(b" ", 2)
        if kind == _COMMIT:
            return _read_commit(session_id, body)
        if kind == _SIGNAL:
            signal = _SIGNALS.decode(body)
            return RelayedSignal(session_id, ConnectionId(signal.to), UserId(signal.sender), signal.data)
    except (ValueError, RecursionError) as error:  # what msgspec raises is a ValueError
        raise UndecodableHintError(str(error)) from error
    raise UndecodableHintError(f"its kind {kind[:40]!r} is not known")


def _wire_commit(commit: Commit) -> _WireCommit:
    salts = [sealed.event.salt for sealed in commit.events]
    return _WireCommit(
        commit.id,
        commit.seq,
        commit.at,
        commit.prev_hash,
        commit.hash,
        [msgspec.Raw(sealed.json) for sealed in commit.events],
        salts if any(salts) else None,
    )


def _read_commit(session_id: SessionId, body: bytes) -> Commit:
    wire = _COMMITS.decode(body)
    raws = wire.events
    salts = [None] * len(raws) if wire.salts is None else wire.salts
    events = tuple(_read_event(session_id, raw, salt) for raw, salt in zip(raws, salts, strict=True))
    if [sealed.event.seq for sealed in events] != list(range(wire.seq, wire.seq + len(events))) or not events:
        raise ValueError("its events are not dense")
    return Commit(
        id=CommitId(wire.id),
        session_id=session_id,
        seq=wire.seq,
        at=wire.at,
        events=events,
        prev_hash=wire.prev_hash,
        hash=wire.hash,
    )


def _read_event(session_id: SessionId, raw: msgspec.Raw, salt: str | None) -> SealedEvent:
    event = _EVENTS.decode(raw)
    if event.session_id != session_id:
        raise ValueError(f"it tells of session {event.session_id!r}, on the channel of another")
    if salt is not None and not is_salt(salt):
        raise ValueError("it has something else for a salt")
    return SealedEvent(
        Event(session_id=session_id, seq=event.seq, at=event.at, actor=event.actor, body=event.data, salt=salt),
        bytes(raw),  # a copy: a slice would keep the whole message in memory
    )
