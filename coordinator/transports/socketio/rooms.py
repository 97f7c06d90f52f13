"""The namespace `/rooms`: participants join, switch media, consent, signal, catch up, leave (SPEC section 3)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import socketio

from coordinator.domain.errors import (
    CoordinatorError,
    InvalidRequestError,
    NotInSessionError,
    PayloadTooLargeError,
    RateLimitedError,
    UnavailableError,
)
from coordinator.domain.events import DisconnectReason, Role
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.ledger import wire_time
from coordinator.ports.clock import Clock
from coordinator.protocol import messages
from coordinator.protocol.codec import decode, encode, participant_to_wire, refusal, to_wire
from coordinator.services.participation import Participation, View
from coordinator.telemetry import get_logger
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.handshake import Connections
from coordinator.transports.socketio.limits import SocketLimits

NAMESPACE = "/rooms"

_Reply = dict[str, Any]
_Handler = Callable[["RoomsNamespace", Connection, Any], Awaitable["_Reply | asyncio.Future[int]"]]

_log = get_logger("rooms.socketio")


class RoomsNamespace(socketio.AsyncNamespace):  # type: ignore[misc]
    """Participants' connections.

    Args:
        connections: All connections of this node.
        participation: What they may ask.
        clock: Time, for rates.
        limits: Limits of a connection.
        spawn: Runs a coroutine in the background under a name.
    """

    def __init__(
        self,
        connections: Connections,
        participation: Participation,
        clock: Clock,
        limits: SocketLimits,
        spawn: Callable[[Any, str], Any],
    ) -> None:
        super().__init__(NAMESPACE)
        self._connections = connections
        self._participation = participation
        self._clock = clock
        self._limits = limits
        self._spawn = spawn

    async def trigger_event(self, event: str, *args: Any) -> None:
        """Take connections and disconnections; everything else comes through `handle`."""
        if event == "connect":
            sid, _environ, auth = args
            self._connections.admit(NAMESPACE, frozenset({Role.PARTICIPANT}), sid, auth)
        elif event == "disconnect":
            sid, reason = args
            connection = self._connections.dismiss(NAMESPACE, sid)
            if connection is not None:
                why = connection.close_reason or _disconnect_reason(reason)
                self._spawn(self._depart(connection, why), f"departure {connection.connection_id}")

    async def handle(self, sid: str, name: str, arguments: list[Any]) -> _Reply:
        """Answer one event; the one wrapper around all handlers. Never raises but for cancellation."""
        connection = self._connections.get(NAMESPACE, sid)
        if connection is None or connection.is_closed:
            return refusal(NotInSessionError("this connection is closed"))
        try:
            self._check_rate(connection, name)
            kind, handler = _handler_of(name)
            message = decode(_single(arguments), kind)
            async with connection.order:
                _check_open(connection)
                answer = await handler(self, connection, message)
            # A command has its place in the order now; waiting for the database must not hold up the next one.
            return answer if isinstance(answer, dict) else {"ok": True, "seq": await answer}
        except CoordinatorError as error:
            return refusal(error)
        except Exception:  # noqa: BLE001 - a defect must not leave a client without an answer
            _log.exception("handler_failed", name=name, user=connection.user_id)
            return refusal(UnavailableError("the server failed to handle this; try again"))

    def send(self, sid: str, packet: Any) -> None:
        """Send a frame, in order with everything else that goes to the connection."""
        connection = self._connections.get(NAMESPACE, sid)
        if connection is not None:
            connection.send(packet)

    def _check_rate(self, connection: Connection, name: str) -> None:
        bucket = connection.signals if name == "signal" else connection.commands
        if not bucket.take(self._clock.monotonic()):
            raise RateLimitedError("too many messages; slow down")

    async def _depart(self, connection: Connection, reason: DisconnectReason) -> None:
        # A join may be under way on this connection; only after it is there something to undo.
        async with connection.order:
            if connection.session_id is not None:
                self._participation.disconnect(connection.user_id, connection, connection.session_id, reason)

    async def _join(self, connection: Connection, message: messages.Join) -> _Reply:
        session_id = SessionId(message.session_id)
        previous = connection.session_id
        if previous is not None and previous != session_id and self._participation.is_seated(connection, previous):
            raise InvalidRequestError(
                f"sessionId: this connection is in session {previous}; leave it first", field="sessionId"
            )
        if previous is not None and previous != session_id:
            self._participation.stop_listening(connection, previous)
        # Set before the attempt: if its outcome stays unknown, the departure of this connection must clean up after it.
        connection.session_id = session_id
        view = await self._participation.join(connection.actor, connection, session_id, message.after)
        return _view_to_wire(view)

    async def _leave(self, connection: Connection, _message: messages.Leave) -> _Reply:
        session_id = _joined(connection)
        seq = await self._participation.leave(connection.actor, connection, session_id)
        return {"ok": True, "seq": seq}

    async def _set_media(self, connection: Connection, message: messages.SetMedia) -> asyncio.Future[int]:
        if message.camera_enabled is None and message.mic_enabled is None:
            raise InvalidRequestError("cameraEnabled or micEnabled must be given", field="cameraEnabled")
        return self._participation.set_media(
            connection.actor, connection, _joined(connection), message.camera_enabled, message.mic_enabled
        )

    async def _set_consent(self, connection: Connection, message: messages.SetRecordingConsent) -> asyncio.Future[int]:
        return self._participation.set_consent(
            connection.actor, connection, _joined(connection), message.granted, message.policy_version
        )

    async def _signal(self, connection: Connection, message: messages.Signal) -> _Reply:
        size = len(encode({"data": message.data}))
        if size > self._limits.signal_bytes:
            raise PayloadTooLargeError(f"data: a signal may have {self._limits.signal_bytes} bytes", field="data")
        self._participation.signal(connection.actor, connection, _joined(connection), UserId(message.to), message.data)
        return {"ok": True}

    async def _sync(self, connection: Connection, message: messages.Sync) -> _Reply:
        view = await self._participation.catch_up(connection, _joined(connection), message.after)
        return _view_to_wire(view)


_HANDLERS: dict[str, tuple[type[messages.Message], _Handler]] = {
    "join": (messages.Join, RoomsNamespace._join),  # noqa: SLF001
    "leave": (messages.Leave, RoomsNamespace._leave),  # noqa: SLF001
    "set_media": (messages.SetMedia, RoomsNamespace._set_media),  # noqa: SLF001
    "set_recording_consent": (messages.SetRecordingConsent, RoomsNamespace._set_consent),  # noqa: SLF001
    "signal": (messages.Signal, RoomsNamespace._signal),  # noqa: SLF001
    "sync": (messages.Sync, RoomsNamespace._sync),  # noqa: SLF001
}


def _handler_of(name: str) -> tuple[type[messages.Message], _Handler]:
    found = _HANDLERS.get(name)
    if found is None:
        raise InvalidRequestError(f"unknown event {name[:40]!r}; known are {', '.join(_HANDLERS)}")
    return found


def _single(arguments: list[Any]) -> Any:
    if len(arguments) > 1:
        raise InvalidRequestError("an event carries one object, not several arguments")
    return arguments[0] if arguments else {}


def _check_open(connection: Connection) -> None:
    # It may have been replaced or removed while a message of it waited its turn: a join now would take the seat back.
    if connection.is_closed:
        raise NotInSessionError("this connection is closed")


def _joined(connection: Connection) -> SessionId:
    if connection.session_id is None:
        raise NotInSessionError("you are not in a session; join one first")
    return connection.session_id


def _view_to_wire(view: View) -> _Reply:
    reply: _Reply = {
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


def _disconnect_reason(reason: str) -> DisconnectReason:
    return DisconnectReason.PING_TIMEOUT if reason == "ping timeout" else DisconnectReason.CONNECTION_CLOSED
