"""Versions of time slots over HTTP: `ETag` and `If-Match` (RFC 9110 sections 8.8.3 and 13.1.1)."""

import re
from datetime import UTC, datetime, timedelta

from msgspec import UnsetType

from coordinator.domain.errors import StaleVersionError
from coordinator.domain.model import TimeSlot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ENTITY_TAG = re.compile(r'(?P<weak>W/)?(?P<tag>"[!#-~]*")')


def etag_of(slot: TimeSlot) -> str:
    """Return a slot's version as a strong entity tag: when it last changed, in milliseconds, in hexadecimal."""
    return f'"{(slot.updated_at - _EPOCH) // _MILLISECOND:x}"'


def expected_version(if_match: str | UnsetType, slot: TimeSlot) -> datetime | None:
    """Return the version of the slot that is to be changed; None for any.

    Args:
        if_match: The header, in the form that it must have.
        slot: The slot as it was read just now.

    Raises:
        StaleVersionError: The header names other versions than the slot's. Weak ones match nothing.
    """
    if not isinstance(if_match, str) or if_match == "*":
        return None
    strong = {match["tag"] for match in _ENTITY_TAG.finditer(if_match) if not match["weak"]}
    if etag_of(slot) not in strong:
        message = f"If-Match: the slot has changed and is now {etag_of(slot)}; read it again, then decide"
        raise StaleVersionError(message, field="If-Match")
    return slot.updated_at
