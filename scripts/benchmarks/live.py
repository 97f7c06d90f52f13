"""A real coordinator in a process of its own, and participants that speak Socket.IO by hand, written in Python.

Shared by the smaller measurements; the suite has a generator in C. Closed loop for saturation: every participant
toggles its camera as soon as the previous toggle is acked. Open loop for latency: toggles are sent at a fixed rate
whatever happens, and time counts from when each was due. `seen` is when another participant of the room has received
the event.
"""

import asyncio
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import aiohttp
import msgspec
import psutil

from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.adapters.mongo.bookings import MongoBookings
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import connect
from coordinator.adapters.mongo.embedded import running_url
from coordinator.adapters.mongo.ids import ObjectIds
from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from coordinator.domain.ids import SlotId, UserId
from coordinator.domain.model import Language, Level, Registration, RegistrationStatus, TimeSlot
from scripts.benchmarks.sessions import opened

_ACK = re.compile(r"43/rooms,(\d+)\[")


class _Event(msgspec.Struct):
    seq: int
    data: dict[str, object]


_EVENT = msgspec.json.Decoder(tuple[str, _Event])


@dataclass
class Meter:
    """What is measured in one run, in seconds."""

    acks: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    refused: int = 0
    last_ack: float = 0.0

    def reset(self) -> None:
        """Forget the warm-up."""
        self.acks.clear()
        self.seen.clear()
        self.refused = 0


class Client:
    """A participant that speaks Socket.IO by hand, so that the generator costs little."""

    def __init__(self, user: str, token: str, session_id: str, room: dict[str, float], meter: Meter) -> None:
        self.user = user
        self._token = token
        self._session_id = session_id
        self._room = room
        self._meter = meter
        self._numbers = 0
        self._waiting: dict[int, tuple[asyncio.Future[str], float]] = {}
        self._camera = False
        self.is_observer = False

    async def enter(self, http: aiohttp.ClientSession, url: str) -> None:
        """Connect, authenticate and join."""
        self._ws = await http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket", max_msg_size=0)
        await self._ws.receive_str()
        await self._ws.send_str(f"40/rooms,{json.dumps({'token': self._token})}")
        answer = await self._ws.receive_str()
        if not answer.startswith("40/rooms,"):
            raise RuntimeError(f"the handshake was refused: {answer}")
        self._reader = asyncio.create_task(self._read())
        reply = await self.call("join", {"sessionId": self._session_id})
        if '"ok":true' not in reply:
            raise RuntimeError(f"the join was refused: {reply}")

    async def call(self, name: str, payload: object) -> str:
        """Send an event; return the raw ack."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await self._send(name, payload, future, time.perf_counter())
        return await future

    async def toggle(self, due: float) -> asyncio.Future[str]:
        """Switch the camera; `due` is when this was to happen. The future is the ack."""
        self._camera = not self._camera
        self._room[self.user] = due
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await self._send("set_media", {"cameraEnabled": self._camera}, future, due)
        return future

    async def leave(self) -> None:
        """Go."""
        self._reader.cancel()
        await self._ws.close()

    async def _send(self, name: str, payload: object, future: asyncio.Future[str], due: float) -> None:
        self._numbers += 1
        self._waiting[self._numbers] = (future, due)
        await self._ws.send_str(f'42/rooms,{self._numbers}["{name}",{json.dumps(payload)}]')

    async def _read(self) -> None:
        async for message in self._ws:
            text: str = message.data
            if text[0] == "2":
                await self._ws.send_str("3")
            elif text.startswith("43"):
                self._acked(text)
            elif self.is_observer and text.startswith('42/rooms,["camera_changed"'):
                self._saw(text)

    def _acked(self, text: str) -> None:
        match = _ACK.match(text)
        if match is None:
            return
        future, due = self._waiting.pop(int(match[1]))
        if '"ok":true' in text:
            self._meter.last_ack = time.perf_counter()
            self._meter.acks.append(self._meter.last_ack - due)
        else:
            self._meter.refused += 1
        if not future.done():
            future.set_result(text)

    def _saw(self, text: str) -> None:
        _, event = _EVENT.decode(text[9:])
        due = self._room.pop(str(event.data["userId"]), None)
        if due is not None:
            self._meter.seen.append(time.perf_counter() - due)


class Server:
    """`coordinator serve` as a process of its own, on a data directory of its own."""

    def __init__(self, data_dir: Path, server_core: int | None, *options: str, secret: str | None = None) -> None:
        self.data_dir = data_dir
        self._core = server_core
        self._options = options
        self.secret = secret or secrets.token_urlsafe(48)

    async def start(self) -> str:
        """Start; return the address."""
        unlimited = {"COMMANDS_PER_SECOND": "1000000", "COMMAND_BURST": "1000000", "CONNECTIONS_PER_USER": "100"}
        environment = {
            **os.environ,
            "COORDINATOR_AUTH__SECRET": self.secret,
            "COORDINATOR_LOG__LEVEL": "warning",
            **{f"COORDINATOR_LIMITS__{name}": value for name, value in unlimited.items()},
        }
        command = [sys.executable, "-m", "coordinator", "serve", "--port", "0", "--data-dir", str(self.data_dir)]
        command += self._options
        if self._core is not None:
            command = ["taskset", "-c", str(self._core), *command]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        assert self._process.stdout is not None
        while line := await asyncio.to_thread(self._process.stdout.readline):
            match = re.search(r"ready at (http://\S+?)/ ", line)
            if match:
                return match[1]
        raise RuntimeError(f"the server ended with {self._process.wait()}")

    def processes(self) -> dict[str, psutil.Process]:
        """Return the server's process and its database's."""
        server = psutil.Process(self._process.pid)
        children = [child for child in server.children(recursive=True) if "secantus" in " ".join(child.cmdline())]
        return {"server": server, **({"database": children[0]} if children else {})}

    def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(timeout=30)


async def offer_rooms(server: Server, rooms: int, seats: int) -> list[str]:
    """Offer slots that start soon, with everyone registered; return the session ids once they are open."""
    url = running_url(server.data_dir)
    assert url is not None
    database = connect(url, "conversation")
    catalog, bookings = MongoCatalog(database), MongoBookings(database)
    ids, now = ObjectIds(), SystemClock().now()
    slots = []
    for number in range(rooms):
        slot = TimeSlot(
            id=SlotId(ids.new_id()),
            target_language_code=Language.ENGLISH,
            level=Level.B2,
            start_time=now + timedelta(seconds=1),
            duration_minutes=45,
            max_participants=max(2, seats),
            is_active=True,
            created_at=now,
            updated_at=now,
        )
        for seat in range(seats):
            registration = Registration(
                id=ids.new_id(),
                time_slot_id=slot.id,
                user_id=UserId(f"user-{number}-{seat}"),
                status=RegistrationStatus.REGISTERED,
                registered_at=now,
            )
            await bookings.add(registration)
        await catalog.add_slot(slot)
        slots.append(slot.id)
    sessions = await opened(database, slots)
    await database.close()
    return sessions


async def fill_rooms(
    server: Server, urls: Sequence[str], http: aiohttp.ClientSession, meter: Meter, size: "Size", *, mixed: bool = False
) -> list[Client]:
    """Connect and join everyone; the first of each room is the one who looks for the others' toggles.

    With several addresses each room is at one of them, or with `mixed` its participants are spread over all.
    """
    tokens = Hs256Tokens(server.secret, clock=SystemClock())
    sessions = await offer_rooms(server, size.rooms, size.seats)
    clients = []
    for number, session_id in enumerate(sessions):
        room: dict[str, float] = {}
        for seat in range(size.seats):
            user = f"user-{number}-{seat}"
            token = tokens.issue(user, Role.PARTICIPANT, ttl_seconds=3600)
            clients.append(Client(user, token, session_id, room, meter))
            clients[-1].is_observer = seat == 0
    for start in range(0, len(clients), 40):
        entering = []
        for number in range(start, min(start + 40, len(clients))):
            place = number if mixed else number // size.seats
            entering.append(clients[number].enter(http, urls[place % len(urls)]))
        await asyncio.gather(*entering)
    return clients


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rooms: int
    seats: int
    seconds: float


async def closed_loop(clients: list[Client], seconds: float) -> None:
    """Let everyone toggle as soon as the previous toggle is acked."""
    end = time.perf_counter() + seconds

    async def insist(client: Client) -> None:
        while (now := time.perf_counter()) < end:
            await (await client.toggle(now))

    await asyncio.gather(*(insist(client) for client in clients))


def open_loop(rate: float) -> Callable[[list[Client], float], Awaitable[None]]:
    """Return a load of `rate` toggles per second, spread over everyone but the observers."""

    async def run(clients: list[Client], seconds: float) -> None:
        togglers = [client for client in clients if not client.is_observer]
        acks = []
        start = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = start + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            acks.append(await togglers[number % len(togglers)].toggle(due))
        await asyncio.gather(*acks)

    return run


def _percentile(values: list[float], share: float) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    return f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000:.1f}"


async def measure(
    load: Callable[[list[Client], float], Awaitable[None]],
    clients: list[Client],
    meter: Meter,
    server: Server,
    size: Size,
    beside: Mapping[str, psutil.Process] | None = None,
) -> dict[str, str]:
    """Warm up, run the load, and return a row of figures; `beside` are more processes whose load is of interest."""
    await load(clients, size.seconds / 4)
    meter.reset()
    processes = {**server.processes(), **(beside or {}), "generator": psutil.Process()}
    before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    start = time.perf_counter()
    await load(clients, size.seconds)
    elapsed = time.perf_counter() - start
    row = {
        "transitions/s": f"{len(meter.acks) / (meter.last_ack - start):.0f}",
        "ack p50 ms": _percentile(meter.acks, 0.50),
        "ack p99 ms": _percentile(meter.acks, 0.99),
        "seen p50 ms": _percentile(meter.seen, 0.50),
        "seen p99 ms": _percentile(meter.seen, 0.99),
        "refused": str(meter.refused),
    }
    for name, process in processes.items():
        row[f"{name} CPU"] = f"{(sum(process.cpu_times()[:2]) - before[name]) / elapsed:.0%}"
    return row


def median_row(rows: list[dict[str, str]]) -> dict[str, str]:
    """Return the middle of each figure."""

    def middle(name: str) -> str:
        texts = [row[name] for row in rows]
        if any(text == "-" for text in texts):
            return "-"
        unit = "%" if texts[0].endswith("%") else ""
        value = statistics.median(float(text.rstrip("%")) for text in texts)
        return f"{value:g}{unit}"

    return {name: middle(name) for name in rows[0]}
