"""Errors over HTTP: RFC 9457 problem details with the code of SPEC section 4. Translated here, once."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from coordinator.domain.errors import (
    CoordinatorError,
    InvalidRequestError,
    NotFoundError,
    PayloadTooLargeError,
    UnavailableError,
)
from coordinator.protocol.codec import encode
from coordinator.telemetry import get_logger

_log = get_logger("rest")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_response(data: Any, status: int = 200) -> web.Response:
    """Return `data` as JSON."""
    return web.Response(body=encode(data), status=status, content_type="application/json")


def problem(error: CoordinatorError, status: int | None = None) -> web.Response:
    """Return an error as RFC 9457 `application/problem+json`, under its own status unless told."""
    status = status or error.status
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
    }
    if error.field is not None:
        body["field"] = error.field
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    elif error.retryable:
        headers["Retry-After"] = "1"
    return web.Response(body=encode(body), status=status, content_type="application/problem+json", headers=headers)


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a problem document."""
    try:
        return await handler(request)
    except CoordinatorError as error:
        return problem(error)
    except web.HTTPNotFound:
        return problem(NotFoundError(f"there is nothing at {request.path}"))
    except web.HTTPRequestEntityTooLarge as error:
        return problem(PayloadTooLargeError(error.text or "the request body is too large"))
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        response = problem(InvalidRequestError(f"{error.method} is not allowed here; allowed: {allowed}"), error.status)
        response.headers["Allow"] = allowed
        return response
    except web.HTTPException:
        raise
    except Exception:  # noqa: BLE001 - a defect is answered, logged, and ends nothing else
        _log.exception("request_failed", method=request.method, path=request.path)
        return problem(UnavailableError("the server failed to handle this; try again"))
