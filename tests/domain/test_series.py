"""The rules of series as values: what their slots are made of, and which slots a change of the whole reaches."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.domain.errors import CoordinatorError, InvalidRequestError, SlotInactiveError, SlotOverError
from coordinator.domain.ids import SessionId, SlotId, occurrence_id
from coordinator.domain.model import Language, Level, Recurrence, Series, SlotChanges, TimeSlot
from coordinator.domain.series import (
    adopted_series,
    again,
    all_terms,
    brought_to,
    edited_series,
    occurrence,
    occurrence_start,
    offered_series,
)
from coordinator.domain.slots import SlotTerms

NOW = datetime(2030, 3, 4, 12, 0, tzinfo=UTC)
FIRST = datetime(2030, 3, 5, 17, 0, tzinfo=UTC)
"""18:00 in Paris, where clocks go forward on 31 March."""
MOMENT = timedelta(milliseconds=1)
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
ID = SlotId("5e" * 12)
SESSION = SessionId("c5" * 12)
TERMS = SlotTerms(
    target_language_code=Language.FRENCH,
    level=Level.B1,
    start_time=FIRST,
    duration_minutes=30,
    max_participants=10,
    min_participants=4,
    recurrence=Recurrence.DAILY,
    timezone="Europe/Paris",
)


def series(**fields: Any) -> Series:
    """A daily series of which two weeks have been made."""
    made = {"next_number": 14, "next_start": FIRST + 14 * DAY}
    return replace(offered_series(TERMS, ID, NOW - DAY), **{**made, **fields})


def slot(number: int = 3, **fields: Any) -> TimeSlot:
    return replace(occurrence(series(), number, NOW - DAY), **fields)


def refusal(error: type[CoordinatorError], changes: SlotChanges, of: Series, by: TimeSlot) -> str | None:
    with pytest.raises(error) as refused:
        edited_series(of, by, changes, NOW)
    return refused.value.field


class TestOccurrences:
    def test_a_series_begins_with_the_slot_that_is_offered(self) -> None:
        begun = offered_series(TERMS, ID, NOW)
        assert (begun.id, begun.anchor) == (ID, "2030-03-05T18:00:00.000")
        assert (begun.next_number, begun.next_start, begun.pending) == (0, FIRST, None)
        assert occurrence(begun, 0, NOW).start_time == FIRST

    def test_a_slot_put_in_by_hand_is_its_first_and_made_already(self) -> None:
        by_hand = slot(0, series_id=None, series_number=None, level=Level.A1)
        adopted = adopted_series(by_hand, NOW)
        assert adopted == replace(
            series(), level=Level.A1, created_at=NOW, updated_at=NOW, next_number=1, next_start=FIRST + DAY
        )

    def test_an_occurrence_has_everything_from_its_series(self) -> None:
        assert occurrence(series(), 3, NOW) == TimeSlot(
            id=occurrence_id(ID, 3),
            target_language_code=Language.FRENCH,
            level=Level.B1,
            start_time=FIRST + 3 * DAY,
            duration_minutes=30,
            is_active=True,
            created_at=NOW,
            updated_at=NOW,
            max_participants=10,
            min_participants=4,
            recurrence=Recurrence.DAILY,
            timezone="Europe/Paris",
            series_id=ID,
            series_number=3,
        )

    def test_the_first_one_starts_when_it_was_said_to(self) -> None:
        # 02:30 comes twice in Paris on 27 October 2030; the second time is 01:30 UTC.
        second = datetime(2030, 10, 27, 1, 30, tzinfo=UTC)
        begun = offered_series(replace(TERMS, start_time=second), ID, NOW)
        assert occurrence(begun, 0, NOW).start_time == second
        assert occurrence_start(begun, 0) == second - timedelta(hours=1)
        assert occurrence(begun, 1, NOW).start_time == second + DAY

    def test_a_series_that_is_due_because_of_a_change_does_not_start_then(self) -> None:
        changed = series(next_number=0, next_start=NOW, pending=SlotChanges(level=Level.A1))
        assert occurrence(changed, 0, NOW).start_time == FIRST


class TestEdits:
    def test_a_change_is_pending_until_the_slots_have_it(self) -> None:
        changes = SlotChanges(target_language_code=Language.SPANISH, level=Level.C1, duration_minutes=45)
        after = edited_series(series(), slot(), changes, NOW)
        assert after == replace(
            series(),
            target_language_code=Language.SPANISH,
            level=Level.C1,
            duration_minutes=45,
            pending=changes,
            next_start=NOW,
            updated_at=NOW,
        )

    def test_changes_that_are_pending_are_not_forgotten(self) -> None:
        pending = SlotChanges(level=Level.A1, max_participants=20)
        after = edited_series(series(pending=pending), slot(), SlotChanges(level=Level.C1), NOW)
        assert after.pending == SlotChanges(level=Level.C1, max_participants=20)

    def test_each_change_is_a_version_of_its_own(self) -> None:
        once = edited_series(series(updated_at=NOW), slot(), SlotChanges(level=Level.C1), NOW)
        assert once.updated_at == NOW + MOMENT
        assert edited_series(once, slot(), SlotChanges(level=Level.C1), NOW).updated_at == NOW + 2 * MOMENT

    def test_a_start_moves_all_others_with_the_slot_that_is_given_it(self) -> None:
        after = edited_series(series(), slot(3), SlotChanges(start_time=FIRST + 4 * DAY + timedelta(hours=1)), NOW)
        assert after.anchor == "2030-03-06T19:00:00.000"
        assert occurrence_start(after, 3) == FIRST + 4 * DAY + timedelta(hours=1)
        assert occurrence_start(after, 0) == FIRST + DAY + timedelta(hours=1)
        # 19:00 in Paris, in summer time.
        assert occurrence_start(after, 26) == datetime(2030, 4, 1, 17, 0, tzinfo=UTC)

    def test_the_start_that_it_has_already_moves_nothing_not_even_where_the_clocks_skip_it(self) -> None:
        night = series(anchor="2030-03-05T02:30:00.000")
        skipped = occurrence(night, 26, NOW)
        assert skipped.start_time == datetime(2030, 3, 31, 1, 30, tzinfo=UTC), "3:30, for want of 2:30"
        again_so = edited_series(night, skipped, SlotChanges(start_time=skipped.start_time), NOW)
        assert again_so.anchor == night.anchor

    def test_a_time_zone_alone_leaves_the_slot_at_its_instant(self) -> None:
        after = edited_series(series(), slot(3), SlotChanges(timezone="America/New_York"), NOW)
        # Noon in New York, where clocks go forward on 10 March.
        assert (after.timezone, after.anchor) == ("America/New_York", "2030-03-05T12:00:00.000")
        assert occurrence_start(after, 3) == FIRST + 3 * DAY
        assert occurrence_start(after, 5) == datetime(2030, 3, 10, 16, 0, tzinfo=UTC)

    def test_a_time_zone_together_with_a_start_is_that_starts(self) -> None:
        changes = SlotChanges(timezone="Asia/Tokyo", start_time=FIRST + 3 * DAY + timedelta(hours=2))
        after = edited_series(series(), slot(3), changes, NOW)
        assert after.anchor == "2030-03-06T04:00:00.000"
        assert occurrence_start(after, 3) == changes.start_time

    def test_a_time_zone_that_it_has_already_moves_nothing(self) -> None:
        moved = slot(3, start_time=FIRST + 3 * DAY + timedelta(hours=2))
        after = edited_series(series(), moved, SlotChanges(timezone="Europe/Paris", level=Level.C1), NOW)
        assert after.anchor == series().anchor
        assert after.pending == SlotChanges(level=Level.C1)

    def test_what_is_pending_counts_as_done(self) -> None:
        """The slot is still at its old time when the zone changes: the series does not go back to it."""
        later = FIRST + 3 * DAY + timedelta(hours=1)
        moved = edited_series(series(), slot(3), SlotChanges(start_time=later), NOW)
        after = edited_series(moved, slot(3), SlotChanges(timezone="Asia/Tokyo"), NOW)
        assert occurrence_start(after, 3) == later

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            (SlotChanges(duration_minutes=20), "durationMinutes"),
            (SlotChanges(max_participants=51), "maxParticipants"),
            (SlotChanges(max_participants=3), "minParticipants"),
            (SlotChanges(min_participants=11), "minParticipants"),
            (SlotChanges(timezone="Mars/Base"), "timezone"),
            (SlotChanges(start_time=NOW), "startTime"),
            (SlotChanges(start_time=NOW, timezone="Mars/Base"), "startTime"),
        ],
        ids=str,
    )
    def test_an_edit_keeps_to_what_may_be_offered(self, changes: SlotChanges, named: str) -> None:
        assert refusal(InvalidRequestError, changes, series(), slot()) == named

    def test_a_series_is_moved_by_a_slot_that_is_to_come(self) -> None:
        later = SlotChanges(start_time=FIRST + DAY)
        refusal(SlotOverError, later, series(), slot(start_time=NOW - timedelta(minutes=30)))
        assert refusal(InvalidRequestError, later, series(), slot(start_time=NOW)) == "startTime"
        assert refusal(InvalidRequestError, later, series(), slot(session_id=SESSION)) == "startTime"

    def test_everything_else_can_be_changed_by_any_of_its_slots(self) -> None:
        over = slot(start_time=NOW - 10 * DAY, session_id=SESSION)
        assert edited_series(series(), over, SlotChanges(level=Level.C1), NOW).level is Level.C1
        assert edited_series(series(), over, SlotChanges(timezone="Asia/Tokyo"), NOW).timezone == "Asia/Tokyo"

    def test_a_series_that_was_stopped_only_goes_on(self) -> None:
        stopped = edited_series(series(), slot(), SlotChanges(is_active=False), NOW)
        assert (stopped.is_active, stopped.pending) == (False, SlotChanges(is_active=False))
        refusal(SlotInactiveError, SlotChanges(level=Level.C1), stopped, slot())
        again_active = edited_series(stopped, slot(), SlotChanges(is_active=True, level=Level.C1), NOW)
        assert (again_active.is_active, again_active.level) == (True, Level.C1)
        assert again_active.pending == SlotChanges(is_active=True, level=Level.C1)

    def test_whatever_is_wrong_with_it_it_can_be_stopped(self) -> None:
        wrong = series(duration_minutes=20, min_participants=99, timezone="Mars/Base")
        assert edited_series(wrong, slot(), SlotChanges(is_active=False), NOW).is_active is False


class TestSlots:
    def test_a_slot_to_come_gets_what_the_series_was_given(self) -> None:
        changes = SlotChanges(target_language_code=Language.SPANISH, level=Level.C1, duration_minutes=45)
        after = brought_to(slot(), series(), changes, NOW)
        assert after == replace(
            slot(), target_language_code=Language.SPANISH, level=Level.C1, duration_minutes=45, updated_at=NOW
        )

    def test_what_it_has_already_makes_no_new_version(self) -> None:
        before = slot()
        assert brought_to(before, series(), SlotChanges(), NOW) is before
        assert brought_to(before, series(), all_terms(series()), NOW) is before

    @pytest.mark.parametrize("start", [NOW, NOW - DAY], ids=["begins now", "is over"])
    def test_what_has_begun_is_left_alone(self, start: datetime) -> None:
        begun = slot(start_time=start)
        assert brought_to(begun, series(), SlotChanges(level=Level.C1, is_active=False), NOW) is begun

    def test_what_has_a_session_is_only_ever_withdrawn(self) -> None:
        opened = slot(session_id=SESSION)
        assert brought_to(opened, series(), SlotChanges(level=Level.C1), NOW) is opened
        after = brought_to(opened, series(), SlotChanges(level=Level.C1, is_active=False), NOW)
        assert after == replace(opened, is_active=False, settle_at=NOW, updated_at=NOW)
        assert brought_to(after, series(), SlotChanges(is_active=True), NOW) is after
        assert brought_to(after, series(), SlotChanges(is_active=False), NOW) is after

    def test_what_is_inactive_misses_nothing_and_stays_inactive(self) -> None:
        after = brought_to(slot(is_active=False), series(), SlotChanges(level=Level.C1), NOW)
        assert (after.level, after.is_active) == (Level.C1, False)
        assert brought_to(after, series(), SlotChanges(is_active=True), NOW).is_active

    def test_a_start_is_worked_out_for_each(self) -> None:
        moved = edited_series(series(), slot(3), SlotChanges(start_time=FIRST + 3 * DAY + timedelta(hours=1)), NOW)
        pending = moved.pending
        assert pending is not None
        for number in (1, 3, 13):
            after = brought_to(slot(number), moved, pending, NOW)
            assert after.start_time == FIRST + number * DAY + timedelta(hours=1)

    def test_a_slot_that_was_moved_alone_comes_back_with_the_others(self) -> None:
        alone = slot(3, start_time=FIRST + 9 * DAY, level=Level.A1)
        after = brought_to(alone, series(), SlotChanges(start_time=FIRST), NOW)
        assert (after.start_time, after.level) == (FIRST + 3 * DAY, Level.A1)
        assert brought_to(alone, series(), SlotChanges(duration_minutes=45), NOW).start_time == FIRST + 9 * DAY

    def test_a_time_zone_works_out_the_start_too(self) -> None:
        tokyo = edited_series(series(), slot(0), SlotChanges(timezone="America/New_York"), NOW)
        after = brought_to(slot(6), tokyo, SlotChanges(timezone="America/New_York"), NOW)
        assert (after.timezone, after.start_time) == ("America/New_York", datetime(2030, 3, 11, 16, 0, tzinfo=UTC))

    def test_a_start_in_the_past_is_not_taken_over(self) -> None:
        earlier = series(anchor="2030-03-02T18:00")
        changes = SlotChanges(start_time=FIRST, level=Level.C1)
        after = brought_to(slot(1), earlier, changes, NOW)
        assert (after.start_time, after.level) == (FIRST + DAY, Level.C1)
        assert brought_to(slot(3), earlier, changes, NOW).start_time == FIRST

    def test_a_slot_without_a_number_keeps_its_time(self) -> None:
        after = brought_to(slot(3, series_number=None), series(), SlotChanges(start_time=FIRST, level=Level.C1), NOW)
        assert (after.start_time, after.level) == (FIRST + 3 * DAY, Level.C1)

    @pytest.mark.parametrize(
        ("changes", "seats", "expected"),
        [
            (SlotChanges(max_participants=12), (4, 10), (4, 12)),
            (SlotChanges(max_participants=5), (8, 10), (5, 5)),
            (SlotChanges(min_participants=6), (2, 4), (4, 4)),
            (SlotChanges(min_participants=3, max_participants=3), (8, 10), (3, 3)),
        ],
        ids=str,
    )
    def test_seats_stay_consistent_with_what_a_slot_has_for_itself(
        self, changes: SlotChanges, seats: tuple[int, int], expected: tuple[int, int]
    ) -> None:
        own = slot(min_participants=seats[0], max_participants=seats[1])
        after = brought_to(own, series(), changes, NOW)
        assert (after.min_participants, after.max_participants) == expected
        assert brought_to(after, series(), changes, NOW) is after

    def test_all_terms_bring_any_slot_to_its_series(self) -> None:
        other = replace(
            slot(3),
            target_language_code=Language.ENGLISH,
            level=Level.A1,
            start_time=FIRST + 9 * DAY,
            duration_minutes=15,
            max_participants=2,
            min_participants=2,
            timezone="UTC",
        )
        assert replace(brought_to(other, series(), all_terms(series()), NOW), updated_at=NOW - DAY) == slot(3)

    def test_the_same_fields_again_have_what_the_series_says_now(self) -> None:
        earlier = SlotChanges(level=Level.A1, start_time=FIRST, is_active=False)
        later = series(level=Level.C2, duration_minutes=45)
        assert again(earlier, later) == SlotChanges(level=Level.C2, start_time=FIRST, is_active=True)
