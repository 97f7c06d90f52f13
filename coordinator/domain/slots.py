"""The rules of slots: what may be offered, how one changes, who may still book it (SPEC section 2).

Owns single slots as values; must not know where they are kept, nor who asks. Repeating is `recurrence`.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from coordinator.domain.errors import InvalidRequestError, SlotInactiveError, SlotOverError
from coordinator.domain.model import DURATIONS_MINUTES, Language, Level, Recurrence, Series, SlotChanges, TimeSlot
from coordinator.domain.recurrence import zone

SEATS_LEAST = 2
"""Fewest participants, to start and to hold."""
SEATS_MOST = 50
"""Most participants of a slot."""
_LAST_YEAR = 9000
"""Starts are kept well inside what dates can hold, so that every deadline after them is one too."""
_VERSION_STEP = timedelta(milliseconds=1)


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
    """Return the slot with `changes` made, at a later version; the same slot where nothing changes. Unchecked."""
    given = {name: value for name, value in _given(changes).items() if getattr(slot, name) != value}
    return replace(slot, **given, updated_at=later_version(slot.updated_at, now)) if given else slot


def merged(earlier: SlotChanges | None, later: SlotChanges) -> SlotChanges:
    """Return both changes in one; the later wins."""
    return later if earlier is None else replace(earlier, **_given(later))


def later_version(version: datetime, now: datetime) -> datetime:
    """Return an `updatedAt` that is `now`, and in any case later than the one before: versions are told apart by it."""
    return max(now, version + _VERSION_STEP)


def is_empty(changes: SlotChanges) -> bool:
    """Tell whether nothing is asked for."""
    return not _given(changes)


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


def _given(changes: SlotChanges) -> dict[str, object]:
    return {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not None}
