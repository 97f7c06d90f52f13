"""A coordinator is killed, stands still, or is stopped under load: the others go on, and nobody remains as a ghost."""

import asyncio
from datetime import datetime

import pytest

from coordinator.adapters.system import SystemClock
from tests.multinode.checks import journal_of, present, until_present
from tests.multinode.cluster import GRACE_SECONDS, NODE_TIMEOUT_SECONDS, Cluster, Node
from tests.multinode.load import Load, Room, load

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROUNDS = 2
STOP_SECONDS = 10
SOON_SECONDS = 2.0
"""For what should be so already."""


async def test_a_killed_node_leaves_no_ghosts_and_its_clients_come_back_elsewhere(cluster: Cluster) -> None:
    async with load(cluster, [cluster.nodes, cluster.nodes[:2]], guests=ROUNDS) as running:
        for number in range(ROUNDS):
            victim = cluster.nodes[number % len(cluster.nodes)]
            for room in running.rooms:
                # These do not come back.
                await cluster.joined(victim, room.guests[number], room.session_id)
            await running.spread()
            await running.acks(2)
            await SystemClock().sleep(cluster.chance.uniform(0.0, 0.3))  # somewhere in the middle of the load
            began = asyncio.get_running_loop().time()
            seqs = {room.session_id: room.seq for room in running.rooms}
            await victim.kill()
            for room in running.rooms:
                guest = room.guests[number]
                gone = await _is_let_go(running, room, victim, guest, seqs[room.session_id], began)
                print(f"round {number}: {guest} shown as disconnected after {gone:.2f} s")  # noqa: T201
            await running.acks(2)
            assert all(client.node is not victim for client in running.clients)
            await victim.start()
            for room in running.rooms:
                await _is_freed(running, room, victim, room.guests[number], seqs[room.session_id])
                await until_present(cluster.database, room.session_id, room.users, SOON_SECONDS)
            await running.everything_everywhere()


async def _is_let_go(running: Load, room: Room, node: Node, user: str, after: int, began: float) -> float:
    """Wait until a user of a lost node is shown as disconnected, which must be in time; return how long it took."""
    witness = room.elsewhere(node)
    patience = NODE_TIMEOUT_SECONDS + 10
    event, seen = await witness.sees("participant_disconnected", after, patience, userId=user)
    assert event["data"]["reason"] == "connection_lost"
    assert seen - began < NODE_TIMEOUT_SECONDS + running.allowance(began)
    return seen - began


async def _is_freed(running: Load, room: Room, node: Node, user: str, after: int) -> None:
    """Wait until the seat of a user who is shown as disconnected is free, which must be when that was promised."""
    witness = room.elsewhere(node)
    gone, gone_at = await witness.sees("participant_disconnected", after, 1, userId=user)
    left, left_at = await witness.sees("participant_left", after, GRACE_SECONDS + 10, userId=user)
    assert left["data"]["reason"] == "timeout"
    assert datetime.fromisoformat(left["at"]) >= datetime.fromisoformat(gone["data"]["reconnectBy"])
    assert left_at - gone_at < GRACE_SECONDS + running.allowance(gone_at)


async def test_a_node_that_stood_still_takes_its_participants_back(cluster: Cluster) -> None:
    async with load(cluster, [cluster.nodes] * 2) as running:
        for number in range(ROUNDS):
            await running.spread()
            await running.acks(2)
            node = _busiest(cluster, running)
            clients = [client for room in running.rooms for client in room.on(node)]
            before = {client.user: (client.resumptions, len(client.acked)) for client in clients}
            seqs = {room.session_id: room.seq for room in running.rooms}
            began = asyncio.get_running_loop().time()
            node.suspend()
            for room in running.rooms:
                for client in room.on(node):
                    gone = await _is_let_go(running, room, node, client.user, seqs[room.session_id], began)
                    print(f"round {number}: {client.user} shown as disconnected after {gone:.2f} s")  # noqa: T201
            node.resume()
            resumed = asyncio.get_running_loop().time()
            for room in running.rooms:
                for client in room.on(node):
                    witness, after = room.elsewhere(node), seqs[room.session_id]
                    _, back = await witness.sees("participant_reconnected", after, 10, userId=client.user)
                    print(f"round {number}: {client.user} back after {back - resumed:.2f} s")  # noqa: T201
            await running.acks(2)
            for room in running.rooms:
                await until_present(cluster.database, room.session_id, room.users, SOON_SECONDS)
            for client in clients:
                resumptions, acks = before[client.user]
                assert client.resumptions == resumptions, f"{client.user} was thrown out"
                assert len(client.acked) > acks
            await running.everything_everywhere()


async def test_a_node_that_stood_still_for_too_long_lets_its_participants_come_back(cluster: Cluster) -> None:
    async with load(cluster, [cluster.nodes] * 2) as running:
        for client in running.clients:
            client.forgiven.add("not_in_session")  # of whoever asks on a connection that has lost its seat meanwhile
        await running.spread()
        await running.acks(2)
        node = _busiest(cluster, running)
        clients = [client for room in running.rooms for client in room.on(node)]
        before = {client.user: client.resumptions for client in clients}
        seqs = {room.session_id: room.seq for room in running.rooms}
        began = asyncio.get_running_loop().time()
        node.suspend()
        for room in running.rooms:
            for client in room.on(node):
                await _is_let_go(running, room, node, client.user, seqs[room.session_id], began)
        for room in running.rooms:
            for client in room.on(node):
                await _is_freed(running, room, node, client.user, seqs[room.session_id])
        node.resume()
        async with asyncio.timeout(20):
            while any(client.resumptions == before[client.user] for client in clients):
                await SystemClock().sleep(0.02)
        await running.acks(2)
        for room in running.rooms:
            await until_present(cluster.database, room.session_id, room.users, SOON_SECONDS)
        await running.everything_everywhere()


def _busiest(cluster: Cluster, running: Load) -> Node:
    """Return the node with the most clients."""
    return max(cluster.nodes, key=lambda node: sum(client.node is node for client in running.clients))


async def test_a_planned_stop_under_load_loses_nothing(cluster: Cluster) -> None:
    loop = asyncio.get_running_loop()
    async with load(cluster, [cluster.nodes, cluster.nodes[1:]], guests=ROUNDS) as running:
        for number in range(ROUNDS):
            node = cluster.nodes[(number + 1) % len(cluster.nodes)]
            guests = [await cluster.joined(node, room.guests[number], room.session_id) for room in running.rooms]
            await running.acks(2)
            began = loop.time()
            assert await node.stop() == 0
            took = loop.time() - began
            print(f"round {number}: stopped after {took:.2f} s")  # noqa: T201
            assert took < STOP_SECONDS
            for room, guest in zip(running.rooms, guests, strict=True):
                assert [kind for kind, _ in guest.arrivals].count("server_draining") == 1
                # It says itself who is gone; nobody has to be found out by silence.
                events = await journal_of(cluster.database, room.session_id)
                assert guest.user not in present(events)
                (gone,) = [event for event in events if _is_departure(event, guest.user)]
                assert gone["data"]["reason"] == "server_stopped"
            await running.acks(2)
            assert all(client.node is not node for client in running.clients)
            for room in running.rooms:
                await until_present(cluster.database, room.session_id, room.users, SOON_SECONDS)
            await running.everything_everywhere()
            await node.start()


def _is_departure(event: dict[str, object], user: str) -> bool:
    data = event["data"]
    assert isinstance(data, dict)
    return event["type"] == "participant_disconnected" and data["userId"] == user
