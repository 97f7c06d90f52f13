"""The whole road over HTTP and sockets: offered, booked, met, settled. Nobody writes to the database."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from coordinator.domain.events import Role
from tests.transports.conftest import StartLive
from tests.transports.harness import Live, eventually, utc

FAST = {"session.no_show_minutes": 0.02, "session.empty_timeout_seconds": 0.5, "session.reconnect_grace_seconds": 0.2}


async def do(live: Live, method: str, path: str, user: str, role: Role, body: Any = None, **query: Any) -> Any:
    """Make a request that must succeed; return what it answers."""
    answer = await live.request(method, f"/api/v1{path}", live.token(user, role), body=body, **query)
    assert answer.status < 300, answer
    return answer.json


async def offer(live: Live, starts_in: float, **terms: Any) -> dict[str, Any]:
    start = live.coordinator.ports.clock.now() + timedelta(seconds=starts_in)
    body = {"targetLanguageCode": "es", "level": "A2", "startTime": start.isoformat(), "durationMinutes": 15, **terms}
    slot: dict[str, Any] = await do(live, "POST", "/time-slots", "boss", Role.MODERATOR, body)
    return slot


async def register(live: Live, slot: Mapping[str, Any], user: str) -> dict[str, Any]:
    path = f"/time-slots/{slot['id']}/registrations"
    registration: dict[str, Any] = await do(live, "POST", path, user, Role.PARTICIPANT, {})
    return registration


async def session_of(live: Live, slot: Mapping[str, Any]) -> str:
    async def look() -> str | None:
        found = await do(live, "GET", f"/time-slots/{slot['id']}", "boss", Role.MODERATOR)
        session: str | None = found.get("sessionId")
        return session

    return await eventually(look, "the slot's session")


async def statuses(live: Live, slot: Mapping[str, Any]) -> dict[str, str]:
    found = await do(live, "GET", f"/time-slots/{slot['id']}/registrations", "boss", Role.MODERATOR)
    return {item["userId"]: item["status"] for item in found["items"]}


async def settled(live: Live, slot: Mapping[str, Any], expected: Mapping[str, str]) -> None:
    async def look() -> bool:
        return await statuses(live, slot) == expected

    await eventually(look, f"{expected}")


async def test_from_an_offer_to_attendance(start: StartLive) -> None:
    live = await start(FAST)
    slot = await offer(live, starts_in=3)
    for user in ("ada", "bruno", "chloe", "diego"):
        assert (await register(live, slot, user))["status"] == "registered"
    path = f"/time-slots/{slot['id']}/registrations/diego"
    assert (await do(live, "DELETE", path, "diego", Role.PARTICIPANT))["status"] == "cancelled"

    session = await session_of(live, slot)
    ada = await live.join("ada", session)
    bruno = await live.join("bruno", session)
    await ada.wait_for("session_started")
    await ada.call("leave", {})
    await bruno.call("leave", {})
    await settled(live, slot, {"ada": "attended", "bruno": "attended", "chloe": "noshow", "diego": "cancelled"})

    ended = await do(live, "GET", f"/sessions/{session}", "ada", Role.PARTICIPANT)
    assert (ended["status"], ended["endReason"]) == ("ended", "empty")
    assert utc(ended["startedAt"]) >= utc(slot["startTime"])
    mine = await do(live, "GET", "/users/ada/registrations", "ada", Role.PARTICIPANT)
    assert [(item["status"], item["timeSlot"]["registeredCount"]) for item in mine["items"]] == [("attended", 3)]


async def test_nobody_comes(start: StartLive) -> None:
    live = await start(FAST)
    slot = await offer(live, starts_in=0.5)
    await register(live, slot, "ada")
    session = await session_of(live, slot)
    await settled(live, slot, {"ada": "noshow"})
    ended = await do(live, "GET", f"/sessions/{session}", "ada", Role.PARTICIPANT)
    assert ended["endReason"] == "not_enough_participants"


async def test_a_slot_that_is_withdrawn_ends_its_lobby(start: StartLive) -> None:
    live = await start()
    slot = await offer(live, starts_in=300)
    await register(live, slot, "ada")
    await register(live, slot, "bruno")
    session = await session_of(live, slot)
    ada = await live.join("ada", session)
    withdrawn = await do(live, "DELETE", f"/time-slots/{slot['id']}", "boss", Role.MODERATOR)
    assert (withdrawn["isActive"], withdrawn["registeredCount"]) == (False, 0)
    told = await ada.wait_for("session_ended")
    assert told["data"] == {"reason": "ended_by_moderator"}
    assert await statuses(live, slot) == {"ada": "cancelled", "bruno": "cancelled"}
