"""From a raw request to texts and bytes that can be read: path, query, headers, body.

Owns everything about HTTP requests that the types of a request do not say: encodings, repetitions, sizes, media types.
"""

import re
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from aiohttp import web

from coordinator.domain.errors import InvalidRequestError, NotFoundError, PayloadTooLargeError
from coordinator.protocol.reading import ECHO_LENGTH, R, read_json, read_object, read_texts
from coordinator.transports.rest.operations import CONTENT_TYPE, JSON, B, Operation, P, is_header

_MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MOST_PARAMETERS = 100


class MediaTypeError(InvalidRequestError):
    """The body is not announced as what it must be (RFC 9110 section 15.5.16). Only over HTTP."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


def read_parameters(request: web.Request, operation: Operation[P, B]) -> P:
    """Read the parameters of path, query and headers.

    Raises:
        NotFoundError: One of the path has not the form of what it names, so that cannot exist.
        InvalidRequestError: One of the query or the headers is wrong, unknown or repeated.
    """
    kind = operation.parameters
    in_path = _path_texts(request, operation)
    texts = in_path | _query_texts(request, set(in_path)) | _header_texts(request, operation)
    try:
        return read_texts(texts, kind)
    except InvalidRequestError as error:
        if error.field in in_path:
            raise NotFoundError(f"there is nothing at this address: {error.message}") from None
        raise


async def read_body(request: web.Request, kind: type[R], most_bytes: int, *, required: bool) -> R:
    """Read the body.

    Raises:
        PayloadTooLargeError: It is longer than `most_bytes`.
        MediaTypeError: It is not announced as JSON, or encoded.
        InvalidRequestError: It is not what the operation takes.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise MediaTypeError("Content-Encoding: must be identity, or left out", field="Content-Encoding")
    content = await _content(request, most_bytes)
    if not content:
        if required:
            raise InvalidRequestError("body: is missing; it must be a JSON object", field="body")
        return read_object({}, kind)
    if request.content_type != JSON:
        raise MediaTypeError(f"{CONTENT_TYPE}: must be {JSON}", field=CONTENT_TYPE)
    return read_object(read_json(content), kind)


def _path_texts(request: web.Request, operation: Operation[Any, Any]) -> dict[str, str]:
    """Return what stands in the path, decoded here: the router leaves what is no UTF-8 as if it were meant."""
    template = operation.path.split("/")
    segments = request.rel_url.raw_path.split("/")
    return {
        part[1:-1]: _decoded(segment)
        for part, segment in zip(template, segments, strict=True)
        if part.startswith("{") and part.endswith("}")
    }


def _decoded(segment: str) -> str:
    refusal = NotFoundError("there is nothing at this address: it is not percent-encoded UTF-8")
    if _MALFORMED_ESCAPE.search(segment):
        raise refusal
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeError:
        raise refusal from None


def _query_texts(request: web.Request, taken: set[str]) -> dict[str, str]:
    query = request.rel_url.raw_query_string
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise InvalidRequestError(
            f"the query must be at most {_MOST_PARAMETERS} parameters, percent-encoded in UTF-8", field="query"
        ) from None
    texts: dict[str, str] = {}
    for name, text in pairs:
        shown = name[:ECHO_LENGTH]
        if name in texts:
            raise InvalidRequestError(f"{shown}: must be given once", field=shown)
        if name in taken or (name and is_header(name)):
            raise InvalidRequestError(f"{shown}: is no parameter of the query", field=shown)
        texts[name] = text
    return texts


def _header_texts(request: web.Request, operation: Operation[Any, Any]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name in operation.headers:
        values = request.headers.getall(name, [])
        if values:
            # RFC 9110 section 5.3: several lines are one list. A header that is no list then has no right form.
            texts[name] = ", ".join(values)
    return texts


async def _content(request: web.Request, most_bytes: int) -> bytes:
    """Return the body, reading no more of it than is allowed."""
    too_large = PayloadTooLargeError(f"the body must not be longer than {most_bytes} bytes")
    if (request.content_length or 0) > most_bytes:
        raise too_large
    content = bytearray()
    try:
        async for chunk in request.content.iter_any():
            content += chunk
            if len(content) > most_bytes:
                raise too_large
    except web.RequestPayloadError:
        raise InvalidRequestError("body: is cut short, or its chunks are malformed", field="body") from None
    return bytes(content)
