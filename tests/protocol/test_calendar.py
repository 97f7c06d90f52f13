"""A user's calendar, read back and looked at byte by byte."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from icalendar import Calendar, Event
from msgspec.structs import replace

from coordinator.domain.ids import SlotId, UserId
from coordinator.domain.model import Language, Level, Registration, RegistrationStatus, TimeSlot
from coordinator.protocol.calendar import calendar

NOON = datetime(2030, 3, 4, 12, 0, 0, 123_000, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
ANNA = UserId("anna")
SLOT = TimeSlot(
    id=SlotId("a" * 24),
    target_language_code=Language.FRENCH,
    level=Level.B1,
    start_time=NOON,
    duration_minutes=30,
    is_active=True,
    created_at=NOON - 9 * DAY,
    updated_at=NOON - 8 * DAY,
    timezone="Europe/Paris",
)
BOOKED = Registration(
    id="b" * 24,
    time_slot_id=SLOT.id,
    user_id=ANNA,
    status=RegistrationStatus.REGISTERED,
    registered_at=NOON - 2 * DAY,
    seat=0,
)
ODD_USERS = [
    "anna",
    "a,b;c\\d:e\"f'g",
    "cléo\u2028🎙",
    "line\nBEGIN:VEVENT\r\nUID:forged\r\nEND:VEVENT",
    "tab\tnul\0bell\a",
    "lone \ud800 surrogate",
    "🎙" * 128,
    " leading and trailing ",
    "https://issuer.example/users/1?x=%20&y=#z",
    "مرحبا",
]


def whole_second(instant: datetime) -> datetime:
    return instant.replace(microsecond=0)


def events(written: bytes) -> list[Event]:
    return Calendar.from_ical(written).events


def title(made: Calendar) -> str:
    # The library leaves properties that it does not know as they are written.
    return re.sub(r"\\([,;\\])", r"\1", str(made["X-WR-CALNAME"]))


def only_event(registration: Registration, slot: TimeSlot, now: datetime = NOON - DAY) -> Event:
    (event,) = events(calendar(ANNA, [(registration, slot)], now))
    return event


def bookings(count: int) -> Sequence[tuple[Registration, TimeSlot]]:
    return [
        (
            replace(BOOKED, id=format(number, "024x")),
            replace(SLOT, id=SlotId(format(number, "024x")), start_time=NOON + number * DAY),
        )
        for number in range(count)
    ]


def test_a_booking_is_an_event_with_everything_a_calendar_shows() -> None:
    event = only_event(BOOKED, SLOT)
    assert event["UID"] == f"{'b' * 24}@conversation-coordinator"
    assert event["SUMMARY"] == "French conversation, level B1"
    assert event["DESCRIPTION"] == f"30 minutes, 2 to 8 participants.\nTime slot {SLOT.id}"
    assert event["STATUS"] == "CONFIRMED"
    assert event.categories == ["Conversation", "French", "B1"]
    assert event.decoded("DTSTART") == whole_second(NOON)
    assert event.decoded("DTEND") == whole_second(NOON) + timedelta(minutes=30)
    assert event.decoded("CREATED") == whole_second(BOOKED.registered_at)


@pytest.mark.parametrize(
    ("language", "name"), [(Language.ENGLISH, "English"), (Language.FRENCH, "French"), (Language.SPANISH, "Spanish")]
)
def test_every_language_has_its_name(language: Language, name: str) -> None:
    event = only_event(BOOKED, replace(SLOT, target_language_code=language, level=Level.C2))
    assert event["SUMMARY"] == f"{name} conversation, level C2"


def test_times_are_written_in_utc_without_a_time_zone() -> None:
    written = calendar(ANNA, [(BOOKED, SLOT)], NOON)
    assert b"\r\nDTSTART:20300304T120000Z\r\n" in written
    assert b"\r\nDTEND:20300304T123000Z\r\n" in written
    assert b"TZID" not in written


def test_the_head_names_product_version_and_owner_and_asks_for_nothing() -> None:
    made = Calendar.from_ical(calendar(ANNA, [], NOON))
    assert made["VERSION"] == "2.0"
    assert made["PRODID"] == "-//Conversation Coordinator//Bookings//EN"
    assert title(made) == "Conversations of anna"
    assert "METHOD" not in made
    assert made.events == []


def test_the_order_of_the_bookings_is_kept_and_uids_differ() -> None:
    given = bookings(50)
    found = [str(event["UID"]) for event in events(calendar(ANNA, given, NOON))]
    assert found == [f"{registration.id}@conversation-coordinator" for registration, _ in given]
    assert len(set(found)) == 50


def test_what_was_cancelled_is_left_out() -> None:
    cancelled = replace(BOOKED, status=RegistrationStatus.CANCELLED, cancelled_at=NOON - DAY, seat=None)
    assert events(calendar(ANNA, [(cancelled, SLOT)], NOON)) == []


def test_what_a_withdrawn_slot_will_cancel_is_left_out_but_what_took_place_stays() -> None:
    withdrawn = replace(SLOT, is_active=False)
    attended = replace(BOOKED, status=RegistrationStatus.ATTENDED)
    assert events(calendar(ANNA, [(BOOKED, withdrawn)], NOON)) == []
    assert len(events(calendar(ANNA, [(attended, withdrawn)], NOON + DAY))) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [(RegistrationStatus.ATTENDED, "You took part."), (RegistrationStatus.NOSHOW, "You did not take part.")],
)
def test_what_is_over_says_whether_the_user_took_part(status: RegistrationStatus, said: str) -> None:
    event = only_event(replace(BOOKED, status=status), SLOT, NOON + DAY)
    assert str(event["DESCRIPTION"]).startswith(f"{said}\n30 minutes")
    assert event["STATUS"] == "CONFIRMED"


def test_an_event_is_as_old_as_its_last_change_and_not_as_the_request() -> None:
    def stamps(registration: Registration, slot: TimeSlot, now: datetime) -> set[datetime]:
        event = only_event(registration, slot, now)
        return {event.decoded("DTSTAMP"), event.decoded("LAST-MODIFIED")}

    moved = replace(SLOT, updated_at=NOON - DAY)
    attended = replace(BOOKED, status=RegistrationStatus.ATTENDED)
    assert stamps(BOOKED, SLOT, NOON) == {whole_second(BOOKED.registered_at)}
    assert stamps(BOOKED, moved, NOON) == {whole_second(moved.updated_at)}
    assert stamps(attended, SLOT, NOON + DAY) == {whole_second(SLOT.end_time)}
    assert stamps(attended, SLOT, NOON + SECOND) == {whole_second(NOON + SECOND)}, "the session ended early"


def test_two_requests_get_the_same_bytes_while_nothing_changes() -> None:
    given = bookings(3)
    assert calendar(ANNA, given, NOON) == calendar(ANNA, given, NOON + 5 * SECOND)


@pytest.mark.parametrize("user", ODD_USERS)
def test_no_user_id_can_break_the_file(user: str) -> None:
    written = calendar(UserId(user), [(BOOKED, SLOT)], NOON)
    made = Calendar.from_ical(written)
    shown = title(made).removeprefix("Conversations of ")
    assert len(shown) == len(user)
    assert all(new == old or not old.isprintable() for new, old in zip(shown, user, strict=True))
    assert len(made.events) == 1
    assert made.to_ical() == written


@pytest.mark.parametrize("user", ODD_USERS)
def test_lines_end_in_crlf_and_are_folded_at_75_octets(user: str) -> None:
    # RFC 5545, section 3.1.
    written = calendar(UserId(user), bookings(3), NOON)
    assert written.endswith(b"\r\n")
    lines = written.removesuffix(b"\r\n").split(b"\r\n")
    assert lines[0] == b"BEGIN:VCALENDAR"
    assert lines[-1] == b"END:VCALENDAR"
    assert max(map(len, lines)) <= 75
    assert any(line.startswith(b" ") for line in lines), "something here is long enough to be folded"
    for line in lines:
        assert line
        assert not any(octet < 0x20 for octet in line), line
        line.decode()  # no character is torn apart


def test_commas_semicolons_and_backslashes_are_escaped() -> None:
    written = calendar(UserId("a,b;c\\d"), [(BOOKED, SLOT)], NOON)
    assert b"\r\nX-WR-CALNAME:Conversations of a\\,b\\;c\\\\d\r\n" in written
    assert b"\r\nSUMMARY:French conversation\\, level B1\r\n" in written
    assert b"participants.\\nTime slot" in written.replace(b"\r\n ", b"")
