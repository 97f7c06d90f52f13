"""The data model: TimeSlot, Registration, Session, Participant (SPEC section 1).

Owns the fields and their meaning; must not know how a database or a wire writes them. Times are aware UTC with
millisecond precision, because that is what MongoDB keeps.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from coordinator.domain.ids import SessionId, SlotId, UserId


class Model(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything that is written somewhere: snake_case here, camelCase in the database and on the wire."""


class Language(StrEnum):
    """Languages that can be practised."""

    ENGLISH = "en"
    FRENCH = "fr"
    SPANISH = "es"


class Level(StrEnum):
    """CEFR levels."""

    A1 = "A1"
    A2 = "A2"
    B1 = "B1"
    B2 = "B2"
    C1 = "C1"
    C2 = "C2"


class Recurrence(StrEnum):
    """How a slot repeats, in its own time zone."""

    DAILY = "daily"
    WEEKLY = "weekly"
    ONCE = "once"


class RegistrationStatus(StrEnum):
    """What became of a booking."""

    REGISTERED = "registered"
    CANCELLED = "cancelled"
    ATTENDED = "attended"
    NOSHOW = "noshow"


class SessionStatus(StrEnum):
    """Where a session stands; it only ever moves to the right."""

    WAITING = "waiting"
    ACTIVE = "active"
    ENDED = "ended"


class ParticipantStatus(StrEnum):
    """Present in the lobby, present in the running session, or not present."""

    WAITING = "waiting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class EndReason(StrEnum):
    """Why a session ended."""

    COMPLETED = "completed"
    NOT_ENOUGH_PARTICIPANTS = "not_enough_participants"
    EMPTY = "empty"
    ENDED_BY_MODERATOR = "ended_by_moderator"


DURATIONS_MINUTES = (15, 30, 45)
"""The lengths a slot may have, in minutes."""


class TimeSlot(Model, frozen=True, kw_only=True):
    """An offered time: language, level, start and length.

    Attributes:
        id: The slot's id.
        target_language_code: The language practised.
        level: CEFR level.
        start_time: When the session is to start.
        duration_minutes: 15, 30 or 45.
        max_participants: Seats.
        min_participants: Present participants needed to start.
        is_active: False once withdrawn.
        created_at: When it was offered.
        updated_at: When it last changed.
        recurrence: How it repeats; None means once.
        timezone: IANA name of the zone whose wall-clock time the slot keeps.
        series_id: The slot that this one is an occurrence of.
        session_id: The session opened for it, once one is.
        registered_count: Seats booked.
    """

    id: SlotId
    target_language_code: Language
    level: Level
    start_time: datetime
    duration_minutes: int
    is_active: bool
    created_at: datetime
    updated_at: datetime
    max_participants: int = 8
    min_participants: int = 2
    recurrence: Recurrence | None = None
    timezone: str = "UTC"
    series_id: SlotId | None = None
    session_id: SessionId | None = None
    registered_count: int = 0


class Registration(Model, frozen=True, kw_only=True):
    """A user's booking of a slot; one per (slot, user)."""

    id: str
    time_slot_id: SlotId
    user_id: UserId
    status: RegistrationStatus
    registered_at: datetime
    cancelled_at: datetime | None = None


class Recording(Model, frozen=True, kw_only=True):
    """A recording of one participant. `start_time` synchronises it with the others."""

    user_id: UserId
    url: str
    start_time: datetime


class Session(Model, frozen=True, kw_only=True):
    """A session as it is stored and shown: a projection of its events up to `seq`."""

    id: SessionId
    time_slot_id: SlotId
    target_language_code: Language
    level: Level
    status: SessionStatus
    recording_enabled: bool
    created_at: datetime
    updated_at: datetime
    scheduled_start: datetime
    scheduled_end: datetime
    seq: int
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    recordings: tuple[Recording, ...] = ()
    next_deadline: datetime | None = None


class Participant(Model, frozen=True, kw_only=True):
    """A user's part in a session as it is stored and shown; `seq` is the last event that changed it."""

    session_id: SessionId
    user_id: UserId
    status: ParticipantStatus
    camera_enabled: bool
    mic_enabled: bool
    recording_consent: bool
    joined_at: datetime
    seq: int
    left_at: datetime | None = None
