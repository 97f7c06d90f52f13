"""The tail: the newest commits of all nodes, read once for all consumers that are connected here.

Owns the one shared reader of the commit stream and a ring of what it read last. It runs only while somebody needs it:
reading every commit back has its price. Must not know who reads what.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice

import msgspec

from coordinator.domain.cursors import Position
from coordinator.domain.ids import CommitId
from coordinator.domain.ledger import Commit
from coordinator.ports.clock import Clock
from coordinator.ports.commit_stream import (
    CommitStream,
    InvalidPositionError,
    OpenStream,
    PositionLostError,
    StreamedCommit,
)
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.background import BackgroundTasks
from coordinator.telemetry import get_logger

RING_COMMITS = 4096
"""Commits that are kept for those who are a little behind; who is further behind reads a stream of its own."""
_BATCH = 64
PAUSES_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""How long to wait for a store that does not answer, attempt by attempt."""

_log = get_logger("feed.tail")


class Place(msgspec.Struct, frozen=True):
    """A place in the ring: before its `index`-th commit, counted since `generation` began."""

    generation: int
    index: int


class Arrival(msgspec.Struct, frozen=True):
    """A commit as it was read.

    Attributes:
        before: The place in the stream right before it.
        position: The place right after it.
        since: What was durable then came before it.
        commit: The commit.
    """

    before: Position
    position: Position
    since: datetime
    commit: Commit


@asynccontextmanager
async def opened(stream: CommitStream, after: Position | None) -> AsyncIterator[OpenStream]:
    """Open a stream, and close it in any case. Raises what `CommitStream.open` raises."""
    reader = await stream.open(after)
    try:
        yield reader
    finally:
        await reader.close()


def arrivals(before: Position, since: datetime, commits: Iterable[StreamedCommit]) -> Iterator[Arrival]:
    """Go through commits that were read one after the other, after `before`, where all from before `since` was read."""
    for streamed in commits:
        yield Arrival(before, streamed.position, since, streamed.commit)
        before = streamed.position


class Tail:
    """The shared reader.

    Attributes:
        position: Where it stands: everything up to here has been read.
        read_at: What was durable then has been read.
    """

    def __init__(self, stream: CommitStream, clock: Clock, background: BackgroundTasks) -> None:
        self._stream = stream
        self._clock = clock
        self._background = background
        self._users = 0
        self._task: asyncio.Task[None] | None = None
        self._generation = 0
        self._ring: deque[Arrival] = deque()
        self._places: dict[CommitId, int] = {}
        self._first = 0
        self._news = asyncio.Event()
        self.position: Position | None = None
        self.read_at: datetime = clock.now()

    def attach(self) -> None:
        """Begin to need it."""
        self._users += 1
        if self._task is None:
            self._task = self._background.start(self._run(), "tail of the feed")

    def detach(self) -> None:
        """Need it no more. With the last one it ends, and every place is stale."""
        self._users -= 1
        if self._users == 0 and self._task is not None:
            self._task.cancel()
            self._task = None
            self._forget()

    async def end(self) -> tuple[Place, Position]:
        """Return the place after everything that has been read, in the ring and in the stream; waits until it reads.

        What becomes durable from now on is read after this place.
        """
        while self.position is None:
            await self._news.wait()
        return Place(self._generation, self._first + len(self._ring)), self.position

    def place_after(self, commit: CommitId) -> Place | None:
        """Return the place right after a commit, if it is in the ring."""
        index = self._places.get(commit)
        return None if index is None else Place(self._generation, index + 1)

    def is_end(self, place: Place) -> bool:
        """Tell whether nothing has been read after a place."""
        return place == Place(self._generation, self._first + len(self._ring)) and self.position is not None

    def after(self, place: Place) -> Sequence[Arrival] | None:
        """Return the next commits after a place; None if they are not known here any more."""
        skipped = place.index - self._first
        if place.generation != self._generation or skipped < 0:
            return None
        return list(islice(self._ring, skipped, skipped + _BATCH))

    async def changed(self) -> None:
        """Wait until something more has been read, or every place has become stale."""
        await self._news.wait()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                asked_at = self._clock.now()
                async with opened(self._stream, self.position) as stream:
                    if self.position is None:
                        self._move_on((), stream.position, asked_at)
                    while True:
                        asked_at = self._clock.now()
                        commits = await stream.read()
                        self._move_on(commits, stream.position, asked_at)
                        failures = 0
            except (PositionLostError, InvalidPositionError) as error:
                _log.warning("position_lost", error=str(error))
                self._forget()
            except OutcomeUnknownError as error:
                if failures == 0:
                    _log.warning("waiting_for_database", work="feed", error=str(error))
            except Exception:  # noqa: BLE001 - it must not end for those who wait for it
                _log.exception("tail_failed")
            await self._clock.sleep(PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS) - 1)])
            failures += 1

    def _move_on(self, commits: Sequence[StreamedCommit], position: Position, read_at: datetime) -> None:
        for arrival in arrivals(self.position or position, self.read_at, commits):
            self._places[arrival.commit.id] = self._first + len(self._ring)
            self._ring.append(arrival)
            if len(self._ring) > RING_COMMITS:
                self._places.pop(self._ring.popleft().commit.id, None)
                self._first += 1
        is_new = self.position is None or commits
        self.position = position
        self.read_at = read_at
        if is_new:
            self._tell()

    def _forget(self) -> None:
        self._generation += 1
        self._ring.clear()
        self._places.clear()
        self._first = 0
        self.position = None
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
