"""What moderators may ask of a session over HTTP: end it, switch its recording (SPEC section 4).

Owns nothing; the rules are the domain's, and who may ask is the transports'.
"""

from coordinator.domain.commands import Command, EndSession, SetRecording
from coordinator.domain.events import Actor
from coordinator.domain.ids import SessionId
from coordinator.domain.model import Session
from coordinator.services.reader import Reader
from coordinator.services.rooms import Rooms


class Moderation:
    """The requests of moderators. Each returns once what it changed is durable, and may be repeated."""

    def __init__(self, rooms: Rooms, reader: Reader) -> None:
        self._rooms = rooms
        self._reader = reader

    async def end_session(self, actor: Actor, session_id: SessionId) -> Session:
        """End a session now; one that has ended stays as it is. Return it.

        Raises:
            NotFoundError: There is no such session.
            UnavailableError: The database is out of reach.
        """
        return await self._do(session_id, EndSession(actor=actor))

    async def set_recording(self, actor: Actor, session_id: SessionId, enabled: bool) -> Session:
        """Switch recording of a session on or off; return the session.

        Raises:
            NotFoundError: There is no such session.
            SessionEndedError: It is over.
            UnavailableError: The database is out of reach.
        """
        return await self._do(session_id, SetRecording(actor=actor, enabled=enabled))

    async def _do(self, session_id: SessionId, command: Command) -> Session:
        room = await self._rooms.room(session_id)
        # "It already is so" must not rest on what was so before another node changed it.
        await self._rooms.refresh(room)
        await self._rooms.submit(room, command)
        return (await self._reader.snapshot(session_id)).session
