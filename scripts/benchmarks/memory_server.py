"""The coordinator without a database, behind a real port: the same services and transports over the ports in memory.

Rooms are offered before it answers; then it prints their sessions as one line of JSON, and where it is. It forgets
commits instead of keeping them: what is measured is what the server does, not how much memory a list can take.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import uvloop

from coordinator.adapters.memory.bookings import MemoryBookings
from coordinator.adapters.memory.catalog import MemoryCatalog
from coordinator.adapters.memory.commit_stream import MemoryCommitStream
from coordinator.adapters.memory.consumers import MemoryConsumers
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.adapters.memory.liveness import MemoryLiveness
from coordinator.adapters.memory.projections import MemoryProjections
from coordinator.adapters.memory.replies import MemoryReplies
from coordinator.adapters.mongo.ids import ObjectIds
from coordinator.adapters.no_bus import NoBus
from coordinator.adapters.system import SystemClock
from coordinator.app import Coordinator, Ports, make_tokens, running
from coordinator.cli.process import StopSignals
from coordinator.domain.ids import CommitId
from coordinator.domain.ledger import Commit
from coordinator.settings import load_settings
from coordinator.telemetry import configure_logging
from scripts.benchmarks.sessions import Company, slots_for


class ForgetfulJournal(MemoryJournal):
    """A journal that keeps nothing from a certain moment on: its sessions are live, and nobody asks for their past."""

    forgets = False

    async def append(self, commits: Sequence[Commit]) -> AbstractSet[CommitId]:
        """Write commits, or say so."""
        if not self.forgets:
            return await super().append(commits)
        await asyncio.sleep(0)
        return frozenset(commit.id for commit in commits)


async def serve(company: Company) -> None:
    """Serve until a signal comes."""
    settings = load_settings(files=(), environ=os.environ, flags={"server.port": 0})
    signals = StopSignals()
    clock, journal = SystemClock(), ForgetfulJournal()
    catalog, bookings = MemoryCatalog(), MemoryBookings()
    ports = Ports(
        journal=journal,
        bus=NoBus(),
        projections=MemoryProjections(),
        catalog=catalog,
        bookings=bookings,
        replies=MemoryReplies(),
        liveness=MemoryLiveness(),
        commit_stream=MemoryCommitStream(journal),
        consumers=MemoryConsumers(),
        clock=clock,
        ids=ObjectIds(),
        tokens=make_tokens(settings, clock),
    )
    slots, registrations = slots_for(company)
    for slot in slots:
        await catalog.add_slot(slot)
    for registration in registrations:
        await bookings.add(registration)
    coordinator = Coordinator(ports, settings)
    async with running(coordinator) as address:
        wanted = {slot.id for slot in slots}
        while not all((opened := {slot.id: slot.session_id for slot in await catalog.slots(wanted)}).values()):
            await coordinator.openings.open_due()
        journal.forgets = True
        print(json.dumps([opened[slot.id] for slot in slots]))
        print(f"ready at {address}/ ", flush=True)
        await signals.received()


def main() -> None:
    """Read how many rooms there are to be, and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=int, required=True)
    parser.add_argument("--seats", type=int, required=True)
    options = parser.parse_args()
    configure_logging("warning", "console")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Company(options.rooms, options.seats)))


if __name__ == "__main__":
    main()
