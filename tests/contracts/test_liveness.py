"""The ports `Liveness` and `IdSource`, sentence by sentence, over every backend."""

import asyncio

from coordinator.domain.ids import NodeId, is_object_id
from coordinator.ports.identity import IdSource
from coordinator.ports.liveness import Liveness
from tests.contracts.making import MOMENT, NOON

A, B = NodeId("node-a"), NodeId("node-b")


async def test_nobody_lives_at_first(liveness: Liveness) -> None:
    assert await liveness.heartbeats() == {}


async def test_the_last_heartbeat_of_every_node_is_known(liveness: Liveness) -> None:
    await liveness.beat(A, NOON)
    await liveness.beat(B, NOON + MOMENT)
    await liveness.beat(A, NOON + 2 * MOMENT)
    assert await liveness.heartbeats() == {A: NOON + 2 * MOMENT, B: NOON + MOMENT}


async def test_a_heartbeat_that_arrives_late_does_not_turn_time_back(liveness: Liveness) -> None:
    await liveness.beat(A, NOON + MOMENT)
    await liveness.beat(A, NOON)
    assert await liveness.heartbeats() == {A: NOON + MOMENT}


async def test_the_latest_of_simultaneous_heartbeats_stays(liveness: Liveness) -> None:
    await asyncio.gather(*(liveness.beat(A, NOON + number * MOMENT) for number in range(20)))
    assert await liveness.heartbeats() == {A: NOON + 19 * MOMENT}


async def test_a_beat_tells_whether_the_node_was_known(liveness: Liveness) -> None:
    assert await liveness.beat(A, NOON) is False
    assert await liveness.beat(A, NOON + MOMENT) is True
    assert await liveness.beat(A, NOON) is True
    await liveness.forget(A)
    assert await liveness.beat(A, NOON + MOMENT) is False


async def test_a_forgotten_node_is_gone_until_it_beats_again(liveness: Liveness) -> None:
    await liveness.beat(A, NOON)
    await liveness.beat(B, NOON)
    await liveness.forget(A)
    await liveness.forget(A)
    await liveness.forget(NodeId("never-heard-of"))
    assert await liveness.heartbeats() == {B: NOON}
    await liveness.beat(A, NOON + MOMENT)
    assert await liveness.heartbeats() == {A: NOON + MOMENT, B: NOON}


def test_ids_have_their_form_and_never_repeat(ids: IdSource) -> None:
    made = [ids.new_id() for _ in range(10_000)]
    assert all(is_object_id(item) for item in made)
    assert len(set(made)) == len(made)
