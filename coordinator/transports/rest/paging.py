"""Cursors: where a page ended, in a form that clients hand back and have no business reading.

Owns their form. A cursor names its list and carries a checksum, so that one of another list, or one that was touched,
is refused instead of leading somewhere. It is no secret: where it leads, whoever may read the list may go anyway.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from coordinator.domain.errors import InvalidRequestError

_CHECK_BYTES = 6

T = TypeVar("T")
Place = TypeVar("Place")


class Cursors(Generic[Place]):
    """The cursors of one list.

    Args:
        name: The list's.
        kind: What a place in the list is made of: the fields by which it is ordered.
    """

    def __init__(self, name: str, kind: type[Place] | Any) -> None:
        self._name = name.encode()
        self._decoder: msgspec.json.Decoder[Place] = msgspec.json.Decoder(kind)

    def write(self, place: Place) -> str:
        """Return the cursor that leads on from a place."""
        content = msgspec.json.encode(place)
        return base64.urlsafe_b64encode(self._check(content) + content).rstrip(b"=").decode()

    def read(self, text: str | UnsetType) -> Place | None:
        """Return the place that a cursor leads on from; None, the beginning, without one.

        Raises:
            InvalidRequestError: It is no cursor of this list.
        """
        if text is UNSET:
            return None
        assert isinstance(text, str)
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            content = raw[_CHECK_BYTES:]
            place = self._decoder.decode(content)
        except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError):
            place = None
        # Written again, because several texts can stand for the same bytes.
        if place is None or self.write(place) != text:
            raise InvalidRequestError("cursor: must be the `next` of a page of this list, unaltered", field="cursor")
        return place

    def cut(
        self, found: Sequence[T], limit: int, place_of: Callable[[T], Place]
    ) -> tuple[Sequence[T], str | UnsetType]:
        """Return a page of up to `limit`, and the cursor of the following one if more than that was found."""
        page = found[:limit]
        return page, self.write(place_of(page[-1])) if len(found) > limit else UNSET

    def _check(self, content: bytes) -> bytes:
        return hashlib.sha256(self._name + b"\0" + content).digest()[:_CHECK_BYTES]
