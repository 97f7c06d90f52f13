"""From polling to a WebSocket, by hand: nothing is lost, doubled or swapped; an attempt that fails costs nothing."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import uvloop
from msgspec.structs import replace

from coordinator.domain.events import DisconnectReason
from coordinator.transports.socketio.direct import handover
from tests.transports.clients import NAMESPACE
from tests.transports.harness import Live, eventually
from tests.transports.raw_frames import PING, client_frame, text
from tests.transports.road import LIMITS, Polling, Road, running_road
from tests.transports.sockets import BareSocket

_PATIENCE_SECONDS = 10.0


@pytest.fixture
async def road(no_errors: None) -> AsyncIterator[Road]:
    async with running_road() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def _polling(road: Road, http: aiohttp.ClientSession, user: str = "ada") -> Polling:
    polling = Polling(http, road.address)
    await polling.connect(user)
    return polling


async def _probe(road: Road, polling: Polling) -> BareSocket:
    """Open a WebSocket for a client that polls, and try it."""
    socket = road.bare()
    await socket.open(road.address, f"&sid={polling.sid}")
    await socket.send_text("2probe")
    assert await socket.read_text() == "3probe"
    return socket


async def _move(road: Road, polling: Polling) -> BareSocket:
    socket = await _probe(road, polling)
    await socket.send_text("5")
    await eventually(lambda: bool(road.direct_clients), "the move")
    return socket


def _note(number: int) -> str:
    return f'42{NAMESPACE},["notice",{{"n":{number}}}]'


def _notify(road: Road, *numbers: int, user: str = "ada") -> None:
    for number in numbers:
        road.connection(user).notify("notice", {"n": number})


async def _served_by_polling(road: Road, polling: Polling, ack_id: int = 77) -> None:
    """Check that a client that polls is served on."""
    assert await polling.post(f'42{NAMESPACE},{ack_id}["say",{{"text":{ack_id}}}]') == 200
    prefix = f"43{NAMESPACE},{ack_id}["
    while not any(packet.startswith(prefix) for packet in polling.packets):
        status, _ = await polling.poll()
        assert status == 200
    assert road.direct_clients == []


# Nothing is lost.


async def test_what_is_sent_around_a_move_arrives_once_and_in_order(road: Road, http: aiohttp.ClientSession) -> None:
    polling = await _polling(road, http)
    _notify(road, 1, 2)
    await polling.poll()
    waiting = asyncio.create_task(polling.poll())
    await eventually(lambda: bool(road.ordinary_clients[0]._socket.queue._getters), "the poll")
    _notify(road, 3)
    socket = await _probe(road, polling)
    status, _ = await waiting
    assert status == 200
    _notify(road, 4, 5)
    assert (await polling.poll())[1] == ["6"], "nothing is given to polls any more"
    await socket.send_text("5")
    await eventually(lambda: bool(road.direct_clients), "the move")
    _notify(road, 6)
    got = [packet for packet in polling.packets if packet.startswith("42")]
    got += [await socket.read_text() for _ in range(6 - len(got))]
    assert got == [_note(number) for number in range(1, 7)]
    await socket.send_text(f'42{NAMESPACE},1["say",{{}}]')
    assert (await socket.read_text()).startswith(f"43{NAMESPACE},1[")


async def test_what_was_sent_before_goes_first(road: Road, http: aiohttp.ClientSession) -> None:
    polling = await _polling(road, http)
    _notify(road, *range(50))
    socket = road.bare()
    await socket.open(road.address, f"&sid={polling.sid}")
    # All at once: the probe, the move, and what is said right behind it.
    await socket.send_bytes(text("2probe") + text("5") + text(f'42{NAMESPACE},1["say",{{}}]') + client_frame(PING))
    assert await socket.read_text() == "3probe"
    # NOOP is for polls alone.
    assert [await socket.read_text() for _ in range(50)] == [_note(number) for number in range(50)]
    assert (await socket.read_text()).startswith(f"43{NAMESPACE},1[")
    assert await socket.read_frame() == (0x8A, b"")


async def test_an_answer_that_takes_a_while_follows_the_client(road: Road, http: aiohttp.ClientSession) -> None:
    polling = await _polling(road, http)
    road.notebook.gate.clear()
    assert await polling.post(f'42{NAMESPACE},1["say_slowly",{{}}]') == 200
    socket = await _move(road, polling)
    await socket.send_text(f'42{NAMESPACE},2["say",{{}}]')
    await socket.send_text("2")
    road.notebook.gate.set()
    assert (await socket.read_text()).startswith(f"43{NAMESPACE},1[")
    assert (await socket.read_text()).startswith(f"43{NAMESPACE},2[")


async def test_events_of_a_session_around_a_move(live: Live, http: aiohttp.ClientSession) -> None:
    offer = await live.offer("ada", "bo")
    bo = await live.join("bo", offer.session_id)
    polling = Polling(http, live.address)
    await polling.connect(live.token("ada"))
    await polling.post(f'42{NAMESPACE},1["join",{{"sessionId":"{offer.session_id}"}}]')
    await bo.wait_for("session_started")
    socket = BareSocket()
    try:
        await socket.open(live.address, f"&sid={polling.sid}")
        await bo.call("set_media", {"micEnabled": True})
        await socket.send_text("2probe")
        assert await socket.read_text() == "3probe"
        await bo.call("set_media", {"micEnabled": False})
        polled = (await polling.poll())[1]
        await socket.send_text("5")
        reply = await bo.call("set_media", {"micEnabled": True})
        got = [packet for packet in polled if packet.startswith("42")]
        while not got or f'"seq":{reply["seq"]},' not in got[-1]:
            read = await socket.read_text()
            got += [read] if read.startswith("42") else []
        journal = await live.journal(offer.session_id)
    finally:
        socket.close()
    expected = [f'42{NAMESPACE},["{json.loads(event)["type"]}",{event.decode()}]' for event in journal]
    assert got == expected[-len(got) :]
    assert len(got) >= 3


async def _moves(road: Road) -> None:
    async with aiohttp.ClientSession() as http:
        polling = await _polling(road, http)
        _notify(road, 1)
        socket = await _move(road, polling)
        _notify(road, 2)
        assert [await socket.read_text() for _ in range(2)] == [_note(1), _note(2)]
        await socket.send_text(f'42{NAMESPACE},1["say",{{}}]')
        assert (await socket.read_text()).startswith(f"43{NAMESPACE},1[")
        abandoned = await _probe(road, await _polling(road, http, "bo"))
        abandoned.reset()
        await socket.send_close()
        assert await socket.read_close() is None
        await eventually(lambda: road.ordinary_clients[0].can_move, "that it is over")
        assert len(road.notebook.gone) == 1


def test_on_the_event_loop_that_serves(no_errors: None) -> None:
    async def run() -> None:
        async with running_road() as road:
            await _moves(road)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


# What is left of it.


async def test_the_old_way_is_gone_for_good(road: Road, http: aiohttp.ClientSession) -> None:
    polling = await _polling(road, http)
    waiting = asyncio.create_task(polling.poll())
    await eventually(lambda: bool(road.ordinary_clients[0]._socket.queue._getters), "the poll")
    socket = road.bare()
    await socket.open(road.address, f"&sid={polling.sid}")
    await socket.send_bytes(text("2probe") + text("5"))
    assert await socket.read_text() == "3probe"
    async with asyncio.timeout(5):
        assert (await waiting)[0] == 200, "a poll that waits is ended"
    assert (await polling.poll())[0] == 400
    assert await polling.post(f'42{NAMESPACE},["say",{{}}]') == 400
    second = road.bare()
    with pytest.raises(AssertionError, match="400 Bad Request"):
        await second.open(road.address, f"&sid={polling.sid}")
    assert road.notebook.said == []
    assert road.direct_clients[0].client_id == polling.sid


async def test_nothing_is_kept_of_it(road: Road, http: aiohttp.ClientSession) -> None:
    for number in range(50):
        socket = await _move(road, await _polling(road, http, f"user-{number}"))
        sizes = road.sizes()
        assert (sizes["ordinary clients"], sizes["environments"], sizes["Engine.IO's sockets"]) == (0, 0, 0)
        assert (sizes["Socket.IO's rooms"], sizes["Socket.IO's goodbyes"]) == (0, 0)
        assert len(road.sockets.ordinary.eio.sockets) == 0
        assert road.notebook.gone[number:] == []
        await socket.send_close(1000)
        await socket.read_close()
        await road.all_gone(number + 1)
    await http.close()
    await road.nobody_left()


async def test_a_stranger_may_move_and_then_say_who_it_is(road: Road, http: aiohttp.ClientSession) -> None:
    polling = Polling(http, road.address)
    await polling.open()
    socket = await _move(road, polling)
    assert road.sizes()["strangers"] == 1
    await socket.send_text(f'40{NAMESPACE},{{"token":"ada"}}')
    assert (await socket.read_text()).startswith(f"40{NAMESPACE},")
    assert road.sizes()["strangers"] == 0


async def test_a_stranger_who_moved_has_some_seconds(road: Road, http: aiohttp.ClientSession) -> None:
    polling = Polling(http, road.address)
    await polling.open()
    socket = await _move(road, polling)
    await road.clock.advance(5)
    assert (await socket.read_text(), await socket.read_close()) == ("1", 1000)
    await socket.send_close(1000)
    await socket.wait_closed()
    await http.close()
    await road.nobody_left()


async def test_moving_gives_no_further_attempts_to_connect(http: aiohttp.ClientSession) -> None:
    async with running_road(replace(LIMITS, commands_per_second=0.001, command_burst=2)) as road:
        polling = await _polling(road, http)
        await polling.post(*['40/other,{"token":"bad"}'] * 3)
        refusals = (await polling.poll())[1]
        assert ["unauthenticated" in refusal for refusal in refusals] == [True] * 3
        socket = await _move(road, polling)
        await socket.send_text('40/other,{"token":"ada"}')
        assert '"message":"rate_limited"' in await socket.read_text()


async def test_who_moved_is_asked_whether_it_is_there(road: Road, http: aiohttp.ClientSession) -> None:
    socket = await _move(road, await _polling(road, http))
    await road.clock.advance(10)
    assert await socket.read_text() == "2"
    await road.clock.advance(10)
    await road.all_gone()
    assert road.notebook.gone == [("ada", DisconnectReason.PING_TIMEOUT)]


# Attempts that come to nothing.


@pytest.mark.parametrize("upgrading", ["direct", "ordinary"])
@pytest.mark.parametrize("said", ["", "2probe"])
@pytest.mark.parametrize("end", ["close", "reset", "close frame", "wrong word", "4", "against the rules"])
async def test_an_attempt_that_fails_leaves_polling_as_it_was(
    road: Road,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    end: str,
    upgrading: str,
) -> None:
    polling = await _polling(road, http)
    if upgrading == "ordinary":
        monkeypatch.setattr(handover, "_is_as_expected", lambda _request: False)
    socket = road.bare()
    await socket.open(road.address, f"&sid={polling.sid}")
    _notify(road, 1)
    if said:
        await socket.send_text(said)
        assert await socket.read_text() == "3probe"
    _notify(road, 2)
    if end in ("close", "reset"):
        getattr(socket, end)()
    else:
        sent = {"close frame": b"\x88\x80\x00\x00\x00\x00", "against the rules": b"\xf1\x80\x00\x00\x00\x00"}
        await socket.send_bytes(sent.get(end) or text(end))
        if upgrading == "direct":  # python-socketio leaves the socket to aiohttp, which takes its time
            await socket.wait_closed()
    (client,) = road.ordinary_clients
    await eventually(lambda: client.can_move, "that it is over")
    _notify(road, 3)
    await _served_by_polling(road, polling)
    notes = [packet for packet in polling.packets if packet.startswith("42")]
    assert notes == [_note(1), _note(2), _note(3)]
    monkeypatch.undo()
    await _move(road, polling)


async def test_an_attempt_does_not_take_for_ever(road: Road, http: aiohttp.ClientSession) -> None:
    polling = await _polling(road, http)
    before = road.clock.pending
    silent, probed = road.bare(), await _probe(road, polling)
    await road.clock.advance(_PATIENCE_SECONDS)
    await probed.wait_closed()
    await eventually(lambda: road.ordinary_clients[0].can_move, "that it is over")
    await silent.open(road.address, f"&sid={polling.sid}")
    await road.clock.advance(_PATIENCE_SECONDS)
    await silent.wait_closed()
    await _served_by_polling(road, polling)
    assert road.clock.pending == before


@pytest.mark.parametrize("upgrading", ["direct", "ordinary"])
async def test_of_two_attempts_one_counts(
    road: Road, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, upgrading: str
) -> None:
    polling = await _polling(road, http)
    first, second, third = road.bare(), road.bare(), road.bare()
    await first.open(road.address, f"&sid={polling.sid}")
    await second.open(road.address, f"&sid={polling.sid}")
    await second.send_text("2probe")
    assert await second.read_text() == "3probe"
    if upgrading == "ordinary":
        monkeypatch.setattr(handover, "_is_as_expected", lambda _request: False)
    with pytest.raises(AssertionError, match="400 Bad Request"):
        await third.open(road.address, f"&sid={polling.sid}")
    await first.send_text("2probe")
    await first.wait_closed()
    await second.send_text("5")
    _notify(road, 1)
    assert await second.read_text() == _note(1)
    assert road.ordinary_clients == []


async def test_a_move_without_a_probe_is_none(road: Road, http: aiohttp.ClientSession) -> None:
    polling = await _polling(road, http)
    socket = road.bare()
    await socket.open(road.address, f"&sid={polling.sid}")
    await socket.send_text("5")
    await socket.wait_closed()
    await _served_by_polling(road, polling)


# Those who are about to go.


@pytest.mark.parametrize("how", ["replaced", "token_expired", "stranger", "stop", "abort"])
async def test_who_is_being_closed_does_not_move(road: Road, http: aiohttp.ClientSession, how: str) -> None:
    polling = Polling(http, road.address)
    await (polling.open() if how == "stranger" else polling.connect("ada"))
    (client,) = road.ordinary_clients
    socket = await _probe(road, polling)
    closing: asyncio.Task[None] | None = None
    if how == "stranger":
        await road.clock.advance(5)
    elif how == "stop":
        _notify(road, 1)
        closing = asyncio.create_task(client.end())
        await asyncio.sleep(0)
    elif how == "abort":
        road.connection().drop_as_too_slow()
    else:
        road.connection().close(how)
    await socket.send_text("5")
    await socket.wait_closed()
    assert road.direct_clients == []
    while (await polling.poll())[0] == 200:
        pass
    if closing is not None:
        await closing
    if how == "replaced":
        assert f"41{NAMESPACE}," in polling.packets
    await http.close()
    await road.nobody_left()
    assert len(road.notebook.gone) == (how != "stranger")


async def test_who_moves_while_the_server_stops_is_closed_with_it(road: Road, http: aiohttp.ClientSession) -> None:
    others = [await road.enter(f"other-{number}") for number in range(2)]
    polling = await _polling(road, http)
    socket = await _probe(road, polling)
    road.sockets.drain(lambda: 700)
    closing = asyncio.create_task(road.sockets.close_all(0.3, 10.0))
    for other in others:  # it is closed after the others, and moves before that
        assert (await other.read_text()).startswith(f'42{NAMESPACE},["server_draining"')
    await socket.send_text("5")
    assert await socket.read_text() == f'42{NAMESPACE},["server_draining",{{"reconnectAfterMs":700}}]'
    for open_socket in (*others, socket):
        assert await open_socket.read_close() == 1000
        await open_socket.send_close(1000)
    await closing
    await http.close()
    await road.nobody_left()
    assert {reason for _, reason in road.notebook.gone} == {DisconnectReason.SERVER_STOPPED}
