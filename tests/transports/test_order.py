"""One order for everyone: what each subscriber gets is the journal, byte for byte, whoever joins when."""

import asyncio
import json

from tests.transports.clients import NAMESPACE, RawClient, RoomClient, event_of
from tests.transports.conftest import StartLive
from tests.transports.harness import UNLIMITED, Live, Offer

_ROOMS = 3
_ROUND = 10
_TOGGLES = 60
_USERS = [f"user-{number}" for number in range(8)]
_COMERS = ["comer-0", "comer-1"]


def _frame(event: bytes) -> str:
    """Return the frame in which an event of the journal must arrive."""
    kind = json.loads(event)["type"]
    return f'42{NAMESPACE},["{kind}",{event.decode()}]'


async def _join(live: Live, user: str, session_id: str, after: int | None = None) -> tuple[RawClient, int]:
    """Join; return the client and the id of the ack."""
    client = await live.raw(user)
    message = {"sessionId": session_id} | ({} if after is None else {"after": after})
    ack_id = await client.send_event(json.dumps(["join", message]))
    assert (await client.wait_ack(ack_id))["ok"]
    return client, ack_id


async def _toggle_until(client: RawClient, enough: asyncio.Event) -> None:
    """Switch the camera back and forth as fast as the socket takes it, round by round, until told."""
    while not enough.is_set():
        ack_ids = [
            await client.send_event(f'["set_media",{{"cameraEnabled":{camera}}}]')
            for camera in ("true", "false") * _ROUND
        ]
        replies = [await client.wait_ack(ack_id) for ack_id in ack_ids]
        assert all(reply["ok"] for reply in replies)
        seqs = [reply["seq"] for reply in replies]
        assert seqs == sorted(set(seqs))


async def _come_and_go(live: Live, user: str, offer: Offer) -> tuple[RawClient, int]:
    """Join in the middle of it, get lost, come back for what was missed; return the last connection and join."""
    client, ack_id = await _join(live, user, offer.session_id)
    for _ in range(4):
        await _some_more(client)
        await client.close()
        seen = event_of(client.event_frames()[-1])["seq"]
        client, ack_id = await _join(live, user, offer.session_id, after=seen)
        reply = await client.wait_ack(ack_id)
        assert reply["resumed"]
        assert [event["seq"] for event in reply["events"]] == list(range(seen + 1, reply["seq"] + 1))
    return client, ack_id


async def _some_more(client: RawClient) -> None:
    """Wait until a client has got some more events."""
    await client.wait_frame(f"42{NAMESPACE},", since=len(client.frames) + 20)


def _check_subscriber(client: RawClient, ack_id: int, journal: list[bytes]) -> None:
    """Check that a join's ack is followed by every later event, each once, in order, as it is in the journal."""
    prefix = f"43{NAMESPACE},{ack_id}["
    position = next(index for index, frame in enumerate(client.frames) if frame.startswith(prefix))
    before = [frame for frame in client.frames[:position] if frame.startswith("42")]
    after = [frame for frame in client.frames[position:] if frame.startswith("42")]
    joined_at = json.loads(client.frames[position][len(prefix) - 1 :])[0]["seq"]
    assert before == []
    assert after == [_frame(event) for event in journal[joined_at:]]


async def _one_room(live: Live, number: int) -> None:
    users = [f"{number}-{user}" for user in _USERS]
    comers = [f"{number}-{user}" for user in _COMERS]
    offer = await live.offer(*users, *comers, max_participants=len(users) + len(comers))
    joined = [await _join(live, user, offer.session_id) for user in users]
    enough = asyncio.Event()
    load = asyncio.gather(*(_toggle_until(client, enough) for client, _ in joined))
    try:
        joined += await asyncio.gather(*(_come_and_go(live, user, offer) for user in comers))
    finally:
        enough.set()
        await load

    journal = await live.journal(offer.session_id)
    assert [json.loads(event)["seq"] for event in journal] == list(range(1, len(journal) + 1))
    for client, ack_id in joined:
        await client.wait_frame(_frame(journal[-1]))
        _check_subscriber(client, ack_id, journal)


async def test_every_subscriber_gets_the_journal_byte_for_byte(start: StartLive) -> None:
    live = await start({**UNLIMITED, "limits.replay_events": 100_000})
    await asyncio.gather(*(_one_room(live, number) for number in range(_ROOMS)))


async def test_the_ordinary_client_sees_the_same_order(start: StartLive) -> None:
    live = await start(UNLIMITED)
    offer = await live.offer(*_USERS)
    clients = [await live.join(user, offer.session_id) for user in _USERS]

    async def toggle(client: RoomClient) -> None:
        answers = [client.start("set_media", {"micEnabled": number % 2 == 0}) for number in range(_TOGGLES)]
        assert all(reply["ok"] for reply in await asyncio.gather(*answers))

    await asyncio.gather(*(toggle(client) for client in clients))
    journal = [json.loads(event) for event in await live.journal(offer.session_id)]
    assert len(journal) == 1 + len(_USERS) + 1 + len(_USERS) * _TOGGLES
    for client in clients:
        await client.wait_seq(len(journal))
        joined_at = client.arrivals[0].payload["seq"]
        assert client.arrivals[0].kind == "ack join"
        assert client.events() == journal[joined_at:]


async def test_what_is_acked_has_been_seen_by_the_one_who_asked(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    reply = await ada.call("set_media", {"cameraEnabled": True})
    assert [arrival.kind for arrival in ada.arrivals] == ["ack join", "camera_changed", "ack set_media"]
    assert ada.arrivals[1].payload["seq"] == reply["seq"]


async def test_a_client_that_knows_everything_gets_nothing(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    reply = await ada.call("sync", {"after": 2})
    assert reply.keys() == {"ok", "sessionId", "seq", "serverTime", "resumed", "events"}
    assert (reply["seq"], reply["resumed"], reply["events"]) == (2, True, [])


async def test_whoever_claims_to_know_the_future_gets_a_snapshot(live: Live) -> None:
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    reply = await ada.call("sync", {"after": 3})
    assert (reply["seq"], reply["resumed"]) == (2, False)
    assert reply["snapshot"]["session"]["seq"] == 2


async def test_too_many_missed_events_become_a_snapshot(start: StartLive) -> None:
    live = await start({"limits.replay_events": 4})
    offer = await live.offer("ada", "bo")
    ada = await live.join("ada", offer.session_id)
    for number in range(4):
        await ada.call("set_media", {"micEnabled": number % 2 == 0})
    assert [event["seq"] for event in (await ada.call("sync", {"after": 2}))["events"]] == [3, 4, 5, 6]
    assert "events" not in await ada.call("sync", {"after": 1})
    reply = await (await live.connect("bo")).join(offer.session_id, after=1)
    assert (reply["resumed"], reply["snapshot"]["session"]["seq"]) == (False, reply["seq"])
