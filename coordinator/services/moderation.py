"""What moderators may ask of a session: mute, remove, end, switch recording (SPEC sections 3 and 4).

Owns nothing; the rules are the domain's, and who may ask is the transports'.
"""

from coordinator.domain.commands import Command, EndSession, MuteParticipant, RemoveParticipant, SetRecording
from coordinator.domain.events import Actor
from coordinator.domain.ids import SessionId, UserId
from coordinator.services.rooms import Rooms


class Moderation:
    """The requests of moderators.

    Each returns the session's `seq` once what it changed is durable, and may be repeated. Each raises `NotFoundError`
    when there is no such session, and `UnavailableError` when the database is out of reach.
    """

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def mute(self, actor: Actor, session_id: SessionId, user_id: UserId) -> int:
        """Switch a user's microphone off. There is no way to switch it on for somebody else.

        Raises:
            NotInSessionError: The user holds no seat.
            SessionEndedError: It is over.
        """
        return await self._do(session_id, MuteParticipant(actor=actor, user_id=user_id))

    async def remove(self, actor: Actor, session_id: SessionId, user_id: UserId, message: str | None) -> int:
        """Remove a user who is or was in the session, for the rest of it.

        Args:
            actor: The moderator.
            session_id: The session.
            user_id: The user.
            message: Why, in the moderator's words; everybody in the session sees it.

        Raises:
            NotInSessionError: The user has never been in the session.
            SessionEndedError: It is over.
        """
        return await self._do(session_id, RemoveParticipant(actor=actor, user_id=user_id, message=message))

    async def end_session(self, actor: Actor, session_id: SessionId) -> int:
        """End a session now; one that has ended stays as it is."""
        return await self._do(session_id, EndSession(actor=actor))

    async def set_recording(self, actor: Actor, session_id: SessionId, enabled: bool) -> int:
        """Switch recording of a session on or off.

        Raises:
            SessionEndedError: It is over.
        """
        return await self._do(session_id, SetRecording(actor=actor, enabled=enabled))

    async def _do(self, session_id: SessionId, command: Command) -> int:
        room = await self._rooms.room(session_id)
        with room.in_use():
            # "It already is so" must not rest on what was so before another node changed it.
            await self._rooms.refresh(room)
            return await self._rooms.submit(room, command)
