"""What an operation of the HTTP API is: one value from which come both its route and its part of the OpenAPI document.

Owns the form of operations; must not know aiohttp, nor how any of them is done. `dispatch` serves them, `openapi`
describes them: neither can say something that the other does not.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Generic, TypeAlias, TypeVar

import msgspec

from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import Role
from coordinator.ports.identity import Identity
from coordinator.protocol.reading import Request
from coordinator.protocol.requests import NoBody, Parameters, Repeatable
from coordinator.protocol.views import View

API = "/api/v1"
"""Where the API begins; what is outside needs no token."""
JSON = "application/json"
PROBLEM = "application/problem+json"
CONTENT_TYPE = "Content-Type"
IF_MATCH = "If-Match"
REPLAYED = "Idempotency-Replayed"

ANYONE = frozenset(Role) - {Role.SYSTEM}
"""Every role that a token can have."""
MANAGERS = frozenset({Role.ADMIN, Role.MODERATOR})
"""Who manages slots and sessions."""
STAFF = ANYONE - {Role.PARTICIPANT}
"""Everyone but participants."""

P = TypeVar("P", bound=Parameters)
B = TypeVar("B", bound=Request)

_NAMES_IN_PATH = re.compile(r"{(\w+)}")


class Tag(StrEnum):
    """What operations are about; the order is that of the document."""

    TIME_SLOTS = "Time slots"
    REGISTRATIONS = "Registrations"
    SESSIONS = "Sessions"
    RECORDINGS = "Recordings"
    CONSENTS = "Consents"
    SYSTEM = "System"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[P, B]):
    """One request, read and checked in form, of somebody whose role allows it.

    Attributes:
        caller: Who asks; None where no token is needed.
        parameters: From path, query and headers.
        body: From the body.
        new_id: The id of the new thing, if one is made: the same again when the request is repeated under its key.
    """

    caller: Identity | None
    parameters: P
    body: B
    new_id: str

    @property
    def identity(self) -> Identity:
        """Who asks, where a token is needed."""
        assert self.caller is not None
        return self.caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an operation answers: a view, or content that is written out already."""

    content: View | bytes
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one status of an operation means.

    Attributes:
        meaning: In words.
        view: What is shown; None where the content is no JSON of ours.
        headers: The headers that come with it.
        content_type: The media type.
    """

    meaning: str
    view: type[View] | None
    headers: tuple[str, ...] = ()
    content_type: str = JSON


Handler: TypeAlias = Callable[[Call[P, B]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[P, B]):
    """An operation, bound to what does it.

    Attributes:
        method: The HTTP method; HEAD works where GET does.
        path: The path, with its parameters in braces.
        name: Its `operationId`.
        summary: What it does, in a line. The description is the handler's docstring.
        tag: What it is about.
        handler: What does it.
        parameters: What path, query and headers hold.
        body: What the body holds; `NoBody` if nothing.
        body_required: Whether the body may not be left out.
        roles: Whose tokens may; None if it needs no token, and takes parameters as they come.
        outcomes: By status, what it answers when it is done.
        refusals: What else it can be refused with than what follows from the rest.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: Tag
    handler: Handler[P, B]
    parameters: type[P]
    body: type[B]
    outcomes: Mapping[int, Outcome]
    roles: frozenset[Role] | None = ANYONE
    body_required: bool = True
    refusals: tuple[type[CoordinatorError], ...] = ()

    @property
    def names_in_path(self) -> list[str]:
        """The parameters that the path names, in its order."""
        return _NAMES_IN_PATH.findall(self.path)

    @property
    def headers(self) -> list[str]:
        """The headers that are parameters."""
        names = (field.encode_name for field in msgspec.structs.fields(self.parameters))
        return [name for name in names if is_header(name)]

    @property
    def takes_body(self) -> bool:
        """Whether a body is read."""
        return self.body is not NoBody

    @property
    def is_repeatable(self) -> bool:
        """Whether an `Idempotency-Key` is heard."""
        return issubclass(self.parameters, Repeatable)


def is_header(name: str) -> bool:
    """Tell whether a parameter of that name is a header."""
    return name[0].isupper()
