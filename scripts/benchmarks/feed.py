"""Measure the recording service's feed: how soon a revoked consent reaches it, and what a connected recorder costs.

Latency: participants grant and revoke consent at a fixed rate, and time counts from when each revocation was due: until
its ack, until another participant of the room has the event, and until the recorder has the `recording_withdrawn` of
the same commit. Cost: the same closed-loop load with the recorder connected and without, in turns, as a ratio.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import aiohttp
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from scripts.benchmarks.live import Client, Meter, Server, Size, closed_loop, fill_rooms

_ACK = re.compile(r"43/recording,(\d+)\[")


class _Event(msgspec.Struct):
    type: str
    data: dict[str, object]


class _Record(msgspec.Struct):
    cursor: str
    event: _Event


_RECORD = msgspec.json.Decoder(tuple[str, _Record])


class Recorder:
    """A consumer of the feed that acks whatever has come, one ack at a time."""

    def __init__(self, token: str, due: dict[str, float]) -> None:
        self.latencies: list[float] = []
        self.heard = asyncio.Event()
        self._token = token
        self._due = due
        self._acking = False
        self._cursor = ""
        self._numbers = 0

    async def enter(self, http: aiohttp.ClientSession, url: str) -> None:
        """Connect and subscribe."""
        self._ws = await http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket", max_msg_size=0)
        await self._ws.receive_str()
        await self._ws.send_str(f"40/recording,{json.dumps({'token': self._token})}")
        answer = await self._ws.receive_str()
        await self._ws.send_str('42/recording,0["subscribe",{"consumer":"bench"}]')
        reply = await self._ws.receive_str()
        if '"ok":true' not in reply:
            raise RuntimeError(f"the subscription was refused: {answer} {reply}")
        self._reader = asyncio.create_task(self._read())

    async def leave(self) -> None:
        """Go."""
        self._reader.cancel()
        await self._ws.close()

    async def _read(self) -> None:
        async for message in self._ws:
            text: str = message.data
            if text == "2":
                await self._ws.send_str("3")
            elif text.startswith('42/recording,["record"'):
                self._take(text)
            elif _ACK.match(text):
                self._acking = False
            if self._cursor and not self._acking:
                self._acking = True
                self._numbers += 1
                await self._ws.send_str(f'42/recording,{self._numbers}["ack",{{"cursor":"{self._cursor}"}}]')
                self._cursor = ""

    def _take(self, text: str) -> None:
        now = time.perf_counter()
        _, record = _RECORD.decode(text[13:])
        self._cursor = record.cursor
        event = record.event
        if event.type == "recording_withdrawn" and event.data["reason"] == "consent_revoked":
            due = self._due.pop(str(event.data["userId"]), None)
            if due is not None:
                self.latencies.append(now - due)
                self.heard.set()


class Waverer:
    """Grants and revokes the consent of one participant's client."""

    def __init__(self, client: Client, due: dict[str, float]) -> None:
        self._client = client
        self._due = due
        self._granted = False
        self.acks: list[float] = []

    async def waver(self, due: float) -> None:
        """Grant, or revoke; `due` is when this was to happen."""
        self._granted = not self._granted
        if not self._granted:
            self._due[self._client.user] = due
        await self._client.call("set_recording_consent", {"granted": self._granted})
        if not self._granted:
            self.acks.append(time.perf_counter() - due)


async def waver_all(waverers: list[Waverer], rate: float, seconds: float) -> None:
    """Waver `rate` times a second, whatever happens."""
    start = time.perf_counter()
    running = []
    for number in range(int(rate * seconds)):
        due = start + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        running.append(asyncio.create_task(waverers[number % len(waverers)].waver(due)))
    await asyncio.gather(*running)


@asynccontextmanager
async def recording(
    server: Server, http: aiohttp.ClientSession, url: str, waverer: Waverer, due: dict[str, float]
) -> AsyncIterator[Recorder]:
    """Have a recorder connected that has caught up: it has heard of a revocation made since."""
    tokens = Hs256Tokens(server.secret, clock=SystemClock())
    recorder = Recorder(tokens.issue("recorder", Role.RECORDER, ttl_seconds=3600), due)
    await recorder.enter(http, url)
    while not recorder.latencies:
        recorder.heard.clear()
        for _ in range(2):
            await waverer.waver(time.perf_counter())
        async with asyncio.timeout(120):
            await recorder.heard.wait()
    try:
        yield recorder
    finally:
        await recorder.leave()


async def switch_recording_on(server: Server, http: aiohttp.ClientSession, url: str) -> None:
    """Let every session be recorded."""
    tokens = Hs256Tokens(server.secret, clock=SystemClock())
    headers = {"Authorization": f"Bearer {tokens.issue('admin', Role.ADMIN, ttl_seconds=3600)}"}
    async with http.get(f"{url}/api/v1/sessions?status=active&limit=200", headers=headers) as response:
        sessions = [item["id"] for item in (await response.json())["items"]]
    for session in sessions:
        address = f"{url}/api/v1/sessions/{session}/recording"
        async with http.put(address, json={"enabled": True}, headers=headers) as response:
            response.raise_for_status()


def milliseconds(values: list[float], share: float) -> str:
    """Return a percentile."""
    ordered = sorted(values)
    return f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000:.1f}" if ordered else "-"


async def bench(size: Size, rate: float, rounds: int) -> tuple[list[dict[str, str]], list[float], list[float]]:
    """Measure latencies, then the closed loop with and without recorder, `rounds` times each."""
    pinned = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
    if pinned:
        os.sched_setaffinity(0, {1})
    rows: list[dict[str, str]] = []
    alone: list[float] = []
    watched: list[float] = []
    meter, due = Meter(), dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), 0 if pinned else None)
        url = await server.start()
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                clients = await fill_rooms(server, [url], http, meter, size)
                await switch_recording_on(server, http, url)
                waverers = [Waverer(client, due) for client in clients if not client.is_observer]
                async with recording(server, http, url, waverers[0], due) as recorder:
                    await waver_all(waverers, rate / 2, size.seconds / 4)
                    for _ in range(rounds):
                        recorder.latencies.clear()
                        for waverer in waverers:
                            waverer.acks.clear()
                        await waver_all(waverers, rate / 2, size.seconds)
                        acks = [ack for waverer in waverers for ack in waverer.acks]
                        rows.append(
                            {
                                "revocations": str(len(acks)),
                                "missed by the recorder": str(len(acks) - len(recorder.latencies)),
                                "ack p50 ms": milliseconds(acks, 0.5),
                                "ack p99 ms": milliseconds(acks, 0.99),
                                "recorder p50 ms": milliseconds(recorder.latencies, 0.5),
                                "recorder p99 ms": milliseconds(recorder.latencies, 0.99),
                            }
                        )
                for _ in range(rounds):
                    alone.append(await saturated(clients, meter, size.seconds))
                    async with recording(server, http, url, waverers[0], due):
                        watched.append(await saturated(clients, meter, size.seconds))
                await asyncio.gather(*(client.leave() for client in clients))
        finally:
            server.stop()
    return rows, alone, watched


async def saturated(clients: list[Client], meter: Meter, seconds: float) -> float:
    """Return transitions per second of everyone toggling as fast as acks come."""
    await closed_loop(clients, seconds / 4)
    meter.reset()
    start = time.perf_counter()
    await closed_loop(clients, seconds)
    return len(meter.acks) / (meter.last_ack - start)


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench feed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rooms", type=int, default=25)
    parser.add_argument("--seats", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=200, help="events per second; each change of consent makes two")
    options = parser.parse_args()
    size = Size(options.rooms, options.seats, options.seconds)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows, alone, watched = runner.run(bench(size, options.rate, options.rounds))
    console = Console(width=140)
    versions = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "python-socketio", "motor", "SecantusDB"))
    console.print(
        f"{size.rooms} rooms of {size.seats}, embedded database with sync on commit, {options.rate:g} events/s"
    )
    console.print(f"Python {sys.version.split()[0]}, {versions}")
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*row.values())
    console.print(table)
    ratio = statistics.median(with_it / without for with_it, without in zip(watched, alone, strict=True))
    console.print(
        f"saturated: {statistics.median(alone):.0f} transitions/s without a recorder, "
        f"{statistics.median(watched):.0f} with one; ratio {ratio:.2f}"
    )


if __name__ == "__main__":
    main()
