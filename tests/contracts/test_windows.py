"""The ranges in which pages are read: together they are the whole span, each instant in one of them."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest

from coordinator.adapters.mongo.windows import (
    EARLIEST,
    EPOCH,
    LATEST,
    MOMENT,
    Range,
    windows_after,
    windows_before,
)
from tests.contracts.making import NOON

DAY = timedelta(days=1)
INSTANTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    EPOCH - DAY,
    EPOCH - MOMENT,
    EPOCH,
    NOON - DAY,
    NOON,
    NOON + MOMENT,
    NOON + timedelta(hours=1),
    NOON + timedelta(hours=1) + timedelta(microseconds=999),
    NOON + 1000 * DAY,
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
]


def check(windows: Sequence[Range], start: datetime, end: datetime) -> None:
    """Check that ranges, the earliest first, make up the span from `start` to `end` without a gap."""
    if start > end:
        assert windows == []
        return
    assert windows[0]["$gte"] == max(start, EARLIEST)
    assert windows[-1]["$lte"] == min(end, LATEST)
    assert all(window["$gte"] <= window["$lte"] for window in windows)
    assert all(later["$gte"] - earlier["$lte"] == MOMENT for earlier, later in itertools.pairwise(windows))


def whole(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


@pytest.mark.parametrize("start", INSTANTS, ids=str)
@pytest.mark.parametrize("end", INSTANTS, ids=str)
def test_windows_make_up_the_span(start: datetime, end: datetime) -> None:
    first, last = max(whole(start), EARLIEST), min(whole(end), LATEST)
    for now in (EPOCH, NOON, LATEST):
        check(list(windows_after(start, end, now)), first, last)
    check(list(windows_before(start, end))[::-1], first, last)


def widths(windows: Sequence[Range]) -> list[timedelta]:
    return [window["$lte"] - window["$gte"] + MOMENT for window in windows]


def test_the_first_is_narrow_and_all_time_takes_few() -> None:
    ahead = widths(list(windows_after(NOON, LATEST, NOON)))
    assert ahead[0] == timedelta(hours=1)
    assert ahead == [*sorted(ahead[:-1]), ahead[-1]]
    assert len(ahead) < 20
    back = widths(list(windows_before(NOON - 31 * DAY, NOON)))
    assert back[0] == timedelta(hours=1)
    assert len(back) < 8


def test_none_is_very_wide_where_most_of_everything_lies() -> None:
    windows = list(windows_after(EARLIEST, LATEST, NOON))
    busy = [window for window in windows if window["$lte"] >= EPOCH and window["$gte"] <= NOON + 100 * DAY]
    assert max(widths(busy)) <= 180 * DAY
    assert len(windows) < 150
