"""Who may enter which namespace, and what exists there: rights belong to a token and a namespace, not to a socket."""

import asyncio
import json
import time
from typing import Any

import pytest

from coordinator.domain.events import Role
from tests.transports.clients import MODERATION, NAMESPACE, RECORDING, RawClient, Refused
from tests.transports.conftest import StartLive
from tests.transports.harness import UNLIMITED, Live, eventually

_ALLOWED = {
    NAMESPACE: {Role.PARTICIPANT},
    MODERATION: {Role.MODERATOR, Role.ADMIN},
    RECORDING: {Role.RECORDER, Role.ADMIN},
}
_ROLES = (Role.PARTICIPANT, Role.MODERATOR, Role.RECORDER, Role.ADMIN)
_EVENTS = {
    NAMESPACE: ("join", "leave", "set_media", "set_recording_consent", "signal", "sync"),
    MODERATION: ("watch", "unwatch", "mute", "remove", "end_session", "set_recording"),
    RECORDING: ("subscribe", "ack", "attach_recording"),
}
_PAYLOAD = {
    "sessionId": "0123456789abcdef01234567",
    "userId": "ada",
    "enabled": True,
    "consumer": "main",
    "url": "https://r2.cloudflarestorage.com/a",
    "startTime": "2040-01-01T00:00:00Z",
}


@pytest.mark.parametrize("role", _ROLES)
@pytest.mark.parametrize("namespace", list(_ALLOWED))
async def test_each_namespace_has_its_roles(live: Live, namespace: str, role: Role) -> None:
    if role in _ALLOWED[namespace]:
        client = await live.connect("mona", namespace=namespace, role=role)
        assert (await client.call("no_such_event", {}))["error"]["code"] == "invalid_request"
        return
    with pytest.raises(Refused) as caught:
        await live.connect("mona", namespace=namespace, role=role)
    refusal = caught.value.reason
    assert (refusal["message"], refusal["data"]["code"]) == ("forbidden", "forbidden")


@pytest.mark.parametrize("auth", [{}, {"token": None}, {"token": "x"}, {"Token": "x"}])
@pytest.mark.parametrize("namespace", list(_ALLOWED))
async def test_nobody_enters_without_a_token(live: Live, namespace: str, auth: Any) -> None:
    client = await live.raw()
    answer = await client.connect(auth, namespace)
    assert answer.startswith(f"44{namespace},")
    assert json.loads(answer.partition(",")[2])["message"] == "unauthenticated"


@pytest.mark.parametrize("namespace", ["/", "/admin", "/moderation/", "/Moderation", "/rooms/x"])
async def test_there_is_no_other_namespace(live: Live, namespace: str) -> None:
    client = await live.raw()
    prefix = "" if namespace == "/" else f"{namespace},"
    await client.send(f"40{prefix}{json.dumps({'token': live.token('root', Role.ADMIN)})}")
    assert (await client.wait_frame("44")).startswith(f"44{prefix}")


async def test_the_tables_of_events_are_complete(live: Live) -> None:
    for namespace, events in _EVENTS.items():
        served = live.coordinator._sockets.reception.namespaces[namespace]
        assert tuple(served._routes) == events
        assert served._roles == _ALLOWED[namespace]


@pytest.mark.parametrize("namespace", list(_EVENTS))
async def test_what_belongs_to_another_namespace_does_not_exist(live: Live, namespace: str) -> None:
    """Every event of every namespace, in each: known where it belongs, unknown elsewhere, and then nothing changes."""
    offer = await live.offer("ada", "bo")
    await live.join("ada", offer.session_id)
    role = min(_ALLOWED[namespace])
    for home, events in _EVENTS.items():
        for event in events:
            client = await live.connect(f"{role}-{event}", namespace=namespace, role=role)
            if home != namespace:
                reply = await client.call(event, _PAYLOAD | {"sessionId": offer.session_id})
                error = reply["error"]
                assert error["code"] == "invalid_request"
                assert error["message"].startswith(f"unknown event '{event}'")
                assert "field" not in error
            await client.close()
    assert len(await live.journal(offer.session_id)) == 2
    assert live.database.consumers.count_documents({}) == 0


# One WebSocket, several namespaces, each with a token of its own.


async def _enter(live: Live, client: RawClient, user: str, role: Role, namespace: str) -> str:
    return await client.connect({"token": live.token(user, role)}, namespace)


async def test_rights_do_not_leak_from_one_namespace_to_another(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    await live.join("bo", offer.session_id)
    both = await live.raw("ada")
    # A moderator's namespace with a participant's token: refused, however well the other one went.
    assert (await _enter(live, both, "ada", Role.PARTICIPANT, MODERATION)).startswith(f"44{MODERATION},")
    end = json.dumps(["end_session", {"sessionId": offer.session_id}])
    before = len(both.frames)
    await both.send(f"42{MODERATION},7{end}")
    assert (await both.call("join", {"sessionId": offer.session_id}))["ok"]
    assert not any(frame.startswith(f"43{MODERATION}") for frame in both.frames[before:])

    assert (await _enter(live, both, "mona", Role.MODERATOR, MODERATION)).startswith(f"40{MODERATION},")
    reply = await both.call("end_session", {"sessionId": offer.session_id})
    assert reply["error"]["code"] == "invalid_request", "in /rooms it still is a participant"
    muted = await both.call("mute", {"sessionId": offer.session_id, "userId": "bo"}, MODERATION)
    assert muted["ok"]
    assert (await both.call("set_media", {"micEnabled": True}))["ok"]
    await both.call("end_session", {"sessionId": offer.session_id}, MODERATION)
    actors = [json.loads(event)["actor"] for event in await live.journal(offer.session_id)]
    assert {"userId": "ada", "role": "participant"} in actors
    assert {"userId": "mona", "role": "moderator"} in actors
    assert {"userId": "ada", "role": "moderator"} not in actors


async def test_each_namespace_is_told_its_own(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    both = await live.raw("ada")
    await _enter(live, both, "mona", Role.MODERATOR, MODERATION)
    await both.call("watch", {"sessionId": offer.session_id}, MODERATION)
    await both.call("watch", {"all": True}, MODERATION)
    await both.call("join", {"sessionId": offer.session_id})
    bo = await live.join("bo", offer.session_id)
    for namespace in (NAMESPACE, MODERATION):
        await both.wait_frame(f'42{namespace},["session_started"')
    await both.wait_frame(f'42{MODERATION},["session_summary"')
    assert not any(frame.startswith(f'42{NAMESPACE},["session_summary"') for frame in both.frames)
    # It leaves one namespace: only what belongs to that ends.
    await both.send(f"41{MODERATION},")
    room = next(room for room in live.coordinator.rooms.loaded if room.session_id == offer.session_id)
    await eventually(lambda: not room.watchers, "the end of the watch")
    await bo.call("set_media", {"cameraEnabled": True})
    await both.wait_frame(f'42{NAMESPACE},["camera_changed"')
    assert not any(frame.startswith(f'42{MODERATION},["camera_changed"') for frame in both.frames)


async def test_who_stays_in_one_namespace_is_not_taken_for_nobody(start: StartLive) -> None:
    live = await start({**UNLIMITED, "limits.handshake_seconds": 0.3})
    both, nobody = await live.raw("ada"), await live.raw("bo")
    await _enter(live, both, "mona", Role.MODERATOR, MODERATION)
    await both.send(f"41{NAMESPACE},")
    await nobody.send(f"41{NAMESPACE},")
    async with asyncio.timeout(5):
        await nobody.wait_closed()
    # A while longer than nobody was given; asking is the wait.
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert (await both.call("unwatch", {"all": True}, MODERATION))["ok"]
    assert not both.is_closed


# What is the same in all of them.


@pytest.mark.parametrize("namespace", list(_ALLOWED))
async def test_a_connection_ends_with_its_token(live: Live, namespace: str) -> None:
    role = min(_ALLOWED[namespace])
    client = await live.raw()
    await client.connect({"token": live.token("mona", role, ttl=1)}, namespace)
    async with asyncio.timeout(5):
        await client.wait_closed()
    assert not any(frame.startswith(f"41{namespace},") for frame in client.frames), "it may come back with a fresh one"


@pytest.mark.parametrize("namespace", list(_ALLOWED))
async def test_the_connections_of_a_user_are_counted_together(start: StartLive, namespace: str) -> None:
    live = await start({"limits.connections_per_user": 2})
    role = min(_ALLOWED[namespace])
    await live.connect("root")
    await live.connect("root", namespace=MODERATION, role=Role.ADMIN)
    with pytest.raises(Refused) as caught:
        await live.connect("root", namespace=namespace, role=role)
    assert caught.value.reason["message"] == "rate_limited"


@pytest.mark.parametrize("namespace", list(_ALLOWED))
async def test_commands_are_limited(start: StartLive, namespace: str) -> None:
    live = await start({"limits.command_burst": 3, "limits.commands_per_second": 0.001})
    role = min(_ALLOWED[namespace])
    client = await live.connect("mona", namespace=namespace, role=role)
    event = {NAMESPACE: "leave", MODERATION: "unwatch", RECORDING: "attach_recording"}[namespace]
    codes = [(await client.call(event, {"x": 1}))["error"]["code"] for _ in range(5)]
    assert codes == ["invalid_request"] * 3 + ["rate_limited"] * 2
