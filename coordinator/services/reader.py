"""Reads that are never older than any ack: the projection plus the journal's tail (SPEC section 2, event log)."""

from collections.abc import Sequence

from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.ledger import SealedEvent
from coordinator.domain.model import Session
from coordinator.ports.bookings import Bookings
from coordinator.ports.journal import Journal
from coordinator.ports.projections import Projections, SessionQuery
from coordinator.services.outages import silence_is_unavailable
from coordinator.services.participation import Snapshot, snapshot_of
from coordinator.services.rooms import Rooms


class Reader:
    """Answers questions about sessions.

    Every method raises `NotFoundError` for an unknown session and `UnavailableError` when the database is away.
    """

    def __init__(self, rooms: Rooms, journal: Journal, projections: Projections, bookings: Bookings) -> None:
        self._rooms = rooms
        self._journal = journal
        self._projections = projections
        self._bookings = bookings

    async def snapshot(self, session_id: SessionId) -> Snapshot:
        """Return a session and its participants."""
        loaded = self._rooms.peek(session_id)
        if loaded is not None and loaded.state is not None:
            await self._rooms.refresh(loaded)
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

        Never older than an ack of this node. What another node acked within the last 100 ms may not be seen yet.
        """
        await self._rooms.write_documents()
        with silence_is_unavailable():
            return await self._projections.page(query)

    async def events(self, session_id: SessionId, after: int, limit: int) -> Sequence[SealedEvent]:
        """Return up to `limit` events after `after`, in order."""
        with silence_is_unavailable():
            events = await self._journal.events_after(session_id, after, limit)
        if not events:
            await self._rooms.room(session_id)
        return events

    async def took_part(self, session_id: SessionId, user_id: UserId) -> bool:
        """Tell whether the user is registered for the session's slot or has been in it."""
        snapshot = await self.snapshot(session_id)
        if any(participant.user_id == user_id for participant in snapshot.participants):
            return True
        with silence_is_unavailable():
            return await self._bookings.is_registered(snapshot.session.time_slot_id, user_id)

    async def _projected(self, session_id: SessionId) -> Snapshot | None:
        """Return the stored documents where they are up to date with the journal."""
        session = await self._projections.session(session_id)
        if session is None:
            return None
        participants = await self._projections.participants(session_id)
        if await self._journal.read(session_id, after=session.seq):
            return None
        return Snapshot(session=session, participants=list(participants))
