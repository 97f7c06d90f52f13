"""Decoding what clients send and encoding what they get. Every refusal names the field and what would be right."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from coordinator.domain.errors import CoordinatorError, InvalidRequestError
from coordinator.domain.ledger import wire_time, wire_value
from coordinator.domain.model import Model

T = TypeVar("T")

_PLAIN = frozenset({str, int, bool, float})
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_NAMED = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")


def decode(payload: Any, kind: type[T]) -> T:
    """Read a JSON value as a message.

    Raises:
        InvalidRequestError: It is not one; the error names the field.
    """
    if not isinstance(payload, dict):
        raise InvalidRequestError(f"the payload must be an object, not {json_type(payload)}")
    try:
        return msgspec.convert(payload, kind, strict=True)
    except msgspec.ValidationError as error:
        message, field = _explain(str(error))
        raise InvalidRequestError(message, field=field) from None
    except RecursionError:
        raise InvalidRequestError("the payload is nested too deeply") from None


def reader(kind: type[T]) -> Callable[[bytes | msgspec.Raw], T]:
    """Return what reads JSON text as a message: as `decode`, without the plain data in between.

    What it returns raises:
        InvalidRequestError: It is not one; the error names the field.
    """
    read_at_once = msgspec.json.Decoder(kind).decode

    def read(text: bytes | msgspec.Raw) -> T:
        try:
            return read_at_once(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return decode(read_plain(text), kind)  # which says what is wrong

    return read


def read_plain(text: bytes | msgspec.Raw) -> Any:
    """Read JSON text as plain data.

    Raises:
        InvalidRequestError: It is not JSON.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequestError("the payload is not JSON, in UTF-8") from None
    except RecursionError:
        raise InvalidRequestError("the payload is nested too deeply") from None


def _explain(text: str) -> tuple[str, str | None]:
    """Split msgspec's message into what is wrong and the dotted name of the field where it is."""
    match = _PATH.search(text)
    path = match["path"] if match else ""
    said = text[: match.start()] if match else text
    named = _NAMED.search(said)
    field = ".".join(part for part in (path, named["name"] if named else "") if part) or None
    return (f"{field}: {said}" if field else said), field


def json_type(value: Any) -> str:
    """Return what a JSON value is, in words."""
    names = {
        type(None): "null",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
    }
    return names.get(type(value), "binary data")


def to_wire(model: Model) -> dict[str, Any]:
    """Return a model as JSON data: camelCase, RFC 3339 times, fields without a value left out."""
    data = msgspec.to_builtins(model, builtin_types=(datetime,))
    # A snapshot is made at every join, and most values are plain: only what needs it is looked into.
    return {
        key: value if type(value) in _PLAIN else wire_time(value) if type(value) is datetime else wire_value(value)
        for key, value in data.items()
        if value is not None
    }


def error_to_wire(error: CoordinatorError) -> dict[str, Any]:
    """Return a refusal as it stands in an ack."""
    wire: dict[str, Any] = {"code": error.code, "message": error.message, "retryable": error.retryable}
    if error.field is not None:
        wire["field"] = error.field
    return wire


def refusal(error: CoordinatorError) -> dict[str, Any]:
    """Return the ack of a refused message."""
    return {"ok": False, "error": error_to_wire(error)}


def encode(data: Mapping[str, Any]) -> bytes:
    """Encode JSON data."""
    return msgspec.json.encode(data)
