"""The whole life of a session, seen by the official Python client and by whoever looks into the database."""

from datetime import timedelta
from typing import Any

from tests.transports.clients import RoomClient
from tests.transports.conftest import StartLive
from tests.transports.expected import check_everything
from tests.transports.harness import Live, eventually, utc

_SYSTEM = {"userId": "system", "role": "system"}


def _check_event(event: Any, session_id: str, seq: int, actor: str, **data: Any) -> None:
    """Check every field of an event; `...` stands for any value."""
    assert event.keys() == {"sessionId", "seq", "at", "actor", "data", "type"}
    assert (event["sessionId"], event["seq"]) == (session_id, seq)
    utc(event["at"])
    assert event["actor"] == (_SYSTEM if actor == "system" else {"userId": actor, "role": "participant"})
    assert event["data"].keys() == data.keys()
    assert {name: value for name, value in event["data"].items() if data[name] is not ...} == {
        name: value for name, value in data.items() if value is not ...
    }


def _joined(user: str, consent: bool = False) -> dict[str, Any]:
    return {
        "userId": user,
        "connectionId": ...,
        "cameraEnabled": False,
        "micEnabled": False,
        "recordingConsent": consent,
    }


async def _log_so_far(live: Live, session_id: str) -> list[Any]:
    return list((await live.get(f"/api/v1/sessions/{session_id}/events", limit=1000)).json["items"])


def _check_snapshot(ack: Any, session_id: str, seq: int, status: str, users: list[str]) -> None:
    assert ack.keys() == {"ok", "sessionId", "seq", "serverTime", "resumed", "snapshot"}
    assert (ack["ok"], ack["sessionId"], ack["seq"], ack["resumed"]) == (True, session_id, seq, False)
    utc(ack["serverTime"])
    assert ack["snapshot"].keys() == {"session", "participants"}
    assert ack["snapshot"]["session"]["status"] == status
    assert ack["snapshot"]["session"]["seq"] == seq
    assert [participant["userId"] for participant in ack["snapshot"]["participants"]] == users


async def _in_the_lobby(live: Live, session_id: str, ada: RoomClient, bo: RoomClient) -> None:
    """Events 2 to 6: two join, switch, consent; everything is in the database as soon as it can be."""
    _check_snapshot(await ada.join(session_id), session_id, 2, "waiting", ["ada"])
    await check_everything(live, session_id, await _log_so_far(live, session_id))
    _check_snapshot(await bo.join(session_id), session_id, 3, "waiting", ["ada", "bo"])
    _check_event(await ada.wait_for("participant_joined"), session_id, 3, "bo", **_joined("bo"))

    assert await ada.call("set_media", {"cameraEnabled": True, "micEnabled": True}) == {"ok": True, "seq": 5}
    _check_event(await bo.wait_for("camera_changed"), session_id, 4, "ada", userId="ada", cameraEnabled=True)
    _check_event(await bo.wait_for("mic_changed"), session_id, 5, "ada", userId="ada", micEnabled=True)
    assert await ada.call("set_media", {"cameraEnabled": True}) == {"ok": True, "seq": 5}  # changes nothing

    consent = {"granted": True, "policyVersion": "2026-01"}
    assert await bo.call("set_recording_consent", consent) == {"ok": True, "seq": 6}
    granted = await ada.wait_for("recording_consent_granted")
    _check_event(granted, session_id, 6, "bo", userId="bo", policyVersion="2026-01")
    assert await bo.call("set_recording_consent", consent) == {"ok": True, "seq": 6}  # changes nothing
    session = await check_everything(live, session_id, await _log_so_far(live, session_id))
    assert session["nextDeadline"] == session["scheduledStart"]


async def _running(live: Live, session_id: str, ada: RoomClient, bo: RoomClient) -> None:
    """Events 7 to 12: it starts on time, one comes late, one is lost and comes back, one leaves."""
    started = await ada.wait_for("session_started")
    _check_event(started, session_id, 7, "system")
    session = await check_everything(live, session_id, await _log_so_far(live, session_id))
    assert timedelta(0) <= utc(started["at"]) - session["scheduledStart"] < timedelta(seconds=1)
    assert session["nextDeadline"] == session["scheduledEnd"]

    cy = await live.connect("cy")
    ack = await cy.join(session_id, after=0)
    assert ack.keys() == {"ok", "sessionId", "seq", "serverTime", "resumed", "events"}
    assert (ack["seq"], ack["resumed"]) == (8, True)
    assert ack["events"] == await _log_so_far(live, session_id)
    _check_event(await bo.wait_for("participant_joined", userId="cy"), session_id, 8, "cy", **_joined("cy"))

    await bo.lose_connection()
    lost = await cy.wait_for("participant_disconnected")
    _check_event(lost, session_id, 9, "system", userId="bo", reason="connection_closed", reconnectBy=...)
    assert utc(lost["data"]["reconnectBy"]) - utc(lost["at"]) == timedelta(seconds=10)
    session = await check_everything(live, session_id, await _log_so_far(live, session_id))
    assert session["nextDeadline"] == utc(lost["data"]["reconnectBy"])

    bo_again = await live.connect("bo")
    ack = await bo_again.join(session_id, after=8)
    assert (ack["seq"], ack["resumed"]) == (10, True)
    assert ack["events"][0] == lost
    back = await cy.wait_for("participant_reconnected")
    _check_event(back, session_id, 10, "bo", userId="bo", connectionId=...)
    assert ack["events"][1] == back

    assert await ada.call("set_media", {"cameraEnabled": False}) == {"ok": True, "seq": 11}
    assert await cy.call("leave", {}) == {"ok": True, "seq": 12}
    assert await cy.call("leave", {}) == {"ok": True, "seq": 12}  # changes nothing
    left = await bo_again.wait_for("participant_left")
    _check_event(left, session_id, 12, "cy", userId="cy", reason="left")
    await check_everything(live, session_id, await _log_so_far(live, session_id))
    assert [event["seq"] for event in ada.events()] == list(range(3, 13))
    assert [event["seq"] for event in bo_again.events()] == [11, 12]
    assert [event["seq"] for event in cy.events()] in ([9, 10, 11], [9, 10, 11, 12])


async def test_a_whole_life(start: StartLive) -> None:
    live = await start({"session.reconnect_grace_seconds": 10, "session.empty_timeout_seconds": 0.4})
    slot = await live.offer_slot("ada", "bo", "cy", starts_in=6, max_participants=3)
    ada, bo = await live.connect("ada"), await live.connect("bo")
    session_id = await live.session_of(slot)  # the coordinator opens it by itself
    (opened,) = await _log_so_far(live, session_id)
    assert opened["data"] == {
        "timeSlotId": slot.id,
        "targetLanguageCode": "fr",
        "level": "B1",
        "scheduledStart": slot.start_time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "scheduledEnd": opened["data"]["scheduledEnd"],
        "noShowAt": opened["data"]["noShowAt"],
        "minParticipants": 2,
        "maxParticipants": 3,
        "emptyTimeoutSeconds": 0.4,
        "reconnectGraceSeconds": 10.0,
    }
    assert utc(opened["data"]["scheduledEnd"]) == slot.start_time + timedelta(minutes=15)
    assert utc(opened["data"]["noShowAt"]) == slot.start_time + timedelta(minutes=10)
    assert utc(opened["at"]) - slot.created_at < timedelta(seconds=2)

    await _in_the_lobby(live, session_id, ada, bo)
    await _running(live, session_id, ada, bo)

    assert await ada.call("leave", {}) == {"ok": True, "seq": 13}
    for connected in list(live.clients):
        await connected.close()  # bo's seat is held; that does not keep the session going
    await eventually(lambda: (live.session(session_id) or {}).get("endReason"), "the end")
    events = await _log_so_far(live, session_id)
    _check_event(events[12], session_id, 13, "ada", userId="ada", reason="left")
    _check_event(events[13], session_id, 14, "system", userId="bo", reason="connection_closed", reconnectBy=...)
    _check_event(events[14], session_id, 15, "system", reason="empty")
    _check_event(events[15], session_id, 16, "system", userId="bo", reason="session_ended")
    assert utc(events[14]["at"]) - utc(events[13]["at"]) >= timedelta(seconds=0.4)
    assert len(events) == 16
    await check_everything(live, session_id, events)

    late = await live.connect("cy")
    assert (await late.join(session_id))["error"]["code"] == "session_ended"
    await check_everything(live, session_id, events)


async def test_a_session_ends_when_its_time_is_over(start: StartLive) -> None:
    # Almost over when it is offered, and with so much patience that it may start even then.
    live = await start({"session.no_show_minutes": 20})
    offer = await live.offer("ada", "bo", starts_in=-15 * 60 + 1.5)
    ada = await live.join("ada", offer.session_id)
    bo = await live.join("bo", offer.session_id)
    assert (await ada.wait_for("session_started"))["seq"] == 4
    ended = await bo.wait_for("session_ended")
    _check_event(ended, offer.session_id, 5, "system", reason="completed")
    session = await live.stored_at(offer.session_id, 5)
    assert timedelta(0) <= utc(ended["at"]) - session["scheduledEnd"] < timedelta(seconds=1)
    for number, user in enumerate(("ada", "bo")):
        left = await ada.wait_for("participant_left", userId=user)
        _check_event(left, offer.session_id, 6 + number, "system", userId=user, reason="session_ended")
    assert [event["seq"] for event in ada.events()] == [3, 4, 5, 6, 7]
    await check_everything(live, offer.session_id, await _log_so_far(live, offer.session_id))
    assert ada.gone is None  # the connection may go on to the next session


async def test_the_last_minute_is_announced_and_stored_nowhere(start: StartLive) -> None:
    live = await start({"session.no_show_minutes": 20})
    offer = await live.offer("ada", "bo", starts_in=-14 * 60 + 1.2)
    ada = await live.join("ada", offer.session_id)
    bo = await live.join("bo", offer.session_id)
    for participant in (ada, bo):
        notice = await participant.wait_for("session_ending")
        assert notice == {"sessionId": offer.session_id, "secondsLeft": 60}
    assert [event["type"] for event in await _log_so_far(live, offer.session_id)][3:] == ["session_started"]


async def test_a_lobby_that_stays_too_small_is_closed(start: StartLive) -> None:
    live = await start({"session.no_show_minutes": 0.01})
    offer = await live.offer("ada", "bo", starts_in=0.4)
    ada = await live.join("ada", offer.session_id)
    ended = await ada.wait_for("session_ended")
    _check_event(ended, offer.session_id, 3, "system", reason="not_enough_participants")
    left = await ada.wait_for("participant_left")
    _check_event(left, offer.session_id, 4, "system", userId="ada", reason="session_ended")
    session = await check_everything(live, offer.session_id, await _log_so_far(live, offer.session_id))
    assert "startedAt" not in session
    assert utc(ended["at"]) - session["scheduledStart"] >= timedelta(seconds=0.6)
