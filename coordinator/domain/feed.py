"""Which events the recording service's feed carries (SPEC section 3, `/recording`)."""

from coordinator.domain.events import (
    EventBody,
    ParticipantDisconnected,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantReconnected,
    RecordingAttached,
    RecordingConsentGranted,
    RecordingConsentRevoked,
    RecordingDisabled,
    RecordingEnabled,
    RecordingPermitted,
    RecordingWithdrawn,
    SessionEnded,
    SessionStarted,
    UserErased,
)

_FED: tuple[type[EventBody], ...] = (
    SessionStarted,
    SessionEnded,
    ParticipantJoined,
    ParticipantDisconnected,
    ParticipantReconnected,
    ParticipantLeft,
    RecordingConsentGranted,
    RecordingConsentRevoked,
    RecordingEnabled,
    RecordingDisabled,
    RecordingPermitted,
    RecordingWithdrawn,
    RecordingAttached,
    UserErased,
)

FEED_EVENTS: frozenset[str] = frozenset(body.kind for body in _FED)
"""The kinds of events in the feed. Cameras and microphones are no business of a recorder's; the lobby is none yet."""
