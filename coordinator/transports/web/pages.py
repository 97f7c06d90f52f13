"""Serves the pages at `/` and `/docs`, and the files that they are made of.

Owns which files those are and the headers that they carry; must not know sessions, users or tokens: the pages get them
from whoever opens them, and from the server's other parts.
"""

from pathlib import Path

from aiohttp import hdrs, web

_STATIC = Path(__file__).parent / "static"
_INDEX = "index.html"
_DOCS = "docs.html"

_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""By suffix, whatever the system's own table says. A file of any other kind is not served."""

_POLICY = (
    "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'"
)
_POLICIES = {
    # Swagger UI writes style attributes, and its style sheet holds small pictures as data.
    _DOCS: (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""The files that need another policy than the rest."""

_HEADERS = {
    # Answered from the browser's cache only after asking: a page and a script of different versions must not meet.
    hdrs.CACHE_CONTROL: "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageRoutes:
    """The pages and their files.

    What may be served is listed once, at the start; requests are looked up in that list and never become a path, so
    nothing outside the directory can be reached, however the address is written.

    Args:
        directory: Where the files are; `index.html` and `docs.html` among them.
    """

    def __init__(self, directory: Path = _STATIC) -> None:
        self._files = {
            path.relative_to(directory).as_posix(): path
            for path in directory.rglob("*")
            if path.suffix in _CONTENT_TYPES and path.is_file() and not path.is_symlink()
        }

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the routes."""
        return [web.get("/", self.index), web.get("/docs", self.docs), web.get("/static/{path:.+}", self.file)]

    async def index(self, _request: web.Request) -> web.FileResponse:
        """Return the room page."""
        return self._response(_INDEX)

    async def docs(self, _request: web.Request) -> web.FileResponse:
        """Return the page that shows `/openapi.json`."""
        return self._response(_DOCS)

    async def file(self, request: web.Request) -> web.FileResponse:
        """Return a file of a page."""
        return self._response(request.match_info["path"])

    def _response(self, name: str) -> web.FileResponse:
        path = self._files.get(name)
        if path is None:
            raise web.HTTPNotFound
        headers = {
            **_HEADERS,
            hdrs.CONTENT_TYPE: _CONTENT_TYPES[path.suffix],
            "Content-Security-Policy": _POLICIES.get(name, _POLICY),
        }
        # aiohttp adds ETag and Last-Modified, and answers conditional requests with 304.
        return web.FileResponse(path, headers=headers)
