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

    async def open(self, address: str) -> None:
        """Connect and shake hands as a WebSocket."""
        url = urlsplit(address)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, (url.hostname, url.port))
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
            f"Host: {url.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        )
        await self.send_bytes("\r\n".join((*request, "", "")).encode())
        head = await self._read_until(b"\r\n\r\n")
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

    async def read_text(self) -> str:
        """Read one text frame."""
        opcode, length = await self._read(2)
        assert opcode == TEXT, opcode
        if length == _SMALL:
            (length,) = struct.unpack("!H", await self._read(2))
        elif length == _LARGE:
            (length,) = struct.unpack("!Q", await self._read(8))
        return (await self._read(length)).decode()

    async def wait_closed(self) -> None:
        """Read until the server closes the connection, whatever it still says."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                while await asyncio.get_running_loop().sock_recv(self._socket, 65536):
                    pass
            except ConnectionError:
                pass

    def close(self) -> None:
        """Close the socket; harmless to repeat."""
        self._socket.close()

    async def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._receive()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    async def _read_until(self, end: bytes) -> bytes:
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
