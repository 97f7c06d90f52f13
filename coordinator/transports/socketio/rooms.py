"""The namespace `/rooms`: participants join, switch media, consent, signal, catch up, leave (SPEC section 3)."""

from typing import Any

from coordinator.domain.errors import InvalidRequestError, NotInSessionError, PayloadTooLargeError
from coordinator.domain.events import DisconnectReason, Role
from coordinator.domain.ids import SessionId, UserId
from coordinator.protocol import messages
from coordinator.protocol.codec import encode
from coordinator.services.participation import Participation
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.limits import Pace
from coordinator.transports.socketio.namespace import (
    Handler,
    Immediate,
    Namespace,
    Reply,
    SeqAnswer,
    Surroundings,
    seq_reply,
    view_reply,
)

NAMESPACE = "/rooms"
ROLES = frozenset({Role.PARTICIPANT})


class RoomsNamespace(Namespace):
    """Participants' connections.

    Args:
        surroundings: What every namespace works with.
        participation: What they may ask.
        signal_bytes: The largest `data` of a signal.
    """

    def __init__(self, surroundings: Surroundings, participation: Participation, signal_bytes: int) -> None:
        handlers: dict[str, Handler[Any] | Immediate[Any]] = {
            "join": Handler(messages.Join, self._join),
            "leave": Handler(messages.Leave, self._leave),
            "set_media": Immediate(messages.SetMedia, self._set_media),
            "set_recording_consent": Immediate(messages.SetRecordingConsent, self._set_consent),
            "signal": Immediate(messages.Signal, self._signal, Pace.SIGNALS),
            "sync": Handler(messages.Sync, self._sync),
        }
        super().__init__(NAMESPACE, ROLES, surroundings, handlers)
        self._participation = participation
        self._signal_bytes = signal_bytes

    def departed(self, connection: Connection, reason: DisconnectReason) -> None:
        """Show that the participant's connection is gone."""
        if connection.session_id is not None:
            self._participation.disconnect(connection.user_id, connection, connection.session_id, reason)

    async def _join(self, connection: Connection, message: messages.Join) -> Reply:
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
        return view_reply(await self._participation.join(connection.actor, connection, session_id, message.after))

    async def _leave(self, connection: Connection, _message: messages.Leave) -> Reply:
        session_id = _joined(connection)
        return await seq_reply(self._participation.leave(connection.actor, connection, session_id))

    def _set_media(self, connection: Connection, message: messages.SetMedia, answer: SeqAnswer) -> None:
        if message.camera_enabled is None and message.mic_enabled is None:
            raise InvalidRequestError("cameraEnabled or micEnabled must be given", field="cameraEnabled")
        session_id = _joined(connection)
        self._participation.set_media(
            connection.actor, connection, session_id, message.camera_enabled, message.mic_enabled, answer
        )

    def _set_consent(self, connection: Connection, message: messages.SetRecordingConsent, answer: SeqAnswer) -> None:
        session_id = _joined(connection)
        self._participation.set_consent(
            connection.actor, connection, session_id, message.granted, message.policy_version, answer
        )

    def _signal(self, connection: Connection, message: messages.Signal, answer: SeqAnswer) -> None:
        size = len(encode({"data": message.data}))
        if size > self._signal_bytes:
            raise PayloadTooLargeError(f"data: a signal may have {self._signal_bytes} bytes", field="data")
        self._participation.signal(connection.actor, connection, _joined(connection), UserId(message.to), message.data)
        answer.set_done()

    async def _sync(self, connection: Connection, message: messages.Sync) -> Reply:
        return view_reply(await self._participation.catch_up(connection, _joined(connection), message.after))


def _joined(connection: Connection) -> SessionId:
    if connection.session_id is None:
        raise NotInSessionError("you are not in a session; join one first")
    return connection.session_id
