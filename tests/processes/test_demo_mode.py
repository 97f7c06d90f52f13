"""Signing in by name: where it is, where it is not, and that no production set-up can have it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from coordinator.cli.demo_mode import why_no_sign_in
from coordinator.domain.events import Role
from coordinator.settings import Settings, load_settings
from tests.processes.server import ServerProcess

SECRET = "a secret long enough for a real set-up, which a demo has not"


def settings(**flags: Any) -> Settings:
    named = {name.replace("__", "."): value for name, value in flags.items()}
    return load_settings(files=[], environ={}, flags=named)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"mongo__url": "mongodb://db/"}, "mongo.url"),
        ({"redis__url": "redis://cache"}, "redis.url"),
        ({"auth__secret": SECRET}, "auth.secret"),
        ({"auth__jwks": "https://keys.example.org"}, "auth.jwks"),
        ({"server__workers": 2}, "server.workers"),
        ({"server__host": "0.0.0.0"}, "server.host 0.0.0.0"),
        ({"server__host": "::"}, "server.host ::"),
        ({"server__host": "rooms.example.org"}, "server.host rooms.example.org"),
    ],
)
def test_anything_of_a_real_set_up_forbids_it(flags: dict[str, Any], reason: str) -> None:
    why = why_no_sign_in(settings(**flags))
    assert why is not None
    assert why.startswith(reason)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_trial_on_this_machine_may_have_it(host: str) -> None:
    assert why_no_sign_in(settings(server__host=host)) is None


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data", COORDINATOR_MONGO__DURABLE="false", COORDINATOR_AUTH__SECRET="")
    await process.start("--demo")
    yield process
    await process.stop()


async def ask(server: ServerProcess, body: Any, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{server.address}/demo/sign-in", json=body, headers=headers) as response,
    ):
        return response.status, msgspec.json.decode(await response.read())


async def test_a_demo_signs_in_participants_and_moderators_and_nobody_else(demo: ServerProcess) -> None:
    status, answer = await ask(demo, {"userId": "ada"})
    assert status == 200
    assert answer["userId"] == "ada"
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"{demo.address}/api/v1/time-slots", headers={"Authorization": f"Bearer {answer['token']}"}
        ) as response,
    ):
        assert response.status == 200
    assert (await ask(demo, {"userId": "mona", "role": Role.MODERATOR}))[0] == 200
    for body, field in (
        ({"userId": "root", "role": "admin"}, "role"),
        ({"userId": ""}, "userId"),
        ({"userId": " ada"}, "userId"),
        ({"name": "ada"}, "name"),
        ([], "body"),
    ):
        status, answer = await ask(demo, body)
        assert (status, answer["code"], answer["field"]) == (422, "invalid_request", field)
    assert (await ask(demo, {"userId": "x" * 5000}))[0] == 413


async def test_other_sites_cannot_sign_anybody_in(demo: ServerProcess) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        status, answer = await ask(demo, {"userId": "ada"}, headers)
        assert (status, answer["code"]) == (403, "forbidden")
    assert (await ask(demo, {"userId": "ada"}, {"Origin": demo.address}))[0] == 200


async def test_without_it_there_is_nothing_at_the_address(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", COORDINATOR_MONGO__DURABLE="false")  # with a secret that is set
    await server.start("--demo")
    try:
        status, answer = await ask(server, {"userId": "ada"})
        assert (status, answer["code"]) == (404, "not_found")
        async with aiohttp.ClientSession() as http, http.get(f"{server.address}/web/settings.json") as response:
            assert await response.json() == {"demoSignIn": False}
    finally:
        await server.stop()
