"""The proxy of the deployment example before two real coordinators: who lands where, and what when one is gone."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from coordinator.domain.events import Role
from tests.database import fresh_database, server_url
from tests.processes.proxy import Proxy, check, rendered, running_proxy
from tests.processes.server import ServerProcess
from tests.test_deploy import only

PATIENCE_SECONDS = 30
MANY = 20
"""Sessions, at most, until each of two coordinators has one: that all of them fall to one has a chance of 2 to -19."""


class Client:
    """A participant on the ordinary client, which comes back by itself and joins again."""

    def __init__(self, house: "House", user: str, session_id: str) -> None:
        self._house = house
        self._user = user
        self._session_id = session_id
        self._joins: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._switched: asyncio.Queue[str] = asyncio.Queue()
        # Its own would stay open where a connection is lost while a request is under way.
        self._http = aiohttp.ClientSession()
        self.socket = socketio.AsyncClient(reconnection_delay=0.2, reconnection_delay_max=0.5, http_session=self._http)
        self.socket.on("connect", self._join, namespace="/rooms")
        self.socket.on("camera_changed", self._switch, namespace="/rooms")

    async def _join(self) -> None:
        await self._joins.put(await self.call("join", {"sessionId": self._session_id}))

    async def _switch(self, event: dict[str, Any]) -> None:
        await self._switched.put(event["data"]["userId"])

    async def connect(self, transport: str, query: str) -> None:
        """Connect through the proxy and join."""
        await self.socket.connect(
            f"{self._house.proxy.address}{query}",
            namespaces=["/rooms"],
            auth={"token": self._house.token(self._user)},
            transports=[transport],
        )
        await self.joined()

    async def close(self) -> None:
        """Disconnect, and come back no more."""
        await self.socket.shutdown()
        await self._http.close()

    async def call(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send an event and return its ack."""
        reply: dict[str, Any] = await self.socket.call(name, body, namespace="/rooms", timeout=PATIENCE_SECONDS)
        return reply

    async def joined(self) -> None:
        """Wait until it has joined: for the first time, or again."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            reply = await self._joins.get()
        assert reply["ok"], reply

    async def sees(self, user: str) -> None:
        """Wait until this user's camera is switched."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self._switched.get() != user:
                pass


class House:
    """Two coordinators over one database, and the proxy before them."""

    def __init__(self, servers: list[ServerProcess], proxy: Proxy, http: aiohttp.ClientSession) -> None:
        self.servers = servers
        self.proxy = proxy
        self._http = http
        self._clients = AsyncExitStack()

    def token(self, user: str, role: Role = Role.PARTICIPANT) -> str:
        """Sign a token."""
        return self.servers[0].token(user, role)

    async def ask(self, method: str, path: str, *, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Ask through the proxy, as an admin; return status and answer."""
        sent = {"Authorization": f"Bearer {self.token('boss', Role.ADMIN)}", **headers}
        async with self._http.request(method, self.proxy.address + path, headers=sent, json=body) as response:
            text = await response.text()
            return response.status, json.loads(text) if "json" in response.content_type else text

    async def open_session(self, *users: str) -> str:
        """Offer a slot to these users, through the proxy; return its session's id once it is open."""
        start = datetime.now(UTC) + timedelta(minutes=5)
        body = {
            "targetLanguageCode": "fr",
            "level": "B1",
            "startTime": start.isoformat(timespec="milliseconds"),
            "durationMinutes": 30,
        }
        status, slot = await self.ask("POST", "/api/v1/time-slots", body=body)
        assert status == 201, slot
        for user in users:
            path = f"/api/v1/time-slots/{slot['id']}/registrations"
            status, registration = await self.ask("POST", path, body={"userId": user})
            assert status == 201, registration
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                _, page = await self.ask("GET", f"/api/v1/sessions?timeSlotId={slot['id']}")
                if page["items"]:
                    return str(page["items"][0]["id"])
                await asyncio.sleep(0.05)  # nobody tells when a session opens whom it does not concern yet

    async def join(self, user: str, session_id: str, transport: str, *, by_session: bool = True) -> Client:
        """Connect a user through the proxy and join; closed in the end."""
        client = Client(self, user, session_id)
        self._clients.push_async_callback(client.close)
        await client.connect(transport, f"?session={session_id}" if by_session else "")
        return client

    async def nodes(self, session_id: str) -> dict[str, str]:
        """Return to which node each of the session's users came last."""
        status, page = await self.ask("GET", f"/api/v1/sessions/{session_id}/events?limit=1000")
        assert status == 200, page
        data = (item["data"] for item in page["items"])
        return {item["userId"]: item["connectionId"].partition("-")[0] for item in data if "connectionId" in item}

    async def server_of(self, session_id: str, user: str) -> ServerProcess:
        """Return the coordinator that a user of a session is on."""
        node = (await self.nodes(session_id))[user]
        (server,) = (server for server in self.servers if f'"node": "{node}"' in server.log)
        return server

    async def taken_in(self, server: ServerProcess) -> None:
        """Wait until the proxy sends requests to a coordinator again that was away: it looks after two seconds."""
        address = server.address.removeprefix("http://")
        known = len(self.proxy.log)
        async with asyncio.timeout(PATIENCE_SECONDS):
            # Each line ends with who was asked, and several where the first did not answer.
            while not any(line.split(" 200 ")[-1].split()[1:] == [address] for line in self.proxy.log[known:]):
                assert (await self.ask("GET", "/readyz"))[0] == 200

    async def close(self) -> None:
        """Let all clients go."""
        await self._clients.aclose()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    url = server_url()
    async with AsyncExitStack() as stack:
        name = stack.enter_context(fresh_database())
        servers = [
            ServerProcess(tmp_path / f"node-{number}", mongo_url=url, COORDINATOR_MONGO__DATABASE=name)
            for number in (1, 2)
        ]
        for server in servers:
            stack.push_async_callback(server.stop)
            await server.start()
        addresses = [server.address.removeprefix("http://") for server in servers]
        proxy = await stack.enter_async_context(running_proxy(addresses))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        house = House(servers, proxy, http)
        stack.push_async_callback(house.close)
        yield house


async def switch_and_see(*clients: tuple[str, Client]) -> None:
    """Let each switch its camera, and all others see it."""
    for user, client in clients:
        assert (await client.call("set_media", {"cameraEnabled": True}))["ok"]
        for _, other in clients:
            await other.sees(user)


async def test_nginx_takes_the_configuration_and_would_notice_a_mistake(tmp_path: Path) -> None:
    configuration = rendered(["127.0.0.1:1", "127.0.0.1:2"], 8080, tmp_path)
    assert await check(configuration, tmp_path) == ""
    assert "unknown directive" in await check(configuration.replace("proxy_buffering", "proxy_bufering"), tmp_path)


async def test_those_of_one_session_meet_on_one_coordinator_whatever_their_transport(house: House) -> None:
    nodes: set[str] = set()
    for number in range(MANY):
        users = f"ada-{number}", f"bo-{number}"  # nobody is in two places at once
        session_id = await house.open_session(*users)
        ada = await house.join(users[0], session_id, "polling")
        bo = await house.join(users[1], session_id, "websocket")
        await switch_and_see((users[0], ada), (users[1], bo))
        assert (ada.socket.transport(), bo.socket.transport()) == ("polling", "websocket")
        of_users = await house.nodes(session_id)
        assert set(of_users) == set(users)
        assert len(set(of_users.values())) == 1
        nodes |= set(of_users.values())
        await ada.close()
        await bo.close()
        if len(nodes) == 2:
            break
    assert len(nodes) == 2, "the sessions are spread"
    await house.proxy.stop()
    assert any("GET /socket.io/ 101 " in line for line in house.proxy.log)
    assert any("POST /socket.io/ 200 " in line for line in house.proxy.log)
    assert not any("sid=" in line or "session=" in line for line in house.proxy.log)


async def test_a_client_that_polls_and_names_no_session_keeps_its_coordinator(house: House) -> None:
    session_id = await house.open_session("ada", "bo")
    ada = await house.join("ada", session_id, "polling", by_session=False)
    bo = await house.join("bo", session_id, "polling", by_session=False)
    await switch_and_see(("ada", ada), ("bo", bo))
    assert (ada.socket.transport(), bo.socket.transport()) == ("polling", "polling")
    assert len(set((await house.nodes(session_id)).values())) == 1  # they have the same address


async def test_when_a_coordinator_is_killed_the_other_takes_over_and_gives_back(house: House) -> None:
    session_id = await house.open_session("ada", "bo")
    ada = await house.join("ada", session_id, "polling")
    bo = await house.join("bo", session_id, "websocket")
    first = await house.nodes(session_id)
    server = await house.server_of(session_id, "ada")
    await server.kill()
    await ada.joined()
    await bo.joined()
    await switch_and_see(("ada", ada), ("bo", bo))
    second = await house.nodes(session_id)
    assert set(first.values()).isdisjoint(second.values())
    assert len(set(second.values())) == 1
    await server.start()
    async with asyncio.timeout(PATIENCE_SECONDS):  # nginx looks again after two seconds
        while True:
            await ada.close()
            ada = await house.join("ada", session_id, "websocket")
            if await house.server_of(session_id, "ada") is server:
                break
    assert (await house.nodes(session_id))["bo"] == second["bo"], "who has a connection keeps it"


async def test_when_a_coordinator_is_stopped_its_clients_go_to_the_other(house: House) -> None:
    session_id = await house.open_session("ada", "bo")
    ada = await house.join("ada", session_id, "polling")
    bo = await house.join("bo", session_id, "websocket")
    first = await house.nodes(session_id)
    server = await house.server_of(session_id, "ada")
    assert await server.stop() == 0
    await ada.joined()
    await bo.joined()
    await switch_and_see(("ada", ada), ("bo", bo))
    assert set(first.values()).isdisjoint((await house.nodes(session_id)).values())


async def test_pages_of_the_proxys_own_address_may_connect_and_no_others(house: House) -> None:
    path = "/socket.io/?EIO=4&transport=polling"
    tls = {"X-Forwarded-Proto": "https", "Host": "rooms.example"}
    for headers, status in (
        ({"Host": "rooms.example:8443", "Origin": "http://rooms.example:8443"}, 200),
        ({**tls, "Origin": "https://rooms.example"}, 200),
        ({**tls, "Origin": "https://evil.example"}, 400),
        ({"Host": "rooms.example", "Origin": "http://evil.example"}, 400),
        ({"Host": "rooms.example", "Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"}, 400),
    ):
        assert (await house.ask("GET", path, **headers))[0] == status, headers


async def test_the_proxy_answers_for_whichever_is_there_and_keeps_metrics_to_itself(house: House) -> None:
    assert (await house.ask("GET", "/metrics"))[0] == 404
    for server in [None, *house.servers]:
        if server is house.servers[1]:
            await house.servers[0].start()
            await house.taken_in(house.servers[0])
        if server is not None:
            await server.stop()
        for _ in range(4):
            assert (await house.ask("GET", "/readyz"))[0] == 200
            status, page = await house.ask("GET", "/api/v1/sessions")
            assert (status, page["items"]) == (200, [])


async def test_the_images_health_check_tells_whether_it_answers(house: House) -> None:
    (command,) = re.findall(r"CMD (\[.*\])", only("HEALTHCHECK"))
    python, *arguments = json.loads(command)
    assert python == "python"

    async def is_healthy(server: ServerProcess) -> bool:
        environment = {"COORDINATOR_SERVER__PORT": server.address.rpartition(":")[2]}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await process.wait() == 0

    assert await is_healthy(house.servers[0])
    await house.servers[0].kill()
    assert not await is_healthy(house.servers[0])
