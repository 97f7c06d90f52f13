"""The projections: sessions and participants as documents to look things up in. Never the truth, always rebuildable."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import Language, Participant, Session, SessionStatus


class SessionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions are looked for, the newest first (by `createdAt`, then by id).

    Attributes:
        status: With this status; None for any.
        target_language_code: In this language; None for any.
        slot_id: Of this slot; None for any.
        after: `createdAt` and id of the session after which to go on, to older ones; None from the newest.
        limit: How many at most; at least 1.
    """

    status: SessionStatus | None = None
    target_language_code: Language | None = None
    slot_id: SlotId | None = None
    after: tuple[datetime, SessionId] | None = None
    limit: int = 50


class Projections(Protocol):
    """Documents of the collections `sessions` and `participants`.

    A session's own document is forgotten 30 days after the session was opened (`SESSION_KEPT`); those of its
    participants stay as long as its journal.

    Every method raises `OutcomeUnknownError` when the store does not answer in time, and those that return documents
    raise `ValueError`, `TypeError` or `KeyError` where somebody has made them into something else.
    """

    async def write(self, sessions: Sequence[Session], participants: Sequence[Participant]) -> None:
        """Write whole documents, each unless the stored one has the same or a higher `seq`.

        Participants are written before sessions: where a session document has `seq` n, every participant document
        shows at least everything up to n. Late, repeated and reordered writes are harmless.
        """

    async def rebuild(self, session: Session, participants: Sequence[Participant]) -> None:
        """Make the documents of one session equal to these, whatever is stored now."""

    async def rebuild_participants(self, session_id: SessionId, participants: Sequence[Participant]) -> None:
        """Make the documents of one session's participants equal to these; leave the session's own as it is."""

    async def discard(self, session_id: SessionId) -> None:
        """Take away all documents of a session and its participants; harmless to repeat."""

    async def session(self, session_id: SessionId) -> Session | None:
        """Return a session's document."""

    async def participants(self, session_id: SessionId) -> Sequence[Participant]:
        """Return the documents of a session's participants, in the order in which they first joined."""

    def session_ids(self) -> AsyncIterator[SessionId]:
        """Go through all sessions that have any document, of their own or of a participant, in no particular order."""

    async def sessions_of(self, user_id: UserId, after: SessionId | None, limit: int) -> Sequence[SessionId]:
        """Return up to `limit` sessions that the user has a part in, by id, those after `after` (None: from the first).

        Also those whose own document is forgotten.
        """

    async def page(self, query: SessionQuery) -> Sequence[Session]:
        """Return the session documents that are looked for; those that are kept, for 30 days after they were opened."""

    async def seqs(self, session_ids: Collection[SessionId]) -> Mapping[SessionId, int]:
        """Return how far the documents of these sessions are: the `seq` of each that is there, 0 where it has none."""

    async def live(self) -> Sequence[SessionId]:
        """Return the sessions whose documents say waiting or active."""

    async def due(self, until: datetime, limit: int) -> Sequence[SessionId]:
        """Return up to `limit` sessions whose `nextDeadline` is not after `until`."""
