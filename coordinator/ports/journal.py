"""The journal: the truth about every session."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Protocol

import msgspec

from coordinator.domain.events import Event
from coordinator.domain.ids import CommitId, SessionId, UserId
from coordinator.domain.ledger import Commit, SealedEvent


class OutcomeUnknownError(Exception):
    """The store did not answer: what was asked may have been done, may not, and may still be."""


class Head(msgspec.Struct, frozen=True):
    """Where a session's journal ends.

    Attributes:
        seq: The last event.
        hash: The hash of the last commit, which covers all before it.
        commits: How many there are.
    """

    seq: int
    hash: str
    commits: int


class Mention(msgspec.Struct, frozen=True):
    """An event about a user, and the hash of the commit that holds it."""

    event: Event
    commit_hash: str


class Journal(Protocol):
    """Commits by session, each at its `seq`. What is written never changes, and a log is taken away only as a whole.

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

    async def replace(self, commit: Commit) -> bool:
        """Write a commit's content anew under its own id; tell whether that commit is there.

        The one exception to "what is written never changes", for erasing a user (see `domain.erasure`). Only where
        id, session, `seq`, `prevHash` and `hash` are the very same, so that the chain proves what it proved before.
        Atomic, durable when it returns, and harmless to repeat; readers get the commit as it was or as it is then.
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
        """Go through all sessions that have a commit, in no particular order.

        Commits that somebody has put under something that is no session's id come under a text that is none either.
        """

    async def stored(self, session_id: SessionId) -> Sequence[Mapping[str, Any]]:
        """Return a session's commits in order of `seq` exactly as stored, undecoded, for `ledger.find_flaws`.

        Plain data under the names `id, sessionId, seq, at, events, prevHash, hash`, ids as hex, instants as wire times;
        a value of a type that is never written stays as it is, and fields that are never written are kept.
        """

    async def head(self, session_id: SessionId) -> Head | None:
        """Return where a session's journal ends; None if it has none."""

    async def mentions(self, session_id: SessionId, user_id: UserId, kinds: Collection[str]) -> Sequence[Mention]:
        """Return a session's events of these kinds whose data is about the user (`userId`), in order.

        Other events are not decoded: one that cannot be read hides nothing.
        """

    async def expired(self, before: datetime, limit: int) -> Sequence[SessionId]:
        """Return up to `limit` sessions whose first commit is older than `before`, in no particular order.

        One whose `discard` was interrupted is found again. What it costs depends on how many there are, not on what
        else is kept; a store may rely on it that a session's id was made by the `IdSource` that goes with the store,
        before the first commit was.
        """

    async def discard(self, session_id: SessionId) -> None:
        """Take a session's whole journal away; harmless to repeat.

        From the end to the beginning: what is left by an interruption is the beginning of the log, and a sound chain.
        """
