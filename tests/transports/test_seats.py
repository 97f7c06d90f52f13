"""Who gets a seat, who keeps it, and who is told what (SPEC section 2, participant)."""

import asyncio
import json
from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.transports.clients import RawClient
from tests.transports.conftest import StartLive
from tests.transports.harness import UNLIMITED, Live, eventually

_NOBODYS_SESSION = "0123456789abcdef01234567"


def _error(reply: Any) -> tuple[str, bool, str | None]:
    """Return code, retryable and field of a refusal whose form is right."""
    assert reply.keys() == {"ok", "error"}
    assert reply["ok"] is False
    error = reply["error"]
    assert error.keys() - {"field"} == {"code", "message", "retryable"}
    assert error["message"]
    return error["code"], error["retryable"], error.get("field")


async def test_thirty_want_eight_seats(live: Live) -> None:
    users = [f"user-{number}" for number in range(30)]
    offer = await live.offer(*users, starts_in=300, max_participants=8)
    clients = await asyncio.gather(*(live.connect(user) for user in users))
    replies = await asyncio.gather(*(client.join(offer.session_id) for client in clients))
    winners = {client.user for client, reply in zip(clients, replies, strict=True) if reply["ok"]}
    outcomes = Counter("seat" if reply["ok"] else _error(reply) for reply in replies)
    assert outcomes == {"seat": 8, ("room_full", False, None): 22}
    session = await live.stored_at(offer.session_id, 9)
    assert session["seq"] == 9
    assert live.participants(offer.session_id).keys() == winners

    # A seat that is given back goes to the next, and a second join of the winners takes none.
    leaver, loser = (next(c for c in clients if (c.user in winners) is won) for won in (True, False))
    again = await asyncio.gather(*(c.join(offer.session_id) for c in clients if c.user in winners))
    assert {reply["seq"] for reply in again} == {9}
    assert _error(await loser.join(offer.session_id))[0] == "room_full"
    assert (await leaver.call("leave", {}))["ok"]
    assert (await loser.join(offer.session_id))["ok"]
    assert _error(await leaver.join(offer.session_id))[0] == "room_full"


async def test_whoever_is_not_in_does_not_hear_anything(live: Live) -> None:
    offer = await live.offer("ada", "bo", "cy", max_participants=2)
    ada = await live.join("ada", offer.session_id)
    cy = await live.connect("cy")
    await live.join("bo", offer.session_id)
    assert _error(await cy.join(offer.session_id))[0] == "room_full"
    await ada.call("set_media", {"cameraEnabled": True})
    assert _error(await cy.call("sync", {"after": 0}))[0] == "not_in_session"
    assert cy.events() == []


async def test_the_newest_connection_wins(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    bo = await live.join("bo", offer.session_id)
    older = await live.join("ada", offer.session_id)
    await older.call("set_media", {"cameraEnabled": True})
    newer = await live.connect("ada")
    reply = await newer.join(offer.session_id, after=5)
    assert (reply["ok"], reply["seq"], reply["resumed"]) == (True, 6, True)
    assert await older.wait_for("replaced") == {"sessionId": offer.session_id}
    await older.wait_gone()
    back = await bo.wait_for("participant_reconnected")
    assert (back["seq"], back["data"]["userId"]) == (6, "ada")
    # The old connection's end says nothing about the user.
    assert (await newer.call("set_media", {"cameraEnabled": False})) == {"ok": True, "seq": 7}
    await bo.wait_seq(7)
    assert bo.events("participant_disconnected") == bo.events("participant_left") == []
    await live.stored_at(offer.session_id, 7)
    assert live.participants(offer.session_id)["ada"]["status"] == "connected"


async def test_a_client_that_was_replaced_stays_away(live: Live) -> None:
    """Two pages of one user must not throw each other out for ever: the older one gets the final goodbye."""
    offer = await live.offer("ada", "bo")
    older = await live.raw("ada")
    await older.call("join", {"sessionId": offer.session_id})
    newer = await live.connect("ada")
    await newer.join(offer.session_id)
    await older.wait_frame("41/rooms,")
    async with asyncio.timeout(5):  # not only when the client reacts, or a ping is missed
        await older.wait_closed()
    kinds = [frame.partition('["')[2].partition('"')[0] for frame in older.event_frames()]
    assert kinds == ["participant_reconnected", "replaced"]


async def test_a_polling_client_hears_that_it_was_replaced_also_between_two_polls(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    url = f"{live.address}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as response:
            url += "&sid=" + json.loads((await response.text())[1:])["sid"]
        join = f'42/rooms,1["join",{{"sessionId":"{offer.session_id}"}}]'
        body = f"40/rooms,{json.dumps({'token': live.token('ada')})}\x1e{join}"
        async with http.post(url, data=body) as response:
            assert response.status == 200
        text = ""
        while "43/rooms,1[" not in text:
            async with http.get(url) as response:
                text = await response.text()

        newer = await live.join("ada", offer.session_id)
        async with http.get(url) as response:
            packets = (await response.text()).split("\x1e")
        kinds = [packet.partition('["')[2].partition('"')[0] or packet for packet in packets]
        assert kinds == ["participant_reconnected", "replaced", "41/rooms,"]
        async with http.get(url) as response:
            assert response.status == 400 or await response.text() == "1"
    assert (await newer.call("set_media", {"micEnabled": True}))["ok"]


async def test_taking_over_again_and_again_leaves_one_seat(start: StartLive) -> None:
    live = await start({**UNLIMITED, "limits.connections_per_user": 50})
    offer = await live.offer("ada", "bo")
    bo = await live.join("bo", offer.session_id)
    clients = [await live.raw("ada") for _ in range(12)]
    for client in clients:
        await client.send_event(json.dumps(["join", {"sessionId": offer.session_id}]))
    (last,) = await eventually(lambda: _only([c for c in clients if not c.is_closed]), "eleven replaced connections")
    ack = await last.wait_ack(1)
    assert ack["ok"]
    await bo.wait_seq(ack["seq"])
    assert [event["data"]["userId"] for event in bo.events("participant_joined")] == ["ada"]
    assert len(bo.events("participant_reconnected")) <= 11
    assert bo.events("participant_disconnected") == []
    assert (await last.call("set_media", {"micEnabled": True})) == {"ok": True, "seq": ack["seq"] + 1}
    for client in clients:
        goodbyes = [frame for frame in client.frames if frame.startswith(('42/rooms,["replaced', "41/rooms,"))]
        assert len(goodbyes) == (0 if client is last else 2)


def _only(clients: list[RawClient]) -> list[RawClient] | None:
    return clients if len(clients) == 1 else None


async def test_a_held_seat_is_kept_and_then_freed(start: StartLive) -> None:
    live = await start({"session.reconnect_grace_seconds": 1})
    offer = await live.offer("ada", "bo", "cy", max_participants=2)
    ada = await live.join("ada", offer.session_id)
    bo = await live.join("bo", offer.session_id)
    await bo.call("set_media", {"micEnabled": True})
    await bo.lose_connection()
    await ada.wait_for("participant_disconnected", userId="bo")
    cy = await live.connect("cy")
    assert _error(await cy.join(offer.session_id))[0] == "room_full"

    left = await ada.wait_for("participant_left", userId="bo")
    assert left["data"] == {"userId": "bo", "reason": "timeout"}
    assert left["actor"] == {"userId": "system", "role": "system"}
    assert (await cy.join(offer.session_id))["ok"]
    document = live.participants(offer.session_id)["bo"]
    assert document["status"] == "disconnected"
    assert document["micEnabled"] is True
    bo_again = await live.connect("bo")
    assert _error(await bo_again.join(offer.session_id))[0] == "room_full"


async def test_switches_survive_a_reconnection_but_not_a_new_seat(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    await live.join("ada", offer.session_id)
    bo = await live.join("bo", offer.session_id)
    await bo.call("set_media", {"cameraEnabled": True, "micEnabled": True})
    await bo.call("set_recording_consent", {"granted": True})
    await bo.lose_connection()
    bo = await live.connect("bo")
    (of_bo,) = _participants(await bo.join(offer.session_id), "bo")
    assert (of_bo["cameraEnabled"], of_bo["micEnabled"], of_bo["recordingConsent"]) == (True, True, True)
    await bo.call("leave", {})
    (of_bo,) = _participants(await bo.join(offer.session_id), "bo")
    assert (of_bo["cameraEnabled"], of_bo["micEnabled"], of_bo["recordingConsent"]) == (False, False, True)


def _participants(reply: Any, user: str) -> list[Any]:
    return [participant for participant in reply["snapshot"]["participants"] if participant["userId"] == user]


async def test_only_the_registered_may_join(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    await live.join("ada", offer.session_id)
    stranger = await live.connect("zoe")
    assert _error(await stranger.join(offer.session_id)) == ("not_registered", False, None)
    await live.register(offer.slot, "zoe")
    assert (await stranger.join(offer.session_id))["ok"]


async def test_anyone_may_join_where_registration_is_not_required(start: StartLive) -> None:
    live = await start({"session.require_registration": False})
    offer = await live.offer("ada")
    assert (await (await live.connect("zoe")).join(offer.session_id))["ok"]


async def test_there_must_be_such_a_session(live: Live) -> None:
    ada = await live.connect("ada")
    assert _error(await ada.join(_NOBODYS_SESSION)) == ("not_found", False, None)


async def test_one_session_at_a_time(live: Live) -> None:
    here, there = await live.offer("ada", "bo"), await live.offer("ada", "bo")
    ada = await live.join("ada", here.session_id)
    refused = await ada.join(there.session_id)
    assert _error(refused) == ("invalid_request", False, "sessionId")
    assert here.session_id in refused["error"]["message"]
    assert (await ada.call("set_media", {"micEnabled": True}))["ok"]
    assert (await ada.call("leave", {}))["ok"]
    assert (await ada.join(there.session_id))["ok"]
    bo = await live.join("bo", here.session_id)
    assert (await ada.call("set_media", {"micEnabled": True}))["ok"]
    await bo.call("set_media", {"micEnabled": True})
    assert {event["sessionId"] for event in ada.events() if event["seq"] > 5} <= {there.session_id}


@pytest.mark.parametrize(
    ("name", "payload"), [("set_media", {"micEnabled": True}), ("set_recording_consent", {"granted": True})]
)
async def test_an_ended_session_stays_as_it_is(start: StartLive, name: str, payload: dict[str, Any]) -> None:
    live = await start({"session.no_show_minutes": 0})
    offer = await live.offer("ada", "bo", starts_in=2.5)
    ada = await live.join("ada", offer.session_id)
    await ada.wait_for("participant_left", reason="session_ended")
    assert _error(await ada.call(name, payload)) == ("session_ended", False, None)
    assert _error(await ada.join(offer.session_id))[0] == "session_ended"
    assert _error(await (await live.connect("bo")).join(offer.session_id))[0] == "session_ended"
    assert (await ada.call("leave", {})) == {"ok": True, "seq": 4}
    await ada.close()
    assert (await live.stored_at(offer.session_id, 4))["seq"] == 4
