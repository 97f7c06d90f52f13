"""Feeds without transports: any number of nodes over one journal in memory, read by recorders that check what they get.

    session = stage.session()
    await stage.write(session, fed(2))
    recorder = await stage.station("a0").recorder("archive")
    assert recorder.seqs(session) == [1, 2]

What a `Recorder` is sent must be in order, each event once for each connection.
"""

import asyncio
import inspect
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import msgspec
from structlog.testing import capture_logs

from coordinator.adapters.memory.clock import ManualClock, settle
from coordinator.adapters.memory.commit_stream import MemoryCommitStream
from coordinator.adapters.memory.consumers import MemoryConsumers
from coordinator.adapters.memory.ids import SequentialIds
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.adapters.memory.projections import MemoryProjections
from coordinator.domain.events import (
    EventBody,
    MicChanged,
    RecordingConsentGranted,
    RecordingConsentRevoked,
    SessionEnded,
)
from coordinator.domain.feed import FEED_EVENTS
from coordinator.domain.ids import ConnectionId, NodeId, SessionId, UserId, connection_id
from coordinator.domain.ledger import GENESIS, Commit
from coordinator.domain.model import EndReason
from coordinator.ports.consumers import Consumer
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.background import BackgroundTasks
from coordinator.services.feed import Feed, Subscribed
from coordinator.services.projector import Projector
from coordinator.services.rooms import Rooms
from tests.contracts import making
from tests.services.harness import Megaphone, soon

ANNA = making.ANNA
ENDED = SessionEnded(reason=EndReason.COMPLETED)


def fed(number: int = 1) -> tuple[EventBody, ...]:
    """So many events that the feed carries."""
    kinds = (RecordingConsentGranted, RecordingConsentRevoked)
    return tuple(kinds[index % 2](user_id=ANNA) for index in range(number))


def unfed(number: int = 1) -> tuple[EventBody, ...]:
    """So many events that the feed does not carry."""
    return tuple(MicChanged(user_id=ANNA, mic_enabled=bool(index % 2)) for index in range(number))


class Cable:
    """One node's way to its stores.

    Attributes:
        is_cut: Nothing gets through.
        mute: Methods that are done, but whose answer gets lost.
        gates: Methods that wait for an event before they get through.
        defects: What methods raise instead of doing anything.
        calls: How often each method was called.
    """

    def __init__(self) -> None:
        self.is_cut = False
        self.mute: set[str] = set()
        self.gates: dict[str, asyncio.Event] = {}
        self.defects: dict[str, Exception] = {}
        self.calls: Counter[str] = Counter()

    async def through(self, name: str, work: Any) -> Any:
        self.calls[name] += 1
        if name in self.gates:
            await self.gates[name].wait()
        if name in self.defects:
            raise self.defects[name]
        self.check()
        result = await work()
        self.check()
        if name in self.mute:
            raise OutcomeUnknownError("the answer was lost")
        return Plugged(result, self) if name == "open" else result

    def check(self) -> None:
        if self.is_cut:
            raise OutcomeUnknownError("the cable is cut")


class Plugged:
    """A store at the end of a cable."""

    def __init__(self, store: Any, cable: Cable) -> None:
        self._store = store
        self._cable = cable

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if inspect.isasyncgenfunction(method):
            return lambda: self._each(name, method)
        if not inspect.iscoroutinefunction(method):
            return method
        if name == "close":
            return method  # never raises

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._cable.through(name, lambda: method(*args, **kwargs))

        return call

    async def _each(self, name: str, method: Any) -> AsyncIterator[Any]:
        self._cable.calls[name] += 1
        async for item in method():
            self._cable.check()
            yield item


class Recorder:
    """A connection of the recording service. It keeps what it is sent and checks the order.

    Attributes:
        records: What it was sent: cursors and events.
        notes: What else it was told, by name.
        closed: Why it was closed; None while it is open.
    """

    def __init__(self, station: "Station", connection: ConnectionId) -> None:
        self.station = station
        self._connection_id = connection
        self.records: list[tuple[str, Mapping[str, Any]]] = []
        self.notes: list[tuple[str, Mapping[str, Any]]] = []
        self.closed: str | None = None
        self.subscribed: Subscribed | None = None
        self._last: dict[SessionId, int] = {}

    @property
    def connection_id(self) -> ConnectionId:
        return self._connection_id

    @property
    def user_id(self) -> UserId:
        return UserId("recorder")

    def notify(self, name: str, payload: Mapping[str, Any]) -> None:
        assert self.closed is None, "a closed connection is told nothing"
        if name != "record":
            self.notes.append((name, payload))
            return
        assert self.subscribed is not None, "nothing is sent before the answer"
        event = msgspec.json.decode(payload["event"])
        session, seq = SessionId(event["sessionId"]), event["seq"]
        assert event["type"] in FEED_EVENTS
        assert seq > self._last.get(session, 0), f"{seq} after {self._last[session]}"
        self._last[session] = seq
        self.records.append((payload["cursor"], event))

    def close(self, reason: str) -> None:
        assert self.closed is None
        self.closed = reason

    async def subscribe(self, consumer: str, after: str | None = None) -> Subscribed:
        """Subscribe as the transport does: begin to listen once answered."""
        subscribed = await soon(self.station.feed.subscribe(self, consumer, after))
        if after is not None:
            self._last.clear()  # it asked for repetition
        self.subscribed = subscribed
        self.station.feed.start(self)
        return subscribed

    async def ack(self, number: int | None = None) -> str:
        """Ack the first `number` records; None: all."""
        cursor = self.records[-1 if number is None else number - 1][0]
        return await soon(self.station.feed.ack(self, cursor))

    def drop(self) -> None:
        """The connection is gone."""
        self.closed = self.closed or "gone"
        self.station.feed.unsubscribe(self)

    @property
    def cursors(self) -> list[str]:
        return [cursor for cursor, _ in self.records]

    def seqs(self, session: SessionId) -> list[int]:
        """The `seq` of each record of a session."""
        return [event["seq"] for _, event in self.records if event["sessionId"] == session]

    def places(self) -> list[tuple[SessionId, int]]:
        """Session and `seq` of each record."""
        return [(SessionId(event["sessionId"]), event["seq"]) for _, event in self.records]


class Station:
    """The feed of one node."""

    def __init__(self, stage: "Stage", name: str) -> None:
        self.stage = stage
        self.node = NodeId(name)
        self.cable = Cable()
        self.background = BackgroundTasks()
        stores: list[Any] = [stage.stream, stage.consumers, stage.journal, stage.projections]
        stream, consumers, journal, projections = (Plugged(store, self.cable) for store in stores)
        clock = stage.clock
        projector = Projector(projections, clock)
        self.rooms = Rooms(journal, clock, SequentialIds(name), projector, Megaphone(), self.background, 100)
        self.feed = Feed(stream, consumers, journal, projections, self.rooms, clock, self.background)
        self.background.start(self.feed.run(), f"feed of {name}")
        self._connections = count(1)

    def connection(self) -> Recorder:
        """A new connection that has not subscribed."""
        return Recorder(self, connection_id(self.node, next(self._connections)))

    async def recorder(self, consumer: str, after: str | None = None) -> Recorder:
        """A new connection that reads for a consumer, and has been sent what was there."""
        recorder = self.connection()
        await recorder.subscribe(consumer, after)
        await self.stage.settle()
        return recorder

    async def crash(self) -> None:
        """Stop at once, as a killed process does."""
        await self.background.stop()


class Stage:
    """One journal, one clock, and the nodes that share them."""

    def __init__(self) -> None:
        self.clock = ManualClock(making.NOON)
        self.journal = MemoryJournal()
        self.stream = MemoryCommitStream(self.journal, self.clock)
        self.consumers = MemoryConsumers()
        self.projections = MemoryProjections()
        self.stations: list[Station] = []
        self.tolerated: set[str] = set()
        """Log events of defects that the test brings about."""
        self.commits: dict[SessionId, list[Commit]] = defaultdict(list)

    def station(self, name: str) -> Station:
        """Start another node."""
        self.stations.append(Station(self, name))
        return self.stations[-1]

    def session(self) -> SessionId:
        """A new session without any event."""
        return making.new_session_id()

    async def live(self, *sessions: SessionId) -> None:
        """Let the documents say that these sessions are waiting."""
        await self.projections.write([making.session(session) for session in sessions], [])

    def make(self, session: SessionId, bodies: Sequence[EventBody]) -> Commit:
        """Make a session's next commit."""
        before = self.commits[session]
        seq, prev_hash = (before[-1].last_seq + 1, before[-1].hash) if before else (1, GENESIS)
        before.append(making.commit(session, bodies, seq=seq, prev_hash=prev_hash))
        return before[-1]

    async def write(self, session: SessionId, *commits: Sequence[EventBody]) -> None:
        """Let commits with these events become durable, and let everything happen that follows at once."""
        for bodies in commits:
            await self.journal.append([self.make(session, bodies)])
        await self.settle()

    async def hide(self, session: SessionId, bodies: Sequence[EventBody]) -> None:
        """Let a commit become durable that the stream never tells of."""
        await self.journal.append([self.make(session, bodies)])
        self.journal.in_arrival.pop()

    def expected(self, session: SessionId, after: int = 0) -> list[int]:
        """The `seq` of every event of a session that the feed carries."""
        events = [sealed.event for commit in self.commits[session] for sealed in commit.events]
        return [event.seq for event in events if event.body.kind in FEED_EVENTS and event.seq > after]

    async def stored(self, consumer: str) -> Consumer:
        """A consumer as it is stored."""
        return next(item for item in await self.consumers.all() if item.name == consumer)

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        await settle()

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def close(self) -> None:
        for station in self.stations:
            await station.crash()


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """A stage. A defect that is only logged fails the test, unless the test brought it about."""
    with capture_logs() as logs:
        stage = Stage()
        yield stage
        await stage.close()
    defects = [entry for entry in logs if entry["log_level"] == "error" and entry["event"] not in stage.tolerated]
    assert defects == []
