"""Reads that are never older than any ack: the projection plus the journal's tail (SPEC section 2, event log)."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from coordinator.domain.errors import NotFoundError
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.ledger import SealedEvent
from coordinator.domain.model import Session, SessionStatus, TimeSlot
from coordinator.ports.bookings import Bookings
from coordinator.ports.journal import Journal
from coordinator.ports.projections import Projections, SessionQuery
from coordinator.services.background import at_once
from coordinator.services.catching_up import Snapshot, snapshot_of
from coordinator.services.outages import silence_is_unavailable
from coordinator.services.rooms import Rooms

_READS_AT_ONCE = 8


class Reader:
    """Answers questions about sessions.

    Every method raises `NotFoundError` for an unknown session and `UnavailableError` when the database is away.

    Args:
        rooms: The rooms of this node.
        journal: The truth.
        projections: The documents.
        bookings: Who is registered.
        has_company: Whether other nodes may be writing.
    """

    def __init__(
        self,
        rooms: Rooms,
        journal: Journal,
        projections: Projections,
        bookings: Bookings,
        has_company: Callable[[], bool],
    ) -> None:
        self._rooms = rooms
        self._has_company = has_company
        self._journal = journal
        self._projections = projections
        self._bookings = bookings

    async def snapshot(self, session_id: SessionId) -> Snapshot:
        """Return a session and its participants."""
        loaded = self._rooms.peek(session_id)
        if loaded is not None and loaded.state is not None:
            await self._rooms.refresh(await self._rooms.room(session_id))
            return snapshot_of(loaded.state)
        with silence_is_unavailable():
            stored = await self._projected(session_id)
        if stored is not None:
            return stored
        state = (await self._rooms.room(session_id)).state
        assert state is not None
        return snapshot_of(state)

    async def sessions(self, query: SessionQuery) -> Sequence[Session]:
        """Return the sessions that are looked for, the newest first.

        Never older than an ack of this node, and none of those that are returned is older than any ack. A session that
        another node has moved into what is looked for within the last 100 ms may not be found yet.
        """
        await self._rooms.write_documents()
        with silence_is_unavailable():
            page = await self._projections.page(query)
            if not self._has_company() or not await self._bring_up(page):
                return page
            await self._rooms.write_documents()
            return await self._projections.page(query)

    async def _bring_up(self, sessions: Sequence[Session]) -> bool:
        """Bring rooms up to the journal where that is further than these documents; tell whether it was for any."""
        behind: list[SessionId] = []

        async def look(session: Session) -> None:
            if session.status is not SessionStatus.ENDED and await self._journal.read(session.id, after=session.seq):
                await self._rooms.refresh(await self._rooms.room(session.id))
                behind.append(session.id)

        await at_once(_READS_AT_ONCE, sessions, look)
        return bool(behind)

    async def events(self, session_id: SessionId, after: int, limit: int) -> Sequence[SealedEvent]:
        """Return up to `limit` events after `after`, in order; those of a session that has vanished, too, if kept."""
        with silence_is_unavailable():
            events = await self._journal.events_after(session_id, after, limit)
            if not events and not await self._is_open(session_id):
                raise NotFoundError(f"there is no session {session_id}")
        return events

    async def took_part(self, session_id: SessionId, user_id: UserId) -> bool:
        """Tell whether the user is registered for the session's slot or has been in it."""
        snapshot = await self.snapshot(session_id)
        if any(participant.user_id == user_id for participant in snapshot.participants):
            return True
        with silence_is_unavailable():
            return await self._bookings.is_registered(snapshot.session.time_slot_id, user_id)

    async def shown(self, slots: Iterable[TimeSlot]) -> list[TimeSlot]:
        """Return slots as they are shown: without a session that was claimed for one but has not been opened yet.

        Whoever is told of a session joins it at once. The cost depends on how many of the slots have a live session.
        """
        with silence_is_unavailable():
            return list(await asyncio.gather(*map(self._shown, slots)))

    async def _shown(self, slot: TimeSlot) -> TimeSlot:
        # Where nothing is left to settle, it was opened long ago.
        if slot.session_id is None or slot.settle_at is None or await self._is_open(slot.session_id):
            return slot
        return replace(slot, session_id=None)

    async def _is_open(self, session_id: SessionId) -> bool:
        loaded = self._rooms.peek(session_id)
        if loaded is not None and loaded.state is not None:
            return True
        return bool(await self._journal.events_after(session_id, 0, 1))

    async def _projected(self, session_id: SessionId) -> Snapshot | None:
        """Return the stored documents where they are up to date with the journal."""
        session = await self._projections.session(session_id)
        if session is None:
            return None
        participants = await self._projections.participants(session_id)
        if await self._journal.read(session_id, after=session.seq):
            return None
        return Snapshot(session=session, participants=list(participants))
