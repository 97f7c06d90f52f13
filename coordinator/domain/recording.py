"""Who may be recorded, derived: what an event changes about it (SPEC section 2, consent and recording)."""

from collections.abc import Iterable

from coordinator.domain.events import (
    EventBody,
    LeftReason,
    ParticipantDisconnected,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantReconnected,
    PermissionReason,
    RecordingConsentGranted,
    RecordingConsentRevoked,
    RecordingDisabled,
    RecordingEnabled,
    RecordingPermitted,
    RecordingWithdrawn,
    SessionEnded,
    SessionStarted,
)
from coordinator.domain.state import ParticipantState, SessionState

_REASONS: dict[type[EventBody], PermissionReason] = {
    SessionStarted: PermissionReason.SESSION_STARTED,
    SessionEnded: PermissionReason.SESSION_ENDED,
    ParticipantJoined: PermissionReason.JOINED,
    ParticipantReconnected: PermissionReason.RECONNECTED,
    ParticipantDisconnected: PermissionReason.DISCONNECTED,
    ParticipantLeft: PermissionReason.LEFT,
    RecordingConsentGranted: PermissionReason.CONSENT_GRANTED,
    RecordingConsentRevoked: PermissionReason.CONSENT_REVOKED,
    RecordingEnabled: PermissionReason.RECORDING_ENABLED,
    RecordingDisabled: PermissionReason.RECORDING_DISABLED,
}
"""The events that can change who may be recorded. All others are passed over unseen: toggling must stay cheap."""


def permission_changes(before: SessionState, after: SessionState, cause: EventBody) -> Iterable[EventBody]:
    """Return the `recording_permitted` and `recording_withdrawn` events that follow from `cause`.

    Compares the rule, applied to the state after the cause, with what the log says so far: the two cannot drift apart.
    """
    reason = _REASONS.get(type(cause))
    if reason is None or not (before.recording_enabled or after.recording_enabled):
        return []
    if isinstance(cause, ParticipantLeft) and cause.reason is LeftReason.REMOVED:
        reason = PermissionReason.REMOVED
    return [
        change
        for participant in after.participants.values()
        if (change := _change(after, participant, reason)) is not None
    ]


def _change(state: SessionState, participant: ParticipantState, reason: PermissionReason) -> EventBody | None:
    permitted = state.may_be_recorded(participant)
    if permitted is participant.is_permitted:
        return None
    if permitted:
        return RecordingPermitted(user_id=participant.user_id, reason=reason)
    return RecordingWithdrawn(user_id=participant.user_id, reason=reason)
