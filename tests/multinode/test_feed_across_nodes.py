"""A recorder on one coordinator hears of all that happens on the others, across the death of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from coordinator.domain.feed import FEED_EVENTS
from tests.multinode.checks import journal_of
from tests.multinode.cluster import Cluster
from tests.multinode.load import Load, load
from tests.multinode.measures import quantile, told
from tests.multinode.recorder import RoamingRecorder
from tests.multinode.roaming import WaveringRoamer

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROUNDS = 2
WITHIN_SECONDS = 2.0


async def test_a_recorder_gets_everything_though_its_coordinator_dies(cluster: Cluster) -> None:
    first = cluster.nodes[0]
    recorder = RoamingRecorder("main", cluster.nodes, first, cluster.chance)
    async with _following(recorder):
        async with load(cluster, [cluster.nodes, cluster.nodes[1:]], seats=4, kind=WaveringRoamer) as running:
            for room in running.rooms:
                await cluster.ask(
                    cluster.nodes[1], "PUT", f"/sessions/{room.session_id}/recording", body={"enabled": True}
                )
            await running.acks(5)
            acks = _acks(running)
            await recorder.has({place for place, _ in acks})
            latencies = [recorder.seen_at[place] - at for place, at in acks]
            print(told("from an ack on any node to the recorder on one", latencies))  # noqa: T201
            assert quantile(latencies, 0.99) < WITHIN_SECONDS
            for _ in range(ROUNDS):
                await recorder.more_acks(3)
                victim = recorder.node
                await victim.kill()
                await recorder.more_acks(3)
                assert recorder.node is not victim
                await victim.start()
        written = {room.session_id: await _feed_of(cluster, room.session_id) for room in running.rooms}
        await recorder.has({(session, event["seq"]) for session, events in written.items() for event in events})
    assert len(recorder.connections) >= ROUNDS + 1
    recorder.check(written)


def _acks(running: Load) -> list[tuple[tuple[str, int], float]]:
    return [
        ((room.session_id, seq), at)
        for room in running.rooms
        for client in room.clients
        for seq, (at, _) in client.acked_at.items()
    ]


async def _feed_of(cluster: Cluster, session_id: Any) -> list[dict[str, Any]]:
    return [event for event in await journal_of(cluster.database, session_id) if event["type"] in FEED_EVENTS]


@asynccontextmanager
async def _following(recorder: RoamingRecorder) -> AsyncIterator[None]:
    task = asyncio.create_task(recorder.follow_for_ever())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=10)
