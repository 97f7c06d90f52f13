"""A socket taken over from aiohttp, which has read the request on it: answer the upgrade, and it is ours.

Leans on what aiohttp's `RequestHandler` does when its connection is lost, and on nothing else of it; `can_hand_over`
says whether this version still is as expected, and a test holds it to that. Where it is not, the ordinary road serves.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable

from aiohttp import HttpVersion11, web
from aiohttp.web_protocol import RequestHandler

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""
_KEY_BYTES = 16
_ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)


def can_hand_over(request: web.Request) -> bool:
    """Tell whether a request opens a WebSocket (RFC 6455, 4.2.1) on a socket that can be taken over."""
    headers = request.headers
    return (
        request.method == "GET"
        and request.version >= HttpVersion11
        and not request.body_exists
        and headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in headers.get("Connection", "").lower()
        and headers.get("Sec-WebSocket-Version") == "13"
        and _is_key(headers.get("Sec-WebSocket-Key", ""))
        and _is_as_expected(request)
    )


class _Gone(web.Response):
    """What is answered on a socket that is not aiohttp's any more."""

    async def prepare(self, _request: web.BaseRequest) -> None:
        """Say that the client is gone, as aiohttp would find out after it has made up an answer."""
        raise ConnectionResetError


def hand_over(request: web.Request, make: Callable[[asyncio.Transport, bytes], asyncio.Protocol]) -> web.StreamResponse:
    """Answer the handshake and give the socket to a protocol.

    Args:
        request: For which `can_hand_over` holds.
        make: Makes the protocol of a transport, which writes these bytes before all else, now or soon.

    Returns:
        What the request's handler must return: aiohttp finds that the client is gone, and sends nothing.
    """
    handler, transport = request.protocol, request.transport
    assert transport is not None
    protocol = make(transport, _ACCEPTED % _accept(request.headers["Sec-WebSocket-Key"]))
    transport.set_protocol(protocol)
    # To aiohttp this is a client that has hung up; without a transport it cannot close the socket.
    handler.transport = None
    handler.connection_lost(None)
    protocol.connection_made(transport)
    return _Gone()


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _is_as_expected(request: web.Request) -> bool:
    handler: object = request.protocol
    transport = request.transport
    return (
        isinstance(handler, RequestHandler)
        and transport is not None  # of whatever class: each event loop has its own
        and callable(getattr(transport, "set_protocol", None))
        and transport.get_protocol() is handler
        and handler.transport is transport
        # aiohttp has read it as an upgrade, up to its end. Bytes that came with it belong to the WebSocket, and only
        # aiohttp has them.
        and getattr(handler, "_upgraded", None) is True
        and not getattr(handler, "_messages", True)
        and getattr(handler, "_message_tail", None) == b""
    )


def _accept(key: str) -> bytes:
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest())  # noqa: S324 - as the protocol demands
