"""`coordinator serve --workers N`: several processes behind one port, with real Redis and real kills."""

import asyncio
import json
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import socketio
import socketio.exceptions

from coordinator.domain.ids import ConnectionId, node_of
from tests.database import DEAD_URL
from tests.processes.guests import Guest, family, left_of, timed_stop
from tests.processes.server import SIGNED, ServerProcess, run
from tests.redis_server import RedisProcess, redis_process

GUESTS = 20
PATIENCE_SECONDS = 30.0
MOST_STOP_SECONDS = 10.0


@pytest.fixture
def redis() -> Iterator[RedisProcess]:
    with redis_process() as process:
        yield process


@pytest.fixture
async def server(tmp_path: Path, redis: RedisProcess) -> AsyncIterator[ServerProcess]:
    variables = {"COORDINATOR_SERVER__WORKERS": "2", "COORDINATOR_REDIS__URL": redis.url}
    process = ServerProcess(tmp_path / "data", COORDINATOR_SESSION__NODE_TIMEOUT_SECONDS="2", **variables)
    yield process
    await process.stop()


def workers(server: ServerProcess) -> list[psutil.Process]:
    """Return the workers' processes."""
    return [process for process in family(server) if "--as-worker" in process.cmdline()]


def logged(server: ServerProcess, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def test_they_share_the_port_and_their_rooms_and_one_that_dies_is_replaced(server: ServerProcess) -> None:
    await server.start()
    assert len(workers(server)) == 2
    assert {line["worker"] for line in logged(server, "listening")} == {1, 2}
    guests = [Guest(f"user-{number}") for number in range(GUESTS)]
    session = await server.offer([guest.user for guest in guests])
    for guest in guests:
        await guest.join(server, session)
    nodes = await nodes_of_guests(server, guests[0], session)
    assert len(nodes) == 2, "with the kernel's luck, at least one of twenty is with each: 2 to the power of -19"
    await guests[-1].call("set_media", {"micEnabled": True})
    async with asyncio.timeout(PATIENCE_SECONDS):
        for guest in guests:
            while "mic_changed" not in [event["type"] for event in guest.events]:
                await guest.heard()
    await refuse_polling(server)

    victim = workers(server)[0]
    victim.kill()
    async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE_SECONDS):
        while len(logged(server, "worker_ready")) < 3:
            async with http.get(server.address + "/healthz") as answer:
                assert answer.status == 200
    assert victim.pid not in {worker.pid for worker in workers(server)}
    assert len(workers(server)) == 2
    async with asyncio.timeout(PATIENCE_SECONDS):
        stayed = next(guest for guest in guests if not guest.gone_at)
        gone = [guest for guest in guests if guest.gone_at]
        while len([event for event in stayed.events if event["type"] == "participant_disconnected"]) < len(gone):
            await stayed.heard()
    late = Guest(gone[0].user)
    await late.join(server, session)

    assert await timed_stop(server) < MOST_STOP_SECONDS
    assert len(late.notices) == len(stayed.notices) == 1
    await asyncio.gather(*(guest.close() for guest in [*guests, late]))


async def nodes_of_guests(server: ServerProcess, guest: Guest, session: str) -> Counter[str]:
    token = server.token(guest.user)
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
        http.get(f"{server.address}/api/v1/sessions/{session}/events") as answer,
    ):
        events = (await answer.json())["items"]
    joined = [event["data"]["connectionId"] for event in events if event["type"] == "participant_joined"]
    assert len(joined) == GUESTS
    return Counter(node_of(ConnectionId(connection)) for connection in joined)


async def refuse_polling(server: ServerProcess) -> None:
    """A client that polls, as the libraries do unless told otherwise, learns what would be right."""
    url = server.address + "/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        body = await answer.json()
        assert (answer.status, body["code"]) == (400, 0)
        assert 'transports: ["websocket"]' in body["message"]
    refusals: list[Any] = []
    client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
    client.on("connect_error", refusals.append, namespace="/rooms")
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(server.address, namespaces=["/rooms"], auth={"token": server.token("user-0")})
    assert refusals == [body]


async def test_kill_9_of_the_one_that_looks_after_them_leaves_nothing_behind(server: ServerProcess) -> None:
    await server.start("--demo")
    everything = family(server)
    assert len(everything) == 4, "one that looks after them, two workers, the database"
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert server.process.stdout is not None
        demo = [line.decode() async for line in until_offered(server.process.stdout)]
    assert len([line for line in demo if line.startswith("Demo slot ")]) == 1
    await server.kill()
    assert await left_of(everything, 15) == []
    await server.start()
    assert len(workers(server)) == 2


async def until_offered(lines: asyncio.StreamReader) -> AsyncIterator[bytes]:
    async for line in lines:
        yield line
        if b"Also on offer" in line:
            return


async def test_a_database_that_hangs_does_not_hold_their_end_up(server: ServerProcess) -> None:
    await server.start()
    session = await server.offer(["ada", "bruno"])
    guests = [Guest("ada"), Guest("bruno")]
    for guest in guests:
        await guest.join(server, session)
    server.database_process().suspend()
    assert await timed_stop(server) < MOST_STOP_SECONDS
    assert [len(guest.notices) for guest in guests] == [1, 1]
    await asyncio.gather(*(guest.close() for guest in guests))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_while_they_start_it_ends_and_leaves_nothing(
    server: ServerProcess, number: signal.Signals
) -> None:
    starting = asyncio.create_task(server.start())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not logged(server, "database_started"):
            await asyncio.wait({starting}, timeout=0.05)
    everything = family(server)
    began = time.monotonic()
    server.process.send_signal(number)
    with pytest.raises(AssertionError, match="it ended with 0"):
        await starting
    assert time.monotonic() - began < MOST_STOP_SECONDS
    assert await left_of(everything, 1) == []


async def test_what_cannot_work_is_refused_in_words(tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path / "data"), "--port", "0"]
    several = ["serve", *data, "--workers", "2"]
    here, nowhere = ["--redis-url", "redis://127.0.0.1:9"], ["--mongo-url", DEAD_URL]
    (alone, none, orphan, without_database) = await asyncio.gather(
        run(*several, variables=SIGNED),
        run("serve", *data, "--workers", "0", variables=SIGNED),
        run("serve", "--as-worker", variables=SIGNED),
        run(*several, *here, *nowhere, variables=SIGNED),
    )
    assert alone[0] == 2
    assert "server.workers: several workers hear of each other through Redis: set redis.url" in alone[2]
    assert none[0] == 2
    assert "server.workers" in none[2]
    assert orphan[0] == 2
    assert "serve --workers N" in orphan[2]
    assert without_database[0] == 1
    assert without_database[2].count("does not answer") == 1
    assert "worker 1 ended with exit code 1 before it answered" in without_database[2]


async def test_a_port_is_not_shared_with_anybody_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = str(other.getsockname()[1])
        options = ["--data-dir", str(tmp_path / "data"), "--port", port, "--redis-url", "redis://127.0.0.1:9"]
        code, _, err = await run("serve", "--workers", "2", *options, variables=SIGNED)
    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}: somebody else listens there" in err
    assert not (tmp_path / "data" / "database").exists()
