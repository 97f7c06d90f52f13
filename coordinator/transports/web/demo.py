"""Signing in by name, for demos only, and what the pages have to know about it.

Owns the two routes; must not know how tokens are signed, nor when a server is a demo: whoever starts one hands over
what signs tokens, or nothing (see `cli.demo_mode`).
"""

import ipaddress
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta

from coordinator.domain.errors import ForbiddenError, InvalidRequestError, PayloadTooLargeError
from coordinator.domain.events import Role
from coordinator.domain.ids import UserId
from coordinator.protocol.fields import UserIdText
from coordinator.protocol.reading import Request, read_json, read_object

Issue: TypeAlias = Callable[[UserId, Role], str]
"""Signs a token for a user in a role."""

_MOST_BYTES = 4096
_HEADERS = {hdrs.CACHE_CONTROL: "no-store", "X-Content-Type-Options": "nosniff"}


class DemoRole(StrEnum):
    """Whom one can sign in as: nobody who may erase, or take up recordings."""

    PARTICIPANT = "participant"
    MODERATOR = "moderator"


class SignIn(Request, frozen=True, kw_only=True):
    """Under which name, and as what."""

    user_id: UserIdText
    role: Annotated[DemoRole, Meta(extra={"must_be": "participant or moderator"})] = DemoRole.PARTICIPANT


class DemoRoutes:
    """Whether one can sign in by name, and how.

    Args:
        issue: Signs tokens; None where this is no demo, and then there is nothing at the address.
    """

    def __init__(self, issue: Issue | None) -> None:
        self._issue = issue

    def routes(self) -> list[web.RouteDef]:
        """Return the routes. The application needs a middleware that answers errors."""
        settings = web.get("/web/settings.json", self.settings)
        return [settings] if self._issue is None else [settings, web.post("/demo/sign-in", self.sign_in)]

    async def settings(self, _request: web.Request) -> web.Response:
        """Tell the pages what they cannot know."""
        return _json({"demoSignIn": self._issue is not None})

    async def sign_in(self, request: web.Request) -> web.Response:
        """Sign a token for whoever asks from this server's own pages.

        Raises:
            ForbiddenError: Another site asks.
            PayloadTooLargeError, InvalidRequestError: The body is not a `SignIn`.
        """
        assert self._issue is not None
        _check_own_page(request)
        content = await _content(request)
        if request.content_type != "application/json":
            raise InvalidRequestError("Content-Type: must be application/json", field="Content-Type")
        wanted = read_object(read_json(content), SignIn)
        if wanted.user_id != wanted.user_id.strip():
            raise InvalidRequestError("userId: must not begin or end with a space", field="userId")
        token = self._issue(UserId(wanted.user_id), Role(wanted.role))
        return _json({"token": token, "userId": wanted.user_id})


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this machine, and nobody can make it mean another."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _content(request: web.Request) -> bytes:
    """Return the body, in however many pieces it comes, reading no more of it than is allowed."""
    content = bytearray()
    async for piece in request.content.iter_any():
        content += piece
        if len(content) > _MOST_BYTES:
            raise PayloadTooLargeError(f"the body must not be longer than {_MOST_BYTES} bytes", field="body")
    return bytes(content)


def _check_own_page(request: web.Request) -> None:
    """Refuse pages of other sites. What is no browser sends neither header, and has the demo to itself anyway.

    The name by which this machine is asked matters too: another site can have its own name lead here (DNS rebinding),
    and is then of the same origin for the browser.
    """
    if not is_loopback(_host_name(request.host)):
        raise ForbiddenError("only who asks for localhost, or its address, can sign in by name")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get(hdrs.ORIGIN)
    if site not in {"same-origin", "none"} or (origin is not None and origin != f"{request.scheme}://{request.host}"):
        raise ForbiddenError("only this server's own pages can sign in")


def _host_name(authority: str) -> str:
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:  # brackets that are not those of an address
        return ""


def _json(content: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), content_type="application/json", headers=_HEADERS)
