"""The README's examples, run as they stand."""

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coordinator.domain.events import Role
from tests.processes.server import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
NODE = ROOT / "tests" / "transports" / "node"


def example(name: str) -> str:
    """Return the README's example whose first line begins with that name."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"```\w+\n((?:#|//) {re.escape(name)} .*?)```", text, re.DOTALL)
    return str(code)


@contextmanager
def beside_node_modules(name: str) -> Iterator[str]:
    """Have an example where Node finds the client's library; gives the script's path."""
    script = NODE / f"readme-{name}"
    script.write_text(example(name), encoding="utf-8")
    try:
        yield str(script)
    finally:
        script.unlink()


async def printed(server: ServerProcess, command: list[str]) -> str:
    session = await server.offer(["ada", "bruno"], start_in=60)
    return await run_to_end([*command, server.address, session, server.token("ada")])


async def run_to_end(command: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.fixture
async def server(tmp_path: Path) -> ServerProcess:
    return ServerProcess(tmp_path / "data")


async def test_the_examples_do_what_they_say(tmp_path: Path, server: ServerProcess) -> None:
    await server.start()
    python = tmp_path / "first.py"
    python.write_text(example("first.py"), encoding="utf-8")
    out = await printed(server, [sys.executable, str(python)])
    assert "waiting ['ada']" in out
    assert "camera_changed 3 {'cameraEnabled': True, 'userId': 'ada'}" in out
    assert "'field': 'cameraEnabled'" in out
    node = shutil.which("node")
    assert node is not None, "scripts/test installs it"
    with beside_node_modules("first.mjs") as script:
        out = await printed(server, [node, script])
    assert "waiting" in out
    assert "{ ok: true, seq: 4 }" in out
    assert "recording_consent_granted 5" in out
    session = await server.offer(["ada", "bruno"], start_in=60)
    with beside_node_modules("watch.mjs") as script:
        out = await run_to_end([node, script, server.address, session, server.token("maria", Role.MODERATOR)])
    assert re.search(r"^[1-9]\d* live$", out, re.MULTILINE)
    assert "recording_enabled 2 maria" in out
    assert "not_in_session" in out
    assert "session_ended 3 maria" in out
    bash = tmp_path / "book.sh"
    bash.write_text(example("book.sh"), encoding="utf-8")
    admin, ada = server.token("root", Role.ADMIN), server.token("ada")
    slots, booked, *calendar, cancelled, stopped = (
        await run_to_end(["bash", str(bash), server.address, admin, ada])
    ).splitlines()
    assert [slot["startTime"] for slot in json.loads(slots)["items"]] == ["2031-06-02T17:00:00.000Z"]
    assert json.loads(booked)["status"] == "registered"
    assert "DTSTART:20310602T170000Z" in calendar
    assert json.loads(cancelled)["status"] == "cancelled"
    assert json.loads(stopped)["isActive"] is False
    assert await server.stop() == 0
