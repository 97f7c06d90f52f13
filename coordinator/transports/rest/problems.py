"""Errors over HTTP: RFC 9457 problem details with the code of SPEC section 4. Translated here, once."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMessage
from msgspec import UNSET

from coordinator.domain.errors import CoordinatorError, InvalidRequestError, NotFoundError, UnavailableError
from coordinator.protocol.reading import ECHO_LENGTH
from coordinator.protocol.views import Problem, encode_view
from coordinator.telemetry import get_logger
from coordinator.transports.rest.operations import CONTENT_TYPE, PROBLEM

_log = get_logger("rest")


def _is_our_concern(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], BadHttpMessage))


def connection_logger() -> logging.Logger:
    """Return the logger for connections: not of what is no HTTP, which is answered by 400 and could fill any log."""
    logger = logging.getLogger("coordinator.http")
    logger.addFilter(_is_our_concern)
    return logger


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADERS = {
    # What is answered depends on who asks, and may have changed a moment later.
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
}


def respond(status: int, body: bytes, headers: Mapping[str, str]) -> web.Response:
    """Return a response with the headers that all have."""
    return web.Response(status=status, body=body, headers={**_HEADERS, **headers})


def problem(error: CoordinatorError, status: int | None = None) -> web.Response:
    """Return an error as RFC 9457 `application/problem+json`, under its own status unless told."""
    status = status or error.status
    view = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.message,
        code=error.code,
        retryable=error.retryable,
        field=UNSET if error.field is None else error.field,
    )
    headers: dict[str, str] = {CONTENT_TYPE: PROBLEM}
    if status == HTTPStatus.UNAUTHORIZED:
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    elif error.retryable:
        headers[hdrs.RETRY_AFTER] = "1"
    return respond(status, encode_view(view), headers)


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a problem document."""
    try:
        return await handler(request)
    except CoordinatorError as error:
        return problem(error)
    except web.HTTPNotFound:
        return problem(NotFoundError(f"there is nothing at {_shown(request.rel_url.raw_path)}"))
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{_shown(error.method)} is not allowed here; allowed: {allowed}"
        response = problem(InvalidRequestError(message), error.status)
        response.headers[hdrs.ALLOW] = allowed
        return response
    except web.HTTPException:
        raise
    except Exception:  # noqa: BLE001 - a defect is answered, logged, and ends nothing else
        _log.exception("request_failed", method=request.method, path=request.path)
        return problem(UnavailableError("the server failed to handle this; try again"))


def _shown(text: str) -> str:
    return text if len(text) <= ECHO_LENGTH else f"{text[:ECHO_LENGTH]}…"
