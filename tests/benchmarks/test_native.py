"""The programs in C that benchmarks rely on: that they compile, and that the generator sees what is wrong.

No load is measured here. The server is a fake that speaks just enough, and can be told to misbehave.
"""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bson
import pytest

from scripts.benchmarks.machine import compile_native

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"
PATIENCE = 20


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    for name in ("generator", "standin"):
        compile_native(name, folder / name)
    return folder


class Room:
    """A server of one room. `fault` is what it does wrong, once, at the tenth event."""

    def __init__(self, fault: str) -> None:
        self.seq = 0
        self._fault = fault
        self._users: dict[asyncio.StreamWriter, str] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # The first message comes in the same segment as the answer to the upgrade.
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n" + _frame('0{"sid":"a"}'))
        try:
            while True:
                await self._take(await _read_text(reader), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _take(self, text: str, writer: asyncio.StreamWriter) -> None:
        if text.startswith("40/rooms,"):
            writer.write(_frame('40/rooms,{"sid":"b"}'))
        elif '"join"' in text:
            self._users[writer] = f"user-0-{len(self._users)}"
            snapshot = {"session": {"seq": 999}, "participants": ["x" * 70_000]}
            frame = _frame(f"43/rooms,0[{_json({'ok': True, 'snapshot': snapshot, 'seq': self.seq})}]")
            writer.write(frame[:5])
            await writer.drain()
            await asyncio.sleep(0.01)  # so that it arrives in parts
            writer.write(frame[5:] + _frame("2"))
        elif '"set_media"' in text:
            self._happen(text, writer)

    def _happen(self, text: str, writer: asyncio.StreamWriter) -> None:
        self.seq += 1
        fault = self._fault if self.seq == 10 else ""
        data = {"cameraEnabled": True, "userId": self._users[writer]}
        event = _json({"data": data, "seq": self.seq})
        frame = _frame(f'42/rooms,["camera_changed",{event}]')
        for place, user in enumerate(self._users):
            times = {"gap": 0, "double": 2}.get(fault, 1) if place == 0 else 1
            user.write(frame * times)
        ok = "false" if fault == "refused" else "true"
        number = text[len("42/rooms,") : text.index("[")]
        if fault != "silent":
            writer.write(_frame(f'43/rooms,{number}[{{"ok":{ok},"seq":{self.seq}}}]'))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _frame(text: str) -> bytes:
    payload = text.encode()
    length = len(payload)
    if length < 126:
        return bytes([0x81, length]) + payload
    return (
        struct.pack(">BBH", 0x81, 126, length) if length < 65536 else struct.pack(">BBQ", 0x81, 127, length)
    ) + payload


async def _read_text(reader: asyncio.StreamReader) -> str:
    head = await reader.readexactly(2)
    assert head[1] & 128, "a client masks its frames"
    length = head[1] & 127
    if length == 126:
        length = struct.unpack(">H", await reader.readexactly(2))[0]
    mask, payload = await reader.readexactly(4), await reader.readexactly(length)
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)).decode()


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield process
    finally:
        process.kill()
        await process.communicate()


async def ask(process: asyncio.subprocess.Process, command: str, lines: int = 1) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{command}\n".encode())
    for _ in range(lines):
        answer = json.loads(await process.stdout.readline())
    assert isinstance(answer, dict)
    return answer


FAULTS = (
    "failed",
    "refused",
    "unanswered",
    "gaps",
    "duplicates",
    "reordered",
    "closed",
    "malformed",
    "overrun",
    "early",
)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("none", set()),
        ("gap", {"gaps", "reordered"}),
        ("double", {"duplicates"}),
        ("refused", {"refused"}),
        ("silent", {"unanswered"}),
    ],
)
async def test_the_generator_sees_what_is_wrong(programs: Path, tmp_path: Path, fault: str, seen: set[str]) -> None:
    server = await asyncio.start_server(Room(fault).serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clients = tmp_path / "clients"
    clients.write_text("".join(f"{port}\t/rooms\tactive\t0\t{seat}\tsession\ttoken\n" for seat in range(2)))
    async with server, running(str(programs / "generator"), str(clients), "30", "1") as generator:
        joined = await ask(generator, "connect 2 1")
        assert joined["done"] == 2
        closed = await ask(generator, "closed 0 0.3", lines=2)
        opened = await ask(generator, "open 0.1 0.3 100", lines=2)
        scattered = await ask(generator, "random 0.1 0.5 200", lines=2)
    assert {name for name in FAULTS if closed[name]} == seen
    assert {name for name in FAULTS if opened[name]} == set()
    assert closed["done"] > 10
    assert abs(closed["deliveries"] - 2 * closed["done"]) <= 4
    assert 25 <= opened["seen_ms"]["count"] <= 31
    assert {name for name in FAULTS if scattered[name]} == set()
    assert 60 <= scattered["seen_ms"]["count"] <= 140


async def test_the_stand_in_passes_through_until_it_answers(programs: Path) -> None:
    asked: list[bytes] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                message = await _read_message(reader)
                asked.append(message)
                writer.write(_op_msg(7, {"from": "upstream", "ok": 1}))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    command = (str(programs / "standin"), str(server.sockets[0].getsockname()[1]), "300")
    async with server, running(*command) as stand_in:
        assert stand_in.stdout is not None
        port = json.loads(await stand_in.stdout.readline())["port"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def call(body: dict[str, Any], **documents: list[dict[str, Any]]) -> dict[str, Any]:
            writer.write(_op_msg(5, body, **documents))
            return dict(bson.decode((await _read_message(reader))[21:]))

        insert = {"insert": "events", "$db": "d"}
        assert (await call(insert, documents=[{"_id": 1}]))["from"] == "upstream"
        await ask(stand_in, "on")
        assert await call(insert, documents=[{"_id": 1}, {"_id": 2}]) == {"n": 2, "ok": 1}
        update = {"update": "participants", "updates": [{"q": {}, "u": {}}], "$db": "d"}
        assert await call(update) == {"n": 1, "nModified": 1, "ok": 1}
        several = {"q": {"_id": {"$in": [1, 2, 3]}}, "u": [{"$set": {"a": 1}}], "multi": True}
        one = {"q": {"_id": 4}, "u": {"$set": {"a": 1}}}
        assert await call({**update, "updates": [several, one]}) == {"n": 4, "nModified": 4, "ok": 1}
        update_several = {"update": "participants", "$db": "d"}
        assert await call(update_several, updates=[one, several]) == {"n": 4, "nModified": 4, "ok": 1}
        assert (await call({"find": "events", "$db": "d"}))["from"] == "upstream"
        assert (await call({"insert": "timeslots", "$db": "d"}, documents=[{}]))["from"] == "upstream"
        counted = await ask(stand_in, "stats")
        writer.close()
    assert counted == {"answering": True, "answered": 4, "documents": 11, "passed": 2}  # since it was told to answer
    assert len(asked) == 3


def _op_msg(number: int, body: dict[str, Any], **sequences: list[dict[str, Any]]) -> bytes:
    sections = b"\0" + bson.encode(body)
    for name, documents in sequences.items():
        content = name.encode() + b"\0" + b"".join(map(bson.encode, documents))
        sections += b"\1" + struct.pack("<i", 4 + len(content)) + content
    return struct.pack("<iiiiI", 20 + len(sections), number, 0, 2013, 0) + sections


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack("<i", head)[0] - 4)


def test_the_peers_are_pinned_and_name_no_registry() -> None:
    lock = json.loads((SCRIPTS / "peers" / "node" / "package-lock.json").read_text())
    wanted = json.loads((SCRIPTS / "peers" / "node" / "package.json").read_text())["dependencies"]
    assert all(lock["packages"][f"node_modules/{name}"]["version"] == version for name, version in wanted.items())
    assert not any("resolved" in package for package in lock["packages"].values())
