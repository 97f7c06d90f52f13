"""Cursors: where a page ended, in a form that clients hand back and have no business reading.

Owns their form. A cursor is a place in an order, not an item: every text of the right form leads somewhere, also after
the item that stood there is gone. It is no secret: where it leads, whoever may read the list may go anyway.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import UNSET, UnsetType

from coordinator.protocol.fields import CURSOR_MOMENT_DIGITS

_FIRST = datetime.min.replace(tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - _FIRST) // _MILLISECOND

T = TypeVar("T")


def moment_cursor(moment: datetime, item_id: str) -> str:
    """Return the cursor of a place in an order by time and then by id: milliseconds since the year 1, and the id."""
    return f"{(moment - _FIRST) // _MILLISECOND:0{CURSOR_MOMENT_DIGITS}x}{item_id}"


def place_of(cursor: str | UnsetType) -> tuple[datetime, str] | None:
    """Return the place of a `moment_cursor`, whose form has been checked; None, the beginning, without one."""
    if not isinstance(cursor, str):
        return None
    # The digits reach further than dates do: beyond the last one there is nothing, and so there is after it.
    milliseconds = min(int(cursor[:CURSOR_MOMENT_DIGITS], 16), _LAST)
    return _FIRST + milliseconds * _MILLISECOND, cursor[CURSOR_MOMENT_DIGITS:]


def cut(found: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> tuple[Sequence[T], str | UnsetType]:
    """Return a page of up to `limit`, and the cursor of the following one if more than that was found."""
    page = found[:limit]
    return page, cursor_of(page[-1]) if len(found) > limit else UNSET
