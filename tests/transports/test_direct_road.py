"""Who comes by the direct road, and that aiohttp, whose socket it was, knows nothing more of it."""

import asyncio
import gc
import inspect
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web_protocol

from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.direct import handover
from coordinator.transports.socketio.direct.road import DirectClient
from tests.transports.clients import NAMESPACE
from tests.transports.harness import Live, eventually
from tests.transports.road import Polling, Road, running_road
from tests.transports.sockets import TEXT, frame

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_ROUNDS = 200
_LINE = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1"
_HEADERS = {
    "Host": "here",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": _KEY,
}

Headers = dict[str, str | None]


@pytest.fixture
async def road(no_errors: None) -> AsyncIterator[Road]:
    async with running_road() as running:
        yield running


def _request(line: str = _LINE, body: bytes = b"", **changed: str | None) -> bytes:
    """Write a request that opens a WebSocket, but for what is changed: headers, with _ for -; None leaves one out."""
    headers: Headers = {**_HEADERS, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join((*lines, "", "")).encode() + body


async def _answer(road: Road, request: bytes) -> bytes:
    """Return the head of the answer to a request, without what differs every time."""
    socket = road.bare()
    await socket.dial(road.address)
    await socket.send_bytes(request)
    head = await socket.read_until(b"\r\n\r\n")
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Date:"))


# Which requests take it.


@pytest.mark.parametrize(
    "request_",
    [
        _request(),
        _request(Upgrade="WebSocket", Connection="keep-alive, Upgrade"),
        _request(Sec_WebSocket_Extensions="permessage-deflate", Sec_WebSocket_Protocol="chat"),
        _request(Origin="http://here"),
        _request(_LINE.replace("?", "?t=abc&")),
    ],
)
async def test_a_websocket_from_its_first_byte_on_takes_it(road: Road, request_: bytes) -> None:
    assert (await _answer(road, request_)).split(b"\r\n") == [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: upgrade",
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",  # RFC 6455, 1.3
    ]
    assert len(road.direct_clients) == 1
    assert road.ordinary_clients == []


_ELSEWHERE = {
    "another revision": _request(_LINE.replace("EIO=4", "EIO=3")),
    "no revision": _request(_LINE.replace("EIO=4&", "")),
    "a script": _request(_LINE.replace("&transport", "&j=0&transport")),
    "an unknown sid": _request(_LINE.replace("&transport", "&sid=x&transport")),
    "an empty sid": _request(_LINE.replace("&transport", "&sid=&transport")),
    "another transport": _request(_LINE.replace("=websocket", "=pigeon")),
    "polling": _request(_LINE.replace("=websocket", "=polling")),
    "a short key": _request(Sec_WebSocket_Key="c2hvcnQ="),
    "a key that is no base64": _request(Sec_WebSocket_Key="!" * 24),
    "no key": _request(Sec_WebSocket_Key=None),
    "another version": _request(Sec_WebSocket_Version="8"),
    "no version": _request(Sec_WebSocket_Version=None),
    "no upgrade": _request(Upgrade=None),
    "another upgrade": _request(Upgrade="h2c"),
    "no connection": _request(Connection=None),
    "a connection that is kept alive": _request(Connection="keep-alive"),
    "a POST": _request(_LINE.replace("GET", "POST"), Content_Length="0"),
    "a body": _request(body=b"{}", Content_Length="2"),
    "HTTP/1.0": _request(_LINE.replace("HTTP/1.1", "HTTP/1.0")),
    "a page from elsewhere": _request(Origin="http://there"),
    "a page from nowhere": _request(Origin="null"),
    "bytes that come along": _request(body=frame(TEXT, b"40/rooms,")),
}


@pytest.mark.parametrize("name", list(_ELSEWHERE))
async def test_whatever_is_unusual_is_answered_by_the_ordinary_road(road: Road, name: str) -> None:
    answer = await _answer(road, _ELSEWHERE[name])
    assert road.direct_clients == []
    road.sockets.ordinary.eio.direct = None
    assert answer == await _answer(road, _ELSEWHERE[name])


async def test_half_a_body_is_not_taken_for_frames(road: Road) -> None:
    socket = road.bare()
    await socket.dial(road.address)
    await socket.send_bytes(_request(Content_Length="100"))
    request = _request(_LINE.replace("socket.io/?", "elsewhere?"))  # so that the server has seen the first one
    other = road.bare()
    await other.dial(road.address)
    await other.send_bytes(request)
    await other.read_until(b"\r\n\r\n")
    assert road.direct_clients == []


@pytest.mark.parametrize("name", ["no key", "no version", "no upgrade", "a connection that is kept alive"])
async def test_nothing_is_kept_of_a_handshake_that_fails(road: Road, name: str) -> None:
    assert b" 400 " in await _answer(road, _ELSEWHERE[name])
    await road.clock.advance(5)  # where Engine.IO keeps it, it is a stranger
    for socket in road._bare:
        socket.close()
    await road.nobody_left()


async def test_bytes_that_come_along_are_heard(road: Road) -> None:
    token = json.dumps({"token": "ada"})
    socket = road.bare()
    await socket.dial(road.address)
    await socket.send_bytes(_request(body=frame(TEXT, f"40/rooms,{token}".encode())))
    await socket.read_until(b"\r\n\r\n")
    assert (await socket.read_text()).startswith("0{")
    assert (await socket.read_text()).startswith("40/rooms,{")
    assert len(road.ordinary_clients) == 1


async def test_requests_one_behind_the_other(road: Road) -> None:
    socket = road.bare()
    await socket.dial(road.address)
    await socket.send_bytes(_request(_LINE.replace("websocket", "polling"), Connection=None, Upgrade=None) + _request())
    await socket.read_until(b"\r\n\r\n")
    await socket.read_until(b"101 Switching Protocols")
    await socket.read_until(b"\r\n\r\n")
    assert (await socket.read_text()).startswith("0{")
    assert len(road.direct_clients) == 1


# aiohttp knows nothing more of it.


def _handlers() -> list[Any]:
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is web_protocol.RequestHandler]


async def _talk(road: Road, user: str = "ada") -> None:
    """Connect, say something, be answered."""
    socket = await road.enter(user)
    await socket.send_text(f'42{NAMESPACE},1["say",{{"text":"{user}"}}]')
    assert (await socket.read_text()).startswith(f'43{NAMESPACE},1[{{"ok":true')


async def _served_directly(road: Road) -> None:
    before = asyncio.all_tasks()
    assert _handlers() == []
    await _talk(road)
    await eventually(lambda: asyncio.all_tasks() <= before, "no task of it")
    assert road.runner.server is not None
    assert road.runner.server.connections == []
    assert len(road.direct_clients) == 1
    # None of its request handlers is left, so nothing that belongs to one is: a timer that keeps alive, a parser.
    assert _handlers() == []


async def _outlives_aiohttps_shutdown(road: Road) -> None:
    socket = await road.enter()
    await road.runner.cleanup()
    await socket.send_text(f'42{NAMESPACE},1["say",{{}}]')
    assert (await socket.read_text()).startswith(f'43{NAMESPACE},1[{{"ok":true')


async def _comes_to_an_end(road: Road) -> None:
    socket = await road.enter()
    await socket.send_close(1000)
    assert await socket.read_close() == 1000
    assert await socket.read_rest() == b""
    await road.all_gone()
    broken = await road.enter("bo")
    broken.reset()
    await road.all_gone(2)
    hung_up = await road.enter("cy")
    hung_up.hang_up()
    assert await hung_up.read_rest() == b""
    await road.all_gone(3)
    await road.nobody_left()


async def _says_much(road: Road) -> None:
    socket = await road.enter()
    await socket.send_bytes(frame(TEXT, f'42{NAMESPACE},["say",{{}}]'.encode()) * 1000)
    await socket.send_close(1000)
    assert await socket.read_close() == 1000
    assert len(road.notebook.said) == 1000
    await road.nobody_left()


async def _never_reads(road: Road) -> None:
    """Write more than fits, to a client that does not read, then to one that is not there any more."""
    for user in ("ada", "bo"):
        socket = road.bare(4096)
        await socket.connect(road.address, user)
        connection = road.connection(user)
        if user == "bo":
            socket.reset()
        for _ in range(100):
            connection.notify("notice", {"text": "x" * 200_000})
            await asyncio.sleep(0)
    await road.all_gone(2)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "scenario",
    [_served_directly, _outlives_aiohttps_shutdown, _comes_to_an_end, _says_much, _never_reads],
    ids=lambda scenario: scenario.__name__[1:],
)
def test_on_either_event_loop(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    scenario: Callable[[Road], Awaitable[None]],
    no_errors: None,
) -> None:
    problems: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
        async with running_road() as road:
            await scenario(road)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())
    assert problems == []


# Nothing is kept of those who have gone.


def _alive(kind: type) -> int:
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


async def test_nothing_is_kept_of_those_who_have_gone(road: Road) -> None:
    before = _alive(DirectClient), _alive(Connection)
    for number in range(_ROUNDS):
        socket = await road.enter(f"user-{number}")
        match number % 4:
            case 0:
                await socket.send_close(1000)
            case 1:
                socket.reset()
            case 2:
                await socket.send_text("1")
            case 3:
                await socket.send_bytes(b"\x00\x00")  # against the rules
        socket.close()
    await road.all_gone(_ROUNDS)
    await road.nobody_left()
    assert (_alive(DirectClient), _alive(Connection)) == before


async def test_nothing_is_kept_of_those_who_never_said_who_they_are(road: Road) -> None:
    before = _alive(DirectClient)
    for number in range(_ROUNDS):
        socket = road.bare()
        await socket.open(road.address)
        if number % 2:
            await socket.send_text('40/rooms,{"token":"bad"}')
        socket.close()
    await road.nobody_left()
    assert road.notebook.gone == []
    assert _alive(DirectClient) == before


async def test_nothing_is_kept_of_those_who_polled(road: Road) -> None:
    async with aiohttp.ClientSession() as http:
        for number in range(20):
            polling = Polling(http, road.address)
            await polling.connect(f"user-{number}")
            assert await polling.post("1") == 200
    await road.all_gone(20)
    await road.nobody_left()


# What is taken for granted about aiohttp.


def test_aiohttp_is_as_expected() -> None:
    """When this fails after an upgrade, read `handover` against `aiohttp.web_protocol` before anything is changed."""
    handler = web_protocol.RequestHandler
    assert list(inspect.signature(handler.connection_lost).parameters) == ["self", "exc"]
    lost = inspect.getsource(handler.connection_lost)
    for step in (
        "self._manager.connection_lost(self, exc)",
        "self.force_close()",
        "self._manager = None",
        "self._parser = None",
        "self._keepalive_handle.cancel()",
        "self._task_handler = None",
    ):
        assert step in lost
    assert "if self.transport is not None:" in inspect.getsource(handler.force_close)
    received = inspect.getsource(handler.data_received)
    for step in ("self._messages.append(", "self._upgraded = upgraded", "self._message_tail = tail"):
        assert step in received
    assert "except ConnectionError:" in inspect.getsource(handler.finish_response)


async def test_where_it_is_not_the_ordinary_road_serves(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_is_as_expected", lambda _request: False)
    await _talk(road)
    assert road.direct_clients == []
    assert len(road.ordinary_clients) == 1


_MISSING = object()


def _as_seen(**different: Any) -> Any:
    """Make what `handover` looks at: a request as it is expected, but for some attributes."""
    handler = web_protocol.RequestHandler.__new__(web_protocol.RequestHandler)
    transport = SimpleNamespace(set_protocol=print, get_protocol=lambda: handler)
    request = SimpleNamespace(protocol=handler, transport=transport)
    usual = {"transport": transport, "_upgraded": True, "_messages": deque(), "_message_tail": b""}
    for name, value in (usual | different).items():
        if name in ("set_protocol", "get_protocol"):
            setattr(transport, name, value)
        elif name in ("request_protocol", "request_transport"):
            setattr(request, name.removeprefix("request_"), value)
        elif value is not _MISSING:
            setattr(handler, name, value)
    return request


@pytest.mark.parametrize(
    "different",
    [
        {"_upgraded": _MISSING},
        {"_upgraded": False},
        {"_messages": _MISSING},
        {"_messages": deque([1])},
        {"_message_tail": _MISSING},
        {"_message_tail": b"x"},
        {"_message_tail": None},
        {"transport": None},
        {"set_protocol": None},
        {"get_protocol": lambda: None},
        {"request_transport": None},
        {"request_protocol": object()},
    ],
    ids=lambda different: next(iter(different)),
)
def test_another_aiohttp_is_noticed(different: dict[str, Any]) -> None:
    assert handover._is_as_expected(_as_seen())
    assert not handover._is_as_expected(_as_seen(**different))


async def test_the_product_serves_it(live: Live) -> None:
    await live.raw("ada")
    sockets = live.coordinator._sockets
    assert (len(sockets.direct.clients), len(sockets.ordinary.clients)) == (1, 0)
