"""Moderators over real sockets: they watch what they like, steer, and are never seen (SPEC section 3)."""

import asyncio
import json
from typing import Any

import pytest

from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId
from coordinator.services import overview
from tests.transports.clients import MODERATION, NAMESPACE, RoomClient
from tests.transports.conftest import StartLive
from tests.transports.harness import UNLIMITED, Live, eventually, utc
from tests.transports.sockets import TEXT, BareSocket, frame


def _code(reply: Any) -> str:
    return "ok" if reply["ok"] else str(reply["error"]["code"])


def _kinds(client: RoomClient) -> list[str]:
    return [arrival.kind for arrival in client.arrivals]


async def test_a_watch_is_answered_like_a_join_and_every_event_follows(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    mona = await live.moderator()
    reply = await mona.watch(offer.session_id)
    assert reply.keys() == {"ok", "sessionId", "seq", "serverTime", "resumed", "snapshot"}
    assert (reply["ok"], reply["sessionId"], reply["seq"], reply["resumed"]) == (True, offer.session_id, 2, False)
    assert utc(reply["serverTime"]) <= live.coordinator.ports.clock.now()
    assert reply["snapshot"]["session"]["seq"] == 2
    assert [participant["userId"] for participant in reply["snapshot"]["participants"]] == ["ada"]

    await live.join("bo", offer.session_id)
    seq = (await ada.call("set_media", {"cameraEnabled": True}))["seq"]
    await mona.wait_seq(seq)
    journal = [json.loads(event) for event in await live.journal(offer.session_id)]
    assert mona.events() == journal[2:]
    assert _kinds(mona)[0] == "ack watch"
    resumed = await (await live.moderator()).watch(offer.session_id, after=1)
    assert (resumed["resumed"], resumed["events"]) == (True, journal[1:])


async def test_watchers_get_the_very_bytes_that_participants_get(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    ada = await live.raw("ada")
    mona = await live.raw()
    await mona.connect({"token": live.token("mona", Role.MODERATOR)}, MODERATION)
    await ada.call("join", {"sessionId": offer.session_id})
    await mona.call("watch", {"sessionId": offer.session_id}, MODERATION)
    await live.join("bo", offer.session_id)
    for client, namespace in ((ada, NAMESPACE), (mona, MODERATION)):
        await client.wait_frame(f'42{namespace},["session_started"')
    frames = [frame.replace(MODERATION, NAMESPACE) for frame in mona.event_frames()]
    assert frames == ada.event_frames()[-len(frames) :]
    assert len(frames) == 2


async def test_a_moderator_steers_a_session(live: Live) -> None:
    offer = await live.offer("ada", "bo", "cy")
    ada, bo = [await live.join(user, offer.session_id) for user in ("ada", "bo")]
    for client in (ada, bo):
        await client.call("set_media", {"micEnabled": True})
        await client.call("set_recording_consent", {"granted": True})
    mona = await live.moderator()
    watched = await mona.watch(offer.session_id)
    seq, session = watched["seq"], {"sessionId": offer.session_id}

    assert await mona.call("set_recording", session | {"enabled": True}) == {"ok": True, "seq": seq + 3}
    assert await mona.call("set_recording", session | {"enabled": True}) == {"ok": True, "seq": seq + 3}
    assert await mona.call("mute", session | {"userId": "ada"}) == {"ok": True, "seq": seq + 4}
    assert await mona.call("mute", session | {"userId": "ada"}) == {"ok": True, "seq": seq + 4}
    muted = await ada.wait_for("mic_changed", userId="ada", micEnabled=False)
    assert muted["actor"] == {"userId": "mona", "role": "moderator"}
    assert _code(await mona.call("mute", session | {"userId": "cy"})) == "not_in_session"
    assert _code(await mona.call("remove", session | {"userId": "cy"})) == "not_in_session"

    removed = await mona.call("remove", session | {"userId": "bo", "reason": "be kind"})
    left = await ada.wait_for("participant_left", userId="bo")
    assert (left["data"]["reason"], left["data"]["message"]) == ("removed", "be kind")
    assert removed == {"ok": True, "seq": seq + 6}, "he left, and must not be recorded any more"
    await bo.wait_gone()
    assert _code(await (await live.connect("bo")).join(offer.session_id)) == "removed"

    ended = await mona.call("end_session", session)
    assert ended == await mona.call("end_session", session)
    over = await ada.wait_for("session_ended")
    assert (over["data"], over["actor"]["userId"]) == ({"reason": "ended_by_moderator"}, "mona")
    late: dict[str, Any] = {"mute": {"userId": "ada"}, "remove": {"userId": "ada"}, "set_recording": {"enabled": True}}
    for name, fields in late.items():
        assert _code(await mona.call(name, session | fields)) == "session_ended"
    journal = [json.loads(event) for event in await live.journal(offer.session_id)]
    assert ended["seq"] == len(journal)
    await mona.wait_seq(ended["seq"])
    assert mona.events() == journal[seq:]
    await live.stored_at(offer.session_id, ended["seq"])
    assert live.participants(offer.session_id).keys() == {"ada", "bo"}
    assert (await (await live.moderator()).watch(offer.session_id))["snapshot"]["session"]["status"] == "ended"


async def test_commands_take_effect_in_the_order_in_which_they_are_sent(live: Live) -> None:
    offer = await live.offer("ada")
    mona = await live.moderator()
    await mona.watch(offer.session_id)
    answers = [
        mona.start("set_recording", {"sessionId": offer.session_id, "enabled": number % 2 == 0}) for number in range(20)
    ]
    assert [reply["seq"] for reply in await asyncio.gather(*answers)] == list(range(2, 22))


async def test_after_unwatch_nothing_comes(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    mona, max_ = await live.moderator(), await live.moderator("max")
    for client in (mona, max_):
        await client.watch(offer.session_id)
    assert await mona.call("unwatch", {"sessionId": offer.session_id}) == {"ok": True}
    assert await mona.call("unwatch", {"sessionId": offer.session_id}) == {"ok": True}
    await live.join("ada", offer.session_id)
    await max_.wait_for("participant_joined")
    await mona.call("unwatch", {"all": True})
    assert mona.events() == []


async def test_the_overview_shows_every_live_session_and_its_changes(live: Live) -> None:
    offers = [await live.offer("ada", "bo") for _ in range(3)]
    mona = await live.moderator()
    reply = await mona.call("watch", {"all": True})
    assert reply.keys() == {"ok", "serverTime", "sessions"}
    assert {session["sessionId"] for session in reply["sessions"]} == {offer.session_id for offer in offers}
    await live.join("ada", offers[0].session_id)
    await live.join("bo", offers[0].session_id)
    summary = await mona.wait_for("session_summary", status="active")
    assert (summary["sessionId"], summary["presentCount"], summary["seq"]) == (offers[0].session_id, 2, 4)
    assert mona.events() == [], "summaries have no place in any session's order"
    await mona.call("end_session", {"sessionId": offers[0].session_id})
    ended = await mona.wait_for("session_summary", status="ended")
    assert (ended["endReason"], ended["participants"]) == ("ended_by_moderator", [])
    again = await mona.call("watch", {"all": True})
    assert {session["sessionId"] for session in again["sessions"]} == {offer.session_id for offer in offers[1:]}
    assert await mona.call("unwatch", {"all": True}) == {"ok": True}


async def test_what_does_not_fit_into_the_answer_comes_right_after_it(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "_ANSWER_BYTES", 1000)
    offers = [await live.offer("ada") for _ in range(5)]
    mona = await live.moderator()
    (first,) = (await mona.call("watch", {"all": True}))["sessions"]
    for offer in offers:
        if offer.session_id != first["sessionId"]:
            await mona.wait_for("session_summary", sessionId=offer.session_id)
    assert _kinds(mona) == ["ack watch", *["session_summary"] * 4]


async def test_what_another_coordinator_does_is_shown_within_about_a_second(start: StartLive) -> None:
    live = await start()
    offer = await live.offer("ada", "bo")
    mona = await live.moderator()
    await mona.watch(offer.session_id)
    await mona.call("watch", {"all": True})
    async with live.another() as other:
        reply = await (await other.connect("ada")).join(offer.session_id)
        joined = await mona.wait_for("participant_joined", userId="ada")
        assert joined["seq"] == reply["seq"]
        await mona.wait_for("session_summary", sessionId=offer.session_id, presentCount=1)


async def test_a_connection_that_is_gone_watches_nothing(live: Live) -> None:
    offer = await live.offer("ada")
    mona = await live.moderator()
    await mona.watch(offer.session_id)
    await mona.call("watch", {"all": True})
    room = live.coordinator.rooms.peek(SessionId(offer.session_id))
    assert room is not None
    assert len(room.watchers) == 1
    await mona.lose_connection()
    await eventually(lambda: not room.watchers, "the watch's end")
    await eventually(lambda: live.coordinator.rooms.peek(SessionId(offer.session_id)) is None, "the room dropped")


async def test_the_number_of_watched_sessions_is_limited(start: StartLive) -> None:
    live = await start({"limits.watched_sessions": 2})
    offers = [await live.offer("ada") for _ in range(3)]
    mona = await live.moderator()
    replies = [await mona.watch(offer.session_id) for offer in offers]
    assert [_code(reply) for reply in replies] == ["ok", "ok", "invalid_request"]
    assert replies[2]["error"]["field"] == "sessionId"


async def test_the_replay_limit_is_that_of_joins(start: StartLive) -> None:
    live = await start({"limits.replay_events": 2})
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    await ada.call("set_media", {"micEnabled": True})
    mona = await live.moderator()
    assert "events" in await mona.watch(offer.session_id, after=1)
    assert "snapshot" in await mona.watch(offer.session_id, after=0)


async def test_who_moderates_and_takes_part_is_two(live: Live) -> None:
    """The same user id, in both namespaces: being replaced or removed as a participant ends no watch."""
    offer = await live.offer("ada", "bo")
    watcher = await live.moderator("ada")
    await watcher.watch(offer.session_id)
    older = await live.join("ada", offer.session_id)
    newer = await live.join("ada", offer.session_id)
    await older.wait_gone()
    await watcher.call("remove", {"sessionId": offer.session_id, "userId": "ada"})
    await newer.wait_gone()
    await live.join("bo", offer.session_id)
    await watcher.wait_for("participant_joined", userId="bo")
    assert watcher.gone is None


async def test_a_moderator_who_does_not_read_is_disconnected_and_others_are_served(start: StartLive) -> None:
    live = await start({**UNLIMITED, "limits.send_buffer_bytes": 100_000, "limits.replay_events": 100_000})
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    for number in range(400):
        await ada.call("set_media", {"micEnabled": number % 2 == 0})
    other = await live.moderator()
    await other.watch(offer.session_id)
    room = live.coordinator.rooms.peek(SessionId(offer.session_id))
    assert room is not None
    slow = BareSocket()
    try:
        await slow.connect(live.address, live.token("slow", Role.MODERATOR), MODERATION)
        watch = json.dumps(["watch", {"sessionId": offer.session_id, "after": 0}])
        questions = b"".join(frame(TEXT, f"42{MODERATION},{number}{watch}".encode()) for number in range(100))
        asking = asyncio.create_task(_send_on(slow, questions))
        await eventually(lambda: len(room.watchers) == 2, "the slow one's watch")
        await eventually(lambda: len(room.watchers) == 1, "its end")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    finally:
        slow.close()
    await ada.call("set_media", {"cameraEnabled": True})
    await other.wait_for("camera_changed")


async def _send_on(socket: BareSocket, data: bytes) -> None:
    for _ in range(100):
        await socket.send_bytes(data)
