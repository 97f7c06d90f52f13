"""What a session does by itself, though several coordinators have its timers: once, and on time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.adapters.system import SystemClock
from tests.multinode.checks import check_attendance, check_session, journal_of
from tests.multinode.cluster import NODE_TIMEOUT_SECONDS, Cluster
from tests.multinode.load import ALLOWANCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

DURATION_SECONDS = 45 * 60
LIVES_SECONDS = 8.0


async def test_a_session_ends_on_time_and_once_though_a_node_stands_still(cluster: Cluster) -> None:
    first, second, third = cluster.nodes
    users = ["ada", "bo", "cleo"]
    session_id = await first.offer([*users, "dan"], start_in=LIVES_SECONDS - DURATION_SECONDS)
    clients = [await cluster.joined(node, user, session_id) for node, user in zip(cluster.nodes, users, strict=True)]
    session = await cluster.ask(second, "GET", f"/sessions/{session_id}")
    assert session["status"] == "active"
    end = datetime.fromisoformat(session["scheduledEnd"])
    # Not so early that the seat is lost as well.
    await SystemClock().sleep((end - datetime.now(UTC)).total_seconds() - NODE_TIMEOUT_SECONDS)
    third.suspend()
    ended = [await client.wait_for("session_ended", reason="completed") for client in clients[:2]]
    late = datetime.fromisoformat(ended[0]["at"]) - end
    print(f"ended {1000 * late.total_seconds():.0f} ms after its end")  # noqa: T201
    assert timedelta() <= late < timedelta(seconds=ALLOWANCE_SECONDS)
    third.resume()
    assert await clients[2].wait_for("session_ended") == ended[0] == ended[1]
    for client in clients:
        assert len(client.events("session_ended")) == 1
    cluster.settled[session_id] = await check_attendance(cluster.database, session_id)
    await check_session(cluster.database, session_id, [])


async def test_everybody_is_told_once_that_the_end_is_near(cluster: Cluster) -> None:
    first, _, third = cluster.nodes
    users = ["eve", "fay", "gus"]
    session_id = await first.offer(users, start_in=60 + 3 - DURATION_SECONDS)
    clients = [await cluster.joined(node, user, session_id) for node, user in zip(cluster.nodes, users, strict=True)]
    notices = await asyncio.gather(*(client.wait_for("session_ending") for client in clients))
    assert notices == [{"sessionId": session_id, "secondsLeft": 60}] * 3
    # What is written after it has come to everybody: nobody is told twice meanwhile.
    await cluster.ask(third, "POST", f"/sessions/{session_id}/end")
    for client in clients:
        await client.wait_for("session_ended", reason="ended_by_moderator")
        assert len(client.events("session_ending")) == 1
    kinds = [event["type"] for event in await journal_of(cluster.database, session_id)]
    assert kinds.count("session_ended") == 1
