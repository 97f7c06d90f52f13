"""A node's side of a client's connection, as the transports have it: one command after the other, answers in order.

Owns the order of what is asked on one connection, and what follows from its end. It does without sockets, frames,
limits and tokens; what becomes of a command is the services' own.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from coordinator.domain.errors import CoordinatorError, NotInSessionError
from coordinator.domain.events import Actor, DisconnectReason, SessionEnded
from coordinator.domain.ids import ConnectionId, SessionId, UserId
from coordinator.domain.ledger import SealedEvent
from coordinator.ports.audience import Subscriber
from coordinator.services.moderation import Moderation
from coordinator.services.participation import Participation
from coordinator.services.rooms import Rooms
from coordinator.services.watching import Watching
from tests.simulation.links import Link

_FINAL = frozenset({"replaced", "removed"})


class Welcome(NamedTuple):
    """The connection has been accepted."""

    connection_id: ConnectionId


class Request(NamedTuple):
    """What a client asks."""

    number: int
    name: str
    payload: Mapping[str, Any]


class Answer(NamedTuple):
    """What it gets: a view, a `seq`, nothing, or why not."""

    number: int
    outcome: Any


class Told(NamedTuple):
    """An event of a session."""

    sealed: SealedEvent


class Notice(NamedTuple):
    """A transient message."""

    name: str
    payload: Mapping[str, Any]


class Farewell(NamedTuple):
    """The node closes the connection, and says whether the client may come back by itself."""

    reason: str
    is_final: bool


class Services(Protocol):
    """What a node has for its clients."""

    participation: Participation
    moderation: Moderation
    watching: Watching
    rooms: Rooms

    def spawn(self, work: Any, name: str) -> object:
        """Run something in the background."""

    def dismissed(self, connection: "ServerConnection") -> None:
        """Forget a connection that is gone."""


class ServerConnection(Subscriber):
    """A connected client, as its node sees it.

    Attributes:
        actor: Who it is.
        session_id: The session that it asked to join last.
        seat: The session in which it holds a seat, as far as it has been told.
        is_gone: Whether it is closed, from either side.
    """

    def __init__(self, node: Services, link: Link, actor: Actor, connection_id: ConnectionId) -> None:
        self._node = node
        self._link = link
        self._connection_id = connection_id
        self._order = asyncio.Lock()
        self._close_reason: DisconnectReason | None = None
        self.actor = actor
        self.session_id: SessionId | None = None
        self.seat: SessionId | None = None
        self.is_gone = False

    @property
    def connection_id(self) -> ConnectionId:
        """The connection's name in the journal."""
        return self._connection_id

    @property
    def user_id(self) -> UserId:
        """Whose it is."""
        return self.actor.user_id

    def tell(self, sealed: SealedEvent) -> None:
        """Send an event."""
        if isinstance(sealed.event.body, SessionEnded):
            self.seat = None
        self._send(Told(sealed))

    def notify(self, name: str, payload: Mapping[str, Any]) -> None:
        """Send a transient message."""
        self._send(Notice(name, payload))

    def drain(self) -> None:
        """Say that this node is about to stop."""
        self._close_reason = self._close_reason or DisconnectReason.SERVER_STOPPED
        self.notify("server_draining", {"reconnectAfterMs": 500})

    def close(self, reason: str) -> None:
        """Close after everything sent so far."""
        if self.is_gone:
            return
        self._send(Farewell(reason, reason in _FINAL))
        self._link.shut()
        self._depart(DisconnectReason.CONNECTION_CLOSED)

    def receive(self, message: Any) -> None:
        """Take a request."""
        assert isinstance(message, Request)
        if not self.is_gone:
            self._node.spawn(self._answer(message), f"{message.name} of {self._connection_id}")

    def lost(self) -> None:
        """Learn that the client is gone."""
        self._depart(DisconnectReason.PING_TIMEOUT if self._link.is_broken else DisconnectReason.CONNECTION_CLOSED)

    def _send(self, message: Any) -> None:
        if not self.is_gone:
            self._link.send_down(message)

    async def _answer(self, request: Request) -> None:
        try:
            async with self._order:
                if self.is_gone:
                    raise NotInSessionError("this connection is closed")
                outcome = await self._take(request.name, request.payload)
            if isinstance(outcome, asyncio.Future):
                outcome = await outcome
        except CoordinatorError as refusal:
            outcome = refusal
        self._send(Answer(request.number, outcome))

    async def _take(self, name: str, payload: Mapping[str, Any]) -> Any:
        handler = getattr(self, f"_{name}")
        outcome: Any = handler(**payload)
        # What is asked of the future of a command waits outside: it has its place in the order already.
        return outcome if isinstance(outcome, asyncio.Future) else await outcome

    async def _join(self, session_id: SessionId, after: int | None) -> Any:
        self.session_id = session_id
        view = await self._node.participation.join(self.actor, self, session_id, after)
        room = self._node.rooms.peek(session_id)
        # Where it is over by now, nobody has a seat any more, and nothing will say so.
        self.seat = session_id if room is not None and room.state is not None and room.state.is_live else None
        return view

    async def _leave(self) -> int:
        seq = await self._node.participation.leave(self.actor, self, self._joined())
        self.seat = None
        return seq

    async def _sync(self, after: int) -> Any:
        return await self._node.participation.catch_up(self, self._joined(), after)

    def _set_media(self, camera: bool | None = None, mic: bool | None = None) -> Awaitable[int]:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._node.participation.set_media(self.actor, self, self._joined(), camera, mic, answer)
        return answer

    def _set_consent(self, granted: bool) -> Awaitable[int]:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._node.participation.set_consent(self.actor, self, self._joined(), granted, "v1", answer)
        return answer

    async def _signal(self, to: UserId, data: Any) -> None:
        self._node.participation.signal(self.actor, self, self._joined(), to, data)

    async def _watch(self, session_id: SessionId, after: int | None) -> Any:
        return await self._node.watching.watch(self, session_id, after)

    async def _unwatch(self, session_id: SessionId) -> None:
        self._node.watching.unwatch(self, session_id)

    async def _mute(self, session_id: SessionId, user_id: UserId) -> int:
        return await self._node.moderation.mute(self.actor, session_id, user_id)

    async def _remove(self, session_id: SessionId, user_id: UserId) -> int:
        return await self._node.moderation.remove(self.actor, session_id, user_id, "rude")

    async def _end_session(self, session_id: SessionId) -> int:
        return await self._node.moderation.end_session(self.actor, session_id)

    async def _set_recording(self, session_id: SessionId, enabled: bool) -> int:
        return await self._node.moderation.set_recording(self.actor, session_id, enabled)

    def _joined(self) -> SessionId:
        if self.session_id is None:
            raise NotInSessionError("you are not in a session; join one first")
        return self.session_id

    def _depart(self, reason: DisconnectReason) -> None:
        if not self.is_gone:
            self.is_gone = True
            self.seat = None
            self._node.dismissed(self)
            self._node.spawn(self._clean_up(self._close_reason or reason), f"departure {self._connection_id}")

    async def _clean_up(self, reason: DisconnectReason) -> None:
        # A command may be under way on this connection; only after it is it known what there is to undo.
        async with self._order:
            self._node.watching.end(self)
            if self.session_id is not None:
                self._node.participation.disconnect(self.user_id, self, self.session_id, reason)


class SimulatedFanout:
    """The `Publisher` of simulated connections."""

    def publish(self, subscribers: Iterable[Subscriber], events: Sequence[SealedEvent]) -> None:
        """Send `events`, in order, to each of `subscribers`."""
        for subscriber in subscribers:
            assert isinstance(subscriber, ServerConnection)
            for sealed in events:
                subscriber.tell(sealed)

    def announce(self, subscribers: Iterable[Subscriber], name: str, payload: Mapping[str, Any]) -> None:
        """Send each of `subscribers` a transient message."""
        for subscriber in subscribers:
            subscriber.notify(name, payload)
