"""`decide(state, command, now, salt) -> events`: what a command makes happen, or why it may not.

Owns every rule of SPEC section 2 that concerns one session. Pure: the clock and all facts come in as arguments. An
empty answer means that what was asked for already is. A refusal is an exception of `errors`; then nothing has happened.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

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
    ReconnectParticipant,
    RemoveParticipant,
    SetMedia,
    SetRecording,
    SetRecordingConsent,
)
from coordinator.domain.deadlines import next_deadline, next_due, span
from coordinator.domain.errors import (
    CoordinatorError,
    InvalidRequestError,
    NotInSessionError,
    NotRegisteredError,
    RecordingNotPermittedError,
    RemovedError,
    RoomFullError,
    SessionEndedError,
    SessionNotOpenError,
)
from coordinator.domain.events import (
    SYSTEM,
    Actor,
    CameraChanged,
    Event,
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
    Role,
    SessionEnded,
    SessionOpened,
    UserErased,
)
from coordinator.domain.evolve import evolve
from coordinator.domain.ids import ConnectionId, SessionId, UserId
from coordinator.domain.model import EndReason, SessionStatus
from coordinator.domain.pseudonyms import is_pseudonym
from coordinator.domain.recording import permission_changes
from coordinator.domain.state import ParticipantState, SessionState
from coordinator.domain.transitions import Presence

_ENDED, _PRESENT = SessionStatus.ENDED, Presence.PRESENT


class Decision:
    """The events decided so far and the state they lead to: of one command, or of several, one after the other.

    Every event goes through `say`, which also says what follows from it for recording: permission is part of the same
    commit as its cause.

    Args:
        session_id: The session.
        state: Its state, None if it has not been opened.
        now: The time, aware UTC in milliseconds.
        salt: As of `decide`.

    Attributes:
        state: After the events.
        deadline: When that state will next change by itself.
        may_be_overdue: Whether something may have fallen due that has not been decided.
        now: When the events happen.
        events: In order.
        salt: For the user whom the next command introduces, if it does.
        is_salt_used: Whether somebody has got that salt, so that the next command needs another one.
    """

    __slots__ = ("deadline", "events", "is_salt_used", "may_be_overdue", "now", "salt", "session_id", "state")

    def __init__(self, session_id: SessionId, state: SessionState | None, now: datetime, salt: str) -> None:
        self.session_id = session_id
        self.state = state
        self.salt = salt
        self.is_salt_used = False
        # Another node's clock may run ahead of ours; the log's times never run backwards.
        self.now = now if state is None else max(now, state.updated_at)
        self.events: list[Event] = []
        self.deadline: datetime | None = None if state is None else next_deadline(state)
        self.may_be_overdue = self.deadline is not None and self.deadline <= self.now

    def hear(self, command: Command) -> None:
        """Let a command happen after what has been decided, as `decide` says.

        Raises:
            CoordinatorError: The command is refused; nothing of it has happened.
        """
        state, said = self.state, len(self.events)
        try:
            if state is not None and state.status is not _ENDED:
                _HANDLERS[type(command)](self, state, command)
            else:
                _hear_unless_live(self, state, command)
            if self.may_be_overdue:
                self.advance_time()
        except BaseException:
            del self.events[said:]
            self.state = state
            self.deadline = None if state is None else next_deadline(state)
            self.may_be_overdue = self.deadline is not None and self.deadline <= self.now
            raise

    def say(self, actor: Actor, body: EventBody) -> SessionState:
        """Let `body` happen, and what follows from it for recording; return the state then."""
        before = self.state
        after = self._append(actor, body)
        if type(body) in _WITHOUT_CONSEQUENCE:
            return after
        self.may_be_overdue = True
        if before is not None:
            for consequence in permission_changes(before, after, body):
                after = self._append(SYSTEM, consequence)
        if isinstance(body, SessionEnded):
            for user, participant in after.participants.items():
                if participant.holds_seat:
                    after = self._append(SYSTEM, ParticipantLeft(user_id=user, reason=LeftReason.SESSION_ENDED))
        return after

    def _append(self, actor: Actor, body: EventBody) -> SessionState:
        state = self.state
        salt = None
        # Most is said by somebody who is there already, and is spared the longer question.
        is_known = state is not None and actor.user_id in state.participants
        if (not is_known or type(body) is ParticipantJoined) and self._introduces_someone(actor, body):
            salt, self.is_salt_used = self.salt, True
        seq = 1 if state is None else state.seq + 1
        event = Event(session_id=self.session_id, seq=seq, at=self.now, actor=actor, body=body, salt=salt)
        self.state = state = evolve(state, event)
        self.events.append(event)
        return state

    def _introduces_someone(self, actor: Actor, body: EventBody) -> bool:
        """Tell whether an event names a user who has no salt in this session, and none because it is an old one."""
        user = body.user_id if isinstance(body, ParticipantJoined) else actor.user_id
        if self.state is not None and user in self.state.participants:
            return False
        is_by_itself = actor.role is Role.SYSTEM and not isinstance(body, ParticipantJoined)
        return not is_by_itself and not is_pseudonym(user)

    def advance_time(self) -> None:
        """Let everything happen that has fallen due."""
        while self.state is not None:
            self.deadline = next_deadline(self.state)
            if self.deadline is None or self.deadline > self.now:
                break
            due = next_due(self.state)
            assert due is not None
            self.say(SYSTEM, due[1])
        self.may_be_overdue = False


_WITHOUT_CONSEQUENCE: frozenset[type[EventBody]] = frozenset((CameraChanged, MicChanged))
"""Events from which nothing follows, neither for recording nor for any deadline: toggling must stay cheap."""


def decide(session_id: SessionId, state: SessionState | None, command: Command, now: datetime, salt: str) -> Decision:
    """Decide what `command` makes happen to `state` at `now`.

    What had fallen due before `now` must have been decided first (`AdvanceTime`), so that a refusal cannot undo it.
    What falls due through the command itself, such as the start when the last missing participant joins, is part of
    its events.

    Args:
        session_id: The session.
        state: Its state, None if it has not been opened.
        command: What is asked.
        now: The time, aware UTC in milliseconds.
        salt: For the user whom this command introduces, if it does: 32 random hex digits that nobody else has had.

    Returns:
        The events, in order, and the state after them. No events: nothing to change.

    Raises:
        CoordinatorError: The command is refused; nothing has happened.
    """
    decision = Decision(session_id, state, now, salt)
    decision.hear(command)
    return decision


_REFUSED_WHEN_ENDED: dict[type[Any], type[CoordinatorError] | None] = {
    OpenSession: None,
    JoinSession: SessionEndedError,
    LeaveSession: None,
    DisconnectParticipant: None,
    ReconnectParticipant: None,
    SetMedia: SessionEndedError,
    SetRecordingConsent: SessionEndedError,
    AdvanceTime: None,
    EndSession: None,
    MuteParticipant: SessionEndedError,
    RemoveParticipant: SessionEndedError,
    SetRecording: SessionEndedError,
}
"""What each command gets from an ended session; None: it already is as asked."""
_HEARD_WHEN_ENDED = (AttachRecording, EraseUser)
"""What an ended session still decides on."""


def _hear_unless_live(decision: Decision, state: SessionState | None, command: Command) -> None:
    """Let a command happen to a session that has not been opened, or has ended."""
    if state is None:
        if not isinstance(command, OpenSession):
            raise SessionNotOpenError("this session has not been opened yet")
        _open(decision, command)
    elif isinstance(command, _HEARD_WHEN_ENDED):
        _HANDLERS[type(command)](decision, state, command)
    else:
        refusal = _REFUSED_WHEN_ENDED[type(command)]
        if refusal is not None:
            raise refusal(f"this session has ended ({state.end_reason})")


def _open(decision: Decision, command: OpenSession) -> None:
    decision.say(
        command.actor,
        SessionOpened(
            time_slot_id=command.time_slot_id,
            target_language_code=command.target_language_code,
            level=command.level,
            scheduled_start=command.scheduled_start,
            scheduled_end=command.scheduled_end,
            no_show_at=min(command.no_show_at, command.scheduled_end),
            min_participants=command.min_participants,
            max_participants=command.max_participants,
            empty_timeout_seconds=command.empty_timeout_seconds,
            reconnect_grace_seconds=command.reconnect_grace_seconds,
        ),
    )


def _keep_open(_decision: Decision, _state: SessionState, _command: OpenSession) -> None:
    """Change nothing: it is open."""


def _join(decision: Decision, state: SessionState, command: JoinSession) -> None:
    user = command.actor.user_id
    if is_pseudonym(user):
        raise InvalidRequestError("ids of this form stand for users who were erased; no one can join under one")
    participant = state.participants.get(user)
    if participant is not None and participant.presence is Presence.REMOVED:
        raise RemovedError("a moderator removed you from this session")
    if participant is not None and participant.holds_seat:
        if not participant.is_present or participant.connection_id != command.connection_id:
            decision.say(command.actor, ParticipantReconnected(user_id=user, connection_id=command.connection_id))
        return
    if not command.registered:
        raise NotRegisteredError("you are not registered for this session's time slot")
    if state.seats_taken >= state.max_participants:
        raise RoomFullError(f"all {state.max_participants} seats of this session are taken")
    decision.say(
        command.actor,
        ParticipantJoined(
            user_id=user,
            connection_id=command.connection_id,
            camera_enabled=False,
            mic_enabled=False,
            recording_consent=participant.recording_consent if participant else False,
        ),
    )


def _present_on(state: SessionState, user: UserId, connection: ConnectionId) -> ParticipantState:
    participant = state.participants.get(user)
    if participant is None or participant.presence is not _PRESENT:
        raise NotInSessionError("you are not in this session; join it first")
    if participant.connection_id != connection:
        raise NotInSessionError("a newer connection of yours has taken over; join again to take it back")
    return participant


def _leave(decision: Decision, state: SessionState, command: LeaveSession) -> None:
    participant = state.participants.get(command.actor.user_id)
    if participant is not None and participant.holds_seat and participant.connection_id == command.connection_id:
        decision.say(command.actor, ParticipantLeft(user_id=participant.user_id, reason=LeftReason.LEFT))


def _disconnect(decision: Decision, state: SessionState, command: DisconnectParticipant) -> None:
    participant = state.participants.get(command.user_id)
    if participant is None or not participant.is_present or participant.connection_id != command.connection_id:
        return
    reconnect_by = decision.now + span(state.reconnect_grace_seconds)
    decision.say(
        command.actor,
        ParticipantDisconnected(user_id=command.user_id, reason=command.reason, reconnect_by=reconnect_by),
    )


def _reconnect(decision: Decision, state: SessionState, command: ReconnectParticipant) -> None:
    user = command.actor.user_id
    participant = state.participants.get(user)
    if participant is None or not participant.holds_seat or participant.is_present:
        return
    if participant.connection_id == command.connection_id:
        decision.say(command.actor, ParticipantReconnected(user_id=user, connection_id=command.connection_id))


def _set_media(decision: Decision, state: SessionState, command: SetMedia) -> None:
    participant = _present_on(state, command.actor.user_id, command.connection_id)
    camera, mic = command.camera_enabled, command.mic_enabled
    if camera is not None and camera is not participant.camera_enabled:
        decision.say(command.actor, CameraChanged(user_id=participant.user_id, camera_enabled=camera))
    if mic is not None and mic is not participant.mic_enabled:
        decision.say(command.actor, MicChanged(user_id=participant.user_id, mic_enabled=mic))


def _set_consent(decision: Decision, state: SessionState, command: SetRecordingConsent) -> None:
    participant = _present_on(state, command.actor.user_id, command.connection_id)
    user, version = participant.user_id, command.policy_version
    if command.granted:
        # Consent to another policy is another consent, and the ledger must show it.
        if not participant.recording_consent or version not in (None, participant.policy_version):
            decision.say(command.actor, RecordingConsentGranted(user_id=user, policy_version=version))
    elif participant.recording_consent:
        decision.say(command.actor, RecordingConsentRevoked(user_id=user, policy_version=version))


def _advance(decision: Decision, _state: SessionState, _command: AdvanceTime) -> None:
    decision.advance_time()


def _end(decision: Decision, _state: SessionState, command: EndSession) -> None:
    decision.say(command.actor, SessionEnded(reason=EndReason.ENDED_BY_MODERATOR))


def _mute(decision: Decision, state: SessionState, command: MuteParticipant) -> None:
    participant = state.participants.get(command.user_id)
    if participant is None or not participant.holds_seat:
        raise NotInSessionError(f"{command.user_id} is not in this session")
    if participant.mic_enabled:
        decision.say(command.actor, MicChanged(user_id=command.user_id, mic_enabled=False))


def _remove(decision: Decision, state: SessionState, command: RemoveParticipant) -> None:
    participant = state.participants.get(command.user_id)
    if participant is None:
        raise NotInSessionError(f"{command.user_id} has never been in this session")
    if participant.presence is not Presence.REMOVED:
        left = ParticipantLeft(user_id=command.user_id, reason=LeftReason.REMOVED, message=command.message)
        decision.say(command.actor, left)


def _set_recording(decision: Decision, state: SessionState, command: SetRecording) -> None:
    if command.enabled is not state.recording_enabled:
        decision.say(command.actor, RecordingEnabled() if command.enabled else RecordingDisabled())


def _attach(decision: Decision, state: SessionState, command: AttachRecording) -> None:
    participant = state.participants.get(command.user_id)
    if participant is None:
        raise RecordingNotPermittedError(f"userId: {command.user_id} was never in this session", field="userId")
    if is_pseudonym(command.user_id):
        raise RecordingNotPermittedError(f"userId: {command.user_id} was erased", field="userId")
    if any(known.user_id == command.user_id and known.url == command.url for known in state.recordings):
        return
    start_time = command.start_time.replace(microsecond=command.start_time.microsecond // 1000 * 1000)
    # An interval that lasts has no end yet, but what is still to come is not inside it.
    if start_time > decision.now or not any(interval.contains(start_time) for interval in participant.recordable):
        raise RecordingNotPermittedError(
            f"startTime: {command.user_id} could not be recorded then; it must lie between a recording_permitted of "
            "that user, which it may equal, and the recording_withdrawn that follows",
            field="startTime",
        )
    decision.say(command.actor, RecordingAttached(user_id=command.user_id, url=command.url, start_time=start_time))


def _erase(decision: Decision, state: SessionState, command: EraseUser) -> None:
    if state.is_live:
        raise InvalidRequestError("a user can be erased from a session only when it is over", field="userId")
    if command.user_id not in state.participants or is_pseudonym(command.user_id):
        return
    if command.user_id not in state.aliases:
        raise InvalidRequestError(
            "this session was written before users had salts: its hash chain covers the id itself", field="userId"
        )
    decision.say(command.actor, UserErased(user_id=command.user_id))


_HANDLERS: dict[type[Any], Callable[[Decision, SessionState, Any], None]] = {
    OpenSession: _keep_open,
    JoinSession: _join,
    LeaveSession: _leave,
    DisconnectParticipant: _disconnect,
    ReconnectParticipant: _reconnect,
    SetMedia: _set_media,
    SetRecordingConsent: _set_consent,
    AdvanceTime: _advance,
    EndSession: _end,
    MuteParticipant: _mute,
    RemoveParticipant: _remove,
    SetRecording: _set_recording,
    AttachRecording: _attach,
    EraseUser: _erase,
}
