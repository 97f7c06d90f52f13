"""Measure what a look at the slots costs the scheduler when many slots are over, against when none is.

Two databases of one embedded server differ only in how many slots are over. Every kind of look is taken in both, in
turn, so that whatever else the machine does meets both alike; the ratio of the medians is the result.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from coordinator.adapters.mongo.client import Database, connect
from coordinator.adapters.mongo.documents import slot_document
from coordinator.adapters.mongo.embedded import EmbeddedServer
from coordinator.adapters.mongo.ids import ObjectIds
from coordinator.app import Coordinator, mongo_ports
from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import Language, Level, Recurrence, TimeSlot
from coordinator.settings import AuthSettings, MongoSettings, Settings
from coordinator.telemetry import configure_logging

_BATCH = 5_000
_WARM_UP = 10
_BETWEEN = timedelta(minutes=10)
"""How far slots are apart."""

_LOOKS: dict[str, Callable[[Coordinator], Awaitable[None]]] = {
    "Openings.open_due": lambda node: node.openings.open_due(),
    "Settlement.settle_due": lambda node: node.settlement.settle_due(),
    "Occurrences.make_due": lambda node: node.occurrences.make_due(),
}
"""What the scheduler does every few seconds, by name."""


def past_slots(number: int, now: datetime) -> Iterator[TimeSlot]:
    """Make so many slots that are over and settled; every second one belongs to a series."""
    ids = ObjectIds()
    series = SlotId(ids.new_id())
    for index in range(number):
        start = now - timedelta(days=1) - index * _BETWEEN
        yield TimeSlot(
            id=SlotId(ids.new_id()),
            target_language_code=list(Language)[index % 3],
            level=list(Level)[index % 6],
            start_time=start,
            duration_minutes=30,
            recurrence=Recurrence.DAILY if index % 2 else Recurrence.ONCE,
            series_id=series if index % 2 else None,
            series_number=index if index % 2 else None,
            session_id=SessionId(ids.new_id()),
            registered_count=4,
            is_active=True,
            created_at=start - timedelta(days=14),
            updated_at=start - timedelta(days=14),
        )


def present_slots(number: int, now: datetime) -> Iterator[TimeSlot]:
    """Make so many slots around now, for which nobody has registered: each look finds them and lets them be."""
    ids = ObjectIds()
    for index in range(number):
        yield TimeSlot(
            id=SlotId(ids.new_id()),
            target_language_code=Language.FRENCH,
            level=Level.B1,
            start_time=now - timedelta(minutes=10) + timedelta(minutes=15) * index / number,
            duration_minutes=45,
            recurrence=Recurrence.ONCE,
            is_active=True,
            created_at=now - timedelta(days=1),
            updated_at=now - timedelta(days=1),
        )


async def fill(database: Database, slots: Iterator[TimeSlot]) -> None:
    """Store slots, in batches."""
    batch = []
    for slot in slots:
        batch.append(slot_document(slot))
        if len(batch) == _BATCH:
            await database.timeslots.insert_many(batch, ordered=False)
            batch = []
    if batch:
        await database.timeslots.insert_many(batch, ordered=False)


@asynccontextmanager
async def node_over(url: str, name: str, past: int, present: int) -> AsyncIterator[Coordinator]:
    """Give a coordinator over a new database with so many slots; nothing of it runs by itself."""
    settings = Settings(mongo=MongoSettings(url=url, database=name), auth=AuthSettings(secret="x" * 32))
    async with mongo_ports(settings, url) as ports:
        now = ports.clock.now()
        database = connect(url, name, timeout_seconds=120)  # a batch takes its time
        await fill(database, past_slots(past, now))
        await fill(database, present_slots(present, now))
        await database.close()
        yield Coordinator(ports, settings)


async def seconds_of(look: Callable[[Coordinator], Awaitable[None]], node: Coordinator) -> float:
    """Take one look; return how long it took, in seconds."""
    start = time.perf_counter()
    await look(node)
    return time.perf_counter() - start


async def bench(past: int, present: int, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Return the durations of each kind of look, in seconds: over no past slots, and over `past` of them."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        url = await server.start()
        try:
            async with node_over(url, "none", 0, present) as none, node_over(url, "many", past, present) as many:
                for look in _LOOKS.values():
                    for _ in range(_WARM_UP):
                        await look(none)
                        await look(many)
                measured: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in _LOOKS}
                for _ in range(rounds):
                    for name, look in _LOOKS.items():
                        measured[name][0].append(await seconds_of(look, none))
                        measured[name][1].append(await seconds_of(look, many))
                return measured
        finally:
            await server.stop()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench scheduler", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--past", type=int, default=100_000, help="slots that are over (100000)")
    parser.add_argument("--present", type=int, default=20, help="slots around now, in both databases (20)")
    parser.add_argument("--rounds", type=int, default=200, help="looks of each kind, of which medians are shown (200)")
    options = parser.parse_args()
    configure_logging("warning", "console")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(bench(options.past, options.present, options.rounds))
    console = Console(width=120)
    versions = ", ".join(f"{name} {version(name)}" for name in ("motor", "SecantusDB"))
    console.print(
        f"{options.present} slots around now, medians of {options.rounds} looks each, in turn; "
        f"Python {sys.version.split()[0]}, {versions}"
    )
    table = Table("look", "0 past slots, ms", f"{options.past} past slots, ms", "ratio")
    for name, (none, many) in measured.items():
        medians = statistics.median(none), statistics.median(many)
        table.add_row(name, *(f"{1000 * median:.2f}" for median in medians), f"{medians[1] / medians[0]:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
