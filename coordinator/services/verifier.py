"""Proof: the hash chain of every session, and projections that equal the journal.

Repairs projections, never the journal: what was tampered with can be named, not undone. And it repairs nothing that
might be a trace of tampering: a document that has seen more than the journal holds is left as it is.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from coordinator.domain.evolve import evolve
from coordinator.domain.ids import SessionId, is_object_id
from coordinator.domain.ledger import Flaw, UnknownEventError, find_flaws, read_event
from coordinator.domain.model import SESSION_KEPT, Participant, Session
from coordinator.domain.state import SessionState
from coordinator.ports.clock import Clock
from coordinator.ports.journal import Journal
from coordinator.ports.projections import Projections
from coordinator.services.catching_up import Snapshot, snapshot_of

_SETTLE_SECONDS = 0.5
"""A running coordinator writes projections within 100 ms; what differs still after this does differ."""
_REPAIRS = 5
"""How often documents are rebuilt at most, where a running coordinator writes them at the same time."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What verification found of one session."""

    session_id: SessionId
    commits: int
    events: int
    flaws: list[Flaw]
    repaired: bool = False


class _Documents(msgspec.Struct):
    """What is stored about a session beside its journal; or what is wrong with it, where it cannot be read."""

    session: Session | None = None
    participants: Sequence[Participant] = ()
    session_problem: str | None = None
    participants_problem: str | None = None

    @property
    def are_gone(self) -> bool:
        """Whether there is nothing."""
        return not (self.session or self.participants or self.session_problem or self.participants_problem)


class _Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at a session found.

    Attributes:
        verdict: What it says.
        is_sound: Whether the journal itself is what was written, as far as it can tell.
        expected: What the documents should be, if they may be rebuilt.
        with_session: Whether the session's own document is to be there.
        is_gone: Whether nothing is left of the session.
    """

    verdict: Verdict
    is_sound: bool = False
    expected: Snapshot | None = None
    with_session: bool = True
    is_gone: bool = False


class Verifier:
    """Checks sessions against their journal. Works beside running coordinators."""

    def __init__(self, journal: Journal, projections: Projections, clock: Clock) -> None:
        self._journal = journal
        self._projections = projections
        self._clock = clock

    async def verify_all(self, *, repair: bool) -> AsyncIterator[Verdict]:
        """Verify every session of which there is anything, one after the other.

        Those of the journal first, then those that only documents know: somebody may have taken a whole log away.
        """
        seen: set[SessionId] = set()
        for every in (self._journal.session_ids, self._projections.session_ids):
            async for session_id in every():
                if session_id in seen:
                    continue
                seen.add(session_id)
                look = await self._verify(session_id, repair=repair)
                if not look.is_gone:  # since we heard of it
                    yield look.verdict

    async def verify(self, session_id: SessionId, *, repair: bool) -> Verdict:
        """Verify one session; with `repair` make its projections equal to its journal, if nothing was tampered with."""
        return (await self._verify(session_id, repair=repair)).verdict

    async def _verify(self, session_id: SessionId, *, repair: bool) -> _Look:
        if not is_object_id(session_id):
            problem = f"commits belong to no session: their sessionId is {session_id}"
            flaw = Flaw(session_id, 0, problem)
            return _Look(verdict=Verdict(session_id=session_id, commits=0, events=0, flaws=[flaw]))
        look = await self._look(session_id)
        if look.is_sound and look.verdict.flaws:
            await self._clock.sleep(_SETTLE_SECONDS)
            look = await self._look(session_id)
        if repair and look.verdict.flaws and await self._repair(look):
            return replace(look, verdict=replace(look.verdict, repaired=True))
        return look

    async def _repair(self, found: _Look) -> bool:
        """Rebuild a session's documents; tell whether they are right then."""
        session_id = found.verdict.session_id
        for _ in range(_REPAIRS):
            expected = found.expected
            if expected is None:
                return False
            if found.with_session:
                await self._projections.rebuild(expected.session, expected.participants)
            else:
                await self._projections.rebuild_participants(session_id, expected.participants)
            # What was committed meanwhile, its node may have written before we did: then ours is the older one.
            found = await self._look(session_id)
            if not found.verdict.flaws:
                return True
        return False

    async def _look(self, session_id: SessionId) -> _Look:
        # In this order, because documents follow the journal: what they have seen, it must hold.
        documents = await self._documents(session_id)
        stored = await self._journal.stored(session_id)
        flaws = find_flaws(session_id, stored)
        events = sum(len(commit["events"]) for commit in stored if isinstance(commit.get("events"), list))
        verdict = Verdict(session_id=session_id, commits=len(stored), events=events, flaws=flaws)
        if flaws:
            return _Look(verdict=verdict)
        state, unreadable = _fold(session_id, stored)
        if unreadable is not None:
            return _Look(verdict=replace(verdict, flaws=[unreadable]))
        missing = _missing(session_id, 0 if state is None else state.seq, documents)
        if state is None or missing is not None:
            flaw = missing or Flaw(session_id, 0, "the journal holds no event of this session")
            return _Look(verdict=replace(verdict, flaws=[flaw]), is_sound=True, is_gone=documents.are_gone)
        has_vanished = state.created_at + SESSION_KEPT <= self._clock.now()
        with_session = not has_vanished or documents.session is not None or documents.session_problem is not None
        expected = snapshot_of(state)
        flaws = [
            *_session_flaws(documents, expected, is_due=with_session),
            *_participant_flaws(documents, expected),
        ]
        return _Look(verdict=replace(verdict, flaws=flaws), is_sound=True, expected=expected, with_session=with_session)

    async def _documents(self, session_id: SessionId) -> _Documents:
        documents = _Documents()
        try:
            documents.session = await self._projections.session(session_id)
        except (ValueError, TypeError, KeyError) as error:
            documents.session_problem = f"the session document cannot be read: {error}"
        try:
            documents.participants = await self._projections.participants(session_id)
        except (ValueError, TypeError, KeyError) as error:
            documents.participants_problem = f"a participant document cannot be read: {error}"
        return documents


def _fold(session_id: SessionId, stored: Sequence[Mapping[str, Any]]) -> tuple[SessionState | None, Flaw | None]:
    """Return the state that a sound journal leads to; or, where an event cannot be read, say which."""
    state: SessionState | None = None
    for event in (event for commit in stored for event in commit["events"]):
        seq: int = event["seq"]
        try:
            at = msgspec.convert(event["at"], datetime)
            state = evolve(state, read_event(session_id, {**event, "at": at}))
        except UnknownEventError as error:
            return state, Flaw(session_id, seq, f"cannot be read by this version: {error}")
        except Exception as error:  # noqa: BLE001 - it is sealed, but nothing that a coordinator would have written
            return state, Flaw(session_id, seq, f"is no event that can follow here: {type(error).__name__} {error}")
    return state, None


def _missing(session_id: SessionId, seq: int, documents: _Documents) -> Flaw | None:
    """Say if documents have seen more than the journal, which ends at `seq`: its newest commits were taken away."""
    seen = [
        (participant.seq, f"participant document of {participant.user_id}") for participant in documents.participants
    ]
    if documents.session is not None:
        seen.append((documents.session.seq, "session document"))
    most, document = max(seen, default=(0, ""))
    if most <= seq:
        return None
    return Flaw(session_id, seq + 1, f"the journal ends at seq {seq}, but the {document} has seen {most}")


def _session_flaws(documents: _Documents, expected: Snapshot, *, is_due: bool) -> Iterator[Flaw]:
    session, wanted = documents.session, expected.session
    if session == wanted or not is_due:
        return
    problem = documents.session_problem
    if problem is None:
        difference = "is missing" if session is None else f"(seq {session.seq}) differs from the journal"
        problem = f"the session document {difference}"
    yield Flaw(wanted.id, wanted.seq, problem)


def _participant_flaws(documents: _Documents, expected: Snapshot) -> Iterator[Flaw]:
    session_id = expected.session.id
    if documents.participants_problem is not None:
        yield Flaw(session_id, expected.session.seq, documents.participants_problem)
        return
    stored = {item.user_id: item for item in documents.participants}
    for participant in expected.participants:
        found = stored.pop(participant.user_id, None)
        if found != participant:
            problem = "is missing" if found is None else f"(seq {found.seq}) differs from the journal"
            yield Flaw(session_id, participant.seq, f"the participant document of {participant.user_id} {problem}")
    for item in stored.values():
        yield Flaw(session_id, item.seq, f"there is a document of {item.user_id}, who never joined")
