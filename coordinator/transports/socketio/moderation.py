"""The namespace `/moderation`: moderators watch sessions and steer them (SPEC section 3)."""

from typing import Any

from coordinator.domain.errors import InvalidRequestError
from coordinator.domain.events import DisconnectReason, Role
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.ledger import wire_time
from coordinator.protocol import messages
from coordinator.services.moderation import Moderation
from coordinator.services.overview import Overview
from coordinator.services.watching import Watching
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.namespace import (
    Answer,
    Handler,
    Namespace,
    Outcome,
    Reply,
    Surroundings,
    seq_reply,
    view_reply,
)

NAMESPACE = "/moderation"
ROLES = frozenset({Role.MODERATOR, Role.ADMIN})


class ModerationNamespace(Namespace):
    """Moderators' connections. None of them is ever part of a session.

    Args:
        surroundings: What every namespace works with.
        moderation: What they may change.
        watching: How they watch single sessions.
        overview: How they watch all.
    """

    def __init__(
        self, surroundings: Surroundings, moderation: Moderation, watching: Watching, overview: Overview
    ) -> None:
        handlers: dict[str, Handler[Any]] = {
            "watch": Handler(messages.Watch, self._watch),
            "unwatch": Handler(messages.Unwatch, self._unwatch),
            "mute": Handler(messages.Mute, self._mute),
            "remove": Handler(messages.Remove, self._remove),
            "end_session": Handler(messages.EndSession, self._end_session),
            "set_recording": Handler(messages.SetRecording, self._set_recording),
        }
        super().__init__(NAMESPACE, ROLES, surroundings, handlers)
        self._moderation = moderation
        self._watching = watching
        self._overview = overview

    def departed(self, connection: Connection, _reason: DisconnectReason) -> None:
        """End all watches of the connection."""
        self._watching.end(connection)
        self._overview.unwatch(connection)

    async def _watch(self, connection: Connection, message: messages.Watch) -> Outcome:
        session_id = _one_or_all(message)
        if session_id is not None:
            return view_reply(await self._watching.watch(connection, session_id, message.after))
        if message.after is not None:
            raise InvalidRequestError("after: belongs to one session, not to all", field="after")
        seen = await self._overview.watch(connection)
        reply = {"ok": True, "serverTime": wire_time(seen.server_time), "sessions": seen.summaries}
        return Answer(reply, lambda: self._overview.send_others(connection, seen.others))

    async def _unwatch(self, connection: Connection, message: messages.Unwatch) -> Reply:
        session_id = _one_or_all(message)
        if session_id is None:
            self._overview.unwatch(connection)
        else:
            self._watching.unwatch(connection, session_id)
        return {"ok": True}

    # The following take effect in the order in which they were sent, so each waits for the one before.

    async def _mute(self, connection: Connection, message: messages.Mute) -> Reply:
        session_id, user_id = SessionId(message.session_id), UserId(message.user_id)
        return await seq_reply(self._moderation.mute(connection.actor, session_id, user_id))

    async def _remove(self, connection: Connection, message: messages.Remove) -> Reply:
        session_id, user_id = SessionId(message.session_id), UserId(message.user_id)
        return await seq_reply(self._moderation.remove(connection.actor, session_id, user_id, message.reason))

    async def _end_session(self, connection: Connection, message: messages.EndSession) -> Reply:
        return await seq_reply(self._moderation.end_session(connection.actor, SessionId(message.session_id)))

    async def _set_recording(self, connection: Connection, message: messages.SetRecording) -> Reply:
        session_id = SessionId(message.session_id)
        return await seq_reply(self._moderation.set_recording(connection.actor, session_id, message.enabled))


def _one_or_all(message: messages.Watch | messages.Unwatch) -> SessionId | None:
    """Return the session that is meant; None for all."""
    if message.everything is False:
        raise InvalidRequestError("all: must be true, or left out", field="all")
    if message.session_id is not None and message.everything is not None:
        raise InvalidRequestError("all: must be left out where sessionId is given", field="all")
    if message.session_id is None and message.everything is None:
        raise InvalidRequestError("sessionId: must be given, or all: true", field="sessionId")
    return None if message.session_id is None else SessionId(message.session_id)
