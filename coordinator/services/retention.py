"""Forgetting: what becomes of sessions whose journal has been kept long enough (setting `journal.retention_days`).

Owns the order in which everything about such a session is taken away; must not know how long "long enough" is by law.
"""

from collections.abc import Sequence
from datetime import timedelta

from coordinator.domain.ids import SessionId
from coordinator.domain.model import SessionStatus
from coordinator.ports.clock import Clock
from coordinator.ports.consumers import Consumers
from coordinator.ports.journal import Journal
from coordinator.ports.projections import Projections
from coordinator.telemetry import get_logger

SWEEP_SESSIONS = 500
"""Sessions that one sweep takes away at most."""

_AT_ONCE = 50
"""Sessions whose marks are taken away together: that touches every consumer."""

_log = get_logger("retention")


class Retention:
    """Takes away what is too old. Any number of nodes may do so at the same time.

    Args:
        journal: The journal.
        projections: The documents of sessions and participants.
        consumers: Where marks of sessions are kept.
        clock: Time.
        retention_days: How long a session's journal is kept after its first commit.
    """

    def __init__(
        self, journal: Journal, projections: Projections, consumers: Consumers, clock: Clock, retention_days: int
    ) -> None:
        self._journal = journal
        self._projections = projections
        self._consumers = consumers
        self._clock = clock
        self._kept = timedelta(days=retention_days)

    async def sweep(self) -> None:
        """Take away sessions that are too old, up to `SWEEP_SESSIONS` of them; the next sweep goes on.

        The first commit of a session is the last thing that goes: whatever is interrupted before is found again.

        Raises:
            OutcomeUnknownError: The database is out of reach; the next sweep goes on.
        """
        expired = await self._journal.expired(self._clock.now() - self._kept, SWEEP_SESSIONS)
        for first in range(0, len(expired), _AT_ONCE):
            await self._discard(expired[first : first + _AT_ONCE])

    async def _discard(self, expired: Sequence[SessionId]) -> None:
        sessions = [session_id for session_id in expired if not await self._is_still_to_end(session_id)]
        for session_id in sessions:
            await self._projections.discard(session_id)
        await self._consumers.forget_sessions(set(sessions))
        for session_id in sessions:
            await self._journal.discard(session_id)
        _log.info("sessions_discarded", sessions=len(sessions), retention_days=self._kept.days)

    async def _is_still_to_end(self, session_id: SessionId) -> bool:
        """Tell whether a session has yet to be ended: nothing has run since, and `recovery` is about to do so."""
        try:
            session = await self._projections.session(session_id)
        except (ValueError, TypeError, KeyError):
            return False  # a document that is no session's any more says nothing
        return session is not None and session.status is not SessionStatus.ENDED
