"""A database that is silent is waited for once, not once for every room."""

import asyncio
from collections.abc import Sequence

import pytest

from coordinator.domain.errors import UnavailableError
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import Commit
from tests.domain.story import ANNA, BEN
from tests.services.clients import Client
from tests.services.harness import Node, World, soon
from tests.services.test_committer_outages import LONG_SECONDS

ROOMS = 6


async def rooms_with_anna(world: World, node: Node) -> list[Client]:
    clients = []
    for _ in range(ROOMS):
        session = await world.open_session(node, [ANNA, BEN])
        clients += await node.joined(session, ANNA)
    return clients


async def refused(answers: list[asyncio.Future[int]]) -> None:
    for answer in answers:
        with pytest.raises(UnavailableError):
            await soon(answer)


async def test_stale_rooms_are_refused_together_after_one_look(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = await rooms_with_anna(world, node)
    node.line.is_cut = True
    answers = [client.media(mic=True) for client in clients]
    await world.clock.advance(LONG_SECONDS)
    await refused(answers)
    looks = 0
    read = node.line.read

    async def counted(session_id: SessionId, after: int = 0) -> Sequence[Commit]:
        nonlocal looks
        looks += 1
        return await read(session_id, after)

    monkeypatch.setattr(node.line, "read", counted)
    await refused([client.media(mic=True) for client in clients])
    assert looks == 1
    node.line.is_cut = False
    assert await soon(asyncio.gather(*(client.media(mic=True) for client in clients))) == [3] * ROOMS
    assert all(client.kinds == ["mic_changed"] for client in clients)


async def test_a_room_decided_before_the_silence_was_noticed_is_refused_and_not_written(
    world: World, node: Node
) -> None:
    *_, stale = clients = await rooms_with_anna(world, node)
    node.line.is_cut = True
    lost = stale.media(mic=True)
    await world.clock.advance(LONG_SECONDS)
    await refused([lost])
    node.line.appends.clear()
    # The others are not stale and come first: they are decided before the stale one finds the journal silent.
    await refused([client.media(camera=True) for client in clients])
    assert node.line.appends == []
    node.line.is_cut = False
    assert await soon(clients[0].media(camera=True)) == 3
    assert await soon(stale.media(camera=True)) == 3
