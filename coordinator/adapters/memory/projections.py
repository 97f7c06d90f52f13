"""The projections in memory. Owns sessions and participants as last written; must not know how they came about."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime

from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.model import Participant, Session, SessionStatus
from coordinator.ports.projections import SessionQuery


class MemoryProjections:
    """A complete `Projections`."""

    def __init__(self) -> None:
        self._sessions: dict[SessionId, Session] = {}
        self._participants: dict[SessionId, dict[UserId, Participant]] = {}

    async def write(self, sessions: Sequence[Session], participants: Sequence[Participant]) -> None:
        """Write whole documents, each unless the stored one has the same or a higher `seq`; participants first."""
        await asyncio.sleep(0)
        for participant in participants:
            of_session = self._participants.setdefault(participant.session_id, {})
            known = of_session.get(participant.user_id)
            if known is None or known.seq < participant.seq:
                of_session[participant.user_id] = participant
        await asyncio.sleep(0)
        for session in sessions:
            stored = self._sessions.get(session.id)
            if stored is None or stored.seq < session.seq:
                self._sessions[session.id] = session

    async def rebuild(self, session: Session, participants: Sequence[Participant]) -> None:
        """Make the documents of one session equal to these, whatever is stored now."""
        await self.rebuild_participants(session.id, participants)
        self._sessions[session.id] = session

    async def rebuild_participants(self, session_id: SessionId, participants: Sequence[Participant]) -> None:
        """Make the documents of one session's participants equal to these; leave the session's own as it is."""
        await asyncio.sleep(0)
        self._participants[session_id] = {participant.user_id: participant for participant in participants}

    async def discard(self, session_id: SessionId) -> None:
        """Take away all documents of a session and its participants; harmless to repeat."""
        await asyncio.sleep(0)
        self._participants.pop(session_id, None)
        self._sessions.pop(session_id, None)

    async def session(self, session_id: SessionId) -> Session | None:
        """Return a session's document."""
        await asyncio.sleep(0)
        return self._sessions.get(session_id)

    async def participants(self, session_id: SessionId) -> Sequence[Participant]:
        """Return a session's participants in the order in which they first joined; at the same instant, by user id."""
        await asyncio.sleep(0)
        found = self._participants.get(session_id, {}).values()
        return sorted(found, key=lambda participant: (participant.joined_at, participant.user_id))

    async def session_ids(self) -> AsyncIterator[SessionId]:
        """Go through all sessions that have any document, of their own or of a participant, in no particular order."""
        with_participants = {session_id for session_id, found in self._participants.items() if found}
        for session_id in self._sessions.keys() | with_participants:
            await asyncio.sleep(0)
            yield session_id

    async def sessions_of(self, user_id: UserId, after: SessionId | None, limit: int) -> Sequence[SessionId]:
        """Return up to `limit` sessions that the user has a part in, by id."""
        await asyncio.sleep(0)
        found = sorted(session_id for session_id, users in self._participants.items() if user_id in users)
        return [session_id for session_id in found if after is None or session_id > after][:limit]

    async def page(self, query: SessionQuery) -> Sequence[Session]:
        """Return the session documents that are looked for, the newest first."""
        await asyncio.sleep(0)
        found = sorted((item for item in self._sessions.values() if _matches(item, query)), key=_place, reverse=True)
        return found[: query.limit]

    async def seqs(self, session_ids: Collection[SessionId]) -> Mapping[SessionId, int]:
        """Return how far the documents of these sessions are."""
        await asyncio.sleep(0)
        return {key: self._sessions[key].seq for key in session_ids if key in self._sessions}

    async def live(self) -> Sequence[SessionId]:
        """Return the sessions whose documents say waiting or active."""
        await asyncio.sleep(0)
        return [session.id for session in self._sessions.values() if session.status is not SessionStatus.ENDED]

    async def due(self, until: datetime, limit: int) -> Sequence[SessionId]:
        """Return up to `limit` sessions whose `nextDeadline` is not after `until`, the most overdue first."""
        await asyncio.sleep(0)
        found = sorted(
            (session.next_deadline, session.id)
            for session in self._sessions.values()
            if session.next_deadline is not None and session.next_deadline <= until
        )
        return [session_id for _, session_id in found[:limit]]


def _place(session: Session) -> tuple[datetime, SessionId]:
    return session.created_at, session.id


def _matches(session: Session, query: SessionQuery) -> bool:
    return (
        (query.status is None or session.status is query.status)
        and (query.target_language_code is None or session.target_language_code is query.target_language_code)
        and (query.slot_id is None or session.time_slot_id == query.slot_id)
        and (query.after is None or _place(session) < query.after)
    )
