"""The journal in memory. Owns commits by session; must not know what their events mean."""

import asyncio
import bisect
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec

from coordinator.domain.ids import CommitId, SessionId, UserId
from coordinator.domain.ledger import MAX_COMMIT_EVENTS, Commit, SealedEvent, wire_time
from coordinator.ports.journal import Head, Mention, OutcomeUnknownError


class MemoryJournal:
    """A complete `Journal`, with hooks that make it slow or unreliable.

    Attributes:
        gate: When set to an event, `append` waits for that before doing anything.
        appends: How many times `append` was called.
        in_arrival: Every commit, in the order in which they became durable.
        listeners: Called, without waiting, whenever commits have become durable.
    """

    def __init__(self) -> None:
        self.gate: asyncio.Event | None = None
        self.appends = 0
        self.in_arrival: list[Commit] = []
        self.listeners: list[Callable[[], None]] = []
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
            self.announce()
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
            self.in_arrival.append(commit)

    def announce(self) -> None:
        """Tell those who follow that there may be something new."""
        for listener in tuple(self.listeners):
            listener()

    async def replace(self, commit: Commit) -> bool:
        """Write a commit's content anew under its own id; see `Journal.replace`."""
        await asyncio.sleep(0)
        stored = self._sessions.get(commit.session_id, {})
        known = stored.get(commit.seq)
        if known is None or _place(known) != _place(commit):
            return False
        stored[commit.seq] = commit
        return True

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

    async def head(self, session_id: SessionId) -> Head | None:
        """Return where a session's journal ends; None if it has none."""
        await asyncio.sleep(0)
        commits = self._in_order(session_id)
        return Head(commits[-1].last_seq, commits[-1].hash, len(commits)) if commits else None

    async def mentions(self, session_id: SessionId, user_id: UserId, kinds: Collection[str]) -> Sequence[Mention]:
        """Return a session's events of these kinds whose data is about the user, in order."""
        await asyncio.sleep(0)
        return [
            Mention(sealed.event, commit.hash)
            for commit in self._in_order(session_id)
            for sealed in commit.events
            if sealed.event.body.kind in kinds and getattr(sealed.event.body, "user_id", None) == user_id
        ]

    async def expired(self, before: datetime, limit: int) -> Sequence[SessionId]:
        """Return up to `limit` sessions whose first commit is older than `before`."""
        await asyncio.sleep(0)
        found = [session_id for session_id, stored in self._sessions.items() if 1 in stored and stored[1].at < before]
        return found[:limit]

    async def discard(self, session_id: SessionId) -> None:
        """Take a session's whole journal away, from its end; harmless to repeat."""
        for commit in reversed(self._in_order(session_id)):
            await asyncio.sleep(0)
            self._sessions.get(session_id, {}).pop(commit.seq, None)
            self._ids.discard(commit.id)
        self._sessions.pop(session_id, None)

    def _in_order(self, session_id: SessionId) -> list[Commit]:
        # A commit may arrive before the one it follows: nobody promised that a session's commits are written in order.
        return [commit for _, commit in sorted(self._sessions.get(session_id, {}).items())]


def _place(commit: Commit) -> tuple[CommitId, str, str]:
    return commit.id, commit.prev_hash, commit.hash


def _plain(commit: Commit) -> dict[str, Any]:
    events = [msgspec.json.decode(sealed.json) for sealed in commit.events]
    for event, sealed in zip(events, commit.events, strict=True):
        del event["sessionId"]
        if sealed.event.salt is not None:
            event["salt"] = sealed.event.salt
    return {
        "id": commit.id,
        "sessionId": commit.session_id,
        "seq": commit.seq,
        "at": wire_time(commit.at),
        "events": events,
        "prevHash": commit.prev_hash,
        "hash": commit.hash,
    }
