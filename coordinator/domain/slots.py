"""The rules of slots: what may be offered, how one changes, who may still book it (SPEC section 2).

Owns single slots as values; must not know where they are kept, nor who asks. When a slot repeats is `recurrence`, what
its occurrences have in common is `series`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from coordinator.domain.errors import InvalidRequestError, SessionEndedError, SlotInactiveError, SlotOverError
from coordinator.domain.ids import SlotId
from coordinator.domain.model import DURATIONS_MINUTES, Language, Level, Recurrence, Series, SlotChanges, TimeSlot
from coordinator.domain.recurrence import zone

SEATS_LEAST = 2
"""Fewest participants, to start and to hold."""
SEATS_MOST = 50
"""Most participants of a slot."""
_LAST_YEAR = 9000
"""Starts are kept well inside what dates can hold, so that every deadline after them is one too."""
_VERSION_STEP = timedelta(milliseconds=1)
_WIRE_NAMES = dict(zip(SlotChanges.__struct_fields__, SlotChanges.__struct_encode_fields__, strict=True))


class SlotTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What is offered: the fields of a slot that whoever offers it decides."""

    target_language_code: Language
    level: Level
    start_time: datetime
    duration_minutes: int
    max_participants: int = 8
    min_participants: int = 2
    recurrence: Recurrence = Recurrence.ONCE
    timezone: str = "UTC"


def offered_slot(terms: SlotTerms, slot_id: SlotId, now: datetime) -> TimeSlot:
    """Return the slot that `terms` are offered as."""
    return TimeSlot(
        id=slot_id,
        target_language_code=terms.target_language_code,
        level=terms.level,
        start_time=terms.start_time,
        duration_minutes=terms.duration_minutes,
        is_active=True,
        created_at=now,
        updated_at=now,
        max_participants=terms.max_participants,
        min_participants=terms.min_participants,
        recurrence=terms.recurrence,
        timezone=terms.timezone,
    )


def check_terms(terms: SlotTerms | TimeSlot | Series) -> None:
    """Check everything but the start.

    Raises:
        InvalidRequestError: A field is out of range; the error names it.
    """
    if terms.duration_minutes not in DURATIONS_MINUTES:
        raise InvalidRequestError("durationMinutes: must be 15, 30 or 45", field="durationMinutes")
    if not SEATS_LEAST <= terms.max_participants <= SEATS_MOST:
        raise InvalidRequestError(
            f"maxParticipants: must be from {SEATS_LEAST} to {SEATS_MOST}", field="maxParticipants"
        )
    if not SEATS_LEAST <= terms.min_participants <= terms.max_participants:
        raise InvalidRequestError(
            f"minParticipants: must be from {SEATS_LEAST} to maxParticipants, which is {terms.max_participants}",
            field="minParticipants",
        )
    zone(terms.timezone)


def check_start(start: datetime, now: datetime) -> None:
    """Check that a slot may start at `start`.

    Raises:
        InvalidRequestError: It is not in the future, or too far in it.
    """
    if start <= now:
        raise InvalidRequestError("startTime: must be in the future", field="startTime")
    if start.year > _LAST_YEAR:
        raise InvalidRequestError(f"startTime: must not be after the year {_LAST_YEAR}", field="startTime")


def changed(slot: TimeSlot, changes: SlotChanges, now: datetime) -> TimeSlot:
    """Return the slot with `changes` made, at a later version; the same slot where nothing changes. Unchecked.

    One that is deactivated is marked as to be settled now: with the mark, nobody can forget its registrations.
    """
    new = _new(slot, changes)
    if not new:
        return slot
    if "is_active" in new and not new["is_active"]:
        new["settle_at"] = now
    return replace(slot, **new, updated_at=later_version(slot.updated_at, now))


def edited(slot: TimeSlot, changes: SlotChanges, now: datetime) -> TimeSlot:
    """Return the slot with `changes` made to it alone; the same slot where nothing changes. Not for deactivating.

    Raises:
        SlotOverError: Its time has passed.
        SlotInactiveError: It is deactivated, and shall not be made active with this.
        SessionEndedError: It shall be made active again, but it had a session, which ended with it.
        InvalidRequestError: Its session is open; or something is out of range. The error names the field.
    """
    new = _new(slot, changes)
    if not new:
        return slot
    if slot.end_time <= now:
        raise SlotOverError("this slot is over")
    if not slot.is_active and not changes.is_active:
        raise SlotInactiveError("this slot has been deactivated; only making it active again changes it")
    if not slot.is_active and slot.session_id is not None:
        raise SessionEndedError("this slot's session ended when it was deactivated, for good")
    if slot.session_id is not None:
        field = wire_name(next(iter(new)))
        raise InvalidRequestError(f"{field}: the slot's session is open; its rules are fixed", field=field)
    after = changed(slot, changes, now)
    check_terms(after)
    if after.start_time != slot.start_time or not slot.is_active:
        check_start(after.start_time, now)
    return after


def check_deactivated_alone(changes: SlotChanges) -> None:
    """Check that nothing else is asked for together with a deactivation: what is withdrawn has no use for it.

    Raises:
        InvalidRequestError: Something is.
    """
    if changes != SlotChanges(is_active=False):
        raise InvalidRequestError("isActive: false goes alone, without other changes", field="isActive")


def whole_milliseconds(instant: datetime) -> datetime:
    """Return an instant in UTC, cut to milliseconds: that is what is kept."""
    return instant.astimezone(UTC).replace(microsecond=instant.microsecond // 1000 * 1000)


def wire_name(field: str) -> str:
    """Return the name of a field of `SlotChanges` as it is written."""
    return _WIRE_NAMES[field]


def merged(earlier: SlotChanges | None, later: SlotChanges) -> SlotChanges:
    """Return both changes in one; the later wins."""
    return later if earlier is None else replace(earlier, **given(later))


def later_version(version: datetime, now: datetime) -> datetime:
    """Return an `updatedAt` that is `now`, and in any case later than the one before: versions are told apart by it."""
    return max(now, version + _VERSION_STEP)


def is_empty(changes: SlotChanges) -> bool:
    """Tell whether nothing is asked for."""
    return not given(changes)


def given(changes: SlotChanges) -> dict[str, Any]:
    """Return what is asked for, by field."""
    return {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not None}


def check_bookable(slot: TimeSlot, now: datetime) -> None:
    """Check that a slot can still be booked; whether a seat is left is another question.

    Raises:
        SlotInactiveError: It was deactivated.
        SlotOverError: Its time has passed.
    """
    if not slot.is_active:
        raise SlotInactiveError("this slot has been deactivated")
    if slot.end_time <= now:
        raise SlotOverError("this slot is over")


def overlaps(one: TimeSlot, other: TimeSlot) -> bool:
    """Tell whether two slots share any time; one may start when the other ends."""
    return one.start_time < other.end_time and other.start_time < one.end_time


def _new(slot: TimeSlot, changes: SlotChanges) -> dict[str, Any]:
    return {name: value for name, value in given(changes).items() if getattr(slot, name) != value}
