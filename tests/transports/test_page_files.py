"""How files are sent: compressed where that is understood, told apart by content; and the client library for pages."""

import gzip
from pathlib import Path

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient
from yarl import URL

from coordinator.transports.web.pages import PageRoutes

SCRIPT = "/static/app.js"
CONTENT = "export const words = 'many words '.repeat(3);\n" * 100
LIBRARY = 'import { io } from "socket.io-client";\nexport const connect = () => io();\n'

Client = TestClient[web.Request, web.Application]


def folders(root: Path, library: str = LIBRARY) -> tuple[Path, Path]:
    """Make a folder of pages, of which the one about messages is missing, and one of the client library."""
    static, client = root / "static", root / "client"
    static.mkdir()
    client.mkdir()
    (static / "app.js").write_text(CONTENT, encoding="utf-8")
    for page in ("index.html", "console.html", "docs.html"):
        (static / page).write_text(f"<!doctype html><title>{page}</title>", encoding="utf-8")
    (client / "coordinator-client.js").write_text(library, encoding="utf-8")
    (client / "coordinator-client.d.ts").write_text("export function connect(): unknown;\n", encoding="utf-8")
    for other in ("package.json", "README.md", "notes.js"):
        (client / other).write_text("{}", encoding="utf-8")
    return static, client


@pytest.fixture
async def client(tmp_path: Path, aiohttp_client: AiohttpClient) -> Client:
    app = web.Application()
    app.add_routes(PageRoutes(*folders(tmp_path)).routes())
    return await aiohttp_client(app, auto_decompress=False)


async def ask(client: Client, accepted: str, path: str = SCRIPT, **headers: str) -> tuple[ClientResponse, bytes]:
    response = await client.get(path, headers={"Accept-Encoding": accepted, **headers})
    return response, await response.read()


@pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP;q=0.8", "gzip; q=0.001"])
async def test_who_takes_gzip_gets_it(client: Client, accepted: str) -> None:
    response, body = await ask(client, accepted)
    assert response.headers["Content-Encoding"] == "gzip"
    assert int(response.headers["Content-Length"]) == len(body) < len(CONTENT) / 10
    assert gzip.decompress(body).decode() == CONTENT
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "gzip; q=0.000, br", "x-gzipped"])
async def test_who_does_not_gets_the_file_as_it_is(client: Client, accepted: str) -> None:
    response, body = await ask(client, accepted)
    assert "Content-Encoding" not in response.headers
    assert body.decode() == CONTENT


async def test_each_form_has_a_strong_tag_of_its_own(client: Client) -> None:
    tags = {}
    for accepted, other in (("gzip", "identity"), ("identity", "gzip")):
        response, _ = await ask(client, accepted)
        tags[accepted] = tag = response.headers["ETag"]
        assert tag.startswith('"')
        again, body = await ask(client, accepted, **{"If-None-Match": f'"other", {tag}'})
        assert (again.status, body) == (304, b"")
        assert (again.headers["ETag"], again.headers["Vary"]) == (tag, "Accept-Encoding")
        assert (await ask(client, other, **{"If-None-Match": tag}))[0].status == 200
    assert tags["gzip"] != tags["identity"]


async def test_a_head_request_gets_the_same_headers_and_no_body(client: Client) -> None:
    for accepted in ("gzip", "identity"):
        whole, content = await ask(client, accepted)
        response = await client.head(SCRIPT, headers={"Accept-Encoding": accepted})
        assert (response.status, await response.read()) == (200, b"")
        assert response.headers["Content-Length"] == str(len(content))
        for name in ("ETag", "Content-Type", "Vary", "Cache-Control", "Content-Security-Policy"):
            assert response.headers[name] == whole.headers[name]


async def test_only_the_pages_themselves_may_use_camera_and_microphone(client: Client) -> None:
    for path in ("/", "/console"):
        response, _ = await ask(client, "gzip", path)
        policies = [part.strip() for part in response.headers["Permissions-Policy"].split(",")]
        assert {"camera=(self)", "microphone=(self)"} <= set(policies)


async def test_a_page_whose_file_is_missing_is_not_there(client: Client) -> None:
    statuses = {path: (await ask(client, "", path))[0].status for path in ("/", "/console", "/docs", "/docs/messages")}
    assert statuses == {"/": 200, "/console": 200, "/docs": 200, "/docs/messages": 404}


async def test_pages_import_the_library_without_a_bundler(client: Client) -> None:
    response, body = await ask(client, "", "/client/coordinator-client.js")
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert body.decode() == LIBRARY.replace('"socket.io-client"', '"/static/vendor/socket.io.esm.min.js"')


async def test_of_the_librarys_package_only_the_module_and_its_types_are_served(client: Client) -> None:
    assert (await ask(client, "", "/client/coordinator-client.d.ts"))[0].status == 200
    for name in ("package.json", "README.md", "notes.js", "..%2fstatic%2fapp.js", "%252e%252e/static/app.js"):
        address = URL(f"/client/{name}", encoded=True)  # as it is written
        assert (await client.get(address)).status == 404, name


@pytest.mark.parametrize("library", ["export const io = 1;\n", LIBRARY * 2])
def test_a_library_that_imports_another_way_stops_the_start(tmp_path: Path, library: str) -> None:
    with pytest.raises(ValueError, match="exactly once"):
        PageRoutes(*folders(tmp_path, library))
