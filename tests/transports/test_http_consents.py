"""The consent history over HTTP: complete, in order, in pages, and fit to be checked later (SPEC sections 2 and 4)."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.ledger import wire_time
from coordinator.services.consents import PAGE_SESSIONS
from tests.transports.http_api import HttpApi, check_headers, check_problem, running_api

ADA: dict[str, Any] = {"user": "ada", "role": Role.PARTICIPANT}


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with running_api() as api:
        yield api


async def consent(api: HttpApi, user: str, *changes: tuple[bool, str | None]) -> SessionId:
    """Open a session in which a user joins, and grants and revokes like this."""
    session = await api.world.open_session(api.node, [UserId(user)], start=api.world.clock.now())
    (client,) = await api.node.joined(session, UserId(user))
    for granted, policy in changes:
        await api.world.clock.advance(1)
        await client.consent(granted, policy)
    return session


async def hash_of(api: HttpApi, session: SessionId, seq: int) -> str:
    """The hash of the commit that holds an event."""
    (found,) = [item for item in await api.world.journal.read(session) if item.seq <= seq <= item.last_seq]
    return found.hash


async def every_page(api: HttpApi, path: str, limit: int, **who: Any) -> list[list[Any]]:
    """Follow the cursors to the end; return the items of each page."""
    found: list[list[Any]] = []
    cursor = ""
    while True:
        answer = await api.call("GET", f"{path}?limit={limit}{cursor}", **who)
        assert answer.status == 200, answer
        assert len(answer.json["items"]) <= limit
        found.append(answer.json["items"])
        if "next" not in answer.json:
            return found
        cursor = f"&cursor={answer.json['next']}"


async def test_every_grant_and_revocation_is_there_with_all_that_is_known_of_it(api: HttpApi) -> None:
    first = await consent(api, "ada", (True, "2030-01"), (False, None))
    second = await consent(api, "ada", (True, None))
    answer = await api.call("GET", "/users/ada/consents", **ADA)
    assert answer.status == 200
    check_headers(answer)
    at = api.world.clock.now()
    actor = {"userId": "ada", "role": "participant"}
    assert answer.json == {
        "items": [
            {
                "sessionId": first,
                "seq": 3,
                "at": wire_time(at - timedelta(seconds=2)),
                "type": "recording_consent_granted",
                "granted": True,
                "policyVersion": "2030-01",
                "actor": actor,
                "commitHash": await hash_of(api, first, 3),
            },
            {
                "sessionId": first,
                "seq": 4,
                "at": wire_time(at - timedelta(seconds=1)),
                "type": "recording_consent_revoked",
                "granted": False,
                "actor": actor,
                "commitHash": await hash_of(api, first, 4),
            },
            {
                "sessionId": second,
                "seq": 3,
                "at": wire_time(at),
                "type": "recording_consent_granted",
                "granted": True,
                "actor": actor,
                "commitHash": await hash_of(api, second, 3),
            },
        ]
    }


async def test_nobody_elses_consents_are_in_it(api: HttpApi) -> None:
    session = await api.session("ada", "bo")
    await api.session("cy", "dee")
    for user in ("ada", "bo"):
        (item,) = (await api.call("GET", f"/users/{user}/consents")).json["items"]
        assert (item["sessionId"], item["actor"]["userId"]) == (session, user)
    await consent(api, "zoe")
    for user in ("zoe", "nobody"):
        assert (await api.call("GET", f"/users/{user}/consents")).json == {"items": []}


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 200])
async def test_the_pages_make_up_the_whole(api: HttpApi, limit: int) -> None:
    for number in range(3):
        await consent(api, "ada", *((bool(turn % 2), None) for turn in range(1, 2 + number)))
        await consent(api, "ada")
    whole = (await api.call("GET", "/users/ada/consents")).json["items"]
    assert [(item["sessionId"], item["seq"]) for item in whole] == sorted(
        (item["sessionId"], item["seq"]) for item in whole
    )
    assert len(whole) == 6
    found = await every_page(api, "/users/ada/consents", limit, **ADA)
    assert [item for page in found for item in page] == whole
    assert all(len(page) == limit for page in found[:-1])


async def test_a_page_looks_into_a_bounded_number_of_sessions(api: HttpApi) -> None:
    for _ in range(2 * PAGE_SESSIONS + 5):
        await consent(api, "ada")
    last = await consent(api, "ada", (True, None))
    api.node.line.reads = 0
    found = await every_page(api, "/users/ada/consents", 50)
    assert [[item["sessionId"] for item in page] for page in found] == [[], [], [last]]
    assert api.node.line.reads <= 3 * (PAGE_SESSIONS + 1)


async def test_what_happens_after_a_page_was_read_is_on_the_next(api: HttpApi) -> None:
    session = await consent(api, "ada", (True, None))
    client = api.node.client(UserId("ada"), session)
    await client.join()
    page = (await api.call("GET", "/users/ada/consents?limit=1")).json
    assert "next" not in page
    await client.consent(False)
    page = (await api.call("GET", "/users/ada/consents?limit=1")).json
    await client.consent(True)
    following = (await api.call("GET", f"/users/ada/consents?cursor={page['next']}")).json
    assert [item["granted"] for item in following["items"]] == [False, True]


async def test_no_answer_is_older_than_an_ack(api: HttpApi) -> None:
    session = await api.world.open_session(api.node, [UserId("ada")], start=api.world.clock.now())
    (client,) = await api.node.joined(session, UserId("ada"))
    for turn in range(6):
        await client.consent(turn % 2 == 0)
        for path in ("consents", "consents.json"):
            items = (await api.call("GET", f"/users/ada/{path}")).json["items"]
            assert [item["granted"] for item in items] == [number % 2 == 0 for number in range(turn + 1)]


async def test_the_download_holds_what_it_takes_to_check_it(api: HttpApi) -> None:
    first = await consent(api, "ada", (True, "2030-01"), (False, None))
    second = await consent(api, "ada")
    await consent(api, "bo", (True, None))
    listed = (await api.call("GET", "/users/ada/consents")).json["items"]
    answer = await api.call("GET", "/users/ada/consents.json", **ADA)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="consents.json"'
    check_headers(answer)
    sessions = []
    for session in (first, second):
        commits = await api.world.journal.read(session)
        sessions.append(
            {
                "sessionId": session,
                "seq": commits[-1].last_seq,
                "headHash": commits[-1].hash,
                "commits": len(commits),
            }
        )
    assert answer.json == {
        "userId": "ada",
        "exportedAt": wire_time(api.world.clock.now()),
        "items": listed,
        "sessions": sessions,
    }


async def test_a_download_about_somebody_unknown_is_empty(api: HttpApi) -> None:
    answer = await api.call("GET", "/users/nobody/consents.json")
    assert answer.status == 200
    assert (answer.json["items"], answer.json["sessions"]) == ([], [])


async def test_a_long_history_is_downloaded_whole(api: HttpApi) -> None:
    sessions = [await consent(api, "ada", (True, None)) for _ in range(PAGE_SESSIONS + 3)]
    history = (await api.call("GET", "/users/ada/consents.json")).json
    assert [item["sessionId"] for item in history["items"]] == sorted(sessions)
    assert [item["sessionId"] for item in history["sessions"]] == sorted(sessions)


async def test_a_session_that_has_vanished_still_tells_who_consented(api: HttpApi) -> None:
    session = await api.session("ada", "bo")
    before = (await api.call("GET", "/users/ada/consents")).json
    assert (await api.call("POST", f"/sessions/{session}/end")).status == 200
    await api.world.clock.advance(31 * 24 * 3600)
    room = api.node.rooms.peek(session)
    assert room is not None
    check_problem(await api.call("GET", f"/sessions/{session}"), 404, "not_found")
    room.subscribers.clear()
    api.node.rooms.drop_idle()
    del api.world.projections._sessions[session]
    for line in ("GET /sessions/{}", "GET /sessions/{}/participants", "POST /sessions/{}/end"):
        method, path = line.split()
        check_problem(await api.call(method, path.format(session)), 404, "not_found")
    assert (await api.call("GET", "/users/ada/consents")).json == before
    # The log is kept for those who have to prove something; a participant finds its own part of it above.
    events = (await api.call("GET", f"/sessions/{session}/events?limit=1000", role=Role.RECORDER)).json["items"]
    assert events[-1]["seq"] == len(events) == len(await api.world.log(session))
    assert (await api.call("GET", f"/sessions/{session}/events?after={len(events)}")).json == {"items": []}
    check_problem(await api.call("GET", f"/sessions/{session}/events", **ADA), 404, "not_found")
    await api.world.settle()
    await api.node.projector.flush()
    assert await api.world.projections.session(session) is None, "reading does not bring its document back"
    assert api.node.rooms.loaded == []
