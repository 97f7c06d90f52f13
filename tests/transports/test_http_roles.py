"""Who may do what: a table of every operation and every role (SPEC section 4)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from coordinator.domain.events import Role
from coordinator.transports.rest.operations import ANYONE
from tests.transports.http_api import RECORDED, HttpApi, check_problem, moment, running_api, terms

P, M, R, A = Role.PARTICIPANT, Role.MODERATOR, Role.RECORDER, Role.ADMIN
_EVERYONE = {P, M, R, A}

_TABLE: dict[str, tuple[str, set[Role]]] = {
    # Of a participant, "ada" is the one who asks; she has booked {slot} and is in {session}.
    "offerTimeSlot": ("POST /time-slots", {M, A}),
    "findTimeSlots": ("GET /time-slots", _EVERYONE),
    "getTimeSlot": ("GET /time-slots/{slot}", _EVERYONE),
    "changeTimeSlot": ("PATCH /time-slots/{slot}", {M, A}),
    "withdrawTimeSlot": ("DELETE /time-slots/{slot}", {M, A}),
    "register": ("POST /time-slots/{slot}/registrations", {P, M, A}),
    "findRegistrations": ("GET /time-slots/{slot}/registrations", {M, R, A}),
    "cancelRegistration": ("DELETE /time-slots/{slot}/registrations/ada", {P, M, A}),
    "findUserRegistrations": ("GET /users/ada/registrations", _EVERYONE),
    "getUserCalendar": ("GET /users/ada/registrations.ics", _EVERYONE),
    "findUserConsents": ("GET /users/ada/consents", _EVERYONE),
    "exportUserConsents": ("GET /users/ada/consents.json", _EVERYONE),
    "findSessions": ("GET /sessions", _EVERYONE),
    "getSession": ("GET /sessions/{session}", _EVERYONE),
    "getParticipants": ("GET /sessions/{session}/participants", _EVERYONE),
    "getEvents": ("GET /sessions/{session}/events", _EVERYONE),
    "endSession": ("POST /sessions/{session}/end", {M, A}),
    "setRecording": ("PUT /sessions/{session}/recording", {M, A}),
    "attachRecording": ("POST /sessions/{session}/recordings", {R, A}),
    "getRecordings": ("GET /sessions/{session}/recordings", _EVERYONE),
    "getIceServers": ("GET /ice-servers", _EVERYONE),
}
_PUBLIC = {"getHealth", "getReadiness", "getMetrics", "getOpenApi", "getAsyncApi"}

_FOR_OTHERS: list[tuple[str, Any, set[Role]]] = [
    ("POST /time-slots/{slot}/registrations", {"userId": "bo"}, {M, A}),
    ("DELETE /time-slots/{slot}/registrations/bo", None, {M, A}),
    ("GET /users/bo/registrations", None, {M, R, A}),
    ("GET /users/bo/registrations.ics", None, {M, R, A}),
    ("GET /users/bo/consents", None, {M, R, A}),
    ("GET /users/bo/consents.json", None, {M, R, A}),
    ("GET /sessions/{others}/participants", None, {M, R, A}),
    ("GET /sessions/{others}/events", None, {M, R, A}),
    ("GET /sessions/{others}/recordings", None, {M, R, A}),
    ("GET /sessions/{others}", None, _EVERYONE),
]


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with running_api() as api:
        yield api


async def _request(api: HttpApi, line: str) -> tuple[str, str]:
    session, others = await api.session("ada", "cy"), await api.session("bo", "dee")
    slot = await api.offer()
    for user in ("ada", "bo"):
        assert (await api.call("POST", f"/time-slots/{slot}/registrations", {"userId": user})).status == 201
    method, path = line.split()
    return method, path.format(slot=slot, session=session, others=others)


def _body(api: HttpApi, name: str) -> Any:
    bodies = {
        "offerTimeSlot": terms(api.world),
        "changeTimeSlot": {"level": "A1"},
        "setRecording": {"enabled": False},
        "attachRecording": {"userId": "ada", "url": RECORDED, "startTime": moment(api.world)},
    }
    return bodies.get(name)


def test_the_table_is_full() -> None:
    assert set(_TABLE) | _PUBLIC == {operation.name for operation in _operations()}
    assert ANYONE == _EVERYONE


def _operations() -> list[Any]:
    from coordinator.transports.rest.api import ApiServices, RestApi

    nothing: Any = object()
    services = ApiServices(
        offering=nothing, booking=nothing, reader=nothing, moderation=nothing, recordings=nothing, consents=nothing
    )
    return RestApi(
        services, tokens=nothing, replies=nothing, clock=nothing, ids=nothing, checks={}, body_bytes=1, metrics=nothing
    ).operations


@pytest.mark.parametrize("role", sorted(_EVERYONE))
@pytest.mark.parametrize("name", sorted(_TABLE))
async def test_every_operation_is_for_its_roles(api: HttpApi, name: str, role: Role) -> None:
    line, allowed = _TABLE[name]
    method, path = await _request(api, line)
    before = api.stored()
    answer = await api.call(method, path, _body(api, name), user="ada", role=role)
    if role in allowed:
        assert answer.status in (200, 201), answer
    else:
        check_problem(answer, 403, "forbidden")
        assert api.stored() == before


@pytest.mark.parametrize("role", sorted(_EVERYONE))
@pytest.mark.parametrize(("line", "body", "allowed"), _FOR_OTHERS)
async def test_for_others_act_only_those_who_may(
    api: HttpApi, line: str, body: Any, allowed: set[Role], role: Role
) -> None:
    method, path = await _request(api, line)
    before = api.stored()
    answer = await api.call(method, path, body, user="ada", role=role)
    if role in allowed:
        assert answer.status in (200, 201), answer
    else:
        check_problem(answer, 403, "forbidden")
        assert api.stored() == before


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YTpi", "Bearer x", "Bearer a.b.c"])
@pytest.mark.parametrize("name", sorted(_TABLE))
async def test_every_operation_takes_a_token(api: HttpApi, name: str, header: str) -> None:
    # Whatever else is wrong is not looked at: nothing in these addresses exists, and no body is JSON.
    method, path = _TABLE[name][0].split()
    path = path.format(slot="x", session="x")
    answer = await api.call(method, f"{path}?x=1", b"{", headers={"Authorization": header})
    check_problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("name", sorted(name for name in _TABLE if _TABLE[name][1] != _EVERYONE))
async def test_the_role_is_looked_at_before_the_request(api: HttpApi, name: str) -> None:
    line, allowed = _TABLE[name]
    method, path = line.split()
    role = min(_EVERYONE - allowed)
    answer = await api.call(method, f"{path.format(slot='x', session='x')}?x=1", b"{", user="ada", role=role)
    check_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
async def test_what_is_outside_takes_no_token(api: HttpApi, path: str) -> None:
    answer = await api.send("GET", path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
