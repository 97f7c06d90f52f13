"""Proof: the hash chain of every session, and projections that equal the journal.

Repairs projections, never the journal: what was tampered with can be named, not undone.
"""

from collections.abc import AsyncIterator

import msgspec

from coordinator.domain.evolve import fold
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import Flaw, find_flaws
from coordinator.domain.state import SessionState
from coordinator.ports.clock import Clock
from coordinator.ports.journal import Journal
from coordinator.ports.projections import Projections
from coordinator.services.participation import Snapshot, snapshot_of

_SETTLE_SECONDS = 0.5
"""A running coordinator writes projections within 100 ms; what differs still after this does differ."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What verification found of one session."""

    session_id: SessionId
    commits: int
    events: int
    flaws: list[Flaw]
    repaired: bool = False


class Verifier:
    """Checks sessions against their journal. Works beside running coordinators."""

    def __init__(self, journal: Journal, projections: Projections, clock: Clock) -> None:
        self._journal = journal
        self._projections = projections
        self._clock = clock

    async def verify_all(self, *, repair: bool) -> AsyncIterator[Verdict]:
        """Verify every session in the journal, one after the other."""
        async for session_id in self._journal.session_ids():
            yield await self.verify(session_id, repair=repair)

    async def verify(self, session_id: SessionId, *, repair: bool) -> Verdict:
        """Verify one session; with `repair` make its projections equal to its journal if the journal is sound."""
        stored = await self._journal.stored(session_id)
        flaws = find_flaws(session_id, stored)
        events = sum(len(commit["events"]) for commit in stored if isinstance(commit.get("events"), list))
        if flaws:
            return Verdict(session_id=session_id, commits=len(stored), events=events, flaws=flaws)
        flaws, expected = await self._projection_flaws(session_id)
        repaired = bool(repair and flaws and expected is not None)
        if repaired and expected is not None:
            await self._projections.rebuild(expected.session, expected.participants)
        return Verdict(session_id=session_id, commits=len(stored), events=events, flaws=flaws, repaired=repaired)

    async def _projection_flaws(self, session_id: SessionId) -> tuple[list[Flaw], Snapshot | None]:
        flaws, expected = await self._compare(session_id)
        if flaws:
            await self._clock.sleep(_SETTLE_SECONDS)
            flaws, expected = await self._compare(session_id)
        return flaws, expected

    async def _compare(self, session_id: SessionId) -> tuple[list[Flaw], Snapshot | None]:
        session = await self._projections.session(session_id)
        stored = {item.user_id: item for item in await self._projections.participants(session_id)}
        state: SessionState | None = None
        for commit in await self._journal.read(session_id):
            state = fold((sealed.event for sealed in commit.events), state)
        if state is None:
            return [Flaw(session_id, 0, "the journal holds no event of this session")], None
        expected = snapshot_of(state)
        flaws: list[Flaw] = []
        if session != expected.session:
            problem = "is missing" if session is None else f"(seq {session.seq}) differs from the journal"
            flaws.append(Flaw(session_id, state.seq, f"the session document {problem}"))
        for participant in expected.participants:
            found = stored.pop(participant.user_id, None)
            if found != participant:
                problem = "is missing" if found is None else f"(seq {found.seq}) differs from the journal"
                flaws.append(
                    Flaw(session_id, participant.seq, f"the participant document of {participant.user_id} {problem}")
                )
        flaws.extend(
            Flaw(session_id, item.seq, f"there is a document of {item.user_id}, who never joined")
            for item in stored.values()
        )
        return flaws, expected
