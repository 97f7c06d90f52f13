"""Projections behind the journal: coalesced, last state per document, within 100 ms (SPEC section 2, event log)."""

import asyncio
import math
from collections.abc import Sequence

from coordinator.domain.deadlines import next_deadline
from coordinator.domain.ids import SessionId
from coordinator.domain.model import Participant, Session
from coordinator.domain.state import participant_record, session_record
from coordinator.ports.clock import Clock
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.ports.projections import Projections
from coordinator.services.room import Room
from coordinator.telemetry import get_logger

_LATEST_SECONDS = 0.09
"""Within this a document follows, if the database is not overloaded; a tenth less than what is promised."""
_LONGEST_WINDOW_SECONDS = 1.0
_USUAL_FLUSH_SECONDS = 0.02
_RETRY_SECONDS = 0.5
_EARLY_SECONDS = 0.06
_FEW_ROOMS = 24
_ROOMS_PER_REST = 2
"""While few rooms change, a flush would hold up commits for longer than it saves by being large. So those that have
waited for some time are written a few at a time, each time that the journal has just been written."""

_log = get_logger("projector")


class Projector:
    """Writes the documents of rooms that have changed.

    A write that fails is tried again for ever: the journal holds what it shows, so nothing but lateness can come of it.
    """

    def __init__(self, projections: Projections, clock: Clock) -> None:
        self._projections = projections
        self._clock = clock
        self._dirty: dict[SessionId, tuple[Room, float]] = {}
        self._wake = asyncio.Event()
        self._moment = asyncio.Event()

    def mark(self, room: Room) -> None:
        """Note that a room has changed."""
        if room.session_id not in self._dirty:
            self._dirty[room.session_id] = room, self._clock.monotonic()
            self._wake.set()

    def note_rest(self) -> None:
        """Note that the journal has just been written and no command waits: a good moment, for as long as it lasts."""
        self._moment.set()

    async def run(self) -> None:
        """Flush for ever, a while after the first change: the longer that is, the more changes are coalesced."""
        window, ended = _window_after(_USUAL_FLUSH_SECONDS), -math.inf
        while True:
            await self._wake.wait()
            if not self._dirty:
                continue  # somebody else has flushed meanwhile
            most = await self._until_due(window, ended)
            began = self._clock.monotonic()
            try:
                await self._write(self._take(most))
                now = self._clock.monotonic()
                window = _window_after(now - began)
                if most is None:
                    ended = now
            except OutcomeUnknownError as error:
                _log.warning("projections_late", sessions=len(self._dirty), error=str(error))
                await self._clock.sleep(_RETRY_SECONDS)
            except Exception:  # noqa: BLE001
                # A defect; but stopping here would let every document of this node grow old.
                _log.exception("projections_failed", sessions=len(self._dirty))
                await self._clock.sleep(_RETRY_SECONDS)

    async def flush(self) -> None:
        """Write everything that has changed.

        Raises:
            OutcomeUnknownError: The store does not answer; what has not been written is still marked.
        """
        await self._write(self._take(None))

    async def _until_due(self, window: float, ended: float) -> int | None:
        """Wait until something is to be written; return how many rooms, None for all.

        Args:
            window: How many seconds changes gather.
            ended: When all were written last, by the stopwatch: before that no window begins.
        """
        since = max(next(iter(self._dirty.values()))[1], ended)
        await self._sleep_until(since + min(_EARLY_SECONDS, window))
        if len(self._dirty) > _FEW_ROOMS:
            await self._sleep_until(since + window)
            return None
        self._moment.clear()
        alarm = self._clock.call_later(since + window - self._clock.monotonic(), self._moment.set)
        try:
            await self._moment.wait()
        finally:
            alarm.cancel()
        return None if self._clock.monotonic() >= since + window else _ROOMS_PER_REST

    async def _sleep_until(self, moment: float) -> None:
        await self._clock.sleep(moment - self._clock.monotonic())

    def _take(self, most: int | None) -> list[Room]:
        """Take those rooms that have waited longest off the list: all, or at most so many."""
        taken = list(self._dirty.items())[:most]
        for session_id, _ in taken:
            del self._dirty[session_id]
        if not self._dirty:
            self._wake.clear()
        return [room for _, (room, _) in taken]

    async def _write(self, rooms: Sequence[Room]) -> None:
        sessions: list[Session] = []
        participants: list[Participant] = []
        seqs: list[tuple[Room, int]] = []
        for room in rooms:
            state = room.state
            if state is None or state.seq <= room.projected_seq:
                continue
            seqs.append((room, state.seq))
            sessions.append(session_record(state, next_deadline(state)))
            participants.extend(
                participant_record(state, participant)
                for participant in state.participants.values()
                if participant.seq > room.projected_seq
            )
        if not sessions:
            return
        try:
            await self._projections.write(sessions, participants)
        except BaseException:
            for room in rooms:
                self.mark(room)
            raise
        for room, seq in seqs:
            room.projected_seq = max(room.projected_seq, seq)


def _window_after(flush_seconds: float) -> float:
    """Return how long changes gather for the next flush, if it takes as long as the last one did.

    A change that has just missed a flush waits for the rest of it, for the window and for the next flush. But a window
    is never shorter than the flush before it: a database that is busy keeps at least half of its time for commits.
    """
    return min(max(_LATEST_SECONDS - 2 * flush_seconds, flush_seconds), _LONGEST_WINDOW_SECONDS)
