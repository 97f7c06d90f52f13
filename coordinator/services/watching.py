"""Moderators who watch single sessions (SPEC section 3, `/moderation`).

Owns who watches what. A watcher hears everything that participants hear, holds no seat, and is not seen.
"""

from coordinator.domain.errors import InvalidRequestError
from coordinator.domain.ids import ConnectionId, SessionId
from coordinator.ports.audience import Subscriber
from coordinator.ports.clock import Clock
from coordinator.ports.journal import Journal
from coordinator.services.catching_up import CatchingUp, View
from coordinator.services.rooms import Rooms


class Watching:
    """The watches of this node's connections. One connection asks one thing after the other.

    Args:
        rooms: The rooms of this node.
        journal: Where older events are read from.
        clock: Time.
        replay_limit: Missed events up to which they are replayed instead of a snapshot.
        most_sessions: Sessions that one connection may watch at once.
    """

    def __init__(self, rooms: Rooms, journal: Journal, clock: Clock, *, replay_limit: int, most_sessions: int) -> None:
        self._rooms = rooms
        self._catching_up = CatchingUp(journal, clock, replay_limit)
        self._most_sessions = most_sessions
        self._watched: dict[ConnectionId, set[SessionId]] = {}

    async def watch(self, subscriber: Subscriber, session_id: SessionId, after: int | None) -> View:
        """Start listening to a session, live or over; to one that is watched already, be brought up to date again.

        When this returns, and before anything else runs, the subscriber is up to date with the view: every event with a
        higher `seq` will be published to it.

        Raises:
            InvalidRequestError: The connection watches as many sessions as it may.
            NotFoundError: There is no such session.
            UnavailableError: The database is out of reach.
        """
        watched = self._watched.get(subscriber.connection_id, set())
        if session_id not in watched and len(watched) >= self._most_sessions:
            raise InvalidRequestError(
                f"sessionId: a connection may watch {self._most_sessions} sessions; unwatch one first",
                field="sessionId",
            )
        room = await self._rooms.room(session_id)
        with room.in_use():
            await self._rooms.refresh(room)  # another node may have written since
            missed = await self._catching_up.missed(room, after)
            self._rooms.watch(room, subscriber)
            self._watched.setdefault(subscriber.connection_id, set()).add(session_id)
            return self._catching_up.view(room, missed)

    def unwatch(self, subscriber: Subscriber, session_id: SessionId) -> None:
        """Send the subscriber nothing more of a session; harmless if it does not watch it."""
        watched = self._watched.get(subscriber.connection_id, set())
        if session_id not in watched:
            return
        watched.remove(session_id)
        if not watched:
            del self._watched[subscriber.connection_id]
        room = self._rooms.peek(session_id)
        assert room is not None, "a room with a watcher is kept"
        del room.watchers[subscriber.connection_id]

    def end(self, subscriber: Subscriber) -> None:
        """Let a connection that is gone watch nothing any more."""
        for session_id in list(self._watched.get(subscriber.connection_id, ())):
            self.unwatch(subscriber, session_id)
