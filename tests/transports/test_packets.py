"""Packets of Socket.IO are read and written as python-socketio does; where that differs, it is said and tested here."""

import json
from typing import Any

import engineio.packet
import msgspec
import pytest
import socketio.packet
from hypothesis import example, given
from hypothesis import strategies as st

from coordinator.domain.events import EVENT_TYPES
from coordinator.protocol.codec import encode
from coordinator.transports.socketio.wire import packets
from coordinator.transports.socketio.wire.packets import (
    Ack,
    Address,
    BadEvent,
    Connect,
    Disconnect,
    Event,
    Malformed,
    Packet,
    address_of_event,
    read_packet,
)

_SHAPE = "an event is an array that begins with its name"
_JSON = "an event is JSON: an array of its name and one object"
_BINARY = "nothing that can be sent here is binary"


class _Msgspec:
    """The JSON module of the server's python-socketio."""

    @staticmethod
    def dumps(data: Any, **_: Any) -> str:
        return msgspec.json.encode(data).decode()

    @staticmethod
    def loads(text: str) -> Any:
        try:
            return msgspec.json.decode(text)
        except RecursionError as error:
            raise ValueError(str(error)) from None


class _Theirs(socketio.packet.Packet):  # type: ignore[misc]
    json = _Msgspec


# Reading


def _event(namespace: str, packet_id: int | None, name: str, payload: str | None, arguments: int = 1) -> Event:
    return Event(namespace, packet_id, name, None if payload is None else msgspec.Raw(payload), arguments)


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ('42["join",{"a":1}]', _event("/", None, "join", '{"a":1}')),
        ('42/rooms,["join",{"a":1}]', _event("/rooms", None, "join", '{"a":1}')),
        ('42/rooms,17["join",{"a":1}]', _event("/rooms", 17, "join", '{"a":1}')),
        ('4217["join",{"a":1}]', _event("/", 17, "join", '{"a":1}')),
        ('42/rooms,0["join",{}]', _event("/rooms", 0, "join", "{}")),
        ('42/rooms,007["join",{}]', _event("/rooms", 7, "join", "{}")),
        ('42/rooms?token=x,1["join",{}]', _event("/rooms", 1, "join", "{}")),
        ('42/rooms?a?b,1["join",{}]', _event("/rooms", 1, "join", "{}")),
        ('42/a/b-c[1],2["join",{}]', _event("/a/b-c[1]", 2, "join", "{}")),
        ('42/?x,2["join",{}]', _event("/", 2, "join", "{}")),
        ('42/rooms,999999999999999["x",{}]', _event("/rooms", 10**15 - 1, "x", "{}")),
        ('42/rooms, [ "x" , { "a" : [1, 2] } ] ', _event("/rooms", None, "x", '{ "a" : [1, 2] }')),
        ('42/rooms,1["\\u00e9\\n\\"]",{"é":"😀"}]', _event("/rooms", 1, 'é\n"]', '{"é":"😀"}')),
        ('42/rooms,1["x",null]', _event("/rooms", 1, "x", "null")),
        ('42/rooms,1["x",[]]', _event("/rooms", 1, "x", "[]")),
        ('42/rooms,1["x"]', _event("/rooms", 1, "x", None, 0)),
        ('42/rooms,1["x",{"a":1},2,"3"]', _event("/rooms", 1, "x", '{"a":1}', 3)),
        ('42/rooms,1["",{}]', _event("/rooms", 1, "", "{}")),
        ('42/rooms,1["disconnecting",{}]', _event("/rooms", 1, "disconnecting", "{}")),
        ("42/rooms,1[]", BadEvent("/rooms", 1, _SHAPE)),
        ("42/rooms,1[7]", BadEvent("/rooms", 1, _SHAPE)),
        ("42/rooms,1[null,{}]", BadEvent("/rooms", 1, _SHAPE)),
        ("42/rooms,1{}", BadEvent("/rooms", 1, _SHAPE)),
        ('42/rooms,1"x"', BadEvent("/rooms", 1, _SHAPE)),
        ("42/rooms,1", BadEvent("/rooms", 1, _SHAPE)),
        ("42/rooms,", BadEvent("/rooms", None, _SHAPE)),
        ("42/rooms", BadEvent("/rooms", None, _SHAPE)),
        ("42", BadEvent("/", None, _SHAPE)),
        ("42/rooms,1[", BadEvent("/rooms", 1, _JSON)),
        ('42/rooms,1["x",{}', BadEvent("/rooms", 1, _JSON)),
        ('42/rooms,1["x",{}]]', BadEvent("/rooms", 1, _JSON)),
        ('42/rooms,1["x",{}]42', BadEvent("/rooms", 1, _JSON)),
        ("42/rooms,1[7,", BadEvent("/rooms", 1, _JSON)),
        ('42/rooms,1["x"', BadEvent("/rooms", 1, _JSON)),
        ("42/rooms,-1[]", BadEvent("/rooms", None, _JSON)),
        ("42,1[]", BadEvent("/", None, _JSON)),
        ("42?x,1[]", BadEvent("/", None, _JSON)),
        ("42/rooms,1" + "[" * 100_000, BadEvent("/rooms", 1, _JSON)),
        *(
            (f'42/rooms,1["{name}"{rest}]', BadEvent("/rooms", 1, f"the event name '{name}' is reserved"))
            for name in ("connect", "disconnect", "connect_error")
            for rest in ("", ",{}", ",{},{}")
        ),
        ('452-/rooms,1["x",{"_placeholder":true,"num":0}]', BadEvent("/rooms", 1, _BINARY)),
        ("450-1[", BadEvent("/", 1, _BINARY)),
        ("461-/rooms,1[]", Malformed(_BINARY)),
        ("40", Connect("/", None)),
        ("40/rooms", Connect("/rooms", None)),
        ("40/rooms,", Connect("/rooms", None)),
        ("40/rooms,{}", Connect("/rooms", None)),
        ('40/rooms,{"token":"x"}', Connect("/rooms", {"token": "x"})),
        ('40/rooms?x=1,{"token":"x"}', Connect("/rooms", {"token": "x"})),
        ('40{"token":"x"}', Connect("/", {"token": "x"})),
        ("40/rooms,7[1]", Connect("/rooms", [1])),
        ("41", Disconnect("/")),
        ("41/rooms", Disconnect("/rooms")),
        ("41/rooms,", Disconnect("/rooms")),
        ('41/rooms,["why"]', Disconnect("/rooms")),
        ('43/rooms,17[{"ok":true}]', Ack("/rooms", 17, [{"ok": True}])),
        ("43/rooms,17", Ack("/rooms", 17, None)),
        ("43/rooms,[]", Ack("/rooms", None, [])),
        ('44/rooms,{"message":"no"}', Malformed("only a server refuses connections")),
    ],
    ids=lambda value: str(value)[:40].encode("ascii", "backslashreplace").decode() if isinstance(value, str) else "",
)
def test_reading(text: str, packet: Packet) -> None:
    assert _comparable(read_packet(text)) == _comparable(packet)


def _comparable(packet: Packet) -> Any:
    if isinstance(packet, Event):
        return (*msgspec.structs.astuple(packet)[:3], packet.payload and bytes(packet.payload), packet.arguments)
    return packet


@pytest.mark.parametrize(
    "text",
    [
        *("4", "47", "48", "49", "4a", "4-", "4 1", "4\x00", "4{}", "4[]", "4null", '4"42/rooms,1[]"'),
        *("40/rooms,{", "40{]", "40/rooms,x", "40" + "[" * 100_000, "41{", "43/rooms,1[", "43x"),
        # What python-socketio would take.
        *("42/rooms,1000000000000000[]", f"42/rooms,{'9' * 101}[]", "45", "45[]", "45/rooms,1[]", "46[]", "45-1-[]"),
        *(f"45{'9' * 11}-/rooms,1[]", "45²-/rooms,1[]", "4²", "4\u0662[]"),
    ],
    ids=lambda text: text[:20].encode("ascii", "backslashreplace").decode().replace("\x00", "0"),
)
def test_what_ends_a_connection(text: str) -> None:
    assert isinstance(read_packet(text), Malformed)
    assert address_of_event(text) is None


@pytest.mark.parametrize("digits", ["²", "\u0663", "\uff11"])
def test_an_id_is_of_ascii_digits(digits: str) -> None:
    assert read_packet(f'42/rooms,{digits}["x",{{}}]') == BadEvent("/rooms", None, _JSON)


@pytest.mark.parametrize("text", ['421-/rooms,7["x",{}]', '421-["x",{}]', "401-/rooms,{}", "401-1", "43123456-1"])
def test_a_number_of_attachments_belongs_to_binary_packets_only(text: str) -> None:
    assert isinstance(read_packet(text), Malformed)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('42/rooms,17["x"', Address("/rooms", 17)),
        ("42/rooms?q,[", Address("/rooms", None)),
        ("42", Address("/", None)),
        ("453-/rooms,17[", Address("/rooms", 17)),
        ("463-/rooms,17[", None),
        ("40/rooms,{", None),
        ("43/rooms,1[", None),
    ],
)
def test_where_an_event_was_sent_is_known_without_reading_it(text: str, address: Address | None) -> None:
    assert address_of_event(text) == address


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            '"\\q"',
            '"\\ud800"',
            '"\\udc00\\ud800"',
            '"\\u12"',
            '"\x00"',
            '"\n"',
            '{"\\q":1}',
            '{"\x01":1}',
            '{"a":1,}',
            "[1,]",
        ),
        *("{1:2}", "01", "1e", "1.", "-", "+1", ".5", "nul", "NaN", "'a'", "1 2", "/**/1", "[" * 100_000),
    ],
    ids=lambda wrong: ascii(wrong)[:20],
)
@pytest.mark.parametrize("where", ["{}", '{{"a":{}}}', '{},"more"', '"more",{}'])
def test_a_payload_is_json_before_anyone_decodes_it(wrong: str, where: str) -> None:
    assert read_packet(f'42/rooms,1["x",{where.format(wrong)}]') == BadEvent("/rooms", 1, _JSON)


@pytest.mark.parametrize("number", ["1e999", "9" * 5000])
def test_but_numbers_in_it_may_be_out_of_range(number: str) -> None:
    packet = read_packet(f'42/rooms,1["x",{{"a":{number}}}]')
    assert isinstance(packet, Event)
    assert packet.payload is not None
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(packet.payload)


# Against python-socketio

_junk = st.text(alphabet='0123456789/,?-[]{}":.aé\\ ²\u0663\x00', max_size=12)
_names = st.one_of(st.text(max_size=8), st.sampled_from(["join", "connect", "disconnect", "connect_error"]))
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_datas = st.one_of(
    st.tuples(_names, _values).map(list),
    st.tuples(_names).map(list),
    st.tuples(_names, _values, _values).map(list),
    _values,
)
_jsons = st.one_of(
    st.builds(json.dumps, _datas, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 1])),
    st.just(""),
    _junk,
)
_texts = st.builds(
    "".join,
    st.tuples(
        st.just("4"),
        st.sampled_from("0122222234567x"),
        st.sampled_from(["", "", "", "", "1-", "10-", "-"]),
        st.sampled_from(["", "/rooms,", "/rooms", "/,", "/?a,", "/a/b?c=1,", "/é,"]) | _junk,
        st.sampled_from(["", "1", "17", "007", "9" * 15, "9" * 16, "9" * 101]),
        _jsons,
    ),
)


def _read_by_theirs(text: str) -> Any:
    try:
        packet = _Theirs(encoded_packet=text[1:])
    except ValueError:
        return "refused"
    namespace, packet_id, data = packet.namespace or "/", packet.id, packet.data
    match packet.packet_type:
        case socketio.packet.CONNECT:
            return "connect", namespace, data or None
        case socketio.packet.DISCONNECT:
            return "disconnect", namespace
        case socketio.packet.ACK:
            return "ack", namespace, packet_id, data
        case socketio.packet.EVENT:
            if not isinstance(data, list) or not data or not isinstance(data[0], str):
                return "refused event", namespace, packet_id, _SHAPE
            if data[0] in ("connect", "disconnect", "connect_error"):
                return "refused event", namespace, packet_id, f"the event name {data[0]!r} is reserved"
            return "event", namespace, packet_id, data[0], data[1] if data[1:] else None, len(data) - 1
        case _:  # what its server refuses afterwards, and ours refuses because it is binary
            return "refused"


def _read_by_ours(text: str) -> Any:
    match packet := read_packet(text):
        case Connect(namespace, auth):
            return "connect", namespace, auth
        case Disconnect(namespace):
            return "disconnect", namespace
        case Ack(namespace, packet_id, data):
            return "ack", namespace, packet_id, data
        case BadEvent(namespace, packet_id, problem) if problem not in (_JSON, _BINARY):
            return "refused event", namespace, packet_id, problem
        case Event():
            try:
                payload = None if packet.payload is None else msgspec.json.decode(packet.payload)
            except msgspec.ValidationError:  # a number out of range
                return "refused"
            return "event", packet.namespace, packet.id, packet.name, payload, packet.arguments
        case _:
            return "refused"


def _is_a_difference_that_is_meant(text: str) -> bool:
    header = text[2:].partition("[")[0].partition("{")[0]
    count, dash, _ = text[2:].partition("-")
    digits = [character for character in header if character.isdigit()]
    too_long = any(len(part) > 15 for part in "".join(c if c.isdigit() else " " for c in text).split())
    return (
        text == "4"
        or not all(digit.isascii() for digit in digits)
        or too_long
        or (text[1:2] not in ("5", "6") and bool(dash) and count.isdigit())
    )


@given(_texts)
@example('42/rooms,17["join",{"a":"\\ud800"}]')
@example('42/rooms,17["join",1e999]')
@example('42/rooms,17["join",-0]')
def test_what_python_socketio_takes_or_refuses(text: str) -> None:
    ours, theirs = _read_by_ours(text), _read_by_theirs(text)
    if _is_a_difference_that_is_meant(text):
        assert ours in ("refused", theirs) or ours[0] == "refused event"
    else:
        assert ours == theirs


@given(st.text(max_size=40))
def test_nothing_raises(text: str) -> None:
    read_packet("4" + text)
    address_of_event("4" + text)


# Writing

_PAYLOAD = {"sessionId": "0123456789abcdef01234567", "seq": 7, "data": {"text": 'é "😀" \\ \n', "none": None, "n": 1.5}}


def _written_by_theirs(kind: int, data: Any = None, namespace: str = "/rooms", packet_id: int | None = None) -> bytes:
    packet = _Theirs(kind, data=data, namespace=namespace, id=packet_id)
    return str(engineio.packet.Packet(engineio.packet.MESSAGE, data=packet.encode()).encode()).encode()


@pytest.mark.parametrize("namespace", ["/", "/rooms", "/a/b"])
def test_packets_are_what_python_socketio_would_have_written(namespace: str) -> None:
    theirs = socketio.packet
    payload = encode(_PAYLOAD)
    for packet_id in (0, 1, 10**15 - 1):
        assert packets.ack_packet(namespace, packet_id, payload) == _written_by_theirs(
            theirs.ACK, [_PAYLOAD], namespace, packet_id
        )
    assert packets.connect_packet(namespace, "abc-1") == _written_by_theirs(theirs.CONNECT, {"sid": "abc-1"}, namespace)
    assert packets.connect_error_packet(namespace, payload) == _written_by_theirs(
        theirs.CONNECT_ERROR, _PAYLOAD, namespace
    )
    assert packets.disconnect_packet(namespace) == _written_by_theirs(theirs.DISCONNECT, None, namespace)


@pytest.mark.parametrize("namespace", ["/", "/rooms", "/moderation", "/recording"])
@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_events_are_what_python_socketio_would_have_written(namespace: str, kind: str) -> None:
    assert packets.event_packet(namespace, kind, encode(_PAYLOAD)) == _written_by_theirs(
        socketio.packet.EVENT, [kind, _PAYLOAD], namespace
    )


@pytest.mark.parametrize("kind", ["CLOSE", "PING", "PONG"])
def test_packets_of_engine_io_are_what_it_would_have_written(kind: str) -> None:
    theirs = engineio.packet.Packet(getattr(engineio.packet, kind))
    assert getattr(packets, kind) == theirs.encode().encode()


def test_the_first_packet_is_what_engine_io_would_have_written() -> None:
    handshake = {"sid": "abc", "upgrades": [], "pingTimeout": 20_000, "pingInterval": 25_000, "maxPayload": 65_536}
    theirs = engineio.packet.Packet(engineio.packet.OPEN, handshake)
    ours = packets.open_packet("abc", ping_interval_ms=25_000, ping_timeout_ms=20_000, max_payload=65_536)
    assert ours == theirs.encode().encode()


@given(_values, st.integers(0, 10**15 - 1), st.sampled_from(["/", "/rooms", "/a/b"]))
def test_what_is_written_is_read(payload: Any, packet_id: int, namespace: str) -> None:
    data = msgspec.json.encode(payload)
    assert _comparable(read_packet(packets.event_packet(namespace, "signal", data).decode())) == (
        *(namespace, None, "signal"),
        *(data, 1),
    )
    assert read_packet(packets.ack_packet(namespace, packet_id, data).decode()) == Ack(namespace, packet_id, [payload])
