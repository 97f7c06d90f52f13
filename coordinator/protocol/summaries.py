"""What moderators see of each live session: `session_summary` (SPEC section 3, `watch {all: true}`).

Owns which facts a summary has, and how they follow from the state.
"""

import math
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from coordinator.domain.ledger import wire_time
from coordinator.domain.model import EndReason, ParticipantStatus, SessionStatus
from coordinator.domain.state import SessionState, participant_record
from coordinator.protocol.fields import LanguageCode, LevelCode, MaxParticipants, ObjectId, Timestamp, UserIdText
from coordinator.protocol.views import Count, Seq, View


class SeatSummary(View, frozen=True, kw_only=True):
    """Somebody who holds a seat: present, or disconnected and expected back."""

    user_id: UserIdText
    status: ParticipantStatus
    camera_enabled: bool
    mic_enabled: bool
    recording_consent: bool


class SessionSummary(View, frozen=True, kw_only=True):
    """A session at a glance."""

    session_id: ObjectId
    time_slot_id: ObjectId
    target_language_code: LanguageCode
    level: LevelCode
    status: SessionStatus
    seq: Seq
    scheduled_start: Timestamp
    scheduled_end: Timestamp
    seconds_left: Annotated[Count, Meta(description="Until `scheduledEnd`, when this was sent; 0 once it has ended.")]
    recording_enabled: bool
    present_count: Annotated[Count, Meta(description="Users who are there now.")]
    max_participants: MaxParticipants
    consent_count: Annotated[Count, Meta(description="Of those who hold a seat, how many consent to be recorded.")]
    recordable_count: Annotated[Count, Meta(description="Users who may be recorded now.")]
    end_reason: EndReason | UnsetType = UNSET
    participants: Annotated[list[SeatSummary], Meta(description="Everyone who holds a seat.")]


def summary_of(state: SessionState, now: datetime) -> SessionSummary:
    """Summarise a session as it is `now`."""
    seated = [participant for participant in state.participants.values() if participant.holds_seat]
    left = (state.scheduled_end - now).total_seconds() if state.is_live else 0.0
    return SessionSummary(
        session_id=state.session_id,
        time_slot_id=state.time_slot_id,
        target_language_code=state.target_language_code,
        level=state.level,
        status=state.status,
        seq=state.seq,
        scheduled_start=wire_time(state.scheduled_start),
        scheduled_end=wire_time(state.scheduled_end),
        seconds_left=max(0, math.ceil(left)),
        recording_enabled=state.recording_enabled,
        present_count=state.present_count,
        max_participants=state.max_participants,
        consent_count=sum(participant.recording_consent for participant in seated),
        recordable_count=sum(map(state.may_be_recorded, seated)),
        end_reason=UNSET if state.end_reason is None else state.end_reason,
        participants=[
            SeatSummary(
                user_id=participant.user_id,
                status=participant_record(state, participant).status,
                camera_enabled=participant.camera_enabled,
                mic_enabled=participant.mic_enabled,
                recording_consent=participant.recording_consent,
            )
            for participant in seated
        ],
    )


def summary_to_wire(state: SessionState, now: datetime) -> dict[str, Any]:
    """Return a session's summary as JSON data."""
    data: dict[str, Any] = msgspec.to_builtins(summary_of(state, now))
    return data
