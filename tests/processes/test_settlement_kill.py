"""kill -9 between the end of sessions and what becomes of their registrations: the next process finishes it, once."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from tests.database import fresh_database, open_database, server_url
from tests.processes.server import ServerProcess

SLOTS = 30


class Platform:
    """A coordinator process over a database that outlives it, and everyone who asks it."""

    def __init__(self, server: ServerProcess, database: Database, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.database = database
        self._http = http

    async def ask(self, method: str, path: str, user: str, role: Role, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.server.token(user, role)}"}
        url = f"{self.server.address}/api/v1{path}"
        async with self._http.request(method, url, headers=headers, json=body) as response:
            assert response.status < 300, await response.text()
            return await response.json(content_type=None)

    async def offer(self, number: int) -> str:
        """Offer a slot whose lobby is open, book it for one who comes and one who does not; return its session."""
        start = datetime.now(UTC) + timedelta(minutes=5)
        body = {"targetLanguageCode": "en", "level": "C1", "startTime": start.isoformat(), "durationMinutes": 30}
        slot = await self.ask("POST", "/time-slots", "boss", Role.ADMIN, body)
        for user in (f"there-{number}", f"away-{number}"):
            await self.ask("POST", f"/time-slots/{slot['id']}/registrations", user, Role.PARTICIPANT, {})
        async with asyncio.timeout(20):
            while "sessionId" not in (found := await self.ask("GET", f"/time-slots/{slot['id']}", "boss", Role.ADMIN)):
                await SystemClock().sleep(0.05)  # it is opened within two seconds
        return str(found["sessionId"])

    async def visit(self, number: int, session_id: str) -> None:
        """Join a session and leave it."""
        client = socketio.AsyncClient(reconnection=False)
        auth = {"token": self.server.token(f"there-{number}")}
        await client.connect(self.server.address, namespaces=["/rooms"], auth=auth, transports=["websocket"])
        for name, payload in (("join", {"sessionId": session_id}), ("leave", {})):
            assert (await client.call(name, payload, namespace="/rooms"))["ok"]
        await client.disconnect()

    async def end(self, session_id: str) -> None:
        """End a session; nobody may answer any more."""
        with suppress(aiohttp.ClientError):
            await self.ask("POST", f"/sessions/{session_id}/end", "boss", Role.ADMIN)

    async def statuses(self) -> dict[str, str]:
        """Return the status of everybody's registration, as it is stored."""
        found = await self.database.registrations.find({}).to_list(None)
        return {item["userId"]: item["status"] for item in found}

    async def ended(self) -> int:
        """Return how many sessions have ended, as the journal says."""
        return await self.database.events.count_documents({"events.type": "session_ended"})


@pytest.mark.timeout(120)
async def test_a_process_that_dies_between_the_end_and_the_attendance(tmp_path: Path) -> None:
    with fresh_database() as name:
        database = open_database(name)
        server = ServerProcess(tmp_path / "data", server_url(), COORDINATOR_MONGO__DATABASE=name)
        await server.start()
        async with aiohttp.ClientSession() as http:
            platform = Platform(server, database, http)
            sessions = await asyncio.gather(*(platform.offer(number) for number in range(SLOTS)))
            for number, session_id in enumerate(sessions):
                await platform.visit(number, session_id)

            ends = [asyncio.create_task(platform.end(session_id)) for session_id in sessions]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await server.kill()
            await asyncio.wait(ends)
            left = list((await platform.statuses()).values()).count("registered")
            ended = await platform.ended()
            assert left > 2 * (SLOTS - ended), "it should have died with sessions ended and their registrations open"

            await server.start()
            await asyncio.gather(*(platform.end(session_id) for session_id in sessions))  # those that had not ended yet
            expected = {f"there-{number}": "attended" for number in range(SLOTS)}
            expected |= {f"away-{number}": "noshow" for number in range(SLOTS)}
            async with asyncio.timeout(20):
                while await platform.statuses() != expected:
                    await SystemClock().sleep(0.05)  # a database cannot call back
            assert await platform.ended() == SLOTS
        assert await server.stop() == 0
        await database.close()
