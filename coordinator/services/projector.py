"""Projections behind the journal: coalesced, last state per document, within 100 ms (SPEC section 2, event log)."""

import asyncio

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

_log = get_logger("projector")


class Projector:
    """Writes the documents of rooms that have changed.

    A write that fails is tried again for ever: the journal holds what it shows, so nothing but lateness can come of it.
    """

    def __init__(self, projections: Projections, clock: Clock) -> None:
        self._projections = projections
        self._clock = clock
        self._dirty: dict[SessionId, Room] = {}
        self._wake = asyncio.Event()

    def mark(self, room: Room) -> None:
        """Note that a room has changed."""
        self._dirty[room.session_id] = room
        self._wake.set()

    async def run(self) -> None:
        """Flush for ever, a while after the first change: the longer that is, the more changes are coalesced."""
        window = _window_after(_USUAL_FLUSH_SECONDS)
        while True:
            await self._wake.wait()
            await self._clock.sleep(window)
            began = self._clock.monotonic()
            try:
                await self.flush()
                window = _window_after(self._clock.monotonic() - began)
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
        self._wake.clear()
        rooms = list(self._dirty.values())
        self._dirty.clear()
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
