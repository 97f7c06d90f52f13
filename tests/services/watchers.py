"""A moderator's connection without transports, which checks what every watcher is promised."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from coordinator.domain.events import Event
from coordinator.domain.ids import ConnectionId, SessionId, UserId
from coordinator.domain.ledger import SealedEvent
from coordinator.services.catching_up import View
from coordinator.services.overview import Overlook, Overview
from coordinator.services.rooms import Rooms
from coordinator.services.watching import Watching


class _Node(Protocol):
    rooms: Rooms
    watching: Watching
    overview: Overview


class Watcher:
    """Watches any number of sessions, one after the other.

    Attributes:
        heard: The events that it was sent, of all sessions.
        notes: What it was sent besides events: name and payload.
        positions: The `seq` up to which it knows each session.
        closed: Why it was closed, if it was.
    """

    def __init__(self, node: _Node, connection: ConnectionId, user: UserId) -> None:
        self._node = node
        self._connection_id = connection
        self._user_id = user
        self.heard: list[Event] = []
        self.notes: list[tuple[str, Mapping[str, Any]]] = []
        self.positions: dict[SessionId, int] = {}
        self.closed: str | None = None

    @property
    def connection_id(self) -> ConnectionId:
        return self._connection_id

    @property
    def user_id(self) -> UserId:
        return self._user_id

    def tell(self, events: Sequence[SealedEvent]) -> None:
        """Take the events of a commit: those of each session come once and in order."""
        for sealed in events:
            event = sealed.event
            assert event.seq == self.positions[event.session_id] + 1
            self.positions[event.session_id] = event.seq
            self.heard.append(event)

    def notify(self, name: str, payload: Mapping[str, Any]) -> None:
        self.notes.append((name, payload))

    def close(self, reason: str) -> None:
        self.closed = reason

    def kinds(self, session: SessionId) -> list[str]:
        """What it heard of a session, by name."""
        return [event.body.kind for event in self.heard if event.session_id == session]

    @property
    def summaries(self) -> list[Mapping[str, Any]]:
        """The summaries that it was sent."""
        return [payload for name, payload in self.notes if name == "session_summary"]

    def listens(self, session: SessionId) -> bool:
        """Whether the session's room knows it."""
        room = self._node.rooms.peek(session)
        return room is not None and room.watchers.get(self.connection_id) is self

    async def watch(self, session: SessionId, after: int | None = None) -> View:
        """Watch a session, and check that the answer is whole."""
        view = await self._node.watching.watch(self, session, after)
        if view.events is None:
            assert view.snapshot is not None
            assert view.snapshot.session.seq == view.seq
        else:
            assert after is not None
            assert [sealed.event.seq for sealed in view.events] == list(range(after + 1, view.seq + 1))
        assert view.seq >= self.positions.get(session, 0)
        self.positions[session] = view.seq
        return view

    def unwatch(self, session: SessionId) -> None:
        self._node.watching.unwatch(self, session)

    async def watch_all(self) -> Overlook:
        """Watch all sessions, and let come what did not fit into the answer."""
        seen = await self._node.overview.watch(self)
        self._node.overview.send_others(self, seen.others)
        return seen

    def unwatch_all(self) -> None:
        self._node.overview.unwatch(self)

    def vanish(self) -> None:
        """The connection is gone."""
        self._node.watching.end(self)
        self._node.overview.unwatch(self)
