"""What clients may ask over HTTP: bodies, and the parameters in path, query and headers (SPEC section 4).

Owns the fields of each request and their defaults. Where a parameter stands follows from its name: in the path if the
path names it, in a header if it begins with a capital, else in the query.
"""

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType, field

from coordinator.domain.model import Recurrence, RegistrationStatus, SessionStatus
from coordinator.protocol.fields import (
    ConsentCursor,
    DurationMinutes,
    IdCursor,
    IdempotencyKey,
    IfMatch,
    Instant,
    IsActive,
    LanguageCode,
    LevelCode,
    Limit,
    MaxParticipants,
    MinParticipants,
    MomentCursor,
    ObjectId,
    RecordingUrl,
    RecurrenceRule,
    StartTime,
    TimeZoneName,
    UserIdText,
)
from coordinator.protocol.messages import MAX_SEQ
from coordinator.protocol.reading import Request

# Bodies.


class NoBody(Request, frozen=True, kw_only=True):
    """Nothing is sent."""


class NewTimeSlot(Request, frozen=True, kw_only=True):
    """A time slot to offer."""

    target_language_code: LanguageCode
    level: LevelCode
    start_time: StartTime
    duration_minutes: DurationMinutes
    max_participants: MaxParticipants = 8
    min_participants: MinParticipants = 2
    recurrence: RecurrenceRule = Recurrence.ONCE
    timezone: TimeZoneName = "UTC"


class TimeSlotChanges(Request, frozen=True, kw_only=True):
    """What is to change in a time slot; at least one field. How it repeats cannot be changed."""

    least: ClassVar[int] = 1

    target_language_code: LanguageCode | UnsetType = UNSET
    level: LevelCode | UnsetType = UNSET
    start_time: StartTime | UnsetType = UNSET
    duration_minutes: DurationMinutes | UnsetType = UNSET
    max_participants: MaxParticipants | UnsetType = UNSET
    min_participants: MinParticipants | UnsetType = UNSET
    timezone: TimeZoneName | UnsetType = UNSET
    is_active: IsActive | UnsetType = UNSET


class NewRegistration(Request, frozen=True, kw_only=True):
    """Who is to be registered: whoever asks, unless somebody else is named."""

    user_id: UserIdText | UnsetType = UNSET


class EndSession(Request, frozen=True, kw_only=True):
    """There is nothing to say about it; the body may be left out."""


class RecordingSwitch(Request, frozen=True, kw_only=True):
    """Whether the session is recorded."""

    enabled: Annotated[bool, Meta(description="Whether those who consent are recorded.", examples=[True])]


class NewRecording(Request, frozen=True, kw_only=True):
    """A recording of one participant."""

    user_id: UserIdText
    url: RecordingUrl
    start_time: Annotated[
        Instant, Meta(description="When the recording begins; the user could be recorded then. Cut to milliseconds.")
    ]


# Parameters.


class Parameters(Request, frozen=True, kw_only=True):
    """Parameters of an operation; without fields, none are known."""


class Repeatable(Parameters, frozen=True, kw_only=True):
    """Parameters of an operation that is safe to repeat under a key."""

    idempotency_key: IdempotencyKey | UnsetType = field(default=UNSET, name="Idempotency-Key")


class OneSlot(Parameters, frozen=True, kw_only=True):
    """A time slot."""

    slot_id: Annotated[ObjectId, Meta(description="The time slot.")]


class SlotEdit(OneSlot, frozen=True, kw_only=True):
    """A time slot, or from there its whole series, at a version."""

    scope: Annotated[
        Literal["slot", "series"],
        Meta(description="`series`: all coming slots of the series too, and those that are still to be made."),
    ] = "slot"
    if_match: IfMatch | UnsetType = field(default=UNSET, name="If-Match")


class SlotFilter(Parameters, frozen=True, kw_only=True):
    """Which time slots are looked for."""

    target_language_code: LanguageCode | UnsetType = UNSET
    level: LevelCode | UnsetType = UNSET
    from_: (
        Annotated[Instant, Meta(description="They start then or later. Unless given: whatever may not be over yet.")]
        | UnsetType
    ) = field(default=UNSET, name="from")
    to: Annotated[Instant, Meta(description="They start then or earlier.")] | UnsetType = UNSET
    is_active: Annotated[bool, Meta(description="Active, or withdrawn; both unless given.")] | UnsetType = UNSET
    series_id: Annotated[ObjectId, Meta(description="Occurrences of this series.")] | UnsetType = UNSET
    cursor: MomentCursor | UnsetType = UNSET
    limit: Limit = 50


class SlotRegistration(OneSlot, frozen=True, kw_only=True):
    """A user's registration for a time slot."""

    user_id: UserIdText


class NewSlotRegistration(Repeatable, frozen=True, kw_only=True):
    """A time slot to register for."""

    slot_id: Annotated[ObjectId, Meta(description="The time slot.")]


class RegistrationFilter(Parameters, frozen=True, kw_only=True):
    """Which registrations are looked for."""

    status: Annotated[RegistrationStatus, Meta(description="With this status.")] | UnsetType = UNSET
    cursor: IdCursor | UnsetType = UNSET
    limit: Limit = 50


class SlotRegistrations(RegistrationFilter, frozen=True, kw_only=True):
    """Registrations for a time slot."""

    slot_id: Annotated[ObjectId, Meta(description="The time slot.")]


class OneUser(Parameters, frozen=True, kw_only=True):
    """A user."""

    user_id: UserIdText


class UserRegistrations(RegistrationFilter, frozen=True, kw_only=True):
    """A user's registrations."""

    user_id: UserIdText


class UserConsents(Parameters, frozen=True, kw_only=True):
    """A user's consents."""

    user_id: UserIdText
    cursor: ConsentCursor | UnsetType = UNSET
    limit: Limit = 50


class SessionFilter(Parameters, frozen=True, kw_only=True):
    """Which sessions are looked for."""

    status: Annotated[SessionStatus, Meta(description="With this status.")] | UnsetType = UNSET
    target_language_code: LanguageCode | UnsetType = UNSET
    time_slot_id: Annotated[ObjectId, Meta(description="Of this time slot.")] | UnsetType = UNSET
    cursor: MomentCursor | UnsetType = UNSET
    limit: Limit = 50


class OneSession(Parameters, frozen=True, kw_only=True):
    """A session."""

    session_id: Annotated[ObjectId, Meta(description="The session.")]


class SessionAction(Repeatable, frozen=True, kw_only=True):
    """A session to do something to."""

    session_id: Annotated[ObjectId, Meta(description="The session.")]


class SessionEvents(OneSession, frozen=True, kw_only=True):
    """A part of a session's log."""

    after: Annotated[
        int, Meta(ge=0, le=MAX_SEQ, description="The `seq` after which to go on: the `next` of the page before.")
    ] = 0
    limit: Annotated[int, Meta(ge=1, le=1000, description="How many events at most.", examples=[100])] = 100
