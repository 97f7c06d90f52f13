"""The OpenAPI 3.1 document: everything that operations say about themselves, in its words (SPEC section 4).

Owns the document and nothing that it documents. Schemas are made by msgspec from the same types that requests are read
with and answers are written from.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from coordinator.domain.errors import (
    CoordinatorError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    PayloadTooLargeError,
    StaleVersionError,
    UnauthenticatedError,
    UnavailableError,
)
from coordinator.protocol.reading import Request
from coordinator.protocol.views import Problem
from coordinator.transports.rest.incoming import MediaTypeError
from coordinator.transports.rest.operations import (
    ANYONE,
    IF_MATCH,
    JSON,
    PROBLEM,
    REPLAYED,
    Operation,
    Outcome,
    Tag,
    is_header,
)

Json = dict[str, Any]

_DESCRIPTION = """\
Time slots are offered, users register for them, and around its start a slot becomes a live session, whose rooms are
reached over Socket.IO. This is everything else.

- Times are RFC 3339. What is sent needs an offset; what is answered is in UTC with milliseconds and `Z`.
- Fields without a value are left out. Unknown fields and parameters are refused.
- Lists come in pages: `next`, where there is one, is the `cursor` of the following page.
- `POST` is safe to repeat under an `Idempotency-Key`; every other method is safe to repeat anyway.
- `HEAD` works where `GET` does.
- Whatever is refused is answered with a problem (RFC 9457) whose `code` tells what it is, and has changed nothing;
  except `unavailable`, where repeating finds out, or does the rest.
"""
_TAGS = {
    Tag.TIME_SLOTS: "What is offered.",
    Tag.REGISTRATIONS: "Who wants to come.",
    Tag.SESSIONS: "What takes place.",
    Tag.RECORDINGS: "What is kept of it.",
    Tag.CONSENTS: "Who agreed to that, and when.",
    Tag.SYSTEM: "For whoever runs it.",
}
_HEADERS: dict[str, tuple[str, Json]] = {
    "Content-Disposition": (
        "This is a file to be kept, and its name (RFC 6266).",
        {"type": "string", "pattern": '^attachment; filename="[a-z.]+"$'},
    ),
    "ETag": (
        "The slot's version, for `If-Match`. It changes with every edit, and not with registrations.",
        {"type": "string", "pattern": '^"[!#-~]+"$', "examples": ['"18f3a6b2c00"']},
    ),
    "Location": ("The address of what was made.", {"type": "string", "format": "uri-reference"}),
    REPLAYED: (
        "`true` where this is the answer that was given before under the same `Idempotency-Key`.",
        {"type": "string", "enum": ["true"]},
    ),
    "Retry-After": ("Seconds after which to try again.", {"type": "string", "pattern": "^[0-9]+$"}),
    "WWW-Authenticate": ("How to say who asks.", {"type": "string", "enum": ["Bearer"]}),
}
_SCHEME = "token"


def document(operations: Sequence[Operation[Any, Any]], version: str) -> Json:
    """Return the OpenAPI document of these operations, as JSON data."""
    schemas, parameters = _schemas(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        described = _operation(operation, parameters[operation.parameters.__name__])
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Conversation Coordinator",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag, "description": text} for tag, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": {
                name: {"description": text, "schema": schema, "required": name != REPLAYED}
                for name, (text, schema) in _HEADERS.items()
            },
            "securitySchemes": {
                _SCHEME: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": (
                        "`sub` is the user, `role` one of `participant`, `moderator`, `recorder` and `admin`."
                    ),
                }
            },
        },
    }


def _schemas(operations: Iterable[Operation[Any, Any]]) -> tuple[Json, Json]:
    """Return the schemas of everything that has a name, and apart from them those of parameters, which are taken apart.

    Both by the name of the type.
    """
    bodies = {operation.body for operation in operations if operation.takes_body}
    parameters = {operation.parameters for operation in operations}
    views = {
        outcome.view for operation in operations for outcome in operation.outcomes.values() if outcome.view is not None
    }
    kinds = sorted(bodies | parameters | views | {Problem}, key=lambda kind: kind.__name__)
    assert len({kind.__name__ for kind in kinds}) == len(kinds), "two types of the same name"
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for kind in kinds:
        if issubclass(kind, Request) and kind.least:
            schemas[kind.__name__]["minProperties"] = kind.least
    apart = {kind.__name__: schemas.pop(kind.__name__) for kind in parameters}
    return dict(sorted(schemas.items())), apart


def _operation(operation: Operation[Any, Any], parameters: Json) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": _description(operation),
        "tags": [operation.tag],
        "security": [] if operation.roles is None else [{_SCHEME: []}],
        "parameters": _parameters(operation, parameters),
        "responses": _responses(operation),
    }
    if operation.takes_body:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: {"schema": _reference(operation.body)}},
        }
    return described


def _description(operation: Operation[Any, Any]) -> str:
    text = inspect.getdoc(operation.handler) or operation.summary
    if operation.roles is None:
        return text
    roles = "any" if operation.roles == ANYONE else ", ".join(f"`{role}`" for role in sorted(operation.roles))
    return f"{text}\n\nRoles: {roles}."


def _parameters(operation: Operation[Any, Any], schema: Json) -> list[Json]:
    properties: Json = schema["properties"]
    in_path = operation.names_in_path
    names = [*in_path, *(name for name in properties if name not in in_path)]
    return [_parameter(name, properties[name], in_path) for name in names]


def _parameter(name: str, schema: Json, in_path: Sequence[str]) -> Json:
    elsewhere = "header" if is_header(name) else "query"
    place = "path" if name in in_path else elsewhere
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": schema["description"],
        "schema": {key: value for key, value in schema.items() if key != "description"},
    }


def _responses(operation: Operation[Any, Any]) -> Json:
    responses = {str(int(status)): _success(operation, outcome) for status, outcome in operation.outcomes.items()}
    by_status: dict[int, list[type[CoordinatorError]]] = {}
    for error in _refusals(operation):
        by_status.setdefault(int(error.status), []).append(error)
    for status, errors in sorted(by_status.items()):
        responses[str(status)] = _refusal(status, errors)
    return responses


def _success(operation: Operation[Any, Any], outcome: Outcome) -> Json:
    schema: Mapping[str, Any] = {"type": "string"}
    if outcome.view is not None:
        schema = _reference(outcome.view)
    elif outcome.content_type == JSON:
        schema = {"type": "object"}
    response: Json = {
        "description": outcome.meaning,
        "content": {outcome.content_type.partition(";")[0]: {"schema": schema}},
    }
    names = [*outcome.headers, *([REPLAYED] if operation.is_repeatable else [])]
    return response | _headers(names)


def _refusals(operation: Operation[Any, Any]) -> list[type[CoordinatorError]]:
    """Return everything that the operation can be refused with."""
    if operation.roles is None:
        return []
    refusals: list[type[CoordinatorError]] = [UnauthenticatedError, InvalidRequestError, UnavailableError]
    if operation.roles != ANYONE:
        refusals.append(ForbiddenError)
    if operation.names_in_path:
        refusals.append(NotFoundError)
    if operation.takes_body:
        refusals += [PayloadTooLargeError, MediaTypeError]
    if IF_MATCH in operation.headers:
        refusals.append(StaleVersionError)
    return list(dict.fromkeys([*refusals, *operation.refusals]))


def _refusal(status: int, errors: Sequence[type[CoordinatorError]]) -> Json:
    codes = sorted({error.code for error in errors})
    headers = {HTTPStatus.UNAUTHORIZED: "WWW-Authenticate", HTTPStatus.SERVICE_UNAVAILABLE: "Retry-After"}
    exact = {"type": "object", "properties": {"status": {"const": status}, "code": {"enum": codes}}}
    response: Json = {
        "description": " ".join((inspect.getdoc(error) or "").partition("\n")[0] for error in errors),
        "content": {PROBLEM: {"schema": {"allOf": [_reference(Problem), exact]}}},
    }
    return response | _headers([headers[HTTPStatus(status)]] if status in headers else [])


def _headers(names: Sequence[str]) -> Json:
    return {"headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names}} if names else {}


def _reference(kind: type[msgspec.Struct]) -> Json:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
