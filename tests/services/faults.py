"""Stores in memory that are slow, silent or forgetful on demand. What they hold is shared; how one fails is its own."""

import asyncio
import inspect
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import datetime
from enum import Enum, auto
from typing import Any

from coordinator.adapters.memory.bookings import MemoryBookings
from coordinator.adapters.memory.bus import MemoryBus, MemoryExchange
from coordinator.adapters.memory.catalog import MemoryCatalog
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.adapters.memory.liveness import MemoryLiveness
from coordinator.adapters.memory.projections import MemoryProjections
from coordinator.domain.ids import CommitId, NodeId, SessionId, SlotId, UserId
from coordinator.domain.ledger import Commit, SealedEvent
from coordinator.domain.model import Participant, Session
from coordinator.ports.bus import Bus, Hint
from coordinator.ports.journal import Head, Mention, OutcomeUnknownError


class Fate(Enum):
    """What becomes of an append whose answer never comes."""

    WRITTEN = auto()
    NOT_WRITTEN = auto()
    LATE = auto()
    """Not yet written, but still on its way: `Line.land` lets it arrive."""


class Line:
    """One node's way to the journal that all nodes share.

    Attributes:
        is_cut: Nothing gets through.
        is_read_only: Appends do not get through, everything else does.
        appends: The commits of every append that was asked for.
        reads: How many times anything was read.
        late: Commits on their way, of which nobody knows whether they arrive.
        unreadable: Sessions whose commits somebody has made into something else.
        defect: What the next append raises, once.
    """

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self._fates: deque[Fate | None] = deque()
        self._is_held = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._writing: set[SessionId] = set()
        self.is_cut = False
        self.is_read_only = False
        self.appends: list[list[Commit]] = []
        self.reads = 0
        self.late: list[Commit] = []
        self.unreadable: set[SessionId] = set()
        self.defect: Exception | None = None

    def hold(self) -> None:
        """Let appends wait from here on."""
        self._is_held = True

    @property
    def held(self) -> int:
        """How many appends wait."""
        return len(self._waiting)

    def let_one_through(self) -> None:
        """Let the append that has waited longest go on; later ones still wait."""
        self._waiting.popleft().set_result(None)

    def release(self) -> None:
        """Let all appends go on."""
        self._is_held = False
        while self._waiting:
            self.let_one_through()

    def lose(self, *fates: Fate | None) -> None:
        """Decide the next appends: one that has a fate never answers."""
        self._fates.extend(fates)

    def forgive(self) -> None:
        """Lose nothing that was not lost yet."""
        self._fates.clear()

    async def land(self) -> AbstractSet[CommitId]:
        """Let everything arrive that was late; return the commits that are in the journal then."""
        late, self.late = self.late, []
        return {commit.id for commit in late for _ in await self._journal.append([commit])}

    async def append(self, commits: Sequence[Commit]) -> AbstractSet[CommitId]:
        sessions = {commit.session_id for commit in commits}
        assert commits, "an empty append"
        assert len(sessions) == len(commits), "two commits of one room in one append"
        assert not sessions & self._writing, "two commits of one room in flight"
        self.appends.append(list(commits))
        self._writing |= sessions
        try:
            return await self._append(commits)
        finally:
            self._writing -= sessions

    async def _append(self, commits: Sequence[Commit]) -> AbstractSet[CommitId]:
        if self._is_held:
            self._waiting.append(asyncio.get_running_loop().create_future())
            await self._waiting[-1]
        if self.defect is not None:
            defect, self.defect = self.defect, None
            raise defect
        fate = self._fates.popleft() if self._fates else None
        if fate is Fate.LATE:
            self.late.extend(commits)
            raise _silence()
        if self.is_read_only or self.is_cut or fate is Fate.NOT_WRITTEN:
            raise _silence()
        written = await self._journal.append(commits)
        if fate is Fate.WRITTEN:
            raise _silence()
        return written

    async def written(self, ids: Sequence[CommitId]) -> AbstractSet[CommitId]:
        await self._ask()
        return await self._journal.written(ids)

    async def read(self, session_id: SessionId, after: int = 0) -> Sequence[Commit]:
        await self._ask()
        if session_id in self.unreadable:
            raise ValueError(f"the test has damaged {session_id}")
        return await self._journal.read(session_id, after)

    async def events_after(self, session_id: SessionId, after: int, limit: int | None = None) -> Sequence[SealedEvent]:
        await self._ask()
        return await self._journal.events_after(session_id, after, limit)

    async def session_ids(self) -> AsyncIterator[SessionId]:
        await self._ask()
        async for session_id in self._journal.session_ids():
            yield session_id

    async def stored(self, session_id: SessionId) -> Sequence[Mapping[str, Any]]:
        await self._ask()
        return await self._journal.stored(session_id)

    async def head(self, session_id: SessionId) -> Head | None:
        await self._ask()
        return await self._journal.head(session_id)

    async def mentions(self, session_id: SessionId, user_id: UserId, kinds: Collection[str]) -> Sequence[Mention]:
        await self._ask()
        return await self._journal.mentions(session_id, user_id, kinds)

    async def _ask(self) -> None:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_cut:
            raise _silence()


class Mishap(Enum):
    """What goes wrong with one call to a store."""

    NOT_DONE = auto()
    """It never gets there, and the caller is told that nobody answers."""
    NOT_ANSWERED = auto()
    """It is done, and the caller is told that nobody answers."""
    DEATH_BEFORE = auto()
    """The process dies before it gets there: the call never returns."""
    DEATH_AFTER = auto()
    """It is done, and the process dies before it hears of it."""


class Course:
    """All calls of one node to its stores, in order; one of them may go wrong.

    Attributes:
        calls: Their names.
        at: The number of the call that goes wrong, from 1.
        mishap: How.
        died: Set once the process is as good as dead.
        jitter: Makes calls take different times, so that those of different nodes meet in many ways.
    """

    def __init__(self) -> None:
        self.died = asyncio.Event()
        self.jitter: random.Random | None = None
        self.begin(0, Mishap.NOT_DONE)

    def begin(self, at: int, mishap: Mishap) -> None:
        """Count from here on."""
        self.calls: list[str] = []
        self.at = at
        self.mishap = mishap

    async def through(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        await self._dawdle()
        try:
            return await self._through(name, work)
        finally:
            await self._dawdle()

    async def _dawdle(self) -> None:
        for _ in range(self.jitter.choice((0, 0, 1, 2, 5)) if self.jitter else 0):
            await asyncio.sleep(0)

    async def _through(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        self.calls.append(name)
        if self.died.is_set():
            await asyncio.get_running_loop().create_future()
        if len(self.calls) != self.at:
            return await work()
        if self.mishap in (Mishap.NOT_ANSWERED, Mishap.DEATH_AFTER):
            await work()
        if self.mishap in (Mishap.NOT_DONE, Mishap.NOT_ANSWERED):
            raise _silence()
        self.died.set()
        return await asyncio.get_running_loop().create_future()


class Watched:
    """A store whose calls are part of a node's course."""

    def __init__(self, store: object, course: Course) -> None:
        self._store = store
        self._course = course

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._course.through(name, lambda: method(*args, **kwargs))

        return call


class ShakyProjections(MemoryProjections):
    """Projections that remember what was written, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False
        self.defect: Exception | None = None
        self.defects: dict[SessionId, Exception] = {}
        """What reading the documents of these sessions raises: somebody has made them into something else."""
        self.writes: list[tuple[list[Session], list[Participant]]] = []
        self.asked_seqs: list[set[SessionId]] = []

    async def write(self, sessions: Sequence[Session], participants: Sequence[Participant]) -> None:
        if self.defect is not None:
            defect, self.defect = self.defect, None
            raise defect
        if self.is_cut:
            raise _silence()
        self.writes.append((list(sessions), list(participants)))
        await super().write(sessions, participants)

    async def seqs(self, session_ids: Collection[SessionId]) -> Mapping[SessionId, int]:
        self.asked_seqs.append(set(session_ids))
        if self.is_cut:
            raise _silence()
        return await super().seqs(session_ids)

    async def live(self) -> Sequence[SessionId]:
        if self.is_cut:
            raise _silence()
        return await super().live()

    async def session(self, session_id: SessionId) -> Session | None:
        if self.is_cut:
            raise _silence()
        if session_id in self.defects:
            raise self.defects[session_id]
        return await super().session(session_id)


class ShakyCatalog(MemoryCatalog):
    """A catalogue that may be away, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False
        self.asked: list[tuple[datetime, datetime]] = []

    async def active_slots(self, start_from: datetime, start_until: datetime) -> list[Any]:
        if self.is_cut:
            raise _silence()
        self.asked.append((start_from, start_until))
        return await super().active_slots(start_from, start_until)


class ShakyBookings(MemoryBookings):
    """Bookings that may be away, and remember what they were asked."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False
        self.is_attendance_cut = False
        self.asked_booked: list[set[SlotId]] = []

    async def booked(self, slot_ids: AbstractSet[SlotId]) -> AbstractSet[SlotId]:
        self.asked_booked.append(set(slot_ids))
        return await super().booked(slot_ids)

    async def record_attendance(self, slot_id: SlotId, present: AbstractSet[UserId]) -> None:
        if self.is_attendance_cut:
            raise _silence()
        await super().record_attendance(slot_id, present)

    async def is_registered(self, slot_id: SlotId, user_id: UserId) -> bool:
        if self.is_cut:
            raise _silence()
        return await super().is_registered(slot_id, user_id)


class ShakyLiveness(MemoryLiveness):
    """Heartbeats that may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False

    async def beat(self, node: NodeId, at: datetime) -> bool:
        if self.is_cut:
            raise _silence()
        return await super().beat(node, at)

    async def heartbeats(self) -> Mapping[NodeId, datetime]:
        if self.is_cut:
            raise _silence()
        return await super().heartbeats()


class ShakyExchange(MemoryExchange):
    """A bus that loses messages on demand, and with `trouble` drops, doubles and reorders them at random.

    Attributes:
        published: How many hints were carried.
        trouble: Decides what happens to each message.
    """

    def __init__(self) -> None:
        super().__init__()
        self.published = 0
        self.trouble: random.Random | None = None
        self._deaf: list[Bus] = []

    @contextmanager
    def lose(self, end: Bus) -> Iterator[None]:
        """Let nothing arrive at this end meanwhile; nobody is told."""
        self._deaf.append(end)
        try:
            yield
        finally:
            self._deaf.remove(end)

    def carry(self, sender: MemoryBus, hint: Hint) -> None:
        self.published += 1
        super().carry(sender, hint)

    def deliver(self, end: MemoryBus, hint: Hint) -> None:
        if end in self._deaf:
            return
        for _ in range(self.trouble.choice((0, 1, 1, 1, 2)) if self.trouble else 1):
            self._dawdle(self.trouble.choice((0, 0, 1, 3, 10)) if self.trouble else 0, end, hint)

    def _dawdle(self, passes: int, end: MemoryBus, hint: Hint) -> None:
        if passes:
            asyncio.get_running_loop().call_soon(self._dawdle, passes - 1, end, hint)
        else:
            super().deliver(end, hint)


def _silence() -> OutcomeUnknownError:
    return OutcomeUnknownError("the test's database was told not to answer")
