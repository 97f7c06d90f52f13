"""What each event must be like for itself, and what it changes, as the referee reads SPEC section 2.

Owns the judgement of single events on a `SessionModel`; what must come before, after or between is the rulebook's.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from coordinator.domain.events import (
    SYSTEM,
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
    RecordingPermitted,
    RecordingWithdrawn,
    Role,
    SessionEnded,
    SessionOpened,
    SessionStarted,
    UserErased,
)
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.model import EndReason
from tests.simulation.model import CAMERA, CONSENT, MIC, Part, Phase, Place, SessionModel, length
from tests.simulation.verdicts import Invariant, Tally, violated


class Effects:
    """Lets events take effect on one session, if they can have happened.

    Args:
        session_id: The session.
        tally: Where checks are counted.
        lobby_seconds: How long before the scheduled start a session may be opened.

    Attributes:
        model: The session after the last event.
    """

    def __init__(self, session_id: SessionId, tally: Tally, lobby_seconds: float) -> None:
        self.model = SessionModel(session_id)
        self._checked = tally.checked
        self._lobby = length(lobby_seconds)
        self._event: Event | None = None

    def _take_effect(self, event: Event) -> None:
        HANDLERS[type(event.body)](self, event, event.body)

    def _opened(self, event: Event, body: SessionOpened) -> None:
        self._by_system(event)
        if not body.scheduled_start <= body.no_show_at <= body.scheduled_end:
            self._break(Invariant.DEADLINES, "noShowAt lies outside the scheduled time")
        self._checked[Invariant.DEADLINES] += 1
        if event.at < body.scheduled_start - self._lobby:
            self._break(Invariant.DEADLINES, f"it is early: the lobby of {body.scheduled_start} is not open yet")
        self.model.phase, self.model.opening = Phase.WAITING, body

    def _started(self, event: Event, _body: SessionStarted) -> None:
        self._by_system(event)
        self.model.phase = Phase.ACTIVE

    def _ended(self, event: Event, body: SessionEnded) -> None:
        if body.reason is not EndReason.ENDED_BY_MODERATOR:
            self._by_system(event)
        elif event.actor != SYSTEM:  # the coordinator itself ends the session of a slot that was deactivated
            self._by_role(event, Role.MODERATOR)
        model = self.model
        model.phase, model.ended_seq = Phase.ENDED, event.seq
        model.leaving = {user for user, part in model.parts.items() if part.holds_seat}

    def _joined(self, event: Event, body: ParticipantJoined) -> None:
        self._by_self(event, body.user_id)
        model = self.model
        part = model.parts.get(body.user_id)
        if part is not None and part.place is not Place.GONE:
            self._illegal(f"{body.user_id} is {part.place}")
        consented = part is not None and part.switches[CONSENT]
        if body.camera_enabled or body.mic_enabled or body.recording_consent is not consented:
            self._illegal(f"camera and microphone start off, and consent is what it was ({consented})")
        self._own(body)
        if part is None:
            part = model.parts[body.user_id] = Part(Place.PRESENT, body.connection_id, {})
        part.place, part.connection = Place.PRESENT, body.connection_id
        for name, value in ((CAMERA, False), (MIC, False), (CONSENT, consented)):
            part.switch(event.seq, name, value)
        self._checked[Invariant.SEATS] += 1
        if model.seats_taken > model.rules.max_participants:
            self._break(Invariant.SEATS, f"{model.seats_taken} of {model.rules.max_participants} are taken then")

    def _disconnected(self, event: Event, body: ParticipantDisconnected) -> None:
        self._by_system(event)
        part = self._placed(body.user_id, Place.PRESENT)
        until = event.at + length(self.model.rules.reconnect_grace_seconds)
        if body.reconnect_by != until:
            self._break(Invariant.DEADLINES, f"reconnectBy is {body.reconnect_by} where it should be {until}")
        part.place, part.reconnect_by = Place.AWAY, body.reconnect_by

    def _reconnected(self, event: Event, body: ParticipantReconnected) -> None:
        self._by_self(event, body.user_id)
        part = self._placed(body.user_id, Place.PRESENT, Place.AWAY)
        if part.place is Place.PRESENT and part.connection == body.connection_id:
            self._illegal(f"{body.user_id} is present on that very connection")
        self._own(body)
        part.place, part.connection, part.reconnect_by = Place.PRESENT, body.connection_id, None

    def _left(self, event: Event, body: ParticipantLeft) -> None:
        user, reason, model = body.user_id, body.reason, self.model
        if (reason is LeftReason.SESSION_ENDED) is not (user in model.leaving):
            self._break(Invariant.FINALITY, f"{user} leaves with reason {reason} a session that is {model.phase}")
        model.leaving.discard(user)
        if model.phase is Phase.ENDED and reason is not LeftReason.SESSION_ENDED:
            self._break(Invariant.FINALITY, f"the session ended with event {model.ended_seq}")
        places: tuple[Place, ...] = (Place.PRESENT, Place.AWAY)
        match reason:
            case LeftReason.LEFT:
                self._by_self(event, user)
            case LeftReason.REMOVED:
                self._by_role(event, Role.MODERATOR)
                places = (Place.PRESENT, Place.AWAY, Place.GONE)
            case LeftReason.TIMEOUT | LeftReason.SESSION_ENDED:
                self._by_system(event)
        part = self._placed(user, *places)
        part.place = Place.REMOVED if reason is LeftReason.REMOVED else Place.GONE
        part.reconnect_by = None

    def _camera(self, event: Event, body: CameraChanged) -> None:
        self._by_self(event, body.user_id)
        self._switched(event, self._placed(body.user_id, Place.PRESENT), CAMERA, body.camera_enabled)

    def _mic(self, event: Event, body: MicChanged) -> None:
        places: tuple[Place, ...] = (Place.PRESENT,)
        if event.actor.role is Role.MODERATOR:
            places = (Place.PRESENT, Place.AWAY)
            if body.mic_enabled:
                self._illegal("a moderator never switches a microphone on")
        else:
            self._by_self(event, body.user_id)
        self._switched(event, self._placed(body.user_id, *places), MIC, body.mic_enabled)

    def _granted(self, event: Event, body: RecordingConsentGranted) -> None:
        self._by_self(event, body.user_id)
        part = self._placed(body.user_id, Place.PRESENT)
        if part.switches[CONSENT] and body.policy_version in (None, part.policy):
            self._illegal(f"{body.user_id} had consented to that already")
        part.switch(event.seq, CONSENT, True)
        part.policy = body.policy_version

    def _revoked(self, event: Event, body: RecordingConsentRevoked) -> None:
        self._by_self(event, body.user_id)
        part = self._placed(body.user_id, Place.PRESENT)
        self._switched(event, part, CONSENT, False)
        part.policy = body.policy_version

    def _recording(self, event: Event, body: RecordingEnabled | RecordingDisabled) -> None:
        self._by_role(event, Role.MODERATOR)
        is_recording = isinstance(body, RecordingEnabled)
        if is_recording is self.model.is_recording:
            self._illegal("nothing changes by it")
        self.model.is_recording = is_recording

    def _permission(self, event: Event, body: RecordingPermitted | RecordingWithdrawn) -> None:
        self._by_system(event)
        self._checked[Invariant.PERMISSION] += 1
        part, reason = self._part(body.user_id), self.model.owed.pop(body.user_id, None)
        is_permitted = isinstance(body, RecordingPermitted)
        if reason is None or is_permitted is not self.model.is_to_be_permitted(part):
            self._break(Invariant.PERMISSION, f"nothing that came right before it gives cause for it ({body.user_id})")
        if body.reason is not reason:
            self._break(Invariant.PERMISSION, f"its reason is {body.reason} where the cause is {reason}")
        if is_permitted:
            part.permitted_since = event.at
        elif part.permitted_since is not None:
            part.recordable.append((part.permitted_since, event.at))
            part.permitted_since = None

    def _attached(self, event: Event, body: RecordingAttached) -> None:
        self._by_role(event, Role.RECORDER)
        part, key = self._part(body.user_id), (body.user_id, body.url)
        if part.place is Place.ERASED or key in self.model.attached:
            self._illegal(f"{body.user_id} is {part.place}, or had that recording already")
        self._checked[Invariant.PERMISSION] += 1
        if body.start_time > event.at or not part.could_be_recorded(body.start_time):
            self._break(Invariant.PERMISSION, f"{body.user_id} could not be recorded at {body.start_time}")
        self.model.attached.add(key)

    def _erased(self, event: Event, body: UserErased) -> None:
        self._by_system(event)
        part = self._part(body.user_id)
        if self.model.phase is not Phase.ENDED or part.place is Place.ERASED:
            self._illegal(f"{body.user_id} is {part.place} in a session that is {self.model.phase}")
        part.place = Place.ERASED

    # What many of them have in common.

    def _part(self, user: UserId) -> Part:
        part = self.model.parts.get(user)
        if part is None:
            self._illegal(f"{user} never joined")
        return part

    def _placed(self, user: UserId, *places: Place) -> Part:
        part = self._part(user)
        if part.place not in places:
            self._illegal(f"{user} is {part.place}")
        return part

    def _switched(self, event: Event, part: Part, name: str, value: bool) -> None:
        if part.switches[name] is value:
            self._illegal(f"{name} was {value} already")
        part.switch(event.seq, name, value)

    def _own(self, body: ParticipantJoined | ParticipantReconnected) -> None:
        owner = self.model.owners.setdefault(body.connection_id, body.user_id)
        if owner != body.user_id:
            self._illegal(f"connection {body.connection_id} is {owner}'s, not {body.user_id}'s")

    def _by_system(self, event: Event) -> None:
        if event.actor != SYSTEM:
            self._illegal(f"{event.actor.user_id} ({event.actor.role}) cannot have caused it")

    def _by_self(self, event: Event, user: UserId) -> None:
        if event.actor.user_id != user or event.actor.role is not Role.PARTICIPANT:
            self._illegal(f"{event.actor.user_id} ({event.actor.role}) cannot have caused it for {user}")

    def _by_role(self, event: Event, role: Role) -> None:
        if event.actor.role is not role:
            self._illegal(f"{event.actor.user_id} ({event.actor.role}) cannot have caused it")

    def _illegal(self, facts: str) -> NoReturn:
        self._break(Invariant.TRANSITIONS, facts)

    def _break(self, invariant: Invariant, facts: str) -> NoReturn:
        assert self._event is not None
        seq, kind = self._event.seq, self._event.body.kind
        violated(invariant, f"session {self.model.session_id}, event {seq} ({kind} {_about(self._event)}): {facts}")


def _about(event: Event) -> str:
    return str(getattr(event.body, "user_id", "")) or "of the session"


HANDLERS: dict[type[EventBody], Callable[[Effects, Event, Any], None]] = {
    SessionOpened: Effects._opened,
    SessionStarted: Effects._started,
    SessionEnded: Effects._ended,
    ParticipantJoined: Effects._joined,
    ParticipantDisconnected: Effects._disconnected,
    ParticipantReconnected: Effects._reconnected,
    ParticipantLeft: Effects._left,
    CameraChanged: Effects._camera,
    MicChanged: Effects._mic,
    RecordingConsentGranted: Effects._granted,
    RecordingConsentRevoked: Effects._revoked,
    RecordingEnabled: Effects._recording,
    RecordingDisabled: Effects._recording,
    RecordingPermitted: Effects._permission,
    RecordingWithdrawn: Effects._permission,
    RecordingAttached: Effects._attached,
    UserErased: Effects._erased,
}
