"""The live state of a session: everything that deciding needs, folded from its events.

Owns the derived facts (who is present, who holds a seat, who may be recorded) and the projection into the data model.
Values are never changed in place: `evolve` makes new ones.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from coordinator.domain.ids import ConnectionId, SessionId, SlotId, UserId
from coordinator.domain.model import (
    EndReason,
    Language,
    Level,
    Participant,
    ParticipantStatus,
    Recording,
    Session,
    SessionStatus,
)
from coordinator.domain.pseudonyms import Alias
from coordinator.domain.transitions import Presence


class Interval(msgspec.Struct, frozen=True, gc=False):
    """A time during which a user could be recorded; `end` is None while it lasts. The end itself is outside."""

    start: datetime
    end: datetime | None = None

    def contains(self, instant: datetime) -> bool:
        """Tell whether `instant` lies inside."""
        return self.start <= instant and (self.end is None or instant < self.end)


class ParticipantState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A user's part in a live session.

    Attributes:
        user_id: The user.
        presence: Where the user stands (see `transitions`).
        connection_id: The connection that holds the seat, or held it last.
        camera_enabled: Whether the camera is on; survives a reconnection.
        mic_enabled: Whether the microphone is on; survives a reconnection.
        recording_consent: Whether consent to be recorded is granted now.
        policy_version: The policy under which it was granted or revoked last.
        joined_at: When the user first took a seat.
        left_at: Since when the user has not been present; None while present.
        reconnect_by: Until when the seat is held; set only while away.
        recordable: Intervals in which the user could be recorded, oldest first.
        seq: The last event that changed this participant.
    """

    user_id: UserId
    presence: Presence
    connection_id: ConnectionId
    camera_enabled: bool
    mic_enabled: bool
    recording_consent: bool
    policy_version: str | None
    joined_at: datetime
    left_at: datetime | None
    reconnect_by: datetime | None
    recordable: tuple[Interval, ...]
    seq: int

    @property
    def is_present(self) -> bool:
        """Whether the user is there on a live connection."""
        return self.presence is Presence.PRESENT

    @property
    def holds_seat(self) -> bool:
        """Whether the user's seat is taken: present, or away and expected back."""
        return self.presence is Presence.PRESENT or self.presence is Presence.AWAY

    @property
    def is_permitted(self) -> bool:
        """Whether a `recording_permitted` without its `recording_withdrawn` stands in the log."""
        return bool(self.recordable) and self.recordable[-1].end is None


class SessionState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A live session after its event number `seq`.

    The rules (`no_show_at` and the following) were fixed when the lobby opened. `empty_since` is set while an active
    session has nobody present. `aliases` holds those of the participants whose salts the log still has.
    """

    session_id: SessionId
    time_slot_id: SlotId
    target_language_code: Language
    level: Level
    status: SessionStatus
    scheduled_start: datetime
    scheduled_end: datetime
    no_show_at: datetime
    min_participants: int
    max_participants: int
    empty_timeout_seconds: float
    reconnect_grace_seconds: float
    created_at: datetime
    updated_at: datetime
    seq: int
    recording_enabled: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    empty_since: datetime | None = None
    recordings: tuple[Recording, ...] = ()
    participants: Mapping[UserId, ParticipantState] = {}
    aliases: Mapping[UserId, Alias] = {}

    @property
    def is_live(self) -> bool:
        """Whether the session is waiting or active."""
        return self.status is not SessionStatus.ENDED

    @property
    def present_count(self) -> int:
        """How many users are there on a live connection."""
        return sum(1 for participant in self.participants.values() if participant.is_present)

    @property
    def seats_taken(self) -> int:
        """How many seats are taken, seats held for users who are away included."""
        return sum(1 for participant in self.participants.values() if participant.holds_seat)

    def may_be_recorded(self, participant: ParticipantState) -> bool:
        """The rule of SPEC section 2: active, recording enabled, connected, and consent granted."""
        return (
            self.status is SessionStatus.ACTIVE
            and self.recording_enabled
            and participant.is_present
            and participant.recording_consent
        )


def session_record(state: SessionState, next_deadline: datetime | None) -> Session:
    """Project a live session into the stored document's form."""
    return Session(
        id=state.session_id,
        time_slot_id=state.time_slot_id,
        target_language_code=state.target_language_code,
        level=state.level,
        status=state.status,
        recording_enabled=state.recording_enabled,
        created_at=state.created_at,
        updated_at=state.updated_at,
        scheduled_start=state.scheduled_start,
        scheduled_end=state.scheduled_end,
        seq=state.seq,
        started_at=state.started_at,
        ended_at=state.ended_at,
        end_reason=state.end_reason,
        recordings=state.recordings,
        next_deadline=next_deadline,
    )


def participant_record(state: SessionState, participant: ParticipantState) -> Participant:
    """Project one participant of a live session into the stored document's form."""
    return Participant(
        session_id=state.session_id,
        user_id=participant.user_id,
        status=_status_of(state, participant),
        camera_enabled=participant.camera_enabled,
        mic_enabled=participant.mic_enabled,
        recording_consent=participant.recording_consent,
        joined_at=participant.joined_at,
        left_at=participant.left_at,
        seq=participant.seq,
    )


def _status_of(state: SessionState, participant: ParticipantState) -> ParticipantStatus:
    if not participant.is_present:
        return ParticipantStatus.DISCONNECTED
    if state.status is SessionStatus.WAITING:
        return ParticipantStatus.WAITING
    return ParticipantStatus.CONNECTED
