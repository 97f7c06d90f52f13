"""The bus over a cluster of three: channels spread over all nodes, slots that move, nodes that die."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from redis.crc import key_slot

from coordinator.domain.ids import SessionId
from coordinator.ports.bus import BusOutOfReachError
from tests.contracts.bus_ends import PATIENCE_SECONDS, End, RedisPlace, ends, until
from tests.contracts.making import commit, new_session_id
from tests.redis_server import SLOTS, RedisProcess, order, redis_cluster


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sequence[RedisProcess]]:
    with redis_cluster(3) as found:
        yield found


@pytest.fixture
def place(nodes: Sequence[RedisProcess]) -> RedisPlace:
    return RedisPlace(nodes[0].url)


def channel(place: RedisPlace, session_id: SessionId) -> str:
    return f"{place.prefix}:session:{session_id}"


def slot(place: RedisPlace, session_id: SessionId) -> int:
    return key_slot(channel(place, session_id).encode())


def session_on(place: RedisPlace, number: int) -> SessionId:
    """A session whose channel is on one of the nodes."""
    while True:
        session_id = new_session_id()
        if slot(place, session_id) * 3 // SLOTS == number:
            return session_id


async def test_channels_are_spread_over_all_nodes(nodes: Sequence[RedisProcess], place: RedisPlace) -> None:
    async with ends(place, 2) as (writer, reader):
        commits = [commit(new_session_id()) for _ in range(300)]
        await reader.follow(*(item.session_id for item in commits))
        for node in nodes:
            with node.client() as client:
                mine = order(client, "PUBSUB SHARDCHANNELS", f"{place.prefix}:*")
                assert len(mine) > 50
        writer.bus.publish(commits)
        await reader.ear.until(lambda: len(reader.ear.hints) == len(commits))
        assert sorted(hint.session_id for hint in reader.ear.hints) == sorted(item.session_id for item in commits)
        await writer.bus.ping()
        await place.bus().ping()


async def test_each_node_will_do_for_a_url(nodes: Sequence[RedisProcess], place: RedisPlace) -> None:
    item = commit(new_session_id())
    for node in nodes:
        other = RedisPlace(node.url)
        other.prefix = place.prefix
        async with ends(place, 1) as (writer,), ends(other, 1) as (reader,):
            await reader.follow(item.session_id)
            writer.bus.publish([item])
            await reader.hears(item)


def move(number: int, target: RedisProcess, nodes: Sequence[RedisProcess]) -> None:
    """Move a slot, as an operator does: the node that gets it is told first."""
    with target.client() as client:
        name = order(client, "CLUSTER MYID")
    for node in (target, *nodes):
        with node.client() as client:
            order(client, "CLUSTER SETSLOT", number, "NODE", name)


async def arrives(writer: End, reader: End, session_id: SessionId) -> None:
    """Publish until something arrives: what a writer says before it has found out about a change is lost."""
    item = commit(session_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while item not in reader.ear.hints:
            writer.bus.publish([item])
            await asyncio.sleep(0.001)  # nobody tells the writer that it was lost


async def test_when_a_slot_moves_its_sessions_come_to_life_again(
    nodes: Sequence[RedisProcess], place: RedisPlace
) -> None:
    async with ends(place, 2) as (writer, reader):
        session_id, elsewhere = session_on(place, 0), session_on(place, 2)
        await reader.follow(session_id, elsewhere)
        for target in (nodes[1], nodes[0]):
            reader.ear.lives.clear()
            move(slot(place, session_id), target, nodes)
            await reader.ear.until(lambda: {session_id, elsewhere} <= set(reader.ear.lives))
            await arrives(writer, reader, session_id)
            with target.client() as client:
                assert len(order(client, "PUBSUB SHARDCHANNELS", channel(place, session_id))) == 1


async def test_when_a_node_dies_and_comes_back_everything_is_live_again(
    nodes: Sequence[RedisProcess], place: RedisPlace
) -> None:
    async with ends(place, 2) as (writer, reader):
        sessions = [session_on(place, number) for number in range(3)]
        await reader.follow(*sessions)
        reader.ear.lives.clear()
        nodes[0].kill()
        await until(lambda: not reader.bus.is_up and not writer.bus.is_up)
        assert not any(map(reader.bus.is_live, sessions))
        with pytest.raises(BusOutOfReachError):
            await writer.bus.ping()
        nodes[0].start()
        await reader.live(*sessions)
        await until(lambda: writer.bus.is_up)
        commits = [commit(session_id) for session_id in sessions]
        writer.bus.publish(commits)
        await reader.ear.until(lambda: len(reader.ear.hints) == 3)


async def test_it_may_be_stopped_at_any_moment(nodes: Sequence[RedisProcess], place: RedisPlace) -> None:
    for turns in range(0, 120, 3):
        end = End(place.bus())
        end.bus.follow(new_session_id())
        for _ in range(turns):
            await asyncio.sleep(0)
        await end.stop()
    for node in nodes:
        with node.client() as client:
            await until(lambda client=client: not [item for item in client.client_list() if item["name"]])  # type: ignore[misc]


async def test_when_a_replica_takes_over_everything_is_live_again() -> None:
    with redis_cluster(1, replicas=1) as (master, replica):
        place = RedisPlace(master.url)
        async with ends(place, 2) as (writer, reader):
            sessions = [new_session_id() for _ in range(3)]
            await reader.follow(*sessions)
            reader.ear.lives.clear()
            master.kill()
            await until(lambda: not reader.bus.is_up and not writer.bus.is_up)
            with replica.client() as client:
                order(client, "CLUSTER FAILOVER", "TAKEOVER")
            await reader.live(*sessions)
            await arrives(writer, reader, sessions[0])
