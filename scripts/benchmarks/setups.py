"""How each group of figures is measured: one function per set-up, for one contender and one round.

Owns sizes, loads and what is read off them; knows nothing of rounds and targets.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from scripts.benchmarks.contenders import OURS
from scripts.benchmarks.field import CONNECT_WINDOW, Field, Figure, Run, percentiles
from scripts.benchmarks.sessions import Company, name_sessions, offer, write_clients

SEATS = 8
LATENCY_RATE = 200
CPU_RATE = 1000
_QUIET_SECONDS = 2.0
"""How long after the last join memory is looked at."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    seconds: float
    rooms: int = 50
    observers: int = 100
    idle: int = 10_000
    connections: int = 6_000

    @property
    def warm_up(self) -> float:
        """How long the same load runs before it is measured."""
        return max(0.5, self.seconds / 4)


@dataclass
class Measured:
    """What one contender gave in one round: a number per row, and everything behind it."""

    values: dict[str, float]
    figures: dict[str, Figure]


Setup = Callable[[Run, Size, str, Collection[str]], Awaitable[Measured]]
"""Run, size, contender, the rows that are wanted."""


def _per_transition(figure: Figure, *processes: str) -> float:
    transitions = figure.result["ack_ms"]["count"]
    spent = sum(figure.seconds[process] for process in processes)
    return 1e6 * spent / transitions if transitions else math.nan


async def _closed(run: Run, size: Size, name: str, field: Field, what: str) -> Figure:
    return await run.measured(name, field, f"closed {size.warm_up} {size.seconds}", what=what)


async def _open(run: Run, size: Size, name: str, field: Field, rate: int, what: str, *, evenly: bool = True) -> Figure:
    load = f"{'open' if evenly else 'random'} {size.warm_up} {size.seconds} {rate}"
    return await run.measured(name, field, load, what=f"{what}, {rate}/s")


async def embedded(run: Run, size: Size, name: str, wanted: Collection[str]) -> Measured:
    """Measure on the embedded database: latency while it is quiet, CPU at a rate, and saturation."""
    out = Measured({}, {})
    async with run.filled(name, Company(size.rooms, SEATS)) as field:
        if wanted & {"p50", "p99"}:
            figure = out.figures["latency"] = await _open(run, size, name, field, LATENCY_RATE, "embedded")
            out.values["p50"], out.values["p99"] = percentiles(figure.result, "seen_ms")
        if wanted & {"p50-random", "p99-random"}:
            figure = out.figures["random"] = await _open(
                run, size, name, field, LATENCY_RATE, "embedded, at random", evenly=False
            )
            out.values["p50-random"], out.values["p99-random"] = percentiles(figure.result, "seen_ms")
        if wanted & {"cpu-embedded", "cpu-both"}:
            figure = out.figures["cpu"] = await _open(run, size, name, field, CPU_RATE, "embedded")
            out.values["cpu-embedded"] = _per_transition(figure, "server")
            out.values["cpu-both"] = _per_transition(figure, "server", "database")
        if "durable" in wanted:
            figure = out.figures["durable"] = await _closed(run, size, name, field, "embedded, saturated")
            out.values["durable"] = figure.result["per_second"]
    return out


async def stand_in(run: Run, size: Size, name: str, wanted: Collection[str]) -> Measured:
    """Measure on a database that answers in 0.3 ms: CPU at a rate, and saturation."""
    out = Measured({}, {})
    async with run.filled(name, Company(size.rooms, SEATS), stand_in=True) as field:
        if "cpu" in wanted:
            figure = out.figures["cpu"] = await _open(run, size, name, field, CPU_RATE, "stand-in")
            out.values["cpu"] = _per_transition(figure, "server")
        if "stand-in" in wanted:
            figure = out.figures["stand-in"] = await _closed(run, size, name, field, "stand-in, saturated")
            out.values["stand-in"] = figure.result["per_second"]
        assert field.stand_in is not None
        counted = await field.stand_in.ask("stats")
        for figure in out.figures.values():
            figure.more["stand-in"] = counted
        if not counted["answered"]:
            run.problems.append(f"stand-in, {name}: it was not asked for anything")
    return out


async def rooms(run: Run, size: Size, name: str, _: Collection[str]) -> Measured:
    """Measure fan-out in rooms of 8, without database."""
    async with run.filled(name, Company(size.rooms, SEATS), database=False) as field:
        figure = await _closed(run, size, name, field, "no database, rooms of 8")
    return Measured({"rooms": figure.result["deliveries_per_second"]}, {"rooms": figure})


async def observers(run: Run, size: Size, name: str, _: Collection[str]) -> Measured:
    """Measure fan-out in one room that many moderators watch, without database."""
    async with run.filled(name, Company(1, SEATS, size.observers), database=False) as field:
        figure = await _closed(run, size, name, field, f"no database, {size.observers} observers")
    return Measured({"observers": figure.result["deliveries_per_second"]}, {"observers": figure})


async def connections(run: Run, size: Size, name: str, _: Collection[str]) -> Measured:
    """Measure how fast clients connect, are checked and join, without database; a third come first, to warm up."""
    company = Company(size.connections // SEATS, SEATS)
    async with run.contender(name, company, database=False) as field:
        assert field.generator is not None
        first = company.clients // 3  # it takes so many until V8 has compiled what matters
        await field.generator.ask(f"connect {first} {CONNECT_WINDOW}", 400)
        load = f"connect {company.clients - first} {CONNECT_WINDOW}"
        figure = await run.measured(name, field, load, what="connections", warms_up=False)
    return Measured({"connections": figure.result["per_second"]}, {"connections": figure})


async def memory(run: Run, size: Size, name: str, _: Collection[str]) -> Measured:
    """Measure what a connection that has joined and is idle adds to the server's memory, its session included.

    Ours runs on the embedded database, because without one the journal would be in the server's memory; peers keep
    nothing, and run without. A few rooms come first, so that what is loaded and allocated once does not count.
    """
    few, many = Company(25, SEATS), Company(size.idle // SEATS, SEATS, first=25)
    async with run.filled(name, few, database=name == OURS) as field:
        await asyncio.sleep(_QUIET_SECONDS)
        server, below = field.running.process, field.database
        before = server.resident_bytes()
        sessions = name_sessions(many) if below is None else await offer(below.url, below.name, many)
        file = write_clients(run.fresh_file(), field.running.port, sessions, many, run.secret)
        async with run.generator(file) as generator:
            await run.joined(name, generator, many)
            await generator.ask(f"idle {_QUIET_SECONDS}")
            after = server.resident_bytes()
    each = (after - before) / many.clients
    more = {"before": before, "after": after, "connections": many.clients}
    return Measured({"memory": each / 1024}, {"memory": Figure({}, {}, {}, 0.0, more)})


BY_NAME: dict[str, Setup] = {
    "embedded": embedded,
    "stand-in": stand_in,
    "rooms": rooms,
    "observers": observers,
    "connections": connections,
    "memory": memory,
}
"""All but `history`, which measures our own server twice."""
