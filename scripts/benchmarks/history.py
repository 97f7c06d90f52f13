"""What an event costs as history grows: rooms whose journals are long beside rooms whose are short, in turns.

The histories are written by the project's own rules and sealed by its own ledger, so the hash chain is right. Two
servers with a database each run beside each other, and only one of them has something to do at a time: what else the
machine does meets both alike.
"""

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.adapters.mongo.client import connect
from coordinator.adapters.mongo.ids import ObjectIds
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.schema import prepare
from coordinator.adapters.system import SystemClock
from coordinator.domain.commands import Command, JoinSession, LeaveSession, OpenSession
from coordinator.domain.decide import decide
from coordinator.domain.events import Actor, CameraChanged, Event, Role
from coordinator.domain.evolve import evolve
from coordinator.domain.ids import CommitId, ConnectionId, SessionId, SlotId, UserId
from coordinator.domain.ledger import GENESIS, MAX_COMMIT_EVENTS, Commit, seal
from coordinator.domain.model import Language, Level
from coordinator.domain.state import SessionState
from scripts.benchmarks.contenders import LABELS, OURS, Start
from scripts.benchmarks.field import Database, Field, Run
from scripts.benchmarks.rows import FRESH
from scripts.benchmarks.sessions import Company, write_clients
from scripts.benchmarks.setups import LATENCY_RATE, Measured, Size

_LASTS = timedelta(hours=6)
_ROOMS_PER_WRITE = 10
_WINDOW = 1
"""How many join at once: the first of a room lets its whole journal be read, which takes a while."""


@dataclass(frozen=True)
class Past:
    """Rooms that have one: how many, and how many events each."""

    rooms: int
    events: int


class Writer:
    """Writes the history of one session, commit by commit."""

    def __init__(self, ids: ObjectIds, users: Sequence[str], now: datetime) -> None:
        self.session_id = SessionId(ids.new_id())
        self._ids = ids
        self._actors = [Actor(user_id=UserId(user), role=Role.PARTICIPANT) for user in users]
        self._now = now
        self._state: SessionState | None = None
        self._hash = GENESIS

    def commits(self, events: int) -> Iterator[Commit]:
        """Open the session, let everyone join, toggle that many times, and leave."""
        connection = ConnectionId("the past")
        yield self._decided(self._opening())
        for actor in self._actors:
            yield self._decided(JoinSession(actor=actor, connection_id=connection, registered=True))
        for start in range(0, events, MAX_COMMIT_EVENTS):
            yield self._toggles(min(MAX_COMMIT_EVENTS, events - start))
        for actor in self._actors:
            yield self._decided(LeaveSession(actor=actor, connection_id=connection))

    def _opening(self) -> OpenSession:
        return OpenSession(
            time_slot_id=SlotId(self._ids.new_id()),
            target_language_code=Language.ENGLISH,
            level=Level.B2,
            scheduled_start=self._now,
            scheduled_end=self._now + _LASTS,
            no_show_at=self._now + _LASTS,
            min_participants=2,
            max_participants=8,
            empty_timeout_seconds=_LASTS.total_seconds(),
            reconnect_grace_seconds=30,
        )

    def _decided(self, command: Command) -> Commit:
        before = self._state
        decision = decide(self.session_id, before, command, self._now, self._ids.new_salt())
        self._state = decision.state
        return self._sealed(decision.events, before)

    def _toggles(self, count: int) -> Commit:
        before = self._state
        events: list[Event] = []
        for number in range(count):
            assert self._state is not None
            actor = self._actors[number % len(self._actors)]
            is_on = self._state.participants[actor.user_id].camera_enabled
            body = CameraChanged(user_id=actor.user_id, camera_enabled=not is_on)
            event = Event(
                session_id=self.session_id, seq=self._state.seq + 1, at=self._now, actor=actor, body=body, salt=None
            )
            self._state = evolve(self._state, event)
            events.append(event)
        return self._sealed(events, before)

    def _sealed(self, events: Sequence[Event], before: SessionState | None) -> Commit:
        aliases = {} if before is None else before.aliases
        commit = seal(CommitId(self._ids.new_id()), events, self._hash, aliases)
        self._hash = commit.hash
        return commit


async def write_past(below: Database, past: Past, company: Company) -> list[str]:
    """Write the journals; return the sessions."""
    database = connect(below.url, below.name, timeout_seconds=60)
    try:
        await prepare(database)
        journal, ids, now = MongoJournal(database), ObjectIds(), SystemClock().now()
        writers = [Writer(ids, company.users(number), now) for number in range(past.rooms)]
        for start in range(0, len(writers), _ROOMS_PER_WRITE):
            several = [writer.commits(past.events) for writer in writers[start : start + _ROOMS_PER_WRITE]]
            for commits in itertools.zip_longest(*several):
                await journal.append([commit for commit in commits if commit is not None])
        return [str(writer.session_id) for writer in writers]
    finally:
        await database.close()


@asynccontextmanager
async def _inhabited(run: Run, past: Past) -> AsyncIterator[Field]:
    """Run a server on rooms with a past, with two participants in each."""
    company = Company(past.rooms, 2)
    settings = {"COORDINATOR_SESSION__REQUIRE_REGISTRATION": "false"}
    async with AsyncExitStack() as stack:
        below = await stack.enter_async_context(run.database())
        sessions = await write_past(below, past, company)
        start = Start(run.secret, run.cores.server, below.url, below.name, company, (), settings)
        running = await stack.enter_async_context(run.server(OURS, start))
        file = write_clients(run.fresh_file(), running.port, sessions, company, run.secret)
        generator = await stack.enter_async_context(run.generator(file))
        await run.joined(LABELS[OURS], generator, company, _WINDOW)
        yield Field(running, sessions, below, None, generator)


async def history(run: Run, size: Size, past: Past, rounds: int) -> list[dict[str, Measured]]:
    """Measure both in turns; returns what each gave, round by round."""
    measured: list[dict[str, Measured]] = []
    async with _inhabited(run, Past(past.rooms, 0)) as fresh, _inhabited(run, past) as old:
        for number in range(rounds):
            one_round: dict[str, Measured] = {}
            turns = [(OURS, old), (FRESH, fresh)]
            for name, field in turns[:: -1 if number % 2 else 1]:  # so that what drifts meets both alike
                load = f"open {size.warm_up} {size.seconds} {LATENCY_RATE}"
                figure = await run.measured(OURS, field, load, what=f"history, {name}")
                values = {"history": figure.result["ack_ms"].get("p50", float("nan"))}
                one_round[name] = Measured(values, {"history": figure})
            measured.append(one_round)
    return measured
