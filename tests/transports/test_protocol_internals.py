"""What `ordinary` and `engine` take for granted about python-socketio and Engine.IO still holds.

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

from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from coordinator.domain.ids import ConnectionId, NodeId, UserId
from coordinator.domain.ledger import SealedEvent
from coordinator.ports.identity import Identity
from coordinator.protocol.codec import encode
from coordinator.transports.socketio.client import Client, Frames
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.fanout import Fanout
from coordinator.transports.socketio.handshake import Connections
from coordinator.transports.socketio.limits import SocketLimits
from coordinator.transports.socketio.ordinary import engine as parts
from coordinator.transports.socketio.ordinary import road as ours
from coordinator.transports.socketio.ordinary.road import OrdinaryRoad
from coordinator.transports.socketio.reception import EngineLimits, Reception
from tests.transports.harness import Live

_NAMESPACE = "/rooms"
_NOBODY: Any = None
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
        (socketio.AsyncNamespace.trigger_event, ["self", "event", "args"], True),
        (socketio.async_manager.AsyncManager.eio_sid_from_sid, ["self", "sid", "namespace"], False),
        (socketio.async_manager.AsyncManager.sid_from_eio_sid, ["self", "eio_sid", "namespace"], False),
        (socketio.async_manager.AsyncManager.basic_disconnect, ["self", "sid", "namespace", "kwargs"], False),
        (engineio.AsyncServer._handle_connect, ["self", "environ", "transport", "jsonp_index"], True),
        (engineio.AsyncServer._cors_allowed_origins, ["self", "environ"], False),
        (engineio.async_socket.AsyncSocket._upgrade_websocket, ["self", "environ"], True),
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


@pytest.mark.parametrize(
    "mine", [ours.OrdinaryRoad, ours._Door, ours._Engine, parts.EngineSocket, parts.PlainWebSocket]
)
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


def _road() -> OrdinaryRoad:
    reception = Reception(Connections(NodeId("n"), _NOBODY, SystemClock(), SocketLimits(), _spawn), 65_536)
    limits = EngineLimits(most_bytes=4 * 65_536, ping_interval_seconds=10, ping_timeout_seconds=10)
    return OrdinaryRoad(reception, limits, (), 1_000_000)


async def test_the_parts_are_in_place() -> None:
    server = _road()
    assert isinstance(server.eio, ours._Engine)
    assert server.eio._async["websocket"] is parts.PlainWebSocket
    assert server.eio._async["create_route"] is driver.create_route
    assert server.namespaces == []
    assert server.packet_class is socketio.packet.Packet
    assert server.eio.max_http_buffer_size == 4 * 65_536
    socket = engineio.async_socket.AsyncSocket(server.eio, "id")
    assert isinstance(socket.queue, parts.CountingQueue)
    assert (socket.closed, socket.closing) == (False, False)
    socket.__class__ = parts.EngineSocket
    assert isinstance(socket, parts.EngineSocket)


async def test_a_connected_client_is_made_of_these_parts(live: Live) -> None:
    server = live.coordinator._sockets.ordinary
    server.eio.direct = None
    raw = await live.raw("ada")
    await live.connect("bo", transports=("polling",))
    sockets = list(server.eio.sockets.values())
    assert [type(socket) for socket in sockets] == [parts.EngineSocket] * 2
    by_transport = {socket.upgraded: socket for socket in sockets}
    assert not hasattr(by_transport[False], "coordinator_transport")
    transport = by_transport[True].coordinator_transport
    assert callable(transport.abort)  # each event loop has transports of its own class
    assert not transport.is_closing()
    assert not raw.is_closed


# Frames made by hand are what the libraries would have made.


class _Recorder(Client):
    """Takes what a connection sends."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self.texts: list[str] = []
        self.closed: list[tuple[str | None, bool]] = []

    @property
    def is_open(self) -> bool:
        return not self.closed

    def send(self, text: bytes) -> None:
        self.texts.append(text.decode())

    def send_all(self, frames: Frames) -> None:
        self.texts += [text.decode() for text in frames.texts]

    async def abort(self) -> None: ...

    def close(self, reason: str | None = None, *, in_silence: bool = False) -> Coroutine[Any, Any, None]:
        self.closed.append((reason, in_silence))
        return _nothing()

    async def end(self) -> None: ...


async def _nothing() -> None:
    pass


def _spawn(work: Any, _name: str) -> None:
    work.close()


@pytest.fixture
def recorder() -> _Recorder:
    return _Recorder()


@pytest.fixture
def connection(recorder: _Recorder) -> Connection:
    identity = Identity(user_id=UserId("ada"), role=Role.PARTICIPANT, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    return Connection(ConnectionId("node-1"), _NAMESPACE, identity, recorder, SocketLimits(), _spawn, {})


def _theirs(packet_type: int, data: Any = None, packet_id: int | None = None) -> str:
    """Return the frame that the libraries make of a packet."""
    packet = socketio.packet.Packet(packet_type, data=data, namespace=_NAMESPACE, id=packet_id)
    return str(engineio.packet.Packet(engineio.packet.MESSAGE, data=packet.encode()).encode())


@pytest.fixture(autouse=True)
def _with_the_servers_json() -> None:
    """Let the libraries use the JSON codec of the server, as they do wherever one runs."""
    _road()


def test_transient_events(connection: Connection, recorder: _Recorder) -> None:
    connection.notify("signal", _PAYLOAD)
    assert recorder.texts == [_theirs(socketio.packet.EVENT, ["signal", _PAYLOAD])]


def test_persisted_events(connection: Connection, recorder: _Recorder) -> None:
    class _Body:
        kind = "mic_changed"

    class _Event:
        body = _Body

    event: Any = _Event
    Fanout().publish([connection], [SealedEvent(event, encode(_PAYLOAD))])
    assert recorder.texts == [_theirs(socketio.packet.EVENT, ["mic_changed", _PAYLOAD])]


def test_who_lost_a_seat_is_closed_without_a_goodbye_so_that_it_comes_back(
    connection: Connection, recorder: _Recorder
) -> None:
    connection.close("seat_lost")
    assert recorder.texts == []
    assert recorder.closed == [("seat_lost", True)]


def test_the_final_goodbye(connection: Connection, recorder: _Recorder) -> None:
    connection.close("replaced")
    assert recorder.texts == [_theirs(socketio.packet.DISCONNECT)]
    assert recorder.closed == [("replaced", False)]


@pytest.mark.parametrize("packet_id", [0, 1, 10**14])
async def test_acks(live: Live, packet_id: int) -> None:
    client = await live.raw("ada")
    await client.send(_theirs(socketio.packet.EVENT, ["leave", {}], packet_id))
    answer = await client.wait_frame("43")
    assert answer.startswith(f"43{_NAMESPACE},{packet_id}[{{")
    reply = json.loads(answer.partition(f",{packet_id}")[2])
    assert answer == _theirs(socketio.packet.ACK, reply, packet_id)


def test_a_packet_is_encoded_once() -> None:
    packet = ours.packet_of(b"42/rooms,[]")
    assert packet.encode() == "42/rooms,[]"
    assert packet.encode() is packet.encode()
    assert packet.encode() == engineio.packet.Packet(engineio.packet.MESSAGE, data="2/rooms,[]").encode()


def test_numbers_of_packets() -> None:
    assert socketio.packet.packet_names == [
        *("CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK")
    ]
    assert engineio.packet.packet_names == ["OPEN", "CLOSE", "PING", "PONG", "MESSAGE", "UPGRADE", "NOOP"]


async def test_the_queue_counts_what_waits() -> None:
    queue = parts.CountingQueue()
    for text in ("abc", "defgh"):
        queue.put_nowait(ours.packet_of(f"4{text}".encode()))
    queue.put_nowait(None)
    assert queue.waiting_bytes == 8
    assert [getattr(await queue.get(), "data", None) for _ in range(3)] == ["abc", "defgh", None]
    assert queue.waiting_bytes == 0
