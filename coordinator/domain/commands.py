"""What can be asked of a session, in the imperative. Facts that need I/O arrive inside the command.

Every command is idempotent: asking again for what already is changes nothing (SPEC section 3, acks).
"""

from datetime import datetime
from typing import TypeAlias

import msgspec

from coordinator.domain.events import SYSTEM, Actor, DisconnectReason
from coordinator.domain.ids import ConnectionId, SlotId, UserId
from coordinator.domain.model import Language, Level


class _Command(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    actor: Actor


class OpenSession(_Command, frozen=True, kw_only=True):
    """Open the lobby of a slot's session, under the rules given here."""

    time_slot_id: SlotId
    target_language_code: Language
    level: Level
    scheduled_start: datetime
    scheduled_end: datetime
    no_show_at: datetime
    min_participants: int
    max_participants: int
    empty_timeout_seconds: float
    reconnect_grace_seconds: float
    actor: Actor = SYSTEM


class JoinSession(_Command, frozen=True, kw_only=True):
    """Take a seat, or come back to it, on `connection_id`. The actor is the user who joins.

    `registered` tells whether the user may take a seat that it does not hold yet: registered for the slot, or no
    registration required.
    """

    connection_id: ConnectionId
    registered: bool


class LeaveSession(_Command, frozen=True, kw_only=True):
    """Give the actor's seat back, if it is held through `connection_id`."""

    connection_id: ConnectionId


class DisconnectParticipant(_Command, frozen=True, kw_only=True):
    """Note that `connection_id` is gone. A connection that no longer holds the seat changes nothing."""

    user_id: UserId
    connection_id: ConnectionId
    reason: DisconnectReason
    actor: Actor = SYSTEM


class ReconnectParticipant(_Command, frozen=True, kw_only=True):
    """Note that `connection_id`, through which the actor's seat was held, is not gone after all.

    A seat that is free by now, or held through another connection, stays as it is.
    """

    connection_id: ConnectionId


class SetMedia(_Command, frozen=True, kw_only=True):
    """Switch the actor's camera or microphone; None leaves it as it is."""

    connection_id: ConnectionId
    camera_enabled: bool | None = None
    mic_enabled: bool | None = None


class SetRecordingConsent(_Command, frozen=True, kw_only=True):
    """Grant or revoke the actor's consent to be recorded."""

    connection_id: ConnectionId
    granted: bool
    policy_version: str | None = None


class AdvanceTime(_Command, frozen=True, kw_only=True):
    """Do what has fallen due."""

    actor: Actor = SYSTEM


class EndSession(_Command, frozen=True, kw_only=True):
    """End the session now (moderator)."""


class MuteParticipant(_Command, frozen=True, kw_only=True):
    """Switch a user's microphone off (moderator); there is no way to switch it on."""

    user_id: UserId


class RemoveParticipant(_Command, frozen=True, kw_only=True):
    """Remove a user for the rest of the session (moderator)."""

    user_id: UserId
    message: str | None = None


class SetRecording(_Command, frozen=True, kw_only=True):
    """Switch recording of the session on or off (moderator)."""

    enabled: bool


class AttachRecording(_Command, frozen=True, kw_only=True):
    """Attach a recording of a user that began at `start_time` (recorder)."""

    user_id: UserId
    url: str
    start_time: datetime


class EraseUser(_Command, frozen=True, kw_only=True):
    """Let a pseudonym stand for a user from now on, in a session that is over."""

    user_id: UserId
    actor: Actor = SYSTEM


Command: TypeAlias = (
    OpenSession
    | JoinSession
    | LeaveSession
    | DisconnectParticipant
    | ReconnectParticipant
    | SetMedia
    | SetRecordingConsent
    | AdvanceTime
    | EndSession
    | MuteParticipant
    | RemoveParticipant
    | SetRecording
    | AttachRecording
    | EraseUser
)
"""Anything that can be asked of a session."""
