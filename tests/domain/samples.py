"""One event of each kind, about one user, for tests that go through all of them."""

from datetime import timedelta

from coordinator.domain.events import (
    CameraChanged,
    DisconnectReason,
    EventBody,
    LeftReason,
    MicChanged,
    ParticipantDisconnected,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantReconnected,
    PermissionReason,
    RecordingAttached,
    RecordingConsentGranted,
    RecordingConsentRevoked,
    RecordingDisabled,
    RecordingEnabled,
    RecordingPermitted,
    RecordingWithdrawn,
    SessionEnded,
    SessionOpened,
    SessionStarted,
    UserErased,
)
from coordinator.domain.ids import UserId
from coordinator.domain.model import EndReason
from coordinator.domain.transitions import REMOVAL
from tests.domain.story import OPEN, START, URL, laptop, phone


def opened() -> SessionOpened:
    return SessionOpened(
        time_slot_id=OPEN.time_slot_id,
        target_language_code=OPEN.target_language_code,
        level=OPEN.level,
        scheduled_start=OPEN.scheduled_start,
        scheduled_end=OPEN.scheduled_end,
        no_show_at=OPEN.no_show_at,
        min_participants=OPEN.min_participants,
        max_participants=OPEN.max_participants,
        empty_timeout_seconds=OPEN.empty_timeout_seconds,
        reconnect_grace_seconds=OPEN.reconnect_grace_seconds,
    )


def joined(who: UserId, *, consenting: bool = False) -> ParticipantJoined:
    return ParticipantJoined(
        user_id=who, connection_id=laptop(who), camera_enabled=False, mic_enabled=False, recording_consent=consenting
    )


def session_words() -> dict[str, EventBody]:
    """The events that concern no single user, by kind."""
    bodies = [opened(), SessionStarted(), SessionEnded(reason=EndReason.COMPLETED), RecordingEnabled()]
    return {body.kind: body for body in (*bodies, RecordingDisabled())}


def participant_words(who: UserId) -> dict[str, EventBody]:
    """The events that concern `who`, by the participant table's words."""
    bodies: list[EventBody] = [
        joined(who),
        ParticipantDisconnected(
            user_id=who, reason=DisconnectReason.PING_TIMEOUT, reconnect_by=START + timedelta(seconds=30)
        ),
        ParticipantReconnected(user_id=who, connection_id=phone(who)),
        ParticipantLeft(user_id=who, reason=LeftReason.LEFT),
        CameraChanged(user_id=who, camera_enabled=True),
        MicChanged(user_id=who, mic_enabled=True),
        RecordingConsentGranted(user_id=who, policy_version="2030-01"),
        RecordingConsentRevoked(user_id=who),
        RecordingPermitted(user_id=who, reason=PermissionReason.CONSENT_GRANTED),
        RecordingWithdrawn(user_id=who, reason=PermissionReason.CONSENT_REVOKED),
        RecordingAttached(user_id=who, url=URL, start_time=START),
        UserErased(user_id=who),
    ]
    words = {body.kind: body for body in bodies}
    return {**words, REMOVAL: ParticipantLeft(user_id=who, reason=LeftReason.REMOVED, message="be kind")}
