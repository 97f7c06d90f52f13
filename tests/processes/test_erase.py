"""`coordinator erase` as an operator types it, beside a running coordinator and without one."""

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from bson import ObjectId

from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId
from tests.processes.server import SIGNED, ServerProcess, run

USER = "ada-who-asks-to-be-forgotten"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data")
    await process.start()
    yield process
    await process.stop()


async def take_part(server: ServerProcess, session: SessionId, user: str) -> socketio.AsyncClient:
    client = socketio.AsyncClient(reconnection=False)
    auth = {"token": server.token(user)}
    await client.connect(server.address, namespaces=["/rooms"], auth=auth, transports=["websocket"])
    assert (await client.call("join", {"sessionId": session}, namespace="/rooms"))["ok"]
    consent = {"granted": True, "policyVersion": "2030-01"}
    assert (await client.call("set_recording_consent", consent, namespace="/rooms"))["ok"]
    return client


async def end(server: ServerProcess, session: SessionId) -> None:
    headers = {"Authorization": f"Bearer {server.token('mona', Role.MODERATOR)}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{server.address}/api/v1/sessions/{session}/end") as answer,
    ):
        assert answer.status == 200


async def dump(server: ServerProcess) -> str:
    """Everything that is stored, as text."""
    async with server.database() as database:
        found: dict[str, Any] = {}
        for name in ("timeslots", "registrations", "sessions", "participants", "events"):
            found[name] = await database.collection(name).find({}).to_list(None)
        return json.dumps(found, default=str)


async def test_a_user_is_erased_beside_a_running_coordinator(server: ServerProcess) -> None:
    session = await server.offer([USER, "bruno"])
    beside = ["--data-dir", str(server.data_dir)]
    clients = [await take_part(server, session, user) for user in (USER, "bruno")]

    code, out, err = await run("erase", "--user", USER, "--yes", *beside, variables=SIGNED)
    assert (code, out) == (1, "")
    assert f"{USER} has a part in what is not over yet: session {session}" in err
    assert USER in await dump(server)

    await end(server, session)
    for client in clients:
        await client.disconnect()
    code, out, err = await run("erase", "--user", USER, "--yes", *beside, variables=SIGNED)
    assert (code, err) == (0, "")
    assert out.startswith(f"{USER}: 1 sessions, ")
    assert USER not in await dump(server)
    assert "bruno" in await dump(server)
    code, out, _ = await run("verify", *beside, variables=SIGNED)
    assert code == 0, out

    code, out, err = await run("erase", "--user", USER, "--yes", *beside, variables=SIGNED)
    assert (code, out, err) == (0, f"nothing that is stored names {USER}\n", "")


async def test_an_erasure_from_a_log_that_was_tampered_with_says_what_is_left(server: ServerProcess) -> None:
    session = await server.offer([USER, "bruno"])
    client = await take_part(server, session, USER)
    await end(server, session)
    await client.disconnect()
    async with server.database() as database:
        await database.events.update_one(
            {"sessionId": ObjectId(session), "events.type": "participant_joined"}, {"$set": {"events.0.seq": 77}}
        )
    code, out, err = await run("erase", "--user", USER, "--yes", "--data-dir", str(server.data_dir), variables=SIGNED)
    assert code == 1
    assert out.startswith(f"{USER}: ")
    assert f"not erased from session {session}" in err
    assert "coordinator verify" in err


async def test_without_a_terminal_and_without_yes_nothing_is_done(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    code, out, err = await run("erase", "--user", USER, "--data-dir", str(data_dir), variables=SIGNED)
    assert (code, out) == (2, "")
    assert "--yes" in err
    assert not data_dir.exists()


@pytest.mark.parametrize("user", ["", "x" * 129])
async def test_an_id_that_nobody_can_have_is_refused(tmp_path: Path, user: str) -> None:
    code, _, err = await run("erase", "--user", user, "--yes", "--data-dir", str(tmp_path), variables=SIGNED)
    assert code == 2
    assert "1 to 128 characters" in err


async def test_a_pseudonym_is_refused(server: ServerProcess) -> None:
    pseudonym = "erased-" + "0" * 32
    beside = ["--data-dir", str(server.data_dir)]
    code, _, err = await run("erase", "--user", pseudonym, "--yes", *beside, variables=SIGNED)
    assert code == 1
    assert err.endswith("invalid_request user: this already stands for a user who was erased\n")


@pytest.mark.parametrize(("typed", "code", "said"), [("n", 1, "Aborted"), ("y", 0, "nothing that is stored names")])
async def test_at_a_terminal_it_says_what_it_will_do_and_asks(
    server: ServerProcess, typed: str, code: int, said: str
) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "coordinator", "erase", "--user", USER, "--data-dir", str(server.data_dir)),
        env={**os.environ, **SIGNED, "COLUMNS": "200"},
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    os.close(theirs)
    os.write(ours, f"{typed}\n".encode())
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    os.close(ours)
    text = out.decode()
    assert text.startswith(f"This replaces the user {USER} by pseudonyms")
    assert "Erase this user? [y/N]" in text
    assert said in text
    assert process.returncode == code
