"""The feed on several coordinators over one database: whichever the recorder is connected to."""

from typing import Any

from tests.transports.clients import RoomClient
from tests.transports.conftest import StartLive
from tests.transports.harness import Live


async def _subscribe(node: Live) -> tuple[RoomClient, dict[str, Any]]:
    client = await node.recorder()
    reply = await client.call("subscribe", {"consumer": "main"})
    assert reply["ok"], reply
    return client, reply


async def test_a_recorder_hears_on_one_coordinator_what_happens_on_another(start: StartLive) -> None:
    live = await start()
    async with live.another() as other:
        recorder, _ = await _subscribe(other)
        offer = await live.offer("ada", "bo")
        ada = await live.join("ada", offer.session_id)
        await live.join("bo", offer.session_id)
        mona = await live.moderator()
        await mona.call("set_recording", {"sessionId": offer.session_id, "enabled": True})
        granted = await ada.call("set_recording_consent", {"granted": True})
        permitted = await recorder.wait_record(offer.session_id, granted["seq"])
        assert permitted["type"] == "recording_permitted"
        # What it captured it attaches where it is connected.
        recording = {
            "userId": "ada",
            "url": "https://eu.r2.cloudflarestorage.com/ada.webm",
            "startTime": permitted["at"],
        }
        reply = await recorder.call("attach_recording", {"sessionId": offer.session_id, **recording})
        assert reply == {"ok": True, "seq": granted["seq"] + 1}
        assert (await recorder.wait_record(offer.session_id, reply["seq"]))["type"] == "recording_attached"


async def test_a_consumer_moves_to_another_coordinator_with_its_newest_connection(start: StartLive) -> None:
    live = await start()
    offer = await live.offer("ada")
    ada = await live.join("ada", offer.session_id)
    async with live.another() as other:
        older, _ = await _subscribe(live)
        await older.wait_record(offer.session_id, 2)
        first = older.events("record")[0]
        assert (await older.call("ack", {"cursor": first["cursor"]}))["ok"]
        newer, reply = await _subscribe(other)
        assert (reply["from"], reply["cursor"]) == ("resumed", first["cursor"])
        # The older coordinator looks each second whether its consumers are still its own.
        await older.wait_for("replaced", consumer="main")
        await older.wait_gone()
        await ada.call("leave", {})
        assert (await newer.wait_record(offer.session_id, 3))["type"] == "participant_left"
        assert [record["event"]["seq"] for record in newer.events("record")] == [3]
        back, reply = await _subscribe(live)  # and back again; nothing was acked there
        assert reply["from"] == "resumed"
        assert (await back.wait_record(offer.session_id, 3))["type"] == "participant_left"
