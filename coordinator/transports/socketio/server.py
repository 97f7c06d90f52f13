"""python-socketio, with what this product needs changed about it. All use of its internals stands in this module.

- Every packet to a client goes through the client's one queue, put there without waiting: order is the order of calls.
- The queue counts its bytes, so that a client that does not read can be disconnected.
- Events reach the namespace with their raw arguments; names that python-socketio reserves do not get through.
- Events that are too large, binary or not JSON are refused by code; what is not Socket.IO ends that one connection.
- WebSocket compression is off: it costs four times the memory per connection.
- A server that drains refuses newcomers where every client's library tries again by itself: before there is a socket.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import engineio
import engineio.async_drivers.aiohttp as driver
import engineio.async_socket
import engineio.exceptions
import engineio.packet
import engineio.payload
import msgspec
import socketio
import socketio.packet
from aiohttp import web

from coordinator.domain.errors import CoordinatorError, InvalidRequestError, PayloadTooLargeError
from coordinator.protocol.codec import encode, error_to_wire, refusal
from coordinator.telemetry import get_logger

_HARD_LIMIT_FACTOR = 4
"""Messages up to this many times the limit are read, to refuse them by code; larger ones end the connection."""
_PING_INTERVAL_SECONDS = 10
_PING_TIMEOUT_SECONDS = 10
_LAST_POLL_SECONDS = 2.0
"""How long a client that polls may take to fetch what was sent before it is closed."""
_GOODBYE_SECONDS = 0.5
"""How long a WebSocket may take to end when the server stops; what does not read is dropped then."""
_TRANSPORTS = ("polling", "websocket")
_TRANSPORT_UNKNOWN = {
    "code": 0,  # of Engine.IO: "Transport unknown"
    "message": 'only the websocket transport is served here: connect with transports: ["websocket"]',
}
_RESERVED = frozenset({"connect", "disconnect", "connect_error"})
_ENGINE_PACKETS = frozenset("0123456")
_BINARY = (str(socketio.packet.BINARY_EVENT), str(socketio.packet.BINARY_ACK))
_EVENT_HEADER = re.compile(r"(?:2|5\d{1,10}-)(?:(?P<namespace>/[^,]*),)?(?P<id>\d{1,15})?(?!\d)")
"""What stands before the JSON of an event: type, attachments, namespace, id of the ack."""

# A long-polling client sends what has gathered in one request; beyond this number Engine.IO would drop all of it
# without a word. The size of the request bounds it anyway.
engineio.payload.Payload.max_decode_packets = 10_000

_log = get_logger("socketio")


class _Json:
    """The JSON module that python-socketio asks for: msgspec's codec behind the standard library's names."""

    @staticmethod
    def dumps(data: Any, **_: Any) -> str:
        return msgspec.json.encode(data).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(str(error)) from None


class _CountingQueue(asyncio.Queue[Any]):
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


class _PlainWebSocket(driver.WebSocket):  # type: ignore[misc]
    """Engine.IO's WebSocket on aiohttp, uncompressed, which leaves its transport where it can be aborted."""

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
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
        data = await super().wait()
        if isinstance(data, str) and data[:1] not in _ENGINE_PACKETS:
            _log.info("malformed_packet", error="not Engine.IO")
            raise OSError  # which is how a connection ends
        return data


class _EngineSocket(engineio.async_socket.AsyncSocket):  # type: ignore[misc]
    """Engine.IO's client, which refuses a malformed request instead of logging it as a defect of its own."""

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        try:
            await super().handle_post_request(environ)
        except (ValueError, LookupError) as error:
            _log.info("malformed_packet", error=str(error)[:200])
            raise engineio.exceptions.UnknownPacketError from None


class _Engine(engineio.AsyncServer):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        drivers: dict[str, Any] = self.__dict__["_async"]
        self.__dict__["_async"] = {**drivers, "websocket": _PlainWebSocket}
        self.refusal: CoordinatorError | None = None  # of whoever is not there yet

    async def handle_request(self, request: web.Request) -> Any:
        """Answer a request, unless it can be told right away that it cannot be served."""
        transport = request.query.get("transport", "polling")
        if self.refusal is not None and "sid" not in request.query:
            refused = self._refused("503 SERVICE UNAVAILABLE", error_to_wire(self.refusal))
        elif transport in _TRANSPORTS and transport not in self.transports:
            refused = self._refused("400 BAD REQUEST", _TRANSPORT_UNKNOWN)
        else:
            return await super().handle_request(request)
        return await self._make_response(refused, driver.translate_request(request))

    @staticmethod
    def _refused(status: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"status": status, "headers": [("Content-Type", "application/json")], "response": encode(body)}

    def create_queue(self, *args: Any, **kwargs: Any) -> asyncio.Queue[Any]:
        return _CountingQueue(*args, **kwargs)

    async def disconnect(self, sid: str) -> None:
        """Close a client without waiting for it to read what was sent: it may never do so."""
        if sid in self.sockets:
            await self.sockets[sid].close(wait=False)

    def _log_error_once(self, message: str, message_key: str) -> None:
        _log.info("bad_request", kind=message_key, error=message[:200])  # the mistake is the client's


class Outbox:
    """The way to one client, whatever its transport."""

    __slots__ = ("_socket",)

    def __init__(self, engine_socket: Any) -> None:
        self._socket = engine_socket

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be written to the client."""
        queue: _CountingQueue = self._socket.queue
        return queue.waiting_bytes

    def put(self, packet: engineio.packet.Packet) -> None:
        """Send a packet after everything sent before; silently nothing when the client is gone."""
        if not self._socket.closed:
            self._socket.queue.put_nowait(packet)

    async def abort(self) -> None:
        """Drop the client's connection without waiting for it to read anything."""
        transport = getattr(self._socket, "coordinator_transport", None)
        if transport is not None:
            transport.abort()
        await self._socket.close(wait=False, abort=True)  # all there is to do for a client that polls

    async def close(self, reason: str | None = None, *, in_silence: bool = False) -> None:
        """Close the connection once everything sent so far has gone out.

        A client that is told goodbye takes it for final where its library does (python-socketio never reconnects then).
        With `in_silence` its WebSocket just ends, after which every library comes back.
        """
        if not self._socket.upgraded and not self._socket.closed:
            # A client that polls gets nothing more once it is closed, and reads what comes with the close too late.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_POLL_SECONDS):
                    await self._socket.queue.join()
        # Without the word, a poll would end in an answer that no client understands.
        await self._socket.close(wait=False, abort=in_silence and self._socket.upgraded, reason=reason)

    async def end(self) -> None:
        """Close in silence, and drop a WebSocket that has not ended soon after."""
        await self.close(in_silence=True)
        ended: asyncio.Event | None = getattr(self._socket, "coordinator_ended", None)
        if ended is None:
            return
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await ended.wait()
        except TimeoutError:
            await self.abort()


def frame(text: str) -> engineio.packet.Packet:
    """Make a packet of a Socket.IO frame. It may be sent to many: it is encoded once."""
    return engineio.packet.Packet(engineio.packet.MESSAGE, data=text)


class Answer(NamedTuple):
    """The ack of an event, and what is to happen right after it was sent: nothing comes in between; must not raise."""

    reply: dict[str, Any]
    then: Callable[[], None] | None = None


class EventHandler(Protocol):
    """A namespace as this server sees it."""

    async def handle(self, sid: str, name: str, arguments: list[Any]) -> Answer:
        """Answer an event of a connected client; never raises but for cancellation."""

    def send(self, sid: str, packet: engineio.packet.Packet) -> None:
        """Send a client a frame, in order with all others and within its limit; nothing if it is gone."""


def _wrong_with(event: Any) -> str | None:
    if not isinstance(event, list) or not event or not isinstance(event[0], str):
        return "an event is an array that begins with its name"
    return f"the event name {event[0]!r} is reserved" if event[0] in _RESERVED else None


class EventServer(socketio.AsyncServer):  # type: ignore[misc]
    """The Socket.IO server.

    Args:
        cors_origins: Origins that may connect; empty for the server's own only.
        message_bytes: The largest message that is handled.
        on_engine_connect: Called with the Engine.IO id of every new client, before it says who it is.
        websocket_only: Whether to refuse clients that poll: where requests of one client may reach different processes.
    """

    def __init__(
        self,
        cors_origins: tuple[str, ...],
        message_bytes: int,
        on_engine_connect: Callable[[str], None],
        *,
        websocket_only: bool = False,
    ) -> None:
        super().__init__(
            transports=list(_TRANSPORTS[1:] if websocket_only else _TRANSPORTS),
            async_mode="aiohttp",
            json=_Json,
            cors_allowed_origins="*" if "*" in cors_origins else (list(cors_origins) or None),
            max_http_buffer_size=_HARD_LIMIT_FACTOR * message_bytes,
            ping_interval=_PING_INTERVAL_SECONDS,
            ping_timeout=_PING_TIMEOUT_SECONDS,
            http_compression=False,
            logger=False,
            engineio_logger=False,
        )
        self.namespaces: list[str] = []  # those with a handler suffice; without this, anyone would get into "/"
        self._message_bytes = message_bytes
        self._on_engine_connect = on_engine_connect
        self._handlers: dict[str, EventHandler] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused_events: frozenset[str] = frozenset()

    def _engineio_server_class(self) -> type[_Engine]:
        return _Engine

    def serve_namespace(self, namespace: socketio.AsyncNamespace, handler: EventHandler) -> None:
        """Let `namespace` decide who connects, and `handler` answer what they send."""
        self.register_namespace(namespace)
        self._handlers[namespace.namespace] = handler

    def outbox(self, sid: str, namespace: str) -> Outbox:
        """Return the way to a client."""
        engine_id = self.manager.eio_sid_from_sid(sid, namespace)
        return Outbox(self.eio.sockets[engine_id])

    def engine_id(self, sid: str, namespace: str) -> str:
        """Return the Engine.IO id of a client."""
        return str(self.manager.eio_sid_from_sid(sid, namespace))

    def is_open(self, engine_id: str) -> bool:
        """Tell whether a client is there, in a namespace or not, and not about to go."""
        engine_socket = self.eio.sockets.get(engine_id)
        return engine_socket is not None and not engine_socket.closing

    async def close_engine(self, engine_id: str) -> None:
        """Close a client that belongs to no namespace."""
        engine_socket = self.eio.sockets.get(engine_id)
        if engine_socket is not None:
            await Outbox(engine_socket).close()

    def refuse(self, events: frozenset[str], error: CoordinatorError) -> None:
        """From now on, refuse clients that are not there yet, and these events of those that are."""
        self.eio.refusal = error
        self._refused_events = events

    async def close_all(self, apart_seconds: float, within_seconds: float) -> None:
        """Close every client in the way that makes it come back (to another node, or to this one restarted).

        Args:
            apart_seconds: How long after one the next is closed.
            within_seconds: The last one is closed at this time, if there are so many that it would be later.
        """
        outboxes = [Outbox(engine_socket) for engine_socket in self.eio.sockets.values()]
        apart = min(apart_seconds, within_seconds / max(1, len(outboxes)))
        await asyncio.gather(*(self._end(outbox, number * apart) for number, outbox in enumerate(outboxes)))
        if self.eio.service_task_handle is not None:
            await self.shutdown()

    async def answered(self) -> None:
        """Wait until everything that clients have asked is answered, whether or not they are there still."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    @staticmethod
    async def _end(outbox: Outbox, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        await outbox.end()

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        self.eio.sockets[eio_sid].__class__ = _EngineSocket
        await super()._handle_eio_connect(eio_sid, environ)
        self._on_engine_connect(eio_sid)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        engine_socket = self.eio.sockets.get(eio_sid)
        await super()._handle_eio_disconnect(eio_sid, reason)
        if engine_socket is not None:
            # Engine.IO's close leaves a WebSocket to the client, and clients leave it open; a poll it leaves waiting.
            # After the CLOSE packet, which it sends next and without waiting, this ends the writer, or the poll.
            asyncio.get_running_loop().call_soon(engine_socket.queue.put_nowait, None)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        if isinstance(data, bytes):
            return  # an attachment; the event that announced it has been refused
        try:
            if isinstance(data, str):
                self._check_readable(data)
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:  # noqa: BLE001 - whatever a client sends must not end more than its own connection
            if not self._refused(eio_sid, data, error):
                _log.info("malformed_packet", error=str(error)[:200])
                await self.close_engine(eio_sid)

    def _check_readable(self, data: str) -> None:
        size = len(data) if data.isascii() else len(data.encode())
        if size > self._message_bytes:
            raise PayloadTooLargeError(f"a message may have {self._message_bytes} bytes, this one has {size}")
        if data.startswith(_BINARY):
            raise InvalidRequestError("nothing that can be sent here is binary")

    def _refused(self, eio_sid: str, data: Any, error: Exception) -> bool:
        """Refuse an event that cannot be read, if it is one and comes from someone who may send any."""
        header = _EVENT_HEADER.match(data) if isinstance(data, str) else None
        if header is None:
            return False
        namespace = header["namespace"] or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if not self.manager.is_connected(sid, namespace):
            return False
        if not isinstance(error, CoordinatorError):
            error = InvalidRequestError("an event is JSON: an array of its name and one object")
        self._acknowledge(sid, namespace, int(header["id"]) if header["id"] else None, refusal(error))
        return True

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:  # noqa: A002
        namespace = namespace or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        handler = self._handlers.get(namespace)
        if handler is None or not self.manager.is_connected(sid, namespace):
            return
        wrong = _wrong_with(data)
        if wrong is not None:
            self._acknowledge(sid, namespace, id, refusal(InvalidRequestError(wrong)))
            return
        if data[0] in self._refused_events:
            self._acknowledge(sid, namespace, id, refusal(self.eio.refusal))
            return
        # A task for each event: they start in the order of arrival, and the connection keeps that order from there.
        self._spawn(self._answer(handler, sid, namespace, id, data))

    async def _answer(
        self, handler: EventHandler, sid: str, namespace: str, packet_id: int | None, data: list[Any]
    ) -> None:
        answer = await handler.handle(sid, data[0], data[1:])
        self._acknowledge(sid, namespace, packet_id, answer.reply)
        if answer.then is not None:
            answer.then()

    def _acknowledge(self, sid: str, namespace: str, packet_id: int | None, reply: dict[str, Any]) -> None:
        if packet_id is not None:
            packet = frame(f"{socketio.packet.ACK}{namespace},{packet_id}[{encode(reply).decode()}]")
            self._handlers[namespace].send(sid, packet)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
