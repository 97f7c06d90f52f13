"""WebSocket frames of a client made byte by byte, wrong ones too, and reading them in every way they can be cut."""

from itertools import pairwise

from coordinator.transports.socketio.wire.frames import FrameReader, Message
from coordinator.transports.socketio.wire.masks import xor

FIN = 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x37\xfa\x21\x3d"
LIMIT = 262_144


def client_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bytes = MASK
) -> bytes:
    """Make a masked frame; its payload need not be what the opcode promises."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65_536:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    masked = bytearray(payload)
    xor(mask, masked)
    return bytes(((FIN if fin else 0) | reserved << 4 | opcode,)) + length + mask + bytes(masked)


def text(payload: str | bytes, *, fin: bool = True) -> bytes:
    """Make a text frame."""
    return client_frame(TEXT, payload.encode() if isinstance(payload, str) else payload, fin=fin)


def more(payload: str | bytes, *, fin: bool = False) -> bytes:
    """Make a frame that continues a message."""
    return client_frame(CONTINUATION, payload.encode() if isinstance(payload, str) else payload, fin=fin)


def read_in(pieces: list[bytes], limit: int = LIMIT) -> list[Message]:
    """Read what arrives in these pieces."""
    reader = FrameReader(limit)
    return [message for piece in pieces for message in reader.feed(piece)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut `data` at these places."""
    inside = sorted({place for place in places if 0 < place < len(data)})
    return [data[start:end] for start, end in pairwise([0, *inside, len(data)])]


def read(data: bytes, limit: int = LIMIT) -> list[Message]:
    """Read `data` at once, and make sure that it reads the same however it arrives."""
    messages = read_in([data], limit)
    small = len(data) < 5000
    for step in (1, 2, 3, 7, 997) if small else (997, 65_536):
        pieces = [data[at : at + step] for at in range(0, len(data), step)]
        assert read_in(pieces, limit) == messages, f"in pieces of {step} bytes"
    return messages
