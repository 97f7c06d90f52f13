"""What a session will do by itself, and when (SPEC section 2).

Deadlines are data: the same state has the same deadlines, on every node and after every restart.
"""

from datetime import datetime, timedelta

from coordinator.domain.events import EventBody, LeftReason, ParticipantLeft, SessionEnded, SessionStarted
from coordinator.domain.model import EndReason, SessionStatus
from coordinator.domain.state import SessionState


def span(seconds: float) -> timedelta:
    """Return a length of time in whole milliseconds, as it is stored: a replayed state must equal the live one."""
    return timedelta(milliseconds=round(seconds * 1000))


def next_deadline(state: SessionState) -> datetime | None:
    """Return when `state` will next change by itself; None once it has ended.

    This is asked after every command, so it makes nothing but the answer.
    """
    if state.status is SessionStatus.ACTIVE:
        earliest = state.scheduled_end
        if state.empty_since is not None:
            earliest = min(earliest, _empty_at(state, state.empty_since))
    elif state.status is SessionStatus.WAITING:
        earliest = state.no_show_at
        if state.scheduled_start < earliest and _is_quorate(state):
            earliest = state.scheduled_start
    else:
        return None
    for participant in state.participants.values():
        if participant.reconnect_by is not None and participant.reconnect_by < earliest:
            earliest = participant.reconnect_by
    return earliest


def next_due(state: SessionState) -> tuple[datetime, EventBody] | None:
    """Return the earliest deadline of `state` and the event that it brings, or None if nothing will happen by itself.

    Of deadlines at the same instant, held seats are freed first: whoever is not back by then was not there.
    """
    deadline = next_deadline(state)
    return None if deadline is None else (deadline, _brought_by(state, deadline))


def _brought_by(state: SessionState, deadline: datetime) -> EventBody:
    for participant in state.participants.values():
        if participant.reconnect_by == deadline:
            return ParticipantLeft(user_id=participant.user_id, reason=LeftReason.TIMEOUT)
    if state.status is SessionStatus.ACTIVE:
        is_over = state.scheduled_end == deadline
        return SessionEnded(reason=EndReason.COMPLETED if is_over else EndReason.EMPTY)
    if state.scheduled_start == deadline and _is_quorate(state):
        return SessionStarted()
    return SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS)


def _is_quorate(state: SessionState) -> bool:
    return state.present_count >= state.min_participants


def _empty_at(state: SessionState, since: datetime) -> datetime:
    return since + span(state.empty_timeout_seconds)
