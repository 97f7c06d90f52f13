"""Recorders over real sockets: the durable feed, acks, and what was recorded (SPEC section 3, `/recording`)."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from bson import ObjectId
from structlog.testing import capture_logs

from coordinator.domain.events import Role
from coordinator.domain.feed import FEED_EVENTS
from coordinator.domain.ledger import wire_time
from coordinator.services.feed import WINDOW
from tests.transports.clients import RECORDING, RawClient, RoomClient
from tests.transports.conftest import StartLive
from tests.transports.harness import UNLIMITED, Live, Offer, eventually, running_live
from tests.transports.sockets import TEXT, BareSocket, frame

_URL = "https://eu.r2.cloudflarestorage.com/ada.webm"
_LONGEST_URL = 2048


def _kinds(client: RoomClient) -> list[str]:
    return [arrival.kind for arrival in client.arrivals]


def _records(client: RoomClient) -> list[Any]:
    return [payload for kind, payload in client.arrivals if kind == "record"]


def _error(reply: Any) -> tuple[str, str | None]:
    assert reply.keys() == {"ok", "error"}
    assert reply["ok"] is False
    return reply["error"]["code"], reply["error"].get("field")


async def _subscribe(live: Live, consumer: str = "main", **fields: Any) -> tuple[RoomClient, Any]:
    client = await live.recorder()
    reply = await client.call("subscribe", {"consumer": consumer, **fields})
    assert reply["ok"], reply
    return client, reply


async def _recorded_session(live: Live) -> Offer:
    """A session in which ada may be recorded."""
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    await live.join("bo", offer.session_id)
    await ada.wait_for("session_started")
    await ada.call("set_recording_consent", {"granted": True})
    mona = await live.moderator()
    assert (await mona.call("set_recording", {"sessionId": offer.session_id, "enabled": True}))["ok"]
    return offer


async def _feed_of(live: Live, session_id: str) -> list[Any]:
    """What of a session's journal belongs into the feed."""
    return [event for event in map(json.loads, await live.journal(session_id)) if event["type"] in FEED_EVENTS]


# Subscribing.


async def test_the_answer_comes_before_the_first_record(live: Live) -> None:
    offer = await _recorded_session(live)
    expected = await _feed_of(live, offer.session_id)
    for number in range(5):
        client, reply = await _subscribe(live, f"consumer-{number}")
        assert reply.keys() == {"ok", "consumer", "cursor", "from", "window"}
        assert (reply["consumer"], reply["from"], reply["window"]) == (f"consumer-{number}", "new", 256)
        await client.wait_for("record", event=expected[-1])
        assert _kinds(client) == ["ack subscribe", *["record"] * len(expected)]
        assert [record["event"] for record in _records(client)] == expected


async def test_a_record_carries_the_very_bytes_of_the_event(live: Live) -> None:
    offer = await _recorded_session(live)
    client = await live.raw()
    await client.connect({"token": live.token("rec", Role.RECORDER)}, RECORDING)
    assert (await client.call("subscribe", {"consumer": "main"}, RECORDING))["ok"]
    await client.wait_frame(f'42{RECORDING},["record",{{"cursor":"', since=0)
    journal = await live.journal(offer.session_id)
    await eventually(lambda: len(client.event_frames()) == len(journal) - 1, "all records but session_opened")
    for text in client.event_frames():
        assert any(text.endswith(f',"event":{event.decode()}}}]') for event in journal)


async def test_it_follows_what_happens_in_all_sessions(live: Live) -> None:
    client, _ = await _subscribe(live)
    offers = [await live.offer("ada", "bo") for _ in range(2)]
    for offer in offers:
        ada = await live.join("ada", offer.session_id)
        await ada.call("set_media", {"cameraEnabled": True})
        await ada.call("leave", {})
    for offer in offers:
        await eventually(partial(_find, client, offer, "participant_left"), "the departure")
        told = [record["event"] for record in _records(client) if record["event"]["sessionId"] == offer.session_id]
        assert told == await _feed_of(live, offer.session_id)
        assert "camera_changed" not in {event["type"] for event in told}


def _find(client: RoomClient, offer: Offer, kind: str) -> Any:
    for record in _records(client):
        if (record["event"]["type"], record["event"]["sessionId"]) == (kind, offer.session_id):
            return record["event"]
    return None


async def test_what_was_acked_does_not_come_again_and_the_rest_does(live: Live) -> None:
    offer = await _recorded_session(live)
    expected = await _feed_of(live, offer.session_id)
    client, _ = await _subscribe(live)
    await client.wait_for("record", event=expected[-1])
    cursor = _records(client)[2]["cursor"]
    assert await client.call("ack", {"cursor": cursor}) == {"ok": True, "cursor": cursor}
    await client.lose_connection()
    again, reply = await _subscribe(live)
    assert (reply["from"], reply["cursor"]) == ("resumed", cursor)
    await again.wait_for("record", event=expected[-1])
    assert [record["event"] for record in _records(again)] == expected[3:]
    other, reply = await _subscribe(live, "other", after=cursor)
    assert reply["from"] == "cursor"
    _, reply = await _subscribe(live, "third", after="beginning")
    assert reply["from"] == "beginning"
    await other.wait_for("record", event=expected[-1])


async def test_the_newest_connection_wins(live: Live) -> None:
    older = await live.raw()
    await older.connect({"token": live.token("rec", Role.RECORDER)}, RECORDING)
    assert (await older.call("subscribe", {"consumer": "main"}, RECORDING))["ok"]
    newer, _ = await _subscribe(live)
    await older.wait_frame(f'42{RECORDING},["replaced",{{"consumer":"main"}}]')
    await older.wait_frame(f"41{RECORDING},")
    await older.wait_closed()
    offer = await _recorded_session(live)
    await newer.wait_for("record", event=(await _feed_of(live, offer.session_id))[-1])


async def test_a_connection_that_is_gone_is_forgotten(live: Live) -> None:
    client, _ = await _subscribe(live)
    (lag,) = await live.coordinator.feed.lags()
    assert lag.is_connected
    await client.lose_connection()
    await eventually(lambda: _is_disconnected(live), "the consumer's departure")


async def test_only_who_subscribed_acks(live: Live) -> None:
    client, _ = await _subscribe(live)
    offer = await _recorded_session(live)
    await client.wait_for("record", event=(await _feed_of(live, offer.session_id))[-1])
    cursor = _records(client)[-1]["cursor"]
    stranger = await live.recorder("stranger")
    assert _error(await stranger.call("ack", {"cursor": cursor})) == ("invalid_request", None)
    assert (await client.call("ack", {"cursor": cursor}))["cursor"] == cursor


# The pace of acks.


async def test_acks_have_a_pace_of_their_own(start: StartLive) -> None:
    live = await start({"limits.command_burst": 3, "limits.commands_per_second": 0.001})
    offer = await _quick_session(live)
    expected = await _feed_of(live, offer.session_id)
    client, _ = await _subscribe(live)
    await client.wait_for("record", event=expected[-1])
    cursor = _records(client)[-1]["cursor"]
    replies = await asyncio.gather(*(client.start("ack", {"cursor": cursor}) for _ in range(500)))
    assert {reply["ok"] for reply in replies} == {True}
    assert _error(await client.call("nothing", {})) == ("invalid_request", None)
    assert _error(await client.call("subscribe", {})) == ("invalid_request", "consumer")
    assert _error(await client.call("subscribe", {"consumer": "main"})) == ("rate_limited", None)


async def _quick_session(live: Live) -> Offer:
    offer = await live.offer("ada")
    await live.join("ada", offer.session_id)
    return offer


async def test_acks_are_limited_too(start: StartLive) -> None:
    live = await start({"limits.ack_burst": 3, "limits.acks_per_second": 0.001})
    client, reply = await _subscribe(live)
    replies = [await client.call("ack", {"cursor": reply["cursor"]}) for _ in range(5)]
    assert [answer["ok"] for answer in replies] == [True, True, True, False, False]
    assert _error(replies[-1]) == ("rate_limited", None)
    assert (await client.call("subscribe", {"consumer": "main"}))["ok"], "commands go on"


# The window, and clients that do not read.


async def _attach_many(live: Live, offer: Offer, count: int) -> None:
    """Attach that many recordings, each with the longest URL."""
    recorder = await live.recorder("attacher")
    moment = wire_time(live.coordinator.ports.clock.now())
    for number in range(count):
        url = f"{_URL}?{number}&".ljust(_LONGEST_URL, "x")
        message = {"sessionId": offer.session_id, "userId": "ada", "url": url, "startTime": moment}
        assert (await recorder.call("attach_recording", message))["ok"]


async def test_a_full_window_of_the_longest_records_fits_into_the_buffer(start: StartLive) -> None:
    """All of it is sent at once, to a client that reads: it must not be taken for one that does not."""
    live = await start(UNLIMITED)
    offer = await _recorded_session(live)
    await _attach_many(live, offer, WINDOW + 20)
    client = await live.raw()
    await client.connect({"token": live.token("rec", Role.RECORDER)}, RECORDING)
    assert (await client.call("subscribe", {"consumer": "main"}, RECORDING))["ok"]
    await eventually(lambda: len(client.event_frames()) == WINDOW, "a full window")
    longest = max(map(len, client.event_frames()))
    assert longest > _LONGEST_URL
    assert longest * WINDOW < live.coordinator.settings.limits.send_buffer_bytes * 0.75
    expected = await _feed_of(live, offer.session_id)
    cursor = json.loads(client.event_frames()[-1].partition(",")[2])[1]["cursor"]
    assert (await client.call("ack", {"cursor": cursor}, RECORDING))["ok"]
    await eventually(lambda: len(client.event_frames()) == len(expected), "the rest")
    assert _events(client) == expected


def _events(client: RawClient) -> list[Any]:
    return [msgspec.json.decode(text.partition(",")[2])[1]["event"] for text in client.event_frames()]


async def test_a_recorder_that_does_not_read_is_waited_for(live: Live) -> None:
    """What it does not ack is no more than its window, and that it may have."""
    offer = await _quick_session(live)
    slow = BareSocket()
    try:
        await slow.connect(live.address, live.token("rec", Role.RECORDER), RECORDING)
        await slow.send_text(f'42{RECORDING},1["subscribe",{{"consumer":"main"}}]')
        assert (await slow.read_text()).startswith(f'43{RECORDING},1[{{"ok":true')
        ada = live.clients[0]
        for number in range(15):
            await ada.call("set_recording_consent", {"granted": number % 2 == 0})
        expected = await _feed_of(live, offer.session_id)
        frames = [await slow.read_text() for _ in expected]
        assert [json.loads(text.partition(",")[2])[1]["event"] for text in frames] == expected
    finally:
        slow.close()


async def test_a_recorder_that_asks_and_does_not_read_is_disconnected_and_misses_nothing(start: StartLive) -> None:
    live = await start({**UNLIMITED, "limits.send_buffer_bytes": 100_000})
    offer = await _quick_session(live)
    expected = await _feed_of(live, offer.session_id)
    slow = BareSocket()
    try:
        await slow.connect(live.address, live.token("rec", Role.RECORDER), RECORDING)
        await slow.send_text(f'42{RECORDING},1["subscribe",{{"consumer":"main"}}]')
        assert (await slow.read_text()).startswith(f'43{RECORDING},1[{{"ok":true')
        acks = b"".join(
            frame(TEXT, f'42{RECORDING},{number}["ack",{{"cursor":"nonsense"}}]'.encode()) for number in range(500)
        )
        asking = asyncio.create_task(_send_on(slow, acks))
        await eventually(lambda: _is_disconnected(live), "the slow one's end")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    finally:
        slow.close()
    again, reply = await _subscribe(live)
    assert reply["from"] == "resumed"
    await again.wait_for("record", event=expected[-1])
    assert [record["event"] for record in _records(again)] == expected


async def _send_on(socket: BareSocket, data: bytes) -> None:
    for _ in range(100):
        await socket.send_bytes(data)


async def _is_disconnected(live: Live) -> bool:
    (lag,) = await live.coordinator.feed.lags()
    return not lag.is_connected


async def test_a_commit_of_a_newer_version_keeps_nothing_else_from_being_heard() -> None:
    with capture_logs() as logs:
        async with running_live() as live:
            client, _ = await _subscribe(live)
            offer, other = await live.offer("ada"), await live.offer("bo")
            await live.join("ada", offer.session_id)
            await client.wait_record(offer.session_id, 2)
            last, now = live.commits(offer.session_id)[-1], datetime.now(UTC)
            actor = {"userId": "mona", "role": "moderator"}
            for seq, kind in ((3, "hand_raised"), (4, "recording_enabled")):
                event = {"seq": seq, "type": kind, "at": now, "actor": actor, "data": {}}
                live.database.events.insert_one({**last, "_id": ObjectId(), "seq": seq, "at": now, "events": [event]})
            await live.join("bo", other.session_id)
            for reader in (client, (await _subscribe(live, "new", after="beginning"))[0]):
                for session_id, seqs in ((offer.session_id, [2, 4]), (other.session_id, [2])):
                    await reader.wait_record(session_id, seqs[-1])
                    found = [record["event"] for record in _records(reader)]
                    assert [event["seq"] for event in found if event["sessionId"] == session_id] == seqs
    assert [entry["consumer"] for entry in logs if entry["event"] == "session_unreadable"] == ["main", "new"]


# Attaching.


async def test_what_was_recorded_is_attached_once(live: Live) -> None:
    offer = await _recorded_session(live)
    client, _ = await _subscribe(live)
    moment = wire_time(live.coordinator.ports.clock.now())
    message = {"sessionId": offer.session_id, "userId": "ada", "url": _URL, "startTime": moment}
    reply = await client.call("attach_recording", message)
    journal = [json.loads(event) for event in await live.journal(offer.session_id)]
    assert reply == {"ok": True, "seq": len(journal)}
    assert journal[-1]["data"] == {"userId": "ada", "url": _URL, "startTime": moment}
    assert journal[-1]["actor"] == {"userId": "rec", "role": "recorder"}
    assert await client.call("attach_recording", message) == reply
    assert len(await live.journal(offer.session_id)) == len(journal)
    await client.wait_for("record", event=journal[-1])
    answer = await live.get(f"/api/v1/sessions/{offer.session_id}/recordings")
    assert answer.json["items"] == [{"userId": "ada", "url": _URL, "startTime": moment}]


async def test_an_offset_is_understood_and_digits_are_cut(live: Live) -> None:
    offer = await _recorded_session(live)
    client = await live.recorder()
    now = live.coordinator.ports.clock.now()
    shifted = (now + timedelta(hours=2)).replace(tzinfo=None).isoformat(timespec="milliseconds") + "999+02:00"
    message = {"sessionId": offer.session_id, "userId": "ada", "url": _URL, "startTime": shifted}
    assert (await client.call("attach_recording", message))["ok"]
    assert json.loads((await live.journal(offer.session_id))[-1])["data"]["startTime"] == wire_time(now)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"url": "https://evil.example/a"}, "recording_not_permitted", "url"),
        ({"url": "https://r2.cloudflarestorage.com@evil.example/a"}, "recording_not_permitted", "url"),
        ({"url": "http://r2.cloudflarestorage.com/a"}, "invalid_request", "url"),
        ({"url": "https://r2.cloudflarestorage.com/" + "x" * 2048}, "invalid_request", "url"),
        ({"userId": "bo"}, "recording_not_permitted", "startTime"),
        ({"userId": "nobody"}, "recording_not_permitted", "userId"),
        ({"startTime": "2001-01-01T00:00:00Z"}, "recording_not_permitted", "startTime"),
        ({"startTime": "2101-01-01T00:00:00Z"}, "recording_not_permitted", "startTime"),
        ({"startTime": "2040-01-01T00:00:00"}, "invalid_request", "startTime"),
        ({"sessionId": "0123456789abcdef01234567"}, "not_found", None),
    ],
)
async def test_what_may_not_be_attached(live: Live, fields: dict[str, str], code: str, field: str | None) -> None:
    offer = await _recorded_session(live)
    before = await live.journal(offer.session_id)
    client = await live.recorder()
    moment = wire_time(live.coordinator.ports.clock.now())
    message = {"sessionId": offer.session_id, "userId": "ada", "url": _URL, "startTime": moment}
    assert _error(await client.call("attach_recording", message | fields)) == (code, field)
    over_http = {name: value for name, value in (message | fields).items() if name != "sessionId"}
    path = f"/api/v1/sessions/{(message | fields)['sessionId']}/recordings"
    answer = await live.request("POST", path, live.token("rec", Role.RECORDER), body=over_http)
    assert (answer.json["code"], answer.json.get("field")) == (code, field), "HTTP says the same"
    assert await live.journal(offer.session_id) == before
