"""The WebSocket frames of a client are read as RFC 6455 says, case by case in the order of the Autobahn test suite.

Each case is read whole and in pieces of several sizes, byte by byte among them, with the same outcome. Compression (12
and 13) is not spoken, so its bit is a reserved one (3).
"""

import sys
import tracemalloc

import pytest

from coordinator.transports.socketio.wire.frames import Close, FrameReader, Message, Ping, Pong, Violation
from tests.transports.raw_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LIMIT,
    PING,
    PONG,
    TEXT,
    client_frame,
    more,
    read,
    read_in,
    text,
)

_AFTER = text("after")


def _code(messages: list[Message]) -> int | None:
    """Return the code of the violation that ends `messages`."""
    return messages[-1].code if messages and isinstance(messages[-1], Violation) else None


def _is_refused(data: bytes, code: int = 1002, before: list[Message] | None = None) -> bool:
    """Tell whether `data` breaks a rule, after these messages, and nothing is read any more."""
    messages = read(data + _AFTER)
    return _code(messages) == code and messages[:-1] == (before or [])


# 1: framing


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537])
def test_messages_of_every_size(size: int) -> None:
    message = "*" * size
    assert read(text(message) + _AFTER) == [message, "after"]
    assert read(client_frame(BINARY, message.encode()) + _AFTER) == [message.encode(), "after"]


@pytest.mark.parametrize("mask", [bytes(4), b"\xff\xff\xff\xff", b"\x01\x00\x00\x00", b"\x00\x00\x00\x80"])
def test_every_mask_is_one(mask: bytes) -> None:
    for size in range(12):
        message = "abcdefghijkl"[:size]
        assert read(client_frame(TEXT, message.encode(), mask=mask)) == [message]


@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
def test_a_client_masks_its_frames(opcode: int) -> None:
    assert _is_refused(bytes((0x80 | opcode, 0)))
    assert _is_refused(bytes((0x80 | opcode, 3)) + b"abc")


@pytest.mark.parametrize(
    "length",
    [
        *(b"\xfe" + size.to_bytes(2) for size in (0, 1, 125)),
        *(b"\xff" + size.to_bytes(8) for size in (0, 1, 125, 126, 65_535)),
    ],
)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_length_has_no_more_bytes_than_it_needs(opcode: int, length: bytes) -> None:
    assert _is_refused(bytes((0x80 | opcode,)) + length + bytes(4))


@pytest.mark.parametrize("size", [2**63, 2**63 + 1, 2**64 - 1])
def test_the_highest_bit_of_a_length_is_not_set(size: int) -> None:
    assert _is_refused(bytes((0x80 | TEXT, 0xFF)) + size.to_bytes(8) + bytes(4))


# 2: pings and pongs


@pytest.mark.parametrize("payload", [b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125])
def test_pings_and_pongs(payload: bytes) -> None:
    assert read(client_frame(PING, payload) + _AFTER) == [Ping(payload), "after"]
    assert read(client_frame(PONG, payload) + _AFTER) == [Pong(payload), "after"]


def test_ten_pings() -> None:
    payloads = [f"payload-{number}".encode() for number in range(10)]
    data = b"".join(client_frame(PING, payload) for payload in payloads)
    assert read(data) == [Ping(payload) for payload in payloads]


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("size", [126, 65_535, 65_536])
def test_a_control_frame_is_short(opcode: int, size: int) -> None:
    assert _is_refused(client_frame(opcode, b"\x03\xe8" + b"*" * (size - 2)))


# 3: reserved bits


@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_reserved_bits(opcode: int, reserved: int) -> None:
    assert _is_refused(text("before") + client_frame(opcode, reserved=reserved), before=["before"])
    assert _is_refused(text("a", fin=False) + client_frame(CONTINUATION, b"b", reserved=reserved))


# 4: opcodes


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes(opcode: int) -> None:
    for payload in (b"", b"reserved"):
        for fin in (True, False):
            assert _is_refused(text("before") + client_frame(opcode, payload, fin=fin), before=["before"])
            assert _is_refused(text("before", fin=False) + client_frame(opcode, payload, fin=fin))


# 5: fragmentation


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("payload", [b"", b"\x03\xe8"])
def test_a_control_frame_is_not_fragmented(opcode: int, payload: bytes) -> None:
    assert _is_refused(client_frame(opcode, payload, fin=False) + more("", fin=True))


@pytest.mark.parametrize(
    "fragments",
    [
        ["fragment1", "fragment2"],
        ["fragment1", "fragment2", "fragment3"],
        ["", "", ""],
        ["", "middle", ""],
        ["a" * 126, "b" * 65_536, "c"],
        ["x"] * 200,
    ],
    ids=lambda fragments: "+".join(str(len(fragment)) for fragment in fragments[:4]),
)
def test_fragments(fragments: list[str]) -> None:
    first, *middle, last = fragments
    for ping, answers in ((b"", 0), (client_frame(PING, b"ping"), len(middle) + 1)):
        data = text(first, fin=False) + ping + b"".join(more(piece) + ping for piece in middle) + more(last, fin=True)
        assert read(data + _AFTER) == [Ping(b"ping")] * answers + ["".join(fragments), "after"]


def test_fragments_of_a_binary_message() -> None:
    data = client_frame(BINARY, b"\xff", fin=False) + client_frame(PONG) + more(b"\xfe") + more(b"", fin=True)
    assert read(data + _AFTER) == [Pong(b""), b"\xff\xfe", "after"]


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("payload", ["", "non-continuation payload"])
def test_there_must_be_something_to_continue(payload: str, fin: bool) -> None:
    assert _is_refused(more(payload, fin=fin))
    assert _is_refused(text("whole") + more(payload, fin=fin), before=["whole"])
    whole = text("a", fin=False) + more("b", fin=True)
    assert _is_refused(whole + more(payload, fin=fin), before=["ab"])


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("begun", ["", "fragment1"])
def test_a_message_does_not_begin_inside_another(begun: str, opcode: int, fin: bool) -> None:
    ping = client_frame(PING)
    assert _is_refused(text(begun, fin=False) + ping + client_frame(opcode, b"x", fin=fin), before=[Ping(b"")])


def test_a_close_ends_a_message_that_is_not_complete() -> None:
    assert read(text("a", fin=False) + client_frame(CLOSE, b"\x03\xe8") + more("b", fin=True)) == [Close(1000, "")]


# 6: UTF-8

_VALID = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\x00",
    "\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff",
    "\ud7ff\ue000\ufffd",  # the neighbours of surrogates
    "\ufffe\uffff\U0001fffe\U0010fffe",  # noncharacters are characters here
    "\U0001f600" * 3,
]
_INVALID = {
    "a surrogate, in a word": b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64",
    "beyond 10FFFF": b"\xf4\x90\x80\x80",
    "beyond 10FFFF, in a word": b"\xce\xba\xf4\x90\x80\x80edited",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "seven bytes": b"\xfe\x83\xbf\xbf\xbf\xbf\xbf",
    "a continuation alone": b"\x80",
    "continuations alone": b"\x80\xbf\x80\xbf",
    "a lead alone": b"\xc3",
    "a lead before ASCII": b"\xc3 ",
    "two of three bytes": b"\xe2\x82",
    "three of four bytes": b"\xf0\x9f\x98",
    "impossible bytes": b"\xfe\xfe\xff\xff",
    "overlong /, two bytes": b"\xc0\xaf",
    "overlong /, three bytes": b"\xe0\x80\xaf",
    "overlong /, four bytes": b"\xf0\x80\x80\xaf",
    "overlong zero": b"\xc0\x80",
    "overlong 7F": b"\xc1\xbf",
    "overlong 7FF": b"\xe0\x9f\xbf",
    "overlong FFFF": b"\xf0\x8f\xbf\xbf",
    "first surrogate": b"\xed\xa0\x80",
    "last surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "Latin-1": "é".encode("latin-1"),
    "UTF-16": "\ufeffa".encode("utf-16-le"),
}


def _in_frames_of_one_byte(payload: bytes) -> bytes:
    pieces = [payload[at : at + 1] for at in range(len(payload))]
    return text(b"", fin=False) + b"".join(more(piece) for piece in pieces) + more(b"", fin=True)


@pytest.mark.parametrize("message", _VALID, ids=ascii)
def test_texts_are_utf_8(message: str) -> None:
    payload = message.encode()
    assert read(text(payload)) == [message]
    assert read(_in_frames_of_one_byte(payload) + _AFTER) == [message, "after"]
    for at in range(len(payload) + 1):
        between = client_frame(PING)  # a character may be cut by a control frame, too
        assert read(text(payload[:at], fin=False) + between + more(payload[at:], fin=True)) == [Ping(b""), message]


@pytest.mark.parametrize("payload", _INVALID.values(), ids=_INVALID)
def test_texts_that_are_not_utf_8(payload: bytes) -> None:
    for around in (b"", b"*" * 200):
        assert _is_refused(text(around + payload + around), 1007)
    assert _is_refused(text("before") + _in_frames_of_one_byte(payload), 1007, ["before"])
    assert _is_refused(client_frame(CLOSE, b"\x03\xe8" + payload), 1007)


def test_a_character_does_not_reach_over_messages() -> None:
    assert _is_refused(text(b"\xc3") + text(b"\xa9"), 1007)


def test_binary_messages_are_not_utf_8() -> None:
    for payload in _INVALID.values():
        assert read(client_frame(BINARY, payload)) == [payload]


# 7: closing


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_codes_of_a_close(code: int) -> None:
    field = code.to_bytes(2)
    assert read(client_frame(CLOSE, field) + _AFTER) == [Close(code, "")]
    assert read(client_frame(CLOSE, field + "adé".encode())) == [Close(code, "adé")]
    assert read(client_frame(CLOSE, field + b"*" * 123)) == [Close(code, "*" * 123)]


@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 32_768, 65_535]
)
def test_codes_that_are_never_sent(code: int) -> None:
    assert _is_refused(client_frame(CLOSE, code.to_bytes(2)))
    assert _is_refused(client_frame(CLOSE, code.to_bytes(2) + b"\xff"))


def test_a_close_without_a_code() -> None:
    assert read(client_frame(CLOSE) + _AFTER) == [Close(None, "")]


@pytest.mark.parametrize("payload", [b"\x00", b"\x03", b"a"])
def test_half_a_code(payload: bytes) -> None:
    assert _is_refused(client_frame(CLOSE, payload))


@pytest.mark.parametrize(
    "after",
    [text("a"), client_frame(PING), client_frame(CLOSE, b"\x03\xe9"), b"\xff" * 100, bytes(5)],
    ids=["text", "ping", "close", "ones", "zeros"],
)
@pytest.mark.parametrize("end", [client_frame(CLOSE, b"\x03\xe8bye"), bytes((0x83, 0x80))], ids=["close", "violation"])
def test_nothing_is_read_after_the_end(end: bytes, after: bytes) -> None:
    reader = FrameReader(LIMIT)
    finished = [reader.is_finished]
    assert len(reader.feed(end + after)) == 1
    finished.append(reader.is_finished)
    assert finished == [False, True]
    assert [reader.feed(piece) for piece in (after, b"", after * 10)] == [[]] * 3
    assert len(read(end + after)) == 1


# 9: limits


@pytest.mark.parametrize("limit", [125, 126, 1000, 65_535, 65_536, 100_000])
def test_the_limit_is_the_largest_message(limit: int) -> None:
    message = "*" * limit
    halves = text(message[:100], fin=False) + more(message[100:], fin=True)
    assert read(text(message) + client_frame(BINARY, message.encode()) + halves, limit) == [
        *(message, message.encode(), message)
    ]
    for data in (
        text(message + "*"),
        client_frame(BINARY, message.encode() + b"*"),
        text(message, fin=False) + more("*", fin=True),
        text(message[:100], fin=False) + more(message[100:]) + more("*"),
    ):
        assert _code(read(data + _AFTER, limit)) == 1009


def test_what_is_too_large_is_noticed_before_it_arrives() -> None:
    header = bytes((0x80 | TEXT, 0xFE)) + (1001).to_bytes(2)
    assert _code(read_in([header], 1000)) == 1009
    header = bytes((0x80 | TEXT, 0xFF)) + (2**63 - 1).to_bytes(8)
    assert _code(read_in([header], 1000)) == 1009
    header = bytes((0x80, 0xFE)) + (500).to_bytes(2)
    assert _code(read_in([text("*" * 501, fin=False), header], 1000)) == 1009


def test_empty_fragments_take_no_room() -> None:
    reader = FrameReader(LIMIT)
    fragments = text("", fin=False) + more("") * 50_000
    tracemalloc.start()
    try:
        assert reader.feed(fragments) == []
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2000


@pytest.mark.parametrize("limit", [0, 124])
def test_a_limit_below_short_frames_is_none(limit: int) -> None:
    with pytest.raises(ValueError, match="125 bytes must be allowed"):
        FrameReader(limit)


# 10: the rest


def test_a_message_in_many_pieces_is_put_together_once() -> None:
    message = "*" * 200_000
    data = text(message)
    assert read_in([data[at : at + 1] for at in range(len(data))]) == [message]
    in_one_piece = read_in([data[:1300], data[1300:]])
    assert in_one_piece == [message]


def test_many_messages_in_one_piece() -> None:
    assert read(text("a") * 3000 + text("b")[:-1]) == ["a"] * 3000
    assert read_in([text("a") * 3000 + text("b")[:-1], text("b")[-1:]]) == ["a"] * 3000 + ["b"]


def test_nothing_comes_of_nothing() -> None:
    assert read_in([b"", text("a")[:1], b"", text("a")[1:], b""]) == ["a"]


def test_a_reader_that_waits_keeps_nothing() -> None:
    reader = FrameReader(LIMIT)
    for data in (text("a"), text("*" * 70_000), text("a", fin=False) + more("b", fin=True), client_frame(PING)):
        for at in (1, len(data) // 2):
            reader.feed(data[:at])
            reader.feed(data[at:])
            assert (reader._rest, reader._message) == (None, None)
    assert not hasattr(reader, "__dict__")
    assert sys.getsizeof(reader) < 100
