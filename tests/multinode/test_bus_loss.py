"""Redis dies, stays away or stands still under load: that costs latency and signals, and never an event."""

import asyncio
from typing import Any

import pytest

from coordinator.adapters.system import SystemClock
from tests.multinode.cluster import Cluster
from tests.multinode.load import EVERYWHERE_SECONDS, Load, load
from tests.multinode.measures import quantile, told
from tests.transports.clients import RoomClient

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROUNDS = 2
WITHIN_SECONDS = 2.0
"""From an ack to every other node while only the database is looked at; about a second on an idle machine."""
BACK_SECONDS = 15


async def test_a_redis_that_is_killed_again_and_again_under_load_costs_nothing_but_time(cluster: Cluster) -> None:
    async with load(cluster, [cluster.nodes] * 3) as running:
        for number in range(ROUNDS):
            await running.acks(2)
            await SystemClock().sleep(cluster.chance.uniform(0.0, 0.3))  # somewhere in the middle of the load
            since = asyncio.get_running_loop().time()
            cluster.kill_redis()
            await running.acks(2 + number % 3)
            if number % 2:
                await running.everything_everywhere()
            cluster.start_redis()
            await running.acks(2)
            latencies = running.latencies(since)
            print(told(f"round {number}, from an ack to another node", latencies))  # noqa: T201
            await running.everything_everywhere()
            await asyncio.gather(*(cluster.until_ready(node) for node in cluster.nodes))
        await _is_heard_again(cluster, running)


@pytest.mark.parametrize("how", ["killed", "suspended"])
async def test_without_redis_all_goes_on_but_signals_across_nodes(cluster: Cluster, how: str) -> None:
    first, second, _ = cluster.nodes
    async with load(cluster, [cluster.nodes] * 2, guests=3) as running:
        room = running.rooms[0]
        here, near, far = room.guests
        sender = await cluster.joined(first, here, room.session_id)
        neighbour = await cluster.joined(first, near, room.session_id)
        recipient = await cluster.joined(second, far, room.session_id)
        await sender.wait_for("participant_joined", userId=far)
        assert (await sender.call("signal", {"to": far, "data": "before"}))["ok"]
        await recipient.wait_for("signal", data="before")

        if how == "killed":
            cluster.kill_redis()
        else:
            cluster.suspend_redis()
        for node in cluster.nodes:
            said = await cluster.until_ready(node, ready=False)
            assert said == {"status": "unavailable", "checks": {"database": "ok", "bus": "out of reach"}}
        refused = await _until_refused(sender, far)
        assert (refused["error"]["code"], refused["error"]["retryable"]) == ("unavailable", True)
        assert (await sender.call("signal", {"to": near, "data": "beside"}))["ok"]
        await neighbour.wait_for("signal", data="beside")
        since = asyncio.get_running_loop().time()
        for client in running.clients:
            if client.node is first:
                client.pause()  # a node from which nobody writes finds nothing out by writing
        await asyncio.gather(*(client.acks(10) for client in running.clients if client.node is not first))
        latencies = running.latencies(since)
        print(told(f"Redis {how}, from an ack to another node", latencies))  # noqa: T201
        await running.everything_everywhere()
        assert quantile(running.latencies(since), 0.99) < WITHIN_SECONDS

        cluster.start_redis()
        for node in cluster.nodes:
            assert await cluster.until_ready(node) == {"status": "ready", "checks": {"database": "ok", "bus": "ok"}}
        await _until_it_reaches(sender, recipient)
        await _is_heard_again(cluster, running)


async def _until_refused(sender: RoomClient, to: str) -> Any:
    """Signal until that is refused: a Redis that stands still has to be found out."""
    async with asyncio.timeout(BACK_SECONDS):
        while (reply := await sender.call("signal", {"to": to, "data": "during"}))["ok"]:
            await SystemClock().sleep(0.05)
    return reply


async def _until_it_reaches(sender: RoomClient, recipient: RoomClient) -> None:
    """Signal until one arrives: they are not stored, and a node may be connected again before the other is."""

    def has_arrived() -> bool:
        return any(payload["data"] == "after" for kind, payload in recipient.arrivals if kind == "signal")

    async with asyncio.timeout(BACK_SECONDS):
        while not has_arrived():
            await sender.call("signal", {"to": recipient.user, "data": "after"})
            await SystemClock().sleep(0.1)


async def _is_heard_again(cluster: Cluster, running: Load) -> None:
    """Wait until every node hears of what the others do on the bus, and not only by looking."""
    before = [await cluster.metric(node, "commits_heard_total") for node in cluster.nodes]
    async with asyncio.timeout(BACK_SECONDS):
        for node, count in zip(cluster.nodes, before, strict=True):
            while await cluster.metric(node, "commits_heard_total") == count:
                await running.acks(1)
    since = asyncio.get_running_loop().time()
    await running.acks(3)
    latencies = running.latencies(since)
    print(told("Redis is back, from an ack to another node", latencies))  # noqa: T201
    assert max(latencies) < EVERYWHERE_SECONDS
