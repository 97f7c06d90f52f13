"""The stream of all commits in memory. Owns positions; the order itself is the journal's."""

import asyncio
import re
from collections.abc import Sequence

from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.domain.cursors import Position
from coordinator.domain.ledger import Commit
from coordinator.ports.clock import Clock
from coordinator.ports.commit_stream import InvalidPositionError, OpenStream, PositionLostError, StreamedCommit

_BATCH = 100
_PATIENCE_SECONDS = 1.0
_PATIENCE_WITHOUT_CLOCK_SECONDS = 0.05
_POSITION = re.compile(r"m([0-9]{1,9})-([0-9]{1,9})")


class MemoryCommitStream:
    """A complete `CommitStream`. Positions hold for every stream over the same journal, until they are lost.

    Args:
        journal: Whose commits it tells.
        clock: What `read` waits by, a second; without it, it waits a moment of real time.
    """

    def __init__(self, journal: MemoryJournal, clock: Clock | None = None) -> None:
        self.journal = journal
        self.clock = clock
        self.era = 0
        """How often everything was lost."""

    def lose(self) -> None:
        """Forget what came after any position so far: each is lost, and so are the streams that are open."""
        self.era += 1
        self.journal.announce()

    async def open(self, after: Position | None = None) -> OpenStream:
        """Begin to read after a position; see `CommitStream.open`."""
        await asyncio.sleep(0)
        if after is None:
            return _MemoryStream(self, self.era, len(self.journal.in_arrival))
        match = _POSITION.fullmatch(after)
        era, place = (int(match[1]), int(match[2])) if match else (self.era + 1, 0)
        if era > self.era or place > len(self.journal.in_arrival):
            raise InvalidPositionError(f"no position of this store: {after[:40]}")
        if era < self.era:
            raise PositionLostError(f"position {after} is lost")
        return _MemoryStream(self, era, place)


class _MemoryStream:
    """One reader."""

    def __init__(self, stream: MemoryCommitStream, era: int, place: int) -> None:
        self._stream = stream
        self._era = era
        self._place = place

    @property
    def position(self) -> Position:
        """Where it stands."""
        return self._at(self._place)

    async def read(self) -> Sequence[StreamedCommit]:
        """Return the commits that follow; wait for the first, but not for long."""
        await asyncio.sleep(0)
        if not self._news():
            await self._wait()
        first, commits = self._place, self._news()
        self._place += len(commits)
        return [StreamedCommit(self._at(place), commit) for place, commit in enumerate(commits, start=first + 1)]

    async def close(self) -> None:
        """Give back what it holds: nothing."""
        await asyncio.sleep(0)

    def _news(self) -> Sequence[Commit]:
        if self._era != self._stream.era:
            raise PositionLostError("everything so far was lost")
        return self._stream.journal.in_arrival[self._place : self._place + _BATCH]

    def _at(self, place: int) -> Position:
        return Position(f"m{self._era}-{place}")

    async def _wait(self) -> None:
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not arrived.done():
                arrived.set_result(None)

        journal, clock = self._stream.journal, self._stream.clock
        journal.listeners.append(wake)
        timer = None if clock is None else clock.call_later(_PATIENCE_SECONDS, wake)
        try:
            await asyncio.wait([arrived], timeout=_PATIENCE_WITHOUT_CLOCK_SECONDS if timer is None else None)
        finally:
            journal.listeners.remove(wake)
            if timer is not None:
                timer.cancel()
