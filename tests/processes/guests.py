"""Participants who look on and note when the server sends them away; and what is left of processes that ended."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import psutil
import socketio

from coordinator.adapters.system import SystemClock
from coordinator.domain.ids import SessionId
from tests.processes.server import ServerProcess

CALL_SECONDS = 20
GOODBYE_SECONDS = 3


class Guest:
    """A participant.

    Attributes:
        user: Who it is.
        events: Every persisted event that it was told of, after its join.
        notices: What `server_draining` has carried.
        told: Set once it has been told so.
        gone_at: When the connection ended, by the monotonic clock; 0 before.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.events: list[dict[str, Any]] = []
        self.notices: list[dict[str, Any]] = []
        self.told = asyncio.Event()
        self.gone_at = 0.0
        self._news = asyncio.Event()
        self._client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self._client.on("*", self._take, namespace="/rooms")
        self._client.on("disconnect", self._gone, namespace="/rooms")

    async def join(self, server: ServerProcess, session: SessionId, transport: str = "websocket") -> None:
        """Connect and join."""
        auth = {"token": server.token(self.user)}
        await self._client.connect(
            server.address, namespaces=["/rooms"], auth=auth, transports=[transport], wait_timeout=CALL_SECONDS
        )
        await self.call("join", {"sessionId": session})

    async def call(self, name: str, payload: dict[str, Any]) -> None:
        """Send a command, and have it done."""
        answer = await self._client.call(name, payload, namespace="/rooms", timeout=CALL_SECONDS)
        assert answer["ok"], answer

    async def heard(self) -> None:
        """Wait until something happens to it."""
        self._news.clear()
        await self._news.wait()

    async def close(self) -> None:
        """End it."""
        with suppress(TimeoutError):
            # The library waits for the server's answer to its goodbye, and for ever where none comes.
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._client.disconnect()

    def _take(self, name: str, payload: dict[str, Any]) -> None:
        if name == "server_draining":
            self.notices.append(payload)
            self.told.set()
        elif "seq" in payload:
            self.events.append({**payload, "type": name})
        self._news.set()

    def _gone(self, _reason: str) -> None:
        self.gone_at = time.monotonic()
        self._news.set()


def family(server: ServerProcess) -> list[psutil.Process]:
    """Return the processes of a coordinator: its own first, then all that it has started."""
    own = psutil.Process(server.process.pid)
    return [own, *own.children(recursive=True)]


async def left_of(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return which of these processes have not ended after so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        await SystemClock().sleep(0.05)  # nobody is told of the end of a process that is not a child of his
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def timed_stop(server: ServerProcess) -> float:
    """Stop as a service manager does; return the seconds it took. Nothing is left behind."""
    everything = family(server)
    began = time.monotonic()
    assert await server.stop() == 0
    seconds = time.monotonic() - began
    assert await left_of(everything, 1) == []
    return seconds
