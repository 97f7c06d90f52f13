"""The HTTP API as Schemathesis sees it: whatever the OpenAPI document allows is served, whatever it forbids is refused.

A coordinator runs here, `st run` beside it. How it asks, and every exception from the rule, is in `schemathesis/`.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator.domain.events import Role
from coordinator.domain.ledger import wire_time
from tests.transports.harness import Live, running_live

_FOLDER = Path(__file__).parent / "schemathesis"
_SEED = 1
_RECORDED = "https://eu.r2.cloudflarestorage.com/ada.webm"
_PATIENCE_SECONDS = 400.0


class _World:
    """A coordinator with a little of everything, and what can be asked about."""

    def __init__(self, live: Live, http: aiohttp.ClientSession) -> None:
        self.live = live
        self._http = http
        self.words: dict[str, list[str]] = {"users": ["ada", "bo", "cy", "nobody"]}
        self.spared: dict[str, str] = {}

    async def fill(self) -> None:
        recurrences = ("once", "once", "once", "daily", "weekly")
        slots = [(await self._do("POST", "/time-slots", _terms(recurrence)))["id"] for recurrence in recurrences]
        booked, withdrawn, *_ = slots
        self.words["slots"] = slots
        for user in ("ada", "bo"):
            await self._do("POST", f"/time-slots/{booked}/registrations", {"userId": user})
        await self._do("DELETE", f"/time-slots/{booked}/registrations/bo")
        await self._do("POST", f"/time-slots/{withdrawn}/registrations", {"userId": "cy"})
        await self._do("DELETE", f"/time-slots/{withdrawn}")
        ended, kept, other = [await self._open_session() for _ in range(3)]
        await self._do("POST", f"/sessions/{ended}/end")
        self.words["sessions"] = [ended, kept, other]
        slot = (await self._do("GET", f"/sessions/{kept}"))["timeSlotId"]
        self.spared = {kept: other, slot: withdrawn}

    async def _open_session(self) -> str:
        """Open a session of two users who consent, with a recording of one of them."""
        session = (await self.live.offer("ada", "bo")).session_id
        for user in ("ada", "bo"):
            client = await self.live.join(user, session)
            assert (await client.call("set_recording_consent", {"granted": True}))["ok"]
        await self._do("PUT", f"/sessions/{session}/recording", {"enabled": True})
        recording = {"userId": "ada", "url": _RECORDED, "startTime": wire_time(datetime.now(UTC))}
        await self._do("POST", f"/sessions/{session}/recordings", recording)
        return session

    async def _do(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.live.token('root', Role.ADMIN)}"}
        url = f"{self.live.address}/api/v1{path}"
        async with self._http.request(method, url, json=body, headers=headers) as answer:
            assert answer.ok, await answer.text()
            return await answer.json()


def _terms(recurrence: str) -> dict[str, Any]:
    start = wire_time(datetime.now(UTC) + timedelta(days=3))
    return {
        "targetLanguageCode": "fr",
        "level": "B1",
        "startTime": start,
        "durationMinutes": 30,
        "recurrence": recurrence,
    }


@asynccontextmanager
async def _world() -> AsyncIterator[_World]:
    """Run a coordinator with something in it."""
    async with running_live() as live, aiohttp.ClientSession() as http:
        world = _World(live, http)
        await world.fill()
        yield world


def _config(words: Mapping[str, Sequence[str]]) -> str:
    dictionaries = "".join(
        f"\n[dictionaries.{name}]\nvalues = {json.dumps(list(values))}\n" for name, values in words.items()
    )
    return (_FOLDER / "schemathesis.toml").read_text() + dictionaries


async def _run(world: _World, folder: Path, token: str | None, *arguments: str) -> None:
    """Run Schemathesis; what it says is the message if it finds anything."""
    (folder / "schemathesis.toml").write_text(_config(world.words))
    authorization = [] if token is None else ["--header", f"Authorization: Bearer {token}"]
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("st"),
        "run",
        f"{world.live.address}/openapi.json",
        "--checks=all",
        f"--seed={_SEED}",
        "--continue-on-failure",
        "--no-color",
        *authorization,
        *arguments,
        cwd=folder,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": str(_FOLDER),
            "COLUMNS": "120",
            "SPARED": json.dumps(world.spared),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()


@pytest.mark.timeout(460)
async def test_the_api_is_what_its_document_says(no_errors: None, tmp_path: Path) -> None:
    async with _world() as world:
        token = world.live.token("root", Role.ADMIN)
        await _run(world, tmp_path, token, "--phases=examples,coverage,fuzzing,stateful", "--max-examples=100")


@pytest.mark.timeout(460)
@pytest.mark.parametrize("role", [Role.PARTICIPANT, Role.RECORDER, None])
async def test_it_is_so_for_those_who_may_less(no_errors: None, tmp_path: Path, role: Role | None) -> None:
    async with _world() as world:
        token = None if role is None else world.live.token("ada", role)
        # Without warnings: that much is forbidden to them is the point.
        await _run(world, tmp_path, token, "--phases=examples,coverage", "--warnings=off")
