"""The commands as a newcomer types them: real processes, right and wrong input."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import psutil
import pytest
import socketio
from aiohttp import web
from bson import ObjectId
from pytest_aiohttp import AiohttpServer

from coordinator.domain.events import Role
from tests.processes.server import SECRET, SIGNED, ServerProcess, run


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data")
    await process.start()
    yield process
    await process.stop()


async def test_serve_stops_at_sigterm_and_leaves_nothing_behind(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    await server.start()
    database = server.database_process()
    client = socketio.AsyncClient(reconnection=False)
    session = await server.offer(["ada", "bruno"])
    await client.connect(
        server.address, namespaces=["/rooms"], auth={"token": server.token("ada")}, transports=["websocket"]
    )
    assert (await client.call("join", {"sessionId": session}, namespace="/rooms"))["ok"]
    async with asyncio.timeout(10):
        assert await server.stop() == 0
        await client.wait()
    await client.disconnect()
    assert not psutil.pid_exists(database.pid)
    await server.start()
    async with server.database() as database_again:
        events = [
            event
            async for commit in database_again.events.find({"sessionId": ObjectId(session)}).sort("seq", 1)
            for event in commit["events"]
        ]
    gone = [event for event in events if event["type"] == "participant_disconnected"]
    assert [event["data"]["reason"] for event in gone] == ["server_stopped"]
    assert await server.stop() == 0


async def test_a_second_coordinator_on_the_same_data_is_told_who_has_it(server: ServerProcess) -> None:
    code, _, err = await run("serve", "--data-dir", str(server.data_dir), "--port", "0")
    assert code == 1
    assert str(server.process.pid) in err


async def test_watch_prints_what_happened(server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno"])
    options = ["--data-dir", str(server.data_dir), "--url", server.address, "--no-follow"]
    code, out, _ = await run("watch", session, *options, variables=SIGNED)
    assert code == 0
    assert re.search(r"\b1\s+session_opened\b.*level=C1", out)
    unknown = "0" * 24
    code, _, err = await run("watch", unknown, *options, variables=SIGNED)
    assert code == 1
    assert "not_found" in err


async def test_watch_prints_what_clients_chose_as_it_is_and_on_one_line(server: ServerProcess) -> None:
    user = "[/bold] [red]:cat:\x1b[2J\n\\"
    session = await server.offer([user, "bruno"])
    client = socketio.AsyncClient(reconnection=False)
    auth = {"token": server.token(user)}
    await client.connect(server.address, namespaces=["/rooms"], auth=auth, transports=["websocket"])
    assert (await client.call("join", {"sessionId": session}, namespace="/rooms"))["ok"]
    await client.disconnect()
    options = ["--data-dir", str(server.data_dir), "--url", server.address, "--no-follow"]
    code, out, err = await run("watch", session, *options, variables=SIGNED)
    assert (code, err) == (0, "")
    (joined,) = (line for line in out.splitlines() if "participant_joined" in line)
    assert joined.endswith("  ([/bold] [red]:cat:\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}\\)")
    assert "\x1b" not in out


async def test_watch_goes_on_after_an_outage(aiohttp_server: AiohttpServer) -> None:
    ended = {"reason": "completed"}
    event = {"seq": 7, "at": "2031-06-02T17:30:00.000Z", "type": "session_ended", "data": ended}
    page = {"items": [event | {"actor": {"userId": "system", "role": "system"}}]}
    problem = {"code": "unavailable", "detail": "the database did not answer", "retryable": True}
    answers = [web.json_response(problem, status=503), web.json_response(page)]

    async def answer(request: web.Request) -> web.Response:
        assert (request.query["after"], request.path[-7:]) == ("6", "/events")
        return answers.pop(0)

    application = web.Application()
    application.router.add_get("/{anything:.*}", answer)
    stub = await aiohttp_server(application)
    address = str(stub.make_url("")).rstrip("/")
    code, out, err = await run("watch", "0" * 24, "--url", address, "--after", "6", variables=SIGNED)
    assert (code, answers) == (0, [])
    assert out == "17:30:00.000     7  session_ended              reason=completed  (system)\n"
    assert err == "no answer the database did not answer; trying again\n"


async def test_watch_that_does_not_follow_fails_where_nothing_can_be_read(aiohttp_server: AiohttpServer) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"code": "unavailable", "detail": "the database did not answer"}, status=503)

    application = web.Application()
    application.router.add_get("/{anything:.*}", refuse)
    stub = await aiohttp_server(application)
    address = str(stub.make_url("")).rstrip("/")
    code, out, err = await run("watch", "0" * 24, "--url", address, "--no-follow", variables=SIGNED)
    assert (code, out, err) == (1, "", "unavailable the database did not answer\n")


async def test_verify_prints_nothing_but_its_findings(server: ServerProcess) -> None:
    await server.stop()
    code, out, _ = await run("verify", "--data-dir", str(server.data_dir), variables=SIGNED)
    assert (code, out) == (0, "0 sessions, 0 commits, 0 events: 0 not as they should be\n")


async def test_verify_names_what_was_tampered_with_and_repairs_projections(server: ServerProcess) -> None:
    session = await server.offer(["ada", "bruno"])
    beside = ["--data-dir", str(server.data_dir)]
    variables = SIGNED
    assert (await run("verify", *beside, variables=variables))[0] == 0
    async with server.database() as database:
        await database.sessions.update_one({"_id": ObjectId(session)}, {"$set": {"level": "A1"}})
    code, out, _ = await run("verify", session, *beside, variables=variables)
    assert code == 1
    assert f"flaw session {session} seq 1: the session document" in out
    code, out, _ = await run("verify", "--repair", *beside, variables=variables)
    assert code == 0
    assert "repaired" in out
    assert (await run("verify", *beside, variables=variables))[0] == 0
    async with server.database() as database:
        await database.events.update_one({"sessionId": ObjectId(session)}, {"$set": {"events.0.data.level": "A1"}})
    code, out, _ = await run("verify", "--repair", *beside, variables=variables)
    assert code == 1
    assert f"flaw session {session} seq 1: the hash does not match" in out


async def test_doctor_finds_nothing_to_do_and_something_to_do(server: ServerProcess) -> None:
    beside = ["--data-dir", str(server.data_dir)]
    variables = {"COORDINATOR_AUTH__SECRET": SECRET, "COORDINATOR_SERVER__PORT": "0"}
    code, out, _ = await run("doctor", *beside, variables=variables)
    assert (code, out.count("ok  ")) == (0, 9)
    assert "ok  nodes: 1 alive on this database\n" in out
    async with server.database() as database:
        await database.sessions.drop_index("createdAt_1")
    code, out, _ = await run("doctor", *beside, variables=variables)
    assert code == 1
    assert "sessions" in out
    assert "createdAt_1" in out


async def test_token_signs_what_the_server_accepts(tmp_path: Path) -> None:
    arguments = ["token", "--sub", "ada", "--role", "moderator", "--ttl", "90m", "--data-dir", str(tmp_path)]
    code, out, _ = await run(*arguments, variables=SIGNED)
    claims = jwt.decode(out.strip(), SECRET, algorithms=["HS256"])
    assert code == 0
    assert (claims["sub"], claims["role"]) == ("ada", Role.MODERATOR)
    assert claims["exp"] - claims["iat"] == pytest.approx(5400, abs=2)


async def test_token_makes_a_development_secret_that_only_its_owner_can_read(tmp_path: Path) -> None:
    code, out, err = await run("token", "--sub", "ada", "--role", "participant", "--data-dir", str(tmp_path / "new"))
    secret = tmp_path / "new" / "development-secret"
    assert code == 0
    assert "development secret" in err
    assert secret.stat().st_mode & 0o077 == 0
    assert jwt.decode(out.strip(), secret.read_text().strip(), algorithms=["HS256"])["sub"] == "ada"


UNREACHABLE = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200"


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "said"),
    [
        (["serve", "--port", "70000"], {}, 2, "server.port"),
        (["serve"], {"COORDINATOR_SESSION__RECONNECT_GRACE_SECONDS": "soon"}, 2, "session.reconnect_grace_seconds"),
        (["serve"], {"COORDINATOR_SESION__LOBBY_MINUTES": "1"}, 2, "COORDINATOR_SESION__LOBBY_MINUTES"),
        (["serve"], {"COORDINATOR_AUTH__SECRET": "short"}, 2, "auth.secret"),
        (["serve", "--config", "missing.toml"], {}, 2, "missing.toml"),
        (["serve", "--mongo-url", UNREACHABLE], {}, 2, "auth.secret"),
        (["serve", "--mongo-url", UNREACHABLE], {"COORDINATOR_AUTH__SECRET": SECRET}, 1, "database"),
        (["serve", "--mongo-url", "http://localhost"], {"COORDINATOR_AUTH__SECRET": SECRET}, 2, "mongo.url"),
        (["serve", "--workers", "2"], {}, 2, "redis.url"),
        (["token", "--sub", "", "--role", "participant"], {}, 2, "--sub"),
        (["token", "--sub", "ada", "--role", "king"], {}, 2, "participant, moderator, recorder or admin"),
        (["token", "--sub", "ada", "--role", "participant", "--ttl", "soon"], {}, 2, "90s"),
        (["demo", "--url", "nonsense"], {}, 2, "--url"),
        (["demo"], {"COORDINATOR_SERVER__PORT": "0"}, 2, "server.port"),
        (["watch", "nonsense"], {}, 2, "24 hexadecimal digits"),
        (["watch", "0" * 24, "--no-follow", "--url", "http://127.0.0.1:1"], SIGNED, 1, "--url"),
        (["verify", "nonsense"], {}, 2, "24 hexadecimal digits"),
        # An empty database would be made, and nothing found in it.
        (["verify"], SIGNED, 1, "there is none in data"),
        (["consumers"], SIGNED, 1, "there is none in data"),
        (["erase", "--user", "ada", "--yes"], SIGNED, 1, "there is none in data"),
        (["dance"], {}, 2, "dance"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
async def test_wrong_input_is_refused_by_name(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], code: int, said: str
) -> None:
    found, out, err = await run(*arguments, cwd=tmp_path, variables=variables)
    assert found == code, out + err
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "data").exists() or "serve" in arguments or "token" in arguments
