"""The ordinary road: python-socketio, for long polling, for upgrades from it, and for whatever is unusual.

What this product needs changed about it, and all use of its internals, stands in this module and in `engine`:

- Every packet to a client goes through the client's one queue, put there without waiting: order is the order of calls.
- The queue counts its bytes, so that a client that does not read can be disconnected.
- Events are taken at once, by `reception`, in the order of arrival; python-socketio sees only who comes and goes.
- What is not Socket.IO ends that one connection.
- WebSocket compression is off: it costs four times the memory per connection.
- A server that drains refuses newcomers where every client's library tries again by itself: before there is a socket.
- Whoever can come by the direct road is sent there.
"""

import asyncio
from contextlib import suppress
from typing import Any

import engineio
import engineio.async_drivers.aiohttp as driver
import engineio.async_socket
import engineio.exceptions
import engineio.packet
import engineio.payload
import socketio
import socketio.exceptions
from aiohttp import web

from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import DisconnectReason
from coordinator.protocol.codec import encode, error_to_wire
from coordinator.telemetry import get_logger
from coordinator.transports.socketio.client import Client, Frames
from coordinator.transports.socketio.direct.moving import Luggage, can_move, move
from coordinator.transports.socketio.direct.road import DirectRoad
from coordinator.transports.socketio.namespace import Namespace
from coordinator.transports.socketio.ordinary.engine import CountingQueue, EngineSocket, Json, PlainWebSocket
from coordinator.transports.socketio.reception import EngineLimits, Reception
from coordinator.transports.socketio.wire import packets

_LAST_POLL_SECONDS = 2.0
"""How long a client that polls may take to fetch what was sent before it is closed."""
_GOODBYE_SECONDS = 0.5
"""How long a WebSocket may take to end when the server stops; what does not read is dropped then."""
_TRANSPORTS = ("polling", "websocket")
_TRANSPORT_UNKNOWN = {
    "code": 0,  # of Engine.IO: "Transport unknown"
    "message": 'only the websocket transport is served here: connect with transports: ["websocket"]',
}
_ALREADY_MOVING = {"code": 3, "message": "another WebSocket is being tried"}  # 3, of Engine.IO: "Bad request"
_MESSAGE = "4"

# A long-polling client sends what has gathered in one request; beyond this number Engine.IO would drop all of it
# without a word. The size of the request bounds it anyway.
engineio.payload.Payload.max_decode_packets = 10_000

_log = get_logger("ordinary")


class _Engine(engineio.AsyncServer):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        drivers: dict[str, Any] = self.__dict__["_async"]
        self.__dict__["_async"] = {**drivers, "websocket": PlainWebSocket}
        self.refusal: CoordinatorError | None = None  # of whoever is not there yet
        self.direct: DirectRoad | None = None

    async def handle_request(self, request: web.Request) -> Any:
        """Answer a request, unless it can be told right away that it cannot be served."""
        transport = request.query.get("transport", "polling")
        if self.refusal is not None and "sid" not in request.query:
            refused = self._refused("503 SERVICE UNAVAILABLE", error_to_wire(self.refusal))
        elif transport in _TRANSPORTS and transport not in self.transports:
            refused = self._refused("400 BAD REQUEST", _TRANSPORT_UNKNOWN)
        elif self.direct is not None and self.direct.leads_to(request) and self._is_welcome(request):
            return self.direct.take(request)
        elif self.direct is not None and transport == "websocket" and self._is_welcome(request):
            engine_socket = self.sockets.get(request.query.get("sid"))
            mover: OrdinaryClient | None = getattr(engine_socket, "coordinator_client", None)
            if mover is not None and mover.is_moving:
                refused = self._refused("400 BAD REQUEST", _ALREADY_MOVING)
            elif mover is None or not can_move(request, mover):
                return await super().handle_request(request)
            else:
                return move(request, mover, self.direct)
        else:
            return await super().handle_request(request)
        return await self._make_response(refused, driver.translate_request(request))

    def _is_welcome(self, request: web.Request) -> bool:
        """Tell whether the page that a request comes from may connect; if not, the ordinary road says so."""
        origin = request.headers.get("Origin")
        if not origin:
            return True
        allowed = self._cors_allowed_origins(driver.translate_request(request))
        return allowed is None or origin in allowed

    @staticmethod
    def _refused(status: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"status": status, "headers": [("Content-Type", "application/json")], "response": encode(body)}

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None) -> Any:
        words = environ.get("HTTP_CONNECTION", "").lower().split(",")
        if transport == "websocket" and "upgrade" not in map(str.strip, words):
            return self._bad_request("Invalid websocket upgrade")  # which Engine.IO would answer as if it were a poll
        return await super()._handle_connect(environ, transport, jsonp_index)

    def create_queue(self, *args: Any, **kwargs: Any) -> asyncio.Queue[Any]:
        return CountingQueue(*args, **kwargs)

    async def disconnect(self, sid: str) -> None:
        """Close a client without waiting for it to read what was sent: it may never do so."""
        if sid in self.sockets:
            await self.sockets[sid].close(wait=False)

    def _log_error_once(self, message: str, message_key: str) -> None:
        _log.info("bad_request", kind=message_key, error=message[:200])  # the mistake is the client's


class OrdinaryClient(Client):
    """A client of this road.

    Args:
        road: The road.
        engine_socket: What Engine.IO knows of it.
        send_buffer_bytes: How much may wait for it.
    """

    # _is_ending: whether it is about to be closed, though it may still fetch what was sent.
    __slots__ = ("_is_ending", "_road", "_send_buffer_bytes", "_socket")

    def __init__(self, road: "OrdinaryRoad", engine_socket: Any, send_buffer_bytes: int) -> None:
        super().__init__(engine_socket.sid)
        self._road = road
        self._socket = engine_socket
        self._send_buffer_bytes = send_buffer_bytes
        self._is_ending = False

    @property
    def is_open(self) -> bool:
        """Whether it is there, and not about to go."""
        return not (self._socket.closing or self._socket.closed)

    def send(self, text: bytes) -> None:
        """Send an Engine.IO message after everything sent before."""
        self._put([packet_of(text)])

    def send_all(self, frames: Frames) -> None:
        """Send messages that go to others as well; who is on this road shares the packets."""
        if frames.packets is None:
            frames.packets = [packet_of(text) for text in frames.texts]
        self._put(frames.packets)

    def _put(self, packets_: list[engineio.packet.Packet]) -> None:
        if self._socket.closed:
            return
        queue: CountingQueue = self._socket.queue
        for packet in packets_:
            queue.put_nowait(packet)
        if queue.waiting_bytes > self._send_buffer_bytes:
            self.overflow()

    async def abort(self) -> None:
        """Drop the client's connection without waiting for it to read anything."""
        self._is_ending = True
        transport = getattr(self._socket, "coordinator_transport", None)
        if transport is not None:
            transport.abort()
        await self._socket.close(wait=False, abort=True)  # all there is to do for a client that polls

    async def close(self, reason: str | None = None, *, in_silence: bool = False) -> None:
        """Close the connection once everything sent so far has gone out."""
        self._is_ending = True
        if not self._socket.upgraded and not self._socket.closed:
            # A client that polls gets nothing more once it is closed, and reads what comes with the close too late.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_POLL_SECONDS):
                    await self._socket.queue.join()
        if in_silence and not self._socket.upgraded:
            # Ends a poll that waits. The next one finds nobody here, after which every library comes back.
            self._socket.queue.put_nowait(engineio.packet.Packet(engineio.packet.NOOP))
        await self._socket.close(wait=False, abort=in_silence, reason=reason)

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

    @property
    def is_moving(self) -> bool:
        """Whether it tries a WebSocket, on whichever road."""
        return bool(self._socket.upgrading)

    # As a `Mover`.

    @property
    def can_move(self) -> bool:
        """Whether it polls, and is not about to go or to move."""
        socket = self._socket
        return self.is_open and not self._is_ending and socket.connected and not (socket.upgraded or socket.upgrading)

    def pause(self) -> None:
        """Send nothing to polls any more, the one that is waiting included."""
        self._socket.upgrading = True
        self._socket.queue.put_nowait(engineio.packet.Packet(engineio.packet.NOOP))

    def resume(self) -> None:
        """Go on with polling."""
        self._socket.upgrading = False

    def leave(self) -> Luggage | None:
        """Leave this road without a trace; None if it cannot go, because it is being closed."""
        if not self.is_open or self._is_ending or any(connection.is_closed for connection in self.connections):
            return None
        unsent = []
        queue = self._socket.queue
        while not queue.empty():
            packet = queue.get_nowait()
            queue.task_done()
            # The others are the end of a poll, and a ping: the direct road has pings of its own.
            if packet is not None and packet.packet_type == engineio.packet.MESSAGE:
                unsent.append(packet.encode().encode())
        queue.put_nowait(engineio.packet.Packet(engineio.packet.NOOP))  # ends a poll that the client has not waited for
        luggage = Luggage(self.client_id, self.connections, unsent, self.spent)
        self.connections = ()
        self._road.forget(self)
        return luggage


def packet_of(text: bytes) -> engineio.packet.Packet:
    """Make Engine.IO's packet of a message. It may be sent to many: it is encoded once."""
    return engineio.packet.Packet(engineio.packet.MESSAGE, data=text[1:].decode())


class _Door(socketio.AsyncNamespace):  # type: ignore[misc]
    """Where clients of this road come into a namespace, and leave it."""

    def __init__(self, namespace: Namespace, road: "OrdinaryRoad") -> None:
        super().__init__(namespace.name)
        self._namespace = namespace
        self._road = road

    async def trigger_event(self, event: str, *args: Any) -> None:
        """Take connections and disconnections; events come through `reception`."""
        if event == "connect":
            sid, _environ, auth = args
            try:
                self._namespace.admit(self._road.client_of(sid, self.namespace), auth)
            except CoordinatorError as error:
                raise socketio.exceptions.ConnectionRefusedError(error.code, error_to_wire(error)) from None
        elif event == "disconnect":
            sid, reason = args
            connection = self._road.client_of(sid, self.namespace).on(self.namespace)
            if connection is not None:
                self._namespace.dismiss(connection, _disconnect_reason(reason))


class OrdinaryRoad(socketio.AsyncServer):  # type: ignore[misc]
    """python-socketio's server.

    Args:
        reception: Where what clients say is taken.
        limits: Of Engine.IO.
        cors_origins: Origins that may connect; empty for the server's own only.
        send_buffer_bytes: How much may wait for a client that does not read.
        direct: The road for whoever can take it.
        websocket_only: Whether to refuse clients that poll: where requests of one client may reach different processes.
    """

    def __init__(
        self,
        reception: Reception,
        limits: EngineLimits,
        cors_origins: tuple[str, ...],
        send_buffer_bytes: int,
        direct: DirectRoad | None = None,
        *,
        websocket_only: bool = False,
    ) -> None:
        super().__init__(
            transports=list(_TRANSPORTS[1:] if websocket_only else _TRANSPORTS),
            async_mode="aiohttp",
            json=Json,
            cors_allowed_origins="*" if "*" in cors_origins else (list(cors_origins) or None),
            max_http_buffer_size=limits.most_bytes,
            ping_interval=limits.ping_interval_seconds,
            ping_timeout=limits.ping_timeout_seconds,
            http_compression=False,
            logger=False,
            engineio_logger=False,
        )
        self.namespaces: list[str] = []  # those with a handler suffice; without this, anyone would get into "/"
        self._reception = reception
        self._send_buffer_bytes = send_buffer_bytes
        self.clients: dict[str, OrdinaryClient] = {}
        self.eio.direct = direct
        for namespace in reception.namespaces.values():
            self.register_namespace(_Door(namespace, self))

    def _engineio_server_class(self) -> type[_Engine]:
        return _Engine

    def client_of(self, sid: str, namespace: str) -> OrdinaryClient:
        """Return the client that python-socketio knows under this id."""
        return self.clients[self.manager.eio_sid_from_sid(sid, namespace)]

    def refuse(self, error: CoordinatorError) -> None:
        """From now on, refuse clients that are not there yet, whichever road they would take."""
        self.eio.refusal = error

    def forget(self, client: OrdinaryClient) -> None:
        """Know nothing more of a client that has moved to the direct road."""
        eio_sid = client.client_id
        for namespace in self._reception.namespaces:
            sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
            if sid is not None:
                self.manager.basic_disconnect(sid, namespace)
        self.environ.pop(eio_sid, None)
        engine_socket = self.eio.sockets.pop(eio_sid)
        engine_socket.closing = engine_socket.closed = True
        del self.clients[eio_sid]
        self._reception.departed(client, DisconnectReason.CONNECTION_CLOSED)

    async def stop(self) -> None:
        """End what python-socketio does beside."""
        if self.eio.service_task_handle is not None:
            await self.shutdown()

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        engine_socket = self.eio.sockets[eio_sid]
        engine_socket.__class__ = EngineSocket
        client = OrdinaryClient(self, engine_socket, self._send_buffer_bytes)
        self.clients[eio_sid] = engine_socket.coordinator_client = client
        await super()._handle_eio_connect(eio_sid, environ)
        self._reception.arrived(self.clients[eio_sid])

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        client = self.clients[eio_sid]
        engine_socket = self.eio.sockets.get(eio_sid)
        await super()._handle_eio_disconnect(eio_sid, reason)
        self._reception.departed(client, _disconnect_reason(reason))
        del self.clients[eio_sid]
        if engine_socket is not None:
            # Engine.IO's close leaves a WebSocket to the client, and clients leave it open; a poll it leaves waiting.
            # After the CLOSE packet, which it sends next and without waiting, this ends the writer, or the poll.
            asyncio.get_running_loop().call_soon(engine_socket.queue.put_nowait, None)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        client = self.clients.get(eio_sid)
        if client is None or isinstance(data, bytes):
            return  # an attachment; the event that announced it has been refused
        try:
            # Engine.IO reads what looks like JSON before anyone asks it to; no packet of Socket.IO does.
            packet = self._reception.take(client, _MESSAGE + data) if isinstance(data, str) else _NOT_A_TEXT
            if isinstance(packet, packets.Malformed):
                _log.info("malformed_packet", error=packet.problem[:200])
                await client.close(in_silence=True)
            elif isinstance(packet, packets.Connect | packets.Disconnect):
                await super()._handle_eio_message(eio_sid, data)
        except Exception as error:  # noqa: BLE001 - whatever a client sends must not end more than its own connection
            _log.info("malformed_packet", error=str(error)[:200])
            await client.close(in_silence=True)


_NOT_A_TEXT = packets.Malformed("not Socket.IO")


def _disconnect_reason(reason: str) -> DisconnectReason:
    return DisconnectReason.PING_TIMEOUT if reason == "ping timeout" else DisconnectReason.CONNECTION_CLOSED
