"""A planned stop: everyone is told and written down as gone, within 10 seconds, whatever hangs."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from coordinator.domain.ids import SessionId
from tests.processes.guests import Guest, timed_stop
from tests.processes.server import ServerProcess
from tests.redis_server import redis_process
from tests.transports.sockets import BareSocket

MOST_SECONDS = 10.0
"""How long a stop may take, the embedded database's own end included."""
ROOMS, SEATS = 25, 8
FLOOD_SIGNALS = 600
"""So many are more than the kernels take in for a client that does not read."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    variables = {
        "COORDINATOR_SESSION__NODE_TIMEOUT_SECONDS": "2",
        "COORDINATOR_LIMITS__SEND_BUFFER_BYTES": "100000000",
        "COORDINATOR_LIMITS__SIGNALS_PER_SECOND": "100000",
        "COORDINATOR_LIMITS__SIGNAL_BURST": "100000",
    }
    process = ServerProcess(tmp_path / "data", **variables)
    await process.start()
    yield process
    await process.stop()


async def lost(server: ServerProcess, session: SessionId) -> dict[str, str]:
    """Return why each user of a session is gone, from its journal."""
    async with server.database() as database:
        documents = [commit async for commit in database.events.find({}).sort([("sessionId", 1), ("seq", 1)])]
    events = [event for commit in documents if str(commit["sessionId"]) == session for event in commit["events"]]
    gone = [event["data"] for event in events if event["type"] == "participant_disconnected"]
    return {data["userId"]: data["reason"] for data in gone}


def undone(server: ServerProcess, step: str) -> list[str]:
    """Return what the server has said of a step that it left undone."""
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    steps = [step for line in lines if line["event"] == "stopped_unfinished" for step in line["undone"]]
    return [said for said in steps if said.startswith(f"{step}: ")]


async def test_two_hundred_connections_are_let_go_one_after_the_other(server: ServerProcess) -> None:
    rooms = [[f"user-{room}-{seat}" for seat in range(SEATS)] for room in range(ROOMS)]
    sessions = await asyncio.gather(*map(server.offer, rooms))
    guests = [Guest(user) for users in rooms for user in users]
    for number, session in enumerate(sessions):
        here = guests[number * SEATS :][:SEATS]
        await asyncio.gather(*(guest.join(server, session) for guest in here))
    seconds = await timed_stop(server)
    print(f"stopped after {seconds:.2f} s")  # noqa: T201 - for whoever measures
    assert seconds < MOST_SECONDS
    assert undone(server, "departures") == []
    waits = [notice["reconnectAfterMs"] for guest in guests for notice in guest.notices]
    assert len(waits) == len(guests)
    assert all(500 <= wait <= 2000 for wait in waits)
    assert len(set(waits)) > len(guests) / 2
    times = sorted(guest.gone_at for guest in guests)
    assert times[-1] - times[0] > 0.5, "they are not all sent back at the same moment"
    await asyncio.gather(*(guest.close() for guest in guests))
    await server.start()
    for session, users in zip(sessions, rooms, strict=True):
        assert await lost(server, session) == dict.fromkeys(users, "server_stopped")


async def test_neither_who_does_not_read_nor_who_polls_nor_impatience_holds_it_up(server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno", "clara"])
    ada, bruno, clara = Guest("ada"), Guest("bruno"), BareSocket()
    await ada.join(server, session)
    await bruno.join(server, session, "polling")
    await clara.connect(server.address, server.token("clara"))
    await clara.send_text(f'42/rooms,1["join",{{"sessionId":"{session}"}}]')
    while not (await clara.read_text()).startswith("43/rooms,1"):
        pass
    for _ in range(FLOOD_SIGNALS):
        await ada.call("signal", {"to": "clara", "data": "x" * 16_000})
    stopping = asyncio.create_task(timed_stop(server))
    while not stopping.done():
        if server.process.returncode is None:
            server.process.send_signal(signal.SIGTERM)
        await asyncio.wait({stopping}, timeout=0.05)
    assert await stopping < MOST_SECONDS
    assert undone(server, "departures") == []
    clara.close()
    await asyncio.gather(ada.close(), bruno.close())
    await server.start()
    assert await lost(server, session) == dict.fromkeys(["ada", "bruno", "clara"], "server_stopped")


async def test_with_a_database_that_hangs_it_says_what_it_left_and_ends(server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno"])
    guests = [Guest("ada"), Guest("bruno")]
    for guest in guests:
        await guest.join(server, session)
    async with server.database() as database, asyncio.timeout(10):
        while not await database.sessions.count_documents({"status": "active"}):
            pass  # by its document the session is found again
    server.database_process().suspend()
    assert await timed_stop(server) < MOST_SECONDS
    assert all(len(guest.notices) == 1 for guest in guests)
    assert len(undone(server, "departures")) == 1
    await asyncio.gather(*(guest.close() for guest in guests))
    await server.start()
    gone = await lost(server, session)
    assert gone.keys() == {"ada", "bruno"}
    assert set(gone.values()) <= {"connection_lost", "server_stopped"}  # what was on its way may have arrived


async def test_a_redis_that_hangs_does_not_hold_it_up(tmp_path: Path) -> None:
    with redis_process() as redis:
        server = ServerProcess(tmp_path / "data", COORDINATOR_REDIS__URL=redis.url)
        await server.start()
        session = await server.offer(["ada", "bruno"])
        ada = Guest("ada")
        await ada.join(server, session)
        redis.suspend()
        assert await timed_stop(server) < MOST_SECONDS
        assert undone(server, "departures") == []
        redis.resume()
        await ada.close()


async def _connect_and_never_read(http: aiohttp.ClientSession, server: ServerProcess) -> None:
    address = server.address + "/socket.io/?EIO=4&transport=polling"
    async with http.get(address) as answer:
        client = json.loads((await answer.text())[1:])["sid"]
    hello = "40/rooms," + json.dumps({"token": server.token("bruno")})
    async with http.post(f"{address}&sid={client}", data=hello) as answer:
        assert answer.status == 200


async def test_until_it_is_gone_it_says_that_it_stops(server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno"])
    ada = Guest("ada")
    await ada.join(server, session)
    database = server.database_process()
    async with aiohttp.ClientSession() as http:
        async with http.get(server.address + "/readyz") as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "ready")
        await _connect_and_never_read(http, server)  # which is waited for a while
        database.suspend()  # so that the stop takes its time
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            await ada.told.wait()
        async with http.get(server.address + "/readyz") as answer:
            assert (answer.status, await answer.json()) == (503, {"status": "draining", "checks": {}})
    assert await timed_stop(server) < MOST_SECONDS
    await ada.close()
