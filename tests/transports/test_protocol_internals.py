"""What `transports/socketio/server.py` takes for granted about python-socketio and Engine.IO still holds.

When one of these fails after an upgrade, look there first: everything else may still seem to work.
"""

import inspect
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import engineio
import engineio.async_drivers.aiohttp as driver
import engineio.async_server
import engineio.async_socket
import engineio.exceptions
import engineio.packet
import engineio.payload
import pytest
import socketio
import socketio.async_manager
import socketio.packet

from coordinator.domain.events import Role
from coordinator.domain.ids import ConnectionId, UserId
from coordinator.domain.ledger import SealedEvent
from coordinator.ports.identity import Identity
from coordinator.protocol.codec import encode
from coordinator.transports.socketio import server as ours
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.fanout import Fanout
from coordinator.transports.socketio.limits import SocketLimits
from coordinator.transports.socketio.server import EventServer, frame
from tests.transports.harness import Live

_NAMESPACE = "/rooms"
_PAYLOAD = {"sessionId": "0123456789abcdef01234567", "seq": 7, "data": {"text": 'é "😀" \\ \n', "none": None, "n": 1.5}}


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


# What is overridden or called exists, with the parameters that are used.


@pytest.mark.parametrize(
    ("method", "parameters", "is_async"),
    [
        (socketio.AsyncServer._engineio_server_class, ["self"], False),
        (socketio.AsyncServer._handle_eio_connect, ["self", "eio_sid", "environ"], True),
        (socketio.AsyncServer._handle_eio_disconnect, ["self", "eio_sid", "reason"], True),
        (socketio.AsyncServer._handle_eio_message, ["self", "eio_sid", "data"], True),
        (socketio.AsyncServer._handle_event, ["self", "eio_sid", "namespace", "id", "data"], True),
        (socketio.AsyncNamespace.trigger_event, ["self", "event", "args"], True),
        (socketio.async_manager.AsyncManager.eio_sid_from_sid, ["self", "sid", "namespace"], False),
        (socketio.async_manager.AsyncManager.sid_from_eio_sid, ["self", "eio_sid", "namespace"], False),
        (socketio.async_manager.AsyncManager.is_connected, ["self", "sid", "namespace"], False),
        (engineio.AsyncServer._log_error_once, ["self", "message", "message_key"], False),
        (engineio.AsyncServer.disconnect, ["self", "sid"], True),
        (engineio.AsyncServer.create_queue, ["self", "args", "kwargs"], False),
        (engineio.async_socket.AsyncSocket.close, ["self", "wait", "abort", "reason"], True),
        (engineio.async_socket.AsyncSocket.handle_post_request, ["self", "environ"], True),
        (driver.WebSocket.__init__, ["self", "handler", "server"], False),
        (driver.WebSocket.__call__, ["self", "environ"], True),
        (driver.WebSocket.wait, ["self"], True),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_methods_are_as_expected(method: Callable[..., Any], parameters: list[str], is_async: bool) -> None:
    assert _parameters(method) == parameters
    assert inspect.iscoroutinefunction(method) is is_async


@pytest.mark.parametrize("mine", [ours.EventServer, ours._Engine, ours._EngineSocket, ours._PlainWebSocket])
def test_overrides_override_something(mine: type) -> None:
    for name, method in vars(mine).items():
        inherited = next((vars(base)[name] for base in mine.__mro__[1:] if name in vars(base)), None)
        if inherited is None or name == "__init__" or not inspect.isfunction(method):
            continue
        assert inspect.iscoroutinefunction(method) is inspect.iscoroutinefunction(inherited), name
        if _parameters(inherited)[1:] != ["args", "kwargs"]:
            assert len(_parameters(method)) == len(_parameters(inherited)), name
    overridden = {name for name in vars(mine) if any(name in vars(base) for base in mine.__mro__[1:-1])}
    assert overridden - {"__init__", "__module__", "__doc__", "__dict__", "__weakref__"}


def test_what_engine_io_calls_by_name_is_what_is_replaced() -> None:
    source = inspect.getsource(engineio.async_server)
    assert "async_socket.AsyncSocket(self, sid)" in source
    assert "self._trigger_event('connect', sid, environ," in source
    socket_source = inspect.getsource(engineio.async_socket)
    assert "self.server._async['websocket'](" in socket_source
    assert "payload.Payload(encoded_payload=body)" in socket_source
    assert "self.max_decode_packets" in inspect.getsource(engineio.payload.Payload)
    # After the disconnect handler has been called, the CLOSE packet is put into the queue without a wait in between.
    close = inspect.getsource(engineio.async_socket.AsyncSocket.close)
    assert close.index("'disconnect'") < close.index("packet.CLOSE") < close.index("self.closed = True")
    # An OSError from `wait` ends a connection in good order; an UnknownPacketError ends a request so.
    assert issubclass(engineio.exceptions.UnknownPacketError, engineio.exceptions.EngineIOError)


async def test_the_parts_are_in_place() -> None:
    server = EventServer((), 65_536, lambda _engine_id: None)
    assert isinstance(server.eio, ours._Engine)
    assert server.eio._async["websocket"] is ours._PlainWebSocket
    assert server.eio._async["create_route"] is driver.create_route
    assert server.namespaces == []
    assert server.packet_class is socketio.packet.Packet
    assert server.eio.max_http_buffer_size == 4 * 65_536
    socket = engineio.async_socket.AsyncSocket(server.eio, "id")
    assert isinstance(socket.queue, ours._CountingQueue)
    assert (socket.closed, socket.closing) == (False, False)
    socket.__class__ = ours._EngineSocket
    assert isinstance(socket, ours._EngineSocket)


async def test_a_connected_client_is_made_of_these_parts(live: Live) -> None:
    raw = await live.raw("ada")
    await live.connect("bo", transports=("polling",))
    server: Any = live.coordinator._sockets
    sockets = list(server.eio.sockets.values())
    assert [type(socket) for socket in sockets] == [ours._EngineSocket] * 2
    by_transport = {socket.upgraded: socket for socket in sockets}
    assert not hasattr(by_transport[False], "coordinator_transport")
    transport = by_transport[True].coordinator_transport
    assert callable(transport.abort)  # each event loop has transports of its own class
    assert not transport.is_closing()
    assert not raw.is_closed


# Frames made by hand are what the libraries would have made.


class _RecordingOutbox:
    """Takes what a connection sends."""

    waiting_bytes = 0

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.closed: list[tuple[str, bool]] = []

    def put(self, packet: Any) -> None:
        self.frames.append(packet.encode())

    def close(self, reason: str, *, in_silence: bool) -> Coroutine[Any, Any, None]:
        self.closed.append((reason, in_silence))
        return _nothing()


async def _nothing() -> None:
    pass


@pytest.fixture
def outbox() -> _RecordingOutbox:
    return _RecordingOutbox()


@pytest.fixture
def connection(outbox: _RecordingOutbox) -> Connection:
    identity = Identity(user_id=UserId("ada"), role=Role.PARTICIPANT, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    sender: Any = outbox
    return Connection(
        ConnectionId("node-1"), _NAMESPACE, identity, sender, SocketLimits(), 0.0, lambda work, _name: work.close()
    )


def _theirs(packet_type: int, data: Any = None, packet_id: int | None = None) -> str:
    """Return the frame that the libraries make of a packet."""
    packet = socketio.packet.Packet(packet_type, data=data, namespace=_NAMESPACE, id=packet_id)
    return str(engineio.packet.Packet(engineio.packet.MESSAGE, data=packet.encode()).encode())


@pytest.fixture(autouse=True)
def _with_the_servers_json() -> None:
    """Let the libraries use the JSON codec of the server, as they do wherever one runs."""
    EventServer((), 65_536, lambda _engine_id: None)


def test_transient_events(connection: Connection, outbox: _RecordingOutbox) -> None:
    connection.notify("signal", _PAYLOAD)
    assert outbox.frames == [_theirs(socketio.packet.EVENT, ["signal", _PAYLOAD])]


def test_persisted_events(connection: Connection, outbox: _RecordingOutbox) -> None:
    class _Body:
        kind = "mic_changed"

    class _Event:
        body = _Body

    event: Any = _Event
    Fanout().publish([connection], [SealedEvent(event, encode(_PAYLOAD))])
    assert outbox.frames == [_theirs(socketio.packet.EVENT, ["mic_changed", _PAYLOAD])]


def test_who_lost_a_seat_is_closed_without_a_goodbye_so_that_it_comes_back(
    connection: Connection, outbox: _RecordingOutbox
) -> None:
    connection.close("seat_lost")
    assert outbox.frames == []
    assert outbox.closed == [("seat_lost", True)]


def test_the_final_goodbye(connection: Connection, outbox: _RecordingOutbox) -> None:
    connection.close("replaced")
    assert outbox.frames == [_theirs(socketio.packet.DISCONNECT)]
    assert outbox.closed == [("replaced", False)]


@pytest.mark.parametrize("packet_id", [0, 1, 10**14])
async def test_acks(live: Live, packet_id: int) -> None:
    client = await live.raw("ada")
    await client.send(_theirs(socketio.packet.EVENT, ["leave", {}], packet_id))
    answer = await client.wait_frame("43")
    assert answer.startswith(f"43{_NAMESPACE},{packet_id}[{{")
    reply = json.loads(answer.partition(f",{packet_id}")[2])
    assert answer == _theirs(socketio.packet.ACK, reply, packet_id)


def test_a_frame_is_encoded_once() -> None:
    packet = frame("2/rooms,[]")
    assert packet.encode() == "42/rooms,[]"
    assert packet.encode() is packet.encode()
    assert packet.encode() == engineio.packet.Packet(engineio.packet.MESSAGE, data="2/rooms,[]").encode()


@pytest.mark.parametrize("packet_id", [None, 0, 7, 10**14])
@pytest.mark.parametrize("namespace", [None, "/rooms", "/a/b-c?d"])
@pytest.mark.parametrize("data", [["join", {"a": 1}], ["signal", {"data": b"x"}]])
def test_headers_of_events_are_recognized(data: Any, namespace: str | None, packet_id: int | None) -> None:
    encoded = socketio.packet.Packet(socketio.packet.EVENT, data=data, namespace=namespace, id=packet_id).encode()
    text = encoded[0] if isinstance(encoded, list) else encoded
    header = ours._EVENT_HEADER.match(text)
    assert header is not None
    assert header["namespace"] == namespace
    assert header["id"] == (None if packet_id is None else str(packet_id))
    assert text[header.end()] == "["


@pytest.mark.parametrize("kind", ["CONNECT", "DISCONNECT", "ACK", "CONNECT_ERROR"])
def test_headers_of_other_packets_are_not_taken_for_events(kind: str) -> None:
    packet = socketio.packet.Packet(getattr(socketio.packet, kind), data=["x"], namespace=_NAMESPACE, id=1)
    assert ours._EVENT_HEADER.match(packet.encode()) is None


def test_numbers_of_packets() -> None:
    assert socketio.packet.packet_names == [
        *("CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK")
    ]
    assert engineio.packet.packet_names == ["OPEN", "CLOSE", "PING", "PONG", "MESSAGE", "UPGRADE", "NOOP"]


async def test_the_queue_counts_what_waits() -> None:
    queue = ours._CountingQueue()
    for text in ("abc", "defgh"):
        queue.put_nowait(frame(text))
    queue.put_nowait(None)
    assert queue.waiting_bytes == 8
    assert [getattr(await queue.get(), "data", None) for _ in range(3)] == ["abc", "defgh", None]
    assert queue.waiting_bytes == 0
