"""Serves the page at `/` and the files that it is made of.

Owns which files those are and the headers that they carry; must not know sessions, users or tokens: the page gets them
from its own address fragment and from the Socket.IO server.
"""

from pathlib import Path

from aiohttp import hdrs, web

_STATIC = Path(__file__).parent / "static"
_INDEX = "index.html"

_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""By suffix, whatever the system's own table says. A file of any other kind is not served."""

_HEADERS = {
    # Answered from the browser's cache only after asking: a page and a script of different versions must not meet.
    hdrs.CACHE_CONTROL: "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageRoutes:
    """The page and its files.

    What may be served is listed once, at the start; requests are looked up in that list and never become a path, so
    nothing outside the directory can be reached, however the address is written.

    Args:
        directory: Where the files are; `index.html` among them.
    """

    def __init__(self, directory: Path = _STATIC) -> None:
        self._files = {
            path.relative_to(directory).as_posix(): path
            for path in directory.rglob("*")
            if path.suffix in _CONTENT_TYPES and path.is_file() and not path.is_symlink()
        }

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the routes."""
        return [web.get("/", self.index), web.get("/static/{path:.+}", self.file)]

    async def index(self, _request: web.Request) -> web.FileResponse:
        """Return the page."""
        return self._response(_INDEX)

    async def file(self, request: web.Request) -> web.FileResponse:
        """Return a file of the page."""
        return self._response(request.match_info["path"])

    def _response(self, name: str) -> web.FileResponse:
        path = self._files.get(name)
        if path is None:
            raise web.HTTPNotFound
        # aiohttp adds ETag and Last-Modified, and answers conditional requests with 304.
        return web.FileResponse(path, headers={**_HEADERS, hdrs.CONTENT_TYPE: _CONTENT_TYPES[path.suffix]})
