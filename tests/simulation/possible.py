"""Whether the real domain could have said a history: each event is what some command, or time, brings there.

The other side of a referee's judgement: where this says no, a referee must object, and where it says yes, it must not.
"""

from itertools import groupby

from coordinator.domain.commands import (
    AdvanceTime,
    AttachRecording,
    Command,
    DisconnectParticipant,
    EndSession,
    EraseUser,
    JoinSession,
    LeaveSession,
    MuteParticipant,
    OpenSession,
    RemoveParticipant,
    SetMedia,
    SetRecording,
    SetRecordingConsent,
)
from coordinator.domain.decide import decide
from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import (
    CameraChanged,
    Event,
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
    Role,
    SessionEnded,
    SessionOpened,
    UserErased,
)
from coordinator.domain.evolve import fold
from coordinator.domain.ids import ConnectionId, UserId
from coordinator.domain.model import EndReason
from coordinator.domain.state import SessionState
from tests.domain.story import SESSION, salt

_NOWHERE = ConnectionId("nowhere-0")


def is_possible(history: list[list[Event]]) -> bool:
    """Tell whether the domain, given what is overdue first, can say this, commands coming from those who may give them.

    Neither salts are compared nor the order of what follows for several users from one cause.
    """
    state: SessionState | None = None
    owners: dict[ConnectionId, UserId] = {}
    for commit in history:
        rest = commit
        while rest:
            if (state is not None and rest[0].at < state.updated_at) or not _is_permitted(rest[0], owners):
                return False
            said = _said(state, rest[0])
            if not said or _shape(said) != _shape(rest[: len(said)]):
                return False
            state = fold(rest[: len(said)], state)
            rest = rest[len(said) :]
    return True


def _is_permitted(event: Event, owners: dict[ConnectionId, UserId]) -> bool:
    """Tell whether the cause of an event may ask for it: what the domain leaves to those who call it."""
    match event.body:
        case (
            ParticipantJoined(user_id=user, connection_id=connection)
            | ParticipantReconnected(user_id=user, connection_id=connection)
        ):
            return owners.setdefault(connection, user) == user
        case ParticipantLeft(reason=LeftReason.REMOVED) | RecordingEnabled() | RecordingDisabled():
            return event.actor.role is Role.MODERATOR
        case SessionEnded(reason=EndReason.ENDED_BY_MODERATOR):
            return event.actor.role in (Role.MODERATOR, Role.SYSTEM)
        case RecordingAttached():
            return event.actor.role is Role.RECORDER
        case _:
            return True


def _shape(events: list[Event]) -> list[list[tuple[object, ...]]]:
    """Return what was said, each time the same for several users as one piece without an order."""
    runs = groupby(events, key=lambda event: (type(event.body), getattr(event.body, "reason", event.seq)))
    return [
        sorted((repr(event.body), event.at, event.actor.user_id, str(event.actor.role)) for event in run)
        for _, run in runs
    ]


def _said(state: SessionState | None, event: Event) -> list[Event] | None:
    """Return what is said when time comes to that of `event`, or if nothing is, by the command that could say it."""
    if state is not None:
        overdue = decide(SESSION, state, AdvanceTime(), event.at, salt(0))
        if overdue.events:
            return overdue.events
    command = _command(state, event)
    if command is None:
        return None
    try:
        return decide(SESSION, state, command, event.at, salt(0)).events
    except CoordinatorError:
        return None


def _connection(state: SessionState | None, user: UserId) -> ConnectionId:
    participant = None if state is None else state.participants.get(user)
    return _NOWHERE if participant is None else participant.connection_id


def _command(state: SessionState | None, event: Event) -> Command | None:  # noqa: C901 - a table
    """Return the command that could say an event; None where only time, or a cause, could."""
    actor = event.actor
    match event.body:
        case SessionOpened() as body:
            return OpenSession(**{name: getattr(body, name) for name in body.__struct_fields__}, actor=actor)
        case SessionEnded(reason=EndReason.ENDED_BY_MODERATOR):
            return EndSession(actor=actor)
        case ParticipantJoined(connection_id=connection) | ParticipantReconnected(connection_id=connection):
            return JoinSession(actor=actor, connection_id=connection, registered=True)
        case ParticipantDisconnected(user_id=user, reason=reason):
            return DisconnectParticipant(
                user_id=user, connection_id=_connection(state, user), reason=reason, actor=actor
            )
        case ParticipantLeft(user_id=user, reason=LeftReason.LEFT):
            return LeaveSession(actor=actor, connection_id=_connection(state, user))
        case ParticipantLeft(user_id=user, reason=LeftReason.REMOVED, message=message):
            return RemoveParticipant(actor=actor, user_id=user, message=message)
        case CameraChanged(user_id=user, camera_enabled=on):
            return SetMedia(actor=actor, connection_id=_connection(state, user), camera_enabled=on)
        case MicChanged(user_id=user, mic_enabled=on):
            if actor.role is Role.MODERATOR:
                return MuteParticipant(actor=actor, user_id=user)
            return SetMedia(actor=actor, connection_id=_connection(state, user), mic_enabled=on)
        case RecordingConsentGranted(user_id=user, policy_version=policy):
            connection = _connection(state, user)
            return SetRecordingConsent(actor=actor, connection_id=connection, granted=True, policy_version=policy)
        case RecordingConsentRevoked(user_id=user, policy_version=policy):
            connection = _connection(state, user)
            return SetRecordingConsent(actor=actor, connection_id=connection, granted=False, policy_version=policy)
        case RecordingEnabled() | RecordingDisabled() as body:
            return SetRecording(actor=actor, enabled=isinstance(body, RecordingEnabled))
        case RecordingAttached(user_id=user, url=url, start_time=start):
            return AttachRecording(actor=actor, user_id=user, url=url, start_time=start)
        case UserErased(user_id=user):
            return EraseUser(user_id=user, actor=actor)
        case _:
            return None
