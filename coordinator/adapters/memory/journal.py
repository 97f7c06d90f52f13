"""The journal in memory. Owns commits by session; must not know what their events mean."""

import asyncio
import bisect
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any

import msgspec

from coordinator.domain.ids import CommitId, SessionId
from coordinator.domain.ledger import MAX_COMMIT_EVENTS, Commit, SealedEvent, wire_time
from coordinator.ports.journal import OutcomeUnknownError


class MemoryJournal:
    """A complete `Journal`, with hooks that make it slow or unreliable.

    Attributes:
        gate: When set to an event, `append` waits for that before doing anything.
        appends: How many times `append` was called.
    """

    def __init__(self) -> None:
        self.gate: asyncio.Event | None = None
        self.appends = 0
        self._sessions: dict[SessionId, dict[int, Commit]] = {}
        self._ids: set[CommitId] = set()
        self._failures: list[bool] = []

    def fail_next(self, count: int, *, written: bool) -> None:
        """Make `count` further appends raise `OutcomeUnknownError`, after having written or without having done so."""
        self._failures.extend([written] * count)

    async def append(self, commits: Sequence[Commit]) -> AbstractSet[CommitId]:
        """Write commits; see `Journal.append`.

        Raises:
            OutcomeUnknownError: `fail_next` asked for it.
        """
        self.appends += 1
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        failure = self._failures.pop(0) if self._failures else None
        if failure is not False:
            for commit in commits:
                self._add(commit)
        if failure is not None:
            raise OutcomeUnknownError("the memory journal was told to fail")
        return frozenset(commit.id for commit in commits if commit.id in self._ids)

    def _add(self, commit: Commit) -> None:
        if len(commit.events) > MAX_COMMIT_EVENTS:
            raise ValueError(f"a commit of {len(commit.events)} events; at most {MAX_COMMIT_EVENTS} are allowed")
        stored = self._sessions.setdefault(commit.session_id, {})
        if commit.seq not in stored:
            stored[commit.seq] = commit
            self._ids.add(commit.id)

    async def written(self, ids: Sequence[CommitId]) -> AbstractSet[CommitId]:
        """Return which of `ids` are in the journal."""
        await asyncio.sleep(0)
        return self._ids.intersection(ids)

    async def read(self, session_id: SessionId, after: int = 0) -> Sequence[Commit]:
        """Return a session's commits after the one that ends with event `after`, in order (0: all)."""
        await asyncio.sleep(0)
        commits = self._in_order(session_id)
        return commits[bisect.bisect_right(commits, after, key=lambda commit: commit.seq) :]

    async def events_after(self, session_id: SessionId, after: int, limit: int | None = None) -> Sequence[SealedEvent]:
        """Return at most `limit` of a session's events with a higher `seq` than `after`, in order."""
        await asyncio.sleep(0)
        commits = self._in_order(session_id)
        # The last commit that begins at or before `after` may reach beyond it.
        first = max(0, bisect.bisect_right(commits, after, key=lambda commit: commit.seq) - 1)
        events = chain.from_iterable(commit.events for commit in commits[first:])
        return [sealed for sealed in events if sealed.event.seq > after][:limit]

    async def session_ids(self) -> AsyncIterator[SessionId]:
        """Go through all sessions that have a commit, in no particular order."""
        for session_id in tuple(self._sessions):
            await asyncio.sleep(0)
            yield session_id

    async def stored(self, session_id: SessionId) -> Sequence[Mapping[str, Any]]:
        """Return a session's commits in order of `seq` as plain data, for `ledger.find_flaws`."""
        await asyncio.sleep(0)
        return [_plain(commit) for commit in self._in_order(session_id)]

    def _in_order(self, session_id: SessionId) -> list[Commit]:
        # A commit may arrive before the one it follows: nobody promised that a session's commits are written in order.
        return [commit for _, commit in sorted(self._sessions.get(session_id, {}).items())]


def _plain(commit: Commit) -> dict[str, Any]:
    events = [msgspec.json.decode(sealed.json) for sealed in commit.events]
    for event in events:
        del event["sessionId"]
    return {
        "id": commit.id,
        "sessionId": commit.session_id,
        "seq": commit.seq,
        "at": wire_time(commit.at),
        "events": events,
        "prevHash": commit.prev_hash,
        "hash": commit.hash,
    }
