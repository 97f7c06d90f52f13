"""The pages: what is served, how, and that nothing else is. What is special about `/docs` is in `test_docs_page`."""

import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpClient

from coordinator.transports.web import pages
from coordinator.transports.web.pages import PageRoutes

_STATIC = Path(pages.__file__).parent / "static"
_VENDORED = "vendor/socket.io.esm.min.js"
_DOCS = "docs.html"
_CLIENT = "/client/coordinator-client.js"
_SERVED = sorted(
    path.relative_to(_STATIC).as_posix() for path in _STATIC.rglob("*") if path.is_file() and path.suffix != ".json"
)
_OWN = [name for name in _SERVED if not name.startswith("vendor/")]
_SCRIPTS = [name for name in _SERVED if name.endswith(".js") and "swagger" not in name]  # that one is no module

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

# Of `import … from "x"`, `export … from "x"`, `import "x"` and `import("x")`: x.
_IMPORT = re.compile(r"""(?:\bfrom\s*|\bimport\s*\(?\s*)(["'`])(.+?)\1""")
_OTHER_HOST = re.compile(r"(?:\b(?:https?|wss?):)?//(?:[a-z0-9-]+\.)+[a-z]{2,}", re.IGNORECASE)


def _app(routes: PageRoutes) -> web.Application:
    async def elsewhere(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([*routes.routes(), web.get("/elsewhere", elsewhere)])
    return app


def _text(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


class _Page(HTMLParser):
    """Collects what a browser would load, what a strict policy would refuse, and what refers to what by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.files: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.id_references: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.files += [given[name] for name in ("src", "href") if name in given]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        self.ids += [given["id"]] if "id" in given else []
        for name in ("for", "aria-labelledby", "aria-describedby"):
            self.id_references += given.get(name, "").split()


async def _status_of(host: str, port: int, target: str) -> int:
    """Ask for an address exactly as it is written; an ordinary client would tidy it up first."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        status_line = await reader.readline()
        return int(status_line.split()[1])
    finally:
        writer.close()
        await writer.wait_closed()


async def test_the_page_is_at_the_root(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app(PageRoutes()))
    response = await client.get("/")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert _HEADERS.items() <= dict(response.headers).items()
    assert await response.text() == _text("index.html")


@pytest.mark.parametrize("name", [name for name in _SERVED if name != _DOCS])
async def test_every_file_is_served_with_its_type_and_the_headers(aiohttp_client: AiohttpClient, name: str) -> None:
    client = await aiohttp_client(_app(PageRoutes()))
    response = await client.get(f"/static/{name}")
    assert response.status == 200
    assert response.headers["Content-Type"] == _TYPES[Path(name).suffix]
    assert _HEADERS.items() <= dict(response.headers).items()
    assert "ETag" in response.headers
    assert await response.read() == (_STATIC / name).read_bytes()


@pytest.mark.parametrize(("asked", "told"), [("If-None-Match", "ETag")])
async def test_what_has_not_changed_is_not_sent_again(aiohttp_client: AiohttpClient, asked: str, told: str) -> None:
    client = await aiohttp_client(_app(PageRoutes()))
    first = await client.get("/static/room/app.js")
    again = await client.get("/static/room/app.js", headers={asked: first.headers[told]})
    assert again.status == 304
    assert await again.read() == b""
    assert _HEADERS.items() <= dict(again.headers).items()


async def test_other_responses_of_the_application_are_left_alone(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app(PageRoutes()))
    for path in ("/elsewhere", "/nowhere"):
        response = await client.get(path)
        assert not _HEADERS.keys() & set(response.headers)


@pytest.mark.parametrize(
    "target",
    [
        "/static/../pages.py",
        "/static/..%2fpages.py",
        "/static/%2e%2e/pages.py",
        "/static/%2e%2e%2fpages.py",
        "/static/%252e%252e%252fpages.py",
        "/static/..%5cpages.py",
        "/static/....//pages.py",
        "/static/vendor/../../pages.py",
        "/static/vendor/..%2f..%2fpages.py",
        "/static/vendor/%2e%2e/room/app.js",
        f"/static/{_STATIC.parent / 'pages.py'}",
        f"/static/%2f{str(_STATIC / 'room' / 'app.js').lstrip('/')}",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/room/app.js%00.css",
        "/static/room/app.js/",
        "/static/vendor",
        "/static/vendor/",
        "/static/",
        "/static",
        "/static/room/APP.JS",
        "/static/no-such-file.js",
    ],
)
async def test_nothing_but_the_listed_files_can_be_reached(aiohttp_client: AiohttpClient, target: str) -> None:
    client = await aiohttp_client(_app(PageRoutes()))
    assert await _status_of(str(client.host), client.port or 0, target) == 404


async def test_only_files_of_known_kinds_are_served(aiohttp_client: AiohttpClient, tmp_path: Path) -> None:
    static, secret = tmp_path / "static", tmp_path / "secret.js"
    static.mkdir()
    secret.write_text("1")
    for name in ("index.html", "known.js", "key.pem", "script.py", "known.js.map", ".env", "plain"):
        (static / name).write_text(name)
    (static / "link.js").symlink_to(secret)
    client = await aiohttp_client(_app(PageRoutes(static)))
    statuses = {
        name: (await client.get(f"/static/{name}")).status
        for name in ("known.js", "key.pem", "script.py", "known.js.map", ".env", "plain", "link.js")
    }
    assert statuses.pop("known.js") == 200
    assert set(statuses.values()) == {404}, statuses


async def test_only_reading_is_allowed(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app(PageRoutes()))
    for path in ("/", "/docs", "/static/room/app.js"):
        assert (await client.head(path)).status == 200
        assert (await client.post(path)).status == 405


async def test_every_file_that_the_page_refers_to_is_served(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(_app(PageRoutes()))
    page = _Page(_text("index.html"))
    assert {"/static/room/app.js", "/static/shared/base.css"} <= set(page.files)
    missing = {address for address in page.files if (await client.get(address)).status != 200}
    assert not missing


def _imported(name: str) -> set[str]:
    """Return the files under `static` that a script imports, by path or by address."""
    parent = (_STATIC / name).parent
    addresses = {imported for _quote, imported in _IMPORT.findall(_text(name))} - {_CLIENT}
    paths = {
        _STATIC / address.removeprefix("/static/") if address.startswith("/static/") else parent / address
        for address in addresses
    }
    return {path.resolve().relative_to(_STATIC.resolve()).as_posix() for path in paths}


@pytest.mark.parametrize("name", _SCRIPTS)
def test_scripts_import_only_files_that_are_there(name: str) -> None:
    for _quote, imported in _IMPORT.findall(_text(name)):
        assert imported == _CLIENT or imported.startswith(("./", "/static/")), f"{imported} is not a file of the page"
    for imported in _imported(name):
        assert (_STATIC / imported).is_file(), f"{imported} is missing"


def test_every_script_of_the_room_page_is_used() -> None:
    reached, waiting = set(), {"room/app.js"}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= _imported(name) - reached
    assert {name for name in _SCRIPTS if name.startswith(("room/", "shared/"))} <= reached


def test_the_page_has_no_inline_script_or_style() -> None:
    assert _Page(_text("index.html")).inline == []


def test_every_id_that_is_referred_to_exists_once() -> None:
    page = _Page(_text("index.html"))
    assert len(page.ids) == len(set(page.ids))
    assert "app" in page.ids
    assert set(page.id_references) <= set(page.ids)


@pytest.mark.parametrize("name", [name for name in _OWN if name.endswith((".html", ".css", ".js"))])
def test_the_pages_own_files_refer_to_no_other_host(name: str) -> None:
    assert _OTHER_HOST.findall(_text(name)) == []


@pytest.mark.parametrize("name", [name for name in _OWN if name.endswith(".js")])
def test_text_never_becomes_markup_or_code(name: str) -> None:
    dangerous = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\.style\b|cssText"
    assert re.findall(dangerous, _text(name)) == []


def test_the_vendored_client_stands_alone() -> None:
    text = _text(_VENDORED)
    assert _IMPORT.findall(text) == []
    assert "sourceMappingURL" not in text
    # The one address in it is advice in the text of an error.
    assert _OTHER_HOST.findall(text) == ["https://socket.io"]
    assert "more information here: https://socket.io/docs/" in text


def test_the_vendored_client_comes_with_its_licence() -> None:
    version = re.search(r"Socket\.IO v(\d+\.\d+\.\d+)", _text(_VENDORED))
    assert version is not None
    licences = _text("vendor/LICENSES.md")
    assert f"socket.io-client {version[1]}" in licences
    assert "Permission is hereby granted, free of charge" in licences
