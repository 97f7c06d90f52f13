"""`scripts/recorder.py` as its users run it: it survives the end of either side, and attaches what it captured."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp
import socketio

from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from tests.processes.server import ServerProcess

RECORDER = Path(__file__).resolve().parents[2] / "scripts" / "recorder.py"


class RecorderProcess:
    """The example in a process of its own; its notes and all that it printed stay from start to start."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self._command = [sys.executable, str(RECORDER), server.address, server.token("recorder", Role.RECORDER)]
        self._notes = folder / "notes.json"
        self.printed: list[str] = []

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self._command, "--notes", str(self._notes), stdout=asyncio.subprocess.PIPE
        )
        await self.says("subscribed")

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def says(self, words: str) -> str:
        """Return the next line that it prints with these words in it."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            async for line in self.process.stdout:
                self.printed.append(line.decode().rstrip())
                if words in self.printed[-1]:
                    return self.printed[-1]
        raise AssertionError(f"it ended with {await self.process.wait()}: {self.printed}")


class Room:
    """Two participants and a moderator over HTTP."""

    def __init__(self, server: ServerProcess, session: str) -> None:
        self._server = server
        self._session = session
        self._clients: dict[str, Any] = {}

    async def join(self, user: str) -> None:
        client = socketio.AsyncClient(reconnection=False)
        self._clients[user] = client
        auth = {"token": self._server.token(user)}
        await client.connect(self._server.address, namespaces=["/rooms"], auth=auth, transports=["websocket"])
        assert (await client.call("join", {"sessionId": self._session}, namespace="/rooms"))["ok"]

    async def consent(self, user: str, *, granted: bool) -> None:
        answer = await self._clients[user].call("set_recording_consent", {"granted": granted}, namespace="/rooms")
        assert answer["ok"], answer

    async def close(self) -> None:
        for client in self._clients.values():
            await client.disconnect()

    async def switch_on(self) -> None:
        assert (await self._ask("PUT", "recording", {"enabled": True}))["recordingEnabled"]

    async def recordings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._ask("GET", "recordings"))["items"]
        return found

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._server.token('maria', Role.MODERATOR)}"}
        url = f"{self._server.address}/api/v1/sessions/{self._session}/{path}"
        async with aiohttp.ClientSession() as http, http.request(method, url, json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            return await response.json()


async def test_the_example_captures_and_attaches_across_the_end_of_either_side(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    session = await server.offer(["ada", "bruno"])
    room = Room(server, session)
    recorder = RecorderProcess(server, tmp_path)
    await recorder.start()
    for user in ("ada", "bruno"):
        await room.join(user)
    await room.switch_on()
    await room.consent("ada", granted=True)
    assert "ada" in await recorder.says("capture")
    # Its end: what it had noted it still knows, and what happened meanwhile it is told.
    await recorder.kill()
    await room.consent("ada", granted=False)
    await room.consent("bruno", granted=True)
    await recorder.start()
    assert "/ada/" in await recorder.says("attached")
    assert "bruno" in await recorder.says("capture")
    # The server's end takes the participants with it: nobody is recorded who is not connected.
    await server.kill()
    await server.start()
    assert "/bruno/" in await recorder.says("attached")
    await room.close()
    attached = await room.recordings()
    assert [recording["userId"] for recording in attached] == ["ada", "bruno"]
    # A server that stops in order says goodbye, after which python-socketio does not return by itself.
    assert await server.stop() == 0
    await server.start()
    await recorder.says("subscribed")
    # A second one under the same name takes over, and the first ends by itself.
    second = RecorderProcess(server, tmp_path)
    await second.start()
    await recorder.says("taken over")
    async with asyncio.timeout(30):
        assert await recorder.process.wait() == 0
    await second.kill()
    assert await server.stop() == 0


async def test_a_recorder_says_why_it_is_refused(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    command = [sys.executable, str(RECORDER), server.address, server.token("ada"), "--notes", str(tmp_path / "notes")]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    assert said.decode() == "refused: role participant may not use this namespace\n"
    assert process.returncode == 1
    assert await server.stop() == 0


async def test_a_recorder_that_lost_its_notes_does_not_stop(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    room = Room(server, await server.offer(["ada", "bruno"]))
    recorder = RecorderProcess(server, tmp_path)
    await recorder.start()
    for user in ("ada", "bruno"):
        await room.join(user)
    await room.switch_on()
    await room.consent("ada", granted=True)
    await recorder.says("capture")
    await _acked(server)
    await recorder.kill()
    (tmp_path / "notes.json").unlink()
    await recorder.start()
    await room.consent("ada", granted=False)  # of which it has no capture
    await room.consent("bruno", granted=True)
    assert "bruno" in await recorder.says("capture")
    await recorder.kill()
    await room.close()
    assert await server.stop() == 0


async def _acked(server: ServerProcess) -> None:
    """Wait until the recorder has nothing left to ack."""
    async with aiohttp.ClientSession() as http, asyncio.timeout(30):
        while True:
            async with http.get(f"{server.address}/metrics") as response:
                text = await response.text()
            if 'coordinator_feed_consumer_unacked{consumer="recorder"} 0.0' in text:
                return
            await SystemClock().sleep(0.05)
