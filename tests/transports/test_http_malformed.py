"""Requests that are not what they should be: each is refused by name, and changes nothing (SPEC section 4)."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from coordinator.domain.events import Role
from tests.transports.http_api import BODY_BYTES, RECORDED, HttpApi, check_problem, moment, running_api, terms
from tests.transports.malformed_requests import ATTACH, BODIES, PARAMETERS, Row

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _name(row: Row) -> str:
    return f"{row.line[:60]} {row.body!r:.40} {row.headers!r:.60}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[HttpApi, str, str]]:
    async with running_api() as api:
        session = await api.session("ada", "bo")
        yield api, await api.offer(), str(session)


def _valid(api: HttpApi, line: str) -> dict[str, Any]:
    """A body that would be accepted."""
    recording = {"userId": "ada", "url": RECORDED, "startTime": moment(api.world)}
    return recording if line == ATTACH else terms(api.world)


@pytest.mark.parametrize("row", BODIES + PARAMETERS, ids=_name)
async def test_it_is_refused_by_name_and_changes_nothing(shared: tuple[HttpApi, str, str], row: Row) -> None:
    api, slot, session = shared
    before = api.stored()
    method, _, path = row.line.partition(" ")
    body = row.body(_valid(api, row.line)) if callable(row.body) else row.body
    answer = await api.call(
        method, path.replace("{slot}", slot).replace("{session}", session), body, headers=row.headers
    )
    check_problem(answer, row.status, row.code, row.field)
    assert api.stored() == before


@pytest.mark.parametrize("row", [row for row in BODIES + PARAMETERS if not callable(row.body)], ids=_name)
async def test_little_of_what_was_sent_is_repeated(shared: tuple[HttpApi, str, str], row: Row) -> None:
    api, slot, session = shared
    method, _, path = row.line.partition(" ")
    path = path.replace("{slot}", slot).replace("{session}", session)
    answer = await api.call(method, path, row.body, headers=row.headers)
    assert len(answer.json["detail"]) < 400
    assert "x" * 45 not in answer.json["detail"]


async def test_the_table_is_long_enough() -> None:
    assert len(BODIES + PARAMETERS) > 300


async def test_what_would_be_right_is_said(shared: tuple[HttpApi, str, str]) -> None:
    api, _, _ = shared
    for fields, words in (
        ({"targetLanguageCode": "de"}, "en, fr, es"),
        ({"durationMinutes": 20}, "15, 30, 45"),
        ({"maxParticipants": 99}, "from 2 to 50"),
        ({"startTime": "soon"}, "2040-06-04T17:00:00Z"),
        ({"timezone": ""}, "Europe/Paris"),
        ({"colour": "red"}, "targetLanguageCode"),
    ):
        answer = await api.call("POST", "/time-slots", terms(api.world, **fields))
        assert words in answer.json["detail"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/time-slots", {"GET", "HEAD", "POST"}),
        ("/api/v1/time-slots/x", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("/api/v1/time-slots/x/registrations", {"GET", "HEAD", "POST"}),
        ("/api/v1/time-slots/x/registrations/y", {"DELETE"}),
        ("/api/v1/users/x/registrations", {"GET", "HEAD"}),
        ("/api/v1/users/x/registrations.ics", {"GET", "HEAD"}),
        ("/api/v1/sessions", {"GET", "HEAD"}),
        ("/api/v1/sessions/x/end", {"POST"}),
        ("/api/v1/sessions/x/recording", {"PUT"}),
        ("/api/v1/sessions/x/recordings", {"GET", "HEAD", "POST"}),
        ("/api/v1/users/x/consents", {"GET", "HEAD"}),
        ("/api/v1/users/x/consents.json", {"GET", "HEAD"}),
        ("/healthz", {"GET", "HEAD"}),
        ("/metrics", {"GET", "HEAD"}),
        ("/openapi.json", {"GET", "HEAD"}),
    ],
)
async def test_other_methods_are_refused_with_those_that_are_allowed(
    shared: tuple[HttpApi, str, str], path: str, allowed: set[str]
) -> None:
    api, _, _ = shared
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - allowed:
        answer = await api.send(method, path)
        assert set(answer.headers["Allow"].split(", ")) == allowed
        if method == "HEAD":
            assert answer.status == 405
        else:
            check_problem(answer, 405, "invalid_request")


async def test_a_participant_registers_nobody_else(shared: tuple[HttpApi, str, str]) -> None:
    api, slot, _ = shared
    before = api.stored()
    path = f"/time-slots/{slot}/registrations"
    answer = await api.call("POST", path, {"userId": "bo"}, user="ada", role=Role.PARTICIPANT)
    check_problem(answer, 403, "forbidden")
    assert api.stored() == before


async def test_a_body_without_a_length_is_read_no_further_than_allowed(shared: tuple[HttpApi, str, str]) -> None:
    api, _, _ = shared
    reader, writer = await asyncio.open_connection(api.server.host, api.server.port)
    token = api.token("root", Role.ADMIN)
    head = (
        "POST /api/v1/time-slots HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    writer.write(head.encode() + f"{BODY_BYTES:x}\r\n".encode() + b" " * BODY_BYTES + b"\r\n")
    writer.write(b"1\r\n \r\n")  # one more than allowed, and no end
    async with asyncio.timeout(5):
        status_line = await reader.readline()
    assert status_line.startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_the_longest_body_is_read(shared: tuple[HttpApi, str, str]) -> None:
    api, _, _ = shared
    content = json.dumps(terms(api.world)).encode()
    answer = await api.call("POST", "/time-slots", content + b" " * (BODY_BYTES - len(content)))
    assert answer.status == 201


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
)
async def test_json_may_be_announced_in_any_spelling(shared: tuple[HttpApi, str, str], kind: str) -> None:
    api, _, _ = shared
    answer = await api.call("POST", "/time-slots", terms(api.world), headers=(("Content-Type", kind),))
    assert answer.status == 201
