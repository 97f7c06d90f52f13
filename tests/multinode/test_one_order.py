"""Sessions whose participants are connected to different coordinators: one order for all, and nothing is old."""

import asyncio
from typing import Any

import pytest

from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from tests.multinode.checks import journal_of
from tests.multinode.cluster import Cluster
from tests.multinode.load import load
from tests.multinode.measures import quantile, told
from tests.transports.clients import MODERATION, RoomClient

pytestmark = pytest.mark.asyncio(loop_scope="package")

ACKS = 15
"""Of each user, while the times are taken."""
LOOKS = 12
RACES = 4
PATIENCE_SECONDS = 10
WITHIN_SECONDS = 2.0


async def test_all_nodes_tell_one_order(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    before = [await cluster.metric(node, "commits_heard_total") for node in cluster.nodes]
    async with load(cluster, [[first, second], [second, third], [first, second, third]]) as running:
        await running.acks(ACKS)
        lag = await running.everything_everywhere()
        latencies = running.latencies()
        heard = [await cluster.metric(node, "commits_heard_total") for node in cluster.nodes]
    print(told("from an ack to another node", latencies), f"all caught up after {lag:.2f} s")  # noqa: T201
    assert len(latencies) > ACKS
    assert quantile(latencies, 0.99) < WITHIN_SECONDS
    # Not only found out by looking, and by every node.
    assert all(after > earlier for earlier, after in zip(before, heard, strict=True)), (before, heard)


async def test_a_newer_connection_on_another_node_takes_over(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    async with load(cluster, [[first, second, third]], seats=3, guests=1) as running:
        (room,) = running.rooms
        (user,) = room.guests
        session_id = room.session_id
        older = await cluster.joined(first, user, session_id)
        assert (await older.call("set_media", {"cameraEnabled": True}))["ok"]
        newer = await cluster.joined(second, user, session_id)
        assert await older.wait_for("replaced") == {"sessionId": session_id}
        await older.wait_gone()
        # The late "gone" of the older connection must not evict the newer one.
        reply = await newer.call("set_media", {"micEnabled": True})
        assert reply["ok"], reply
        snapshot = await cluster.ask(third, "GET", f"/sessions/{session_id}/participants")
        (told_of_user,) = [item for item in snapshot["items"] if item["userId"] == user]
        assert (told_of_user["status"], told_of_user["cameraEnabled"], told_of_user["micEnabled"]) == (
            "connected",
            True,
            True,
        )
        events = await journal_of(cluster.database, session_id)
        kinds = [event["type"] for event in events if event["data"].get("userId") == user]
        assert kinds == ["participant_joined", "camera_changed", "participant_reconnected", "mic_changed"]


async def test_of_connections_that_join_at_once_on_all_nodes_one_is_left(cluster: Cluster) -> None:
    async with load(cluster, [cluster.nodes], seats=3, guests=1) as running:
        (room,) = running.rooms
        (user,) = room.guests
        session_id = room.session_id
        for _ in range(RACES):
            clients = [await cluster.client(node, user) for node in cluster.nodes]
            await asyncio.gather(*(client.join(session_id) for client in clients))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(left := [client for client in clients if client.gone is None]) > 1:
                    await SystemClock().sleep(0.02)
            assert len(left) == 1
            for client in clients:
                if client is not left[0]:
                    await client.wait_for("replaced")
            assert (await left[0].call("set_media", {"micEnabled": True}))["ok"]
            assert (await left[0].call("leave", {}))["ok"]
            await left[0].close()


async def test_what_a_moderator_does_on_one_node_happens_on_all(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    async with load(cluster, [[first, second]], seats=2, guests=3) as running:
        (room,) = running.rooms
        session_id = room.session_id
        loud, rude, quiet = room.guests
        muted = await cluster.joined(first, loud, session_id)
        removed = await cluster.joined(first, rude, session_id)
        witness = await cluster.joined(second, quiet, session_id)
        moderator = await cluster.client(third, "mona", MODERATION)
        # Without watching: nobody on that node has had to do with the session before.
        assert (await muted.call("set_media", {"micEnabled": True}))["ok"]
        assert (await moderator.call("mute", {"sessionId": session_id, "userId": loud}))["ok"]
        await muted.wait_for("mic_changed", userId=loud, micEnabled=False)
        await witness.wait_for("mic_changed", userId=loud, micEnabled=False)
        assert (await moderator.call("remove", {"sessionId": session_id, "userId": rude, "reason": "rude"}))["ok"]
        await removed.wait_gone()
        await witness.wait_for("participant_left", userId=rude, reason="removed")
        again = await (await cluster.client(second, rude)).join(session_id)
        assert again["error"]["code"] == "removed"


async def test_a_session_that_is_ended_on_one_node_is_over_on_all(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    session_id = await first.offer(["ada", "bo"])
    ada = await cluster.joined(first, "ada", session_id)
    bo = await cluster.joined(second, "bo", session_id)
    await ada.wait_for("session_started")
    moderator = await cluster.client(third, "mona", MODERATION)
    assert (await moderator.call("end_session", {"sessionId": session_id}))["ok"]
    for client in (ada, bo):
        assert (await client.wait_for("session_ended"))["data"] == {"reason": "ended_by_moderator"}
        refused = await client.call("set_media", {"cameraEnabled": True})
        assert refused["error"]["code"] == "session_ended"
    kinds = [event["type"] for event in await journal_of(cluster.database, session_id)]
    assert [kinds.count(kind) for kind in ("session_opened", "session_started", "session_ended")] == [1, 1, 1]


async def test_a_moderator_is_told_of_sessions_on_other_nodes(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    async with load(cluster, [[first, second]], seats=2, guests=1) as running:
        (room,) = running.rooms
        watching = await cluster.client(third, "mona", MODERATION)
        overseeing = await cluster.client(third, "mike", MODERATION)
        assert (await watching.watch(room.session_id))["ok"]
        assert (await overseeing.call("watch", {"all": True}))["ok"]
        guest = await cluster.joined(first, room.guests[0], room.session_id)
        reply = await guest.call("set_media", {"cameraEnabled": True})
        told_of = await watching.wait_for("camera_changed", userId=guest.user)
        assert told_of["seq"] == reply["seq"]
        await _summary(overseeing, room.session_id, reply["seq"])


async def _summary(moderator: RoomClient, session_id: str, seq: int) -> None:
    def is_there() -> bool:
        summaries = [item for kind, item in moderator.arrivals if kind == "session_summary"]
        return any(item["sessionId"] == session_id and item["seq"] >= seq for item in summaries)

    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_there():
            await SystemClock().sleep(0.02)


async def test_signals_reach_across_nodes(cluster: Cluster) -> None:
    async with load(cluster, [cluster.nodes], seats=2, guests=3) as running:
        (room,) = running.rooms
        clients = [
            await cluster.joined(node, user, room.session_id)
            for node, user in zip(cluster.nodes, room.guests, strict=True)
        ]
        for number, client in enumerate(clients):
            for later in room.guests[number + 1 :]:
                await client.wait_for("participant_joined", userId=later)
        for sender in clients:
            for recipient in clients:
                if recipient is not sender:
                    data: dict[str, Any] = {"sdp": f"from {sender.user}"}
                    reply = await sender.call("signal", {"to": recipient.user, "data": data})
                    assert reply == {"ok": True}
                    await recipient.wait_for("signal", **{"from": sender.user, "data": data})


async def test_nothing_that_is_read_is_older_than_an_ack_on_another_node(cluster: Cluster) -> None:
    async with load(cluster, [cluster.nodes], seats=3, guests=1) as running:
        (room,) = running.rooms
        session_id, (user,) = room.session_id, room.guests
        for node in cluster.nodes:
            guest = await cluster.joined(node, user, session_id)
            for number in range(LOOKS):
                reply = await guest.call("set_media", {"cameraEnabled": number % 2 == 0})
                other = cluster.chance.choice(cluster.others(node))
                asked = ("", "/participants", "list", "events")[number % 4]
                if asked == "list":
                    answer = await cluster.ask(other, "GET", "/sessions?status=active")
                    (found,) = [item for item in answer["items"] if item["id"] == session_id]
                    assert found["seq"] >= reply["seq"]
                elif asked == "events":
                    path = f"/sessions/{session_id}/events?after={reply['seq'] - 1}"
                    answer = await cluster.ask(other, "GET", path, "mona", Role.MODERATOR)
                    assert answer["items"][0]["seq"] == reply["seq"]
                elif asked:
                    answer = await cluster.ask(other, "GET", f"/sessions/{session_id}/participants")
                    (found,) = [item for item in answer["items"] if item["userId"] == user]
                    assert found["cameraEnabled"] is (number % 2 == 0)
                else:
                    assert (await cluster.ask(other, "GET", f"/sessions/{session_id}"))["seq"] >= reply["seq"]
