"""Measure one coordinator beside two that share a database and a Redis, in turns, under the same load.

"whole": each room is on one node. "mixed": the participants of each room are spread over both, so that every commit
has to reach the other node. Nothing is pinned: nodes, database, Redis and generator share the cores, so on a small
machine the second node gains little; what it costs is what there is to see. The one node runs without a Redis.
"""

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import aiohttp
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from coordinator.adapters.mongo.embedded import running_url
from scripts.benchmarks.live import Meter, Server, Size, closed_loop, fill_rooms, measure, median_row, open_loop

Rows = dict[tuple[str, str], list[dict[str, str]]]


def start_redis() -> tuple[subprocess.Popen[bytes], str]:
    """Start a Redis that keeps nothing; return it and its address."""
    executable = shutil.which("redis-server")
    if executable is None:
        sys.exit("redis-server is not installed; scripts/test installs it.")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [executable, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([*command, "--loglevel", "warning"], stdout=subprocess.DEVNULL)
    return process, f"redis://127.0.0.1:{port}"


async def run(kind: str, size: Size, rate: float, rows: Rows) -> None:
    """Measure one set-up once: saturated, and at a fixed rate."""
    redis: subprocess.Popen[bytes] | None = None
    options: list[str] = []
    if kind != "1 node":
        redis, redis_url = start_redis()
        options = ["--redis-url", redis_url]
    servers: list[Server] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            servers.append(Server(Path(folder) / "one", None, *options))
            urls = [await servers[0].start()]
            beside: dict[str, psutil.Process] = {}
            if redis is not None:
                database = running_url(servers[0].data_dir)
                assert database is not None
                second = Server(Path(folder) / "two", None, *options, "--mongo-url", database, secret=servers[0].secret)
                urls.append(await second.start())
                servers.append(second)
                beside = {"second server": second.processes()["server"], "redis": psutil.Process(redis.pid)}
            meter = Meter()
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                clients = await fill_rooms(servers[0], urls, http, meter, size, mixed=kind == "2 nodes, mixed")
                for name, load in (("saturated", closed_loop), (f"{rate:g}/s", open_loop(rate))):
                    row = await measure(load, clients, meter, servers[0], size, beside)
                    rows.setdefault((kind, name), []).append({"second server CPU": "-", "redis CPU": "-", **row})
                await asyncio.gather(*(client.leave() for client in clients))
        finally:
            for server in reversed(servers):  # the first one owns the database
                server.stop()
            if redis is not None:
                redis.terminate()
                redis.wait()


async def bench(size: Size, rate: float, rounds: int) -> Rows:
    """Measure every set-up in turn, `rounds` times."""
    rows: Rows = {}
    for _ in range(rounds):
        for kind in ("1 node", "2 nodes, whole", "2 nodes, mixed"):
            await run(kind, size, rate, rows)
    return rows


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench nodes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rooms", type=int, default=50)
    parser.add_argument("--seats", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=None, help="length of each measurement (8; quick: 4)")
    parser.add_argument("--rounds", type=int, default=None, help="rounds, of which medians are shown (3; quick: 1)")
    parser.add_argument("--rate", type=float, default=200.0, help="open-loop rate, per second")
    options = parser.parse_args()
    size = Size(options.rooms, options.seats, options.seconds or (4 if options.quick else 8))
    rounds = options.rounds or (1 if options.quick else 3)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(bench(size, options.rate, rounds))
    console = Console(width=190)
    versions = ", ".join(f"{name} {version(name)}" for name in ("python-socketio", "motor", "redis", "SecantusDB"))
    console.print(
        f"{size.rooms} rooms of {size.seats}, embedded database with sync on commit, {os.cpu_count()} cores, "
        f"medians of {rounds}x {size.seconds:g} s; Python {sys.version.split()[0]}, {versions}"
    )
    columns = list(next(iter(rows.values()))[0])
    columns = sorted(columns, key=lambda name: (name.endswith("CPU"), columns.index(name)))
    table = Table("set-up", "load", *columns)
    for (kind, load), measured in rows.items():
        middle = median_row(measured)
        table.add_row(kind, load, *(middle[name] for name in columns))
    console.print(table)
    one, *others = (
        (kind, statistics.median(float(row["transitions/s"]) for row in measured))
        for (kind, load), measured in rows.items()
        if load == "saturated"
    )
    for kind, figure in others:
        console.print(f"{kind}: {figure / one[1]:.2f} x the transitions/s of {one[0]}")


if __name__ == "__main__":
    main()
