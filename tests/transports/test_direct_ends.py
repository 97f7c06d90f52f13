"""How clients of the direct road go: who says goodbye first, how long is waited, what is heard in between."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from coordinator.domain.events import DisconnectReason
from coordinator.transports.socketio import server
from coordinator.transports.socketio.direct.road import DirectClient
from tests.transports.clients import NAMESPACE
from tests.transports.conftest import StartLive
from tests.transports.harness import Live, eventually
from tests.transports.raw_frames import PING, client_frame, text
from tests.transports.road import BUFFER_BYTES, Road, running_road
from tests.transports.sockets import BareSocket

_CLOSED = [("ada", DisconnectReason.CONNECTION_CLOSED)]
_GOODBYE_SECONDS = 2.0
_PONG = 0x8A
_PING_SECONDS = 10.0
_HARD_LIMIT = 4 * 65_536
_SAY = f'42{NAMESPACE},["say",{{}}]'


@pytest.fixture
async def road(no_errors: None) -> AsyncIterator[Road]:
    async with running_road() as running:
        yield running


async def _much_waits(road: Road) -> BareSocket:
    """Let a client come that does not read, and send it more than the kernel takes, but no more than may wait."""
    socket = road.bare(4096)
    await socket.connect(road.address, "ada")
    (client,) = road.direct_clients
    while client._transport.get_write_buffer_size() < BUFFER_BYTES // 2:
        road.connection().notify("notice", {"text": "x" * 50_000})
        await asyncio.sleep(0)
    return socket


# The client goes first.


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999, None])
async def test_a_close_is_answered_with_its_code_and_ends_the_connection(road: Road, code: int | None) -> None:
    socket = await road.enter()
    await socket.send_close(code)
    assert await socket.read_close() == code
    assert await socket.read_rest() == b""
    await road.all_gone()
    assert road.notebook.gone == _CLOSED
    await road.nobody_left()


async def test_what_was_sent_goes_before_the_answer_to_a_close(road: Road) -> None:
    socket = await road.enter()
    await socket.send_bytes(text(f'42{NAMESPACE},1["say",{{}}]') + b"\x88\x80\x00\x00\x00\x00" + text(_SAY) * 3)
    assert (await socket.read_text()).startswith(f"43{NAMESPACE},1[")
    assert await socket.read_close() is None
    assert await socket.read_rest() == b""
    assert len(road.notebook.said) == 1


@pytest.mark.parametrize("how", ["hang_up", "reset", "close"])
async def test_a_socket_that_just_ends(road: Road, how: str) -> None:
    socket = await road.enter()
    getattr(socket, how)()
    await road.all_gone()
    assert road.notebook.gone == _CLOSED
    await road.nobody_left()


@pytest.mark.parametrize("goodbye", ["close frame", "end of the stream", "packet"])
async def test_who_says_goodbye_and_does_not_read_is_dropped(road: Road, goodbye: str) -> None:
    socket = await _much_waits(road)
    if goodbye == "close frame":
        await socket.send_close(1000)
    elif goodbye == "packet":
        await socket.send_text("1")
    else:
        socket.hang_up()
    await eventually(lambda: road.notebook.gone == _CLOSED, "the departure, at once")
    await road.clock.advance(_GOODBYE_SECONDS - 0.001)
    assert len(road.direct_clients) == 1
    await road.clock.advance(0.001)
    await road.nobody_left()
    assert road.notebook.gone == _CLOSED


async def test_who_says_goodbye_gets_all_that_was_sent(road: Road) -> None:
    socket = await _much_waits(road)
    await socket.send_close(1000)
    await eventually(lambda: bool(road.notebook.gone), "the departure")
    rest = await socket.read_rest()
    assert len(rest) > BUFFER_BYTES // 2
    assert rest.endswith(b"\x88\x02\x03\xe8")
    await road.nobody_left()


# The server goes first.


async def test_the_server_says_so_and_waits_for_the_answer(road: Road) -> None:
    socket = await road.enter()
    (client,) = road.direct_clients
    await client.close()
    assert await socket.read_text() == "1"
    assert await socket.read_close() == 1000
    assert not client.is_open
    await socket.send_close(1000)
    assert await socket.read_rest() == b""
    await road.nobody_left()
    assert road.notebook.gone == _CLOSED


async def test_it_does_not_wait_for_ever(road: Road) -> None:
    socket = await road.enter()
    (client,) = road.direct_clients
    await client.close(in_silence=True)
    assert await socket.read_close() == 1000
    await road.clock.advance(_GOODBYE_SECONDS)
    await socket.wait_closed()
    await road.nobody_left()
    assert road.notebook.gone == _CLOSED


async def test_whoever_closes_twice_says_so_once(road: Road) -> None:
    socket = await road.enter()
    (client,) = road.direct_clients
    await asyncio.gather(client.close(), client.close(in_silence=True), client.end(), client.abort(), client.close())
    await road.all_gone()
    assert (await socket.read_text(), await socket.read_close()) == ("1", 1000)
    await road.nobody_left()


async def test_nothing_is_sent_after_the_close(road: Road) -> None:
    socket, other = await road.enter(), await road.enter("bo")
    connection = road.connection()
    client = road.direct_clients[0]
    client.send(b"2probe")
    await client.close(in_silence=True)
    client.send(b"4lost")
    connection.notify("notice", {})
    await socket.send_bytes(client_frame(PING, b"there?") * 100 + text(_SAY) * 1000 + text("5"))
    await other.send_text("5")
    assert await other.read_text() == "6", "so all of this has arrived"
    await socket.send_close(1000)
    assert (await socket.read_text(), await socket.read_close(), await socket.read_rest()) == ("2probe", 1000, b"")
    assert road.notebook.said == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (text(b"\xff"), 1007),
        (text("4" * (_HARD_LIMIT + 1)), 1009),
        (text("hello"), 1002),  # not Engine.IO
        (text("4x"), 1002),  # not Socket.IO
        (text(f"42/elsewhere,{'x' * 65_536}"), 1002),  # too large, and of someone who is not there
    ],
    ids=["rule", "text", "size", "Engine.IO", "Socket.IO", "size of a stranger"],
)
async def test_what_breaks_a_rule_ends_the_connection_and_all_that_follows_is_passed_over(
    road: Road, sent: bytes, code: int
) -> None:
    socket = await road.enter()
    await socket.send_bytes(text(_SAY) + sent + text(_SAY) * 3000)
    assert await socket.read_close() == code
    await eventually(lambda: road.notebook.gone == _CLOSED, "the departure")
    assert len(road.notebook.said) == 1
    await road.clock.advance(_GOODBYE_SECONDS)
    await socket.wait_closed()
    await road.nobody_left()


async def test_the_largest_message_that_is_read_is_refused_by_code(road: Road) -> None:
    socket = await road.enter()
    head = f'42{NAMESPACE},7["say",{{"text":"'
    await socket.send_text(head + "x" * (_HARD_LIMIT - len(head) - 4) + '"}]')
    assert '"code":"payload_too_large"' in await socket.read_text()


# Who says much.


async def test_others_have_their_turn_while_one_says_much(road: Road) -> None:
    ada, bo = await road.enter(), await road.enter("bo")
    # All of it is with the server before it reads any of it.
    await ada.send_bytes(text(_SAY) * 2000)
    await bo.send_text(f'42{NAMESPACE},1["say",{{"text":"bo"}}]')
    await bo.read_text()
    assert road.notebook.said.index("bo") < 1000
    await eventually(lambda: len(road.notebook.said) == 2001, "all that was said")


async def test_much_is_taken_in_order_and_to_the_end(road: Road) -> None:
    socket = await road.enter()
    for number in range(3000):
        await socket.send_text(f'42{NAMESPACE},["say",{{"text":{number}}}]')
    await socket.send_bytes(b"".join(text(f'42{NAMESPACE},["say",{{"text":{n}}}]') for n in range(3000, 5000)))
    await socket.send_close(1000)
    assert await socket.read_close() == 1000
    assert road.notebook.said == list(range(5000))
    await road.nobody_left()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_who_goes_in_the_middle_of_it(road: Road, how: str) -> None:
    socket, other = await road.enter(), await road.enter("bo")
    client = road.direct_clients[0]
    await socket.send_bytes(text(_SAY) * 2000 + b"\x88\x80\x00\x00\x00\x00")
    await other.send_text("5")
    await other.read_text()
    assert 0 < len(road.notebook.said) < 2000
    if how == "reset":
        socket.reset()
        client._transport.abort()
        await eventually(lambda: len(road.direct_clients) == 1, "the end")
    else:
        await client.close(in_silence=True)
        assert await socket.read_close() == 1000
        assert await socket.read_rest() == b"", "its own close is among what is passed over word by word"
    assert len(road.notebook.said) < 2000
    await road.clock.advance(0)
    await other.send_close()
    await other.read_close()
    await road.nobody_left()


# Pings.


async def test_who_answers_pings_stays_and_who_does_not_is_gone(road: Road) -> None:
    ada, bo = await road.enter(), await road.enter("bo")
    for _ in range(3):
        await road.clock.advance(_PING_SECONDS)
        assert await ada.read_text() == "2"
        await ada.send_text("3")
        if road.notebook.gone:
            break
        await eventually(lambda: not _asked(road, "ada"), "the answer")
    assert road.notebook.gone == [("bo", DisconnectReason.PING_TIMEOUT)]
    assert await bo.read_text() == "2"
    await bo.wait_closed()


def _asked(road: Road, user: str) -> bool:
    client = road.connection(user).client
    assert isinstance(client, DirectClient)
    return client._is_asked


async def test_no_other_word_is_an_answer_to_a_ping(road: Road) -> None:
    socket = await road.enter()
    await road.clock.advance(_PING_SECONDS)
    await socket.send_bytes(text("2") + text("2probe") + text(_SAY) + client_frame(0xA))
    await eventually(lambda: bool(road.notebook.said), "what was said")
    await road.clock.advance(_PING_SECONDS)
    await road.all_gone()
    assert road.notebook.gone == [("ada", DisconnectReason.PING_TIMEOUT)]
    await road.nobody_left()


async def test_everybody_sees_who_does_not_answer(start: StartLive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PING_INTERVAL_SECONDS", 0.4)
    live = await start()
    offer = await live.offer("ada", "bo")
    bo = await live.join("bo", offer.session_id)
    silent = BareSocket()
    try:
        await silent.connect(live.address, live.token("ada"))
        await silent.send_text(f'42{NAMESPACE},1["join",{{"sessionId":"{offer.session_id}"}}]')
        lost = await bo.wait_for("participant_disconnected", userId="ada")
        assert lost["data"]["reason"] == "ping_timeout"
        await silent.wait_closed()
    finally:
        silent.close()
    assert (await bo.call("sync", {"after": 0}))["ok"]


async def test_a_websockets_own_ping_is_answered_with_what_it_carries(road: Road) -> None:
    socket = await road.enter()
    await socket.send_bytes(client_frame(PING, b"x" * 125) + client_frame(PING))
    assert await socket.read_frame() == (_PONG, b"x" * 125)
    assert await socket.read_frame() == (_PONG, b"")


# Strangers.


async def _read_past_pings(socket: BareSocket) -> str:
    while (read := await socket.read_text()) == "2":
        await socket.send_text("3")
    return read


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "ordinary"])
async def test_a_stranger_has_some_seconds(road: Road, direct: bool) -> None:
    if not direct:
        road.sockets.ordinary.eio.direct = None
    socket = road.bare()
    await socket.open(road.address)
    assert (await socket.read_text()).startswith("0{")
    await eventually(lambda: bool(road.sizes()["strangers"]), "a stranger")
    await road.clock.advance(4.999)
    await socket.send_text(f'40{NAMESPACE},{{"token":"bad"}}')  # which does not make it known
    assert (await socket.read_text()).startswith(f"44{NAMESPACE},")
    await road.clock.advance(0.001)
    assert (await socket.read_text(), await socket.read_close()) == ("1", 1000)
    await socket.send_close(1000)
    await socket.wait_closed()
    assert road.notebook.gone == []
    await road.nobody_left()


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "ordinary"])
async def test_whoever_leaves_the_last_namespace_is_a_stranger_again(road: Road, direct: bool) -> None:
    if not direct:
        road.sockets.ordinary.eio.direct = None
    socket = await road.enter()
    await socket.send_text('40/other,{"token":"ada"}')
    assert (await _read_past_pings(socket)).startswith("40/other,")
    await road.clock.advance(6)
    await socket.send_text("41/other,")
    await socket.send_text(f'42{NAMESPACE},1["say",{{}}]')
    assert (await _read_past_pings(socket)).startswith(f"43{NAMESPACE},1[")
    assert road.sizes()["strangers"] == 0
    await socket.send_text(f"41{NAMESPACE},")
    await eventually(lambda: road.notebook.gone == _CLOSED, "the departure")
    assert road.sizes()["strangers"] == 1
    await socket.send_text(f'40{NAMESPACE},{{"token":"ada"}}')
    assert (await _read_past_pings(socket)).startswith(f"40{NAMESPACE},")
    await road.clock.advance(6)
    await socket.send_text(f'42{NAMESPACE},2["say",{{}}]')
    assert (await _read_past_pings(socket)).startswith(f"43{NAMESPACE},2[")
    await socket.send_text(f"41{NAMESPACE},")
    await eventually(lambda: bool(road.sizes()["strangers"]), "a stranger")
    await road.clock.advance(5)
    assert (await _read_past_pings(socket), await socket.read_close()) == ("1", 1000)
    await socket.send_close(1000)
    await road.all_gone(2)
    await road.nobody_left()


@pytest.mark.parametrize("flood", ['40/nowhere,{"token":"x"}', "5", "ping"])
async def test_a_stranger_who_does_not_read_is_dropped(road: Road, flood: str) -> None:
    socket = road.bare(4096)
    await socket.open(road.address)
    data = (client_frame(PING, b"x" * 125) if flood == "ping" else text(flood)) * 5000

    async def pour() -> None:
        while True:
            await socket.send_bytes(data)

    with pytest.raises(ConnectionError):
        await pour()
    await road.nobody_left()


# Who goes for which reason.


async def test_who_reads_too_slowly_goes_for_that_reason_and_once(road: Road) -> None:
    socket = await _much_waits(road)
    connection = road.connection()
    for _ in range(20):
        connection.notify("notice", {"text": "x" * 50_000})
        await asyncio.sleep(0)
    await road.all_gone()
    assert road.notebook.gone == [("ada", DisconnectReason.TOO_SLOW)]
    await socket.wait_closed()
    await road.nobody_left()


async def test_the_client_of_the_product_ends_as_it_should(live: Live) -> None:
    raw = await live.raw("ada")
    (client,) = live.coordinator._sockets.direct.clients
    await client.close()
    await raw.wait_closed()
    assert raw.frames[-1] == "1"
    await eventually(lambda: not live.coordinator._sockets.direct.clients, "nobody")
