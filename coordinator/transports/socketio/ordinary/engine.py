"""The parts of Engine.IO that are replaced on the ordinary road: its JSON, its queues, its WebSocket, its client.

Owns each part by itself; `ordinary` puts them in place.
"""

import asyncio
from typing import Any

import engineio.async_drivers.aiohttp as driver
import engineio.async_socket
import engineio.exceptions
import msgspec
from aiohttp import web

from coordinator.telemetry import get_logger

_ENGINE_PACKETS = frozenset("0123456")

_log = get_logger("ordinary")


class Json:
    """The JSON module that python-socketio asks for: msgspec's codec behind the standard library's names."""

    @staticmethod
    def dumps(data: Any, **_: Any) -> str:
        """Write `data`; options are of no use here."""
        return msgspec.json.encode(data).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        """Read JSON; raises ValueError for whatever is wrong with it."""
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(str(error)) from None


class CountingQueue(asyncio.Queue[Any]):
    """A queue of Engine.IO packets that knows how many bytes of text wait in it."""

    waiting_bytes = 0

    def _put(self, item: Any) -> None:
        self.waiting_bytes += _size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.waiting_bytes -= _size(item)
        return item


def _size(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return len(data) if isinstance(data, str | bytes) else 0


class PlainWebSocket(driver.WebSocket):  # type: ignore[misc]
    """Engine.IO's WebSocket on aiohttp, uncompressed, which leaves its transport where it can be aborted."""

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        """Serve a WebSocket until it ends."""
        request: web.Request = environ["aiohttp.request"]
        self._sock = web.WebSocketResponse(max_msg_size=self.server.max_http_buffer_size, compress=False)
        await self._sock.prepare(request)
        self.environ = environ
        engine_socket = self.handler.__self__
        engine_socket.coordinator_transport = request.transport
        engine_socket.coordinator_ended = ended = asyncio.Event()
        try:
            await self.handler(self)
        finally:
            ended.set()
        return self._sock

    async def wait(self) -> Any:
        """Return the next message; raises OSError at the end, which what is not Engine.IO is."""
        data = await super().wait()
        if isinstance(data, str) and data[:1] not in _ENGINE_PACKETS:
            _log.info("malformed_packet", error="not Engine.IO")
            raise OSError  # which is how a connection ends
        return data


class EngineSocket(engineio.async_socket.AsyncSocket):  # type: ignore[misc]
    """Engine.IO's client, which refuses a malformed request instead of logging it as a defect of its own."""

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """Take what a client that polls has sent."""
        try:
            await super().handle_post_request(environ)
        except (ValueError, LookupError) as error:
            _log.info("malformed_packet", error=str(error)[:200])
            raise engineio.exceptions.UnknownPacketError from None

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        try:
            return await super()._upgrade_websocket(environ)
        finally:
            # Engine.IO forgets this where the client says nothing, after which polls would bring nothing for ever.
            self.upgrading = False
