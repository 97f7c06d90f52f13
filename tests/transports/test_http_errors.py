"""Every error that the OpenAPI document names can be provoked, and no other: a row for each (SPEC section 4)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import pytest

from coordinator.domain.events import Role
from tests.transports.harness import Answer
from tests.transports.http_api import BODY_BYTES, RECORDED, HttpApi, check_problem, moment, running_api, terms

Triple: TypeAlias = tuple[str, int, str]

_NOTHING = "0" * 24
_TEN_DAYS_AND_MORE = 11 * 24 * 3600


class Scene:
    """A slot in ten days, booked by ada, and a session that ada and bo are in; who asks is an admin unless told."""

    def __init__(self, api: HttpApi) -> None:
        self.api = api
        self.names: dict[str, str] = {"user": "ada"}

    async def set_up(self) -> None:
        self.names["session"] = str(await self.api.session("ada", "bo"))
        self.names["slot"] = await self.api.offer(maxParticipants=2)
        await self.do("register", {"userId": "ada"})

    async def do(self, name: str, body: Any = None, query: str = "", **how: Any) -> Answer:
        """Make a request, a right one unless told."""
        method, path = _LINES[name].split()
        return await self.api.call(method, path.format(**self.names) + query, self.body(name, body), **how)

    def body(self, name: str, body: Any = None) -> Any:
        bodies = {
            "offerTimeSlot": terms(self.api.world),
            "changeTimeSlot": {"level": "A1"},
            "setRecording": {"enabled": False},
            "attachRecording": {"userId": "ada", "url": RECORDED, "startTime": moment(self.api.world)},
        }
        return bodies.get(name) if body is None else body

    async def wait_until_over(self) -> None:
        await self.api.world.clock.advance(_TEN_DAYS_AND_MORE)


Provoke: TypeAlias = Callable[[Scene], Awaitable[Answer]]


class Row(NamedTuple):
    """An error of an operation, and a request that meets it."""

    name: str
    status: int
    code: str
    provoke: Provoke
    field: str | None = None

    @property
    def triple(self) -> Triple:
        return self.name, self.status, self.code


_LINES = {
    "offerTimeSlot": "POST /time-slots",
    "findTimeSlots": "GET /time-slots",
    "getTimeSlot": "GET /time-slots/{slot}",
    "changeTimeSlot": "PATCH /time-slots/{slot}",
    "withdrawTimeSlot": "DELETE /time-slots/{slot}",
    "register": "POST /time-slots/{slot}/registrations",
    "findRegistrations": "GET /time-slots/{slot}/registrations",
    "cancelRegistration": "DELETE /time-slots/{slot}/registrations/{user}",
    "findUserRegistrations": "GET /users/{user}/registrations",
    "getUserCalendar": "GET /users/{user}/registrations.ics",
    "findUserConsents": "GET /users/{user}/consents",
    "exportUserConsents": "GET /users/{user}/consents.json",
    "findSessions": "GET /sessions",
    "getSession": "GET /sessions/{session}",
    "getParticipants": "GET /sessions/{session}/participants",
    "getEvents": "GET /sessions/{session}/events",
    "endSession": "POST /sessions/{session}/end",
    "setRecording": "PUT /sessions/{session}/recording",
    "attachRecording": "POST /sessions/{session}/recordings",
    "getRecordings": "GET /sessions/{session}/recordings",
    "getIceServers": "GET /ice-servers",
}
_NEEDS_NOTHING = "getIceServers"
"""What answers without a database; `unavailable` is then only for a defect of the server."""
_WITH_BODY = ("offerTimeSlot", "changeTimeSlot", "register", "endSession", "setRecording", "attachRecording")
_OF_STAFF = (
    "offerTimeSlot",
    "changeTimeSlot",
    "withdrawTimeSlot",
    "findRegistrations",
    "endSession",
    "setRecording",
    "attachRecording",
)
_OF_ONESELF = (
    "cancelRegistration",
    "findUserRegistrations",
    "getUserCalendar",
    "findUserConsents",
    "exportUserConsents",
    "getParticipants",
    "getEvents",
    "getRecordings",
)


def _with(name: str, **how: Any) -> Provoke:
    return lambda scene: scene.do(name, **how)


def _as(name: str, user: str, role: Role) -> Provoke:
    return _with(name, user=user, role=role)


def _missing(name: str, part: str, value: str) -> Provoke:
    async def provoke(scene: Scene) -> Answer:
        scene.names[part] = value
        return await scene.do(name)

    return provoke


def _silent(name: str) -> Provoke:
    async def provoke(scene: Scene) -> Answer:
        scene.api.silence()
        return await scene.do(name)

    return provoke


def _over(name: str) -> Provoke:
    async def provoke(scene: Scene) -> Answer:
        await scene.wait_until_over()
        return await scene.do(name)

    return provoke


def _after(earlier: str, name: str, body: Any = None) -> Provoke:
    async def provoke(scene: Scene) -> Answer:
        assert (await scene.do(earlier)).status == 200
        return await scene.do(name, body)

    return provoke


async def _reactivate_after_session(scene: Scene) -> Answer:
    session = await scene.do("getSession")
    scene.names["slot"] = session.json["timeSlotId"]
    assert (await scene.do("withdrawTimeSlot")).status == 200
    await scene.api.world.settle()
    return await scene.do("changeTimeSlot", {"isActive": True})


async def _register_when_full(scene: Scene) -> Answer:
    assert (await scene.do("register", {"userId": "bo"})).status == 201
    return await scene.do("register", {"userId": "cy"})


async def _register_twice_at_a_time(scene: Scene) -> Answer:
    scene.names["slot"] = await scene.api.offer()
    return await scene.do("register", {"userId": "ada"})


async def _register_when_over(scene: Scene) -> Answer:
    await scene.wait_until_over()
    return await scene.do("register", {"userId": "cy"})


_NOT_JSON = (("Content-Type", "text/plain"),)
_OTHER_VERSION = {"If-Match": '"other"'}

_ROWS = [
    *(Row(name, 401, "unauthenticated", _with(name, headers={"Authorization": "Bearer x"})) for name in _LINES),
    *(Row(name, 422, "invalid_request", _with(name, query="?x=1"), "x") for name in _LINES),
    *(Row(name, 503, "unavailable", _silent(name)) for name in _LINES if name != _NEEDS_NOTHING),
    *(Row(name, 403, "forbidden", _as(name, "ada", Role.PARTICIPANT)) for name in _OF_STAFF),
    *(Row(name, 403, "forbidden", _as(name, "zoe", Role.PARTICIPANT)) for name in _OF_ONESELF),
    Row("register", 403, "forbidden", _as("register", "rec", Role.RECORDER)),
    *(
        Row(name, 404, "not_found", _missing(name, "slot", _NOTHING))
        for name, line in _LINES.items()
        if "{slot}" in line
    ),
    *(
        Row(name, 404, "not_found", _missing(name, "session", _NOTHING))
        for name, line in _LINES.items()
        if "{session}" in line
    ),
    # A user is whoever somebody says, so only what cannot be one is not there.
    *(
        Row(name, 404, "not_found", _missing(name, "user", "x" * 129))
        for name in ("findUserRegistrations", "getUserCalendar", "findUserConsents", "exportUserConsents")
    ),
    *(Row(name, 413, "payload_too_large", _with(name, body=b" " * (BODY_BYTES + 1))) for name in _WITH_BODY),
    *(
        Row(name, 415, "invalid_request", _with(name, body=b"{}", headers=_NOT_JSON), "Content-Type")
        for name in _WITH_BODY
    ),
    *(
        Row(name, 412, "invalid_request", _with(name, headers=_OTHER_VERSION), "If-Match")
        for name in ("changeTimeSlot", "withdrawTimeSlot")
    ),
    Row("changeTimeSlot", 409, "slot_inactive", _after("withdrawTimeSlot", "changeTimeSlot")),
    Row("changeTimeSlot", 409, "slot_over", _over("changeTimeSlot")),
    Row("changeTimeSlot", 409, "session_ended", _reactivate_after_session),
    Row("withdrawTimeSlot", 409, "slot_over", _over("withdrawTimeSlot")),
    Row("register", 409, "slot_full", _register_when_full),
    Row("register", 409, "slot_inactive", _after("withdrawTimeSlot", "register", {"userId": "cy"})),
    Row("register", 409, "slot_over", _register_when_over),
    Row("register", 409, "overlapping_registration", _register_twice_at_a_time),
    Row("cancelRegistration", 409, "slot_over", _over("cancelRegistration")),
    Row("setRecording", 409, "session_ended", _after("endSession", "setRecording")),
    Row(
        "attachRecording",
        409,
        "recording_not_permitted",
        _with("attachRecording", body={"userId": "zoe", "url": RECORDED, "startTime": "2030-01-01T00:00:00Z"}),
        "userId",
    ),
]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with running_api() as api:
        scene = Scene(api)
        await scene.set_up()
        yield scene


def _documented(document: Any) -> set[Triple]:
    """Return every error of the document: operation, status, code."""
    triples: set[Triple] = set()
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                problem = response["content"].get("application/problem+json")
                if problem is not None:
                    (codes,) = (
                        part["properties"]["code"]["enum"]
                        for part in problem["schema"]["allOf"]
                        if "properties" in part
                    )
                    triples |= {(operation["operationId"], int(status), code) for code in codes}
    return triples


async def test_the_table_has_exactly_what_the_document_names(scene: Scene) -> None:
    document = (await scene.api.send("GET", "/openapi.json")).json
    assert _documented(document) - {(_NEEDS_NOTHING, 503, "unavailable")} == {row.triple for row in _ROWS}
    assert len(_ROWS) == len({row.triple for row in _ROWS})


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: f"{row.name} {row.status} {row.code}")
async def test_every_error_that_is_named_can_be_met(scene: Scene, row: Row) -> None:
    check_problem(await row.provoke(scene), row.status, row.code, row.field)


@pytest.mark.parametrize("name", _LINES)
async def test_without_any_of_that_the_request_is_answered(scene: Scene, name: str) -> None:
    # So that each row provokes what it says, and not something that was wrong all the time.
    assert (await scene.do(name)).status in (200, 201)
