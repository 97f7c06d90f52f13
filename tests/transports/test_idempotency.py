"""`Idempotency-Key`: what comes again is answered as before, and done once (SPEC section 2; `ports/replies`)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from coordinator.adapters.memory.replies import MemoryReplies
from coordinator.domain.events import Role
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.ports.replies import Remembered, Reply
from tests.transports.http_api import RECORDED, HttpApi, check_problem, moment, running_api, terms

_KEY = {"Idempotency-Key": "5b0c2a1e"}


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with running_api() as api:
        yield api


async def _offered(api: HttpApi) -> list[str]:
    return [slot["id"] for slot in (await api.call("GET", "/time-slots")).json["items"]]


async def test_a_repeated_offer_is_answered_as_before(api: HttpApi) -> None:
    body = terms(api.world)
    first = await api.call("POST", "/time-slots", body, headers=_KEY)
    assert first.status == 201
    assert "Idempotency-Replayed" not in first.headers
    await api.touch(first.json["id"])  # what is answered again is what was answered, not what is now
    second = await api.call("POST", "/time-slots", body, headers=_KEY)
    assert (second.status, second.body) == (first.status, first.body)
    assert second.headers["Idempotency-Replayed"] == "true"
    for name in ("Location", "ETag", "Content-Type", "Cache-Control"):
        assert second.headers[name] == first.headers[name]
    assert await _offered(api) == [first.json["id"]]


async def test_what_counts_is_the_meaning_of_the_body(api: HttpApi) -> None:
    body = terms(api.world)
    first = await api.call("POST", "/time-slots", body, headers=_KEY)
    same = dict(reversed((body | {"maxParticipants": 8}).items()))
    second = await api.call("POST", "/time-slots", same, headers=_KEY)
    assert second.body == first.body
    third = await api.call("POST", "/time-slots", body | {"maxParticipants": 9}, headers=_KEY)
    check_problem(third, 422, "invalid_request", "Idempotency-Key")
    assert len(await _offered(api)) == 1


async def test_without_a_key_every_request_is_another(api: HttpApi) -> None:
    body = terms(api.world)
    for _ in range(2):
        assert (await api.call("POST", "/time-slots", body)).status == 201
    assert len(await _offered(api)) == 2


async def test_a_key_is_one_users_and_one_addresss(api: HttpApi) -> None:
    body = terms(api.world)
    first = await api.call("POST", "/time-slots", body, headers=_KEY)
    of_another = await api.call("POST", "/time-slots", body, headers=_KEY, user="mona", role=Role.MODERATOR)
    assert of_another.json["id"] != first.json["id"]
    for slot in (first, of_another):
        path = f"/time-slots/{slot.json['id']}/registrations"
        answer = await api.call("POST", path, {"userId": f"of {slot.json['id']}"}, headers=_KEY)
        assert answer.status == 201
        assert "Idempotency-Replayed" not in answer.headers


async def test_the_role_is_checked_again(api: HttpApi) -> None:
    body = terms(api.world)
    assert (await api.call("POST", "/time-slots", body, headers=_KEY, user="mona")).status == 201
    demoted = await api.call("POST", "/time-slots", body, headers=_KEY, user="mona", role=Role.PARTICIPANT)
    check_problem(demoted, 403, "forbidden")


async def test_the_same_key_at_the_same_time_makes_one_slot(api: HttpApi) -> None:
    body = terms(api.world)
    answers = await asyncio.gather(
        *(api.call("POST", "/time-slots", body, headers={"Idempotency-Key": "once"}) for _ in range(20))
    )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert len(await _offered(api)) == 1


async def test_the_same_key_at_the_same_time_with_other_bodies_makes_one_slot(api: HttpApi) -> None:
    bodies = [terms(api.world, maxParticipants=number) for number in range(2, 12)]
    answers = await asyncio.gather(
        *(api.call("POST", "/time-slots", body, headers={"Idempotency-Key": "once"}) for body in bodies)
    )
    assert sorted(answer.status for answer in answers) == [201] + [422] * 9
    assert len(await _offered(api)) == 1


async def test_what_was_refused_may_be_tried_again(api: HttpApi) -> None:
    slot = await api.offer(maxParticipants=2)
    path = f"/time-slots/{slot}/registrations"
    for user in ("ada", "bo"):
        await api.call("POST", path, {"userId": user})
    check_problem(await api.call("POST", path, {"userId": "cy"}, headers=_KEY), 409, "slot_full")
    await api.call("DELETE", f"{path}/ada")
    answer = await api.call("POST", path, {"userId": "cy"}, headers=_KEY)
    assert answer.status == 201
    assert "Idempotency-Replayed" not in answer.headers


async def test_what_was_refused_may_be_put_right_under_its_key(api: HttpApi) -> None:
    wrong = terms(api.world) | {"minParticipants": 9}
    check_problem(await api.call("POST", "/time-slots", wrong, headers=_KEY), 422, "invalid_request", "minParticipants")
    right = await api.call("POST", "/time-slots", wrong | {"minParticipants": 3}, headers=_KEY)
    assert right.status == 201
    assert await _offered(api) == [right.json["id"]]
    check_problem(await api.call("POST", "/time-slots", wrong, headers=_KEY), 422, "invalid_request", "Idempotency-Key")


async def test_a_malformed_request_uses_up_no_key(api: HttpApi) -> None:
    check_problem(await api.call("POST", "/time-slots", {}, headers=_KEY), 422, "invalid_request", "targetLanguageCode")
    assert (await api.call("POST", "/time-slots", terms(api.world), headers=_KEY)).status == 201


async def test_a_repeated_registration_does_not_undo_what_came_between(api: HttpApi) -> None:
    slot = await api.offer()
    path = f"/time-slots/{slot}/registrations"
    first = await api.call("POST", path, {"userId": "ada"}, headers=_KEY)
    await api.call("DELETE", f"{path}/ada")
    second = await api.call("POST", path, {"userId": "ada"}, headers=_KEY)
    assert (second.status, second.body) == (201, first.body)
    assert [item["status"] for item in (await api.call("GET", path)).json["items"]] == ["cancelled"]


async def test_an_absent_body_is_an_empty_one(api: HttpApi) -> None:
    path = f"/time-slots/{await api.offer()}/registrations"
    first = await api.call("POST", path, headers=_KEY)
    assert (await api.call("POST", path, {}, headers=_KEY)).headers["Idempotency-Replayed"] == "true"
    assert first.status == 201


async def test_every_post_hears_the_key(api: HttpApi) -> None:
    session = await api.session("ada", "bo")
    recording = {"userId": "ada", "url": RECORDED, "startTime": moment(api.world)}
    for path, body, status in (("recordings", recording, 201), ("end", {}, 200)):
        first = await api.call("POST", f"/sessions/{session}/{path}", body, headers=_KEY)
        second = await api.call("POST", f"/sessions/{session}/{path}", body, headers=_KEY)
        assert first.status == second.status == status
        assert second.body == first.body
        assert second.headers["Idempotency-Replayed"] == "true"


class _Forgetful(MemoryReplies):
    """Replies that are lost where and when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.loses = False

    async def remember(self, key: str, fingerprint: str, at: datetime) -> Remembered | None:
        if self.is_away:
            raise OutcomeUnknownError("away")
        return await super().remember(key, fingerprint, at)

    async def keep(self, key: str, reply: Reply) -> None:
        if self.loses:
            raise OutcomeUnknownError("away")
        await super().keep(key, reply)


@pytest.fixture
def forgetful(api: HttpApi, monkeypatch: pytest.MonkeyPatch) -> _Forgetful:
    replies = _Forgetful()
    for name in ("remember", "keep"):
        monkeypatch.setattr(api.replies, name, getattr(replies, name))
    return replies


async def test_a_request_that_was_cut_short_is_finished_by_its_repetition(api: HttpApi, forgetful: _Forgetful) -> None:
    forgetful.loses = True
    body = terms(api.world, startTime=moment(api.world, minutes=5))
    first = await api.call("POST", "/time-slots", body, headers=_KEY)
    assert first.status == 201  # it is done, whether or not that can be remembered
    # Even when it could not be offered any more: the repetition finds what was made.
    await api.world.clock.advance(600)
    forgetful.loses = False
    second = await api.call("POST", "/time-slots", body, headers=_KEY)
    assert (second.status, second.body) == (201, first.body)
    assert "Idempotency-Replayed" not in second.headers
    third = await api.call("POST", "/time-slots", body, headers=_KEY)
    assert third.headers["Idempotency-Replayed"] == "true"
    assert await _offered(api) == [first.json["id"]]


async def test_a_series_that_was_cut_short_is_one_series(api: HttpApi, forgetful: _Forgetful) -> None:
    forgetful.loses = True
    body: dict[str, Any] = terms(api.world, startTime=moment(api.world, days=1), recurrence="daily")
    first = await api.call("POST", "/time-slots", body, headers=_KEY)
    made = await _offered(api)
    second = await api.call("POST", "/time-slots", body, headers=_KEY)
    assert second.body == first.body
    assert await _offered(api) == made


async def test_nothing_is_done_that_could_not_be_remembered(api: HttpApi, forgetful: _Forgetful) -> None:
    forgetful.is_away = True
    before = api.stored()
    answer = await api.call("POST", "/time-slots", terms(api.world), headers=_KEY)
    check_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert api.stored() == before
    forgetful.is_away = False
    assert (await api.call("POST", "/time-slots", terms(api.world), headers=_KEY)).status == 201


async def test_an_old_key_that_was_forgotten_does_not_answer_for_another_request(
    api: HttpApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await api.call("POST", "/time-slots", terms(api.world), headers=_KEY)
    monkeypatch.setattr(api.replies, "_requests", {})  # a day has passed
    other = await api.call("POST", "/time-slots", terms(api.world, level="C2"), headers=_KEY)
    assert (other.status, other.json["level"]) == (201, "C2")
    assert other.json["id"] != first.json["id"]
