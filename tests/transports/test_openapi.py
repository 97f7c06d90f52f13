"""The OpenAPI document: valid, complete, and true of what is answered (SPEC section 4)."""

from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from coordinator.domain.errors import ERRORS
from tests.transports.harness import Answer
from tests.transports.http_api import RECORDED, HttpApi, moment, running_api, terms

_METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with running_api() as api:
        yield api


async def _document(api: HttpApi) -> Any:
    answer = await api.send("GET", "/openapi.json")
    assert answer.status == 200
    return answer.json


def _operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        assert set(item) <= _METHODS
        for method, operation in item.items():
            yield method, path, operation


async def test_it_is_valid(api: HttpApi) -> None:
    document = await _document(api)
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == version("conversation-coordinator")
    OpenAPIV31SpecValidator(document).validate()


async def test_it_names_every_route_and_nothing_else(api: HttpApi) -> None:
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in api.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    documented = {(method, path) for method, path, _ in _operations(await _document(api))}
    assert served == documented


async def test_every_part_has_a_name_and_words(api: HttpApi) -> None:
    document = await _document(api)
    names = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in document["tags"]}
    for _, path, operation in _operations(document):
        assert operation["summary"]
        assert operation["description"]
        assert set(operation["tags"]) <= tags
        for parameter in operation["parameters"]:
            assert parameter["description"], (path, parameter)
            assert "$ref" in parameter["schema"] or parameter["schema"].keys() & {"type", "enum"}
        for response in operation["responses"].values():
            assert response["description"]
    for header in document["components"]["headers"].values():
        assert header["description"]
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name


async def test_every_refusal_is_a_problem_with_its_codes(api: HttpApi) -> None:
    document = await _document(api)
    for _, path, operation in _operations(document):
        refusals = {status: response for status, response in operation["responses"].items() if status >= "4"}
        if not path.startswith("/api/v1"):
            assert operation["security"] == []
            assert set(refusals) <= {"503"}
            continue
        assert operation["security"] == [{"token": []}]
        assert {"401", "422", "503"} <= set(refusals)
        assert ("404" in refusals) == ("{" in path)
        assert ("415" in refusals) == ("413" in refusals) == ("requestBody" in operation)
        for status, response in refusals.items():
            reference, exact = response["content"]["application/problem+json"]["schema"]["allOf"]
            assert reference == {"$ref": "#/components/schemas/Problem"}
            assert exact["properties"]["status"] == {"const": int(status)}
            codes = exact["properties"]["code"]["enum"]
            assert codes
            # 412 and 415 have no code of their own.
            assert all(ERRORS[code].status == int(status) for code in codes if status not in ("412", "415"))


async def test_only_who_names_a_version_can_be_late(api: HttpApi) -> None:
    for method, path, operation in _operations(await _document(api)):
        headers = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
        assert ("If-Match" in headers) == ("412" in operation["responses"])
        assert ("Idempotency-Key" in headers) == (method == "post"), path


async def test_requests_are_closed_and_say_what_they_take(api: HttpApi) -> None:
    document = await _document(api)
    schemas = document["components"]["schemas"]
    for _, _, operation in _operations(document):
        if "requestBody" in operation:
            reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            assert schemas[reference.rpartition("/")[2]]["additionalProperties"] is False
    changes = schemas["TimeSlotChanges"]
    assert changes["minProperties"] == 1
    assert "required" not in changes or changes["required"] == []
    for name in ("settleAt", "seriesNumber", "seat"):
        assert not any(name in schema.get("properties", {}) for schema in schemas.values())


async def test_what_is_answered_is_what_is_described(api: HttpApi) -> None:
    document = await _document(api)
    session = await api.session("ada", "bo")
    slot = await api.offer(startTime=moment(api.world, days=1), recurrence="daily")
    single = await api.offer()
    registrations = f"/time-slots/{single}/registrations"
    recording = {"userId": "ada", "url": RECORDED, "startTime": moment(api.world)}
    requests: list[tuple[str, str, str, Any]] = [
        ("offerTimeSlot", "POST", "/time-slots", terms(api.world)),
        ("offerTimeSlot", "POST", "/time-slots", {}),
        ("offerTimeSlot", "POST", "/time-slots", b" " * 5000),
        ("findTimeSlots", "GET", "/time-slots?limit=3", None),
        ("findTimeSlots", "GET", "/time-slots?limit=0", None),
        ("getTimeSlot", "GET", f"/time-slots/{slot}", None),
        ("getTimeSlot", "GET", "/time-slots/x", None),
        ("changeTimeSlot", "PATCH", f"/time-slots/{slot}?scope=series", {"level": "A1"}),
        ("register", "POST", registrations, {"userId": "ada"}),
        ("register", "POST", registrations, {"userId": "ada"}),
        ("findRegistrations", "GET", registrations, None),
        ("findUserRegistrations", "GET", "/users/ada/registrations", None),
        ("findUserConsents", "GET", "/users/ada/consents", None),
        ("exportUserConsents", "GET", "/users/ada/consents.json", None),
        ("cancelRegistration", "DELETE", f"{registrations}/ada", None),
        ("withdrawTimeSlot", "DELETE", f"/time-slots/{single}", None),
        ("register", "POST", registrations, {"userId": "ada"}),
        ("attachRecording", "POST", f"/sessions/{session}/recordings", recording),
        ("attachRecording", "POST", f"/sessions/{session}/recordings", recording),
        ("attachRecording", "POST", f"/sessions/{session}/recordings", recording | {"userId": "zoe"}),
        ("getRecordings", "GET", f"/sessions/{session}/recordings", None),
        ("findSessions", "GET", "/sessions", None),
        ("getSession", "GET", f"/sessions/{session}", None),
        ("getParticipants", "GET", f"/sessions/{session}/participants", None),
        ("getEvents", "GET", f"/sessions/{session}/events?limit=3", None),
        ("setRecording", "PUT", f"/sessions/{session}/recording", {"enabled": False}),
        ("getIceServers", "GET", "/ice-servers", None),
        ("endSession", "POST", f"/sessions/{session}/end", None),
        ("setRecording", "PUT", f"/sessions/{session}/recording", {"enabled": True}),
    ]
    by_name = {operation["operationId"]: operation for _, _, operation in _operations(document)}
    for name, method, path, body in requests:
        _check_described(document, by_name[name], await api.call(method, path, body))
    open_to_all = {"getHealth": "/healthz", "getReadiness": "/readyz"}
    documents = {"getOpenApi": "/openapi.json", "getAsyncApi": "/asyncapi.json"}
    for name, path in (open_to_all | documents).items():
        _check_described(document, by_name[name], await api.send("GET", path))
    others = {"getMetrics", "getUserCalendar", *open_to_all, *documents}
    assert {name for name, *_ in requests} | others == set(by_name)


def _check_described(document: Any, operation: Any, answer: Answer) -> None:
    response = operation["responses"][str(answer.status)]
    schema = response["content"][answer.headers["Content-Type"]]["schema"]
    closed = {**schema, "components": _closed(document["components"])}
    if "allOf" not in schema:  # a problem is described in two parts, neither of which is the whole
        OAS31Validator(closed).validate(answer.json)
    OAS31Validator({**schema, "components": document["components"]}).validate(answer.json)
    for name in response.get("headers", {}):
        header = document["components"]["headers"][name]
        if header["required"]:
            OAS31Validator(header["schema"]).validate(answer.headers[name])
    for name in set(document["components"]["headers"]) & set(answer.headers):
        assert name in response["headers"], f"{name} is not described"


def _closed(components: Any) -> Any:
    """The components, every object of which has only the fields that are described."""
    schemas = {
        name: {"additionalProperties": False, **schema} if "properties" in schema else schema
        for name, schema in components["schemas"].items()
    }
    # A description of a part of a thing stands beside what refers to it; it is closed where it is described.
    return {**components, "schemas": schemas}


@pytest.mark.parametrize("part", ["parameter", "body"])
async def test_every_example_is_accepted_by_its_schema(api: HttpApi, part: str) -> None:
    document = await _document(api)
    seen = 0
    for _, _, operation in _operations(document):
        schemas = [parameter["schema"] for parameter in operation["parameters"]]
        if part == "body":
            schemas = [
                schema
                for component in document["components"]["schemas"].values()
                for schema in component.get("properties", {}).values()
            ]
        for schema in schemas:
            for example in schema.get("examples", []):
                seen += 1
                OAS31Validator({**schema, "components": document["components"]}).validate(example)
    assert seen
