"""The projections: sessions and participants as documents to look things up in. Never the truth, always rebuildable."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from coordinator.domain.ids import SessionId
from coordinator.domain.model import Participant, Session


class Projections(Protocol):
    """Documents of the collections `sessions` and `participants`.

    Every method raises `OutcomeUnknownError` when the store does not answer in time.
    """

    async def write(self, sessions: Sequence[Session], participants: Sequence[Participant]) -> None:
        """Write whole documents, each unless the stored one has the same or a higher `seq`.

        Participants are written before sessions: where a session document has `seq` n, every participant document
        shows at least everything up to n. Late, repeated and reordered writes are harmless.
        """

    async def rebuild(self, session: Session, participants: Sequence[Participant]) -> None:
        """Make the documents of one session equal to these, whatever is stored now."""

    async def session(self, session_id: SessionId) -> Session | None:
        """Return a session's document."""

    async def participants(self, session_id: SessionId) -> Sequence[Participant]:
        """Return the documents of a session's participants, in the order in which they first joined."""

    async def live(self) -> Sequence[SessionId]:
        """Return the sessions whose documents say waiting or active."""

    async def due(self, until: datetime, limit: int) -> Sequence[SessionId]:
        """Return up to `limit` sessions whose `nextDeadline` is not after `until`."""
