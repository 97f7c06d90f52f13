"""What all namespaces share: the one wrapper around every handler, order, departure (SPEC section 3).

Owns rates, reading, order and refusals. What a message does stands in the namespaces themselves; how it came here, and
how the answer gets back, in the roads.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from coordinator.domain.errors import (
    CoordinatorError,
    InvalidRequestError,
    NotInSessionError,
    RateLimitedError,
    UnavailableError,
)
from coordinator.domain.events import DisconnectReason, Role
from coordinator.domain.ledger import wire_time
from coordinator.ports.clock import Clock
from coordinator.protocol.codec import encode, read_plain, reader, refusal, to_wire
from coordinator.protocol.messages import Message
from coordinator.protocol.reading import Request, read_object
from coordinator.protocol.views import participant_view
from coordinator.services.catching_up import View
from coordinator.telemetry import get_logger
from coordinator.transports.socketio.client import Client
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.handshake import Connections
from coordinator.transports.socketio.limits import Pace
from coordinator.transports.socketio.wire.packets import Event

Reply: TypeAlias = dict[str, Any]


class Answer(NamedTuple):
    """The ack of an event, and what is to happen right after it was sent: nothing comes in between; must not raise."""

    reply: Reply
    then: Callable[[], None] | None = None


Outcome: TypeAlias = Reply | Answer | Awaitable[Reply]
"""What a handler returns. What it leaves to be awaited no longer holds up the connection's next message."""

M = TypeVar("M", bound=Message | Request)

_NO_ARGUMENT = msgspec.Raw(b"{}")

_log = get_logger("namespace")


class SeqAnswer(msgspec.Struct, eq=False, gc=False):
    """Who waits for a command of a connection: its ack, sent as soon as the outcome is known."""

    connection: Connection
    packet_id: int | None

    def done(self) -> bool:
        """Tell that it always waits: what a client has asked for happens, even if it is gone by then."""
        return False

    def set_result(self, seq: int, /) -> None:
        """Acknowledge with the session's `seq`."""
        self.connection.acknowledge(self.packet_id, b'{"ok":true,"seq":%d}' % seq)

    def set_done(self) -> None:
        """Acknowledge what is not an event of the session."""
        self.connection.acknowledge(self.packet_id, b'{"ok":true}')

    def set_exception(self, refused: Exception, /) -> None:
        """Acknowledge with the refusal."""
        self.connection.acknowledge(self.packet_id, encode(_refusal(refused, self.connection)))


class Handler(NamedTuple, Generic[M]):
    """What to do with one event, for which the database, or something else, must be waited for.

    Attributes:
        kind: What it carries.
        handle: Takes the message. Runs when all earlier messages of the connection have been taken.
        pace: Which of the connection's limits counts it.
    """

    kind: type[M]
    handle: Callable[[Connection, M], Awaitable[Outcome]]
    pace: Pace = Pace.COMMANDS


class Immediate(NamedTuple, Generic[M]):
    """What to do with one event that is taken at once: no task is made for it.

    Attributes:
        kind: What it carries.
        take: Takes the message, as `Handler.handle` does; `answer` is told the outcome, now or later.
        pace: Which of the connection's limits counts it.
    """

    kind: type[M]
    take: Callable[[Connection, M, SeqAnswer], None]
    pace: Pace = Pace.COMMANDS


class _Route(NamedTuple):
    """A handler, how its messages are read, and what takes them where they can be taken at once."""

    handler: Handler[Any] | Immediate[Any]
    read: Callable[[msgspec.Raw], Message | Request]
    take: Callable[[Connection, Any, SeqAnswer], None] | None


class Surroundings(NamedTuple):
    """What every namespace works with.

    Attributes:
        connections: All connections of this node.
        clock: Time, for rates.
        spawn: Runs a coroutine in the background under a name.
    """

    connections: Connections
    clock: Clock
    spawn: Callable[[Any, str], Any]


class Namespace(ABC):
    """Connections of one kind of client.

    Args:
        name: Its path.
        roles: Who may connect.
        surroundings: What every namespace works with.
        handlers: What it does, by event.

    Attributes:
        name: Its path.
    """

    def __init__(
        self,
        name: str,
        roles: frozenset[Role],
        surroundings: Surroundings,
        handlers: Mapping[str, Handler[Any] | Immediate[Any]],
    ) -> None:
        self.name = name
        self._roles = roles
        self._connections = surroundings.connections
        self._clock = surroundings.clock
        self._spawn = surroundings.spawn
        self._routes = {
            name: _Route(handler, _reader(handler.kind), handler.take if isinstance(handler, Immediate) else None)
            for name, handler in handlers.items()
        }
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    def departed(self, connection: Connection, reason: DisconnectReason) -> None:
        """Undo what a connection that is gone has done. Nothing of it is under way any more."""

    def admit(self, client: Client, auth: Any) -> Connection:
        """Let a client connect.

        Raises:
            CoordinatorError: It may not.
        """
        return self._connections.admit(self.name, self._roles, client, auth)

    def dismiss(self, connection: Connection, reason: DisconnectReason) -> None:
        """Let a connection go that is closed; a reason of this server's own goes before `reason`."""
        self._connections.dismiss(connection)
        departure = self._depart(connection, connection.close_reason or reason)
        self._spawn(departure, f"departure {connection.connection_id}")

    def receive(self, connection: Connection, event: Event) -> None:
        """Take one event of a connection, which is answered now or later; the one wrapper around all handlers."""
        if connection.is_closed:
            return
        try:
            handler, read, take = self._admitted(connection, event.name)
            if event.arguments > 1:
                raise InvalidRequestError("an event carries one object, not several arguments")  # noqa: TRY301
            message = read(_NO_ARGUMENT if event.payload is None else event.payload)
            if take is None or connection.waiting:
                # Tasks start in the order in which they are made, and the connection keeps that order from there.
                connection.waiting += 1
                self._start(self._take_in_turn(connection, event.id, handler, message))
            else:
                take(connection, message, SeqAnswer(connection, event.id))
        except Exception as error:  # noqa: BLE001 - a defect must not leave a client without an answer
            connection.acknowledge(event.id, encode(_refusal(error, connection)))

    async def answered(self) -> None:
        """Wait until everything that was asked is answered, whether or not the client is there still."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_in_turn(
        self, connection: Connection, packet_id: int | None, handler: Handler[Any] | Immediate[Any], message: Any
    ) -> None:
        try:
            async with connection.order:
                try:
                    _check_open(connection)
                    if isinstance(handler, Immediate):
                        handler.take(connection, message, SeqAnswer(connection, packet_id))
                        return
                    outcome = await handler.handle(connection, message)
                finally:
                    connection.waiting -= 1
            # A message has its place in the order now; waiting for the database must not hold up the next one.
            answer = outcome if isinstance(outcome, Answer) else Answer(await _settled(outcome))
        except Exception as error:  # noqa: BLE001 - as above
            answer = Answer(_refusal(error, connection))
        connection.acknowledge(packet_id, encode(answer.reply))
        if answer.then is not None:
            answer.then()

    def _admitted(self, connection: Connection, name: str) -> _Route:
        """Return what handles an event, unless there are too many; unknown ones count too."""
        route = self._routes.get(name)
        pace = Pace.COMMANDS if route is None else route.handler.pace
        if not connection.may_send(pace, self._clock.monotonic()):
            raise RateLimitedError("too many messages; slow down")
        if route is None:
            raise InvalidRequestError(f"unknown event {name[:40]!r}; known are {', '.join(self._routes)}")
        return route

    async def _depart(self, connection: Connection, reason: DisconnectReason) -> None:
        # A message may be under way on this connection; only after it is it known what there is to undo.
        async with connection.order:
            self.departed(connection, reason)


async def seq_reply(seq: Awaitable[int]) -> Reply:
    """Answer with the session's `seq`, once what was asked is durable."""
    return {"ok": True, "seq": await seq}


def view_reply(view: View) -> Reply:
    """Answer with what brings a subscriber up to date."""
    reply: Reply = {
        "ok": True,
        "sessionId": view.session_id,
        "seq": view.seq,
        "serverTime": wire_time(view.server_time),
        "resumed": view.events is not None,
    }
    if view.events is not None:
        reply["events"] = [msgspec.Raw(sealed.json) for sealed in view.events]
    if view.snapshot is not None:
        reply["snapshot"] = {
            "session": to_wire(view.snapshot.session),
            "participants": [participant_view(participant) for participant in view.snapshot.participants],
        }
    return reply


async def _settled(outcome: Reply | Awaitable[Reply]) -> Reply:
    return outcome if isinstance(outcome, dict) else await outcome


def _refusal(error: Exception, connection: Connection) -> Reply:
    if isinstance(error, CoordinatorError):
        return refusal(error)
    _log.error("handler_failed", namespace=connection.namespace, user=connection.user_id, exc_info=error)
    return refusal(UnavailableError("the server failed to handle this; try again"))


def _reader(kind: type[M]) -> Callable[[msgspec.Raw], Message | Request]:
    read = reader(kind)
    if not issubclass(kind, Request):
        return read

    def read_request(text: msgspec.Raw) -> Message | Request:
        # What can also be sent over HTTP is read in the same way here.
        plain = read_plain(text)
        return read_object(plain, kind) if isinstance(plain, dict) else read(text)

    return read_request


def _check_open(connection: Connection) -> None:
    # It may have been replaced or removed while a message of it waited its turn: a join now would take the seat back.
    if connection.is_closed:
        raise NotInSessionError("this connection is closed")
