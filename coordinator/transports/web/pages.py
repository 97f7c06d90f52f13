"""Serves the pages (`/`, `/console`, `/docs`, `/docs/messages`), the files they are made of, and the client library.

Owns which files those are and the headers that they carry; must not know sessions, users or tokens: the pages get them
from whoever opens them, and from the server's other parts.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from aiohttp import ETag, hdrs, web

from coordinator.transports.web.assets import Asset, read_assets

_HERE = Path(__file__).parent
_PAGES = {"/": "index.html", "/console": "console.html", "/docs": "docs.html", "/docs/messages": "messages.html"}
_DOCS = "docs.html"

_CLIENT = "coordinator-client.js"
_CLIENT_FILES = (_CLIENT, "coordinator-client.d.ts")
_NPM_SPECIFIER = b'from "socket.io-client"'
_PAGE_SPECIFIER = b'from "/static/vendor/socket.io.esm.min.js"'

_NOT_AT_ALL = re.compile(r"q=0(\.0*)?")

_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
"""No script and no style but the server's own files. `'self'` covers the WebSocket of the same origin (CSP level 3)."""
_POLICIES = {
    # Swagger UI writes style attributes, and its style sheet holds small pictures as data.
    _DOCS: (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""The pages that need another policy than the rest."""

_HEADERS = {
    # Answered from the browser's cache only after asking: a page and a script of different versions must not meet.
    hdrs.CACHE_CONTROL: "no-cache",
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageRoutes:
    """The pages, their files, and the client library.

    What may be served is read once, at the start; requests are looked up in that and never become a path, so nothing
    outside the directories can be reached, however the address is written.

    Args:
        static: Where the pages and their files are.
        client: Where the client library is.
    """

    def __init__(self, static: Path = _HERE / "static", client: Path = _HERE / "client") -> None:
        self._files = read_assets(static)
        package = read_assets(client)
        self._client = {name: package[name] for name in _CLIENT_FILES if name in package}
        if _CLIENT in self._client:
            self._client[_CLIENT] = _for_pages(self._client[_CLIENT])

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the routes."""
        return [
            *(web.get(path, self.page) for path in _PAGES),
            web.get("/static/{path:.+}", self.file),
            web.get("/client/{path:.+}", self.client_file),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """Return a page."""
        return _respond(request, self._files, _PAGES[request.path])

    async def file(self, request: web.Request) -> web.Response:
        """Return a file of a page."""
        return _respond(request, self._files, request.match_info["path"])

    async def client_file(self, request: web.Request) -> web.Response:
        """Return a file of the client library, as pages can import it without a bundler."""
        return _respond(request, self._client, request.match_info["path"])


def _for_pages(module: Asset) -> Asset:
    """Have the client library find socket.io-client where pages find it: they know no packages."""
    if module.content.count(_NPM_SPECIFIER) != 1:
        raise ValueError(f"{_CLIENT} must import socket.io-client exactly once")
    return Asset(module.content.replace(_NPM_SPECIFIER, _PAGE_SPECIFIER), module.content_type)


def _respond(request: web.Request, files: Mapping[str, Asset], name: str) -> web.Response:
    asset = files.get(name)
    if asset is None:
        raise web.HTTPNotFound
    is_compressed = _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
    etag = f"{asset.etag}-gzip" if is_compressed else asset.etag
    headers = {**_HEADERS, "Content-Security-Policy": _POLICIES.get(name, _POLICY)}
    if any(known.value in {etag, "*"} for known in request.if_none_match or ()):
        response = web.Response(status=304, headers=headers)
    else:
        headers[hdrs.CONTENT_TYPE] = asset.content_type
        if is_compressed:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        response = web.Response(body=asset.compressed if is_compressed else asset.content, headers=headers)
    response.etag = ETag(etag)
    return response


def _takes_gzip(accepted: str) -> bool:
    """Tell whether a client takes gzip (RFC 9110 section 12.5.3); whoever says so with a weight of 0 does not."""
    for item in accepted.lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() == "gzip":
            return _NOT_AT_ALL.fullmatch(weight.replace(" ", "")) is None
    return False
