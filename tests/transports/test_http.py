"""What can be read over HTTP, by whom, and how it refuses (SPEC section 4)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

import pytest
from yarl import URL

from coordinator.domain.events import Role
from tests.transports.clients import PATIENCE_SECONDS
from tests.transports.conftest import StartLive
from tests.transports.harness import UNLIMITED, Answer, Live, eventually
from tests.transports.relay import Relay, relayed_database

_NOBODYS = "0123456789abcdef01234567"
_PARTS = ["", "/participants", "/events"]


def _check_problem(answer: Answer, status: int, code: str, field: str | None = None) -> None:
    """Check that an answer is an RFC 9457 problem with our code, and nothing else."""
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert problem.keys() - {"field"} == {"type", "title", "status", "detail", "code", "retryable"}
    assert (problem["status"], problem["code"], problem.get("field")) == (status, code, field)
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert problem["retryable"] is (status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE))


# Health.


async def test_the_process_and_what_it_needs_are_well(live: Live) -> None:
    for path, body in (
        ("/healthz", {"status": "ok"}),
        ("/readyz", {"status": "ready", "checks": {"database": "ok"}}),
    ):
        answer = await live.get(path, token="")
        assert (answer.status, answer.json) == (200, body)
        assert answer.headers["Content-Type"].startswith("application/json")


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with relayed_database() as relay:
        yield relay


async def test_without_its_database_it_is_alive_but_not_ready(relay: Relay, start: StartLive) -> None:
    live = await start(UNLIMITED, url=relay.url)
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    async with AsyncExitStack() as stack:
        await relay.cut()
        stack.push_async_callback(relay.mend)
        answer = await live.get("/readyz")
        assert (answer.status, answer.json["status"]) == (503, "unavailable")
        assert answer.json["checks"] == {"database": "out of reach"}
        assert (await live.get("/healthz")).status == 200
        unreadable = await live.get(f"/api/v1/sessions/{_NOBODYS}")
        _check_problem(unreadable, 503, "unavailable")
        assert unreadable.headers["Retry-After"] == "1"

    async def ready() -> bool:
        return (await live.get("/readyz")).status == 200

    await eventually(ready, "ready again")
    assert (await ada.call("set_media", {"cameraEnabled": True})) == {"ok": True, "seq": 3}


# Who may.


@pytest.mark.parametrize("part", _PARTS)
@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
async def test_without_a_good_token_nothing_is_shown(live: Live, part: str, token: str) -> None:
    answer = await live.get(f"/api/v1/sessions/{_NOBODYS}{part}", token)
    _check_problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "bearer"])
async def test_the_authorization_must_be_a_bearer_token(live: Live, header: str) -> None:
    answer = await live.request("GET", f"/api/v1/sessions/{_NOBODYS}", "", headers={"Authorization": header})
    _check_problem(answer, 401, "unauthenticated")


async def test_participants_see_their_sessions_and_the_others_see_all(live: Live) -> None:
    offer = await live.offer("ada", "bo", "cy")
    await live.join("ada", offer.session_id)
    path = f"/api/v1/sessions/{offer.session_id}"
    for part in _PARTS:
        for user in ("ada", "bo"):  # has been in it; may still come
            assert (await live.get(path + part, live.token(user))).status == 200
        for role in (Role.MODERATOR, Role.RECORDER, Role.ADMIN):
            assert (await live.get(path + part, live.token("someone", role))).status == 200
    stranger = live.token("zoe")
    assert (await live.get(path, stranger)).status == 200
    for part in _PARTS[1:]:
        _check_problem(await live.get(path + part, stranger), 403, "forbidden")


async def test_whoever_has_been_there_may_look_back(start: StartLive) -> None:
    live = await start({"session.require_registration": False})
    offer = await live.offer("ada")
    zoe = await live.join("zoe", offer.session_id)
    await zoe.call("leave", {})
    for part in _PARTS:
        assert (await live.get(f"/api/v1/sessions/{offer.session_id}{part}", live.token("zoe"))).status == 200


# What does not exist.


@pytest.mark.parametrize("part", _PARTS)
@pytest.mark.parametrize("session", [_NOBODYS, "x", _NOBODYS.upper(), _NOBODYS + "0", "%00", "😀", "..%2f..", "$ne"])
async def test_there_must_be_such_a_session(live: Live, session: str, part: str) -> None:
    _check_problem(await live.get(f"/api/v1/sessions/{session}{part}"), 404, "not_found")


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1", "/api/v1/nothing", "/api/v2/sessions/x", "/healthz/x", "//"])
async def test_there_must_be_such_an_address(live: Live, path: str) -> None:
    _check_problem(await live.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/healthz", f"/api/v1/sessions/{_NOBODYS}", f"/api/v1/sessions/{_NOBODYS}/events"])
async def test_the_method_must_be_one_that_is_allowed(live: Live, method: str, path: str) -> None:
    answer = await live.request(method, path)
    _check_problem(answer, 405, "invalid_request")
    assert "GET" in answer.headers["Allow"]


# Pages of events.


@pytest.mark.parametrize("name", ["after", "limit"])
@pytest.mark.parametrize(
    "value", ["", "x", "-1", "1.5", "1e3", "9007199254740992", "9" * 5000, "٣", "true", " ", "0x1"]
)
async def test_numbers_must_be_numbers_in_range(live: Live, name: str, value: str) -> None:
    offer = await live.offer("ada")
    answer = await live.get(f"/api/v1/sessions/{offer.session_id}/events", **{name: value})
    _check_problem(answer, 422, "invalid_request", name)


@pytest.mark.parametrize(
    ("part", "query", "field"),
    [
        ("/events", "limit=0", "limit"),
        ("/events", "limit=1001", "limit"),
        ("/events", "after=1&after=2", "after"),
        ("/events", "befor=1", "befor"),
        ("/participants", "limit=1", "limit"),
        ("", "x=1", "x"),
    ],
)
async def test_parameters_must_be_known_and_given_once(live: Live, part: str, query: str, field: str) -> None:
    offer = await live.offer("ada")
    answer = await live.get(f"/api/v1/sessions/{offer.session_id}{part}?{query}")
    _check_problem(answer, 422, "invalid_request", field)


async def test_pages_put_together_are_the_journal(start: StartLive) -> None:
    live = await start(UNLIMITED)
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    await asyncio.gather(*(ada.start("set_media", {"micEnabled": number % 2 == 0}) for number in range(118)))
    path = f"/api/v1/sessions/{offer.session_id}/events"
    everything = (await live.get(path, limit=1000)).json
    assert [event["seq"] for event in everything["items"]] == list(range(1, 121))
    assert "next" not in everything
    assert (await live.get(path)).json == {"items": everything["items"][:100], "next": 100}  # unless told

    for limit in (1, 7, 60, 119, 120):
        items: list[Any] = []
        after: int | None = 0
        while after is not None:
            page = (await live.get(path, after=after, limit=limit)).json
            assert len(page["items"]) <= limit
            items += page["items"]
            after = page.get("next")
            assert after in (None, items[-1]["seq"])
        assert items == everything["items"]
    for after in (50, 119):  # also within a commit
        assert (await live.get(path, after=after)).json == {"items": everything["items"][after:]}
    for after in (120, 121, 2**53 - 1):
        assert (await live.get(path, after=after)).json == {"items": []}


# Reading what was just acked.


async def test_no_read_is_older_than_an_ack(start: StartLive) -> None:
    live = await start(UNLIMITED)
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    path = f"/api/v1/sessions/{offer.session_id}"
    for number in range(60):
        camera = number % 2 == 0
        seq = (await ada.call("set_media", {"cameraEnabled": camera}))["seq"]
        session, participants, events = await asyncio.gather(
            live.get(path), live.get(f"{path}/participants"), live.get(f"{path}/events", after=seq - 1)
        )
        assert session.json["seq"] == seq
        (of_ada,) = participants.json["items"]
        assert (of_ada["cameraEnabled"], of_ada["seq"]) == (camera, seq)
        assert [event["seq"] for event in events.json["items"]] == [seq]


async def test_no_read_is_older_than_an_ack_that_comes_meanwhile(start: StartLive) -> None:
    live = await start(UNLIMITED)
    users = [f"user-{number}" for number in range(6)]
    offer = await live.offer(*users)
    path = f"/api/v1/sessions/{offer.session_id}"
    acked = 0

    async def write(user: str) -> None:
        nonlocal acked
        client = await live.join(user, offer.session_id)
        for number in range(30):
            reply = await client.call("set_media", {"micEnabled": number % 2 == 0})
            acked = max(acked, reply["seq"])

    async def read() -> None:
        while not writing.done():
            known = acked
            assert (await live.get(path)).json["seq"] >= known
            events = json.loads((await live.get(f"{path}/events", limit=1000)).body)["items"]
            assert len(events) >= known

    writing = asyncio.gather(*(write(user) for user in users))
    await asyncio.gather(writing, read(), read())
    assert acked >= 1 + len(users) * 31


async def test_what_nobody_holds_in_memory_is_read_from_the_database(start: StartLive) -> None:
    live = await start({"session.no_show_minutes": 0})
    offer = await live.offer("ada", "bo", starts_in=3)
    ada = await live.join("ada", offer.session_id)
    await ada.wait_for("participant_left")
    path = f"/api/v1/sessions/{offer.session_id}"
    before = [(await live.get(path + part)).json for part in _PARTS]
    await ada.close()

    def is_dropped() -> bool:
        live.coordinator.rooms.drop_idle()
        return not live.coordinator.rooms.loaded

    await eventually(is_dropped, "a node with no room in memory")
    assert [(await live.get(path + part)).json for part in _PARTS] == before


async def test_what_is_no_http_is_answered_and_fills_no_log(live: Live) -> None:
    url = URL(live.address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: \x00\r\n\r\n")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await reader.readline()).startswith(b"HTTP/1.0 400 ")
    writer.close()
