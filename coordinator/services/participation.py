"""What a participant may ask: join, leave, switch media, consent, signal, catch up (SPEC section 3, `/rooms`).

Owns the requests of connections; the rules themselves are the domain's.
"""

from typing import Any

from coordinator.domain.commands import (
    DisconnectParticipant,
    JoinSession,
    LeaveSession,
    SetMedia,
    SetRecordingConsent,
)
from coordinator.domain.errors import InvalidRequestError, NotInSessionError, RemovedError
from coordinator.domain.events import Actor, DisconnectReason
from coordinator.domain.ids import SessionId, UserId, node_of
from coordinator.domain.transitions import Presence
from coordinator.ports.audience import Subscriber
from coordinator.ports.bookings import Bookings
from coordinator.ports.clock import Clock
from coordinator.ports.journal import Journal
from coordinator.services.catching_up import CatchingUp, View
from coordinator.services.following import Following
from coordinator.services.outages import silence_is_unavailable
from coordinator.services.room import Answer, Room
from coordinator.services.rooms import Rooms, close_replaced


class Participation:
    """The requests of participants' connections.

    Args:
        rooms: The rooms of this node.
        following: The way to connections of other nodes.
        journal: Where older events are read from.
        bookings: Who is registered.
        clock: Time.
        require_registration: Whether only registered users may take a seat.
        replay_limit: Missed events up to which they are replayed instead of a snapshot.
    """

    def __init__(
        self,
        rooms: Rooms,
        following: Following,
        journal: Journal,
        bookings: Bookings,
        clock: Clock,
        *,
        require_registration: bool,
        replay_limit: int,
    ) -> None:
        self._rooms = rooms
        self._following = following
        self._bookings = bookings
        self._require_registration = require_registration
        self._catching_up = CatchingUp(journal, clock, replay_limit)

    async def join(self, actor: Actor, subscriber: Subscriber, session_id: SessionId, after: int | None) -> View:
        """Take the actor's seat on the subscriber's connection and start listening.

        When this returns, and before anything else runs, the subscriber is up to date with the view: every event with a
        higher `seq` will be published to it.

        Raises:
            CoordinatorError: No such session, or the seat is refused, or the database is out of reach.
        """
        room = await self._rooms.room(session_id)
        with room.in_use():
            if self.is_seated(subscriber, session_id):
                # Nothing would be written, so a removal on another node would not be noticed.
                await self._rooms.refresh(room)
            registered = await self._may_take_seat(room, actor.user_id)
            join = JoinSession(actor=actor, connection_id=subscriber.connection_id, registered=registered)
            await self._rooms.submit(room, join)
            missed = await self._catching_up.missed(room, after)
            # From here on nothing is awaited, so that no event can slip in between the view and the subscription.
            self._check_seat(room, actor.user_id, subscriber)
            self._rooms.subscribe(room, subscriber)
            return self._catching_up.view(room, missed)

    async def catch_up(self, subscriber: Subscriber, session_id: SessionId, after: int) -> View:
        """Return what a listening subscriber has missed since `after`.

        Raises:
            NotInSessionError: The subscriber does not listen, or no longer.
            UnavailableError: The database is out of reach.
        """
        room = self._listened(session_id, subscriber)
        with room.in_use():
            missed = await self._catching_up.missed(room, after)
            if room.subscribers.get(subscriber.connection_id) is not subscriber:
                raise NotInSessionError("you are not in this session; join it first")
            return self._catching_up.view(room, missed)

    async def leave(self, actor: Actor, subscriber: Subscriber, session_id: SessionId) -> int:
        """Give the seat back and stop listening; return the session's `seq`."""
        room = await self._rooms.room(session_id)
        seq = await self._rooms.submit(room, LeaveSession(actor=actor, connection_id=subscriber.connection_id))
        room.subscribers.pop(subscriber.connection_id, None)
        return seq

    def stop_listening(self, subscriber: Subscriber, session_id: SessionId) -> None:
        """Send the subscriber nothing more of a session that it has no seat in."""
        room = self._rooms.peek(session_id)
        if room is not None:
            room.subscribers.pop(subscriber.connection_id, None)

    def disconnect(self, user: UserId, subscriber: Subscriber, session_id: SessionId, reason: DisconnectReason) -> None:
        """Note that a connection is gone. Happens in any case, as soon as the database allows."""
        self.stop_listening(subscriber, session_id)
        command = DisconnectParticipant(user_id=user, connection_id=subscriber.connection_id, reason=reason)
        self._rooms.insist(session_id, command)

    def set_media(
        self,
        actor: Actor,
        subscriber: Subscriber,
        session_id: SessionId,
        camera: bool | None,
        mic: bool | None,
        answer: Answer,
    ) -> None:
        """Switch the actor's camera or microphone; `answer` gets the session's `seq` once that is durable.

        Calls take effect in the order in which they are made.

        Raises:
            NotInSessionError: The subscriber does not listen to the session.
            UnavailableError: Too much is waiting for the database.
        """
        room = self._listened(session_id, subscriber)
        command = SetMedia(actor=actor, connection_id=subscriber.connection_id, camera_enabled=camera, mic_enabled=mic)
        self._rooms.submit_for(room, command, answer)

    def set_consent(
        self,
        actor: Actor,
        subscriber: Subscriber,
        session_id: SessionId,
        granted: bool,
        policy_version: str | None,
        answer: Answer,
    ) -> None:
        """Grant or revoke the actor's consent to be recorded; as `set_media` otherwise."""
        room = self._listened(session_id, subscriber)
        command = SetRecordingConsent(
            actor=actor, connection_id=subscriber.connection_id, granted=granted, policy_version=policy_version
        )
        self._rooms.submit_for(room, command, answer)

    def signal(self, actor: Actor, subscriber: Subscriber, session_id: SessionId, to: UserId, data: Any) -> None:
        """Relay `data` to another present participant; it is not stored.

        Raises:
            InvalidRequestError: The recipient is the sender.
            NotInSessionError: The sender or the recipient is not present.
            UnavailableError: The recipient is connected to another node, which cannot be reached.
        """
        if to == actor.user_id:
            raise InvalidRequestError("to: you cannot signal yourself", field="to")
        room = self._listened(session_id, subscriber)
        if room.subscriber_of(actor.user_id) is not subscriber:
            raise NotInSessionError("you are not in this session; join it first")
        participant = None if room.state is None else room.state.participants.get(to)
        if participant is None or not participant.is_present:
            raise NotInSessionError(f"{to} is not present in this session")
        if node_of(participant.connection_id) != node_of(subscriber.connection_id):
            self._following.relay(room, participant.connection_id, actor.user_id, data)
            return
        recipient = room.subscribers.get(participant.connection_id)
        if recipient is None:
            raise NotInSessionError(f"{to} is not present in this session")
        recipient.notify("signal", {"sessionId": room.session_id, "from": actor.user_id, "data": data})

    def is_seated(self, subscriber: Subscriber, session_id: SessionId) -> bool:
        """Tell whether the subscriber holds a seat in a live session."""
        room = self._rooms.peek(session_id)
        if room is None or room.state is None or not room.state.is_live:
            return False
        participant = room.state.participants.get(subscriber.user_id)
        return (
            participant is not None and participant.is_present and participant.connection_id == subscriber.connection_id
        )

    def _listened(self, session_id: SessionId, subscriber: Subscriber) -> Room:
        room = self._rooms.peek(session_id)
        if room is None or room.subscribers.get(subscriber.connection_id) is not subscriber:
            raise NotInSessionError("you are not in this session; join it first")
        return room

    async def _may_take_seat(self, room: Room, user: UserId) -> bool:
        state = room.state
        assert state is not None
        participant = state.participants.get(user)
        if not self._require_registration or (participant is not None and participant.holds_seat):
            return True
        with silence_is_unavailable():
            return await self._bookings.is_registered(state.time_slot_id, user)

    @staticmethod
    def _check_seat(room: Room, user: UserId, subscriber: Subscriber) -> None:
        """Refuse a connection that lost the seat again before its join was answered: nobody could tell it since."""
        participant = None if room.state is None else room.state.participants.get(user)
        if participant is None or participant.presence is Presence.REMOVED:
            raise RemovedError("a moderator removed you from this session")
        if participant.connection_id != subscriber.connection_id:
            close_replaced(subscriber, room.session_id)
            raise NotInSessionError("a newer connection of yours has taken over")
