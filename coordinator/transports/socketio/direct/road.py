"""The direct road: a WebSocket from its first byte on, without a task, a queue or a timer for each client.

Owns Engine.IO and Socket.IO as far as such a client needs them: text, one transport, no upgrade. What arrives is taken
at once, what is sent is gathered and written once in a turn of the event loop. Knows nothing of python-socketio, but
says on the wire what it would say.
"""

import asyncio
import secrets
from collections.abc import Sequence

from aiohttp import web

from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import DisconnectReason
from coordinator.ports.clock import Clock, Timer
from coordinator.protocol.codec import encode, error_to_wire
from coordinator.telemetry import get_logger
from coordinator.transports.socketio.client import Client, Frames
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.direct.handover import can_hand_over, hand_over
from coordinator.transports.socketio.direct.outgoing import Outgoing
from coordinator.transports.socketio.direct.pings import Pings
from coordinator.transports.socketio.reception import EngineLimits, Reception
from coordinator.transports.socketio.wire import packets
from coordinator.transports.socketio.wire.frames import (
    PROTOCOL_ERROR,
    Close,
    FrameReader,
    Message,
    Ping,
    Violation,
    close_frame,
    pong_frame,
    text_frame,
)

_NORMAL = 1000
_GOODBYE_SECONDS = 2.0
"""How long a client may take to end the connection, or to read the last of it, before it is dropped."""
_LAST_GOODBYE_SECONDS = 0.5
"""The same when the server stops."""
_SHARE = 64
"""How many messages of one client are taken before others have their turn, however many have arrived."""
_ID_BYTES = 15
_PING = text_frame(packets.PING)
_PROBED = b"6"
_UNABLE = b'"Unable to connect"'
"""What python-socketio answers where there is nothing to connect to."""

_log = get_logger("direct")


class DirectRoad:
    """All clients of this road.

    Args:
        reception: Where what they say is taken.
        clock: Time, for pings and patience.
        limits: Of Engine.IO.
        send_buffer_bytes: How much may wait for a client that does not read.
    """

    def __init__(self, reception: Reception, clock: Clock, limits: EngineLimits, send_buffer_bytes: int) -> None:
        self.reception = reception
        self.clock = clock
        self.limits = limits
        self.send_buffer_bytes = send_buffer_bytes
        self.outgoing = Outgoing()
        self.pings = Pings(clock, limits.ping_interval_seconds)
        self.clients: dict[DirectClient, None] = {}

    def leads_to(self, request: web.Request) -> bool:
        """Tell whether the client of a request, which may connect, can come this way."""
        query = request.query
        return (
            query.get("transport") == "websocket"
            and query.get("EIO") == "4"
            and "sid" not in query
            and "j" not in query
            and can_hand_over(request)
        )

    def take(self, request: web.Request) -> web.StreamResponse:
        """Take over the socket of a request; return what its handler must return."""
        return hand_over(request, lambda transport, answer: DirectClient(self, transport, answer=answer))

    def opening(self, client_id: str) -> bytes:
        """Return what a client is told first."""
        limits = self.limits
        return packets.open_packet(
            client_id,
            ping_interval_ms=round(limits.ping_interval_seconds * 1000),
            ping_timeout_ms=round(limits.ping_timeout_seconds * 1000),
            max_payload=limits.most_bytes,
        )

    def connect(self, client: "DirectClient", namespace: str, auth: object) -> None:
        """Let a client into a namespace, or tell it why not."""
        known = self.reception.namespaces.get(namespace)
        if known is None or client.on(namespace) is not None:
            client.send(packets.connect_error_packet(namespace, _UNABLE))
            return
        try:
            known.admit(client, auth)
        except CoordinatorError as error:
            client.send(
                packets.connect_error_packet(namespace, encode({"message": error.code, "data": error_to_wire(error)}))
            )
        else:
            client.send(packets.connect_packet(namespace, new_id()))


class DirectClient(Client, asyncio.Protocol):
    """A client of this road: the protocol of its socket."""

    # _pending: what is to be written at the end of this turn of the event loop; None while nothing is.
    # _is_asked: whether a ping is unanswered. _spoke: its place in the wheel of pings.
    # _patience: when the end is waited for no longer, once it has begun. _ended: set once the socket is gone.
    __slots__ = ("_ended", "_is_asked", "_is_open", "_patience", "_pending", "_reader", "_road", "_spoke", "_transport")

    def __init__(
        self,
        road: DirectRoad,
        transport: asyncio.Transport,
        client_id: str | None = None,
        reader: FrameReader | None = None,
        answer: bytes = b"",
    ) -> None:
        super().__init__(client_id or new_id())
        self._road = road
        self._transport = transport
        self._reader = reader or FrameReader(road.limits.most_bytes)
        self._pending: list[bytes] | None = None
        self._is_open = True
        self._is_asked = False
        self._spoke = -1
        self._patience: Timer | None = None
        self._ended: asyncio.Event | None = None
        if answer:
            self._put(answer)  # to the handshake, in one piece with what comes next

    @property
    def is_open(self) -> bool:
        """Whether it is there, and not about to go."""
        return self._is_open

    # What the event loop calls.

    def connection_made(self, _transport: asyncio.BaseTransport) -> None:
        """Tell a new client its id."""
        self.begin((), [self._road.opening(self.client_id)])

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        self.take(self._reader.feed(data))

    def begin(self, connections: tuple[Connection, ...], unsent: Sequence[bytes]) -> None:
        """Begin with what the client is already; who is nobody yet has some seconds to say who it is.

        Args:
            connections: What it is on each namespace.
            unsent: What it is to be sent first.
        """
        self._road.clients[self] = None
        self._spoke = self._road.pings.add(self)
        self.connections = connections
        for connection in connections:
            connection.client = self
        for text in unsent:
            self.send(text)
        if not connections:
            self._road.reception.arrived(self)

    def take(self, messages: Sequence[Message], start: int = 0) -> None:
        """Take the messages of some frames, from number `start` on; if they are many, in turns with other clients."""
        many = len(messages) > _SHARE
        for message in messages[start : start + _SHARE] if many else messages:
            if type(message) is str:
                if not self._is_open:
                    continue
                if message.startswith("4"):
                    packet = self._road.reception.take(self, message)
                    if packet is not None:
                        self._take_packet(packet)
                else:
                    self._take_word(message)
            elif isinstance(message, Ping):
                if self._is_open:
                    self._put(pong_frame(message.payload))
            elif isinstance(message, Close):
                self._answer_close(message.code)
            elif isinstance(message, Violation):
                _log.info("malformed_frame", error=message.reason)
                self._fail(message.code, message.reason)
            # Binary messages are attachments; the event that announced them has been refused.
        if many:
            self._take_on(messages, start + _SHARE)

    def eof_received(self) -> None:
        """Note that nothing more will come; the socket closes once the client has read what was sent, or soon."""
        self._leave(DisconnectReason.CONNECTION_CLOSED)
        self._await_end()

    def connection_lost(self, _error: Exception | None) -> None:
        """Let everything go that the client was."""
        self._leave(DisconnectReason.CONNECTION_CLOSED)
        self._road.clients.pop(self, None)
        if self._patience is not None:
            self._patience.cancel()
        if self._ended is not None:
            self._ended.set()

    # What this server calls.

    def send(self, text: bytes) -> None:
        """Send an Engine.IO message after everything sent before."""
        if self._is_open:
            if self._pending is None:
                self._put(text_frame(text))
            else:
                self._pending.append(text_frame(text))  # as `_put` would: mostly an ack, behind what it acknowledges

    def send_all(self, frames: Frames) -> None:
        """Send messages that go to others as well."""
        if self._is_open:
            self._put(frames.websocket or frames.framed())

    def ping(self) -> None:
        """Ask whether it is still there, or let go of it."""
        if self._is_asked:
            self._drop(DisconnectReason.PING_TIMEOUT)
        else:
            self._is_asked = True
            self._put(_PING)

    def flush(self) -> None:
        """Write what has been gathered."""
        pending, self._pending = self._pending, None
        transport = self._transport
        if pending is None or transport.is_closing():
            return
        transport.write(pending[0] if len(pending) == 1 else b"".join(pending))
        if self._is_open and transport.get_write_buffer_size() > self._road.send_buffer_bytes:
            self.overflow()

    def overflow(self) -> None:
        """Drop a client that does not read what is sent to it, a stranger too."""
        super().overflow()
        if not self.connections:
            self._drop(DisconnectReason.TOO_SLOW)

    async def abort(self) -> None:
        """Drop the connection without waiting for the client to read anything."""
        self._drop(DisconnectReason.CONNECTION_CLOSED)

    async def close(self, reason: str | None = None, *, in_silence: bool = False) -> None:  # noqa: ARG002
        """Close the connection once everything sent so far has gone out; in silence without Engine.IO's farewell."""
        if self._is_open:
            if not in_silence:
                self.send(packets.CLOSE)
            self._fail(_NORMAL)

    async def end(self) -> None:
        """Close in silence, and drop a socket that has not ended soon after."""
        self._ended = self._ended or asyncio.Event()
        await self.close(in_silence=True)
        if self not in self._road.clients:
            return
        try:
            async with asyncio.timeout(_LAST_GOODBYE_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            self._transport.abort()

    def _take_on(self, messages: Sequence[Message], start: int) -> None:
        """Take the others when it is this client's turn again, and nothing that arrives before them."""
        if self._transport.is_closing():
            return
        if start < len(messages):
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._take_turn, messages, start)
        else:
            self._transport.resume_reading()

    def _take_turn(self, messages: Sequence[Message], start: int) -> None:
        if not self._transport.is_closing():
            self.take(messages, start)

    def _put(self, frame: bytes) -> None:
        if self._pending is None:
            self._pending = [frame]
            self._road.outgoing.mark(self)
        else:
            self._pending.append(frame)

    def _take_word(self, text: str) -> None:
        """Take what Engine.IO says by itself."""
        kind = text[:1]
        if kind == "3":
            self._is_asked = False
        elif kind == "1":
            self._fail(_NORMAL)
        elif kind == "5":
            self.send(_PROBED)
        elif kind not in ("0", "2", "6"):
            self._refuse("not Engine.IO")

    def _refuse(self, problem: str) -> None:
        """End the connection of someone who does not speak Socket.IO."""
        _log.info("malformed_packet", error=problem[:200])
        self._fail(PROTOCOL_ERROR)

    def _take_packet(self, packet: packets.Packet) -> None:
        """Take what is no event. An ack answers nothing: this server asks for none."""
        if isinstance(packet, packets.Connect):
            self._road.connect(self, packet.namespace, packet.auth)
        elif isinstance(packet, packets.Disconnect):
            connection = self.on(packet.namespace)
            if connection is not None:
                self._road.reception.dismiss(connection, DisconnectReason.CONNECTION_CLOSED)
        elif isinstance(packet, packets.Malformed):
            self._refuse(packet.problem)

    def _fail(self, code: int, reason: str = "") -> None:
        """Say that this is the end, and wait a while for the client to say so too."""
        self._leave(DisconnectReason.CONNECTION_CLOSED)
        if self._transport.is_closing() or self._patience is not None:
            return
        self._put(close_frame(code, reason))
        self.flush()
        self._await_end()

    def _answer_close(self, code: int | None) -> None:
        if self._patience is None:
            self._leave(DisconnectReason.CONNECTION_CLOSED)
            self._put(close_frame(code))
            self.flush()
        self._transport.close()  # after what has been written, if the client reads it
        self._await_end()

    def _await_end(self) -> None:
        if self._patience is None:
            self._patience = self._road.clock.call_later(_GOODBYE_SECONDS, self._transport.abort)

    def _drop(self, reason: DisconnectReason) -> None:
        self._leave(reason)
        self._transport.abort()

    def _leave(self, reason: DisconnectReason) -> None:
        """Note that the client is gone, or about to be; harmless to repeat."""
        if not self._is_open:
            return
        self._is_open = False
        self._road.pings.remove(self, self._spoke)
        self._road.reception.departed(self, reason)


def new_id() -> str:
    """Return an id that nobody can guess."""
    return secrets.token_urlsafe(_ID_BYTES)
