"""Two coordinators without Redis: they have only the database in common, and everything arrives all the same."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.multinode.cluster import Cluster, running_cluster
from tests.multinode.load import Load, load
from tests.multinode.measures import told

pytestmark = pytest.mark.asyncio(loop_scope="package")

WITHIN_SECONDS = 2.0
"""About a second, and another one for a machine that has other things to do."""


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def two_nodes(mongo_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Two coordinators that have nothing in common but the database."""
    async with running_cluster(2, tmp_path_factory.mktemp("two"), mongo_url) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="package")
async def cluster(two_nodes: Cluster) -> AsyncIterator[Cluster]:
    """The same, both well."""
    async with two_nodes.well():
        yield two_nodes


async def test_everything_arrives_within_about_a_second(cluster: Cluster) -> None:
    first, second = cluster.nodes
    async with load(cluster, [[first, second]] * 2) as running:
        # Who writes meets what the others have written; who only listens has to be told.
        for client in running.clients:
            if client.node is second:
                client.pause()
        await _acks_of(running, cluster, 30)
        listening = running.latencies()
        running.go_on()
        await running.acks(10)
        together = running.latencies()[len(listening) :]
        lag = await running.everything_everywhere()
    print(told("without Redis, to who only listens", listening), f"all caught up after {lag:.2f} s")  # noqa: T201
    print(told("without Redis, to who writes as well", together))  # noqa: T201
    assert len(listening) > 100
    assert max(listening + together) < WITHIN_SECONDS
    for node in cluster.nodes:
        assert await cluster.metric(node, "commits_heard_total") == 0


async def _acks_of(running: Load, cluster: Cluster, count: int) -> None:
    for room in running.rooms:
        for client in room.on(cluster.nodes[0]):
            await client.acks(count // len(room.clients))


async def test_a_signal_to_another_node_is_refused_and_one_to_the_same_node_arrives(cluster: Cluster) -> None:
    first, second = cluster.nodes
    async with load(cluster, [[first, second]], seats=2, guests=3) as running:
        (room,) = running.rooms
        here, near, far = room.guests
        sender = await cluster.joined(first, here, room.session_id)
        neighbour = await cluster.joined(first, near, room.session_id)
        await cluster.joined(second, far, room.session_id)
        await sender.wait_for("participant_joined", userId=far)
        assert (await sender.call("signal", {"to": near, "data": 1}))["ok"]
        await neighbour.wait_for("signal", data=1)
        refused = await sender.call("signal", {"to": far, "data": 1})
        assert (refused["error"]["code"], refused["error"]["retryable"]) == ("unavailable", True)
