"""Another writer at the same place: the loser reads, tells its own, and decides again. Exactly one outcome."""

import asyncio

import pytest

from coordinator.domain.errors import NotInSessionError, RoomFullError, SessionEndedError
from coordinator.domain.ids import SessionId
from tests.domain.story import ANNA, BEN, CLEO, DINA, END_IT, join, media, minutes, remove
from tests.services.faults import Fate
from tests.services.harness import Node, World, soon


@pytest.fixture
async def rival(world: World) -> Node:
    """Another node over the same database."""
    return world.node("b0")


async def shared_session(world: World, *nodes: Node, **fields: int) -> SessionId:
    """A session that all these nodes have in memory."""
    session = await world.open_session(nodes[0], [ANNA, BEN, CLEO, DINA], **fields)
    for node in nodes:
        await node.room(session)
        node.line.appends.clear()
    return session


async def test_the_loser_tells_its_subscribers_what_the_winner_wrote_and_decides_again(
    world: World, node: Node, rival: Node
) -> None:
    session = await shared_session(world, node, rival)
    (anna,) = await node.joined(session, ANNA)
    node.line.hold()
    answer = anna.media(mic=True)
    await world.settle()
    await rival.do(session, join(BEN), join(CLEO))
    assert anna.position == 2

    node.line.release()
    assert await soon(answer) == 5
    assert anna.kinds == ["participant_joined", "participant_joined", "mic_changed"]
    assert await world.kinds(session) == ["session_opened", *["participant_joined"] * 3, "mic_changed"]
    assert (await node.room(session)).state == await world.state(session)


async def test_losing_again_and_again_ends_in_one_outcome(world: World, node: Node, rival: Node) -> None:
    session = await shared_session(world, node, rival)
    (anna,) = await node.joined(session, ANNA)
    node.line.appends.clear()
    await rival.do(session, join(BEN))
    node.line.hold()
    answer = anna.media(camera=True)
    for turn in range(5):
        await world.settle()
        await rival.do(session, media(BEN, mic=turn % 2 == 0))
        node.line.let_one_through()
    node.line.release()
    assert await soon(answer) == 9
    assert anna.kinds == ["participant_joined", *["mic_changed"] * 5, "camera_changed"]
    assert len({commit.id for commits in node.line.appends for commit in commits}) == 6
    assert (await world.kinds(session)).count("camera_changed") == 1


async def test_commands_are_decided_again_in_their_order_with_those_that_came_later_behind_them(
    world: World, node: Node, rival: Node
) -> None:
    session = await shared_session(world, node, rival)
    (anna,) = await node.joined(session, ANNA)
    node.line.hold()
    answers = [anna.media(mic=mic) for mic in (True, False, True)]
    await world.settle()
    answers += [anna.media(mic=mic) for mic in (False, True)]
    await rival.do(session, join(BEN))
    node.line.release()
    assert await soon(asyncio.gather(*answers)) == [4, 5, 6, 7, 8]
    log = await world.log(session)
    switched = [getattr(event.body, "mic_enabled", None) for event in log[3:]]
    assert switched == [True, False, True, False, True]


async def test_what_the_winner_wrote_can_turn_success_into_refusal(world: World, node: Node, rival: Node) -> None:
    session = await shared_session(world, node, rival, max_participants=2)
    await node.do(session, join(ANNA))
    node.line.hold()
    late = await node.submit(session, join(BEN))
    await world.settle()
    await rival.do(session, join(CLEO))
    node.line.release()
    with pytest.raises(RoomFullError):
        await soon(late)
    assert len(await world.log(session)) == 3


async def test_what_the_winner_wrote_can_turn_a_refusal_into_success(world: World, node: Node, rival: Node) -> None:
    session = await shared_session(world, node, rival, max_participants=2)
    await node.do(session, join(ANNA), join(BEN))
    await soon(rival.reader.snapshot(session))
    node.line.hold()
    first = await node.submit(session, media(ANNA, mic=True))
    refused_for_now = await node.submit(session, join(CLEO))
    await world.settle()
    await rival.do(session, remove(BEN))
    node.line.release()
    assert [await soon(answer) for answer in (first, refused_for_now)] == [5, 6]


async def test_the_same_command_on_both_nodes_happens_once(world: World, node: Node, rival: Node) -> None:
    session = await shared_session(world, node, rival)
    both = [await each.submit(session, END_IT) for each in (node, rival)]
    assert await soon(asyncio.gather(*both)) == [2, 2]
    assert await world.kinds(session) == ["session_opened", "session_ended"]
    with pytest.raises(SessionEndedError):
        await rival.do(session, join(ANNA))


async def test_a_conflict_in_one_room_does_not_touch_the_others_of_the_same_write(
    world: World, node: Node, rival: Node
) -> None:
    contested = await shared_session(world, node, rival)
    quiet = await shared_session(world, node)
    node.line.hold()
    opening = await node.submit(contested, join(ANNA))
    await world.settle()
    answers = [await node.submit(session, join(BEN)) for session in (contested, quiet)]
    await rival.do(contested, join(CLEO))
    node.line.release()
    assert await soon(asyncio.gather(opening, *answers)) == [3, 4, 2]
    written = [commit for commits in node.line.appends for commit in commits if commit.session_id == quiet]
    assert len(written) == 1


async def test_deadlines_that_fall_due_on_both_nodes_happen_once(world: World, node: Node, rival: Node) -> None:
    session = await shared_session(world, node, rival)
    await node.do(session, join(ANNA), join(BEN))
    await soon(rival.reader.snapshot(session))
    await world.at(minutes(31))
    assert (await world.kinds(session))[3:] == ["session_started", "session_ended", *["participant_left"] * 2]
    for each in (node, rival):
        await soon(each.reader.snapshot(session))
        assert (await each.room(session)).state == await world.state(session)


async def test_subscribers_of_a_removed_user_are_closed_by_the_news_from_another_node(
    world: World, node: Node, rival: Node
) -> None:
    session = await shared_session(world, node, rival)
    anna, ben = await node.joined(session, ANNA, BEN)
    await soon(rival.reader.snapshot(session))
    await rival.do(session, remove(BEN))
    await soon(anna.media(mic=True))
    assert ben.is_closed
    assert [note.payload for note in ben.notes] == [{"reason": "removed"}]
    assert anna.kinds[-2:] == ["participant_left", "mic_changed"]
    with pytest.raises(NotInSessionError):
        ben.media(mic=True)


@pytest.mark.parametrize("fate", Fate)
async def test_a_conflict_behind_an_unknown_outcome_is_still_one_outcome(
    world: World, node: Node, rival: Node, fate: Fate
) -> None:
    session = await shared_session(world, node, rival)
    (anna,) = await node.joined(session, ANNA)
    await soon(rival.reader.snapshot(session))
    node.line.lose(fate)
    node.line.hold()
    answer = anna.media(mic=True)
    await world.settle()
    await rival.do(session, join(BEN))
    node.line.release()
    await world.clock.advance(5)
    assert await soon(answer) == 4
    assert await node.line.land() == set(), "its place was taken when the late one arrived"
    assert await world.kinds(session) == ["session_opened", *["participant_joined"] * 2, "mic_changed"]
    assert anna.kinds == ["participant_joined", "mic_changed"]
