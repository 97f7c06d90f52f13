"""The rules of series: what a repeating slot repeats, and how a change of all of it reaches each slot (SPEC section 2).

Owns series as values, and which of their slots a change concerns; must not know who makes slots, nor when. When an
occurrence starts is `recurrence`; the rules of a single slot are `slots`.
"""

from datetime import datetime

from msgspec.structs import replace

from coordinator.domain.errors import InvalidRequestError, SlotInactiveError, SlotOverError
from coordinator.domain.ids import SlotId, occurrence_id
from coordinator.domain.model import Series, SlotChanges, TimeSlot
from coordinator.domain.recurrence import anchor_for, start_of
from coordinator.domain.slots import (
    SlotTerms,
    changed,
    check_start,
    check_terms,
    given,
    later_version,
    merged,
    offered_slot,
)


def offered_series(terms: SlotTerms, series_id: SlotId, now: datetime) -> Series:
    """Return the series that repeating `terms` are offered as; nothing of it has been made."""
    return Series(
        id=series_id,
        target_language_code=terms.target_language_code,
        level=terms.level,
        anchor=anchor_for(terms.start_time, terms.recurrence, terms.timezone, 0),
        duration_minutes=terms.duration_minutes,
        max_participants=terms.max_participants,
        min_participants=terms.min_participants,
        recurrence=terms.recurrence,
        timezone=terms.timezone,
        is_active=True,
        created_at=now,
        updated_at=now,
        next_number=0,
        next_start=terms.start_time,
    )


def adopted_series(slot: TimeSlot, now: datetime) -> Series:
    """Return the series of a slot that repeats and was put in by hand; the slot is its occurrence 0.

    Raises:
        InvalidRequestError: Its time zone does not exist.
    """
    series = offered_series(_terms(slot, slot.start_time), slot.id, now)
    return replace(series, next_number=1, next_start=occurrence_start(series, 1))


def occurrence(series: Series, number: int, now: datetime) -> TimeSlot:
    """Return occurrence `number` of a series as it is when it is made.

    The first one that is offered starts when it was said to, even at the second of two times that the clocks show.
    """
    is_first = number == 0 and series.next_number == 0 and series.pending is None
    start = series.next_start if is_first and series.next_start is not None else occurrence_start(series, number)
    slot = offered_slot(_terms(series, start), occurrence_id(series.id, number), now)
    return replace(slot, series_id=series.id, series_number=number)


def occurrence_start(series: Series, number: int) -> datetime:
    """Return when occurrence `number` of a series starts, unless it is moved."""
    return start_of(series.anchor, series.recurrence, series.timezone, number)


def edited_series(series: Series, slot: TimeSlot, changes: SlotChanges, now: datetime) -> Series:
    """Return a series with changes made to the whole of it, which are then pending: its slots do not have them yet.

    A start is the one of `slot`, the occurrence by which the series was addressed; all others move with it. A time zone
    alone leaves that slot at its instant, and the series keeps the wall-clock time that this instant has there. What is
    pending already counts as done.

    Raises:
        SlotInactiveError: The series was stopped, and shall not go on with this.
        SlotOverError: A start is given for a slot that is over.
        InvalidRequestError: Something is out of range; or a start is given for a slot that has begun or has a session.
            The error names the field.
    """
    if not series.is_active and changes.is_active is None:
        raise SlotInactiveError("this series has been stopped; only making it active again changes it")
    if changes.start_time is not None:
        _check_movable(slot, now)
        check_start(changes.start_time, now)
    if changes.timezone == series.timezone:
        # Not a change of time: slots that were moved singly stay where they are.
        changes = replace(changes, timezone=None)
    after = replace(
        series,
        **given(replace(changes, start_time=None)),
        anchor=_edited_anchor(series, slot, changes, now),
        updated_at=later_version(series.updated_at, now),
        next_start=now,
        pending=merged(series.pending, changes),
    )
    if after.is_active:
        check_terms(after)
    return after


def brought_to(slot: TimeSlot, series: Series, changes: SlotChanges, now: datetime) -> TimeSlot:
    """Return a slot of a series with changes that were made to the whole series; the same slot where it has them.

    Concerned are slots that are still to come and have no session, whose rules would be fixed; inactive ones too, so
    that they have missed nothing when they are made active again. A deactivation also concerns those whose session
    waits for its start. What was changed in a single slot before is changed again. A start in the past, and seats that
    do not go with the slot's own, are not taken over.
    """
    if slot.start_time <= now:
        return slot
    if slot.session_id is not None:
        return changed(slot, SlotChanges(is_active=False), now) if changes.is_active is False else slot
    start = None
    if slot.series_number is not None and (changes.start_time is not None or changes.timezone is not None):
        start = occurrence_start(series, slot.series_number)
    most = changes.max_participants or slot.max_participants
    least = min(changes.min_participants or slot.min_participants, most)
    fitting = replace(changes, start_time=start if start is None or start > now else None, min_participants=least)
    return changed(slot, fitting, now)


def all_terms(series: Series) -> SlotChanges:
    """Return everything that slots have from their series, as changes that bring them to it."""
    return SlotChanges(
        target_language_code=series.target_language_code,
        level=series.level,
        duration_minutes=series.duration_minutes,
        max_participants=series.max_participants,
        min_participants=series.min_participants,
        timezone=series.timezone,
        is_active=series.is_active,
    )


def again(changes: SlotChanges, series: Series) -> SlotChanges:
    """Return changes of the same fields as `changes`, with what the series says of them now."""
    terms = given(all_terms(series))
    return replace(changes, **{name: terms[name] for name in given(changes) if name in terms})


def _check_movable(slot: TimeSlot, now: datetime) -> None:
    if slot.end_time <= now:
        raise SlotOverError("this slot is over; a slot of the series that is still to come can be moved")
    if slot.start_time <= now or slot.session_id is not None:
        raise InvalidRequestError(
            "startTime: this slot has begun; a slot of the series that is still to come can be moved", field="startTime"
        )


def _edited_anchor(series: Series, slot: TimeSlot, changes: SlotChanges, now: datetime) -> str:
    if changes.start_time is None and changes.timezone is None:
        return series.anchor
    assert slot.series_number is not None
    start = changes.start_time
    if start is None:
        start = brought_to(slot, series, series.pending or SlotChanges(), now).start_time
    elif changes.timezone is None and start == occurrence_start(series, slot.series_number):
        return series.anchor  # also where the clocks skip the wall-clock time, so that `start` does not show it
    return anchor_for(start, series.recurrence, changes.timezone or series.timezone, slot.series_number)


def _terms(source: TimeSlot | Series, start: datetime) -> SlotTerms:
    """Return what a slot that repeats, or a series, offers at `start`."""
    assert source.recurrence is not None
    return SlotTerms(
        target_language_code=source.target_language_code,
        level=source.level,
        start_time=start,
        duration_minutes=source.duration_minutes,
        max_participants=source.max_participants,
        min_participants=source.min_participants,
        recurrence=source.recurrence,
        timezone=source.timezone,
    )
