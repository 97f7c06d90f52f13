"""The frames of a WebSocket's server side (RFC 6455): bytes in, messages out, and the reverse.

Owns every rule about frames: a reader of one connection, and writers. Knows neither sockets nor event loops nor what
the messages say, and does no I/O. Extensions are not spoken: nothing is compressed.

A connection that is idle between two frames costs its reader and nothing else: no buffer, no list. Whether a text is
UTF-8 is looked at once it is complete (RFC 6455, 8.1, asks for no more).
"""

from typing import Final, TypeAlias

import msgspec

from coordinator.transports.socketio.wire.masks import MASK_BYTES, unmask

SHORT_BYTES: Final = 125
"""What a frame with a two-byte header carries at most, and so every control frame (RFC 6455, 5.2 and 5.5)."""

PROTOCOL_ERROR: Final = 1002
INVALID_TEXT: Final = 1007
MESSAGE_TOO_BIG: Final = 1009

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})
_FIN, _RESERVED, _OPCODE, _CONTROL = 0x80, 0x70, 0x0F, 0x08
_MASKED, _LENGTH = 0x80, 0x7F
_LENGTH_16, _LENGTH_64 = 126, 127
_WHOLE_TEXT = _FIN | _TEXT
_HEADER_BYTES = 2
_SHORT_HEADER_BYTES = _HEADER_BYTES + MASK_BYTES
_MAX_16, _MAX_64 = 0xFFFF, 0x7FFF_FFFF_FFFF_FFFF
_CODE_BYTES = 2
_FINISHED = 0
"""Stands where the size of what is awaited stands: no size ends the wait."""

_REGISTERED_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""RFC 6455, 7.4.1, and the registry kept for it; those that only say what never was on the wire are missing."""
_FREE_CODES = range(3000, 5000)
"""RFC 6455, 7.4.2: for libraries and applications."""


class Ping(msgspec.Struct, frozen=True, gc=False):
    """To be answered by a pong that carries the same (RFC 6455, 5.5.2)."""

    payload: bytes


class Pong(msgspec.Struct, frozen=True, gc=False):
    """The answer to a ping, or not asked for; nothing needs to be done (RFC 6455, 5.5.3)."""

    payload: bytes


class Close(msgspec.Struct, frozen=True, gc=False):
    """The other side's last frame, to be answered by a close frame with its code (RFC 6455, 5.5.1)."""

    code: int | None
    reason: str


class Violation(msgspec.Struct, frozen=True, gc=False):
    """What the other side sent breaks a rule: the connection is to be failed with this code (RFC 6455, 7.1.7)."""

    code: int
    reason: str


Message: TypeAlias = str | bytes | Ping | Pong | Close | Violation
"""A text, a binary message, or one of the others. Nothing follows a `Close` or a `Violation`."""


class _BrokenRuleError(Exception):
    """Never leaves this module."""

    def __init__(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.violation = Violation(code, reason)


class FrameReader:
    """Reads what one client sends.

    Args:
        max_message_bytes: The largest message that is read; one of this size still is. At least `SHORT_BYTES`.

    Raises:
        ValueError: `max_message_bytes` is too small.
    """

    # _rest: the beginning of a frame that has not all arrived; None while there is none.
    # _awaited: how many bytes `_rest` must have before it is worth another look.
    # _message, _opcode: what came of a fragmented message so far, unmasked, and its kind; None between messages.
    __slots__ = ("_awaited", "_max_message_bytes", "_message", "_opcode", "_rest")

    def __init__(self, max_message_bytes: int) -> None:
        if max_message_bytes < SHORT_BYTES:
            raise ValueError(f"messages of {SHORT_BYTES} bytes must be allowed: short frames are read without a look")
        self._max_message_bytes = max_message_bytes
        self._rest: bytearray | None = None
        self._awaited = _HEADER_BYTES
        self._message: bytearray | None = None
        self._opcode = _CONTINUATION

    @property
    def is_finished(self) -> bool:
        """Whether a close frame or a violation has been read. What arrives after it is not looked at."""
        return self._awaited == _FINISHED

    def feed(self, data: bytes) -> list[Message]:
        """Read what has arrived.

        A violation is a value and comes last, since the messages before it count, whether or not they arrived together
        with it: what is returned for a stream never depends on how it was cut.

        Args:
            data: What came next on the connection; any number of frames, and parts of frames.

        Returns:
            What is complete by now, in order.
        """
        if self._rest is None:
            # Mostly one short text arrives, whole and alone: then its second byte tells the size of all.
            size = len(data) - _SHORT_HEADER_BYTES
            if (
                0 <= size <= SHORT_BYTES
                and data[0] == _WHOLE_TEXT
                and data[1] == _MASKED + size
                and self._message is None
            ):
                payload = bytearray(data[_SHORT_HEADER_BYTES:])
                unmask(data[_HEADER_BYTES:_SHORT_HEADER_BYTES], payload)
                try:
                    return [payload.decode()]
                except UnicodeDecodeError:
                    pass  # said below
        else:
            if self._awaited == _FINISHED:
                return []
            self._rest += data
            if len(self._rest) < self._awaited:
                return []
            data = bytes(self._rest)
            self._rest = None
        messages: list[Message] = []
        at, end = 0, len(data)
        try:
            while at < end:
                # The usual frame, a short whole text that has all arrived, without a call. All others below.
                if (
                    data[at] == _WHOLE_TEXT
                    and (start := at + _HEADER_BYTES + MASK_BYTES) <= end
                    and _MASKED <= (second := data[at + 1]) < _MASKED + _LENGTH_16
                    and (after := start + second - _MASKED) <= end
                    and self._message is None
                ):
                    payload = bytearray(data[start:after])
                    unmask(data[start - MASK_BYTES : start], payload)
                    messages.append(payload.decode())
                    at = after
                    continue
                size, awaited = self._read_frame(data, at, messages)
                if self._awaited == _FINISHED:
                    return messages
                if not size:
                    self._rest, self._awaited = bytearray(data[at:]), awaited
                    return messages
                at += size
        except _BrokenRuleError as error:
            messages.append(error.violation)
            self._finish()
        except UnicodeDecodeError as error:
            messages.append(Violation(INVALID_TEXT, f"not UTF-8: {error.reason}"))
            self._finish()
        return messages

    def _read_frame(self, data: bytes, at: int, messages: list[Message]) -> tuple[int, int]:
        """Read one frame of any kind.

        Returns:
            The size of the frame, or 0 if it is not complete; and the size it must have before the next look.

        Raises:
            _BrokenRuleError: It breaks a rule. All that the header breaks is noticed before the payload has arrived.
            UnicodeDecodeError: A text is not UTF-8.
        """
        arrived = len(data) - at
        if arrived < _HEADER_BYTES:
            return 0, _HEADER_BYTES
        first, second = data[at], data[at + 1]
        self._check_header(first, second)
        length = second & _LENGTH
        header = _HEADER_BYTES
        if length >= _LENGTH_16:
            header += 2 if length == _LENGTH_16 else 8
            if arrived < header:
                return 0, header
            length = _long_length(length, data[at + _HEADER_BYTES : at + header])
        so_far = 0 if self._message is None else len(self._message)
        if not first & _CONTROL and so_far + length > self._max_message_bytes:
            raise _BrokenRuleError(f"a message may have {self._max_message_bytes} bytes", MESSAGE_TOO_BIG)
        start = header + MASK_BYTES
        size = start + length
        if arrived < size:
            return 0, size
        payload = bytearray(data[at + start : at + size])
        unmask(data[at + header : at + start], payload)
        self._take(first, payload, messages)
        return size, _HEADER_BYTES

    def _check_header(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        if first & _RESERVED:
            raise _BrokenRuleError("a reserved bit is set")  # RFC 6455, 5.2; no extension was agreed upon
        if opcode not in _OPCODES:
            raise _BrokenRuleError(f"the opcode {opcode} is reserved")  # 5.2
        if not second & _MASKED:
            raise _BrokenRuleError("a client masks its frames")  # 5.1
        if opcode & _CONTROL:
            if not first & _FIN:
                raise _BrokenRuleError("a control frame is fragmented")  # 5.5
            if second & _LENGTH > SHORT_BYTES:
                raise _BrokenRuleError(f"a control frame carries at most {SHORT_BYTES} bytes")  # 5.5
        elif opcode == _CONTINUATION:
            if self._message is None:
                raise _BrokenRuleError("there is nothing to continue")  # 5.4
        elif self._message is not None:
            raise _BrokenRuleError("a message begins inside another one")  # 5.4

    def _take(self, first: int, payload: bytearray, messages: list[Message]) -> None:
        """Take a frame that is complete and unmasked."""
        opcode = first & _OPCODE
        if opcode & _CONTROL:
            messages.append(self._control(opcode, payload))
            return
        if opcode == _CONTINUATION:
            assert self._message is not None
            self._message += payload
            payload, opcode = self._message, self._opcode
        if not first & _FIN:
            self._message, self._opcode = payload, opcode
            return
        self._message = None
        messages.append(payload.decode() if opcode == _TEXT else bytes(payload))

    def _control(self, opcode: int, payload: bytearray) -> Message:
        if opcode == _PING:
            return Ping(bytes(payload))
        if opcode == _PONG:
            return Pong(bytes(payload))
        close = _read_close(payload)
        self._finish()
        return close

    def _finish(self) -> None:
        self._rest = bytearray()
        self._awaited = _FINISHED
        self._message = None


def _long_length(kind: int, field: bytes) -> int:
    """Read a length that does not fit into the second byte (RFC 6455, 5.2)."""
    length = int.from_bytes(field)
    if length > _MAX_64:
        raise _BrokenRuleError("the most significant bit of a length is set")
    if length <= (SHORT_BYTES if kind == _LENGTH_16 else _MAX_16):
        raise _BrokenRuleError("a length has more bytes than it needs")
    return length


def _read_close(payload: bytearray) -> Close:
    """Read the body of a close frame (RFC 6455, 5.5.1 and 7.4)."""
    if not payload:
        return Close(None, "")
    if len(payload) < _CODE_BYTES:
        raise _BrokenRuleError("half a close code")
    code = int.from_bytes(payload[:_CODE_BYTES])
    if not _may_be_sent(code):
        raise _BrokenRuleError(f"the close code {code} is never sent")
    return Close(code, payload[_CODE_BYTES:].decode())


def _may_be_sent(code: int) -> bool:
    return code in _REGISTERED_CODES or code in _FREE_CODES


_SHORT_TEXT = tuple(bytes((_WHOLE_TEXT, size)) for size in range(SHORT_BYTES + 1))
_MEDIUM_TEXT = bytes((_WHOLE_TEXT, _LENGTH_16))
_SHORT_PONG = tuple(bytes((_FIN | _PONG, size)) for size in range(SHORT_BYTES + 1))


def text_frame(payload: bytes) -> bytes:
    """Write a text message as one frame, not masked, as a server does (RFC 6455, 5.1).

    Args:
        payload: UTF-8; that is not checked.
    """
    size = len(payload)
    if size <= SHORT_BYTES:
        return _SHORT_TEXT[size] + payload
    if size <= _MAX_16:
        return _MEDIUM_TEXT + size.to_bytes(2) + payload
    return b"%c%c%b%b" % (_WHOLE_TEXT, _LENGTH_64, size.to_bytes(8), payload)


def pong_frame(payload: bytes) -> bytes:
    """Write the answer to a ping.

    Args:
        payload: What the ping carried, at most `SHORT_BYTES` (RFC 6455, 5.5.3).

    Raises:
        ValueError: `payload` is too large.
    """
    if len(payload) > SHORT_BYTES:
        raise ValueError(f"a control frame carries at most {SHORT_BYTES} bytes")
    return _SHORT_PONG[len(payload)] + payload


def close_frame(code: int | None = None, reason: str = "") -> bytes:
    """Write the last frame of a connection (RFC 6455, 5.5.1).

    Args:
        code: Why it ends; None only in answer to a close without a code.
        reason: For people; at most 123 bytes of UTF-8.

    Raises:
        ValueError: The code may not be sent, there is a reason without a code, or the reason is too long.
    """
    if code is None:
        if reason:
            raise ValueError("a reason needs a code")
        return bytes((_FIN | _CLOSE, 0))
    if not _may_be_sent(code):
        raise ValueError(f"the close code {code} is never sent")
    payload = code.to_bytes(_CODE_BYTES) + reason.encode()
    if len(payload) > SHORT_BYTES:
        raise ValueError(f"a reason has at most {SHORT_BYTES - _CODE_BYTES} bytes")
    return bytes((_FIN | _CLOSE, len(payload))) + payload
