"""What all namespaces share: connecting, the one wrapper around every handler, departure (SPEC section 3).

Owns rates, reading, order and refusals. What a message does stands in the namespaces themselves.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
import socketio

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
from coordinator.protocol.codec import decode, participant_to_wire, refusal, to_wire
from coordinator.protocol.messages import Message
from coordinator.protocol.reading import Request, read_object
from coordinator.services.catching_up import View
from coordinator.telemetry import get_logger
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.handshake import Connections
from coordinator.transports.socketio.limits import Pace
from coordinator.transports.socketio.server import Answer

Reply: TypeAlias = dict[str, Any]
Outcome: TypeAlias = Reply | Answer | Awaitable[Reply]
"""What a handler returns. What it leaves to be awaited no longer holds up the connection's next message."""

M = TypeVar("M", bound=Message | Request)
_AnyMessage: TypeAlias = type[Message] | type[Request]

_log = get_logger("namespace")


class Handler(NamedTuple, Generic[M]):
    """What to do with one event.

    Attributes:
        kind: What it carries.
        handle: Takes the message. Runs when all earlier messages of the connection have been taken.
        pace: Which of the connection's limits counts it.
    """

    kind: type[M]
    handle: Callable[[Connection, M], Awaitable[Outcome]]
    pace: Pace = Pace.COMMANDS


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


class Namespace(socketio.AsyncNamespace):  # type: ignore[misc]
    """Connections of one kind of client.

    Args:
        name: Its path.
        roles: Who may connect.
        surroundings: What every namespace works with.
        handlers: What it does, by event.
    """

    def __init__(
        self, name: str, roles: frozenset[Role], surroundings: Surroundings, handlers: dict[str, Handler[Any]]
    ) -> None:
        super().__init__(name)
        self._name = name
        self._roles = roles
        self._connections = surroundings.connections
        self._clock = surroundings.clock
        self._spawn = surroundings.spawn
        self._handlers = handlers

    @abstractmethod
    def departed(self, connection: Connection, reason: DisconnectReason) -> None:
        """Undo what a connection that is gone has done. Nothing of it is under way any more."""

    async def trigger_event(self, event: str, *args: Any) -> None:
        """Take connections and disconnections; everything else comes through `handle`."""
        if event == "connect":
            sid, _environ, auth = args
            self._connections.admit(self._name, self._roles, sid, auth)
        elif event == "disconnect":
            sid, reason = args
            connection = self._connections.dismiss(self._name, sid)
            if connection is not None:
                why = connection.close_reason or _disconnect_reason(reason)
                self._spawn(self._depart(connection, why), f"departure {connection.connection_id}")

    async def handle(self, sid: str, name: str, arguments: list[Any]) -> Answer:
        """Answer one event; the one wrapper around all handlers. Never raises but for cancellation."""
        connection = self._connections.get(self._name, sid)
        if connection is None or connection.is_closed:
            return Answer(refusal(NotInSessionError("this connection is closed")))
        try:
            handler = self._admitted(connection, name)
            message = _read(_single(arguments), handler.kind)
            async with connection.order:
                _check_open(connection)
                outcome = await handler.handle(connection, message)
            # A message has its place in the order now; waiting for the database must not hold up the next one.
            if isinstance(outcome, Answer):
                return outcome
            return Answer(outcome if isinstance(outcome, dict) else await outcome)
        except CoordinatorError as error:
            return Answer(refusal(error))
        except Exception:  # noqa: BLE001 - a defect must not leave a client without an answer
            _log.exception("handler_failed", namespace=self._name, name=name, user=connection.user_id)
            return Answer(refusal(UnavailableError("the server failed to handle this; try again")))

    def send(self, sid: str, packet: Any) -> None:
        """Send a frame, in order with everything else that goes to the connection."""
        connection = self._connections.get(self._name, sid)
        if connection is not None:
            connection.send(packet)

    def _admitted(self, connection: Connection, name: str) -> Handler[Any]:
        """Return what handles an event, unless there are too many; unknown ones count too."""
        handler = self._handlers.get(name)
        bucket = connection.buckets[Pace.COMMANDS if handler is None else handler.pace]
        if not bucket.take(self._clock.monotonic()):
            raise RateLimitedError("too many messages; slow down")
        if handler is None:
            raise InvalidRequestError(f"unknown event {name[:40]!r}; known are {', '.join(self._handlers)}")
        return handler

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
            "participants": [participant_to_wire(participant) for participant in view.snapshot.participants],
        }
    return reply


def _read(payload: Any, kind: _AnyMessage) -> Message | Request:
    # What can also be sent over HTTP is read in the same way here.
    if issubclass(kind, Request) and isinstance(payload, dict):
        return read_object(payload, kind)
    return decode(payload, kind)


def _single(arguments: list[Any]) -> Any:
    if len(arguments) > 1:
        raise InvalidRequestError("an event carries one object, not several arguments")
    return arguments[0] if arguments else {}


def _check_open(connection: Connection) -> None:
    # It may have been replaced or removed while a message of it waited its turn: a join now would take the seat back.
    if connection.is_closed:
        raise NotInSessionError("this connection is closed")


def _disconnect_reason(reason: str) -> DisconnectReason:
    return DisconnectReason.PING_TIMEOUT if reason == "ping timeout" else DisconnectReason.CONNECTION_CLOSED
