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


def next_due(state: SessionState) -> tuple[datetime, EventBody] | None:
    """Return the earliest deadline of `state` and the event that it brings, or None if nothing will happen by itself.

    Of deadlines at the same instant, held seats are freed first: whoever is not back by then was not there.
    """
    if not state.is_live:
        return None
    candidates: list[tuple[datetime, EventBody]] = [
        (participant.reconnect_by, ParticipantLeft(user_id=participant.user_id, reason=LeftReason.TIMEOUT))
        for participant in state.participants.values()
        if participant.reconnect_by is not None
    ]
    if state.status is SessionStatus.WAITING:
        if state.present_count >= state.min_participants:
            candidates.append((state.scheduled_start, SessionStarted()))
        candidates.append((state.no_show_at, SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS)))
    else:
        candidates.append((state.scheduled_end, SessionEnded(reason=EndReason.COMPLETED)))
        if state.empty_since is not None:
            empty_at = state.empty_since + span(state.empty_timeout_seconds)
            candidates.append((empty_at, SessionEnded(reason=EndReason.EMPTY)))
    return min(candidates, key=lambda candidate: candidate[0])


def next_deadline(state: SessionState) -> datetime | None:
    """Return when `state` will next change by itself; None once it has ended."""
    due = next_due(state)
    return None if due is None else due[0]
