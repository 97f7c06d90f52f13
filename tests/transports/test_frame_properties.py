"""What holds for every stream of frames: how it is cut does not matter, and other libraries understand the same."""

from typing import Any

import pytest
from aiohttp import WSCloseCode, WSMsgType
from aiohttp._websocket.helpers import websocket_mask
from aiohttp._websocket.models import WebSocketError
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader
from aiohttp.streams import EofStream
from hypothesis import example, given
from hypothesis import strategies as st

from coordinator.transports.socketio.wire import frames, masks
from coordinator.transports.socketio.wire.frames import (
    Close,
    FrameReader,
    Message,
    Ping,
    Pong,
    Violation,
    close_frame,
    pong_frame,
    text_frame,
)
from coordinator.transports.socketio.wire.masks import xor
from tests.transports.raw_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LIMIT,
    MASK,
    PING,
    PONG,
    TEXT,
    client_frame,
    cut,
    more,
    read_in,
    text,
)

_SMALL_LIMIT = 300

_masks = st.binary(min_size=4, max_size=4)
_sizes = st.sampled_from([0, 1, 5, 124, 125, 126, 127, 200])
_texts = st.text(max_size=30) | _sizes.map(lambda size: "*" * size)
_valid_codes = st.sampled_from([1000, 1001, 1003, 1007, 1014, 3000, 4999])
_controls = st.builds(client_frame, st.sampled_from([PING, PONG]), st.binary(max_size=125), mask=_masks)


@st.composite
def _whole_messages(draw: st.DrawFn) -> bytes:
    """A valid message, in one frame or in many with control frames in between."""
    opcode = draw(st.sampled_from([TEXT, TEXT, BINARY]))
    payload = draw(_texts).encode() if opcode == TEXT else draw(st.binary(max_size=200))
    pieces = cut(payload, draw(st.lists(st.integers(0, 200), max_size=3))) or [b""]
    data = b""
    for number, piece in enumerate(pieces):
        if number and draw(st.booleans()):
            data += draw(_controls)
        fin = number == len(pieces) - 1
        data += client_frame(CONTINUATION if number else opcode, piece, fin=fin, mask=draw(_masks))
    return data


_closes = st.builds(
    lambda code, reason: client_frame(CLOSE, code.to_bytes(2) + reason.encode()), _valid_codes, st.text(max_size=30)
)
_streams = st.builds(
    lambda messages, end: b"".join(messages) + end,
    st.lists(_whole_messages() | _controls, max_size=6),
    st.just(b"") | st.just(client_frame(CLOSE)) | _closes,
)
_any_frames = st.builds(
    client_frame,
    st.sampled_from([TEXT, TEXT, CONTINUATION, CONTINUATION, BINARY, CLOSE, PING, PONG, 3, 7, 11, 15]),
    st.binary(max_size=6)
    | _texts.map(str.encode)
    | st.sampled_from([999, 1000, 1004, 4999]).map(lambda c: c.to_bytes(2)),
    fin=st.sampled_from([True, True, False]),
    reserved=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 4]),
    mask=_masks,
)
_wrong_streams = st.lists(_any_frames | _whole_messages(), max_size=6).map(b"".join)
_places = st.lists(st.integers(0, 1000), max_size=10)


@given(_streams, _places)
def test_it_does_not_matter_how_a_stream_is_cut(data: bytes, places: list[int]) -> None:
    messages = read_in([data])
    assert not any(isinstance(message, Violation) for message in messages)
    assert read_in(cut(data, places)) == messages


@given(_wrong_streams, _places)
def test_it_does_not_matter_for_a_wrong_one_either(data: bytes, places: list[int]) -> None:
    assert read_in(cut(data, places), _SMALL_LIMIT) == read_in([data], _SMALL_LIMIT)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_nothing_raises(pieces: list[bytes]) -> None:
    messages = read_in(pieces)
    assert not any(isinstance(message, Close | Violation) for message in messages[:-1])


# Against aiohttp


class _Connection:
    """All that aiohttp's queue asks of a connection while there is room in it."""

    _reading_paused = False


def _read_by_aiohttp(data: bytes, limit: int) -> list[Message]:
    connection: Any = _Connection()
    no_loop: Any = None  # for those who wait
    queue = WebSocketDataQueue(connection, 2**20, loop=no_loop)
    # Theirs refuses messages of the limit itself.
    reader = WebSocketReader(queue, limit + 1, compress=False, decode_text=True)
    reader.feed_data(data)
    if queue.exception() is None:
        queue.feed_eof()
    messages: list[Message] = []
    while not messages or not isinstance(messages[-1], Close):  # theirs reads on
        try:
            queue.read().send(None)
        except StopIteration as read:
            messages.append(_translated(read.value))
        except EofStream:
            break
        except WebSocketError as error:
            return [*messages, Violation(int(error.code), "")]
    return messages


def _translated(message: Any) -> Message:
    match message.type:
        case WSMsgType.TEXT:
            assert isinstance(message.data, str)
            return message.data
        case WSMsgType.BINARY:
            return bytes(message.data)
        case WSMsgType.PING:
            return Ping(bytes(message.data))
        case WSMsgType.PONG:
            return Pong(bytes(message.data))
        case _:
            return Close(message.data or None, message.extra)


def _without_reasons(messages: list[Message]) -> list[Message]:
    return [Violation(message.code, "") if isinstance(message, Violation) else message for message in messages]


@given(_streams)
def test_aiohttp_reads_what_is_right_in_the_same_way(data: bytes) -> None:
    assert _read_by_aiohttp(data, LIMIT) == read_in([data])


_LAXER = {
    "a data frame inside a message that is empty so far": text("", fin=False) + text("x"),
    "a close code of the kind that is never sent": client_frame(CLOSE, (1006).to_bytes(2)),
    "a close code beyond all": client_frame(CLOSE, (5000).to_bytes(2)),
    "a frame that is not masked": bytes((0x81, 1)) + b"x",
    "a length of 16 bits that needs 7": bytes((0x81, 0xFE)) + (1).to_bytes(2) + MASK + b"x",
    "a length of 64 bits that needs 16": bytes((0x81, 0xFF)) + (200).to_bytes(8) + MASK + MASK * 50,
}
"""What aiohttp takes, the RFC forbids, and is refused here."""

_LATER_OR_OTHERWISE = {
    "a frame out of order, before its payload": more("abc", fin=True)[:6],
    "a message inside another one, before its payload": text("a", fin=False) + text("abc")[:6],
    "a length with the highest bit set": bytes((0x81, 0xFF)) + (2**63).to_bytes(8),
    "a frame out of order that is too large as well": bytes((0x80, 0xFE)) + (301).to_bytes(2),
}
"""What aiohttp refuses later, or with another code."""


@pytest.mark.parametrize("data", _LAXER.values(), ids=_LAXER)
def test_aiohttp_is_laxer(data: bytes) -> None:
    assert not any(isinstance(message, Violation) for message in _read_by_aiohttp(data, _SMALL_LIMIT))
    assert _without_reasons(read_in([data], _SMALL_LIMIT))[-1] == Violation(1002, "")


@pytest.mark.parametrize("data", _LATER_OR_OTHERWISE.values(), ids=_LATER_OR_OTHERWISE)
def test_aiohttp_refuses_later_or_otherwise(data: bytes) -> None:
    assert _read_by_aiohttp(data, _SMALL_LIMIT) in ([], [Violation(1009, "")])
    assert _without_reasons(read_in([data], _SMALL_LIMIT)) == [Violation(1002, "")]


@given(_wrong_streams)
@example(text("*" * 200, fin=False) + more("*" * 101, fin=True))
@example(text(b"\xc3", fin=False) + more(b"\xc3", fin=True))
def test_aiohttp_refuses_the_same(data: bytes) -> None:
    ours, theirs = _without_reasons(read_in([data], _SMALL_LIMIT)), _read_by_aiohttp(data, _SMALL_LIMIT)
    if ours != theirs:
        # Up to where ours has refused, both have read the same; and there stands one of the differences above.
        *before, refused = ours
        assert theirs[: len(before)] == before
        assert refused == Violation(1002, "")
        assert _is_listed(data)


def _is_listed(data: bytes) -> bool:
    """Tell whether the first frame that breaks a rule breaks one of those that aiohttp does not see in the same way."""
    so_far: int | None = None  # bytes of the message that has begun
    while data:
        opcode, fin = data[0] & 0x0F, data[0] & 0x80
        long = data[1] & 0x7F == 126
        length = int.from_bytes(data[2:4]) if long else data[1] & 0x7F
        start = 8 if long else 6
        if opcode == CLOSE:
            code = bytearray(data[start : start + 2])
            xor(data[start - 4 : start], code)
            return code == b"\x03\xee" or code >= b"\x13\x88"
        if opcode < CLOSE:
            if (so_far is None) is (opcode == CONTINUATION):  # out of order
                return so_far == 0 or (so_far or 0) + length > _SMALL_LIMIT
            so_far = None if fin else (so_far or 0) + length
        data = data[start + length :]
    return False


# What we write


def _read_as_a_client(data: bytes) -> list[Message]:
    """Read what the server has sent; aiohttp's reader is the same on both sides."""
    return _read_by_aiohttp(data, LIMIT)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_a_client_reads_our_texts(size: int) -> None:
    written = text_frame(b"*" * size)
    assert written[1] & 0x80 == 0
    assert _read_as_a_client(written + text_frame("é".encode())) == ["*" * size, "é"]
    masked = text("*" * size)
    header = len(masked) - size - 4
    assert written == bytes((masked[0], masked[1] & 0x7F)) + masked[2:header] + b"*" * size


@given(st.binary(max_size=125))
def test_a_client_reads_our_pongs(payload: bytes) -> None:
    assert _read_as_a_client(pong_frame(payload)) == [Pong(payload)]


@given(_valid_codes, st.text(max_size=30))
def test_a_client_reads_our_closes(code: int, reason: str) -> None:
    assert _read_as_a_client(close_frame(code, reason)) == [Close(code, reason)]


def test_a_client_reads_a_close_without_a_code() -> None:
    assert _read_as_a_client(close_frame()) == [Close(None, "")]


def test_what_may_not_be_written() -> None:
    for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70_000):
        with pytest.raises(ValueError, match="never sent"):
            close_frame(code)
    with pytest.raises(ValueError, match="at most 123 bytes"):
        close_frame(1000, "é" * 62)
    with pytest.raises(ValueError, match="needs a code"):
        close_frame(None, "why")
    with pytest.raises(ValueError, match="at most 125 bytes"):
        pong_frame(bytes(126))
    assert len(close_frame(1000, "é" * 61)) == 126


def test_every_code_that_aiohttp_knows_can_be_written_unless_it_is_never_sent() -> None:
    for code in WSCloseCode:
        if code != WSCloseCode.ABNORMAL_CLOSURE:
            assert _read_as_a_client(close_frame(int(code))) == [Close(int(code), "")]


# Masks


@given(_masks, st.binary(max_size=300))
def test_our_own_mask_is_the_compiled_one(mask: bytes, payload: bytes) -> None:
    ours, theirs, by_hand = bytearray(payload), bytearray(payload), bytearray(payload)
    xor(mask, ours)
    websocket_mask(mask, theirs)
    for at in range(len(by_hand)):
        by_hand[at] ^= mask[at % 4]
    assert ours == theirs == by_hand


def test_the_compiled_mask_is_used_where_there_is_one() -> None:
    assert masks.unmask is websocket_mask


def test_without_it_everything_is_read_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "unmask", xor)
    reader = FrameReader(LIMIT)
    assert reader.feed(text("é") + text("*" * 70_000) + client_frame(PING, b"x")) == ["é", "*" * 70_000, Ping(b"x")]
