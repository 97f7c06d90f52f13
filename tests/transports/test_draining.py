"""A server that is about to stop: who is told, who is refused in which words, and who is let go when."""

import asyncio
import json
import time

import aiohttp
import pytest

from coordinator.domain.events import Role
from coordinator.services.stopping import Stop
from tests.transports.clients import MODERATION, NAMESPACE, RECORDING, RawClient, RoomClient
from tests.transports.conftest import StartLive
from tests.transports.harness import Live, eventually
from tests.transports.sockets import BareSocket

_ROLES = {NAMESPACE: Role.PARTICIPANT, MODERATION: Role.MODERATOR, RECORDING: Role.RECORDER}
_BEGINNINGS = {NAMESPACE: "join", MODERATION: "watch", RECORDING: "subscribe"}
_ENGINE = "/socket.io/?EIO=4&transport="


def drain(live: Live) -> None:
    """Let it be about to stop, with everybody still there."""
    live.coordinator._api.health.drain()
    live.coordinator._sockets.drain(lambda: 700)


async def test_everybody_is_told_that_the_server_stops(live: Live) -> None:
    offer = await live.offer("ada")
    clients = {role: RoomClient(role, namespace) for namespace, role in _ROLES.items()}
    async with live.another() as stopping:
        await live.register(offer.slot, Role.PARTICIPANT)
        for role, client in clients.items():
            await client.connect(stopping.address, {"token": live.token(role, role)})
        ada, mona, rec = clients.values()
        assert (await ada.join(offer.session_id))["ok"]
        assert (await mona.watch(offer.session_id))["ok"]
        assert (await rec.call("subscribe", {"consumer": "main"}))["ok"]
    for client in clients.values():
        notice = await client.wait_for("server_draining")
        assert notice.keys() == {"reconnectAfterMs"}
        assert 500 <= notice["reconnectAfterMs"] <= 2000
        await client.wait_gone()
    lost = json.loads((await live.journal(offer.session_id))[-1])
    assert (lost["type"], lost["data"]["reason"]) == ("participant_disconnected", "server_stopped")


async def test_a_poll_that_waits_ends_without_a_goodbye_and_the_next_one_finds_nobody(live: Live) -> None:
    url = live.address + _ENGINE + "polling"
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            url += "&sid=" + json.loads((await answer.text())[1:])["sid"]
        waiting = asyncio.create_task(http.get(url))
        (client,) = live.coordinator._sockets.ordinary.clients.values()
        await eventually(lambda: bool(client._socket.queue._getters), "the poll")
        await client.end()
        async with await waiting as answer:
            assert (answer.status, await answer.text()) == (200, "6")
        async with http.get(url) as answer:
            assert answer.status == 400


async def test_nobody_is_told_goodbye_by_a_server_that_stops(live: Live) -> None:
    # To some clients' libraries, Engine.IO's CLOSE packet is final: they would not come back by themselves.
    async with live.another() as stopping:
        client = RawClient("ada")
        await client.open(stopping.address)
        await client.connect({"token": live.token("ada")})
    await client.wait_closed()
    await client.close()
    assert client.frames[-1].startswith('42/rooms,["server_draining",')
    assert "1" not in client.frames


async def test_how_long_to_wait_is_asked_for_each(live: Live) -> None:
    waits = iter([500, 700])
    first, second = await live.connect("ada"), await live.moderator()
    live.coordinator._sockets.drain(lambda: next(waits))
    assert await first.wait_for("server_draining") == {"reconnectAfterMs": 500}
    assert await second.wait_for("server_draining") == {"reconnectAfterMs": 700}


async def test_it_says_that_it_is_not_ready_and_goes_on_to_answer(live: Live) -> None:
    drain(live)
    answer = await live.get("/readyz", token="")
    assert (answer.status, answer.json) == (503, {"status": "draining", "checks": {}})
    assert (await live.get("/healthz", token="")).status == 200
    assert (await live.get("/api/v1/time-slots")).status == 200


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_newcomers_are_refused_before_they_have_a_connection(live: Live, transport: str) -> None:
    # A refusal of the namespace is final to the libraries; after this one they try again, and find another node.
    drain(live)
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"} if transport == "websocket" else {}
    url = live.address + _ENGINE + transport
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        assert answer.status == 503
        error = await answer.json()
    assert (error["code"], error["retryable"]) == ("unavailable", True)
    assert "connect again" in error["message"]


@pytest.mark.parametrize("namespace", list(_ROLES))
async def test_nothing_new_begins_on_a_connection_and_the_rest_goes_on(live: Live, namespace: str) -> None:
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    client = await live.connect("bo", namespace=namespace, role=_ROLES[namespace])
    drain(live)
    reply = await client.call(_BEGINNINGS[namespace], {"sessionId": offer.session_id})
    assert (reply["error"]["code"], reply["error"]["retryable"]) == ("unavailable", True)
    assert "connect again" in reply["error"]["message"]
    assert (await ada.call("set_media", {"micEnabled": True}))["ok"]


async def test_another_namespace_on_a_connection_is_refused(live: Live) -> None:
    client = await live.raw("ada")
    drain(live)
    await client.send(f"40/moderation,{json.dumps({'token': live.token('mona', Role.MODERATOR)})}")
    assert '"message":"unavailable"' in await client.wait_frame("44/moderation")


async def test_connections_are_closed_one_after_the_other(live: Live) -> None:
    clients = [await live.connect(f"user-{number}") for number in range(5)]
    ends = [asyncio.create_task(_gone_at(client)) for client in clients]
    await live.coordinator._sockets.close_all(0.1, 10.0)
    times = [await end for end in ends]
    assert times == sorted(times)
    assert times[-1] - times[0] > 0.3


async def test_however_many_they_are_they_are_closed_in_time(live: Live) -> None:
    clients = [await live.connect(f"user-{number}") for number in range(5)]
    began = time.monotonic()
    await live.coordinator._sockets.close_all(60.0, 0.2)
    assert time.monotonic() - began < 10
    for client in clients:
        await client.wait_gone()


async def _gone_at(client: RoomClient) -> float:
    await client.wait_gone()
    return time.monotonic()


async def test_who_does_not_read_is_dropped(start: StartLive) -> None:
    live = await start({"limits.send_buffer_bytes": 100_000_000})
    deaf = BareSocket()
    await deaf.connect(live.address, live.token("deaf"))
    (connection,) = live.coordinator._connections._connections
    for _ in range(200):
        connection.notify("session_ending", {"text": "x" * 60_000})
    stop = Stop()
    began = time.monotonic()
    await live.coordinator.drain(stop)
    assert time.monotonic() - began < 2
    assert stop.undone == []
    await deaf.wait_closed()
    deaf.close()


async def test_where_several_processes_share_a_port_nobody_may_poll(start: StartLive) -> None:
    live = await start({"server.workers": 2})
    for method in ("GET", "POST"):
        url = live.address + _ENGINE + "polling"
        async with aiohttp.ClientSession() as http, http.request(method, url) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, 0)
            assert "websocket" in (await answer.json())["message"]
    client = await live.connect("ada")
    assert (await client.call("leave", {}))["error"]["code"] == "not_in_session"


async def test_an_unknown_transport_is_refused_as_ever(live: Live) -> None:
    answer = await live.get("/socket.io/?EIO=4&transport=pigeon", token="")
    assert answer.status == 400
