"""Moderators watch sessions: they hear what participants hear, hold no seat, and are not seen."""

import asyncio
import random

import pytest

from coordinator.domain.errors import InvalidRequestError, NotFoundError, UnavailableError
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import SealedEvent
from coordinator.services.room import RECENT_EVENTS
from tests.domain.story import ANNA, BEN, CLEO, END_IT, MODERATOR, START, attach, minutes, record
from tests.services.harness import WATCHED_SESSIONS, Node, World, soon


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    return await world.open_session(node, [ANNA, BEN, CLEO])


async def test_a_watch_is_answered_like_a_join_and_every_event_follows(
    world: World, node: Node, session: SessionId
) -> None:
    (anna,) = await node.joined(session, ANNA)
    mona = node.watcher()
    view = await soon(mona.watch(session))
    assert (view.session_id, view.seq, view.server_time, view.events) == (session, 2, world.clock.now(), None)
    assert view.snapshot == await world.expected_documents(session)
    await soon(anna.media(camera=True))
    await node.joined(session, BEN)
    await soon(anna.leave())
    assert mona.heard == (await world.log(session))[2:]


async def test_a_watcher_is_no_participant(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    mona = node.watcher()
    await soon(mona.watch(session))
    await world.clock.advance(1)
    assert await world.kinds(session) == ["session_opened", "participant_joined"]
    assert list((await world.state(session)).participants) == [ANNA]
    assert anna.kinds == []
    mona.vanish()
    await world.clock.advance(60)
    assert await world.kinds(session) == ["session_opened", "participant_joined"]


async def test_with_after_what_was_missed_is_replayed(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    for turn in range(RECENT_EVENTS + 10):
        await soon(anna.media(mic=turn % 2 == 0))
    log = await world.log(session)
    for after in (0, 1, 5, len(log) - 1, len(log)):
        view = await soon(node.watcher().watch(session, after))
        assert view.events is not None
        assert [sealed.event for sealed in view.events] == log[after:]


async def test_too_much_or_the_future_becomes_a_snapshot(world: World) -> None:
    node = world.node("a0", replay_limit=2)
    session = await world.open_session(node, [ANNA])
    (anna,) = await node.joined(session, ANNA)
    await soon(anna.media(mic=True))
    assert (await soon(node.watcher().watch(session, 1))).events is not None
    for after in (0, 4):
        view = await soon(node.watcher().watch(session, after))
        assert view.snapshot == await world.expected_documents(session)


async def test_a_session_that_is_over_can_be_watched(world: World, node: Node, session: SessionId) -> None:
    anna, _ = await node.joined(session, ANNA, BEN)
    await soon(anna.consent(True))
    await node.do(session, record())
    await world.clock.advance_to(START + minutes(1))
    await node.do(session, END_IT)
    await world.settle()
    node.rooms.drop_idle()
    mona = node.watcher()
    view = await soon(mona.watch(session))
    assert view.snapshot is not None
    assert view.snapshot.session.status == "ended"
    await node.do(session, attach(ANNA, minutes(0.5)))
    assert mona.kinds(session) == ["recording_attached"]


async def test_watching_again_is_a_fresh_answer_and_doubles_nothing(
    world: World, node: Node, session: SessionId
) -> None:
    (anna,) = await node.joined(session, ANNA)
    mona = node.watcher()
    for expected in (2, 3, 4):
        view = await soon(mona.watch(session, None if expected % 2 == 0 else 2))
        assert view.seq == expected
        await soon(anna.media(mic=expected % 2 == 0))
    assert [event.seq for event in mona.heard] == [3, 4, 5]


async def test_after_unwatch_nothing_comes(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    mona, other = node.watcher(), node.watcher()
    for watcher in (mona, other):
        await soon(watcher.watch(session))
    mona.unwatch(session)
    mona.unwatch(session)
    mona.unwatch(SessionId("e" * 24))
    await soon(anna.media(mic=True))
    assert mona.heard == []
    assert other.kinds(session) == ["mic_changed"]
    await soon(mona.watch(session))
    await soon(anna.media(mic=False))
    assert [event.seq for event in mona.heard] == [4]


async def test_a_watched_room_stays_in_memory_and_only_so_long(world: World, node: Node, session: SessionId) -> None:
    mona = node.watcher()
    await soon(mona.watch(session))
    room = node.rooms.peek(session)
    await world.clock.advance(1)
    node.rooms.drop_idle()
    assert node.rooms.peek(session) is room
    mona.unwatch(session)
    node.rooms.drop_idle()
    assert node.rooms.loaded == []


async def test_several_sessions_at_once_each_in_its_order(world: World, node: Node) -> None:
    sessions = [await world.open_session(node, [ANNA, BEN]) for _ in range(WATCHED_SESSIONS)]
    mona = node.watcher()
    for session in sessions:
        await soon(mona.watch(session))
    annas = [(await node.joined(session, ANNA))[0] for session in sessions]
    await soon(asyncio.gather(*(anna.media(mic=turn == 0) for turn in range(2) for anna in annas)))
    for session in sessions:
        assert mona.kinds(session) == ["participant_joined", "mic_changed", "mic_changed"]


async def test_the_number_of_sessions_is_limited(world: World, node: Node) -> None:
    sessions = [await world.open_session(node, [ANNA]) for _ in range(WATCHED_SESSIONS + 1)]
    mona = node.watcher()
    for session in sessions[:-1]:
        await soon(mona.watch(session))
    with pytest.raises(InvalidRequestError) as caught:
        await soon(mona.watch(sessions[-1]))
    assert caught.value.field == "sessionId"
    assert not mona.listens(sessions[-1])
    await soon(mona.watch(sessions[0]))
    await soon(node.watcher().watch(sessions[-1]))
    mona.unwatch(sessions[0])
    await soon(mona.watch(sessions[-1]))
    assert mona.listens(sessions[-1])


async def test_a_connection_that_is_gone_watches_nothing(world: World, node: Node) -> None:
    sessions = [await world.open_session(node, [ANNA]) for _ in range(WATCHED_SESSIONS)]
    mona = node.watcher()
    for session in sessions:
        await soon(mona.watch(session))
    mona.vanish()
    mona.vanish()
    assert not any(mona.listens(session) for session in sessions)
    await world.clock.advance(1)
    node.rooms.drop_idle()
    assert node.rooms.loaded == []


async def test_a_watcher_is_not_closed_with_the_participant_of_the_same_name(
    world: World, node: Node, session: SessionId
) -> None:
    watcher = node.watcher(ANNA)
    await soon(watcher.watch(session))
    (anna,) = await node.joined(session, ANNA)
    (again,) = await node.joined(session, ANNA)
    assert anna.is_closed
    await soon(node.moderation.remove(MODERATOR, session, ANNA, None))
    assert again.is_closed
    assert watcher.closed is None
    assert watcher.listens(session)
    assert watcher.kinds(session) == ["participant_joined", "participant_reconnected", "participant_left"]


async def test_watchers_are_told_that_the_session_is_ending(world: World, node: Node, session: SessionId) -> None:
    mona, gone = node.watcher(), node.watcher()
    for watcher in (mona, gone):
        await soon(watcher.watch(session))
    await node.joined(session, ANNA, BEN)
    gone.unwatch(session)
    await world.clock.advance_to(START + minutes(29.5))
    notices = [("session_ending", {"sessionId": session, "secondsLeft": left}) for left in (300, 60)]
    assert mona.notes == notices
    assert gone.notes == []


@pytest.mark.parametrize("unknown", ["e" * 24, "nonsense"])
async def test_an_unknown_session_is_not_found(world: World, node: Node, unknown: str) -> None:
    with pytest.raises(NotFoundError):
        await soon(node.watcher().watch(SessionId(unknown)))
    assert node.rooms.loaded == []


async def test_a_database_that_is_away_is_said_to_be(world: World, node: Node, session: SessionId) -> None:
    mona = node.watcher()
    node.line.is_cut = True
    with pytest.raises(UnavailableError):
        await soon(mona.watch(session))
    assert not mona.listens(session)
    node.line.is_cut = False
    await soon(mona.watch(session))


# Other nodes.


async def test_a_watch_is_answered_with_what_another_node_has_done(
    world: World, node: Node, session: SessionId
) -> None:
    here, there = node, world.node("b0")
    mona = here.watcher()
    await soon(mona.watch(session))
    await there.joined(session, ANNA)
    view = await soon(here.watcher().watch(session))
    assert view.seq == 2
    assert mona.kinds(session) == ["participant_joined"], "the watchers before hear of it too"


async def test_what_another_node_does_is_heard_within_a_second(world: World, node: Node, session: SessionId) -> None:
    there = world.node("b0")
    for each in (there, node):
        await soon(each.recovery.start())
    mona = node.watcher()
    await soon(mona.watch(session))
    node.tick()
    (anna,) = await there.joined(session, ANNA)
    await soon(anna.media(mic=True))
    await world.clock.advance(1)
    assert mona.kinds(session) == ["participant_joined", "mic_changed"]
    await there.do(session, END_IT)
    await world.clock.advance(1)
    assert mona.kinds(session)[2:] == ["session_ended", "participant_left"]


@pytest.mark.parametrize("seed", range(20))
async def test_nothing_is_lost_or_doubled_whenever_one_watches(world: World, session: SessionId, seed: int) -> None:
    """`Watcher` itself checks that every event comes once and in order; in the end all of them have come."""
    chance = random.Random(seed)
    node = world.node("c0", replay_limit=chance.choice([3, 1000]))
    other = world.node("b0")
    node.course.jitter = random.Random(seed + 1)
    (anna,) = await node.joined(session, ANNA)
    (ben,) = await other.joined(session, BEN)
    watchers = [node.watcher() for _ in range(4)]

    async def talk() -> None:
        for turn in range(60):
            await chance.choice((anna, ben)).media(mic=turn % 2 == 0, camera=turn % 3 == 0)

    async def watch_again_and_again(number: int) -> None:
        mona = watchers[number]
        for _ in range(12):
            after = mona.positions.get(session) if chance.random() < 0.7 else None
            await mona.watch(session, after)
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            if chance.random() < 0.4:
                mona.unwatch(session)
        await mona.watch(session)

    await soon(asyncio.gather(talk(), *(watch_again_and_again(number) for number in range(4))))
    node.following.look_at_all()
    await world.settle()
    seq = (await world.log(session))[-1].seq
    assert [mona.positions[session] for mona in watchers] == [seq] * 4


async def test_events_are_those_that_participants_get(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    mona = node.watcher()
    view = await soon(mona.watch(session, 0))
    assert view.events is not None
    await node.joined(session, BEN)
    told = [item for item in anna.heard if isinstance(item, SealedEvent)]
    journal = await world.journal.events_after(session, 0)
    assert [*view.events, *told] == list(journal)
