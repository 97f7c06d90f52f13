"""Reading what comes over HTTP into Structs: bodies from JSON values, parameters from texts (SPEC section 4).

Owns the checks of form and the words of their refusals: each names the field and says what would be right, and at most
the beginning of what the client sent is repeated. Field by field, because requests are flat; must not know HTTP.
"""

import functools
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

from coordinator.domain.errors import InvalidRequestError
from coordinator.protocol.codec import json_type
from coordinator.protocol.fields import INSTANT_PATTERN

ECHO_LENGTH = 40
"""How much of what a client sent stands in a refusal, in characters."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,16})")
_BOOLEANS = {"true": True, "false": False}
_INSTANT = re.compile(INSTANT_PATTERN)
_TOO_FINE = re.compile(r"(\.[0-9]{3})[0-9]+")
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(microsecond=999000, tzinfo=UTC)


class Request(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of everything that is read: a misspelt field must not be ignored. Fields without a value are `UNSET`.

    Attributes:
        least: How many of its fields must be given.
    """

    least: ClassVar[int] = 0


R = TypeVar("R", bound=Request)
T = TypeVar("T")


def given(value: T | msgspec.UnsetType) -> T | None:
    """Return a field's value; None where it was not given."""
    return None if value is msgspec.UNSET else value


def read_json(content: bytes) -> Any:
    """Read JSON text.

    Raises:
        InvalidRequestError: It is not JSON.
    """
    try:
        return msgspec.json.decode(content)
    except RecursionError:
        raise InvalidRequestError("body: is nested too deeply", field="body") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidRequestError("body: must be JSON, in UTF-8", field="body") from None


def read_object(data: Any, kind: type[R]) -> R:
    """Read a JSON value as a request.

    Raises:
        InvalidRequestError: It is not one; the error names the field.
    """
    if not isinstance(data, dict):
        raise InvalidRequestError(f"body: must be a JSON object, not {json_type(data)}", field="body")
    return _read(data, kind)


def read_texts(texts: Mapping[str, str], kind: type[R]) -> R:
    """Read parameters, which are texts whatever their type, as a request.

    Raises:
        InvalidRequestError: They are not one; the error names the parameter.
    """
    fields = {field.wire_name: field for field in _fields(kind)}
    return _read({name: _scalar(text, fields.get(name)) for name, text in texts.items()}, kind)


class _Field(NamedTuple):
    name: str
    wire_name: str
    type: Any
    required: bool
    is_integer: bool
    is_boolean: bool
    is_instant: bool
    must_be: str


def _read(data: Mapping[str, Any], kind: type[R]) -> R:
    fields = _fields(kind)
    _check_names(data, [field.wire_name for field in fields])
    if len(data) < kind.least:
        raise InvalidRequestError(f"body: must have at least {kind.least} of the fields", field="body")
    values: dict[str, Any] = {}
    for field in fields:
        if field.wire_name in data:
            values[field.name] = _value(data[field.wire_name], field)
        elif field.required:
            raise InvalidRequestError(
                f"{field.wire_name}: is missing; it must be {field.must_be}", field=field.wire_name
            )
    return kind(**values)


def _check_names(names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            shown = name[:ECHO_LENGTH]
            raise InvalidRequestError(f"{shown}: is unknown; known: {', '.join(known) or 'none'}", field=shown)


def _value(value: Any, field: _Field) -> Any:
    if field.is_integer and isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON does not tell 8.0 from 8
    try:
        if field.is_instant:
            return _instant(value)
        return msgspec.convert(value, field.type, strict=True)
    except msgspec.ValidationError:
        raise InvalidRequestError(f"{field.wire_name}: must be {field.must_be}", field=field.wire_name) from None


def _instant(value: Any) -> datetime:
    """Return an instant in UTC, cut to milliseconds; one that UTC cannot express becomes the nearest that it can."""
    if not isinstance(value, str) or _INSTANT.fullmatch(value) is None:
        raise msgspec.ValidationError
    instant = msgspec.convert(_TOO_FINE.sub(r"\1", value, count=1), datetime)
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return _EARLIEST if instant.year == 1 else _LATEST


def _scalar(text: str, field: _Field | None) -> Any:
    if field is not None and field.is_integer and _INTEGER.fullmatch(text):
        return int(text)
    if field is not None and field.is_boolean:
        return _BOOLEANS.get(text, text)
    return text


@functools.cache
def _fields(kind: type[Request]) -> tuple[_Field, ...]:
    # Two views of the same: the one has what `convert` needs, the other knows what it means.
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return tuple(_field(field, types[field.name]) for field in info.fields)


def _field(field: inspect.Field, convertible: Any) -> _Field:
    bare, must_be = field.type, None
    while isinstance(bare, inspect.Metadata):
        must_be = (bare.extra or {}).get("must_be", must_be)
        bare = bare.type
    return _Field(
        name=field.name,
        wire_name=field.encode_name,
        type=convertible,
        required=field.required,
        is_integer=isinstance(bare, inspect.IntType)
        or (isinstance(bare, inspect.LiteralType) and isinstance(bare.values[0], int)),
        is_boolean=isinstance(bare, inspect.BoolType),
        is_instant=isinstance(bare, inspect.DateTimeType),
        must_be=must_be or _words(bare),
    )


def _words(bare: inspect.Type) -> str:
    match bare:
        case inspect.EnumType():
            return "one of " + ", ".join(str(member.value) for member in _members(bare.cls))
        case inspect.LiteralType():
            return "one of " + ", ".join(map(str, bare.values))
        case inspect.IntType():
            return f"a whole number from {bare.ge} to {bare.le}"
        case inspect.BoolType():
            return "true or false"
    raise TypeError(f"say what {bare} must be: Meta(extra={{'must_be': …}})")


def _members(cls: type[Enum]) -> list[Enum]:
    return list(cls)
