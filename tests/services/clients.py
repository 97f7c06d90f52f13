"""A user's connection without transports, which checks what every subscriber is promised."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from coordinator.adapters.memory.clock import settle
from coordinator.domain.errors import NotInSessionError
from coordinator.domain.events import Actor, DisconnectReason, Event, Role
from coordinator.domain.ids import ConnectionId, SessionId, UserId
from coordinator.domain.ledger import SealedEvent
from coordinator.services.catching_up import View

if TYPE_CHECKING:
    from tests.services.harness import Node


class Note(NamedTuple):
    """A transient message to a subscriber, or the end of its connection (`closed`)."""

    name: str
    payload: Mapping[str, Any]


class Client:
    """A user's connection. Asks one thing after the other, as the transports do, and checks what it is told.

    Attributes:
        node: Where it is connected.
        heard: Everything that it was sent, in order.
        position: The `seq` up to which it knows the session.
    """

    def __init__(self, node: "Node", user: UserId, session: SessionId, connection: ConnectionId) -> None:
        self.node = node
        self._connection_id = connection
        self._user_id = user
        self._order = asyncio.Lock()
        self.session = session
        self.actor = Actor(user_id=user, role=Role.PARTICIPANT)
        self.heard: list[SealedEvent | Note] = []
        self.position = 0
        self.is_closed = False

    @property
    def connection_id(self) -> ConnectionId:
        return self._connection_id

    @property
    def user_id(self) -> UserId:
        return self._user_id

    def tell(self, events: Sequence[SealedEvent]) -> None:
        """Take the events of a commit; a closed connection takes everything silently."""
        if self.is_closed:
            return
        for sealed in events:
            assert sealed.event.seq == self.position + 1, f"{sealed.event.seq} after {self.position}"
            self.position = sealed.event.seq
            self.heard.append(sealed)

    def notify(self, name: str, payload: Mapping[str, Any]) -> None:
        if not self.is_closed:
            self.heard.append(Note(name, payload))

    def close(self, reason: str) -> None:
        self.notify("closed", {"reason": reason})
        self.is_closed = True

    @property
    def events(self) -> list[Event]:
        """The events that it was sent."""
        return [item.event for item in self.heard if isinstance(item, SealedEvent)]

    @property
    def kinds(self) -> list[str]:
        """What it was sent, by name."""
        return [item.event.body.kind if isinstance(item, SealedEvent) else item.name for item in self.heard]

    @property
    def notes(self) -> list[Note]:
        """What it was sent besides events."""
        return [item for item in self.heard if isinstance(item, Note)]

    def listens(self) -> bool:
        """Whether it is a subscriber of the session's room."""
        room = self.node.rooms.peek(self.session)
        return room is not None and room.subscribers.get(self.connection_id) is self

    async def join(self, after: int | None = None) -> View:
        async with self._order:
            if self.is_closed:
                raise NotInSessionError("this connection is closed")
            view = await self.node.participation.join(self.actor, self, self.session, after)
            return self._see(view, after)

    async def sync(self, after: int) -> View:
        async with self._order:
            view = await self.node.participation.catch_up(self, self.session, after)
            assert view.seq == self.position
            return self._see(view, after)

    def _see(self, view: View, after: int | None) -> View:
        if view.events is None:
            assert view.snapshot is not None
            assert view.snapshot.session.seq == view.seq
        else:
            assert after is not None
            assert view.snapshot is None
            assert [sealed.event.seq for sealed in view.events] == list(range(after + 1, view.seq + 1))
        self.position = view.seq
        return view

    async def leave(self) -> int:
        async with self._order:
            return await self.node.participation.leave(self.actor, self, self.session)

    def media(self, *, camera: bool | None = None, mic: bool | None = None) -> asyncio.Future[int]:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.node.participation.set_media(self.actor, self, self.session, camera, mic, answer)
        return answer

    def consent(self, granted: bool, policy: str | None = None) -> asyncio.Future[int]:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.node.participation.set_consent(self.actor, self, self.session, granted, policy, answer)
        return answer

    def signal(self, to: UserId, data: Any = None) -> None:
        self.node.participation.signal(self.actor, self, self.session, to, data)

    async def drop(self, reason: DisconnectReason = DisconnectReason.CONNECTION_CLOSED) -> None:
        """The connection is gone; as the transports do, wait for what is under way on it. What follows comes later."""
        async with self._order:
            self.node.participation.disconnect(self.user_id, self, self.session, reason)

    async def vanish(self) -> None:
        """The connection is gone, and everything that follows from it at once has happened."""
        await self.drop()
        await settle()
