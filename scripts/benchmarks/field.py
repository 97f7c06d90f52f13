"""One run of the suite: the database all contenders share, the generator, the stand-in, and measuring with them.

Owns the order of one measurement: start, fill, warm up, measure, stop. Knows nothing of rows and targets.
"""

import contextlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from coordinator.adapters.mongo.client import connect
from coordinator.adapters.mongo.embedded import EmbeddedServer
from scripts.benchmarks.contenders import OURS, Running, Start, start_contender
from scripts.benchmarks.machine import BenchError, Cores, Process, compiled, metered, on_core
from scripts.benchmarks.sessions import Company, name_sessions, offer, write_clients

STAND_IN_MICROSECONDS = 300
GENERATOR_LIMIT = 0.7
"""Share of its core above which the generator may be what is measured."""
FOREIGN_LIMIT = 0.2
"""Share of one core that others may use before a figure is doubtful."""
CONNECT_WINDOW = 64
_LIFETIME_SECONDS = 2 * 3600
_PORT = re.compile(r"mongodb://127\.0\.0\.1:(\d+)/")
_FAULTS = ("failed", "refused", "unanswered", "gaps", "duplicates", "reordered", "closed", "malformed")
_PEERS_MAY = frozenset({"reordered", "duplicates", "unanswered"})
"""What peers do by their nature: events overtake each other between two awaits, and an overrun is not answered."""


@dataclass
class Figure:
    """What one measurement gave.

    Attributes:
        result: What the generator reports.
        seconds: CPU seconds by process.
        shares: The same as shares of a core; `foreign` is everybody else.
        elapsed: How long it took, the generator's waiting for the last answers included.
        more: Whatever else was seen.
    """

    result: dict[str, Any]
    seconds: dict[str, float]
    shares: dict[str, float]
    elapsed: float
    more: dict[str, Any] = field(default_factory=dict)


@dataclass
class Field:
    """A contender with everyone connected to it."""

    running: Running
    generator: Process
    pids: dict[str, int]
    joining: dict[str, Any]
    stand_in: Process | None = None


@dataclass
class Run:
    """What all measurements of a run share.

    Attributes:
        cores: Who runs where.
        folder: For files of this run.
        url: The database.
        database_pid: Its process.
        secret: What tokens are signed with.
        problems: What a reader must know of: violations, a busy generator.
        prefix: What our server is started with in place of Python; for a profiler.
        disturbed: How many of the measurements so far others disturbed.
        measurements: How many there were.
    """

    cores: Cores
    folder: Path
    url: str
    database_pid: int
    secret: str
    problems: list[str] = field(default_factory=list)
    prefix: Sequence[str] = ()
    disturbed: int = 0
    measurements: int = 0
    _count: int = 0

    def fresh_name(self) -> str:
        """Return a name that nothing has had yet, for a database and files."""
        self._count += 1
        return f"bench_{self._count}"

    async def generator(self, clients: Path) -> Process:
        """Start a generator."""
        command = [str(compiled("generator")), str(clients), str(_LIFETIME_SECONDS)]
        return await Process.start("the generator", command, self.cores.generator)

    @asynccontextmanager
    async def stand_in(self) -> AsyncIterator[tuple[Process, str]]:
        """Run a stand-in before the database; it passes everything through for now."""
        match = _PORT.match(self.url)
        assert match is not None
        command = [str(compiled("standin")), match[1], str(STAND_IN_MICROSECONDS)]
        process = await Process.start("the stand-in", command, self.cores.generator)
        try:
            port = json.loads(await process.line())["port"]
            yield process, f"mongodb://127.0.0.1:{port}/?directConnection=true"
        finally:
            await process.stop()

    @asynccontextmanager
    async def contender(
        self, name: str, company: Company, *, database: bool, url: str | None = None, **more: str
    ) -> AsyncIterator[tuple[Running, str, list[str]]]:
        """Run a contender, with sessions to join; gives it, its database's name, and the sessions."""
        database_name = self.fresh_name()
        start = Start(
            self.secret,
            self.cores.server,
            (url or self.url) if database else None,
            database_name,
            company,
            self.prefix if name == OURS else (),
            more,
        )
        running = await start_contender(name, start)
        try:
            if running.sessions:
                sessions = running.sessions
            elif name == OURS:
                sessions = await offer(self.url, database_name, company)
            else:
                sessions = name_sessions(company)
            yield running, database_name, sessions
        finally:
            await running.process.stop(gently=bool(start.prefix))
            if database:
                await self.drop(database_name)

    async def drop(self, database_name: str) -> None:
        """Forget a database."""
        database = connect(self.url, database_name, timeout_seconds=60)
        try:
            await database.command({"dropDatabase": 1})
        finally:
            await database.close()

    @asynccontextmanager
    async def filled(
        self, name: str, company: Company, *, database: bool = True, stand_in: bool = False
    ) -> AsyncIterator[Field]:
        """Run a contender with everyone joined, and the stand-in answering if there is to be one."""
        async with AsyncExitStack() as stack:
            process, url = await stack.enter_async_context(self.stand_in()) if stand_in else (None, None)
            running, _, sessions = await stack.enter_async_context(
                self.contender(name, company, database=database, url=url)
            )
            file = write_clients(self.folder / self.fresh_name(), running.port, sessions, company, self.secret)
            generator = await self.generator(file)
            stack.push_async_callback(generator.stop)
            joining = await self.joined(name, generator, company)
            pids = {"server": running.process.pid, "generator": generator.pid}
            if database:
                pids["database"] = self.database_pid
            if process is not None:
                pids["stand-in"] = process.pid
                await process.ask("on")
            yield Field(running, generator, pids, joining, process)

    async def joined(
        self, name: str, generator: Process, company: Company, window: int = CONNECT_WINDOW
    ) -> dict[str, Any]:
        """Let everyone connect and join, `window` of them at a time.

        Raises:
            BenchError: Not all of them could.
        """
        joining = await generator.ask(f"connect {company.clients} {window}", 700)
        if joining["done"] != company.clients:
            raise BenchError(f"{name}: only {joining['done']} of {company.clients} clients joined")
        return joining

    async def measured(self, name: str, field_: Field, load: str, *, what: str, warms_up: bool = True) -> Figure:
        """Let the generator warm up and measure one load, and look at what it complains of."""
        generator = field_.generator
        if warms_up:
            await generator.ask(load, 700)
        with metered(field_.pids) as usage:
            result = json.loads(await generator.line(700)) if warms_up else await generator.ask(load, 700)
        shares = {**usage.shares, **({} if usage.foreign is None else {"foreign": usage.foreign})}
        figure = Figure(result, usage.seconds, shares, usage.elapsed)
        self._judge(name, figure, what)
        return figure

    def _judge(self, name: str, figure: Figure, what: str) -> None:
        faults = {fault: count for fault in _FAULTS if (count := figure.result[fault])}
        grave = faults if name == OURS else {fault: faults[fault] for fault in faults.keys() - _PEERS_MAY}
        if grave:
            said = ", ".join(f"{count} {fault}" for fault, count in grave.items())
            self.problems.append(f"{what}, {name}: {said}")
        self.disturbed += figure.shares.get("foreign", 0.0) > FOREIGN_LIMIT
        self.measurements += 1
        share = figure.result["cpu_seconds"] / max(figure.result["wall_seconds"], 1e-9)
        if share > GENERATOR_LIMIT and not what.startswith("connect"):
            self.problems.append(
                f"{what}, {name}: the generator used {share:.0%} of its core; above {GENERATOR_LIMIT:.0%} it may be "
                "what was measured"
            )


@asynccontextmanager
async def bench_run() -> AsyncIterator[Run]:
    """Start what all measurements share: the embedded database with sync on commit, on the server's core."""
    cores = Cores.of_this_machine()
    with tempfile.TemporaryDirectory(prefix="coordinator-bench-") as name:
        folder = Path(name)
        embedded = EmbeddedServer(folder)
        with on_core(cores.server):
            url = await embedded.start()
        try:
            with contextlib.suppress(AttributeError):  # there are systems on which nothing can be pinned
                if cores.generator is not None:
                    os.sched_setaffinity(0, {cores.generator})
            yield Run(cores, folder, url, _database_pid(), secrets.token_urlsafe(48))
        finally:
            await embedded.stop()


def _database_pid() -> int:
    for child in psutil.Process().children(recursive=True):
        if "secantus" in " ".join(child.cmdline()):
            return child.pid
    raise BenchError("the database's process was not found")


def percentiles(result: Mapping[str, Any], name: str) -> tuple[float, float]:
    """Return p50 and p99 of one of the generator's times, in milliseconds."""
    times = result[name]
    return times.get("p50", float("nan")), times.get("p99", float("nan"))
