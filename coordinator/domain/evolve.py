"""`evolve(state, event) -> state`: what each event does. Folding a session's log with it gives its live state.

Owns the effect of events; must not decide anything. An event out of order, or one that the tables do not allow, raises.
"""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from coordinator.domain.events import (
    CameraChanged,
    Event,
    EventBody,
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
from coordinator.domain.ids import UserId
from coordinator.domain.model import Recording, SessionStatus
from coordinator.domain.pseudonyms import alias_of, is_pseudonym
from coordinator.domain.state import Interval, ParticipantState, SessionState
from coordinator.domain.transitions import IllegalTransitionError, Presence, next_presence, next_status


def evolve(state: SessionState | None, event: Event) -> SessionState:
    """Return the state after `event`; `state` is None before the first.

    Raises:
        IllegalTransitionError: The event does not follow: a gap in `seq`, or a cell that the tables do not have.
    """
    body = event.body
    expected = 1 if state is None else state.seq + 1
    if event.seq != expected:
        raise IllegalTransitionError(f"event {event.seq} does not follow; expected {expected}")
    if state is None:
        next_status(None, body)
        return _opened(event, body)
    status = next_status(state.status, body)
    return _EFFECTS[type(body)](state, event, body, status)


def fold(events: Iterable[Event], state: SessionState | None = None) -> SessionState | None:
    """Apply `events` in order, from `state` on (None: from the beginning)."""
    for event in events:
        state = evolve(state, event)
    return state


def _opened(event: Event, body: EventBody) -> SessionState:
    assert isinstance(body, SessionOpened)  # the table has no other event for an unopened session
    return SessionState(
        session_id=event.session_id,
        time_slot_id=body.time_slot_id,
        target_language_code=body.target_language_code,
        level=body.level,
        status=SessionStatus.WAITING,
        scheduled_start=body.scheduled_start,
        scheduled_end=body.scheduled_end,
        no_show_at=body.no_show_at,
        min_participants=body.min_participants,
        max_participants=body.max_participants,
        empty_timeout_seconds=body.empty_timeout_seconds,
        reconnect_grace_seconds=body.reconnect_grace_seconds,
        created_at=event.at,
        updated_at=event.at,
        seq=event.seq,
    )


def _session_wide(state: SessionState, event: Event, **changes: Any) -> SessionState:
    return replace(state, updated_at=event.at, seq=event.seq, **changes)


def _with_everyone_touched(state: SessionState, event: Event) -> dict[UserId, ParticipantState]:
    # Starting the session changes the stored status of everyone present, so their documents must follow.
    return {
        user: replace(participant, seq=event.seq) if participant.is_present else participant
        for user, participant in state.participants.items()
    }


def _started(state: SessionState, event: Event, _: Any, status: SessionStatus) -> SessionState:
    participants = _with_everyone_touched(state, event)
    return _session_wide(state, event, status=status, started_at=event.at, participants=participants)


def _ended(state: SessionState, event: Event, body: SessionEnded, status: SessionStatus) -> SessionState:
    return _session_wide(state, event, status=status, ended_at=event.at, end_reason=body.reason, empty_since=None)


def _recording_switched(state: SessionState, event: Event, body: Any, _: SessionStatus) -> SessionState:
    return _session_wide(state, event, recording_enabled=isinstance(body, RecordingEnabled))


def _existing(state: SessionState, user: UserId, body: EventBody) -> ParticipantState:
    participant = state.participants.get(user) or _known(state, user)
    if participant is None:
        raise IllegalTransitionError(f"{body.kind} concerns {user}, who never joined")
    return participant


def _known(state: SessionState, user: UserId) -> ParticipantState | None:
    participant = state.participants.get(user)
    if participant is not None or not is_pseudonym(user):
        return participant
    # An erasure rewrites a log from its end to its beginning: until it is done, later events name the pseudonym of a
    # user who joined under the id. That must read like a log that is rewritten altogether.
    names = (name for name, alias in state.aliases.items() if alias.pseudonym == user)
    return next((state.participants[name] for name in names), None)


def _with_participant(state: SessionState, event: Event, participant: ParticipantState, **changes: Any) -> SessionState:
    participants = {**state.participants, participant.user_id: participant}
    return _session_wide(state, event, participants=participants, **changes)


def _joined(state: SessionState, event: Event, body: ParticipantJoined, status: SessionStatus) -> SessionState:
    before = _known(state, body.user_id)
    presence = next_presence(before.presence if before else Presence.ABSENT, body)
    participant = ParticipantState(
        user_id=before.user_id if before else body.user_id,
        presence=presence,
        connection_id=body.connection_id,
        camera_enabled=body.camera_enabled,
        mic_enabled=body.mic_enabled,
        recording_consent=body.recording_consent,
        policy_version=before.policy_version if before else None,
        joined_at=before.joined_at if before else event.at,
        left_at=None,
        reconnect_by=None,
        recordable=before.recordable if before else (),
        seq=event.seq,
    )
    aliases = state.aliases
    if event.salt is not None:
        aliases = {**aliases, body.user_id: alias_of(body.user_id, event.salt)}
    return _with_participant(state, event, participant, status=status, empty_since=None, aliases=aliases)


def _changed(state: SessionState, event: Event, body: Any, **changes: Any) -> SessionState:
    before = _existing(state, body.user_id, body)
    presence = next_presence(before.presence, body)
    changed = _with(state, event, replace(before, presence=presence, seq=event.seq, **changes))
    return changed if presence is before.presence else _with_emptiness(changed, event)


def _with(state: SessionState, event: Event, participant: ParticipantState) -> SessionState:
    participants = dict(state.participants)  # with what is set below, faster than a display of both
    participants[participant.user_id] = participant
    return replace(state, updated_at=event.at, seq=event.seq, participants=participants)


def _with_emptiness(state: SessionState, event: Event) -> SessionState:
    if state.status is not SessionStatus.ACTIVE:
        return state
    if state.present_count:
        return state if state.empty_since is None else replace(state, empty_since=None)
    return state if state.empty_since is not None else replace(state, empty_since=event.at)


def _disconnected(state: SessionState, event: Event, body: ParticipantDisconnected, _: SessionStatus) -> SessionState:
    return _changed(state, event, body, left_at=event.at, reconnect_by=body.reconnect_by)


def _reconnected(state: SessionState, event: Event, body: ParticipantReconnected, _: SessionStatus) -> SessionState:
    return _changed(state, event, body, connection_id=body.connection_id, left_at=None, reconnect_by=None)


def _left(state: SessionState, event: Event, body: ParticipantLeft, _: SessionStatus) -> SessionState:
    # Someone who lost the connection has been absent since then, not since the seat was given up.
    left_at = _existing(state, body.user_id, body).left_at or event.at
    return _changed(state, event, body, left_at=left_at, reconnect_by=None)


def _camera(state: SessionState, event: Event, body: CameraChanged, _: SessionStatus) -> SessionState:
    # Written out, as the next: most events are toggles, and the table says of both that everyone stays where they are.
    before = state.participants.get(body.user_id) or _existing(state, body.user_id, body)
    next_presence(before.presence, body)
    return _with(state, event, replace(before, seq=event.seq, camera_enabled=body.camera_enabled))


def _mic(state: SessionState, event: Event, body: MicChanged, _: SessionStatus) -> SessionState:
    before = state.participants.get(body.user_id) or _existing(state, body.user_id, body)
    next_presence(before.presence, body)
    return _with(state, event, replace(before, seq=event.seq, mic_enabled=body.mic_enabled))


def _consent(state: SessionState, event: Event, body: Any, _: SessionStatus) -> SessionState:
    granted = isinstance(body, RecordingConsentGranted)
    return _changed(state, event, body, recording_consent=granted, policy_version=body.policy_version)


def _permitted(state: SessionState, event: Event, body: RecordingPermitted, _: SessionStatus) -> SessionState:
    before = _existing(state, body.user_id, body)
    return _changed(state, event, body, recordable=(*before.recordable, Interval(event.at)))


def _withdrawn(state: SessionState, event: Event, body: RecordingWithdrawn, _: SessionStatus) -> SessionState:
    before = _existing(state, body.user_id, body)
    if not before.is_permitted:
        raise IllegalTransitionError(f"{body.kind} concerns {body.user_id}, who could not be recorded")
    closed = Interval(before.recordable[-1].start, event.at)
    return _changed(state, event, body, recordable=(*before.recordable[:-1], closed))


def _attached(state: SessionState, event: Event, body: RecordingAttached, _: SessionStatus) -> SessionState:
    recording = Recording(user_id=body.user_id, url=body.url, start_time=body.start_time)
    changed = _changed(state, event, body)
    return replace(changed, recordings=(*state.recordings, recording))


def _erased(state: SessionState, event: Event, body: UserErased, _: SessionStatus) -> SessionState:
    before = _existing(state, body.user_id, body)
    alias = state.aliases.get(before.user_id)
    if alias is None:
        return _changed(state, event, body)  # the id is the pseudonym already, or all that the chain knows
    after = replace(before, user_id=alias.pseudonym, presence=next_presence(before.presence, body), seq=event.seq)
    return _session_wide(
        state,
        event,
        participants={
            participant.user_id: participant
            for participant in (after if item is before else item for item in state.participants.values())
        },
        recordings=tuple(
            replace(item, user_id=alias.pseudonym, url=alias.text("url", item.url))
            if item.user_id == before.user_id
            else item
            for item in state.recordings
        ),
        aliases={user: item for user, item in state.aliases.items() if user != before.user_id},
    )


_EFFECTS: dict[type[EventBody], Callable[[SessionState, Event, Any, SessionStatus], SessionState]] = {
    SessionStarted: _started,
    SessionEnded: _ended,
    RecordingEnabled: _recording_switched,
    RecordingDisabled: _recording_switched,
    ParticipantJoined: _joined,
    ParticipantDisconnected: _disconnected,
    ParticipantReconnected: _reconnected,
    ParticipantLeft: _left,
    CameraChanged: _camera,
    MicChanged: _mic,
    RecordingConsentGranted: _consent,
    RecordingConsentRevoked: _consent,
    RecordingPermitted: _permitted,
    RecordingWithdrawn: _withdrawn,
    RecordingAttached: _attached,
    UserErased: _erased,
}
