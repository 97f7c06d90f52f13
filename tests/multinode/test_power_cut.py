"""Coordinators, Redis and the database die at the same instant, as in a power cut: what was acked is there."""

import asyncio
from pathlib import Path

import pytest

from coordinator.adapters.mongo.process_record import ProcessRecord
from coordinator.adapters.system import SystemClock
from tests.multinode.checks import until_present
from tests.multinode.cluster import NODE_TIMEOUT_SECONDS, Cluster
from tests.multinode.load import ALLOWANCE_SECONDS, load

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_after_a_power_cut_everybody_comes_back_to_what_was_acked(cluster: Cluster, data_dir: Path) -> None:
    async with load(cluster, [cluster.nodes] * 2, guests=1) as running:
        for room in running.rooms:
            # These do not come back.
            await cluster.joined(cluster.chance.choice(cluster.nodes), room.guests[0], room.session_id)
        await running.acks(2)
        await SystemClock().sleep(cluster.chance.uniform(0.0, 0.3))  # somewhere in the middle of the load
        _kill_database(data_dir)
        cluster.kill_redis()
        await asyncio.gather(*(node.kill() for node in cluster.nodes))
        cluster.start_redis()
        await cluster.until_database()
        await asyncio.gather(*(node.start() for node in cluster.nodes))
        # The nodes that died are found out by their silence, and by those that have just begun to listen.
        for room in running.rooms:
            patience = 2 * NODE_TIMEOUT_SECONDS + ALLOWANCE_SECONDS
            took = await until_present(cluster.database, room.session_id, room.users, patience)
            print(f"as it should be {took:.2f} s after the start")  # noqa: T201
        await running.acks(2)
        await running.everything_everywhere()


def _kill_database(data_dir: Path) -> None:
    """kill -9 the embedded database, which is started again by itself; a server that the run was given goes on."""
    record = ProcessRecord.read(data_dir)
    process = None if record is None else record.database.find()
    if process is not None:
        process.kill()
