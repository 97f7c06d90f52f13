"""The rules of single slots: what may be offered, what an edit does, who may still book."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.domain.errors import (
    CoordinatorError,
    InvalidRequestError,
    SessionEndedError,
    SlotInactiveError,
    SlotOverError,
)
from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import Language, Level, Recurrence, Series, SlotChanges, TimeSlot
from coordinator.domain.slots import (
    SlotTerms,
    changed,
    check_bookable,
    check_deactivated_alone,
    check_start,
    check_terms,
    edited,
    is_empty,
    later_version,
    merged,
    overlaps,
    whole_milliseconds,
    wire_name,
)

NOW = datetime(2030, 5, 1, 12, 0, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)
HOUR = timedelta(hours=1)
SESSION = SessionId("5e" * 12)


def terms(**fields: Any) -> SlotTerms:
    offered = SlotTerms(
        target_language_code=Language.FRENCH, level=Level.B1, start_time=NOW + HOUR, duration_minutes=30
    )
    return replace(offered, **fields)


def slot(**fields: Any) -> TimeSlot:
    """A slot in an hour, offered an hour ago."""
    offered = TimeSlot(
        id=SlotId("51" * 12),
        target_language_code=Language.FRENCH,
        level=Level.B1,
        start_time=NOW + HOUR,
        duration_minutes=30,
        is_active=True,
        created_at=NOW - HOUR,
        updated_at=NOW - HOUR,
    )
    return replace(offered, **fields)


def refusal(error: type[CoordinatorError], changes: SlotChanges, **fields: Any) -> CoordinatorError:
    with pytest.raises(error) as refused:
        edited(slot(**fields), changes, NOW)
    return refused.value


class TestTerms:
    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"duration_minutes": 15},
            {"duration_minutes": 45},
            {"min_participants": 2, "max_participants": 2},
            {"min_participants": 50, "max_participants": 50},
            {"min_participants": 8},
            {"timezone": "America/Argentina/Buenos_Aires"},
            {"recurrence": Recurrence.WEEKLY},
        ],
        ids=str,
    )
    def test_what_may_be_offered(self, fields: dict[str, Any]) -> None:
        check_terms(terms(**fields))
        check_terms(slot(**fields))

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"duration_minutes": 0}, "durationMinutes"),
            ({"duration_minutes": 20}, "durationMinutes"),
            ({"duration_minutes": 60}, "durationMinutes"),
            ({"duration_minutes": -15}, "durationMinutes"),
            ({"max_participants": 1, "min_participants": 1}, "maxParticipants"),
            ({"max_participants": 51}, "maxParticipants"),
            ({"max_participants": -8}, "maxParticipants"),
            ({"min_participants": 1}, "minParticipants"),
            ({"min_participants": 0}, "minParticipants"),
            ({"min_participants": 9}, "minParticipants"),
            ({"max_participants": 3, "min_participants": 4}, "minParticipants"),
            ({"timezone": "Mars/Base"}, "timezone"),
            ({"timezone": ""}, "timezone"),
        ],
        ids=str,
    )
    def test_what_may_not_and_which_field_is_named(self, fields: dict[str, Any], named: str) -> None:
        for offered in (terms(**fields), slot(**fields)):
            with pytest.raises(InvalidRequestError) as refused:
                check_terms(offered)
            assert refused.value.field == named
            assert refused.value.message.startswith(f"{named}: ")

    def test_a_series_has_the_same_rules(self) -> None:
        series = Series(
            id=SlotId("51" * 12),
            target_language_code=Language.FRENCH,
            level=Level.B1,
            anchor="2030-05-01T13:00",
            duration_minutes=30,
            max_participants=8,
            min_participants=2,
            recurrence=Recurrence.DAILY,
            timezone="UTC",
            is_active=True,
            created_at=NOW,
            updated_at=NOW,
            next_number=0,
        )
        check_terms(series)
        with pytest.raises(InvalidRequestError) as refused:
            check_terms(replace(series, max_participants=51))
        assert refused.value.field == "maxParticipants"

    def test_what_is_left_out_has_the_agreed_values(self) -> None:
        offered = terms()
        assert (offered.max_participants, offered.min_participants, offered.timezone) == (8, 2, "UTC")
        assert offered.recurrence is Recurrence.ONCE

    @pytest.mark.parametrize("start", [NOW + MOMENT, NOW + HOUR, datetime(9000, 12, 31, tzinfo=UTC)], ids=str)
    def test_a_slot_starts_in_the_future(self, start: datetime) -> None:
        check_start(start, NOW)

    @pytest.mark.parametrize(
        "start",
        [NOW, NOW - MOMENT, NOW - HOUR, datetime(9001, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],
        ids=str,
    )
    def test_not_in_the_past_nor_beyond_what_dates_can_hold(self, start: datetime) -> None:
        with pytest.raises(InvalidRequestError) as refused:
            check_start(start, NOW)
        assert refused.value.field == "startTime"

    def test_starts_are_kept_in_utc_and_in_whole_milliseconds(self) -> None:
        given = datetime(2030, 5, 1, 14, 30, 15, 123_999, tzinfo=timezone(timedelta(hours=2)))
        kept = whole_milliseconds(given)
        assert kept == datetime(2030, 5, 1, 12, 30, 15, 123_000, tzinfo=UTC)
        assert kept.tzinfo is UTC


class TestChanges:
    def test_only_what_is_given_changes(self) -> None:
        before = slot(registered_count=3, timezone="Europe/Paris")
        after = changed(before, SlotChanges(level=Level.C1, max_participants=5), NOW)
        assert after == replace(before, level=Level.C1, max_participants=5, updated_at=NOW)

    def test_every_field_can_be_given(self) -> None:
        everything = SlotChanges(
            target_language_code=Language.ENGLISH,
            level=Level.A1,
            start_time=NOW + 2 * HOUR,
            duration_minutes=45,
            max_participants=12,
            min_participants=4,
            timezone="Asia/Tokyo",
            is_active=False,
        )
        after = changed(slot(), everything, NOW)
        assert {name: getattr(after, name) for name in everything.__struct_fields__} == {
            name: getattr(everything, name) for name in everything.__struct_fields__
        }

    @pytest.mark.parametrize("changes", [SlotChanges(), SlotChanges(level=Level.B1, is_active=True)], ids=str)
    def test_a_change_that_changes_nothing_leaves_the_same_version(self, changes: SlotChanges) -> None:
        before = slot()
        assert changed(before, changes, NOW) is before

    def test_a_slot_that_is_deactivated_is_to_be_settled_now(self) -> None:
        after = changed(slot(), SlotChanges(is_active=False), NOW)
        assert (after.is_active, after.settle_at) == (False, NOW)

    def test_nothing_else_marks_a_slot(self) -> None:
        assert changed(slot(), SlotChanges(level=Level.A1), NOW).settle_at is None
        assert changed(slot(is_active=False), SlotChanges(is_active=True), NOW).settle_at is None
        assert changed(slot(settle_at=NOW - HOUR), SlotChanges(level=Level.A1), NOW).settle_at == NOW - HOUR

    def test_a_version_is_the_time_of_the_change(self) -> None:
        assert later_version(NOW - MOMENT, NOW) == NOW

    @pytest.mark.parametrize("ahead", [timedelta(0), MOMENT, HOUR], ids=str)
    def test_and_always_later_than_the_one_before(self, ahead: timedelta) -> None:
        assert later_version(NOW + ahead, NOW) == NOW + ahead + MOMENT

    def test_two_changes_in_one_the_later_wins(self) -> None:
        earlier = SlotChanges(level=Level.A1, max_participants=5, is_active=False)
        later = SlotChanges(level=Level.C2, timezone="Asia/Tokyo", is_active=True)
        assert merged(earlier, later) == SlotChanges(
            level=Level.C2, max_participants=5, timezone="Asia/Tokyo", is_active=True
        )

    def test_merging_takes_nothing_away(self) -> None:
        changes = SlotChanges(level=Level.A1, is_active=False)
        assert merged(None, changes) == changes
        assert merged(changes, SlotChanges()) == changes
        assert merged(SlotChanges(), changes) == changes

    def test_nothing_asked_for_is_told_from_something(self) -> None:
        assert is_empty(SlotChanges())
        assert not is_empty(SlotChanges(is_active=False))

    def test_a_deactivation_goes_alone(self) -> None:
        check_deactivated_alone(SlotChanges(is_active=False))
        with pytest.raises(InvalidRequestError) as refused:
            check_deactivated_alone(SlotChanges(is_active=False, level=Level.A1))
        assert refused.value.field == "isActive"

    def test_fields_have_the_names_that_they_are_written_under(self) -> None:
        assert [wire_name(name) for name in SlotChanges.__struct_fields__] == [
            "targetLanguageCode",
            "level",
            "startTime",
            "durationMinutes",
            "maxParticipants",
            "minParticipants",
            "timezone",
            "isActive",
        ]


class TestEdits:
    def test_an_edit_is_a_change(self) -> None:
        changes = SlotChanges(level=Level.C1, start_time=NOW + 3 * HOUR)
        assert edited(slot(), changes, NOW) == changed(slot(), changes, NOW)

    @pytest.mark.parametrize(
        "fields",
        [{}, {"start_time": NOW - HOUR}, {"is_active": False}, {"session_id": SESSION}],
        ids=["open", "over", "inactive", "with a session"],
    )
    def test_an_edit_without_effect_is_always_fine(self, fields: dict[str, Any]) -> None:
        before = slot(**fields)
        assert edited(before, SlotChanges(level=before.level), NOW) is before

    def test_a_slot_that_is_over_stays_as_it_was(self) -> None:
        over = {"start_time": NOW - timedelta(minutes=30)}
        refusal(SlotOverError, SlotChanges(level=Level.A1), **over)
        refusal(SlotOverError, SlotChanges(start_time=NOW + HOUR), **over)
        refusal(SlotOverError, SlotChanges(is_active=True), **over, is_active=False)

    def test_a_slot_that_has_begun_without_a_session_can_be_edited_and_moved(self) -> None:
        begun = slot(start_time=NOW - timedelta(minutes=30) + MOMENT)
        assert edited(begun, SlotChanges(level=Level.A1), NOW).level is Level.A1
        assert edited(begun, SlotChanges(start_time=NOW + HOUR), NOW).start_time == NOW + HOUR

    def test_a_slot_is_not_moved_into_the_past(self) -> None:
        assert refusal(InvalidRequestError, SlotChanges(start_time=NOW)).field == "startTime"

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            (SlotChanges(duration_minutes=20), "durationMinutes"),
            (SlotChanges(max_participants=51), "maxParticipants"),
            (SlotChanges(max_participants=3), "minParticipants"),
            (SlotChanges(min_participants=9), "minParticipants"),
            (SlotChanges(timezone="Mars/Base"), "timezone"),
        ],
        ids=str,
    )
    def test_an_edit_keeps_to_what_may_be_offered(self, changes: SlotChanges, named: str) -> None:
        assert refusal(InvalidRequestError, changes, min_participants=4).field == named

    def test_seats_may_change_together(self) -> None:
        after = edited(slot(), SlotChanges(max_participants=20, min_participants=20), NOW)
        assert (after.max_participants, after.min_participants) == (20, 20)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            (SlotChanges(timezone="Asia/Tokyo", duration_minutes=45), "durationMinutes"),
            (SlotChanges(level=Level.B1, start_time=NOW + 2 * HOUR), "startTime"),
        ],
        ids=str,
    )
    def test_a_session_fixes_the_rules_of_its_slot(self, changes: SlotChanges, named: str) -> None:
        refused = refusal(InvalidRequestError, changes, session_id=SESSION)
        assert refused.field == named
        assert "session is open" in refused.message

    def test_a_deactivated_slot_only_becomes_active_again(self) -> None:
        refusal(SlotInactiveError, SlotChanges(level=Level.A1), is_active=False)
        after = edited(slot(is_active=False), SlotChanges(is_active=True, level=Level.A1), NOW)
        assert (after.is_active, after.level) == (True, Level.A1)

    def test_it_becomes_active_again_before_its_start_only(self) -> None:
        begun = {"is_active": False, "start_time": NOW}
        assert refusal(InvalidRequestError, SlotChanges(is_active=True), **begun).field == "startTime"
        after = edited(slot(**begun), SlotChanges(is_active=True, start_time=NOW + HOUR), NOW)
        assert (after.is_active, after.start_time) == (True, NOW + HOUR)

    def test_never_with_a_session_which_ended_with_it(self) -> None:
        refusal(SessionEndedError, SlotChanges(is_active=True), is_active=False, session_id=SESSION)


class TestBooking:
    def test_a_slot_can_be_booked_until_it_is_over(self) -> None:
        begun = slot(start_time=NOW - timedelta(minutes=30) + MOMENT)
        check_bookable(begun, NOW)
        with pytest.raises(SlotOverError):
            check_bookable(begun, NOW + MOMENT)

    def test_a_deactivated_slot_cannot_be_booked(self) -> None:
        with pytest.raises(SlotInactiveError):
            check_bookable(slot(is_active=False), NOW)
        with pytest.raises(SlotInactiveError):
            check_bookable(slot(is_active=False, start_time=NOW - HOUR), NOW)

    @pytest.mark.parametrize(
        ("minutes", "length", "expected"),
        [
            (0, 30, True),
            (10, 15, True),
            (29, 30, True),
            (30, 30, False),
            (31, 30, False),
            (-15, 15, False),
            (-15, 30, True),
            (-10, 45, True),
            (-45, 45, False),
            (24 * 60, 30, False),
        ],
    )
    def test_slots_overlap_where_they_share_time_and_not_where_they_touch(
        self, minutes: int, length: int, expected: bool
    ) -> None:
        one = slot()
        other = slot(start_time=one.start_time + timedelta(minutes=minutes), duration_minutes=length)
        assert overlaps(one, other) is expected
        assert overlaps(other, one) is expected
