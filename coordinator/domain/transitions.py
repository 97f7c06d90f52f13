"""The transition tables: which event may follow which state, and where it leads. All of them stand here.

The diagram in ``coordinator/README.md`` is drawn from these tables. An event that a table does not allow raises
`IllegalTransitionError` and changes nothing: the decider never says one, so meeting one means a damaged journal.
"""

from enum import StrEnum

from coordinator.domain.events import (
    CameraChanged,
    EventBody,
    LeftReason,
    MicChanged,
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
    SessionOpened,
    SessionStarted,
    UserErased,
)
from coordinator.domain.model import SessionStatus


class IllegalTransitionError(Exception):
    """An event that cannot have happened in this state."""


class Presence(StrEnum):
    """Where a user stands in a session; finer than the stored status, which shows the last three as disconnected."""

    ABSENT = "absent"
    PRESENT = "present"
    AWAY = "away"
    GONE = "gone"
    REMOVED = "removed"


_WAITING, _ACTIVE, _ENDED = SessionStatus.WAITING, SessionStatus.ACTIVE, SessionStatus.ENDED
_OPEN = (_WAITING, _ACTIVE)

_STATUS_KEEPING: dict[type[EventBody], tuple[SessionStatus, ...]] = {
    ParticipantJoined: _OPEN,
    ParticipantDisconnected: _OPEN,
    ParticipantReconnected: _OPEN,
    ParticipantLeft: (_WAITING, _ACTIVE, _ENDED),
    CameraChanged: _OPEN,
    MicChanged: _OPEN,
    RecordingConsentGranted: _OPEN,
    RecordingConsentRevoked: _OPEN,
    RecordingEnabled: _OPEN,
    RecordingDisabled: _OPEN,
    RecordingPermitted: (_ACTIVE,),
    RecordingWithdrawn: (_ACTIVE, _ENDED),
    RecordingAttached: (_ACTIVE, _ENDED),
    UserErased: (_ENDED,),
}

SESSION_TRANSITIONS: dict[tuple[SessionStatus | None, type[EventBody]], SessionStatus] = {
    (None, SessionOpened): _WAITING,
    (_WAITING, SessionStarted): _ACTIVE,
    (_WAITING, SessionEnded): _ENDED,
    (_ACTIVE, SessionEnded): _ENDED,
    **{(status, body): status for body, statuses in _STATUS_KEEPING.items() for status in statuses},
}
"""(status, event) -> next status. None is a session that has not been opened. Whatever is not here cannot happen."""

_PRESENT, _AWAY, _GONE = Presence.PRESENT, Presence.AWAY, Presence.GONE
REMOVAL = f"{ParticipantLeft.kind}:{LeftReason.REMOVED}"
"""The participant table's word for `participant_left` with reason `removed`, which leads elsewhere than the others."""

PARTICIPANT_TRANSITIONS: dict[tuple[Presence, str], Presence] = {
    (Presence.ABSENT, ParticipantJoined.kind): _PRESENT,
    (_GONE, ParticipantJoined.kind): _PRESENT,
    (_PRESENT, ParticipantDisconnected.kind): _AWAY,
    (_AWAY, ParticipantReconnected.kind): _PRESENT,
    (_PRESENT, ParticipantReconnected.kind): _PRESENT,
    (_PRESENT, ParticipantLeft.kind): _GONE,
    (_AWAY, ParticipantLeft.kind): _GONE,
    (_PRESENT, REMOVAL): Presence.REMOVED,
    (_AWAY, REMOVAL): Presence.REMOVED,
    (_GONE, REMOVAL): Presence.REMOVED,
    **{
        (presence, kind): presence
        for presence, kinds in {
            _PRESENT: (
                CameraChanged.kind,
                MicChanged.kind,
                RecordingConsentGranted.kind,
                RecordingConsentRevoked.kind,
                RecordingPermitted.kind,
                RecordingWithdrawn.kind,
                RecordingAttached.kind,
                UserErased.kind,
            ),
            _AWAY: (MicChanged.kind, RecordingWithdrawn.kind, RecordingAttached.kind, UserErased.kind),
            _GONE: (RecordingWithdrawn.kind, RecordingAttached.kind, UserErased.kind),
            Presence.REMOVED: (RecordingWithdrawn.kind, RecordingAttached.kind, UserErased.kind),
        }.items()
        for kind in kinds
    },
}
"""(presence, event) -> next presence. `mic_changed` reaches an absent user only as a moderator's mute."""

# The same tables by event first: a look-up is made for every event, and must not have to make a key for it.
_STATUS_AFTER = {
    body: {before: after for (before, kind), after in SESSION_TRANSITIONS.items() if kind is body}
    for _, body in SESSION_TRANSITIONS
}
_PRESENCE_AFTER = {
    word: {before: after for (before, kind), after in PARTICIPANT_TRANSITIONS.items() if kind == word}
    for _, word in PARTICIPANT_TRANSITIONS
}


def next_status(status: SessionStatus | None, body: EventBody) -> SessionStatus:
    """Return the session's status after `body`.

    Raises:
        IllegalTransitionError: The table has no such cell.
    """
    try:
        return _STATUS_AFTER[type(body)][status]
    except KeyError:
        raise IllegalTransitionError(f"{body.kind} cannot happen to a session that is {status or 'unopened'}") from None


def next_presence(presence: Presence, body: EventBody) -> Presence:
    """Return a participant's presence after `body`, which concerns it.

    Raises:
        IllegalTransitionError: The table has no such cell.
    """
    word = REMOVAL if type(body) is ParticipantLeft and body.reason is LeftReason.REMOVED else body.kind
    try:
        return _PRESENCE_AFTER[word][presence]
    except KeyError:
        raise IllegalTransitionError(f"{word} cannot happen to a participant who is {presence}") from None


def session_diagram() -> str:
    """Draw the session table as a Mermaid state diagram (events that keep the status are left out)."""
    lines = ["stateDiagram-v2"]
    for (status, body), target in SESSION_TRANSITIONS.items():
        if status is not target:
            lines.append(f"    {status or '[*]'} --> {target}: {body.kind}")
    lines.append(f"    {SessionStatus.ENDED} --> [*]")
    return "\n".join(lines)


def participant_diagram() -> str:
    """Draw the participant table as a Mermaid state diagram (events that keep the presence are left out)."""
    lines = ["stateDiagram-v2", "    [*] --> absent"]
    for (presence, word), target in PARTICIPANT_TRANSITIONS.items():
        if presence is not target or word == ParticipantReconnected.kind:
            lines.append(f"    {presence} --> {target}: {word.replace(':', ' ')}")
    lines.append(f"    {Presence.REMOVED} --> [*]")
    return "\n".join(lines)
