"""The data model: TimeSlot, Registration, Session, Participant (SPEC section 1).

Owns the fields and their meaning; must not know how a database or a wire writes them. Times are aware UTC with
millisecond precision, because that is what MongoDB keeps.
"""

from datetime import datetime, timedelta
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


SESSION_KEPT = timedelta(days=30)
"""How long a session can be found after it was opened; its journal may be kept longer (SPEC section 1)."""


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
        registered_count: Seats booked: registrations that are not cancelled.
        series_number: Which occurrence of its series it is; 0 is the first.
        settle_at: Set while what becomes of its registrations is still to be written down, and from when on that is
            overdue. Never shown.
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
    series_number: int | None = None
    settle_at: datetime | None = None

    @property
    def end_time(self) -> datetime:
        """When the session is to end."""
        return self.start_time + timedelta(minutes=self.duration_minutes)


class SlotChanges(Model, frozen=True, kw_only=True):
    """What is to change in a slot, or in all coming slots of a series; None leaves as it is.

    A recurrence never changes: a series that shall repeat differently is another series.
    """

    target_language_code: Language | None = None
    level: Level | None = None
    start_time: datetime | None = None
    duration_minutes: int | None = None
    max_participants: int | None = None
    min_participants: int | None = None
    timezone: str | None = None
    is_active: bool | None = None


class Series(Model, frozen=True, kw_only=True):
    """What a repeating slot repeats: the terms of all occurrences that are still to come.

    Attributes:
        id: The id of its first slot.
        target_language_code: The language practised.
        level: CEFR level.
        anchor: Wall-clock time of occurrence 0 in `timezone`, ISO 8601 without an offset. An occurrence that exists
            need not begin there: a single slot can be moved.
        duration_minutes: 15, 30 or 45.
        max_participants: Seats.
        min_participants: Present participants needed to start.
        recurrence: Daily or weekly.
        timezone: IANA name of the zone whose wall-clock time is kept.
        is_active: False once stopped.
        created_at: When it was offered.
        updated_at: When it last changed; every change makes it later.
        next_number: The first occurrence that has not been made.
        next_start: When that one starts. None: there is nothing to do, because the series is stopped.
        pending: A change that may not have reached every coming slot yet.
    """

    id: SlotId
    target_language_code: Language
    level: Level
    anchor: str
    duration_minutes: int
    max_participants: int
    min_participants: int
    recurrence: Recurrence
    timezone: str
    is_active: bool
    created_at: datetime
    updated_at: datetime
    next_number: int
    next_start: datetime | None = None
    pending: SlotChanges | None = None


class Registration(Model, frozen=True, kw_only=True):
    """A user's booking of a slot; one per (slot, user).

    Attributes:
        id: The registration's id.
        time_slot_id: The slot.
        user_id: The user.
        status: What became of it.
        registered_at: When it was made, or made again after it was cancelled.
        cancelled_at: When it was cancelled, while it is.
        seat: Which of the slot's seats it holds, from 0; no two hold the same, which is what keeps capacity exact.
            None while cancelled, and for one that was put in by hand. Never shown.
    """

    id: str
    time_slot_id: SlotId
    user_id: UserId
    status: RegistrationStatus
    registered_at: datetime
    cancelled_at: datetime | None = None
    seat: int | None = None


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
