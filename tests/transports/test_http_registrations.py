"""Registrations over HTTP: for a slot, of a user, as a calendar (SPEC sections 2 and 4)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from icalendar import Calendar

from coordinator.domain.events import Role
from tests.transports.http_api import HttpApi, check_headers, check_problem, moment, pages, running_api


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with running_api() as api:
        yield api


async def test_registering_is_new_once(api: HttpApi) -> None:
    slot = await api.offer()
    path = f"/time-slots/{slot}/registrations"
    first = await api.call("POST", path, user="ada", role=Role.PARTICIPANT)
    assert first.status == 201
    check_headers(first)
    assert first.headers["Location"] == f"/api/v1{path}/ada"
    assert first.json == {
        "id": first.json["id"],
        "timeSlotId": slot,
        "userId": "ada",
        "status": "registered",
        "registeredAt": moment(api.world),
    }
    second = await api.call("POST", path, {}, user="ada", role=Role.PARTICIPANT)
    assert (second.status, second.json) == (200, first.json)
    assert second.headers["Location"] == first.headers["Location"]
    by_name = await api.call("POST", path, {"userId": "ada"}, role=Role.MODERATOR)
    assert (by_name.status, by_name.json) == (200, first.json)


async def test_cancelling_and_registering_again_is_one_registration(api: HttpApi) -> None:
    slot = await api.offer()
    path = f"/time-slots/{slot}/registrations"
    made = (await api.call("POST", path, user="ada", role=Role.PARTICIPANT)).json
    await api.world.clock.advance(1)
    cancelled = await api.call("DELETE", f"{path}/ada", user="ada", role=Role.PARTICIPANT)
    assert cancelled.status == 200
    assert cancelled.json == made | {"status": "cancelled", "cancelledAt": moment(api.world)}
    await api.world.clock.advance(1)
    again = await api.call("DELETE", f"{path}/ada", user="ada", role=Role.PARTICIPANT)
    assert (again.status, again.json) == (200, cancelled.json)
    revived = await api.call("POST", path, user="ada", role=Role.PARTICIPANT)
    assert revived.status == 201
    assert revived.json == made | {"registeredAt": moment(api.world)}


async def test_what_stands_in_the_way_is_told(api: HttpApi) -> None:
    slot, same_time = await api.offer(maxParticipants=2), await api.offer()
    path = f"/time-slots/{slot}/registrations"
    for user in ("ada", "bo"):
        await api.call("POST", path, {"userId": user})
    check_problem(await api.call("POST", path, {"userId": "cy"}), 409, "slot_full")
    overlapping = await api.call("POST", f"/time-slots/{same_time}/registrations", {"userId": "ada"})
    check_problem(overlapping, 409, "overlapping_registration")
    await api.call("DELETE", f"/time-slots/{same_time}")
    inactive = await api.call("POST", f"/time-slots/{same_time}/registrations", {"userId": "cy"})
    check_problem(inactive, 409, "slot_inactive")
    await api.world.clock.advance(11 * 24 * 3600)
    check_problem(await api.call("POST", path, {"userId": "cy"}), 409, "slot_over")
    check_problem(await api.call("DELETE", f"{path}/ada"), 409, "slot_over")
    nowhere = f"/time-slots/{'0' * 24}/registrations"
    for method, missing in (("POST", nowhere), ("GET", nowhere), ("DELETE", f"{nowhere}/ada"), ("DELETE", f"{path}/x")):
        check_problem(await api.call(method, missing), 404, "not_found")


async def test_the_last_seat_goes_to_one(api: HttpApi) -> None:
    slot = await api.offer(maxParticipants=2)
    path = f"/time-slots/{slot}/registrations"
    await api.call("POST", path, {"userId": "ada"})
    answers = await asyncio.gather(*(api.call("POST", path, {"userId": f"user-{number}"}) for number in range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19
    assert {answer.json["code"] for answer in answers if answer.status == 409} == {"slot_full"}


@pytest.mark.parametrize(
    ("user", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("{x}", "%7Bx%7D"),
        ("100%", "100%25"),
        ("ü 😀", "%C3%BC%20%F0%9F%98%80"),
        ("a+b", "a+b"),
        ("a+b", "a%2Bb"),
        ("a?b#c", "a%3Fb%23c"),
        ("\n\0", "%0A%00"),
        ("registrations.ics", "registrations.ics"),
        ("$ne", "$ne"),
        ("x" * 128, "x" * 128),
        ("😀" * 128, "%F0%9F%98%80" * 128),
    ],
)
async def test_a_user_id_may_be_anything(api: HttpApi, user: str, segment: str) -> None:
    slot = await api.offer()
    path = f"/time-slots/{slot}/registrations"
    made = await api.call("POST", path, {"userId": user})
    assert (made.status, made.json["userId"]) == (201, user)
    prefix = "/api/v1"
    assert made.headers["Location"].startswith(f"{prefix}{path}/")
    # The address that was answered leads there, and so does any other spelling of it.
    by_location = await api.call("DELETE", made.headers["Location"].removeprefix(prefix))
    assert (by_location.status, by_location.json["userId"]) == (200, user)
    assert (await api.call("DELETE", f"{path}/{segment}")).json == by_location.json
    (item,) = (await api.call("GET", f"/users/{segment}/registrations")).json["items"]
    assert item["userId"] == user
    calendar = await api.call("GET", f"/users/{segment}/registrations.ics", user=user, role=Role.PARTICIPANT)
    assert calendar.status == 200


async def test_the_registrations_for_a_slot_come_in_pages(api: HttpApi) -> None:
    slot = await api.offer(maxParticipants=50)
    path = f"/time-slots/{slot}/registrations"
    for number in range(7):
        await api.call("POST", path, {"userId": f"user-{number}"})
    await api.call("DELETE", f"{path}/user-3")
    whole = (await api.call("GET", path)).json
    assert sorted(item["userId"] for item in whole["items"]) == [f"user-{number}" for number in range(7)]
    assert all("seat" not in item for item in whole["items"])
    for limit in (1, 3, 7, 200):
        assert await pages(api, f"{path}?", limit) == whole["items"]
    cancelled = await pages(api, f"{path}?status=cancelled&", 1)
    assert [item["userId"] for item in cancelled] == ["user-3"]
    assert len(await pages(api, f"{path}?status=registered&", 2)) == 6


async def test_a_users_registrations_come_with_their_slots(api: HttpApi) -> None:
    slots = [await api.offer(startTime=moment(api.world, days=day)) for day in range(1, 6)]
    for slot in slots:
        await api.call("POST", f"/time-slots/{slot}/registrations", {"userId": "ada"})
    await api.call("DELETE", f"/time-slots/{slots[0]}/registrations/ada")
    who: dict[str, Any] = {"user": "ada", "role": Role.PARTICIPANT}
    items = await pages(api, "/users/ada/registrations?", 2, **who)
    assert {item["timeSlotId"] for item in items} == set(slots)
    for item in items:
        assert item["timeSlot"] == (await api.call("GET", f"/time-slots/{item['timeSlotId']}")).json
    registered = await pages(api, "/users/ada/registrations?status=registered&", 3, **who)
    assert {item["timeSlotId"] for item in registered} == set(slots[1:])
    assert await pages(api, "/users/nobody/registrations?", 3) == []


async def test_a_calendar_has_all_that_is_booked(api: HttpApi) -> None:
    slots = [await api.offer(startTime=moment(api.world, hours=1 + number)) for number in range(9)]
    for slot in slots:
        await api.call("POST", f"/time-slots/{slot}/registrations", {"userId": "ada"})
    await api.call("DELETE", f"/time-slots/{slots[0]}/registrations/ada")
    answer = await api.call("GET", "/users/ada/registrations.ics", user="ada", role=Role.PARTICIPANT)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    check_headers(answer)
    assert len(Calendar.from_ical(answer.body).walk("VEVENT")) == 8
