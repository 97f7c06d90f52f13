"""How a place in the change stream is written as a text: the server's resume token, which only the server can read.

Owns that form and finds out what is not one of its own; must not know what is streamed. A server may believe a token
that was altered, or that another server made, and then skip or begin anywhere. So each text carries a checksum over the
token and over what it is a place in. It is no secret and keeps out accidents only: whoever may read the feed may read
all of it.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import bson
from bson.errors import BSONError

from coordinator.domain.cursors import Position
from coordinator.ports.commit_stream import InvalidPositionError

_DATA = "_data"
_CHECKSUM_BYTES = 6

# Nearly every token is `{_data: <hex>}`, and half as long as that in bytes. MongoDB writes the digits large.
_UNPACK: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "H": lambda packed: {_DATA: packed.hex().upper()},
    "h": lambda packed: {_DATA: packed.hex()},
    "b": bson.decode,
}


def write_position(token: Mapping[str, Any], identity: bytes) -> Position:
    """Write a resume token.

    Args:
        token: As the server gave it.
        identity: What it is a place in: no other stream has the same.
    """
    form, packed = _pack(token)
    body = packed + _checksum(form, packed, identity)
    return Position(form + base64.urlsafe_b64encode(body).rstrip(b"=").decode())


def read_position(position: Position, identity: bytes) -> dict[str, Any]:
    """Return the resume token that `write_position` wrote.

    Raises:
        InvalidPositionError: It did not write this, or not for this stream.
    """
    form, text = position[:1], position[1:]
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        packed = body[:-_CHECKSUM_BYTES]
        if form in _UNPACK and body[-_CHECKSUM_BYTES:] == _checksum(form, packed, identity):
            token = _UNPACK[form](packed)
            if write_position(token, identity) == position:  # the last letter has bits to spare
                return token
    except (binascii.Error, ValueError, BSONError):
        pass
    raise InvalidPositionError("this is no position of this database")


def _pack(token: Mapping[str, Any]) -> tuple[str, bytes]:
    data = token.get(_DATA)
    if len(token) == 1 and isinstance(data, str):
        for form in ("H", "h"):
            try:
                packed = bytes.fromhex(data)
            except ValueError:
                break
            if _UNPACK[form](packed) == token:
                return form, packed
    return "b", bson.encode(token)


def _checksum(form: str, packed: bytes, identity: bytes) -> bytes:
    return hashlib.sha256(identity + form.encode() + packed).digest()[:_CHECKSUM_BYTES]
