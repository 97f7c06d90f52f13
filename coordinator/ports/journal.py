"""The journal: the truth about every session."""

from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from coordinator.domain.ids import CommitId, SessionId
from coordinator.domain.ledger import Commit, SealedEvent


class OutcomeUnknownError(Exception):
    """The store did not answer: what was asked may have been done, may not, and may still be."""


class Journal(Protocol):
    """Commits by session, each at its `seq`; nothing is ever changed or taken away.

    Every method raises `OutcomeUnknownError` when the store does not answer in time.
    """

    async def append(self, commits: Sequence[Commit]) -> AbstractSet[CommitId]:
        """Write commits, at most one per session, each atomically and independently of the others.

        When this returns, the commits whose ids it returns are durable (majority, journalled): no crash takes them
        away. Each of the others met a commit of somebody else at its `(session, seq)` and was not written. Repeating an
        append is harmless: a commit that is there under its own id counts as written.

        Returns:
            The ids of the commits that are in the journal.
        """

    async def written(self, ids: Sequence[CommitId]) -> AbstractSet[CommitId]:
        """Return which of `ids` are in the journal, durably."""

    async def read(self, session_id: SessionId, after: int = 0) -> Sequence[Commit]:
        """Return a session's commits after the one that ends with event `after`, in order (0: all)."""

    async def events_after(self, session_id: SessionId, after: int, limit: int | None = None) -> Sequence[SealedEvent]:
        """Return a session's events with a higher `seq` than `after`, in order; `after` may lie inside a commit.

        With a `limit` at most so many are returned, and the cost does not depend on how many follow.
        """

    def session_ids(self) -> AsyncIterator[SessionId]:
        """Go through all sessions that have a commit, in no particular order."""

    async def stored(self, session_id: SessionId) -> Sequence[Mapping[str, Any]]:
        """Return a session's commits in order of `seq` exactly as stored, undecoded, for `ledger.find_flaws`.

        Plain data under the names `id, sessionId, seq, at, events, prevHash, hash`, ids as hex, instants as wire times;
        a value of a type that is never written stays as it is, and fields that are never written are kept.
        """
