"""Requests that are not what they should be: each is refused by name, and changes nothing (SPEC section 4)."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from coordinator.domain.events import Role
from tests.transports.http_api import BODY_BYTES, RECORDED, HttpApi, check_problem, moment, running_api, terms

pytestmark = pytest.mark.asyncio(loop_scope="module")

_NOBODYS = "0123456789abcdef01234567"
_BAD_IDS = [
    "x",
    _NOBODYS.upper(),
    _NOBODYS + "0",
    _NOBODYS[1:],
    "%00",
    _NOBODYS + "%0A",
    "%F0%9F%98%80",
    "..%2f..",
    "$ne",
    "%7Bx%7D",
]
_DEEP = b"[" * 1000 + b"]" * 1000


class Row(NamedTuple):
    """A request, and how it is refused."""

    line: str
    body: Any = None
    status: int = 422
    code: str = "invalid_request"
    field: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def _name(row: Row) -> str:
    return f"{row.line[:60]} {row.body!r:.40} {row.headers!r:.60}"


_OFFER = "POST /time-slots"
_PATCH = "PATCH /time-slots/{slot}"
_REGISTER = "POST /time-slots/{slot}/registrations"
_SWITCH = "PUT /sessions/{session}/recording"
_ATTACH = "POST /sessions/{session}/recordings"
_JSON = ("Content-Type", "application/json")


def _zipped(body: bytes) -> bytes:
    # The same at any time: it becomes part of a test's name, on which all processes of a run have to agree.
    return gzip.compress(body, mtime=0)


def _without(name: str) -> Any:
    return lambda body: {key: value for key, value in body.items() if key != name}


def _with(**fields: Any) -> Any:
    return lambda body: body | fields


_BODIES = [
    # Not an object of JSON at all.
    *(
        Row(line, content, field="body")
        for line in (_OFFER, _PATCH, _REGISTER, _SWITCH, _ATTACH, "POST /sessions/{session}/end")
        for content in (
            b"{",
            b"nonsense",
            b"\xff",
            b'"\xff"',
            b'{"level": "\\ud800"}',
            b"[]",
            b"null",
            b'"x"',
            b"1",
            b"true",
            b"1e999",
            b"NaN",
            _DEEP,
            b"{}{}",
            b"\xef\xbb\xbf{}",
            b"{'level': 'A1'}",
        )
    ),
    *(Row(line, None, field="body") for line in (_OFFER, _PATCH, _SWITCH, _ATTACH)),
    *(Row(line, b"", field="body") for line in (_OFFER, _PATCH)),
    Row(_PATCH, {}, field="body"),
    # Not announced as JSON.
    *(
        Row(line, b"{}", 415, field="Content-Type", headers=(("Content-Type", kind),))
        for line in (_OFFER, _PATCH, _REGISTER, _SWITCH, _ATTACH)
        for kind in ("", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json", "*/*")
    ),
    # Too long, or encoded.
    *(
        Row(line, b" " * BODY_BYTES + b"{}", 413, "payload_too_large")
        for line in (_OFFER, _PATCH, _REGISTER, _SWITCH, _ATTACH, "POST /sessions/{session}/end")
    ),
    *(
        Row(_OFFER, body, 415, field="Content-Encoding", headers=(_JSON, ("Content-Encoding", kind)))
        for body in (b"{}", _zipped(b"{}"), _zipped(b" " * 1_000_000))
        for kind in ("gzip", "deflate", "br", "zstd", "unheard-of", "gzip, identity", "")
    ),
    # Offers.
    *(
        Row(_OFFER, _without(name), field=name)
        for name in ("targetLanguageCode", "level", "startTime", "durationMinutes")
    ),
    *(
        Row(_OFFER, _with(**{name: None}), field=name)
        for name in (
            "targetLanguageCode",
            "level",
            "startTime",
            "durationMinutes",
            "maxParticipants",
            "minParticipants",
            "recurrence",
            "timezone",
        )
    ),
    *(
        Row(_OFFER, _with(**{name: 1}), field=name)
        for name in ("id", "isActive", "start_time", "StartTime", "", "settleAt", "$where", "seriesId", "__proto__")
    ),
    Row(_OFFER, _with(**{"ü" * 100: 1}), field="ü" * 40),
    *(
        Row(_OFFER, _with(targetLanguageCode=value), field="targetLanguageCode")
        for value in ("de", "FR", "", "fr\n", 1, ["fr"], {"$ne": 1}, True)
    ),
    *(Row(_OFFER, _with(level=value), field="level") for value in ("b1", "B3", "B1 ", 1, None)),
    *(
        Row(_OFFER, _with(startTime=value), field="startTime")
        for value in (
            "",
            "soon",
            "2040-06-04",
            "2040-06-04T17:00:00",
            "2040-06-04T17:00Z",
            "2040-06-04 17:00:00Z",
            "2040-06-04T17:00:00+0200",
            "2040-06-04T24:00:00Z",
            "2040-06-04T17:00:60Z",
            "2040-02-30T17:00:00Z",
            "0000-01-01T00:00:00Z",
            "2040-06-04T17:00:00Z\n",
            "\uff12040-06-04T17:00:00Z",
            "2040-06-04T17:00:00.Z",
            "+2040-06-04T17:00:00Z",
            "12040-06-04T17:00:00Z",
            "2040-06-04T17:00:00+24:00",
            2222222222,
            1.5,
            True,
            None,
        )
    ),
    *(
        Row(_OFFER, _with(durationMinutes=value), field="durationMinutes")
        for value in (0, 20, -15, 15.5, "15", True, 10**30, 1e300, [15])
    ),
    *(
        Row(_OFFER, _with(maxParticipants=value), field="maxParticipants")
        for value in (1, 51, 0, -1, 2.5, "8", True, 10**30, 1e300)
    ),
    *(Row(_OFFER, _with(minParticipants=value), field="minParticipants") for value in (1, 51, 9, 2.5, "2")),
    *(Row(_OFFER, _with(recurrence=value), field="recurrence") for value in ("yearly", "Once", "", 1)),
    *(
        Row(_OFFER, _with(timezone=value), field="timezone")
        for value in ("", "Mars", "../etc/passwd", "UTC\0", "x" * 65, 0, "europe/nowhere", "localtime")
    ),
    # Changes.
    *(
        Row(_PATCH, {name: None}, field=name)
        for name in (
            "targetLanguageCode",
            "level",
            "startTime",
            "durationMinutes",
            "maxParticipants",
            "minParticipants",
            "timezone",
            "isActive",
        )
    ),
    *(
        Row(_PATCH, {name: "x"}, field=name)
        for name in ("recurrence", "id", "updatedAt", "registeredCount", "seriesId")
    ),
    *(Row(_PATCH, {"isActive": value}, field="isActive") for value in ("true", 0, 1, "", None)),
    Row(_PATCH, {"maxParticipants": 1}, field="maxParticipants"),
    Row(_PATCH, {"minParticipants": 9}, field="minParticipants"),
    # Registrations.
    *(
        Row(_REGISTER, {"userId": value}, field="userId")
        for value in ("", "x" * 129, None, 1, ["ada"], {"$ne": 1}, True)
    ),
    Row(_REGISTER, {"user": "ada"}, field="user"),
    # Sessions and recordings.
    Row("POST /sessions/{session}/end", {"reason": "late"}, field="reason"),
    *(Row(_SWITCH, {"enabled": value}, field="enabled") for value in ("true", 0, 1, None)),
    Row(_SWITCH, {}, field="enabled"),
    *(Row(_ATTACH, _without(name), field=name) for name in ("userId", "url", "startTime")),
    *(
        Row(_ATTACH, _with(url=value), field="url")
        for value in (
            "",
            "x",
            "http://eu.r2.cloudflarestorage.com/a",
            "https://",
            f"{RECORDED} ",
            f"{RECORDED}\n",
            f"{RECORDED}/{'x' * 2048}",
            1,
            None,
        )
    ),
]

_PARAMETERS = [
    # Unknown, repeated, misplaced, undecodable.
    *(
        Row(f"GET {path}?x=1", field="x")
        for path in (
            "/time-slots",
            "/time-slots/{slot}",
            "/sessions",
            "/users/ada/registrations",
            "/users/ada/registrations.ics",
        )
    ),
    *(Row(f"{line}?x=1", {"level": "A1"}, field="x") for line in (_PATCH, "DELETE /time-slots/{slot}")),
    Row("GET /time-slots?" + "x" * 100 + "=1", field="x" * 40),
    Row("GET /time-slots?=1", field=""),
    Row("GET /time-slots?limit=1&limit=2", field="limit"),
    Row("GET /time-slots?level=A1&level=A1", field="level"),
    Row("GET /time-slots/{slot}?slotId={slot}", field="slotId"),
    Row("PATCH /time-slots/{slot}?If-Match=x", {"level": "A1"}, field="If-Match"),
    Row("GET /time-slots?cursor=%FF", field="query"),
    Row("GET /time-slots?%FF=1", field="query"),
    Row("GET /time-slots?" + "&".join(f"x{number}=1" for number in range(200)), field="query"),
    # Wrong values.
    *(
        Row(f"GET /time-slots?limit={value}", field="limit")
        for value in (
            "",
            "0",
            "201",
            "-1",
            "1.5",
            "1.0",
            "1e1",
            "x",
            "%2B5",
            "%20",
            "true",
            "9" * 3000,
            "%D9%A3",
            "0x1",
            "01",
            "null",
        )
    ),
    *(Row(f"GET /time-slots?isActive={value}", field="isActive") for value in ("", "True", "1", "0", "yes", "null")),
    *(
        Row(f"GET /time-slots?{name}={value}", field=name)
        for name in ("from", "to")
        for value in (
            "",
            "now",
            "2040-06-04",
            "2040-06-04T17:00:00",
            "2040-06-04T17:00:00+02:00",
            "0000-01-01T00:00:00Z",
            "1",
        )
    ),
    *(Row(f"GET /time-slots?{name}=x", field=name) for name in ("targetLanguageCode", "level", "seriesId", "cursor")),
    *(Row(f"GET /time-slots?{name}=", field=name) for name in ("targetLanguageCode", "level", "seriesId", "cursor")),
    *(
        Row(f"GET /sessions?{name}=x", field=name)
        for name in ("status", "targetLanguageCode", "timeSlotId", "cursor", "limit")
    ),
    *(Row(f"GET /users/ada/registrations?{name}=x", field=name) for name in ("status", "cursor", "limit")),
    *(Row(f"GET /users/ada/consents?{name}=x", field=name) for name in ("cursor", "limit")),
    *(Row(f"GET /users/ada/consents?cursor={cursor}", field="cursor") for cursor in ("0" * 24, "0" * 39, "g" * 38)),
    *(Row(f"GET /time-slots/{{slot}}/registrations?{name}=x", field=name) for name in ("status", "cursor", "limit")),
    *(
        Row(f"{line}?scope={value}", {"level": "A1"}, field="scope")
        for line in (_PATCH, "DELETE /time-slots/{slot}")
        for value in ("", "all", "Series")
    ),
    # Ids that nothing can have.
    *(Row(f"GET /time-slots/{value}", status=404, code="not_found") for value in _BAD_IDS),
    *(Row(f"PATCH /time-slots/{value}", {"level": "A1"}, 404, "not_found") for value in _BAD_IDS),
    *(Row(f"DELETE /time-slots/{value}", None, 404, "not_found") for value in _BAD_IDS),
    *(Row(f"POST /time-slots/{value}/registrations", None, 404, "not_found") for value in _BAD_IDS),
    *(Row(f"GET /sessions/{value}/recordings", None, 404, "not_found") for value in _BAD_IDS),
    *(Row(f"POST /sessions/{value}/end", None, 404, "not_found") for value in _BAD_IDS),
    *(
        Row(f"{line}", None, 404, "not_found")
        for value in ("x" * 129, "%FF", "%C3", "%zz", "%", "%4", "%ED%A0%80")
        for line in (
            f"GET /users/{value}/registrations",
            f"GET /users/{value}/registrations.ics",
            f"GET /users/{value}/consents",
            f"GET /users/{value}/consents.json",
            f"DELETE /time-slots/{{slot}}/registrations/{value}",
        )
    ),
    # Headers.
    *(
        Row(line, None, field="Idempotency-Key", headers=(("Idempotency-Key", value),))
        for line in (_REGISTER, "POST /sessions/{session}/end")
        for value in ("", "x" * 256, "a b", "ä", "a\tb")
    ),
    Row(_REGISTER, None, field="Idempotency-Key", headers=(("Idempotency-Key", "a"), ("Idempotency-Key", "b"))),
    Row(_PATCH, {"level": "A1"}, field="If-Match", headers=(("If-Match", "x" * 2000),)),
    # Addresses.
    *(
        Row(f"GET {path}", status=404, code="not_found")
        for path in (
            "",
            "/",
            "/nothing",
            "/time-slots/",
            "/time-slots/{slot}/",
            "/time-slots/{slot}/registrations/",
            "/users",
            "/users/ada",
            "/users//registrations",
            "/sessions/{session}/nothing",
            "/" + "x" * 3000,
        )
    ),
    Row("POST /nothing", b"{", 404, "not_found"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[HttpApi, str, str]]:
    async with running_api() as api:
        session = await api.session("ada", "bo")
        yield api, await api.offer(), str(session)


def _valid(api: HttpApi, line: str) -> dict[str, Any]:
    """A body that would be accepted."""
    recording = {"userId": "ada", "url": RECORDED, "startTime": moment(api.world)}
    return recording if line == _ATTACH else terms(api.world)


@pytest.mark.parametrize("row", _BODIES + _PARAMETERS, ids=_name)
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


@pytest.mark.parametrize("row", [row for row in _BODIES + _PARAMETERS if not callable(row.body)], ids=_name)
async def test_little_of_what_was_sent_is_repeated(shared: tuple[HttpApi, str, str], row: Row) -> None:
    api, slot, session = shared
    method, _, path = row.line.partition(" ")
    path = path.replace("{slot}", slot).replace("{session}", session)
    answer = await api.call(method, path, row.body, headers=row.headers)
    assert len(answer.json["detail"]) < 400
    assert "x" * 45 not in answer.json["detail"]


async def test_the_table_is_long_enough() -> None:
    assert len(_BODIES + _PARAMETERS) > 300


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
