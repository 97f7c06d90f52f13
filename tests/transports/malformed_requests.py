"""Requests that are not what they should be, and how each is refused: the tables of bodies and of parameters."""

import gzip
from typing import Any, NamedTuple

from tests.transports.http_api import BODY_BYTES, RECORDED

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
    """A request, and how it is refused.

    Attributes:
        line: Method and path, in which `{slot}` and `{session}` stand for ids.
        body: What is sent, or what makes it of a body that would be accepted.
        field: What is wrong with the request, by name.
    """

    line: str
    body: Any = None
    status: int = 422
    code: str = "invalid_request"
    field: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


_OFFER = "POST /time-slots"
_PATCH = "PATCH /time-slots/{slot}"
_REGISTER = "POST /time-slots/{slot}/registrations"
_SWITCH = "PUT /sessions/{session}/recording"
ATTACH = "POST /sessions/{session}/recordings"
_JSON = ("Content-Type", "application/json")


def _zipped(body: bytes) -> bytes:
    # The same at any time: it becomes part of a test's name, on which all processes of a run have to agree.
    return gzip.compress(body, mtime=0)


def _without(name: str) -> Any:
    return lambda body: {key: value for key, value in body.items() if key != name}


def _with(**fields: Any) -> Any:
    return lambda body: body | fields


BODIES = [
    # Not an object of JSON at all.
    *(
        Row(line, content, field="body")
        for line in (_OFFER, _PATCH, _REGISTER, _SWITCH, ATTACH, "POST /sessions/{session}/end")
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
    *(Row(line, None, field="body") for line in (_OFFER, _PATCH, _SWITCH, ATTACH)),
    *(Row(line, b"", field="body") for line in (_OFFER, _PATCH)),
    Row(_PATCH, {}, field="body"),
    # Not announced as JSON.
    *(
        Row(line, b"{}", 415, field="Content-Type", headers=(("Content-Type", kind),))
        for line in (_OFFER, _PATCH, _REGISTER, _SWITCH, ATTACH)
        for kind in ("", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json", "*/*")
    ),
    # Too long, or encoded.
    *(
        Row(line, b" " * BODY_BYTES + b"{}", 413, "payload_too_large")
        for line in (_OFFER, _PATCH, _REGISTER, _SWITCH, ATTACH, "POST /sessions/{session}/end")
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
    *(Row(ATTACH, _without(name), field=name) for name in ("userId", "url", "startTime")),
    *(
        Row(ATTACH, _with(url=value), field="url")
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

PARAMETERS = [
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
