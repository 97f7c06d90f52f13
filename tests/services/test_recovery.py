"""After a crash: dead nodes' participants are let go before anything else happens, the living are left alone."""

import asyncio

import pytest

from coordinator.domain.events import DisconnectReason, ParticipantDisconnected
from coordinator.domain.ids import NodeId, SessionId
from coordinator.domain.model import SessionStatus
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.background import every
from tests.domain.story import ANNA, BEN, CLEO, DINA, GRACE, NO_SHOW, join, minutes, user
from tests.services.faults import Fate
from tests.services.harness import NODE_TIMEOUT_SECONDS, Node, World, soon

USERS = [ANNA, BEN, CLEO, DINA]
SILENCE_SECONDS = NODE_TIMEOUT_SECONDS + 0.001


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    await node.recovery.start()
    return await world.open_session(node, USERS)


async def lost(world: World, session: SessionId) -> list[ParticipantDisconnected]:
    return [event.body for event in await world.log(session) if isinstance(event.body, ParticipantDisconnected)]


async def crash_after(world: World, node: Node) -> None:
    """Let documents follow, then kill the node."""
    await world.clock.advance(0.2)
    await node.crash()


async def test_participants_of_a_crashed_process_are_let_go_at_the_next_start(
    world: World, node: Node, session: SessionId
) -> None:
    await node.joined(session, ANNA, BEN)
    await crash_after(world, node)
    await world.clock.advance(SILENCE_SECONDS)
    restarted = world.node("b0")
    await soon(restarted.recovery.start())
    gone = await lost(world, session)
    assert [(body.user_id, body.reason) for body in gone] == [
        (ANNA, DisconnectReason.CONNECTION_LOST),
        (BEN, DisconnectReason.CONNECTION_LOST),
    ]
    assert set(await world.liveness.heartbeats()) == {restarted.id}
    anna = restarted.client(ANNA, session)
    await soon(anna.join())
    await world.clock.advance(GRACE.total_seconds())
    assert (await world.kinds(session))[-2:] == ["participant_reconnected", "participant_left"]
    assert anna.kinds == ["participant_left"]


async def test_lost_participants_are_let_go_before_overdue_deadlines(
    world: World, node: Node, session: SessionId
) -> None:
    await node.joined(session, ANNA, BEN)
    await crash_after(world, node)
    await world.at(minutes(1))
    restarted = world.node("b0")
    await soon(restarted.recovery.start())
    await world.clock.advance(1)
    # The start is decided with the commands that find it overdue, as of now: nobody saw the session run before that.
    kinds = (await world.kinds(session))[3:]
    assert kinds.count("participant_disconnected") == 2
    assert (await world.state(session)).present_count == 0
    await world.at(minutes(31))
    state = await world.state(session)
    assert (state.status, state.seats_taken) == (SessionStatus.ENDED, 0)
    assert await world.documents(session) == await world.expected_documents(session)


async def test_participants_of_living_nodes_are_left_alone(world: World, node: Node, session: SessionId) -> None:
    living = world.node("b0")
    await living.recovery.start()
    living.beat()
    await node.joined(session, ANNA)
    (ben,) = await living.joined(session, BEN)
    await crash_after(world, node)
    await world.clock.advance(2 * SILENCE_SECONDS)
    third = world.node("c0")
    await soon(third.recovery.start())
    assert [body.user_id for body in await lost(world, session)] == [ANNA]
    assert "participant_disconnected" in ben.kinds
    assert (await world.state(session)).participants[BEN].is_present


async def test_a_node_that_falls_silent_is_noticed_in_time(world: World, node: Node, session: SessionId) -> None:
    living = world.node("b0")
    for each in (node, living):
        await each.recovery.start()
        each.beat()
    await node.joined(session, ANNA, BEN)
    await world.clock.advance(60)
    assert await lost(world, session) == []
    await node.crash()
    crashed_at = world.clock.now()
    await world.clock.advance(NODE_TIMEOUT_SECONDS - 6)
    assert await lost(world, session) == []
    await world.clock.advance(NODE_TIMEOUT_SECONDS / 3 + 6)
    events = [event for event in await world.log(session) if isinstance(event.body, ParticipantDisconnected)]
    assert {event.body.user_id for event in events if isinstance(event.body, ParticipantDisconnected)} == {ANNA, BEN}
    assert events[0].at >= crashed_at
    assert set(await world.liveness.heartbeats()) == {living.id}


async def test_participants_that_joined_elsewhere_since_this_node_looked_are_let_go_too(
    world: World, node: Node, session: SessionId
) -> None:
    living = world.node("b0")
    await living.recovery.start()
    (dina,) = await living.joined(session, DINA)
    # From here on, nothing tells the living node what the other one writes.
    await node.joined(session, ANNA, BEN)
    await crash_after(world, node)
    living.beat()
    await world.clock.advance(2 * SILENCE_SECONDS)
    assert {body.user_id for body in await lost(world, session)} == {ANNA, BEN}
    assert dina.kinds[:2] == ["participant_joined", "participant_joined"]
    assert (await world.state(session)).present_count == 1


async def test_a_restart_within_the_timeout_lets_them_go_once_the_silence_is_long_enough(
    world: World, node: Node, session: SessionId
) -> None:
    await node.joined(session, ANNA)
    await crash_after(world, node)
    restarted = world.node("b0")
    await soon(restarted.recovery.start())
    restarted.beat()
    assert await lost(world, session) == []
    await world.clock.advance(NODE_TIMEOUT_SECONDS + NODE_TIMEOUT_SECONDS / 3)
    assert [body.user_id for body in await lost(world, session)] == [ANNA]


async def test_many_sessions_are_recovered_together(world: World, node: Node) -> None:
    await node.recovery.start()
    sessions = [await world.open_session(node, USERS) for _ in range(20)]
    for session in sessions:
        await node.do(session, *(join(who) for who in USERS))
    await crash_after(world, node)
    await world.clock.advance(SILENCE_SECONDS)
    restarted = world.node("b0")
    await soon(restarted.recovery.start())
    for session in sessions:
        assert len(await lost(world, session)) == len(USERS)
    assert len(restarted.line.appends) <= len(sessions)


async def test_ended_sessions_are_not_loaded(world: World, node: Node, session: SessionId) -> None:
    await node.joined(session, ANNA)
    await world.at(NO_SHOW)
    await crash_after(world, node)
    restarted = world.node("b0")
    await soon(restarted.recovery.start())
    assert restarted.rooms.loaded == []
    await soon(restarted.recovery.sweep())
    assert restarted.rooms.loaded == []


async def test_documents_that_were_behind_at_the_crash_catch_up(world: World, node: Node, session: SessionId) -> None:
    await world.clock.advance(1)
    world.projections.is_cut = True
    await node.joined(session, ANNA, BEN)
    await node.crash()
    world.projections.is_cut = False
    assert (await world.documents(session)).session.seq == 1
    restarted = world.node("b0")
    await soon(restarted.recovery.start())
    await world.clock.advance(1)
    assert await world.documents(session) == await world.expected_documents(session)
    assert (await world.documents(session)).session.seq == 3


async def test_participants_of_a_session_that_never_got_a_document_are_let_go_too(world: World, node: Node) -> None:
    await node.recovery.start()
    world.projections.is_cut = True
    session = await world.open_session(node, USERS)
    await node.joined(session, ANNA, BEN)
    await node.crash()
    world.projections.is_cut = False
    assert await world.projections.session(session) is None
    await world.clock.advance(SILENCE_SECONDS)
    await soon(world.node("b0").take_up())
    assert {body.user_id for body in await lost(world, session)} == {ANNA, BEN}


async def test_the_dead_are_not_forgotten_before_their_participants_are_let_go(
    world: World, node: Node, session: SessionId
) -> None:
    await node.joined(session, ANNA)
    await crash_after(world, node)
    living = world.node("b0")
    await living.recovery.start()
    living.beat()
    living.line.is_cut = True
    await world.clock.advance(4 * SILENCE_SECONDS)
    assert node.id in await world.liveness.heartbeats()
    assert await lost(world, session) == []
    living.line.is_cut = False
    await world.clock.advance(SILENCE_SECONDS)
    assert [body.user_id for body in await lost(world, session)] == [ANNA]
    assert set(await world.liveness.heartbeats()) == {living.id}


async def test_more_lost_participants_than_may_wait_are_let_go_in_several_beats(world: World, node: Node) -> None:
    await node.recovery.start()
    users = [user(number) for number in range(8)]
    session = await world.open_session(node, users)
    await node.joined(session, *users)
    narrow = world.node("b0", max_pending=3)
    await narrow.room(session)
    await crash_after(world, node)
    narrow.beat()
    await world.clock.advance(4 * SILENCE_SECONDS)
    assert len(await lost(world, session)) == len(users)


async def test_heartbeats_missed_in_an_outage_are_made_up_for(world: World, node: Node, session: SessionId) -> None:
    await node.joined(session, ANNA)
    node.beat()
    world.liveness.is_cut = True
    await world.clock.advance(10)
    with pytest.raises(OutcomeUnknownError):
        await node.recovery.beat()
    world.liveness.is_cut = False
    await world.clock.advance(60)
    assert (world.clock.now() - (await world.liveness.heartbeats())[node.id]).total_seconds() <= 5
    assert await lost(world, session) == []


async def test_a_node_does_not_take_itself_for_dead(world: World, node: Node, session: SessionId) -> None:
    await node.joined(session, ANNA)
    await world.clock.advance(10 * SILENCE_SECONDS)
    await soon(node.recovery.beat())
    assert await lost(world, session) == []


async def test_a_graceful_stop_leaves_nothing_to_recover(world: World, node: Node, session: SessionId) -> None:
    clients = await node.joined(session, ANNA, BEN)
    for client in clients:
        await client.drop(DisconnectReason.SERVER_STOPPED)
    await soon(node.errands.wait_idle(5))
    await soon(node.projector.flush())
    await soon(node.recovery.stop())
    await node.crash()
    assert [body.reason for body in await lost(world, session)] == [DisconnectReason.SERVER_STOPPED] * 2
    assert await world.liveness.heartbeats() == {}
    assert await world.documents(session) == await world.expected_documents(session)
    before = len(await world.log(session))
    restarted = world.node("b0")
    await soon(restarted.recovery.start())
    assert len(await world.log(session)) == before


async def test_a_document_without_a_journal_is_named_once_and_does_not_loop(
    world: World, node: Node, session: SessionId
) -> None:
    world.tolerated = {"session_without_journal"}
    await node.joined(session, ANNA)
    await crash_after(world, node)
    del world.journal._sessions[session]
    restarted = world.node("c0")
    await soon(restarted.recovery.start())
    await world.at(NO_SHOW)
    for _ in range(3):
        await soon(restarted.recovery.sweep())
        await world.clock.advance(1)
    assert restarted.rooms.loaded == []
    assert restarted.line.appends == []
    assert [entry["session"] for entry in world.logs if entry["event"] == "session_without_journal"] == [session]


async def test_the_sweep_tells_what_became_of_a_write_that_was_given_up(
    world: World, node: Node, session: SessionId
) -> None:
    (anna,) = await node.joined(session, ANNA)
    node.line.lose(Fate.LATE)
    node.line.is_read_only = True
    answer = anna.media(mic=True)
    await world.clock.advance(10)
    assert answer.exception() is not None
    node.line.is_read_only = False
    await node.line.land()
    assert anna.kinds == []
    await soon(node.recovery.sweep())
    assert anna.kinds == ["mic_changed"]
    reads = node.line.reads
    await soon(node.recovery.sweep())
    assert node.line.reads == reads


async def test_a_sweep_in_an_outage_goes_on_later(world: World, node: Node, session: SessionId) -> None:
    await node.joined(session, ANNA)
    await crash_after(world, node)
    other = world.node("b0")
    other.errands.start(every(world.clock, 1, other.recovery.sweep, "sweep"), "sweep")
    other.line.is_cut = True
    await world.at(NO_SHOW + minutes(1))
    assert other.rooms.loaded == []
    other.line.is_cut = False
    await world.clock.advance(2)
    assert (await world.state(session)).status is SessionStatus.ENDED
    await world.clock.advance(2)
    assert other.rooms.loaded == []


async def test_two_nodes_that_notice_a_death_at_once_let_everyone_go_once(
    world: World, node: Node, session: SessionId
) -> None:
    others = [world.node(name) for name in ("b0", "c0")]
    await node.joined(session, ANNA, BEN)
    await crash_after(world, node)
    await world.clock.advance(SILENCE_SECONDS)
    await soon(asyncio.gather(*(other.recovery.start() for other in others)))
    assert sorted(body.user_id for body in await lost(world, session)) == [ANNA, BEN]
    assert set(await world.liveness.heartbeats()) <= {NodeId("b0"), NodeId("c0")}


async def test_a_session_that_cannot_be_read_does_not_keep_the_others_from_waking(world: World, node: Node) -> None:
    world.tolerated = {"session_unreadable"}
    await node.recovery.start()
    damaged, *sessions = [await world.open_session(node, USERS) for _ in range(3)]
    for each in (damaged, *sessions):
        await node.do(each, join(ANNA))
    await crash_after(world, node)
    world.journal._sessions[damaged][9] = world.journal._sessions[damaged][1]
    await world.clock.advance(SILENCE_SECONDS)
    restarted = world.node("b0")
    await soon(restarted.recovery.start())
    assert [len(await lost(world, session)) for session in sessions] == [1, 1]
    await world.at(NO_SHOW)
    for _ in range(3):
        await soon(restarted.recovery.sweep())
    assert {(await world.state(session)).status for session in sessions} == {SessionStatus.ENDED}
    assert restarted.rooms.peek(damaged) is None
    unreadable = [entry["session"] for entry in world.logs if entry["event"] == "session_unreadable"]
    assert unreadable == [damaged]
