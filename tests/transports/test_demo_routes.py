"""Signing in by name, as the web sees it: whose page asks, under which name for this machine, and with what body."""

import asyncio
from unittest.mock import MagicMock

import msgspec
import pytest
from aiohttp import StreamReader, web
from aiohttp.test_utils import TestClient, make_mocked_request
from pytest_aiohttp import AiohttpClient

from coordinator.domain.events import Role
from coordinator.domain.ids import UserId
from coordinator.transports.rest.problems import problem_middleware
from coordinator.transports.web.demo import DemoRoutes, is_loopback

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    def issue(user_id: UserId, role: Role) -> str:
        return f"token of {user_id}, {role}"

    app = web.Application(middlewares=[problem_middleware])
    app.add_routes(DemoRoutes(issue).routes())
    return await aiohttp_client(app)


async def sign_in(client: Client, **headers: str) -> int:
    async with client.post("/demo/sign-in", json={"userId": "ada"}, headers=headers) as response:
        return response.status


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "127.9.9.9", "localhost:8080", "LOCALHOST", "[::1]:8080", "[::1]"])
async def test_a_page_of_this_machine_can_sign_in(client: Client, host: str) -> None:
    assert await sign_in(client, Host=host) == 200
    assert await sign_in(client, Host=host, Origin=f"http://{host}", **{"Sec-Fetch-Site": "same-origin"}) == 200


@pytest.mark.parametrize(
    "host",
    [
        "rooms.example",
        "rooms.example:8080",
        "localhost.rooms.example",
        "10.1.1.7:8080",
        "0.0.0.0",
        "[fd00::1]",
        "[::",
    ],
)
async def test_a_site_whose_name_leads_here_cannot(client: Client, host: str) -> None:
    assert await sign_in(client, Host=host) == 403
    assert await sign_in(client, Host=host, Origin=f"http://{host}", **{"Sec-Fetch-Site": "same-origin"}) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://rooms.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_origin_cannot(client: Client, headers: dict[str, str]) -> None:
    assert await sign_in(client, **headers) == 403


async def test_a_body_may_come_in_pieces() -> None:
    body = StreamReader(MagicMock(), 2**16, loop=asyncio.get_running_loop())
    request = make_mocked_request(
        "POST", "/demo/sign-in", {"Host": "localhost", "Content-Type": "application/json"}, payload=body
    )
    body.feed_data(b'{"userId": "ada", ')
    answering = asyncio.create_task(DemoRoutes(lambda user_id, role: f"token of {user_id}, {role}").sign_in(request))
    await asyncio.sleep(0)  # it reads the first piece, and waits for the rest
    assert not answering.done()
    body.feed_data(b'"role": "moderator"}')
    body.feed_eof()
    async with asyncio.timeout(10):
        response = await answering
    assert response.body == b'{"token":"token of ada, moderator","userId":"ada"}'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"userId": "\\ud800"}', 422),
        (b'{"userId": "ada"', 422),
        (b"", 422),
        (b'{"userId": "ada", "role": "recorder"}', 422),
        (b'{"userId": "' + b"x" * 129 + b'"}', 422),
        (b" " * 4097, 413),
    ],
)
async def test_what_is_no_sign_in_is_refused(client: Client, body: bytes, status: int) -> None:
    async with client.post("/demo/sign-in", data=body, headers={"Content-Type": "application/json"}) as response:
        problem = msgspec.json.decode(await response.read())
    assert (response.status, response.content_type) == (status, "application/problem+json")
    assert problem["status"] == status


async def test_answers_are_kept_by_nobody(client: Client) -> None:
    async with client.get("/web/settings.json") as settings, client.post("/demo/sign-in", json={"userId": "a"}) as made:
        for response in (settings, made):
            assert response.headers["Cache-Control"] == "no-store"
        assert await settings.json() == {"demoSignIn": True}


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.0.0.53", "::1")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example")))
