"""Reading requests: what is taken, in which form, and in which words the rest is refused."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from coordinator.domain.errors import InvalidRequestError
from coordinator.domain.model import Recurrence
from coordinator.protocol import requests, views
from coordinator.protocol.reading import Request, given, read_json, read_object, read_texts

_OFFER = {"targetLanguageCode": "fr", "level": "B1", "startTime": "2040-06-04T17:00:00Z", "durationMinutes": 30}


def _kinds() -> list[type[Request]]:
    found = [kind for kind in vars(requests).values() if isinstance(kind, type) and issubclass(kind, Request)]
    assert len(found) > 15
    return found


@pytest.mark.parametrize("kind", _kinds())
def test_every_request_can_be_refused_in_words(kind: type[Request]) -> None:
    with pytest.raises(InvalidRequestError, match="unheardOf: is unknown") as refusal:
        read_object({"unheardOf": 1}, kind)
    assert refusal.value.field == "unheardOf"


def test_what_is_left_out_has_its_default() -> None:
    offer = read_object(_OFFER, requests.NewTimeSlot)
    assert (offer.max_participants, offer.min_participants, offer.timezone) == (8, 2, "UTC")
    assert offer.recurrence is Recurrence.ONCE
    assert given(read_object({"level": "A1"}, requests.TimeSlotChanges).is_active) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2040-06-04T17:00:00Z", datetime(2040, 6, 4, 17, tzinfo=UTC)),
        ("2040-06-04t17:00:00z", datetime(2040, 6, 4, 17, tzinfo=UTC)),
        ("2040-06-04T19:00:00.5+02:00", datetime(2040, 6, 4, 17, 0, 0, 500_000, tzinfo=UTC)),
        ("2040-06-04T17:00:00.123999Z", datetime(2040, 6, 4, 17, 0, 0, 123_000, tzinfo=UTC)),
        ("2040-06-04T17:00:59.99999999999999999Z", datetime(2040, 6, 4, 17, 0, 59, 999_000, tzinfo=UTC)),
        ("2040-06-04T17:00:00-00:00", datetime(2040, 6, 4, 17, tzinfo=UTC)),
        ("0001-01-01T00:00:00+23:59", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.9999-23:59", datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
    ],
)
def test_instants_are_cut_to_milliseconds_in_utc(text: str, expected: datetime) -> None:
    assert read_object({"startTime": text}, requests.TimeSlotChanges).start_time == expected
    assert read_texts({"from": text}, requests.SlotFilter).from_ == expected


@pytest.mark.parametrize(("value", "expected"), [(8, 8), (8.0, 8), (50, 50), (2.0, 2)])
def test_json_does_not_tell_whole_numbers_apart(value: Any, expected: int) -> None:
    read = read_object({"maxParticipants": value}, requests.TimeSlotChanges).max_participants
    assert read == expected
    assert type(read) is int


@pytest.mark.parametrize(
    ("text", "expected"), [("1", 1), ("200", 200), ("01", None), ("1.0", None), ("", None), ("٣", None), (" 1", None)]
)
def test_numbers_in_parameters_are_plain(text: str, expected: int | None) -> None:
    if expected is not None:
        assert read_texts({"limit": text}, requests.SlotFilter).limit == expected
        return
    with pytest.raises(InvalidRequestError, match="limit: must be a whole number from 1 to 200"):
        read_texts({"limit": text}, requests.SlotFilter)


def test_nothing_of_a_wrong_value_is_repeated() -> None:
    secret = "a secret that was pasted into the wrong field"
    for name in ("targetLanguageCode", "startTime", "durationMinutes", "maxParticipants", "recurrence"):
        with pytest.raises(InvalidRequestError) as refusal:
            read_object(_OFFER | {name: secret}, requests.NewTimeSlot)
        assert refusal.value.field == name
        assert secret not in refusal.value.message


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'"\xff"', b'"\\ud800"', b"[" * 100_000, b"1e999", b"nan"])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        read_json(content)
    assert refusal.value.field == "body"


def test_views_show_nothing_that_is_not_meant_to_be_shown() -> None:
    hidden = {"settleAt", "seriesNumber", "seat"}
    for kind in vars(views).values():
        if isinstance(kind, type) and issubclass(kind, views.View):
            assert {field.encode_name for field in msgspec.structs.fields(kind)} & hidden == set()
