"""Masks of WebSocket frames (RFC 6455, 5.3).

aiohttp's function for it is compiled and the fastest there is, but not public: where it is missing, ours does the same.
"""

from typing import Final

MASK_BYTES: Final = 4


def xor(mask: bytes, data: bytearray) -> None:
    """Mask or unmask in place."""
    size = len(data)
    repeated = (mask * (size // MASK_BYTES + 1))[:size]
    data[:] = (int.from_bytes(data) ^ int.from_bytes(repeated)).to_bytes(size)


try:
    from aiohttp._websocket.helpers import websocket_mask

    unmask = websocket_mask  # 2 to 30 times as fast, by size
except ImportError:  # pragma: no cover - a version of aiohttp that keeps it elsewhere
    unmask = xor
