"""The client library, as Node and TypeScript use it, against real servers."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpServer

from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from coordinator.domain.ids import UserId
from tests.processes.server import SECRET, ServerProcess

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = ROOT / "coordinator" / "transports" / "web" / "client"
INSTALLED = ROOT / "tests" / "transports" / "node" / "node_modules"
SHORT_SECONDS = 12
USE = """
import { CoordinatorClient } from "coordinator-client";
const payload = btoa(JSON.stringify({ sub: "ada" }));
const client = new CoordinatorClient({ url: "http://127.0.0.1:9", token: `x.${payload}.x` });
console.log(client.userId, client.room("66f1c0ffee5e5510c0ffee01").phase);
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """A folder where Node finds the library and what it needs, as after an installation."""
    modules = tmp_path / "shop" / "node_modules"
    modules.mkdir(parents=True)
    for package in INSTALLED.iterdir():
        if not package.name.startswith("."):
            (modules / package.name).symlink_to(package)
    shutil.copytree(PACKAGE, modules / "coordinator-client")
    for script in (*HERE.glob("*.mjs"), *HERE.glob("*.ts")):
        shutil.copy(script, modules.parent)
    return modules.parent


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data", COORDINATOR_MONGO__DURABLE="false")
    await process.start()
    yield process
    await process.stop()


async def finished(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(90):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


@asynccontextmanager
async def lossy(target: str, aiohttp_server: AiohttpServer) -> AsyncIterator[str]:
    """Stand before a server and lose every third of its events."""
    told = 0

    async def relay(request: web.Request) -> web.WebSocketResponse:
        nonlocal told
        near = web.WebSocketResponse()
        await near.prepare(request)
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{target}{request.rel_url}") as far,
            asyncio.TaskGroup() as both,
        ):

            async def onwards() -> None:
                async for message in near:
                    await far.send_str(message.data)
                await far.close()

            both.create_task(onwards())
            async for message in far:
                is_event = '"mic_changed"' in message.data and message.data.startswith("42/rooms,[")
                told += is_event
                if not (is_event and told % 3 == 0):
                    await near.send_str(message.data)
            await near.close()
        return near

    app = web.Application()
    app.add_routes([web.get("/socket.io/", relay)])
    server = await aiohttp_server(app)
    yield str(server.make_url("")).rstrip("/")


async def test_the_library_does_what_it_says(
    server: ServerProcess, workshop: Path, aiohttp_server: AiohttpServer
) -> None:
    users = ["ada", "bruno", "chloe", "diego"]
    session = await server.offer(users)
    short = await server.offer(["ada"], start_in=600)
    tokens = {user: server.token(user) for user in [*users, "eve"]}
    tokens["mona"], tokens["rita"] = server.token("mona", Role.MODERATOR), server.token("rita", Role.RECORDER)
    signer = Hs256Tokens(SECRET, clock=SystemClock())
    async with lossy(server.address, aiohttp_server) as worse:
        tokens["short"] = signer.issue(UserId("diego"), Role.PARTICIPANT, ttl_seconds=SHORT_SECONDS)
        process = await asyncio.create_subprocess_exec(
            "node",
            "--test",
            "room.test.mjs",
            cwd=workshop,
            env={
                **os.environ,
                "ADDRESS": server.address,
                "LOSSY": worse,
                "SESSION": session,
                "SHORT": short,
                "TOKENS": json.dumps(tokens),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        await finished(process)


async def test_a_killed_server_is_only_a_pause(server: ServerProcess, workshop: Path) -> None:
    session = await server.offer(["ada"], start_in=600)
    toggles = 40
    process = await asyncio.create_subprocess_exec(
        *("node", "carry_on.mjs", server.address, session, server.token("ada"), str(toggles)),
        cwd=workshop,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    async with asyncio.timeout(60):
        assert (await process.stdout.readline()).strip() == b"half"
    await server.kill()
    process.stdin.write(b"\n")
    await process.stdin.drain()
    await server.start()

    result = json.loads((await finished(process)).strip())
    seen = result["seen"]
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert result["phases"] == ["joining", "joined", "reconnecting", "joined"]
    assert result["micEnabled"] is False
    assert len(seen) >= toggles


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def run(folder: Path, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    return await finished(process)


async def test_it_gets_by_with_whatever_a_server_does(workshop: Path) -> None:
    assert "# fail 0" in await run(workshop, "node", "--test", "--test-reporter=tap", "rules.test.mjs")


async def test_the_package_is_whole_and_can_be_bundled(workshop: Path) -> None:
    """What npm would publish, in the place of the folder: Node imports it, and so does a bundle for browsers."""
    installed = workshop / "node_modules" / "coordinator-client"
    packed = (await run(workshop, "npm", "pack", "--silent", "--offline", str(installed))).split()[-1]
    shutil.rmtree(installed)
    installed.mkdir()
    await run(workshop, "tar", "-xzf", packed, "--strip-components=1", "-C", str(installed))
    assert names_in(installed) == [
        "README.md",
        "coordinator-client.d.ts",
        "coordinator-client.js",
        "package.json",
    ]
    (workshop / "use.mjs").write_text(USE, encoding="utf-8")
    assert await run(workshop, "node", "use.mjs") == "ada idle\n"
    bundle = ("--bundle", "--minify", "--format=iife", "--platform=browser", "--target=es2022", "--outfile=page.js")
    await run(workshop, "node", str(INSTALLED / "esbuild" / "bin" / "esbuild"), "use.mjs", *bundle)
    assert await run(workshop, "node", "page.js") == "ada idle\n"


async def test_its_types_allow_what_is_right_and_nothing_else(workshop: Path) -> None:
    (workshop / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    options = ("--strict", "--noEmit", "--target", "es2022", "--module", "nodenext")
    process = await asyncio.create_subprocess_exec(
        *("node", str(INSTALLED / "typescript" / "bin" / "tsc"), *options, "--lib", "es2022,dom", "types.ts"),
        cwd=workshop,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    await finished(process)


async def test_its_types_are_those_of_the_server() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "scripts/declarations/generate.py", "--check"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    await finished(process)
