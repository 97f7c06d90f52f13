"""One run of the suite: databases, the stand-in, the generator, and measuring with them.

Owns the order of one measurement: start, fill, warm up, measure, stop. Knows nothing of rows and targets.
"""

import asyncio
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

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


@dataclass(frozen=True)
class Database:
    """An embedded database with sync on commit, and nothing in it that is not of one contender."""

    url: str
    pid: int
    name: str = "bench"


@dataclass
class Field:
    """A contender that answers, and what it runs on.

    Attributes:
        running: Where it answers.
        sessions: What there is to join.
        database: Its database, if it has one.
        stand_in: What stands before that, if anything does; it passes everything through until it is told `on`.
        generator: Who is connected to it, once someone is.
    """

    running: Running
    sessions: list[str]
    database: Database | None
    stand_in: Process | None
    generator: Process | None = None

    def pids(self) -> dict[str, int]:
        """Return the processes whose CPU is of interest."""
        pids = {"server": self.running.process.pid}
        if self.database is not None:
            pids["database"] = self.database.pid
        if self.stand_in is not None:
            pids["stand-in"] = self.stand_in.pid
        if self.generator is not None:
            pids["generator"] = self.generator.pid
        return pids


@dataclass
class Run:
    """What all measurements of a run share.

    Attributes:
        cores: Who runs where.
        folder: For files of this run.
        secret: What tokens are signed with.
        problems: What a reader must know of: violations, a busy generator.
        prefix: What our server is started with in place of Python; for a profiler.
        disturbed: How many of the measurements so far others disturbed.
        measurements: How many there were.
    """

    cores: Cores
    folder: Path
    secret: str
    problems: list[str] = field(default_factory=list)
    prefix: Sequence[str] = ()
    disturbed: int = 0
    measurements: int = 0
    _count: int = 0

    def fresh_file(self) -> Path:
        """Return a path at which nothing has been yet."""
        self._count += 1
        return self.folder / str(self._count)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Run an empty database on the server's core.

        Everyone gets a new one: dropping what was written takes longer than a start, and growing would be unfair.
        """
        folder = self.fresh_file()
        embedded = EmbeddedServer(folder)
        with on_core(self.cores.server):
            url = await embedded.start()
        try:
            yield Database(url, _pid_of(folder))
        finally:
            await embedded.stop()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    @asynccontextmanager
    async def stand_in(self, database: Database) -> AsyncIterator[tuple[Process, str]]:
        """Run a stand-in before a database; it passes everything through for now."""
        match = _PORT.match(database.url)
        assert match is not None
        command = [str(compiled("standin")), match[1], str(STAND_IN_MICROSECONDS)]
        process = await Process.start("the stand-in", command, self.cores.generator)
        try:
            port = json.loads(await process.line())["port"]
            yield process, f"mongodb://127.0.0.1:{port}/?directConnection=true"
        finally:
            await process.stop()

    @asynccontextmanager
    async def server(self, name: str, start: Start) -> AsyncIterator[Running]:
        """Run a contender."""
        running = await start_contender(name, start)
        try:
            yield running
        finally:
            await running.process.stop(gently=bool(start.prefix))

    @asynccontextmanager
    async def generator(self, clients: Path) -> AsyncIterator[Process]:
        """Run a generator."""
        command = [str(compiled("generator")), str(clients), str(_LIFETIME_SECONDS)]
        process = await Process.start("the generator", command, self.cores.generator)
        try:
            yield process
        finally:
            await process.stop()

    @asynccontextmanager
    async def contender(
        self, name: str, company: Company, *, database: bool, stand_in: bool = False
    ) -> AsyncIterator[Field]:
        """Run a contender, with sessions to join and a generator that has yet to connect."""
        async with AsyncExitStack() as stack:
            below = await stack.enter_async_context(self.database()) if database else None
            process, url = None, None if below is None else below.url
            if stand_in:
                assert below is not None
                process, url = await stack.enter_async_context(self.stand_in(below))
            prefix = self.prefix if name == OURS else ()
            start = Start(self.secret, self.cores.server, url, below.name if below else "", company, prefix)
            running = await stack.enter_async_context(self.server(name, start))
            sessions = running.sessions
            if not sessions and below is not None and name == OURS:
                sessions = await offer(below.url, below.name, company)
            sessions = sessions or name_sessions(company)
            field_ = Field(running, sessions, below, process)
            file = write_clients(self.fresh_file(), running.port, sessions, company, self.secret)
            field_.generator = await stack.enter_async_context(self.generator(file))
            yield field_

    @asynccontextmanager
    async def filled(
        self, name: str, company: Company, *, database: bool = True, stand_in: bool = False
    ) -> AsyncIterator[Field]:
        """Run a contender with everyone joined, and the stand-in answering if there is to be one."""
        async with self.contender(name, company, database=database, stand_in=stand_in) as field_:
            assert field_.generator is not None
            await self.joined(name, field_.generator, company)
            if field_.stand_in is not None:
                await field_.stand_in.ask("on")
            yield field_

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
        assert generator is not None
        if warms_up:
            await generator.ask(load, 700)
        with metered(field_.pids()) as usage:
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
    """Prepare what all measurements share; we ourselves stay away from the server's core."""
    cores = Cores.of_this_machine()
    with tempfile.TemporaryDirectory(prefix="coordinator-bench-") as name:
        if cores.generator is not None:
            os.sched_setaffinity(0, {cores.generator})
        yield Run(cores, Path(name), secrets.token_urlsafe(48))


def _pid_of(folder: Path) -> int:
    for child in psutil.Process().children(recursive=True):
        if any(str(folder) in argument for argument in child.cmdline()):
            return child.pid
    raise BenchError("the database's process was not found")


def percentiles(result: Mapping[str, Any], name: str) -> tuple[float, float]:
    """Return p50 and p99 of one of the generator's times, in milliseconds."""
    times = result[name]
    return times.get("p50", float("nan")), times.get("p99", float("nan"))
