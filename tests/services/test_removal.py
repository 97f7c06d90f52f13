"""A removed user cannot come back, by whatever road (SPEC section 3, `/moderation`)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from coordinator.domain.errors import NotInSessionError, RemovedError
from coordinator.domain.ids import SessionId
from coordinator.domain.transitions import Presence
from coordinator.services.catching_up import View
from tests.domain.story import ANNA, BEN, MODERATOR
from tests.services.clients import Client
from tests.services.harness import Node, World, soon

Road = Callable[["Scene"], Awaitable[None]]


class Scene:
    """Anna and Ben in a session on one node; another node knows it too, and hears of nothing by itself."""

    def __init__(self, world: World, session: SessionId, anna: Client, other: Node) -> None:
        self.world = world
        self.session = session
        self.anna = anna
        self.node = anna.node
        self.other = other

    async def remove(self, by: Node | None = None) -> None:
        await soon((by or self.node).moderation.remove(MODERATOR, self.session, ANNA, None))

    async def refused(self, join: Awaitable[View]) -> None:
        with pytest.raises(RemovedError):
            await soon(join)

    def new(self, node: Node | None = None) -> Client:
        return (node or self.node).client(ANNA, self.session)

    async def again(self, client: Client, after: int | None = None) -> View:
        """Join on a connection even if it has been closed."""
        return await client.node.participation.join(client.actor, client, self.session, after)


async def _same_connection(scene: Scene) -> None:
    await scene.remove()
    await scene.refused(scene.again(scene.anna))


async def _new_connection(scene: Scene) -> None:
    await scene.remove()
    await scene.refused(scene.new().join())


async def _resuming(scene: Scene) -> None:
    await scene.remove()
    for after in (0, 3, 99):
        await scene.refused(scene.new().join(after))


async def _while_away(scene: Scene) -> None:
    await scene.anna.vanish()
    await scene.remove()
    await scene.refused(scene.new().join())


async def _after_the_grace(scene: Scene) -> None:
    await scene.anna.vanish()
    await scene.remove()
    await scene.world.clock.advance(31)
    await scene.refused(scene.new().join())


async def _after_leaving(scene: Scene) -> None:
    await soon(scene.anna.leave())
    await scene.remove()
    await scene.refused(scene.new().join())
    await scene.refused(scene.again(scene.anna))


async def _registering_again(scene: Scene) -> None:
    await scene.remove()
    slot = (await scene.world.state(scene.session)).time_slot_id
    await soon(scene.node.booking.cancel(slot, ANNA))
    await scene.refused(scene.new().join())
    await soon(scene.node.booking.register(slot, ANNA))
    await scene.refused(scene.new().join())


async def _join_under_way(scene: Scene) -> None:
    """It is being written when the removal is asked for: it succeeds, and does not last."""
    joiner = scene.new()
    scene.node.line.hold()
    joining = asyncio.ensure_future(joiner.join())
    await scene.world.settle()
    removing = asyncio.ensure_future(scene.remove())
    await scene.world.settle()
    scene.node.line.release()
    await soon(removing)
    await soon(joining)
    assert joiner.is_closed
    assert joiner.notes[-1].payload == {"reason": "removed"}
    await scene.refused(scene.again(joiner))


async def _join_behind(scene: Scene) -> None:
    scene.node.line.hold()
    removing = asyncio.ensure_future(scene.remove())
    await scene.world.settle()
    joining = asyncio.ensure_future(scene.new().join())
    await scene.world.settle()
    scene.node.line.release()
    await soon(removing)
    await scene.refused(joining)


async def _room_read_again(scene: Scene) -> None:
    await scene.remove()
    await soon(scene.node.moderation.mute(MODERATOR, scene.session, BEN))
    third = scene.world.node("c0")
    await scene.refused(scene.new(third).join())


async def _stale_node(scene: Scene) -> None:
    """Its cache says that Anna is there on the connection of the first node."""
    await scene.remove()
    await scene.refused(scene.new(scene.other).join())


async def _stale_node_while_away(scene: Scene) -> None:
    await scene.anna.vanish()
    await scene.other.rooms.refresh(await scene.other.room(scene.session))
    await scene.remove()
    await scene.refused(scene.new(scene.other).join(2))


async def _seated_on_the_stale_node(scene: Scene) -> None:
    """Anna sits on the other node, which has not heard of her removal: joining there again needs no event."""
    seated = scene.new(scene.other)
    await soon(seated.join())
    await scene.remove()
    await scene.refused(scene.again(seated))
    assert seated.is_closed
    assert not seated.listens()
    await scene.refused(scene.new(scene.other).join())


async def _removed_from_the_stale_node(scene: Scene) -> None:
    await scene.remove(by=scene.other)
    await scene.refused(scene.new().join())
    await scene.refused(scene.again(scene.anna))
    assert scene.anna.is_closed


_ROADS: list[Road] = [
    *(_same_connection, _new_connection, _resuming, _while_away, _after_the_grace, _after_leaving),
    *(_registering_again, _join_under_way, _join_behind, _room_read_again),
    *(_stale_node, _stale_node_while_away, _seated_on_the_stale_node, _removed_from_the_stale_node),
]


@pytest.mark.parametrize("road", _ROADS, ids=lambda road: road.__name__.strip("_"))
async def test_no_road_leads_back(world: World, node: Node, road: Road) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    anna, _ben = await node.joined(session, ANNA, BEN)
    other = world.node("b0")
    await other.room(session)
    await road(Scene(world, session, anna, other))
    state = await world.state(session)
    assert state.participants[ANNA].presence is Presence.REMOVED
    assert state.participants[BEN].is_present
    log = await world.log(session)
    assert [event.body.kind for event in log].count("participant_left") <= 2
    for room in (node.rooms.peek(session), other.rooms.peek(session)):
        assert room is None or ANNA not in {subscriber.user_id for subscriber in room.subscribers.values()}


async def test_nothing_but_joining_is_left_to_the_removed_either(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    anna, ben = await node.joined(session, ANNA, BEN)
    await soon(node.moderation.remove(MODERATOR, session, ANNA, None))
    log = await world.log(session)
    with pytest.raises(NotInSessionError):
        anna.media(mic=True)
    with pytest.raises(NotInSessionError):
        anna.consent(True)
    for sender, recipient in ((anna, BEN), (ben, ANNA)):
        with pytest.raises(NotInSessionError):
            sender.signal(recipient)
    assert await world.log(session) == log


async def test_the_next_session_is_another_one(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    await node.joined(session, ANNA)
    await soon(node.moderation.remove(MODERATOR, session, ANNA, None))
    another = await world.open_session(node, [ANNA])
    (anna,) = await node.joined(another, ANNA)
    assert anna.listens()
