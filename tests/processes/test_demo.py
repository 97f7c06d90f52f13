"""`coordinator demo` and `serve --demo`: what a newcomer sees first, made over HTTP."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
import socketio
from aiohttp import web
from bson import ObjectId
from pytest_aiohttp import AiohttpServer

from coordinator.adapters.jwt.hs256 import Hs256Tokens
from coordinator.adapters.system import SystemClock
from coordinator.cli.api_client import address_of
from coordinator.cli.seeding import keep_offering
from coordinator.settings import ServerSettings, Settings, SettingsError
from tests.processes.server import SECRET, SIGNED, ServerProcess, run
from tests.transports.harness import eventually


class Printed(NamedTuple):
    """What a demo printed."""

    slot: str
    session: str
    tokens: dict[str, str]
    linked: list[str]
    text: str


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data")
    await process.start()
    yield process
    await process.stop()


async def demo(server: ServerProcess, *options: str, **variables: str) -> Printed:
    arguments = ["demo", "--data-dir", str(server.data_dir), *options]
    code, out, err = await run(*arguments, variables={**SIGNED, **variables})
    assert (code, err) == (0, "")
    return printed(out)


def printed(out: str) -> Printed:
    slot, session = re.search(r"Demo slot (\w{24})", out), re.search(r"Session (\w{24})", out)
    assert slot is not None, out
    assert session is not None, out
    tokens = dict(re.findall(r"^  (\S+)  (ey\S+)$", out, re.MULTILINE))
    linked = re.findall(rf"^  (\S+): \S+/#session={session[1]}&token=ey", out, re.MULTILINE)
    return Printed(slot[1], session[1], tokens, linked, out)


async def status_on_joining(server: ServerProcess, token: str, session: str) -> str:
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(server.address, namespaces=["/rooms"], auth={"token": token}, transports=["websocket"])
    answer = await client.call("join", {"sessionId": session}, namespace="/rooms")
    await client.disconnect()
    assert answer["ok"], answer
    return str(answer["snapshot"]["session"]["status"])


def tokens() -> Hs256Tokens:
    return Hs256Tokens(SECRET, clock=SystemClock())


async def slots(server: ServerProcess, language: str, **more: Any) -> list[dict[str, Any]]:
    async with server.database() as database:
        return (
            await database.timeslots.find({"targetLanguageCode": language, **more}).sort("startTime", 1).to_list(None)
        )


async def test_the_demo_offers_a_session_that_its_users_can_join(server: ServerProcess) -> None:
    shown = await demo(server, "--url", server.address)
    assert [*shown.tokens] == ["ada", "bruno", "chloe", "diego", "demo-moderator", "demo-recorder"]
    assert shown.linked == ["ada", "bruno"]
    assert f"{server.address}/docs" in shown.text
    assert await status_on_joining(server, shown.tokens["ada"], shown.session) == "waiting"
    (slot,) = await slots(server, "fr", level="B1")
    assert (slot["_id"], slot["sessionId"]) == (ObjectId(shown.slot), ObjectId(shown.session))
    assert (slot["level"], slot["durationMinutes"], slot["registeredCount"]) == ("B1", 15, 4)
    assert timedelta() < slot["startTime"] - slot["createdAt"] <= timedelta(minutes=1)


async def test_the_demo_offers_a_daily_and_a_weekly_series(server: ServerProcess) -> None:
    now = datetime.now(UTC)
    await demo(server, "--url", server.address)
    daily = await slots(server, "es", recurrence="daily")
    weekly = await slots(server, "en", recurrence="weekly")
    in_paris = [slot["startTime"].astimezone(ZoneInfo("Europe/Paris")) for slot in daily]
    in_london = [slot["startTime"].astimezone(ZoneInfo("Europe/London")) for slot in weekly]
    assert {(start.hour, start.minute) for start in in_paris} == {(18, 0)}
    assert {(start.weekday(), start.hour, start.minute) for start in in_london} == {(5, 10, 0)}
    assert now < in_paris[0] < now + timedelta(days=2)
    assert now < in_london[0] < now + timedelta(days=8)
    assert {slot["level"] for slot in daily} == {"A2"}
    assert {slot["level"] for slot in weekly} == {"C1"}


async def test_there_is_something_to_choose_from_with_free_seats(server: ServerProcess) -> None:
    now = datetime.now(UTC)
    await demo(server, "--url", server.address)
    found = [slot for language in ("en", "es", "fr") for slot in await slots(server, language, recurrence="once")]
    soon, *later = sorted(found, key=lambda slot: slot["startTime"])
    assert soon["maxParticipants"] - soon["registeredCount"] >= 4
    assert len({(slot["targetLanguageCode"], slot["level"]) for slot in later}) == len(later) >= 4
    for slot in later:
        assert now + timedelta(minutes=15) < slot["startTime"] < now + timedelta(days=2)
        assert (slot["startTime"].minute % 15, slot["startTime"].second, slot["startTime"].microsecond) == (0, 0, 0)
        assert slot["registeredCount"] == 0


async def test_whoever_comes_later_also_finds_a_slot(server: ServerProcess) -> None:
    await demo(server, "--url", server.address)
    keeping = asyncio.create_task(keep_offering(server.address, tokens(), every_seconds=0.05))

    async def two_more() -> bool:
        return len(await slots(server, "fr", level="B1")) >= 3

    await eventually(two_more, "slots that begin soon")
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    # What is still to come is not offered a second time.
    for language, level in (("en", "A2"), ("es", "B1"), ("fr", "A1"), ("en", "B2")):
        assert len(await slots(server, language, level=level)) == 1


async def test_a_time_at_which_nobody_answers_is_passed_over() -> None:
    # Port 9 is reserved for discarding; nothing listens there.
    keeping = asyncio.create_task(keep_offering("http://127.0.0.1:9", tokens(), every_seconds=0.01))
    done, _ = await asyncio.wait({keeping}, timeout=0.3)
    assert not done
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_another_demo_brings_users_of_its_own_and_finds_the_series(server: ServerProcess) -> None:
    first = await demo(server, "--url", server.address)
    second = await demo(server, "--url", server.address)
    assert [*second.tokens] == ["ada-2", "bruno-2", "chloe-2", "diego-2", "demo-moderator", "demo-recorder"]
    assert second.linked == ["ada-2", "bruno-2"]
    assert "stand in" in second.text
    assert "stand in" not in first.text
    assert first.session != second.session
    assert await status_on_joining(server, second.tokens["ada-2"], second.session) == "waiting"
    assert len(await slots(server, "fr", level="B1")) == 2
    for language in ("es", "en"):
        starts = [slot["startTime"] for slot in await slots(server, language)]
        assert starts
        assert len(starts) == len(set(starts))


async def test_the_address_is_that_of_the_settings_unless_given(server: ServerProcess) -> None:
    port = server.address.rpartition(":")[2]
    shown = await demo(server, COORDINATOR_SERVER__PORT=port, COORDINATOR_SERVER__HOST="0.0.0.0")
    assert f"ada: {server.address}/#session=" in shown.text


async def test_serve_can_bring_its_own_demo(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start("--demo")
    assert server.process.stdout is not None
    lines = []
    async with asyncio.timeout(30):
        async for line in server.process.stdout:
            lines.append(line.decode())
            if "/docs" in lines[-1]:
                break
    shown = printed("".join(lines))
    assert shown.linked == ["ada", "bruno"]
    assert f"ada: {server.address}/#session=" in shown.text
    assert await status_on_joining(server, shown.tokens["bruno"], shown.session) == "waiting"
    assert await server.stop() == 0


async def test_serve_says_first_what_to_open(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", COORDINATOR_AUTH__SECRET="")
    await server.start("--demo")
    assert server.process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(30):
        async for line in server.process.stdout:
            if line.strip():
                lines.append(line.decode().strip())
            if b"/docs" in line:
                break
    assert lines[0].startswith(f"Open {server.address}/ and sign in")
    assert f"{server.address}/console" in lines[1]
    assert printed("\n".join(f"  {line}" for line in lines)).linked == ["ada", "bruno"]
    assert await server.stop() == 0


async def test_serve_says_why_nobody_can_sign_in_by_name(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start("--demo")
    assert server.process.stdout is not None
    async with asyncio.timeout(30):
        line = await server.process.stdout.readline()
    assert line.decode() == "Nobody can sign in by name, because auth.secret is set.\n"
    assert await server.stop() == 0


async def test_where_nothing_answers_it_says_what_to_start(tmp_path: Path) -> None:
    # Port 9 is reserved for discarding; nothing listens there.
    code, out, err = await run("demo", "--data-dir", str(tmp_path), "--url", "http://127.0.0.1:9", variables=SIGNED)
    assert (code, out) == (1, "")
    assert "no coordinator answers at http://127.0.0.1:9" in err
    assert "`coordinator serve`" in err
    assert "Traceback" not in err


async def test_a_coordinator_with_another_secret_is_named_as_the_cause(server: ServerProcess) -> None:
    code, out, err = await run(
        *("demo", "--data-dir", str(server.data_dir), "--url", server.address),
        variables={"COORDINATOR_AUTH__SECRET": "another secret, which is as long as it has to be"},
    )
    assert (code, out) == (1, "")
    assert "unauthenticated" in err
    assert "COORDINATOR_AUTH__SECRET" in err
    assert await slots(server, "fr") == []


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_something_else_that_answers_is_not_taken_for_a_coordinator(
    tmp_path: Path, aiohttp_server: AiohttpServer, status: int
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="<p>hello</p>", status=status)

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", answer)])
    other = await aiohttp_server(app)
    address = str(other.make_url("")).rstrip("/")
    code, out, err = await run("demo", "--data-dir", str(tmp_path), "--url", address, variables=SIGNED)
    assert (code, out) == (1, "")
    assert f"what answers at {address} is no coordinator" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("fd00::1", "http://[fd00::1]:8080"),
        ("learn.example", "http://learn.example:8080"),
    ],
)
def test_a_coordinator_is_asked_where_it_can_be_reached(host: str, address: str) -> None:
    assert address_of(Settings(server=ServerSettings(host=host))) == address


def test_any_free_port_is_not_an_address() -> None:
    with pytest.raises(SettingsError, match=r"server\.port"):
        address_of(Settings(server=ServerSettings(port=0)))
