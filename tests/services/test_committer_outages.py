"""A database that does not answer: outcomes are looked up by id; what cannot be found out is `unavailable`."""

import asyncio

import pytest

from coordinator.domain.errors import UnavailableError
from tests.domain.story import ANNA, BEN, CLEO, join, media, minutes
from tests.services.clients import Client
from tests.services.faults import Fate
from tests.services.harness import Node, World, soon

LONG_SECONDS = 10
"""Longer than a commit with an unknown outcome is looked for."""


@pytest.fixture
async def anna(world: World, node: Node) -> Client:
    """The only participant of a session, at seq 2."""
    session = await world.open_session(node, [ANNA, BEN, CLEO])
    (anna,) = await node.joined(session, ANNA)
    node.line.appends.clear()
    return anna


async def unanswered(world: World, answer: asyncio.Future[int]) -> None:
    """Let the search for an outcome run its course, in vain."""
    await world.clock.advance(LONG_SECONDS)
    with pytest.raises(UnavailableError) as refused:
        await soon(answer)
    assert refused.value.retryable


@pytest.mark.parametrize("fate", [Fate.WRITTEN, Fate.NOT_WRITTEN, Fate.LATE])
async def test_an_unknown_outcome_is_found_out_by_the_id_of_the_commit(
    world: World, node: Node, anna: Client, fate: Fate
) -> None:
    node.line.lose(fate)
    answer = anna.media(mic=True)
    await world.settle()
    assert await soon(answer) == 3, "the first look needs no pause"
    await node.line.land()
    assert await world.kinds(anna.session) == ["session_opened", "participant_joined", "mic_changed"]
    assert len({commit.id for commits in node.line.appends for commit in commits}) == 1
    assert len(node.line.appends) == (1 if fate is Fate.WRITTEN else 2)
    assert anna.kinds == ["mic_changed"]


async def test_only_what_is_missing_is_written_again(world: World, node: Node, anna: Client) -> None:
    other = await world.open_session(node, [ANNA, BEN])
    node.line.appends.clear()
    node.line.hold()
    first = anna.media(mic=True)
    await world.settle()
    answers = [anna.media(camera=True), await node.submit(other, join(BEN))]
    node.line.lose(None, Fate.LATE)
    node.line.let_one_through()
    await soon(first)
    await world.settle()
    # Of the two commits on their way, one arrives before anyone looks.
    await world.journal.append(node.line.appends[1][:1])
    node.line.release()
    await soon(asyncio.gather(*answers))
    assert [commits[1:] for commits in node.line.appends[1:2]] == node.line.appends[2:]
    for session, length in ((anna.session, 4), (other, 2)):
        assert len(await world.log(session)) == length


async def test_while_the_outcome_is_looked_for_nothing_is_told(world: World, node: Node, anna: Client) -> None:
    node.line.lose(Fate.WRITTEN)
    node.line.hold()
    answer = anna.media(mic=True)
    await world.settle()
    node.line.release()
    node.line.is_cut = True
    await world.clock.advance(1)
    assert not answer.done()
    assert anna.kinds == []
    node.line.is_cut = False
    await world.clock.advance(2)
    assert await soon(answer) == 3
    assert anna.kinds == ["mic_changed"]


async def test_a_database_that_stays_away_means_unavailable_and_then_everything_goes_on(
    world: World, node: Node, anna: Client
) -> None:
    node.line.is_cut = True
    answer = anna.media(mic=True)
    await unanswered(world, answer)
    room = await node.room(anna.session)
    assert (room.is_stale, room.seq, anna.kinds) == (True, 2, [])
    # Stale and still away: nothing is decided on a state that may not hold.
    with pytest.raises(UnavailableError):
        await soon(anna.media(mic=False))
    assert len(node.line.appends) == 1

    node.line.is_cut = False
    assert await soon(anna.media(mic=True)) == 3
    assert not room.is_stale
    assert anna.kinds == ["mic_changed"]


@pytest.mark.parametrize("repeats", [True, False])
async def test_a_lost_commit_that_did_land_is_found_by_whoever_comes_next(
    world: World, node: Node, anna: Client, repeats: bool
) -> None:
    node.line.is_cut = True
    node.line.lose(Fate.LATE)
    await unanswered(world, anna.media(mic=True))
    node.line.is_cut = False
    assert len(await node.line.land()) == 1
    assert anna.kinds == []
    command = anna.media(mic=True) if repeats else anna.media(camera=True)
    assert await soon(command) == (3 if repeats else 4)
    assert anna.kinds == (["mic_changed"] if repeats else ["mic_changed", "camera_changed"])


async def test_a_lost_commit_that_lands_while_the_next_one_is_on_its_way_wins_its_place(
    world: World, node: Node, anna: Client
) -> None:
    node.line.is_cut = True
    node.line.lose(Fate.LATE)
    await unanswered(world, anna.media(mic=True))
    node.line.is_cut = False
    node.line.hold()
    answers = [anna.media(mic=True), anna.media(camera=True)]
    await world.settle()
    assert node.line.held == 1
    assert len(await node.line.land()) == 1
    node.line.release()
    assert await soon(asyncio.gather(*answers)) == [3, 4]
    assert anna.kinds == ["mic_changed", "camera_changed"]
    assert len(await world.log(anna.session)) == 4


async def test_everything_that_waited_behind_a_lost_write_is_answered(world: World, node: Node, anna: Client) -> None:
    other = await world.open_session(node, [ANNA, BEN])
    node.line.is_cut = True
    first = anna.media(mic=True)
    await world.settle()
    behind = [anna.media(camera=True), await node.submit(other, join(BEN))]
    await world.clock.advance(2 * LONG_SECONDS)
    results = await soon(asyncio.gather(first, *behind, return_exceptions=True))
    assert [type(result) for result in results] == [UnavailableError] * 3
    node.line.is_cut = False
    assert await node.do(other, join(BEN)) == 2
    assert await soon(anna.media(mic=True, camera=True)) == 4


async def test_a_refusal_based_on_a_lost_write_is_unavailable_too(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN], max_participants=2, min_participants=2)
    await node.do(session, join(ANNA))
    node.line.hold()
    seat, full = await node.submit(session, join(BEN)), await node.submit(session, join(CLEO))
    await world.settle()
    node.line.is_cut = True
    node.line.release()
    await unanswered(world, seat)
    await unanswered(world, full)


async def test_the_queue_stays_bounded_through_an_outage(world: World) -> None:
    node = world.node("a0", max_pending=3)
    session = await world.open_session(node, [ANNA, BEN])
    room = await node.room(session)
    node.line.is_cut = True
    for _ in range(3):
        waiting = [node.rooms.submit(room, join(ANNA)) for _ in range(3)]
        with pytest.raises(UnavailableError):
            node.rooms.submit(room, join(ANNA))
        await world.clock.advance(LONG_SECONDS)
        assert all(isinstance(answer.exception(), UnavailableError) for answer in waiting)
    node.line.is_cut = False
    assert await soon(asyncio.gather(*(node.rooms.submit(room, join(who)) for who in (ANNA, BEN)))) == [2, 3]


async def test_a_reader_may_find_the_lost_commit_first(world: World, node: Node, anna: Client) -> None:
    node.line.is_cut = True
    node.line.lose(Fate.LATE)
    await unanswered(world, anna.media(mic=True))
    node.line.is_cut = False
    await node.line.land()
    snapshot = await soon(node.reader.snapshot(anna.session))
    assert (snapshot.session.seq, snapshot.participants[0].mic_enabled) == (3, True)
    assert anna.kinds == ["mic_changed"], "whoever reads first, everyone who listens is told"
    assert await soon(anna.media(camera=True)) == 4


async def test_a_reader_may_find_a_commit_before_its_own_writer_does(world: World, node: Node, anna: Client) -> None:
    node.line.lose(Fate.WRITTEN)
    node.line.hold()
    answer = anna.media(mic=True)
    await world.settle()
    node.line.release()
    reading = asyncio.ensure_future(node.reader.snapshot(anna.session))
    assert await soon(answer) == 3
    assert (await soon(reading)).session.seq in (2, 3)
    assert await soon(anna.media(camera=True)) == 4
    assert anna.kinds == ["mic_changed", "camera_changed"]


async def test_insisted_commands_happen_once_the_database_is_back(world: World, node: Node, anna: Client) -> None:
    node.line.is_cut = True
    await anna.drop()
    await world.clock.advance(2 * LONG_SECONDS)
    assert len(await world.log(anna.session)) == 2
    node.line.is_cut = False
    await world.clock.advance(2)
    assert (await world.kinds(anna.session))[2:] == ["participant_disconnected"]


async def test_a_room_that_cannot_be_loaded_is_unavailable_and_not_remembered(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    fresh = world.node("b0")
    fresh.line.is_cut = True
    with pytest.raises(UnavailableError):
        await fresh.room(session)
    assert fresh.rooms.loaded == []
    fresh.line.is_cut = False
    assert await fresh.do(session, join(ANNA), media(ANNA, mic=True)) == 3
    await world.at(minutes(0))
