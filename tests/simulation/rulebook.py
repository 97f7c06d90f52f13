"""Which event may follow which, as the referee reads SPEC section 2.

Owns what must come before, after or between events: what time brings, what follows from a cause, what ends. What an
event must be like for itself stands in `effects`. Stores, subscribers and the true time are the referee's.
"""

from datetime import datetime

from coordinator.domain.events import (
    Event,
    EventBody,
    LeftReason,
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
from coordinator.domain.model import EndReason
from tests.simulation.effects import Effects
from tests.simulation.model import Phase
from tests.simulation.verdicts import Invariant

_CONSEQUENCES = (RecordingPermitted, RecordingWithdrawn)
_AFTER_THE_END = (*_CONSEQUENCES, ParticipantLeft, RecordingAttached, UserErased)
_PERMISSION_REASONS: dict[type[EventBody], PermissionReason] = {
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
"""What can change who may be recorded, and the reason that its consequences must give."""
_MOVING = (
    SessionOpened,
    SessionStarted,
    SessionEnded,
    ParticipantJoined,
    ParticipantDisconnected,
    ParticipantReconnected,
    ParticipantLeft,
)
"""What can change a deadline."""


class Rulebook(Effects):
    """Judges one session's events, one after the other; see `Effects` for its arguments."""

    def take(self, event: Event) -> None:
        """Judge the next event, and learn from it.

        Raises:
            Violation: It cannot have happened.
        """
        self._event, body, model, checked = event, event.body, self.model, self._checked
        kind = type(body)
        checked[Invariant.TRANSITIONS] += 1
        if (model.phase is Phase.UNOPENED) is not (kind is SessionOpened):
            self._illegal(f"it happens to a session that is {model.phase}")
        if model.owed and kind not in _CONSEQUENCES:
            user, reason = next(iter(model.owed.items()))
            self._break(Invariant.PERMISSION, f"before it, the permission of {user} should have changed ({reason})")
        if model.phase is Phase.ENDED:
            checked[Invariant.FINALITY] += 1
            if kind not in _AFTER_THE_END:
                self._break(Invariant.FINALITY, f"the session ended with event {model.ended_seq}")
        if model.leaving and kind not in _CONSEQUENCES and kind is not ParticipantLeft:
            self._break(Invariant.FINALITY, f"before it, {sorted(model.leaving)} should have left with the session")
        if model.next_due is not None and kind not in _CONSEQUENCES:
            self._check_due(event.at, body, model.next_due)
        self._take_effect(event)
        if kind in _MOVING:
            model.reckon(event.at)
        reason_of_change = _PERMISSION_REASONS.get(kind)
        if reason_of_change is not None:
            if isinstance(body, ParticipantLeft) and body.reason is LeftReason.REMOVED:
                reason_of_change = PermissionReason.REMOVED
            model.owe(reason_of_change)

    def end_commit(self, at: datetime) -> None:
        """Judge what a commit has left undone.

        Raises:
            Violation: Something had to be in the commit, and is not.
        """
        model, checked = self.model, self._checked
        checked[Invariant.PERMISSION] += 1
        if model.owed:
            self._break(Invariant.PERMISSION, f"its commit does not change the permission of {sorted(model.owed)}")
        if model.phase is Phase.ENDED:
            checked[Invariant.FINALITY] += 1
            if model.leaving:
                self._break(Invariant.FINALITY, f"its commit ends with seats held by {sorted(model.leaving)}")
        if model.next_due is not None:
            checked[Invariant.DEADLINES] += 1
            if model.next_due <= at:
                self._break(
                    Invariant.DEADLINES, f"its commit, of {at}, leaves undone what fell due at {model.next_due}"
                )

    def _check_due(self, at: datetime, body: EventBody, next_due: datetime) -> None:
        self._checked[Invariant.DEADLINES] += 1
        due = self._due_of(body)
        if due is None:
            if next_due <= at:
                self._break(Invariant.DEADLINES, f"it passes over what fell due at {next_due}")
        elif due > at:
            self._break(Invariant.DEADLINES, f"it is early: due at {due}")
        elif due > next_due:
            self._break(Invariant.DEADLINES, f"due at {due}, it passes over what fell due at {next_due}")

    def _due_of(self, body: EventBody) -> datetime | None:
        """Return when an event falls due that time brings; None for any other."""
        match body:
            case SessionStarted():
                return self._start_due()
            case SessionEnded(reason=reason):
                return None if reason is EndReason.ENDED_BY_MODERATOR else self._end_due(reason)
            case ParticipantLeft(user_id=user, reason=LeftReason.TIMEOUT):
                part = self._part(user)
                if part.reconnect_by is None:
                    self._break(Invariant.DEADLINES, f"{user} is {part.place}, not away")
                return part.reconnect_by
            case _:
                return None

    def _start_due(self) -> datetime:
        model = self.model
        if model.phase is not Phase.WAITING:
            self._illegal(f"the session is {model.phase}")
        due = model.start_due()
        if due is None:
            self._break(Invariant.DEADLINES, f"only {model.present} are present, which is not enough")
        return due

    def _end_due(self, reason: EndReason) -> datetime:
        model = self.model
        if reason is EndReason.EMPTY:
            due = model.empty_due()
            if due is None:
                self._break(Invariant.DEADLINES, f"{model.present} are present in a session that is {model.phase}")
            return due
        fitting = Phase.ACTIVE if reason is EndReason.COMPLETED else Phase.WAITING
        if model.phase is not fitting:
            self._break(Invariant.DEADLINES, f"a session that is {model.phase} does not end as {reason}")
        if reason is EndReason.COMPLETED:
            return model.rules.scheduled_end
        if model.start_due() is not None:
            self._break(Invariant.DEADLINES, f"{model.present} are present, which is enough")
        return model.rules.no_show_at
