"""Many register at the same time, on two coordinators over one database: no seat is taken twice, none stays empty."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from bson import ObjectId

from coordinator.adapters.mongo.client import Database, connect
from coordinator.domain.events import Role
from tests.database import fresh_database, server_url
from tests.processes.server import ServerProcess

USERS = 100
ANSWER_SECONDS = 60


class TwoNodes:
    """Two coordinators over one database, and what asks them."""

    def __init__(self, servers: list[ServerProcess], database: Database, http: aiohttp.ClientSession) -> None:
        self.servers = servers
        self.database = database
        self._http = http

    async def offer(self, max_participants: int) -> str:
        """Offer a slot of tomorrow; return its id."""
        body = {
            "targetLanguageCode": "fr",
            "level": "B1",
            "startTime": (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="milliseconds"),
            "durationMinutes": 30,
            "maxParticipants": max_participants,
        }
        status, slot = await self.ask("POST", "/time-slots", "boss", Role.ADMIN, body=body)
        assert status == 201, slot
        return str(slot["id"])

    async def register_all(self, slot_id: str, users: list[str]) -> list[tuple[int, dict[str, Any]]]:
        """Register the users at the same time, every second one at the other coordinator; return the answers."""
        asked = (
            self.ask("POST", f"/time-slots/{slot_id}/registrations", user, node=number % 2, body={})
            for number, user in enumerate(users)
        )
        return await asyncio.gather(*asked)

    async def ask(
        self, method: str, path: str, user: str, role: Role = Role.PARTICIPANT, *, node: int = 0, body: Any = None
    ) -> tuple[int, dict[str, Any]]:
        """Ask one of the coordinators; return status and answer."""
        server = self.servers[node]
        headers = {"Authorization": f"Bearer {server.token(user, role)}"}
        url = f"{server.address}/api/v1{path}"
        async with self._http.request(method, url, headers=headers, json=body) as response:
            return response.status, await response.json(content_type=None)

    async def stored(self, slot_id: str) -> list[dict[str, Any]]:
        """Return the slot's registrations, as they are stored."""
        return await self.database.registrations.find({"timeSlotId": ObjectId(slot_id)}).to_list(None)

    async def counts(self, slot_id: str) -> list[int]:
        """Return how many registrations the slot has, according to each of the coordinators."""
        answers = [await self.ask("GET", f"/time-slots/{slot_id}", "anna", node=node) for node in (0, 1)]
        return [slot["registeredCount"] for _, slot in answers]


@asynccontextmanager
async def running(servers: list[ServerProcess]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for server in servers:
            await server.start()
            stack.push_async_callback(server.stop)
        yield


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[TwoNodes]:
    url = server_url()
    with fresh_database() as name:
        servers = [
            ServerProcess(tmp_path / f"node-{number}", mongo_url=url, COORDINATOR_MONGO__DATABASE=name)
            for number in (0, 1)
        ]
        database = connect(url, name)
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)  # at the same time means at the same time
        try:
            async with running(servers), aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
                yield TwoNodes(servers, database, http)
        finally:
            await database.close()


def codes(answers: list[tuple[int, dict[str, Any]]]) -> Counter[tuple[int, str | None]]:
    return Counter((status, body.get("code")) for status, body in answers)


def users() -> list[str]:
    return [f"user-{number}" for number in range(USERS)]


async def test_with_one_seat_left_one_of_a_hundred_gets_it(nodes: TwoNodes) -> None:
    slot_id = await nodes.offer(max_participants=2)
    assert codes(await nodes.register_all(slot_id, ["early"])) == {(201, None): 1}
    answers = await nodes.register_all(slot_id, users())
    assert codes(answers) == {(201, None): 1, (409, "slot_full"): USERS - 1}
    (winner,) = (body["userId"] for status, body in answers if status == 201)
    stored = await nodes.stored(slot_id)
    assert {registration["userId"] for registration in stored} == {"early", winner}
    assert [registration["status"] for registration in stored] == ["registered", "registered"]
    assert {registration["seat"] for registration in stored} == {0, 1}
    assert await nodes.counts(slot_id) == [2, 2]


async def test_all_seats_are_given_and_none_twice(nodes: TwoNodes) -> None:
    slot_id = await nodes.offer(max_participants=8)
    answers = await nodes.register_all(slot_id, users())
    assert codes(answers) == {(201, None): 8, (409, "slot_full"): USERS - 8}
    stored = await nodes.stored(slot_id)
    registered = [registration for registration in stored if registration["status"] == "registered"]
    assert {registration["userId"] for registration in registered} == {
        body["userId"] for status, body in answers if status == 201
    }
    assert sorted(registration["seat"] for registration in registered) == list(range(8))
    assert stored == registered, "who did not get a seat leaves nothing behind"
    assert await nodes.counts(slot_id) == [8, 8]


async def test_a_user_who_registers_many_times_at_once_is_registered_once(nodes: TwoNodes) -> None:
    slot_id = await nodes.offer(max_participants=8)
    answers = await nodes.register_all(slot_id, ["ada"] * 20)
    assert codes(answers) == {(201, None): 1, (200, None): 19}
    stored = await nodes.stored(slot_id)
    assert {body["id"] for _, body in answers} == {str(registration["_id"]) for registration in stored}
    assert [(registration["userId"], registration["status"]) for registration in stored] == [("ada", "registered")]
    assert await nodes.counts(slot_id) == [1, 1]
