"""The recorder and the coordinator killed in turns under load: every event after the acked cursor arrives, in order."""

import asyncio
import json
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from coordinator.domain.feed import FEED_EVENTS
from coordinator.domain.ids import SessionId
from tests.processes.resuming import ResumingClient
from tests.processes.server import ServerProcess

ROUNDS = 50
ROOMS = 3
SEATS = 3
PAUSE_SECONDS = 0.05
"""Between two changes of mind: together about 200 events per second, each of which a process in Python has to read."""


class WaveringClient(ResumingClient):
    """Grants and revokes consent for ever."""

    async def _toggle(self, client: Any) -> None:
        await SystemClock().sleep(PAUSE_SECONDS)
        self._camera = not self._camera
        payload = {"granted": self._camera}
        answer = await client.call("set_recording_consent", payload, namespace="/rooms", timeout=40)
        if answer["ok"]:
            self.acked.append((answer["seq"], self._camera))
        elif answer["error"]["retryable"]:
            self.refused.append(answer["error"]["code"])
        else:
            self.faults.append(f"consent was refused: {answer['error']}")


class ConsumerProcess:
    """`feed_consumer` in a process, again and again, with one log."""

    def __init__(self, server: ServerProcess, log: Path) -> None:
        self._arguments = [server.address, server.token("recorder", Role.RECORDER), "killed", str(log)]
        self._log = log

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.processes.feed_consumer", *self._arguments
        )

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()

    def lines(self) -> list[dict[str, Any]]:
        # The last line may be cut short by a kill, or still be written.
        text = self._log.read_text() if self._log.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    async def acks(self, count: int) -> None:
        """Wait until that many more acks were answered than now."""
        before = self._acks()
        async with asyncio.timeout(60):
            while self._acks() < before + count:
                await SystemClock().sleep(0.05)

    def _acks(self) -> int:
        return self._log.read_bytes().count(b'{"acked"') if self._log.exists() else 0


@pytest.mark.timeout(600)
async def test_fifty_kills_of_recorder_and_coordinator_lose_no_record(tmp_path: Path) -> None:
    chance = random.Random(4)
    server = ServerProcess(tmp_path / "data", COORDINATOR_LIMITS__REPLAY_EVENTS="100000")
    await server.start()
    clients: list[ResumingClient] = []
    sessions: list[SessionId] = []
    for room in range(ROOMS):
        users = [f"user-{room}-{seat}" for seat in range(SEATS)]
        sessions.append(await server.offer(users))
        clients += [WaveringClient(user, server.token(user), server.address, sessions[-1]) for user in users]
    for session in sessions:
        await _record(server, session)
    consumer = ConsumerProcess(server, tmp_path / "consumer.log")
    await consumer.start()
    tasks = [asyncio.create_task(client.toggle_for_ever()) for client in clients]
    try:
        for number in range(ROUNDS):
            await consumer.acks(3)
            await SystemClock().sleep(chance.uniform(0.0, 0.2))  # somewhere in the middle of the load
            if number % 2:
                await consumer.kill()
                await consumer.start()
            else:
                await server.kill(database_too=number % 4 == 2)
                await server.start()
        await consumer.acks(3)
    finally:
        for task in tasks:
            task.cancel()
        _, pending = await asyncio.wait(tasks, timeout=20)
        assert not pending
    assert [fault for client in clients for fault in client.faults] == []
    complete = await _feed_of(server, sessions)
    async with asyncio.timeout(60):
        while not _has_everything(consumer.lines(), complete):
            await SystemClock().sleep(0.5)
    await consumer.kill()
    # Departures of this test's clients may have been written since, and delivered.
    written = await _feed_of(server, sessions)
    assert all(written[session][: len(events)] == events for session, events in complete.items())
    _check(consumer.lines(), written)
    assert await server.stop() == 0


async def _record(server: ServerProcess, session: SessionId) -> None:
    headers = {"Authorization": f"Bearer {server.token('mod', Role.MODERATOR)}"}
    url = f"{server.address}/api/v1/sessions/{session}/recording"
    async with aiohttp.ClientSession() as http, http.put(url, json={"enabled": True}, headers=headers) as response:
        assert response.status == 200, await response.text()


async def _feed_of(server: ServerProcess, sessions: list[SessionId]) -> dict[str, list[Any]]:
    async with server.database() as database:
        journal = MongoJournal(database)
        return {
            session: [
                json.loads(sealed.json)
                for sealed in await journal.events_after(session, 0)
                if sealed.event.body.kind in FEED_EVENTS
            ]
            for session in sessions
        }


def _has_everything(lines: list[dict[str, Any]], written: dict[str, list[Any]]) -> bool:
    seen = {
        (line["record"]["event"]["sessionId"], line["record"]["event"]["seq"]) for line in lines if "record" in line
    }
    return all((session, event["seq"]) in seen for session, wanted in written.items() for event in wanted)


def _check(lines: list[dict[str, Any]], written: dict[str, list[Any]]) -> None:
    """Each connection goes on where the acks ended or before, without a gap; and what is told is what is written."""
    place = {
        (session, event["seq"]): (number, event)
        for session, events in written.items()
        for number, event in enumerate(events)
    }
    acked: defaultdict[str, int] = defaultdict(lambda: -1)  # the furthest that the server may have taken for acked
    here: dict[str, int] = {}  # the last of each session on this connection
    unacked: dict[str, dict[str, int]] = {}  # what an ack of a cursor stands for
    subscriptions = refusals = 0
    for line in lines:
        if "started" in line or "subscribed" in line:
            subscriptions += "subscribed" in line
            here.clear()
            unacked.clear()
        elif "record" in line:
            event = line["record"]["event"]
            session = event["sessionId"]
            number, original = place[session, event["seq"]]
            assert event == original
            expected = here.get(session, acked[session]) + 1
            assert number == expected or (session not in here and number < expected), f"{session}: {event['seq']}"
            here[session] = number
            unacked[line["record"]["cursor"]] = dict(here)
        elif "acking" in line:
            acked.update(unacked[line["acking"]])
        else:
            # Whether a database that is being killed has taken an ack, nobody knows; the next one covers both.
            assert line["ok"] or line["error"]["code"] == "unavailable", line
            refusals += not line["ok"]
    assert refusals <= ROUNDS // 2  # one for each kill of the server at most
    assert subscriptions >= ROUNDS
    assert all(acked[session] > len(events) / 2 for session, events in written.items())
