"""Time slots over HTTP: offering, finding, changing, withdrawing, and their versions (SPEC sections 2 and 4)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from coordinator.domain.events import Role
from tests.transports.http_api import HttpApi, check_headers, check_problem, moment, pages, running_api, terms


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with running_api() as api:
        yield api


# Offering.


async def test_an_offered_slot_is_answered_with_its_address_and_version(api: HttpApi) -> None:
    body = terms(api.world)
    answer = await api.call("POST", "/time-slots", body)
    assert answer.status == 201
    check_headers(answer)
    slot = answer.json
    now = moment(api.world)
    assert slot == body | {
        "id": slot["id"],
        "maxParticipants": 8,
        "minParticipants": 2,
        "recurrence": "once",
        "timezone": "UTC",
        "isActive": True,
        "registeredCount": 0,
        "createdAt": now,
        "updatedAt": now,
    }
    assert answer.headers["Location"] == f"/api/v1/time-slots/{slot['id']}"
    read = await api.send(
        "GET", answer.headers["Location"], headers=[("Authorization", f"Bearer {api.token('ada', Role.PARTICIPANT)}")]
    )
    assert (read.status, read.json) == (200, slot)
    assert read.headers["ETag"] == answer.headers["ETag"]
    check_headers(read)


async def test_times_are_taken_with_their_offset_and_cut_to_milliseconds(api: HttpApi) -> None:
    body = terms(api.world, startTime="2040-06-04T19:00:00.1239999+02:00", durationMinutes=15.0)
    answer = await api.call("POST", "/time-slots", body)
    assert answer.json["startTime"] == "2040-06-04T17:00:00.123Z"
    assert answer.json["durationMinutes"] == 15


async def test_what_repeats_is_a_series(api: HttpApi) -> None:
    first = await api.offer(startTime=moment(api.world, days=1), recurrence="weekly", timezone="Europe/Paris")
    answer = await api.call("GET", f"/time-slots?seriesId={first}")
    assert answer.json["items"][0]["id"] == first
    assert len(answer.json["items"]) == 2
    assert {slot["seriesId"] for slot in answer.json["items"]} == {first}
    assert all("seriesNumber" not in slot and "settleAt" not in slot for slot in answer.json["items"])


async def test_what_the_rules_refuse_names_the_field(api: HttpApi) -> None:
    for fields, field in (
        ({"startTime": moment(api.world, seconds=0)}, "startTime"),
        ({"startTime": "9500-01-01T00:00:00Z"}, "startTime"),
        ({"startTime": "0001-01-01T00:00:00+23:59"}, "startTime"),
        ({"minParticipants": 9}, "minParticipants"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
    ):
        answer = await api.call("POST", "/time-slots", terms(api.world, **fields))
        check_problem(answer, 422, "invalid_request", field)


# Finding.


async def test_pages_put_together_are_the_list(api: HttpApi) -> None:
    # Several start at the same instant: only then do pages depend on more than the start.
    offered = [await api.offer(startTime=moment(api.world, days=1 + number // 3)) for number in range(11)]
    whole = (await api.call("GET", "/time-slots")).json
    assert "next" not in whole
    assert {slot["id"] for slot in whole["items"]} == set(offered)
    assert [(slot["startTime"], slot["id"]) for slot in whole["items"]] == sorted(
        (slot["startTime"], slot["id"]) for slot in whole["items"]
    )
    for limit in (1, 2, 3, 10, 11, 200):
        assert await pages(api, "/time-slots?", limit) == whole["items"]


async def test_filters_choose(api: HttpApi) -> None:
    french = await api.offer(startTime=moment(api.world, days=1))
    english = await api.offer(startTime=moment(api.world, days=2), targetLanguageCode="en", level="C2")
    gone = await api.offer(startTime=moment(api.world, days=3))
    assert (await api.call("DELETE", f"/time-slots/{gone}")).status == 200
    second = moment(api.world, days=2)
    for query, expected in (
        ("", [french, english, gone]),
        ("targetLanguageCode=en", [english]),
        ("targetLanguageCode=es", []),
        ("level=C2", [english]),
        ("level=B1&targetLanguageCode=fr", [french, gone]),
        ("isActive=true", [french, english]),
        ("isActive=false", [gone]),
        (f"from={second}", [english, gone]),  # inclusive
        (f"to={second}", [french, english]),  # inclusive
        (f"from={second}&to={second}", [english]),
        (f"from={moment(api.world, days=5)}&to={second}", []),
        ("from=0001-01-01T00:00:00%2B23:59", [french, english, gone]),
        ("to=9999-12-31T23:59:59.9999-23:59", [french, english, gone]),
        (f"seriesId={french}", []),
    ):
        answer = await api.call("GET", f"/time-slots?{query}")
        assert answer.status == 200, answer
        assert [slot["id"] for slot in answer.json["items"]] == expected, query


async def test_unless_told_slots_that_may_not_be_over_are_shown(api: HttpApi) -> None:
    slot = await api.offer(startTime=moment(api.world, seconds=1), durationMinutes=45)
    await api.world.clock.advance(45 * 60)
    assert [item["id"] for item in (await api.call("GET", "/time-slots")).json["items"]] == [slot]
    await api.world.clock.advance(2)
    assert (await api.call("GET", "/time-slots")).json["items"] == []


async def test_a_cursor_has_the_form_of_its_list(api: HttpApi) -> None:
    slots = [await api.offer() for _ in range(2)]
    registrations = f"/time-slots/{slots[0]}/registrations"
    for user in ("ada", "bo"):
        assert (await api.call("POST", registrations, {"userId": user})).status == 201
    cursor = (await api.call("GET", "/time-slots?limit=1")).json["next"]
    foreign = (await api.call("GET", f"{registrations}?limit=1")).json["next"]
    for wrong in (
        foreign,
        cursor + "0",
        cursor[1:],
        cursor[:-1] + "g",
        cursor.upper(),
        "x",
        "=",
        cursor * 9,
        cursor + "%0A",
    ):
        check_problem(await api.call("GET", f"/time-slots?cursor={wrong}"), 422, "invalid_request", "cursor")
    for path in (registrations, "/users/ada/registrations"):
        check_problem(await api.call("GET", f"{path}?cursor={cursor}"), 422, "invalid_request", "cursor")


async def test_whatever_has_the_form_of_a_cursor_leads_somewhere(api: HttpApi) -> None:
    session = await api.session("ada", "bo")
    slots = [await api.offer() for _ in range(3)]
    first = (await api.call("GET", "/time-slots?limit=1")).json["next"]
    for path, cursor, found in (
        ("/time-slots", "0" * 37, 4),
        ("/time-slots", "f" * 37, 0),
        ("/time-slots", first, 3),
        ("/sessions", "0" * 37, 0),  # the newest come first
        ("/sessions", "f" * 37, 1),
        (f"/time-slots/{slots[0]}/registrations", "0" * 24, 0),
        ("/users/ada/registrations", "0" * 24, 1),
        ("/users/ada/registrations", "f" * 24, 0),
    ):
        answer = await api.call("GET", f"{path}?cursor={cursor}")
        assert answer.status == 200, answer
        assert len(answer.json["items"]) == found, (path, cursor)
    assert (await api.call("GET", f"/sessions/{session}")).status == 200


async def test_a_page_goes_on_after_a_slot_that_was_moved_meanwhile(api: HttpApi) -> None:
    slots = [await api.offer(startTime=moment(api.world, days=day)) for day in range(1, 4)]
    cursor = (await api.call("GET", "/time-slots?limit=1")).json["next"]
    moved = await api.call("PATCH", f"/time-slots/{slots[0]}", {"startTime": moment(api.world, days=9)})
    assert moved.status == 200
    following = (await api.call("GET", f"/time-slots?cursor={cursor}")).json["items"]
    assert [slot["id"] for slot in following] == [slots[1], slots[2], slots[0]]


# Changing.


async def test_a_change_makes_a_new_version(api: HttpApi) -> None:
    slot = await api.offer()
    before = await api.call("GET", f"/time-slots/{slot}")
    after = await api.call("PATCH", f"/time-slots/{slot}", {"level": "C1", "maxParticipants": 12})
    assert after.status == 200
    changed = {"level": "C1", "maxParticipants": 12, "updatedAt": after.json["updatedAt"]}
    assert after.json == before.json | changed
    assert after.json["updatedAt"] > before.json["updatedAt"]
    assert after.headers["ETag"] != before.headers["ETag"]
    read = await api.call("GET", f"/time-slots/{slot}")
    assert (read.json, read.headers["ETag"]) == (after.json, after.headers["ETag"])


async def test_a_registration_is_no_new_version(api: HttpApi) -> None:
    slot = await api.offer()
    before = await api.call("GET", f"/time-slots/{slot}")
    await api.call("POST", f"/time-slots/{slot}/registrations")
    after = await api.call("GET", f"/time-slots/{slot}")
    assert after.json["registeredCount"] == 1
    assert after.headers["ETag"] == before.headers["ETag"]


async def test_a_withdrawn_slot_stays_readable_and_its_registrations_are_cancelled(api: HttpApi) -> None:
    slot = await api.offer()
    await api.call("POST", f"/time-slots/{slot}/registrations", {"userId": "ada"})
    answer = await api.call("DELETE", f"/time-slots/{slot}")
    assert (answer.status, answer.json["isActive"]) == (200, False)
    again = await api.call("DELETE", f"/time-slots/{slot}")
    assert (again.status, again.json) == (200, answer.json)
    assert again.headers["ETag"] == answer.headers["ETag"]
    registrations = (await api.call("GET", f"/time-slots/{slot}/registrations")).json["items"]
    assert [item["status"] for item in registrations] == ["cancelled"]


async def test_a_scope_of_series_changes_every_coming_slot(api: HttpApi) -> None:
    first = await api.offer(startTime=moment(api.world, days=1), recurrence="daily")
    assert (await api.call("PATCH", f"/time-slots/{first}?scope=series", {"level": "A1"})).status == 200
    slots = (await api.call("GET", f"/time-slots?seriesId={first}")).json["items"]
    assert len(slots) > 10
    assert {slot["level"] for slot in slots} == {"A1"}
    single = await api.call("PATCH", f"/time-slots/{first}?scope=slot", {"level": "A2"})
    assert single.json["level"] == "A2"
    assert (await api.call("DELETE", f"/time-slots/{slots[3]['id']}?scope=series")).json["isActive"] is False
    slots = (await api.call("GET", f"/time-slots?seriesId={first}")).json["items"]
    assert [slot["level"] for slot in slots].count("A2") == 1
    assert {slot["isActive"] for slot in slots} == {False}


async def test_a_series_takes_a_slot_of_one(api: HttpApi) -> None:
    slot = await api.offer()
    for method, body in (("PATCH", {"level": "A1"}), ("DELETE", None)):
        answer = await api.call(method, f"/time-slots/{slot}?scope=series", body)
        check_problem(answer, 404, "not_found", "scope")


# Versions.


@pytest.mark.parametrize(
    ("pattern", "status"),
    [
        ("*", 200),
        ("{etag}", 200),
        ('"other", {etag}', 200),
        ('{etag},"other"', 200),
        ('W/"a" , {etag}', 200),
        ('"other"', 412),
        ("W/{etag}", 412),
        ('W/{etag}, "b"', 412),
        ('""', 412),
        ('"*"', 412),
        ("{bare}", 422),
        ("", 422),
        (",", 422),
        ('"', 422),
        ("{etag} {etag}", 422),
        ("*, {etag}", 422),
        ("w/{etag}", 422),
        ("'x'", 422),
    ],
)
@pytest.mark.parametrize(("method", "body"), [("PATCH", {"level": "A1"}), ("DELETE", None)])
async def test_if_match_lets_through_only_its_version(
    api: HttpApi, method: str, body: Any, pattern: str, status: int
) -> None:
    slot = await api.offer()
    etag = (await api.call("GET", f"/time-slots/{slot}")).headers["ETag"]
    before = api.stored()
    value = pattern.replace("{etag}", etag).replace("{bare}", etag.strip('"'))
    answer = await api.call(method, f"/time-slots/{slot}", body, headers={"If-Match": value})
    if status == 200:
        assert answer.status == 200
        assert answer.headers["ETag"] != etag
        assert api.stored() != before
    else:
        check_problem(answer, status, "invalid_request", "If-Match")
        assert api.stored() == before


async def test_if_match_may_stand_in_several_lines(api: HttpApi) -> None:
    slot = await api.offer()
    etag = (await api.call("GET", f"/time-slots/{slot}")).headers["ETag"]
    lines = [("If-Match", '"other"'), ("If-Match", etag)]
    assert (await api.call("PATCH", f"/time-slots/{slot}", {"level": "A1"}, headers=lines)).status == 200


async def test_of_two_who_change_the_same_version_one_is_refused(api: HttpApi) -> None:
    slot = await api.offer()
    etag = (await api.call("GET", f"/time-slots/{slot}")).headers["ETag"]
    await api.touch(slot)
    answer = await api.call("PATCH", f"/time-slots/{slot}", {"level": "A1"}, headers={"If-Match": etag})
    check_problem(answer, 412, "invalid_request", "If-Match")
    fresh = (await api.call("GET", f"/time-slots/{slot}")).headers["ETag"]
    again = await api.call("PATCH", f"/time-slots/{slot}", {"level": "A1"}, headers={"If-Match": fresh})
    assert again.status == 200


async def test_the_version_of_nothing_is_not_found(api: HttpApi) -> None:
    path = "/time-slots/" + "0" * 24
    answer = await api.call("PATCH", path, {"level": "A1"}, headers={"If-Match": "*"})
    check_problem(answer, 404, "not_found")


async def test_a_slot_with_a_session_shows_it_and_can_only_be_withdrawn(api: HttpApi) -> None:
    session = await api.session("ada", "bo")
    slot = (await api.call("GET", f"/sessions/{session}")).json["timeSlotId"]
    assert (await api.call("GET", f"/time-slots/{slot}")).json["sessionId"] == session
    refused = await api.call("PATCH", f"/time-slots/{slot}", {"level": "A1"})
    assert refused.status in (409, 422)
    assert (await api.call("DELETE", f"/time-slots/{slot}")).status == 200
    await api.world.settle()
    assert (await api.call("GET", f"/sessions/{session}")).json["status"] == "ended"


async def test_headers_are_written_as_they_are_spelt(api: HttpApi) -> None:
    slot = await api.offer()
    reader, writer = await asyncio.open_connection(api.server.host, api.server.port)
    token = api.token("root", Role.ADMIN)
    request = f"GET /api/v1/time-slots/{slot} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    writer.write(request.encode())
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
    for name in (b"ETag", b"Cache-Control", b"Content-Type", b"X-Content-Type-Options"):
        assert b"\r\n" + name + b": " in head
    writer.close()
    await writer.wait_closed()


async def test_head_works_where_get_does(api: HttpApi) -> None:
    slot = await api.offer()
    for path in ("/time-slots", f"/time-slots/{slot}", "/users/ada/registrations", "/sessions"):
        got, head = await api.call("GET", path), await api.call("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        for name in ("Content-Type", "Content-Length", "Cache-Control"):
            assert head.headers[name] == got.headers[name]
