"""Sessions and recordings over HTTP, as far as they need no database; the rest is in `test_http` (SPEC section 4)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from coordinator.domain.events import Role
from tests.transports.http_api import RECORDED, HttpApi, check_headers, check_problem, moment, pages, running_api

RECORDER: dict[str, Any] = {"user": "rec", "role": Role.RECORDER}
_NOWHERE = f"/sessions/{'0' * 24}"


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with running_api() as api:
        yield api


async def test_sessions_come_in_pages_the_newest_first(api: HttpApi) -> None:
    opened = []
    for number in range(5):
        opened.append(await api.session(f"a{number}", f"b{number}"))
        await api.world.clock.advance(60)
    await api.call("POST", f"/sessions/{opened[1]}/end")
    whole = (await api.call("GET", "/sessions")).json
    assert [item["id"] for item in whole["items"]] == opened[::-1]
    for item in whole["items"]:
        assert item == (await api.call("GET", f"/sessions/{item['id']}")).json
    for limit in (1, 2, 5):
        assert await pages(api, "/sessions?", limit) == whole["items"]
    ended = await pages(api, "/sessions?status=ended&", 1)
    assert [item["id"] for item in ended] == [opened[1]]
    assert len(await pages(api, "/sessions?status=active&targetLanguageCode=fr&", 2)) == 4
    assert await pages(api, "/sessions?targetLanguageCode=en&", 2) == []
    slot = whole["items"][2]["timeSlotId"]
    assert await pages(api, f"/sessions?timeSlotId={slot}&", 2) == [whole["items"][2]]


async def test_ending_a_session_is_for_good(api: HttpApi) -> None:
    session = await api.session("ada", "bo")
    answer = await api.call("POST", f"/sessions/{session}/end")
    assert answer.status == 200
    check_headers(answer)
    assert (answer.json["status"], answer.json["endReason"]) == ("ended", "ended_by_moderator")
    assert answer.json["endedAt"] == moment(api.world)
    again = await api.call("POST", f"/sessions/{session}/end", {})
    assert (again.status, again.json) == (200, answer.json)
    refused = await api.call("PUT", f"/sessions/{session}/recording", {"enabled": False})
    check_problem(refused, 409, "session_ended")
    check_problem(await api.call("POST", f"{_NOWHERE}/end"), 404, "not_found")


async def test_recording_is_switched(api: HttpApi) -> None:
    session = await api.session("ada", "bo")
    for enabled in (False, False, True):
        answer = await api.call("PUT", f"/sessions/{session}/recording", {"enabled": enabled})
        assert (answer.status, answer.json["recordingEnabled"]) == (200, enabled)
        assert (await api.call("GET", f"/sessions/{session}")).json == answer.json
    check_problem(await api.call("PUT", f"{_NOWHERE}/recording", {"enabled": True}), 404, "not_found")


async def test_a_recording_is_attached_once(api: HttpApi) -> None:
    session = await api.session("ada", "bo")
    path = f"/sessions/{session}/recordings"
    body = {"userId": "ada", "url": RECORDED, "startTime": moment(api.world)}
    first = await api.call("POST", path, body, **RECORDER)
    assert (first.status, first.json) == (201, body)
    await api.world.clock.advance(1)
    later = await api.call("POST", path, body | {"startTime": moment(api.world)}, **RECORDER)
    assert (later.status, later.json) == (200, body)
    assert (await api.call("GET", path)).json == {"items": [body]}
    assert (await api.call("GET", f"/sessions/{session}")).json["recordings"] == [body]


async def test_what_must_not_be_recorded_is_refused(api: HttpApi) -> None:
    session = await api.session("ada", "bo")
    path = f"/sessions/{session}/recordings"
    body = {"userId": "ada", "url": RECORDED, "startTime": moment(api.world)}
    before = api.stored()
    for wrong, field in (
        ({"userId": "zoe"}, "userId"),
        ({"startTime": moment(api.world, seconds=1)}, "startTime"),
        ({"startTime": moment(api.world, days=-1)}, "startTime"),
        ({"startTime": "0001-01-01T00:00:00+23:59"}, "startTime"),
        ({"url": "https://example.org/ada.webm"}, "url"),
        ({"url": "https://user:word@eu.r2.cloudflarestorage.com/ada.webm"}, "url"),
    ):
        answer = await api.call("POST", path, body | wrong, **RECORDER)
        check_problem(answer, 409, "recording_not_permitted", field)
    check_problem(await api.call("POST", f"{_NOWHERE}/recordings", body, **RECORDER), 404, "not_found")
    assert api.stored() == before


async def test_participants_see_only_their_own_recordings(api: HttpApi) -> None:
    session = await api.session("ada", "bo")
    await api.record(session, "ada")
    await api.record(session, "bo", RECORDED + "?bo")
    await api.world.settle()
    for user, seen in (("ada", ["ada"]), ("bo", ["bo"]), ("zoe", [])):
        who: dict[str, Any] = {"user": user, "role": Role.PARTICIPANT}
        in_session = (await api.call("GET", f"/sessions/{session}", **who)).json["recordings"]
        assert [item["userId"] for item in in_session] == seen
        (listed,) = (await api.call("GET", "/sessions", **who)).json["items"]
        assert listed["recordings"] == in_session
        alone = await api.call("GET", f"/sessions/{session}/recordings", **who)
        if user == "zoe":
            check_problem(alone, 403, "forbidden")
        else:
            assert alone.json["items"] == in_session
    for role in (Role.MODERATOR, Role.RECORDER, Role.ADMIN):
        for path in (f"/sessions/{session}", f"/sessions/{session}/recordings"):
            body = (await api.call("GET", path, user="x", role=role)).json
            assert len(body.get("recordings", body.get("items"))) == 2
