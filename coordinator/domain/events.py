"""Everything that can have happened in a session, in the past tense (SPEC section 3, persisted events).

Owns the names (`kind`, explicit strings that never follow a class rename) and the data of each event. Stored events
tolerate unknown fields, so that a newer version's journal stays readable.
"""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

import msgspec

from coordinator.domain.ids import ConnectionId, SessionId, SlotId, UserId
from coordinator.domain.model import EndReason, Language, Level, Model


class Role(StrEnum):
    """Who acts: the token's role, or the coordinator itself."""

    PARTICIPANT = "participant"
    MODERATOR = "moderator"
    RECORDER = "recorder"
    ADMIN = "admin"
    SYSTEM = "system"


class Actor(Model, frozen=True, kw_only=True, gc=False):
    """Who caused an event."""

    user_id: UserId
    role: Role


SYSTEM = Actor(user_id=UserId("system"), role=Role.SYSTEM)
"""The actor of everything that time, or a rule, causes."""


class DisconnectReason(StrEnum):
    """Why a connection is gone."""

    CONNECTION_CLOSED = "connection_closed"
    PING_TIMEOUT = "ping_timeout"
    TOO_SLOW = "too_slow"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a reason, not a secret
    SERVER_STOPPED = "server_stopped"
    CONNECTION_LOST = "connection_lost"


class LeftReason(StrEnum):
    """Why a seat became free."""

    LEFT = "left"
    TIMEOUT = "timeout"
    REMOVED = "removed"
    SESSION_ENDED = "session_ended"


class PermissionReason(StrEnum):
    """What made a user recordable, or no longer so."""

    CONSENT_GRANTED = "consent_granted"
    CONSENT_REVOKED = "consent_revoked"
    RECORDING_ENABLED = "recording_enabled"
    RECORDING_DISABLED = "recording_disabled"
    SESSION_STARTED = "session_started"
    SESSION_ENDED = "session_ended"
    JOINED = "joined"
    RECONNECTED = "reconnected"
    DISCONNECTED = "disconnected"
    LEFT = "left"
    REMOVED = "removed"


class EventBody(Model, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What happened, without when and by whom. Optional fields that are not set are not written."""

    kind: ClassVar[str]


class SessionOpened(EventBody, frozen=True, kw_only=True):
    """The lobby is open. Carries every rule of the session, so that a later change of settings cannot touch it."""

    kind = "session_opened"
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


class SessionStarted(EventBody, frozen=True, kw_only=True):
    """Enough were present at or after the scheduled start."""

    kind = "session_started"


class SessionEnded(EventBody, frozen=True, kw_only=True):
    """It is over; nothing but recordings can follow its consequences."""

    kind = "session_ended"
    reason: EndReason


class ParticipantJoined(EventBody, frozen=True, kw_only=True):
    """A user took a seat. Camera and microphone start switched off."""

    kind = "participant_joined"
    user_id: UserId
    connection_id: ConnectionId
    camera_enabled: bool
    mic_enabled: bool
    recording_consent: bool


class ParticipantDisconnected(EventBody, frozen=True, kw_only=True):
    """A present user's connection is gone; the seat is held until `reconnect_by`."""

    kind = "participant_disconnected"
    user_id: UserId
    reason: DisconnectReason
    reconnect_by: datetime


class ParticipantReconnected(EventBody, frozen=True, kw_only=True):
    """A user with a seat is there on a new connection, after a loss or in place of an older one."""

    kind = "participant_reconnected"
    user_id: UserId
    connection_id: ConnectionId


class ParticipantLeft(EventBody, frozen=True, kw_only=True):
    """A seat became free."""

    kind = "participant_left"
    user_id: UserId
    reason: LeftReason
    message: str | None = None


class CameraChanged(EventBody, frozen=True, kw_only=True):
    """A camera was switched."""

    kind = "camera_changed"
    user_id: UserId
    camera_enabled: bool


class MicChanged(EventBody, frozen=True, kw_only=True):
    """A microphone was switched."""

    kind = "mic_changed"
    user_id: UserId
    mic_enabled: bool


class RecordingConsentGranted(EventBody, frozen=True, kw_only=True):
    """A user agreed to be recorded, under a policy."""

    kind = "recording_consent_granted"
    user_id: UserId
    policy_version: str | None = None


class RecordingConsentRevoked(EventBody, frozen=True, kw_only=True):
    """A user no longer agrees to be recorded."""

    kind = "recording_consent_revoked"
    user_id: UserId
    policy_version: str | None = None


class RecordingEnabled(EventBody, frozen=True, kw_only=True):
    """Recording was switched on for the session."""

    kind = "recording_enabled"


class RecordingDisabled(EventBody, frozen=True, kw_only=True):
    """Recording was switched off for the session."""

    kind = "recording_disabled"


class RecordingPermitted(EventBody, frozen=True, kw_only=True):
    """From now on this user may be recorded."""

    kind = "recording_permitted"
    user_id: UserId
    reason: PermissionReason


class RecordingWithdrawn(EventBody, frozen=True, kw_only=True):
    """From now on this user must not be recorded."""

    kind = "recording_withdrawn"
    user_id: UserId
    reason: PermissionReason


class RecordingAttached(EventBody, frozen=True, kw_only=True):
    """A recording of a user was attached."""

    kind = "recording_attached"
    user_id: UserId
    url: str
    start_time: datetime


class UserErased(EventBody, frozen=True, kw_only=True):
    """A user was erased from a session that is over: from then on its log names a pseudonym."""

    kind = "user_erased"
    user_id: UserId


EVENT_TYPES: dict[str, type[EventBody]] = {cls.kind: cls for cls in EventBody.__subclasses__()}
"""Every event body by its kind."""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of a session's log.

    Attributes:
        session_id: The session it belongs to.
        seq: Its place in that session's order: dense, from 1.
        at: When it was decided, aware UTC in milliseconds; never earlier than its predecessor.
        actor: Who caused it.
        body: What happened.
        salt: Of the user whom this event introduces, if it introduces one (see `pseudonyms`). Stored, never shown.
    """

    session_id: SessionId
    seq: int
    at: datetime
    actor: Actor
    body: EventBody
    salt: str | None = None
