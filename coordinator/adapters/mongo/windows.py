"""Windows of time: how a page that begins anywhere is read without looking at everything that lies behind it.

Owns the cutting of a span into bounded ranges that grow; must not know what is looked for. The embedded server reads
all that a range holds, whatever the limit, so that a range open at one end costs seconds at 100 000 documents; a narrow
range of an index is fast everywhere, and an empty one costs next to nothing.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

MOMENT = timedelta(milliseconds=1)
"""The least difference between two instants in MongoDB."""
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, 23, 59, 59, 999_000, tzinfo=UTC)
"""The first and the last instant that is a date here in every time zone."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Hardly anything is older."""

_FIRST = timedelta(hours=1)
_GROWTH = 4
_WIDEST = timedelta(days=180)

Range: TypeAlias = dict[str, datetime]


def windows_after(start: datetime, end: datetime, now: datetime) -> Iterator[Range]:
    """Cut the span from `start` to `end`, both included, into ranges; each instant (in ms) is in one of them.

    Each is wider than the one before, but none is very wide where most of everything lies: from the epoch until a while
    after `now`. Where `now` is wrong, that costs time and nothing else.

    Yields:
        Conditions on a field, the earliest first.
    """
    start, end = max(_whole(start), EARLIEST), min(_whole(end), LATEST)
    width = _FIRST
    while start <= end:
        if start < EPOCH:
            last = min(end, EPOCH - MOMENT)
        else:
            last = start + width - MOMENT if end - start >= width else end
            width *= _GROWTH
            if start - now < _WIDEST:
                width = min(width, _WIDEST)
        yield {"$gte": start, "$lte": last}
        start = last + MOMENT


def windows_before(start: datetime, end: datetime) -> Iterator[Range]:
    """Cut the span from `end` back to `start`, both included, in the same way, the latest range first."""
    start, end = max(_whole(start), EARLIEST), min(_whole(end), LATEST)
    width = _FIRST
    while start <= end:
        first = end - width + MOMENT if end - start >= width else start
        yield {"$gte": first, "$lte": end}
        end, width = first - MOMENT, _GROWTH * width


def _whole(instant: datetime) -> datetime:
    """Return what MongoDB keeps of an instant, so that ranges meet where it draws the line."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
