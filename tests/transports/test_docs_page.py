"""The page at `/docs`: complete, from this server alone, and under a policy of its own."""

import asyncio
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from aiohttp import web
from pytest_aiohttp import AiohttpClient

from coordinator.transports.web import pages
from coordinator.transports.web.pages import PageRoutes

STATIC = Path(pages.__file__).parent / "static"
VENDORED = STATIC / "vendor" / "swagger-ui"

# Runs the page's script with a stand-in for Swagger UI, which says what it was called with.
SHOW_SETTINGS = """
globalThis.SwaggerUIBundle = (settings) => console.log(JSON.stringify(settings));
await import(process.argv[1]);
"""


class Page(HTMLParser):
    """Collects what a browser would load, and what a policy without inline scripts would refuse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.loaded += [given[name] for name in ("src", "href") if name in given and tag in ("script", "link", "img")]
        self.links += [given["href"]] if tag == "a" else []
        self.inline += [f"{tag} {name}" for name in given if name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.ids |= {given["id"]} if "id" in given else set()


def page() -> Page:
    return Page((STATIC / "docs.html").read_text(encoding="utf-8"))


def application() -> web.Application:
    app = web.Application()
    app.add_routes(PageRoutes().routes())
    return app


async def settings() -> dict[str, Any]:
    node = shutil.which("node")
    assert node is not None, "scripts/test installs it"
    process = await asyncio.create_subprocess_exec(
        *(node, "--input-type=module", "--eval", SHOW_SETTINGS, str(STATIC / "docs.js")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # older ones say there that they had to guess that it is a module
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    given: dict[str, Any] = json.loads(out)
    return given


async def test_the_page_comes_with_all_that_it_loads(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(application())
    response = await client.get("/docs")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Conversation Coordinator" in await response.text()
    loaded = page().loaded
    assert len(loaded) == 5
    assert all(address.startswith("/static/") for address in loaded), loaded
    assert {address for address in loaded if (await client.get(address)).status != 200} == set()


async def test_only_this_page_may_have_inline_styles_and_nothing_may_come_from_elsewhere(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(application())
    policies = {
        path: (await client.get(path)).headers["Content-Security-Policy"]
        for path in ("/", "/docs", "/static/docs.html", "/static/docs.js")
    }
    assert policies["/docs"] == policies["/static/docs.html"]
    directives = {words[0]: words[1:] for words in (part.split() for part in policies["/docs"].split(";"))}
    assert directives == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    assert "unsafe" not in policies["/"] + policies["/static/docs.js"]


async def test_the_page_shows_this_servers_description_and_sends_it_to_nobody() -> None:
    given = await settings()
    assert given["url"] == "/openapi.json"
    assert given["validatorUrl"] is None
    assert given["persistAuthorization"] is True
    assert given["dom_id"].removeprefix("#") in page().ids


def test_the_page_says_how_to_get_a_token() -> None:
    assert "<code>coordinator token --sub U --role admin</code>" in (STATIC / "docs.html").read_text(encoding="utf-8")
    assert {"/", "/openapi.json"} == set(page().links)


def test_the_page_has_no_inline_script() -> None:
    assert page().inline == []


def test_the_vendored_style_sheet_loads_nothing() -> None:
    text = (VENDORED / "swagger-ui.css").read_text(encoding="utf-8")
    addresses = re.findall(r"""url\(["']?([^"')]{1,11})""", text)
    assert addresses
    assert all(address.startswith("data:image/") for address in addresses), addresses
    assert "@import" not in text
    assert "sourceMappingURL" not in text


def test_the_vendored_bundle_comes_with_its_licences() -> None:
    version = re.search(r"swagger-ui-dist (\d+\.\d+\.\d+)", (STATIC / "vendor" / "LICENSES.md").read_text("utf-8"))
    assert version is not None
    bundle = (VENDORED / "swagger-ui-bundle.js").read_text(encoding="utf-8")
    assert f'"{version[1]}"' in bundle or f"v{version[1]}" in bundle
    assert "Apache License" in (VENDORED / "LICENSE.txt").read_text(encoding="utf-8")
    assert "SmartBear" in (VENDORED / "NOTICE.txt").read_text(encoding="utf-8")
    named = re.search(r"see (\S+\.LICENSE\.txt)", bundle[:200])
    assert named is not None
    assert (VENDORED / named[1]).is_file()
