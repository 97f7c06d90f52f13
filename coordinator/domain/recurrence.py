"""When a repeating slot repeats: the same wall-clock time in its own time zone (SPEC section 2, slots and recurrence).

A time that the clocks skip moves forward by the gap; a time that happens twice is taken the first time. Both are what
PEP 495 gives for `fold=0`, without looking for gaps. Occurrences are counted from the anchor, never from each other, so
that one which had to move does not move the next.
"""

import functools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from coordinator.domain.errors import InvalidRequestError
from coordinator.domain.model import Recurrence

HORIZON = timedelta(days=14)
"""How far ahead occurrences are made."""

_STEPS = {Recurrence.DAILY: timedelta(days=1), Recurrence.WEEKLY: timedelta(weeks=1)}
_NO_ZONES = {"localtime", "Factory"}
"""Names that a machine may have beside the zones: one means another zone on each, the other means none is set."""


@functools.cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones() - _NO_ZONES)


def zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        InvalidRequestError: There is none of that name.
    """
    if name not in _zone_names():  # ZoneInfo itself would also open files that are not time zones
        raise InvalidRequestError(
            f"timezone: {name[:40]!r} is not an IANA time zone such as Europe/Paris", field="timezone"
        )
    return ZoneInfo(name)


def wall_clock(instant: datetime, timezone: str) -> datetime:
    """Return what the clocks in `timezone` show at an instant, as a naive datetime."""
    return instant.astimezone(zone(timezone)).replace(tzinfo=None, fold=0)


def instant_of(local: datetime, timezone: str) -> datetime:
    """Return the instant (aware UTC) at which the clocks in `timezone` show a naive `local`."""
    return local.replace(tzinfo=zone(timezone), fold=0).astimezone(UTC)


def start_of(anchor: str, recurrence: Recurrence, timezone: str, number: int) -> datetime:
    """Return when occurrence `number` of the series with that anchor starts.

    Later than the one before, except where the zone left out a whole day: the occurrence of that day starts at the same
    instant as the next one.
    """
    return instant_of(datetime.fromisoformat(anchor) + number * _STEPS[recurrence], timezone)


def anchor_for(start: datetime, recurrence: Recurrence, timezone: str, number: int) -> str:
    """Return the anchor of the series whose occurrence `number` starts at `start`."""
    return (wall_clock(start, timezone) - number * _STEPS[recurrence]).isoformat(timespec="milliseconds")


def first_number_after(anchor: str, recurrence: Recurrence, timezone: str, instant: datetime) -> int:
    """Return the number of the first occurrence that starts after `instant`; never less than 0."""
    passed = wall_clock(instant, timezone) - datetime.fromisoformat(anchor)
    # Clocks that were changed between the two put this off by one occurrence at most, except where a zone skips a day.
    number = max(passed // _STEPS[recurrence] - 2, 0)
    while start_of(anchor, recurrence, timezone, number) <= instant:
        number += 1
    return number
