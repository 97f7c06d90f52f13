"""When repeating slots repeat. The tables are written by hand, from what the clocks of each zone did or will do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.domain.errors import InvalidRequestError
from coordinator.domain.model import Recurrence
from coordinator.domain.recurrence import anchor_for, first_number_after, instant_of, start_of, wall_clock, zone

DAILY, WEEKLY = Recurrence.DAILY, Recurrence.WEEKLY
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def instants(*texts: str) -> list[datetime]:
    """Read instants such as `2026-03-28 01:30`, in UTC."""
    return [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts]


def starts(anchor: str, recurrence: Recurrence, timezone: str, count: int) -> list[datetime]:
    return [start_of(anchor, recurrence, timezone, number) for number in range(count)]


DST_TABLE = {
    # Paris, 2026: clocks go from 02:00 to 03:00 on 29 March and from 03:00 back to 02:00 on 25 October, at 01:00 UTC.
    "Paris daily, spring 2026": (
        ("2026-03-27T18:30", DAILY, "Europe/Paris"),
        instants("2026-03-27 17:30", "2026-03-28 17:30", "2026-03-29 16:30", "2026-03-30 16:30"),
    ),
    "Paris daily, autumn 2026": (
        ("2026-10-23T18:30", DAILY, "Europe/Paris"),
        instants("2026-10-23 16:30", "2026-10-24 16:30", "2026-10-25 17:30", "2026-10-26 17:30"),
    ),
    "Paris weekly, spring 2026": (
        ("2026-03-25T18:30", WEEKLY, "Europe/Paris"),
        instants("2026-03-25 17:30", "2026-04-01 16:30", "2026-04-08 16:30"),
    ),
    "Paris weekly, autumn 2026": (
        ("2026-10-21T18:00", WEEKLY, "Europe/Paris"),
        instants("2026-10-21 16:00", "2026-10-28 17:00", "2026-11-04 17:00"),
    ),
    # Skipped on the 29th, it is 03:30 on that day; on the next it is 02:30 again.
    "Paris daily, skipped in 2026": (
        ("2026-03-28T02:30", DAILY, "Europe/Paris"),
        instants("2026-03-28 01:30", "2026-03-29 01:30", "2026-03-30 00:30", "2026-03-31 00:30"),
    ),
    "Paris weekly, skipped in 2026": (
        ("2026-03-22T02:30", WEEKLY, "Europe/Paris"),
        instants("2026-03-22 01:30", "2026-03-29 01:30", "2026-04-05 00:30"),
    ),
    # Twice on the 25th, it is the first.
    "Paris daily, twice in 2026": (
        ("2026-10-24T02:30", DAILY, "Europe/Paris"),
        instants("2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"),
    ),
    "Paris weekly, twice in 2026": (
        ("2026-10-18T02:30", WEEKLY, "Europe/Paris"),
        instants("2026-10-18 00:30", "2026-10-25 00:30", "2026-11-01 01:30"),
    ),
    # The edges of the hour that is skipped, and of the one that comes twice.
    "Paris daily, skipped from its first minute": (
        ("2026-03-28T02:00", DAILY, "Europe/Paris"),
        instants("2026-03-28 01:00", "2026-03-29 01:00", "2026-03-30 00:00"),
    ),
    "Paris daily, not skipped any more": (
        ("2026-03-28T03:00", DAILY, "Europe/Paris"),
        instants("2026-03-28 02:00", "2026-03-29 01:00", "2026-03-30 01:00"),
    ),
    "Paris daily, twice from its first minute": (
        ("2026-10-24T02:00", DAILY, "Europe/Paris"),
        instants("2026-10-24 00:00", "2026-10-25 00:00", "2026-10-26 01:00"),
    ),
    "Paris daily, not twice any more": (
        ("2026-10-24T03:00", DAILY, "Europe/Paris"),
        instants("2026-10-24 01:00", "2026-10-25 02:00", "2026-10-26 02:00"),
    ),
    # Paris, 2027: 28 March and 31 October.
    "Paris daily, skipped in 2027": (
        ("2027-03-27T02:30", DAILY, "Europe/Paris"),
        instants("2027-03-27 01:30", "2027-03-28 01:30", "2027-03-29 00:30"),
    ),
    "Paris daily, twice in 2027": (
        ("2027-10-30T02:30", DAILY, "Europe/Paris"),
        instants("2027-10-30 00:30", "2027-10-31 00:30", "2027-11-01 01:30"),
    ),
    "Paris weekly, spring 2027": (
        ("2027-03-21T09:00", WEEKLY, "Europe/Paris"),
        instants("2027-03-21 08:00", "2027-03-28 07:00", "2027-04-04 07:00"),
    ),
    "Paris weekly, twice in 2027": (
        ("2027-10-24T02:30", WEEKLY, "Europe/Paris"),
        instants("2027-10-24 00:30", "2027-10-31 00:30", "2027-11-07 01:30"),
    ),
    # New York, 2026: 02:00 to 03:00 on 8 March at 07:00 UTC, 02:00 back to 01:00 on 1 November at 06:00 UTC.
    "New York daily, skipped in 2026": (
        ("2026-03-07T02:30", DAILY, "America/New_York"),
        instants("2026-03-07 07:30", "2026-03-08 07:30", "2026-03-09 06:30"),
    ),
    "New York daily, twice in 2026": (
        ("2026-10-31T01:30", DAILY, "America/New_York"),
        instants("2026-10-31 05:30", "2026-11-01 05:30", "2026-11-02 06:30"),
    ),
    "New York weekly, skipped in 2026": (
        ("2026-03-01T02:30", WEEKLY, "America/New_York"),
        instants("2026-03-01 07:30", "2026-03-08 07:30", "2026-03-15 06:30"),
    ),
    "New York weekly, autumn 2026": (
        ("2026-10-30T20:00", WEEKLY, "America/New_York"),
        instants("2026-10-31 00:00", "2026-11-07 01:00", "2026-11-14 01:00"),
    ),
    # New York, 2027: 14 March and 7 November.
    "New York daily, skipped in 2027": (
        ("2027-03-13T02:30", DAILY, "America/New_York"),
        instants("2027-03-13 07:30", "2027-03-14 07:30", "2027-03-15 06:30"),
    ),
    "New York daily, twice in 2027": (
        ("2027-11-06T01:30", DAILY, "America/New_York"),
        instants("2027-11-06 05:30", "2027-11-07 05:30", "2027-11-08 06:30"),
    ),
    "New York weekly, spring 2027": (
        ("2027-03-08T12:15", WEEKLY, "America/New_York"),
        instants("2027-03-08 17:15", "2027-03-15 16:15", "2027-03-22 16:15"),
    ),
    "New York weekly, twice in 2027": (
        ("2027-10-31T01:30", WEEKLY, "America/New_York"),
        instants("2027-10-31 05:30", "2027-11-07 05:30", "2027-11-14 06:30"),
    ),
}

CALENDAR_TABLE = {
    "into 29 February 2028, daily": (
        ("2028-02-28T12:00", DAILY, "Europe/Paris"),
        instants("2028-02-28 11:00", "2028-02-29 11:00", "2028-03-01 11:00"),
    ),
    "from 29 February 2028, daily": (
        ("2028-02-29T12:00", DAILY, "Europe/Paris"),
        instants("2028-02-29 11:00", "2028-03-01 11:00", "2028-03-02 11:00"),
    ),
    "into 29 February 2028, weekly": (
        ("2028-02-22T12:00", WEEKLY, "Europe/Paris"),
        instants("2028-02-22 11:00", "2028-02-29 11:00", "2028-03-07 11:00"),
    ),
    "from 29 February 2028, weekly": (
        ("2028-02-29T12:00", WEEKLY, "America/New_York"),
        instants("2028-02-29 17:00", "2028-03-07 17:00", "2028-03-14 16:00"),
    ),
    "over the end of a year": (
        ("2026-12-31T23:30", DAILY, "UTC"),
        instants("2026-12-31 23:30", "2027-01-01 23:30", "2027-01-02 23:30"),
    ),
    # The date in UTC is the day before, and the day after.
    "Paris, just after midnight": (
        ("2026-03-28T00:30", DAILY, "Europe/Paris"),
        instants("2026-03-27 23:30", "2026-03-28 23:30", "2026-03-29 22:30"),
    ),
    "New York, just before midnight": (
        ("2026-03-07T23:30", DAILY, "America/New_York"),
        instants("2026-03-08 04:30", "2026-03-09 03:30", "2026-03-10 03:30"),
    ),
    "seconds and milliseconds": (
        ("2026-03-28T18:30:15.250", DAILY, "Europe/Paris"),
        instants("2026-03-28 17:30:15.250", "2026-03-29 16:30:15.250"),
    ),
}

ZONE_TABLE = {
    "Kolkata, half an hour off": (
        ("2026-03-28T00:15", DAILY, "Asia/Kolkata"),
        instants("2026-03-27 18:45", "2026-03-28 18:45", "2026-03-29 18:45"),
    ),
    "Kathmandu, a quarter off": (
        ("2026-03-28T05:30", WEEKLY, "Asia/Kathmandu"),
        instants("2026-03-27 23:45", "2026-04-03 23:45", "2026-04-10 23:45"),
    ),
    "Tokyo, never changed": (
        ("2026-10-24T02:30", DAILY, "Asia/Tokyo"),
        instants("2026-10-23 17:30", "2026-10-24 17:30", "2026-10-25 17:30"),
    ),
    "UTC": (
        ("2026-03-28T02:30", WEEKLY, "UTC"),
        instants("2026-03-28 02:30", "2026-04-04 02:30", "2026-04-11 02:30"),
    ),
    # Lord Howe moves its clocks by half an hour: 02:00 to 02:30 on 4 October 2026, 02:00 back to 01:30 on 5 April.
    "Lord Howe, skipped": (
        ("2026-10-03T02:15", DAILY, "Australia/Lord_Howe"),
        instants("2026-10-02 15:45", "2026-10-03 15:45", "2026-10-04 15:15"),
    ),
    "Lord Howe, twice": (
        ("2026-04-04T01:45", DAILY, "Australia/Lord_Howe"),
        instants("2026-04-03 14:45", "2026-04-04 14:45", "2026-04-05 15:15"),
    ),
    "St John's, skipped": (
        ("2026-03-07T02:30", DAILY, "America/St_Johns"),
        instants("2026-03-07 06:00", "2026-03-08 06:00", "2026-03-09 05:00"),
    ),
    "St John's, twice": (
        ("2026-10-31T01:15", DAILY, "America/St_Johns"),
        instants("2026-10-31 03:45", "2026-11-01 03:45", "2026-11-02 04:45"),
    ),
    # The south has its summer around the new year: 02:00 to 03:00 on 4 October 2026, 03:00 back to 02:00 on 5 April.
    "Sydney, skipped": (
        ("2026-10-03T02:30", DAILY, "Australia/Sydney"),
        instants("2026-10-02 16:30", "2026-10-03 16:30", "2026-10-04 15:30"),
    ),
    "Sydney, twice": (
        ("2026-04-04T02:30", DAILY, "Australia/Sydney"),
        instants("2026-04-03 15:30", "2026-04-04 15:30", "2026-04-05 16:30"),
    ),
    "Sydney weekly, over both": (
        ("2026-03-30T19:00", WEEKLY, "Australia/Sydney"),
        instants("2026-03-30 08:00", "2026-04-06 09:00", "2026-04-13 09:00"),
    ),
    # Beirut skips the hour after midnight: 00:00 to 01:00 on 27 March 2022.
    "Beirut, midnight skipped": (
        ("2022-03-26T00:00", DAILY, "Asia/Beirut"),
        instants("2022-03-25 22:00", "2022-03-26 22:00", "2022-03-27 21:00"),
    ),
    # Apia had no 30 December 2011: the occurrence of that day falls on the next one.
    "Apia, the day that was skipped": (
        ("2011-12-29T09:00", DAILY, "Pacific/Apia"),
        instants("2011-12-29 19:00", "2011-12-30 19:00", "2011-12-30 19:00", "2011-12-31 19:00"),
    ),
    "Apia weekly, the day that was skipped": (
        ("2011-12-23T09:00", WEEKLY, "Pacific/Apia"),
        instants("2011-12-23 19:00", "2011-12-30 19:00", "2012-01-05 19:00"),
    ),
}

TABLE = DST_TABLE | CALENDAR_TABLE | ZONE_TABLE


@pytest.mark.parametrize(("series", "expected"), TABLE.values(), ids=TABLE)
def test_occurrences_keep_their_wall_clock_time(series: tuple[str, Recurrence, str], expected: list[datetime]) -> None:
    assert starts(*series, count=len(expected)) == expected


@pytest.mark.parametrize(("series", "expected"), TABLE.values(), ids=TABLE)
def test_starts_are_told_in_utc(series: tuple[str, Recurrence, str], expected: list[datetime]) -> None:
    assert [start.utcoffset() for start in starts(*series, count=len(expected))] == [timedelta(0)] * len(expected)


@pytest.mark.parametrize(("series", "expected"), TABLE.values(), ids=TABLE)
def test_the_first_occurrence_after_an_instant_is_found_around_each_start(
    series: tuple[str, Recurrence, str], expected: list[datetime]
) -> None:
    for start in expected:
        earlier = sum(other < start for other in expected)
        not_later = sum(other <= start for other in expected)
        assert first_number_after(*series, start - MINUTE) == earlier
        assert first_number_after(*series, start) == not_later
        assert first_number_after(*series, start + MINUTE) == not_later


def test_one_skipped_night_does_not_move_the_nights_after_it() -> None:
    local = [wall_clock(start, "Europe/Paris") for start in starts("2026-03-27T02:30", DAILY, "Europe/Paris", 30)]
    assert [start.isoformat(timespec="minutes") for start in local[:4]] == [
        "2026-03-27T02:30",
        "2026-03-28T02:30",
        "2026-03-29T03:30",
        "2026-03-30T02:30",
    ]
    assert {start.time().isoformat() for start in local[3:]} == {"02:30:00"}


def test_an_anchor_is_the_wall_clock_time_of_the_first_occurrence() -> None:
    (start,) = instants("2026-10-31 00:00")
    assert anchor_for(start, WEEKLY, "America/New_York", 0) == "2026-10-30T20:00:00.000"
    assert anchor_for(start, WEEKLY, "America/New_York", 3) == "2026-10-09T20:00:00.000"
    assert anchor_for(start, DAILY, "America/New_York", 3) == "2026-10-27T20:00:00.000"
    assert anchor_for(start + timedelta(milliseconds=7), DAILY, "UTC", 0) == "2026-10-31T00:00:00.007"


def test_the_second_of_two_equal_times_is_the_first_one_for_the_series() -> None:
    second, first = instants("2026-10-25 01:30", "2026-10-25 00:30")
    anchor = anchor_for(second, DAILY, "Europe/Paris", 0)
    assert anchor == "2026-10-25T02:30:00.000"
    assert start_of(anchor, DAILY, "Europe/Paris", 0) == first


def test_wall_clocks_are_read_and_set() -> None:
    (noon,) = instants("2026-07-01 12:00")
    assert wall_clock(noon, "America/St_Johns") == datetime(2026, 7, 1, 9, 30)  # noqa: DTZ001
    assert instant_of(datetime(2026, 7, 1, 9, 30), "America/St_Johns") == noon  # noqa: DTZ001


DIFFICULT = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca"]
ZONES = st.sampled_from(DIFFICULT) | st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"}))
ANCHORS = st.datetimes(datetime(2020, 1, 1), datetime(2037, 1, 1)).map(lambda at: at.isoformat(timespec="milliseconds"))  # noqa: DTZ001
REPEATING = st.sampled_from([DAILY, WEEKLY])


def counted(anchor: str, recurrence: Recurrence, timezone: str, instant: datetime) -> int:
    """Count the occurrences that start at `instant` or before, one after the other."""
    number = 0
    while start_of(anchor, recurrence, timezone, number) <= instant:
        number += 1
    return number


@given(ANCHORS, REPEATING, ZONES, st.timedeltas(-40 * DAY, 400 * DAY))
def test_the_first_occurrence_after_any_instant_is_the_one_that_counting_finds(
    anchor: str, recurrence: Recurrence, timezone: str, later: timedelta
) -> None:
    instant = datetime.fromisoformat(anchor).replace(tzinfo=UTC) + later
    assert first_number_after(anchor, recurrence, timezone, instant) == counted(anchor, recurrence, timezone, instant)


@given(st.integers(0, 400), REPEATING, st.timedeltas(-2 * DAY, 2 * DAY))
def test_the_first_occurrence_is_found_around_a_day_that_was_skipped(
    number: int, recurrence: Recurrence, later: timedelta
) -> None:
    days = number if recurrence is DAILY else 7 * number
    anchor = (datetime(2011, 12, 30, 9, 0) - timedelta(days=days)).isoformat()  # noqa: DTZ001
    instant = datetime(2011, 12, 30, 19, 0, tzinfo=UTC) + later
    found = first_number_after(anchor, recurrence, "Pacific/Apia", instant)
    assert found == counted(anchor, recurrence, "Pacific/Apia", instant)


@given(ANCHORS, REPEATING, ZONES, st.integers(0, 5000))
def test_each_occurrence_starts_later_than_the_one_before(
    anchor: str, recurrence: Recurrence, timezone: str, number: int
) -> None:
    before, after = (start_of(anchor, recurrence, timezone, n) for n in (number, number + 1))
    assert before < after


@given(ANCHORS, REPEATING, ZONES, st.integers(0, 500))
def test_an_anchor_leads_back_to_the_start_that_it_was_made_from(
    anchor: str, recurrence: Recurrence, timezone: str, number: int
) -> None:
    start = start_of(anchor, recurrence, timezone, number)
    assert start_of(anchor_for(start, recurrence, timezone, number), recurrence, timezone, number) == start


@given(ANCHORS, REPEATING, ZONES, st.integers(0, 500))
def test_the_wall_clock_time_is_kept_unless_it_is_skipped(
    anchor: str, recurrence: Recurrence, timezone: str, number: int
) -> None:
    step = DAY if recurrence is DAILY else 7 * DAY
    wanted = datetime.fromisoformat(anchor) + number * step
    shown = wall_clock(start_of(anchor, recurrence, timezone, number), timezone)
    if shown != wanted:
        # Skipped: no instant shows it. It moves forward, by less than a day.
        assert wanted < shown < wanted + DAY
        assert wall_clock(instant_of(shown, timezone) - (shown - wanted), timezone) != wanted


@pytest.mark.parametrize("name", ["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "Etc/GMT+5"])
def test_zones_are_known_by_their_iana_name(name: str) -> None:
    assert zone(name).key == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Base",
        "europe/paris",
        "Europe/Paris ",
        "Paris",
        "UTC+1",
        "+01:00",
        "Europe",
        "/etc/localtime",
        "../../etc/passwd",
        "Europe/../Europe/Paris",
        "posix/Europe/Paris",
        "zone.tab",
        "localtime",
        "Factory",
        "Europe/Paris\0",
    ],
)
def test_what_is_not_a_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        zone(name)
    assert refusal.value.field == "timezone"


def test_a_refused_name_is_not_repeated_at_length() -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        zone("x" * 100_000)
    assert len(refusal.value.message) < 200
