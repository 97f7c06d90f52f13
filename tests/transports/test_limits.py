"""How much one client may ask for, and what becomes of one that does not read (SPEC section 5, limits)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from tests.transports.clients import MODERATION, NAMESPACE, RoomClient
from tests.transports.conftest import StartLive
from tests.transports.harness import UNLIMITED, Live
from tests.transports.sockets import TEXT, BareSocket, frame

_BUFFER_BYTES = 100_000
_FLOODS = 4_000
"""Large messages after which even a generous kernel has no room left for a client that does not read."""
_SLOW = {**UNLIMITED, "limits.send_buffer_bytes": _BUFFER_BYTES, "limits.replay_events": 100_000}

OpenBare = Callable[[Live, str], Awaitable[BareSocket]]


@pytest.fixture
async def open_bare(start: StartLive) -> AsyncIterator[OpenBare]:
    """Connect users on bare sockets, which are closed before the coordinator stops."""
    async with AsyncExitStack() as stack:

        async def open_one(live: Live, user: str) -> BareSocket:
            bare = BareSocket()
            stack.callback(bare.close)
            await bare.connect(live.address, live.token(user))
            return bare

        yield open_one


def _code(reply: Any) -> str:
    return "ok" if reply["ok"] else str(reply["error"]["code"])


# Rates.


async def test_commands_are_limited_and_signals_have_a_limit_of_their_own(start: StartLive) -> None:
    live = await start({"limits.command_burst": 4, "limits.commands_per_second": 0.001})
    offer = await live.offer("ada", "bo")
    await live.join("bo", offer.session_id)
    ada = await live.join("ada", offer.session_id)
    for camera in (True, False, True):
        assert (await ada.call("set_media", {"cameraEnabled": camera}))["ok"]
    for name, payload in (("set_media", {"cameraEnabled": False}), ("sync", {"after": 0}), ("no_such_event", {})):
        reply = await ada.call(name, payload)
        assert reply.keys() == {"ok", "error"}
        assert (reply["error"]["code"], reply["error"]["retryable"]) == ("rate_limited", True)
    for _ in range(100):
        assert await ada.call("signal", {"to": "bo", "data": 1}) == {"ok": True}
    session = await live.stored_at(offer.session_id, 7)
    assert session["seq"] == 7
    assert live.participants(offer.session_id)["ada"]["cameraEnabled"] is True


async def test_signals_are_limited_and_commands_go_on(start: StartLive) -> None:
    live = await start({"limits.signal_burst": 3, "limits.signals_per_second": 0.001})
    offer = await live.offer("ada", "bo")
    bo = await live.join("bo", offer.session_id)
    ada = await live.join("ada", offer.session_id)
    codes = [_code(await ada.call("signal", {"to": "bo", "data": number})) for number in range(6)]
    assert codes == ["ok", "ok", "ok", "rate_limited", "rate_limited", "rate_limited"]
    assert (await ada.call("set_media", {"cameraEnabled": True}))["ok"]
    await bo.wait_for("camera_changed")
    assert [signal["data"] for name, signal in bo.arrivals if name == "signal"] == [0, 1, 2]


async def test_the_limit_is_the_connections_own_and_passes(start: StartLive) -> None:
    live = await start({"limits.command_burst": 2, "limits.commands_per_second": 4})
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    codes = [_code(await ada.call("sync", {"after": 0})) for _ in range(10)]
    assert codes[0] == "ok"
    assert "rate_limited" in codes
    assert (await (await live.connect("bo")).join(offer.session_id))["ok"]
    async with asyncio.timeout(10):
        while _code(await ada.call("sync", {"after": 0})) != "ok":
            pass


@pytest.mark.parametrize("road", ["direct", "ordinary"])
async def test_leaving_a_namespace_and_coming_back_gives_no_more(start: StartLive, road: str) -> None:
    live = await start({"limits.command_burst": 4, "limits.commands_per_second": 0.001})
    live.take(road)
    client = await live.raw("ada")
    codes = [(await client.call("leave", {}))["error"]["code"] for _ in range(3)]
    await client.send(f"41{NAMESPACE},")
    assert (await client.connect({"token": live.token("ada")})).startswith(f"40{NAMESPACE},")
    codes += [(await client.call("leave", {}))["error"]["code"] for _ in range(3)]
    assert codes == ["not_in_session"] * 4 + ["rate_limited"] * 2
    # Another connection of the same user has used up nothing.
    assert (await (await live.raw("ada")).call("leave", {}))["error"]["code"] == "not_in_session"


@pytest.mark.parametrize("road", ["direct", "ordinary"])
async def test_attempts_to_connect_are_limited_before_a_token_is_looked_at(start: StartLive, road: str) -> None:
    live = await start({"limits.command_burst": 3, "limits.commands_per_second": 0.001})
    live.take(road)
    client = await live.raw()
    answers = [await client.connect({"token": "x"}) for _ in range(6)]
    words = [json.loads(answer.partition(",")[2])["message"] for answer in answers]
    assert words == ["unauthenticated"] * 4 + ["rate_limited"] * 2
    refused = json.loads((await client.connect({"token": live.token("ada")})).partition(",")[2])
    assert (refused["data"]["code"], refused["data"]["retryable"]) == ("rate_limited", True)


async def test_who_is_in_and_tries_elsewhere_is_counted_too(start: StartLive) -> None:
    live = await start({"limits.command_burst": 2, "limits.commands_per_second": 0.001})
    client = await live.raw("ada")
    auth = {"token": live.token("ada")}
    answers = [await client.connect(auth, MODERATION) for _ in range(4)]
    words = [json.loads(answer.partition(",")[2])["message"] for answer in answers]
    assert words == ["forbidden"] * 3 + ["rate_limited"]
    assert (await client.call("leave", {}))["error"]["code"] == "not_in_session"


async def test_the_defaults_are_those_of_the_contract(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    await live.join("bo", offer.session_id)
    ada = await live.raw("ada")
    await ada.call("join", {"sessionId": offer.session_id})
    # What is refilled while they are on their way comes on top.
    began = time.monotonic()
    ids = [await ada.send_event('["sync",{"after":0}]') for _ in range(80)]
    codes = [_code(await ada.wait_ack(ack_id)) for ack_id in ids]
    assert 39 <= codes.count("ok") <= 41 + 20 * (time.monotonic() - began)
    began = time.monotonic()
    ids = [await ada.send_event('["signal",{"to":"bo","data":1}]') for _ in range(400)]
    codes = [_code(await ada.wait_ack(ack_id)) for ack_id in ids]
    assert 200 <= codes.count("ok") <= 201 + 60 * (time.monotonic() - began)


# Clients that do not read.


async def _flood(sender: RoomClient, victim: str, witness: RoomClient) -> None:
    """Signal to a client, and switch something now and then, until the witness sees that the client is gone."""
    data = "x" * 16_000
    for number in range(_FLOODS):
        if number % 10 == 0:
            await sender.call("set_media", {"micEnabled": number % 20 == 0})
        await sender.call("signal", {"to": victim, "data": data})
        if any(event["data"]["userId"] == victim for event in witness.events("participant_disconnected")):
            return
    raise AssertionError(f"{victim} is still there after {_FLOODS * len(data)} unread bytes")


@pytest.mark.parametrize("road", ["direct", "ordinary"])
async def test_who_does_not_read_is_disconnected_and_misses_nothing(
    start: StartLive, open_bare: OpenBare, road: str
) -> None:
    live = await start(_SLOW)
    live.take(road)
    offer = await live.offer("ada", "bo", "slow")
    ada = await live.join("ada", offer.session_id)
    bo = await live.join("bo", offer.session_id)
    slow = await open_bare(live, "slow")
    await slow.send_text(f'42{NAMESPACE},1["join",{{"sessionId":"{offer.session_id}"}}]')
    joined = json.loads((await slow.read_text()).partition(",1")[2])[0]["seq"]

    await _flood(ada, "slow", bo)
    lost = await bo.wait_for("participant_disconnected", userId="slow")
    assert lost["data"]["reason"] == "too_slow"
    await slow.wait_closed()

    again = await live.connect("slow")
    reply = await again.join(offer.session_id, after=joined)
    journal = [json.loads(event) for event in await live.journal(offer.session_id)]
    assert reply["resumed"]
    assert reply["events"] == journal[joined : reply["seq"]]
    assert any(event["type"] == "mic_changed" for event in reply["events"])


async def test_who_asks_and_does_not_read_the_answers_is_disconnected(start: StartLive, open_bare: OpenBare) -> None:
    live = await start(_SLOW)
    offer = await live.offer("bo", "slow")
    bo = await live.join("bo", offer.session_id)
    slow = await open_bare(live, "slow")
    await slow.send_text(f'42{NAMESPACE},1["join",{{"sessionId":"{offer.session_id}"}}]')
    questions = b"".join(_question(number) for number in range(500))

    async def ask() -> None:
        for _ in range(100):
            await slow.send_bytes(questions)

    asking = asyncio.create_task(ask())
    try:
        lost = await bo.wait_for("participant_disconnected", userId="slow")
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert lost["data"]["reason"] == "too_slow"


def _question(number: int) -> bytes:
    return frame(TEXT, f'42{NAMESPACE},{number}["sync",{{"after":0}}]'.encode())


async def test_who_does_not_poll_is_disconnected_and_misses_nothing(start: StartLive) -> None:
    live = await start(_SLOW)
    offer = await live.offer("ada", "bo", "slow")
    ada = await live.join("ada", offer.session_id)
    bo = await live.join("bo", offer.session_id)
    url = f"{live.address}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as response:
            engine_id = json.loads((await response.text())[1:])["sid"]
        url += f"&sid={engine_id}"
        join = f'42{NAMESPACE},1["join",{{"sessionId":"{offer.session_id}"}}]'
        body = f"40{NAMESPACE},{json.dumps({'token': live.token('slow')})}\x1e{join}"
        async with http.post(url, data=body) as response:
            assert response.status == 200
        joined = await bo.wait_for("participant_joined", userId="slow")

        await _flood(ada, "slow", bo)
        lost = await bo.wait_for("participant_disconnected", userId="slow")
        assert lost["data"]["reason"] == "too_slow"
        # It finds out when it polls again: it must not believe that nothing has happened meanwhile.
        async with asyncio.timeout(5):
            while True:
                async with http.get(url) as response:
                    if response.status != 200:
                        break

    again = await live.connect("slow")
    reply = await again.join(offer.session_id, after=joined["seq"])
    journal = [json.loads(event) for event in await live.journal(offer.session_id)]
    assert reply["events"] == journal[joined["seq"] : reply["seq"]]


async def test_who_reads_gets_more_than_the_buffer_holds(start: StartLive) -> None:
    live = await start(_SLOW)
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    bo = await live.join("bo", offer.session_id)
    for number in range(40):
        assert (await ada.call("signal", {"to": "bo", "data": f"{number} " + "x" * 16_000}))["ok"]
    await bo.wait_for("signal", data="39 " + "x" * 16_000)
    assert bo.gone is None


# Compression.


async def test_websockets_are_not_compressed(live: Live) -> None:
    offering = await live.raw(compress=15)
    assert offering.negotiated == 0
    bare = BareSocket()
    try:
        await bare.open(live.address)
        assert "sec-websocket-extensions" not in bare.response_head
    finally:
        bare.close()


async def test_polls_are_not_compressed(live: Live) -> None:
    answer = await live.request("GET", "/socket.io/?EIO=4&transport=polling")
    assert answer.status == 200
    assert "Content-Encoding" not in answer.headers
