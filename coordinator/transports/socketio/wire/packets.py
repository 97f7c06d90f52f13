"""The packets of Socket.IO 5 in the text messages of Engine.IO 4: text in, packets out, and the reverse.

Owns the shape of packets (socket.io-protocol, revision 5, "Packet encoding"; engine.io-protocol, revision 4,
"Protocol"). Knows neither connections nor what events mean, and does no I/O. An event's payload is cut out as it
stands, so that it is decoded once, into what it is to be.

What python-socketio takes and this does not, because no client library sends it:

- digits that are not ASCII, and ids of more than 15 digits (JavaScript could not count that far);
- a number of attachments in a packet that is not binary (`21-[…]`), and none in one that is (`5[…]`);
- an empty message, which would be an event without a name.

Nothing binary is taken apart: there is no event that could carry it.
"""

import functools
import re
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

CLOSE: Final = b"1"
PING: Final = b"2"
PONG: Final = b"3"
"""Engine.IO's packets that carry nothing. In revision 4 the server pings."""

_MESSAGE = "4"
_CONNECT, _DISCONNECT, _EVENT, _ACK, _CONNECT_ERROR, _BINARY_EVENT = "0", "1", "2", "3", "4", "5"
_ROOT = "/"
_RESERVED = frozenset({"connect", "disconnect", "connect_error"})
"""Names that are not for events between applications; to python-socketio they are handlers of its own."""

_HEADER = re.compile(
    rf"{_MESSAGE}(?:([0-4])(?![0-9]++-)|([56])[0-9]{{1,10}}-)"  # type, number of attachments
    r"(?:(/[^,?]*+)(?:\?[^,]*+)?+(?:,|\Z))?+"  # namespace; python-socketio drops the query, and so do we
    r"([0-9]{1,15}+)?+(?![0-9])"  # id of the ack
).match
"""What stands before the JSON. Nothing is tried twice: where a part can begin, it has begun."""

_USUAL_HEADER = re.compile(rf"{_MESSAGE}{_EVENT}(/[^,?]*+),([0-9]{{1,15}}+)(?=\[)").match
"""The same of an event that asks for an ack, in a namespace with a name: nearly all are, and it is read faster."""

_NOT_JSON = "an event is JSON: an array of its name and one object"
_NO_NAME = "an event is an array that begins with its name"
_BINARY = "nothing that can be sent here is binary"

_decode_usual = msgspec.json.Decoder(tuple[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_name = msgspec.json.Decoder(str).decode
_decode_any = msgspec.json.Decoder(Any).decode


class Connect(msgspec.Struct, frozen=True, gc=False):
    """Who wants to enter a namespace. `auth` is what came along; None if that is nothing, or empty."""

    namespace: str
    auth: Any


class Disconnect(msgspec.Struct, frozen=True, gc=False):
    """Who leaves a namespace."""

    namespace: str


class Event(msgspec.Struct, frozen=True, gc=False):
    """What an application sends.

    Attributes:
        namespace: Where.
        id: What its ack is to carry; None if none is asked for.
        name: Its name, none of the reserved ones.
        payload: Its first argument; None if it has none. It is JSON, though numbers in it may be out of range.
        arguments: How many arguments it has.
    """

    namespace: str
    id: int | None
    name: str
    payload: msgspec.Raw | None
    arguments: int = 1


class BadEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that cannot be read, but refused: it is known where it was sent and what its ack is to carry."""

    namespace: str
    id: int | None
    problem: str


class Ack(msgspec.Struct, frozen=True, gc=False):
    """The answer to an event that the server has sent. It is JSON, or None if it is empty."""

    namespace: str
    id: int | None
    data: Any


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """What is not Socket.IO, or nothing that a client may send: the connection is to be ended."""

    problem: str


Packet: TypeAlias = Event | Connect | Disconnect | BadEvent | Ack | Malformed


class Address(NamedTuple):
    """Where an event was sent, and what its ack is to carry."""

    namespace: str
    id: int | None


def read_packet(text: str) -> Packet:
    """Read a text message of Engine.IO that begins with a 4, which is what carries Socket.IO.

    Whatever is wrong with it is part of what is returned: this never raises.
    """
    usual = _USUAL_HEADER(text)
    if usual is not None:
        namespace, digits = usual.groups()
        return _read_event(namespace, int(digits), text[usual.end() :])
    header = _HEADER(text)
    if header is None:
        return Malformed("not Socket.IO")
    kind, binary, namespace, digits = header.groups()
    namespace = namespace or _ROOT
    packet_id = int(digits) if digits else None
    data = text[header.end() :]
    if kind == _EVENT:
        return _read_event(namespace, packet_id, data)
    if kind is None:
        # Its attachments need no look: they come as binary messages.
        return BadEvent(namespace, packet_id, _BINARY) if binary == _BINARY_EVENT else Malformed(_BINARY)
    if kind == _CONNECT_ERROR:
        return Malformed("only a server refuses connections")
    try:
        value = _decode_any(data) if data else None
    except (msgspec.DecodeError, RecursionError) as error:
        return Malformed(str(error))
    if kind == _CONNECT:
        return Connect(namespace, value or None)
    return Ack(namespace, packet_id, value) if kind == _ACK else Disconnect(namespace)


def address_of_event(text: str) -> Address | None:
    """Return where an event was sent without reading it, binary or not; None if it is no event.

    For messages that begin with a 4 and are too large to be read, but not to be refused.
    """
    header = _HEADER(text)
    if header is None or not (header[1] == _EVENT or header[2] == _BINARY_EVENT):
        return None
    return Address(header[3] or _ROOT, int(header[4]) if header[4] else None)


def _read_event(namespace: str, packet_id: int | None, data: str) -> Event | BadEvent:
    try:
        name, payload = _decode_usual(data)
    except (msgspec.DecodeError, RecursionError):
        return _unusual_event(namespace, packet_id, data)
    if name in _RESERVED:
        return _reserved(namespace, packet_id, name)
    return Event(namespace, packet_id, name, payload)


def _unusual_event(namespace: str, packet_id: int | None, data: str) -> Event | BadEvent:
    """Read an event that does not have one argument, or say what is wrong with it."""
    problem = _NO_NAME
    try:
        if data:
            # Of all that is wrong, the worst is said first: msgspec stops at the first item that is not as expected.
            value = _decode_any(data)
            if isinstance(value, list) and value and isinstance(value[0], str):
                name, *arguments = _decode_items(data)
                return _event(namespace, packet_id, _decode_name(name), arguments)
    except (msgspec.DecodeError, RecursionError):
        problem = _NOT_JSON
    return BadEvent(namespace, packet_id, problem)


def _event(namespace: str, packet_id: int | None, name: str, arguments: list[msgspec.Raw]) -> Event | BadEvent:
    if name in _RESERVED:
        return _reserved(namespace, packet_id, name)
    return Event(namespace, packet_id, name, arguments[0] if arguments else None, len(arguments))


def _reserved(namespace: str, packet_id: int | None, name: str) -> BadEvent:
    return BadEvent(namespace, packet_id, f"the event name {name!r} is reserved")


def _head(kind: str, namespace: str) -> bytes:
    return (f"{_MESSAGE}{kind}" if namespace == _ROOT else f"{_MESSAGE}{kind}{namespace},").encode()


_known_head = functools.lru_cache(maxsize=64)(_head)
"""For the namespaces that there are; any other name is the client's."""


@functools.lru_cache(maxsize=256)
def _known_event_head(namespace: str, name: str) -> bytes:
    """Write all that stands before the payload of an event; there are few names."""
    return b'%b["%b",' % (_known_head(_EVENT, namespace), name.encode())


def open_packet(sid: str, *, ping_interval_ms: int, ping_timeout_ms: int, max_payload: int) -> bytes:
    """Write Engine.IO's first packet, of a server that offers no other transport (engine.io-protocol, "Handshake").

    Args:
        sid: The connection's Engine.IO id.
        ping_interval_ms: How often the server pings.
        ping_timeout_ms: How long after a ping that is not answered either side may give up.
        max_payload: How many bytes a client may send at once.
    """
    handshake = {
        "sid": sid,
        "upgrades": (),
        "pingTimeout": ping_timeout_ms,
        "pingInterval": ping_interval_ms,
        "maxPayload": max_payload,
    }
    return b"0" + msgspec.json.encode(handshake)


def connect_packet(namespace: str, sid: str) -> bytes:
    """Write that a client is in a namespace, and under which id."""
    return _known_head(_CONNECT, namespace) + msgspec.json.encode({"sid": sid})


def connect_error_packet(namespace: str, refusal: bytes) -> bytes:
    """Write that a client is not let into a namespace; `refusal` is JSON."""
    return _head(_CONNECT_ERROR, namespace) + refusal


def disconnect_packet(namespace: str) -> bytes:
    """Write that a client is no longer in a namespace."""
    return _known_head(_DISCONNECT, namespace)


def event_packet(namespace: str, name: str, payload: bytes) -> bytes:
    """Write an event that asks for no ack.

    Args:
        namespace: Where.
        name: A name that stands in JSON as it is.
        payload: Its one argument, as JSON.
    """
    return b"%b%b]" % (_known_event_head(namespace, name), payload)


def ack_packet(namespace: str, packet_id: int, payload: bytes) -> bytes:
    """Write the answer to an event; `payload` is its one argument, as JSON."""
    return b"%b%d[%b]" % (_known_head(_ACK, namespace), packet_id, payload)
