"""What really goes over Socket.IO, against the types that the contract promises: nothing more, nothing less."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import socketio

from coordinator.domain.events import EVENT_TYPES, Role
from coordinator.protocol.contract import CONTRACTS, Refused
from coordinator.protocol.views import Actor
from tests.processes.server import ServerProcess

COMMANDS = {(contract.namespace, command.name): command for contract in CONTRACTS for command in contract.commands}
NOTICES = {(contract.namespace, notice.name): notice.payload for contract in CONTRACTS for notice in contract.notices}


class Envelope(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A persisted event, but for its data."""

    type: str
    session_id: str
    seq: int
    at: str
    actor: Actor
    data: dict[str, Any]


def check(value: Any, kind: Any) -> None:
    """Read a value as a type, and hold it to have no field beyond."""
    read = msgspec.convert(value, kind, strict=True)
    assert plain(msgspec.to_builtins(read)) == plain(value)


def plain(value: Any) -> Any:
    """Leave out what is null, which a type may give where the wire has nothing, and write times alike."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return (
        value.replace(".000Z", "Z").rstrip("Z").rstrip("0") if isinstance(value, str) and value[4:5] == "-" else value
    )


class Client:
    """A client that checks all that comes."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.kinds: set[str] = set()
        self.cursors: list[str] = []
        self._came = asyncio.Event()
        self.problems: list[str] = []
        self._client = socketio.AsyncClient(reconnection=False)
        self._client.on("*", self._received, namespace=namespace)

    async def connect(self, server: ServerProcess, token: str) -> None:
        await self._client.connect(
            server.address, namespaces=[self.namespace], auth={"token": token}, transports=["websocket"]
        )

    async def call(self, name: str, message: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await self._client.call(name, message, namespace=self.namespace)
        command = COMMANDS[self.namespace, name]
        check(answer, command.reply if answer["ok"] else Refused)
        assert answer["ok"] or answer["error"]["code"] in command.codes
        return answer

    async def has_seen(self, *kinds: str) -> None:
        """Wait until each of these has come."""
        async with asyncio.timeout(10):
            while not self.kinds.issuperset(kinds):
                self._came.clear()
                await self._came.wait()

    async def close(self) -> None:
        await self._client.disconnect()

    def _received(self, name: str, payload: Any) -> None:
        self.kinds.add(name)
        if name == "record":
            self.cursors.append(payload["cursor"])
        self._came.set()
        try:
            if (self.namespace, name) in NOTICES:
                check(payload, NOTICES[self.namespace, name])
            else:
                event = msgspec.convert(payload, Envelope, strict=True)
                assert event.type == name
                check(event.data, EVENT_TYPES[name])
        except (AssertionError, msgspec.ValidationError, KeyError) as error:
            self.problems.append(f"{name}: {error!r}")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data", COORDINATOR_MONGO__DURABLE="false")
    await process.start()
    yield process
    await process.stop()


async def test_what_is_sent_is_what_the_contract_says(server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno"])
    ada, bruno, mona, rita = Client("/rooms"), Client("/rooms"), Client("/moderation"), Client("/recording")
    await mona.connect(server, server.token("mona", Role.MODERATOR))
    await rita.connect(server, server.token("rita", Role.RECORDER))
    await ada.connect(server, server.token("ada"))
    await bruno.connect(server, server.token("bruno"))
    await mona.call("watch", {"all": True})
    await mona.call("watch", {"sessionId": session})
    await rita.call("subscribe", {"consumer": "contract", "after": "beginning"})
    assert (await ada.call("join", {"sessionId": session}))["ok"]
    assert (await bruno.call("join", {"sessionId": session}))["ok"]
    await ada.call("set_media", {"cameraEnabled": True, "micEnabled": True})
    await ada.call("set_recording_consent", {"granted": True, "policyVersion": "1"})
    await mona.call("set_recording", {"sessionId": session, "enabled": True})
    await ada.call("signal", {"to": "bruno", "data": {"offer": 1}})
    assert (await bruno.call("join", {"sessionId": session, "after": 1}))["events"]
    assert (await bruno.call("sync", {"after": 1}))["events"]
    assert not (await bruno.call("set_media", {}))["ok"]
    await ada.call("set_recording_consent", {"granted": False})
    await mona.call("mute", {"sessionId": session, "userId": "ada"})
    await mona.call("remove", {"sessionId": session, "userId": "ada", "reason": "shouting"})
    await bruno.call("leave", {})
    await mona.call("end_session", {"sessionId": session})
    await mona.has_seen("session_ended", "session_summary")
    await rita.has_seen("record")
    await mona.call("unwatch", {"sessionId": session})
    assert (await rita.call("ack", {"cursor": rita.cursors[0]}))["cursor"] == rita.cursors[0]
    nowhere, over = {"sessionId": "0" * 24}, {"sessionId": session}
    recording = {"url": "https://recordings.example/a.webm", "startTime": "2040-06-04T17:00:00Z"}
    refused = [
        (await client.call(name, message))["error"]["code"]
        for client, name, message in (
            (bruno, "join", nowhere),
            (bruno, "join", over),
            (bruno, "signal", {"to": "ada", "data": 1}),
            (mona, "watch", nowhere),
            (mona, "mute", over | {"userId": "ada"}),
            (mona, "remove", nowhere | {"userId": "eve"}),
            (mona, "end_session", nowhere),
            (mona, "set_recording", over | {"enabled": False}),
            (rita, "attach_recording", over | recording | {"userId": "ada"}),
            (rita, "subscribe", {"consumer": "another"}),
        )
    ]
    assert refused == [
        "not_found",
        "session_ended",
        "not_in_session",
        "not_found",
        "session_ended",
        "not_found",
        "not_found",
        "session_ended",
        "recording_not_permitted",
        "invalid_request",
    ]

    everyone = (ada, bruno, mona, rita)
    assert not [problem for client in everyone for problem in client.problems]
    assert {"signal", "camera_changed", "recording_consent_granted"} <= bruno.kinds
    assert {"recording_permitted", "recording_withdrawn", "participant_left"} <= mona.kinds
    for client in everyone:
        await client.close()
