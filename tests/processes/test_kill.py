"""kill -9 in the middle of load: nothing acked is lost, no seq is missing or doubled, everyone resumes exactly."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.projections import MongoProjections
from coordinator.adapters.system import SystemClock
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import find_flaws
from coordinator.services.verifier import Verifier
from tests.processes.resuming import ResumingClient
from tests.processes.server import ServerProcess

ROUNDS = 10
ROOMS = 3
SEATS = 8


@pytest.mark.timeout(400)
async def test_ten_kills_under_load_lose_nothing(tmp_path: Path) -> None:
    chance = random.Random(20)
    server = ServerProcess(tmp_path / "data", COORDINATOR_LIMITS__REPLAY_EVENTS="100000")
    await server.start()
    clients: list[ResumingClient] = []
    sessions: list[SessionId] = []
    for room in range(ROOMS):
        users = [f"user-{room}-{seat}" for seat in range(SEATS)]
        sessions.append(await server.offer(users))
        clients += [ResumingClient(user, server.token(user), server.address, sessions[-1]) for user in users]
    tasks = [asyncio.create_task(client.toggle_for_ever()) for client in clients]
    try:
        for number in range(ROUNDS):
            await _everyone_gets_acks(clients)
            # Somewhere in the middle of the load, which goes on meanwhile.
            await SystemClock().sleep(chance.uniform(0.05, 0.4))
            await server.kill(database_too=number % 2 == 1)
            await server.start()
        await _everyone_gets_acks(clients)
    finally:
        await _end(tasks)
    assert [fault for client in clients for fault in client.faults] == []
    assert all(client.resumptions >= ROUNDS for client in clients)
    await _check_against_journal(server, clients, sessions)
    assert await server.stop() == 0


async def test_a_database_that_hangs_means_unavailable_and_then_everything_goes_on(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", COORDINATOR_LIMITS__REPLAY_EVENTS="100000")
    await server.start()
    users = [f"user-{seat}" for seat in range(SEATS)]
    session = await server.offer(users)
    clients = [ResumingClient(user, server.token(user), server.address, session) for user in users]
    tasks = [asyncio.create_task(client.toggle_for_ever()) for client in clients]
    try:
        await _everyone_gets_acks(clients)
        database = server.database_process()
        database.suspend()
        try:
            async with asyncio.timeout(30):
                while not all(client.refused for client in clients):
                    await SystemClock().sleep(0.05)
        finally:
            database.resume()
        await _everyone_gets_acks(clients)
    finally:
        await _end(tasks)
    assert {code for client in clients for code in client.refused} == {"unavailable"}
    assert [fault for client in clients for fault in client.faults] == []
    await _check_against_journal(server, clients, [session])
    assert await server.stop() == 0


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    _, pending = await asyncio.wait(tasks, timeout=20)
    assert not pending


async def _everyone_gets_acks(clients: list[ResumingClient]) -> None:
    before = [len(client.acked) for client in clients]
    async with asyncio.timeout(60):
        for client, count in zip(clients, before, strict=True):
            while len(client.acked) < count + 3:
                await SystemClock().sleep(0.01)


async def _check_against_journal(
    server: ServerProcess, clients: list[ResumingClient], sessions: list[SessionId]
) -> None:
    async with server.database() as database:
        journal = MongoJournal(database)
        verifier = Verifier(journal, MongoProjections(database), SystemClock())
        for session_id, room in zip(sessions, _by_room(clients), strict=True):
            assert find_flaws(session_id, await journal.stored(session_id)) == []
            events = await _events(database, session_id)
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            for client in room:
                _check_client(client, events)
            async with asyncio.timeout(20):
                while (await verifier.verify(session_id, repair=False)).flaws:
                    pass  # the departures of this test's clients are still being written


def _by_room(clients: list[ResumingClient]) -> list[list[ResumingClient]]:
    return [clients[start : start + SEATS] for start in range(0, len(clients), SEATS)]


async def _events(database: Any, session_id: SessionId) -> list[dict[str, Any]]:
    journal = MongoJournal(database)
    stored = await journal.stored(session_id)
    events = [{**event, "sessionId": session_id} for commit in stored for event in commit["events"]]
    for event in events:
        event.pop("salt", None)  # which nobody is shown
    return events


def _check_client(client: ResumingClient, events: list[dict[str, Any]]) -> None:
    """What the client was told is what is written, and what it was promised is there."""
    assert client.received == events[client.first : client.seq]
    camera_at: list[bool] = []
    camera = False
    for event in events:
        if event["type"] == "camera_changed" and event["data"]["userId"] == client.user:
            camera = event["data"]["cameraEnabled"]
        camera_at.append(camera)
    for seq, promised in client.acked:
        assert camera_at[seq - 1] is promised, f"{client.user} was told {promised} at {seq}"
