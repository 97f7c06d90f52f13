"""A WebSocket on a bare socket: it reads only when told to, and can write what no library would.

Owns RFC 6455 as far as the tests need it: text frames that are not fragmented.
"""

import asyncio
import base64
import json
import os
import socket
import struct
from urllib.parse import urlsplit

from tests.transports.clients import NAMESPACE, PATIENCE_SECONDS

TEXT = 0x81
CLOSE = 0x88
_MASKED = 0x80
_SMALL, _LARGE = 126, 127


class BareSocket:
    """A client whose kernel takes in very little for it."""

    def __init__(self, receive_buffer: int = 4096) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.setblocking(False)
        self._buffer = b""

    async def dial(self, address: str) -> None:
        """Connect, and say nothing."""
        url = urlsplit(address)
        await asyncio.get_running_loop().sock_connect(self._socket, (url.hostname, url.port))

    async def open(self, address: str, query: str = "") -> None:
        """Connect and shake hands as a WebSocket."""
        url = urlsplit(address)
        await self.dial(address)
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET /socket.io/?EIO=4&transport=websocket{query} HTTP/1.1",
            f"Host: {url.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        )
        await self.send_bytes("\r\n".join((*request, "", "")).encode())
        head = await self.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self.response_head = head.decode().lower()

    async def connect(self, address: str, token: str, namespace: str = NAMESPACE) -> None:
        """Open, and enter a namespace."""
        await self.open(address)
        assert (await self.read_text()).startswith("0{")
        await self.send_text(f"40{namespace},{json.dumps({'token': token})}")
        assert (await self.read_text()).startswith(f"40{namespace},{{")

    async def send_bytes(self, data: bytes) -> None:
        """Write bytes as they are."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def send_text(self, text: str) -> None:
        """Write a text frame."""
        await self.send_bytes(frame(TEXT, text.encode()))

    async def send_close(self, code: int | None = None) -> None:
        """Write a close frame."""
        await self.send_bytes(frame(CLOSE, b"" if code is None else struct.pack("!H", code)))

    async def read_text(self) -> str:
        """Read one text frame."""
        opcode, payload = await self.read_frame()
        assert opcode == TEXT, opcode
        return payload.decode()

    async def read_close(self) -> int | None:
        """Read a close frame; return its code."""
        opcode, payload = await self.read_frame()
        assert opcode == CLOSE, (opcode, payload)
        return struct.unpack("!H", payload[:2])[0] if payload else None

    async def read_frame(self) -> tuple[int, bytes]:
        """Read one frame; return its first byte and its payload."""
        opcode, length = await self._read(2)
        if length == _SMALL:
            (length,) = struct.unpack("!H", await self._read(2))
        elif length == _LARGE:
            (length,) = struct.unpack("!Q", await self._read(8))
        return opcode, await self._read(length)

    async def read_rest(self) -> bytes:
        """Return whatever still comes until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while received := await asyncio.get_running_loop().sock_recv(self._socket, 65536):
                self._buffer += received
        rest, self._buffer = self._buffer, b""
        return rest

    async def wait_closed(self) -> None:
        """Read until the server closes the connection, whatever it still says."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                while await asyncio.get_running_loop().sock_recv(self._socket, 65536):
                    pass
            except ConnectionError:
                pass

    def hang_up(self) -> None:
        """Say that nothing more will come, and go on to read."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off: the other side gets an error."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close the socket; harmless to repeat."""
        self._socket.close()

    async def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._receive()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    async def read_until(self, end: bytes) -> bytes:
        """Read up to these bytes, which are left out."""
        while end not in self._buffer:
            await self._receive()
        data, _, self._buffer = self._buffer.partition(end)
        return data

    async def _receive(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            received = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        assert received, "the server has closed the connection"
        self._buffer += received


def frame(first_byte: int, payload: bytes, *, masked: bool = True) -> bytes:
    """Make a WebSocket frame."""
    mask = _MASKED if masked else 0
    if len(payload) < _SMALL:
        head = struct.pack("!BB", first_byte, mask | len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first_byte, mask | _SMALL, len(payload))
    else:
        head = struct.pack("!BBQ", first_byte, mask | _LARGE, len(payload))
    # A mask of zeros is one too, and leaves the payload as it is.
    return head + (bytes(4) if masked else b"") + payload
