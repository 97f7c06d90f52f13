"""Documents follow the journal: coalesced, in time, again after a failure, and never backwards."""

import asyncio
from itertools import pairwise

import pytest

from coordinator.domain.ids import SessionId
from coordinator.domain.model import ParticipantStatus
from tests.domain.story import ANNA, BEN, CLEO, END_IT, join, leave, media, minutes, user
from tests.services.harness import Node, World, soon

WINDOW_SECONDS = 0.1
"""Within this, documents follow (SPEC section 2, event log)."""


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    session = await world.open_session(node, [ANNA, BEN, CLEO])
    await world.clock.advance(1)
    world.projections.writes.clear()
    return session


async def test_documents_follow_within_the_window(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA))
    assert (await world.documents(session)).session.seq == 1
    await world.clock.advance(WINDOW_SECONDS)
    assert await world.documents(session) == await world.expected_documents(session)
    assert (await world.documents(session)).session.seq == 2


async def test_many_commits_become_one_write_of_the_last_state(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA), join(BEN))
    for turn in range(20):
        await node.do(session, media(ANNA, mic=turn % 2 == 0))
    await world.clock.advance(WINDOW_SECONDS)
    ((sessions, participants),) = world.projections.writes
    assert len(node.line.appends) > 20
    assert [document.seq for document in sessions] == [23]
    assert sorted((document.user_id, document.seq) for document in participants) == [(ANNA, 23), (BEN, 3)]


async def test_all_rooms_share_a_write(world: World, node: Node, session: SessionId) -> None:
    others = [await world.open_session(node, [ANNA]) for _ in range(5)]
    for each in (session, *others):
        await node.do(each, join(ANNA))
    await world.clock.advance(WINDOW_SECONDS)
    ((sessions, _),) = world.projections.writes
    assert {document.id for document in sessions} == {session, *others}


async def test_a_stream_of_changes_does_not_put_documents_off(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA))
    for turn in range(100):
        await world.clock.advance(0.01)
        before = (await node.room(session)).seq
        await node.do(session, media(ANNA, mic=turn % 2 == 0))
        assert (await world.documents(session)).session.seq >= before - 10, "older than the window"
    assert len(world.projections.writes) <= 1.0 / 0.04


async def test_only_participants_that_changed_are_written(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA), join(BEN), join(CLEO))
    await world.clock.advance(WINDOW_SECONDS)
    world.projections.writes.clear()
    await node.do(session, media(BEN, camera=True))
    await world.clock.advance(WINDOW_SECONDS)
    ((sessions, participants),) = world.projections.writes
    assert [document.seq for document in sessions] == [5]
    assert [document.user_id for document in participants] == [BEN]


async def test_starting_touches_everyone_who_is_there(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA), join(BEN), join(CLEO), leave(CLEO))
    await world.clock.advance(1)
    world.projections.writes.clear()
    await world.at(minutes(0))
    await world.clock.advance(WINDOW_SECONDS)
    ((_, participants),) = world.projections.writes
    assert {document.user_id for document in participants} == {ANNA, BEN}
    stored = {document.user_id: document.status for document in (await world.documents(session)).participants}
    assert stored == {
        ANNA: ParticipantStatus.CONNECTED,
        BEN: ParticipantStatus.CONNECTED,
        CLEO: ParticipantStatus.DISCONNECTED,
    }


async def test_nothing_new_is_nothing_to_write(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, leave(ANNA))
    await world.clock.advance(5)
    assert world.projections.writes == []


@pytest.mark.parametrize("is_defect", [False, True])
async def test_a_write_that_failed_is_tried_again_until_it_succeeds(
    world: World, node: Node, session: SessionId, is_defect: bool
) -> None:
    other = await world.open_session(node, [ANNA])
    if is_defect:
        world.tolerated = {"projections_failed"}
        world.projections.defect = ZeroDivisionError()
    else:
        world.projections.is_cut = True
    await node.do(session, join(ANNA))
    await world.clock.advance(0.4)
    await node.do(session, join(BEN))
    await world.clock.advance(0.4)
    if not is_defect:
        await world.clock.advance(100)
        assert world.projections.writes == []
        world.projections.is_cut = False
    await world.clock.advance(1)
    for each in (session, other):
        assert await world.documents(each) == await world.expected_documents(each)
    assert len(world.projections.writes) == 1


async def test_a_room_is_kept_until_its_documents_are_written(world: World, node: Node, session: SessionId) -> None:
    world.projections.is_cut = True
    await node.do(session, join(ANNA))
    await world.clock.advance(1)
    node.rooms.drop_idle()
    assert [room.session_id for room in node.rooms.loaded] == [session]
    world.projections.is_cut = False
    await world.clock.advance(1)
    node.rooms.drop_idle()
    assert node.rooms.loaded == []


async def test_a_node_that_is_behind_does_not_set_documents_back(world: World, node: Node, session: SessionId) -> None:
    behind = world.node("b0")
    await behind.do(session, join(ANNA))
    await node.do(session, join(BEN), join(CLEO), END_IT)
    await world.clock.advance(WINDOW_SECONDS)
    after = await world.documents(session)
    assert after == await world.expected_documents(session)
    # The other node still believes in its own state, and says so once more.
    (await behind.room(session)).projected_seq = 0
    behind.projector.mark(await behind.room(session))
    await world.clock.advance(WINDOW_SECONDS)
    assert world.projections.writes[-1][0][0].seq == 2
    assert await world.documents(session) == after


async def test_changes_during_a_write_follow_in_the_next(
    world: World, node: Node, session: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, gate = world.projections.write, asyncio.Event()

    async def slow(*documents: object) -> None:
        await gate.wait()
        await write(*documents)  # type: ignore[arg-type]

    monkeypatch.setattr(world.projections, "write", slow)
    await node.do(session, join(ANNA))
    await world.clock.advance(WINDOW_SECONDS)
    await node.do(session, join(BEN))
    gate.set()
    await world.settle()
    assert (await node.room(session)).projected_seq == 2
    await world.clock.advance(WINDOW_SECONDS)
    assert await world.documents(session) == await world.expected_documents(session)


async def test_a_store_that_is_slow_is_left_alone_as_long_as_it_took(
    world: World, node: Node, session: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = world.projections.write

    async def slow(*documents: object) -> None:
        await world.clock.sleep(0.4)
        await write(*documents)  # type: ignore[arg-type]

    async def lag() -> float:
        """How long a change takes to be seen."""
        began = world.clock.now()
        seq = await node.do(session, media(ANNA, mic=not (await world.state(session)).participants[ANNA].mic_enabled))
        while (await world.documents(session)).session.seq < seq:
            await world.clock.advance(0.01)
        return (world.clock.now() - began).total_seconds()

    await node.do(session, join(ANNA))
    monkeypatch.setattr(world.projections, "write", slow)
    assert [await lag(), await lag()] == pytest.approx([0.49, 0.8], abs=0.02)
    monkeypatch.undo()
    assert [await lag(), await lag()] == pytest.approx([0.4, 0.09], abs=0.02)


@pytest.mark.parametrize("flush", [0.001, 0.01, 0.02, 0.03])
async def test_what_has_just_missed_a_flush_is_still_in_time(
    world: World, node: Node, session: SessionId, monkeypatch: pytest.MonkeyPatch, flush: float
) -> None:
    write = world.projections.write

    async def takes_time(*documents: object) -> None:
        await world.clock.sleep(flush)
        await write(*documents)  # type: ignore[arg-type]

    monkeypatch.setattr(world.projections, "write", takes_time)
    await node.do(session, join(ANNA), join(BEN), join(CLEO))
    await world.clock.advance(1)
    changed: list[tuple[int, float]] = []
    latest = 0.0
    for turn in range(400):
        seq = await node.do(session, media((ANNA, BEN, CLEO)[turn % 3], mic=turn % 6 < 3))
        changed.append((seq, world.clock.monotonic()))
        await world.clock.advance(0.001)
        stored = (await world.documents(session)).session.seq
        while changed and changed[0][0] <= stored:
            latest = max(latest, world.clock.monotonic() - changed.pop(0)[1])
    assert latest <= WINDOW_SECONDS
    assert latest >= 0.08, "too early: more could have been coalesced"


async def test_a_busy_store_has_half_of_its_time_for_commits(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [await world.open_session(node, [ANNA]) for _ in range(25)]
    for each in sessions:
        await node.do(each, join(ANNA))
    await world.clock.advance(1)
    write, spans = world.projections.write, list[tuple[float, float]]()

    async def slow(*documents: object) -> None:
        began = world.clock.monotonic()
        await world.clock.sleep(0.06)
        spans.append((began, world.clock.monotonic()))
        await write(*documents)  # type: ignore[arg-type]

    monkeypatch.setattr(world.projections, "write", slow)
    for turn in range(60):
        for each in sessions:
            await node.do(each, media(ANNA, mic=turn % 2 == 0))
        await world.clock.advance(0.02)
    assert len(spans) > 5
    pauses = [began - ended for (_, ended), (began, _) in pairwise(spans)]
    assert min(pauses) >= 0.06 - 1e-9


async def test_a_flush_that_takes_what_the_loop_waits_for_leaves_it_nothing_to_write(
    world: World, node: Node, session: SessionId
) -> None:
    await node.do(session, join(ANNA))
    await world.clock.advance(0.07)
    await soon(node.projector.flush())
    await world.clock.advance(1)
    assert len(world.projections.writes) == 1
    await node.do(session, leave(ANNA))
    await world.clock.advance(WINDOW_SECONDS)
    assert await world.documents(session) == await world.expected_documents(session)


async def test_a_last_flush_before_the_end_writes_everything(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA))
    await soon(node.projector.flush())
    assert await world.documents(session) == await world.expected_documents(session)


async def test_after_everything_the_documents_equal_the_fold_of_the_journal(world: World) -> None:
    node = world.node("a0", require_registration=False)
    users = [user(number) for number in range(6)]
    sessions = [await world.open_session(node, users[:2]) for _ in range(4)]
    for turn in range(40):
        session = sessions[turn % 4]
        who = users[(turn * 7) % 6]
        await node.do(session, join(who))
        await node.do(session, media(who, mic=turn % 3 == 0))
        if turn % 5 == 0:
            await node.do(session, leave(who))
        await world.clock.advance(0.03 * (turn % 4))
    await world.at(minutes(31))
    for session in sessions:
        assert await world.documents(session) == await world.expected_documents(session)
        assert (await world.documents(session)).session.next_deadline is None
