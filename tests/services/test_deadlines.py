"""What a session does by itself happens on time: in memory by its timers, elsewhere by the sweep."""

from datetime import datetime, timedelta

import pytest

from coordinator.domain.events import Event, SessionEnded
from coordinator.domain.ids import SessionId
from coordinator.domain.model import EndReason, SessionStatus
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    EMPTY,
    END,
    GRACE,
    MOMENT,
    NO_SHOW,
    START,
    join,
    leave,
    lose,
    media,
    minutes,
    seconds,
)
from tests.services.clients import Client, Note
from tests.services.harness import Node, World, soon

ON_TIME = timedelta(milliseconds=5)
"""How late a deadline may be for a room in memory, on a clock that stands still meanwhile."""


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    return await world.open_session(node, [ANNA, BEN, CLEO])


async def started(world: World, node: Node, session: SessionId) -> list[Client]:
    clients = await node.joined(session, ANNA, BEN)
    await world.at(minutes(0))
    return clients


async def last(world: World, session: SessionId, kind: str) -> Event:
    return [event for event in await world.log(session) if event.body.kind == kind][-1]


async def happened_at(world: World, session: SessionId, kind: str, instant: datetime) -> Event:
    event = await last(world, session, kind)
    assert instant <= event.at <= instant + ON_TIME
    return event


async def end_reason(world: World, session: SessionId, instant: datetime) -> EndReason:
    body = (await happened_at(world, session, "session_ended", instant)).body
    assert isinstance(body, SessionEnded)
    return body.reason


async def test_a_session_starts_at_its_start(world: World, node: Node, session: SessionId) -> None:
    (anna, _) = await node.joined(session, ANNA, BEN)
    await world.at(-MOMENT)
    assert (await world.state(session)).status is SessionStatus.WAITING
    await world.at(minutes(0))
    await happened_at(world, session, "session_started", START)
    assert anna.kinds[-1] == "session_started"


async def test_a_session_starts_when_the_last_missing_participant_comes(
    world: World, node: Node, session: SessionId
) -> None:
    await node.joined(session, ANNA)
    await world.at(minutes(3))
    assert (await world.state(session)).status is SessionStatus.WAITING
    (ben,) = await node.joined(session, BEN)
    await happened_at(world, session, "session_started", START + minutes(3))
    assert ben.position == 4


async def test_too_few_end_it(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    await world.at(NO_SHOW - MOMENT)
    assert anna.listens()
    await world.at(NO_SHOW)
    assert await end_reason(world, session, START + NO_SHOW) is EndReason.NOT_ENOUGH_PARTICIPANTS
    assert anna.kinds == ["session_ended", "participant_left"]


async def test_it_ends_when_its_time_is_over(world: World, node: Node, session: SessionId) -> None:
    await started(world, node, session)
    await world.at(END - MOMENT)
    assert (await world.state(session)).status is SessionStatus.ACTIVE
    await world.at(END)
    assert await end_reason(world, session, START + END) is EndReason.COMPLETED
    assert (await node.room(session)).timers == []


async def test_a_session_that_everyone_left_ends(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await started(world, node, session)
    await soon(anna.leave())
    await world.clock.advance(90)
    left_at = world.clock.now()
    await soon(ben.leave())
    await world.clock.advance(EMPTY.total_seconds() - 0.001)
    assert (await world.state(session)).is_live
    await world.clock.advance(0.001)
    assert await end_reason(world, session, left_at + EMPTY) is EndReason.EMPTY


async def test_whoever_comes_back_keeps_it_alive(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await started(world, node, session)
    await soon(anna.leave())
    await soon(ben.leave())
    await world.clock.advance(EMPTY.total_seconds() - 1)
    await soon(ben.join())
    await world.clock.advance(5 * EMPTY.total_seconds())
    assert (await world.state(session)).is_live


async def test_a_held_seat_is_freed_on_time(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await started(world, node, session)
    lost_at = world.clock.now()
    await anna.vanish()
    await world.clock.advance(GRACE.total_seconds() - 0.001)
    assert (await world.state(session)).seats_taken == 2
    await world.clock.advance(0.001)
    await happened_at(world, session, "participant_left", lost_at + GRACE)
    assert ben.kinds[-1] == "participant_left"


async def test_participants_are_told_before_the_end(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await started(world, node, session)
    late = node.client(CLEO, session)
    await world.at(END - seconds(301))
    assert anna.notes == []
    await world.at(END - seconds(300))
    notice = Note("session_ending", {"sessionId": session, "secondsLeft": 300})
    assert anna.notes == ben.notes == [notice]
    await soon(late.join())
    await world.at(END - seconds(60))
    last_notice = Note("session_ending", {"sessionId": session, "secondsLeft": 60})
    assert anna.notes == [notice, last_notice]
    assert late.notes == [last_notice]
    await world.at(END)
    assert anna.kinds[-4:] == ["session_ended", *["participant_left"] * 3]


async def test_every_notice_comes_once_however_the_deadline_moves(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await started(world, node, session)
    for turn in range(20):
        await world.at(END - seconds(400 - 20 * turn))
        if turn % 2:
            ben = node.client(BEN, session)
            await soon(ben.join())
        else:
            await ben.vanish()
    assert [note.payload["secondsLeft"] for note in anna.notes] == [300, 60]


async def test_a_waiting_session_gives_no_notice(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA], duration_minutes=15)
    (anna,) = await node.joined(session, ANNA)
    await world.at(NO_SHOW)
    assert anna.kinds == ["session_ended", "participant_left"]


async def test_a_timer_that_goes_off_early_is_set_again(
    world: World, node: Node, session: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.joined(session, ANNA, BEN)
    # The stopwatch runs ahead of the wall clock by a hundredth.
    call_later = world.clock.call_later
    monkeypatch.setattr(world.clock, "call_later", lambda after, call: call_later(after * 0.99, call))
    (await node.room(session)).timed_for = None
    node.rooms._set_timers(await node.room(session))
    await world.at(-seconds(1))
    assert (await world.state(session)).status is SessionStatus.WAITING
    await world.at(minutes(0))
    await world.clock.advance(0.01)
    await happened_at(world, session, "session_started", START)
    assert len(node.line.appends) == 4


async def test_what_is_overdue_when_a_room_is_loaded_happens_at_once(
    world: World, node: Node, session: SessionId
) -> None:
    await node.do(session, join(ANNA), join(BEN))
    await node.crash()
    await world.at(minutes(2))
    other = world.node("b0")
    await other.room(session)
    await world.clock.advance(0.01)
    await happened_at(world, session, "session_started", START + minutes(2))
    await other.crash()
    await world.at(minutes(100))
    third = world.node("c0")
    await third.room(session)
    await world.clock.advance(0.01)
    assert await end_reason(world, session, START + minutes(100)) is EndReason.COMPLETED


@pytest.mark.parametrize("away_seconds", [1, 30, 300])
async def test_a_deadline_passes_while_the_journal_is_away(
    world: World, node: Node, session: SessionId, away_seconds: float
) -> None:
    await node.do(session, join(ANNA), join(BEN))
    await world.at(-seconds(1))
    node.line.is_cut = True
    await world.at(seconds(away_seconds))
    assert (await world.state(session)).status is SessionStatus.WAITING
    node.line.is_cut = False
    await world.clock.advance(4)
    assert START <= (await last(world, session, "session_started")).at <= world.clock.now()
    await world.at(END)
    assert await end_reason(world, session, START + END) is EndReason.COMPLETED


async def test_a_room_dropped_while_its_deadline_waits_for_the_journal_comes_to_rest(
    world: World, node: Node, session: SessionId
) -> None:
    await node.do(session, join(ANNA), join(BEN))
    await world.at(-seconds(1))
    node.line.is_read_only = True
    dropped = await node.room(session)
    await world.at(seconds(3))
    for _ in range(100):
        if dropped.is_idle:  # between two attempts
            break
        await world.clock.advance(0.1)
    node.rooms.drop_idle()
    assert node.rooms.loaded == []
    node.line.is_read_only = False
    await world.clock.advance(5)
    assert (await world.state(session)).status is SessionStatus.ACTIVE
    # Nothing goes on for the room that is no more.
    assert await node.room(session) is not dropped
    assert dropped.timers == []
    assert world.clock.pending == len((await node.room(session)).timers)


async def test_idle_rooms_are_dropped_and_woken_by_the_sweep(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    await world.clock.advance(1)
    await node.recovery.sweep()
    assert len(node.rooms.loaded) == 1, "someone listens"
    await anna.vanish()
    await world.clock.advance(1)
    await node.recovery.sweep()
    assert node.rooms.loaded == []
    assert world.clock.pending == 0

    await world.clock.advance(GRACE.total_seconds() - 2)
    await node.recovery.sweep()
    assert node.rooms.loaded == [], "nothing is due yet"
    await world.clock.advance(1)
    await node.recovery.sweep()
    await world.clock.advance(1)
    assert (await world.kinds(session))[-1] == "participant_left"
    await node.recovery.sweep()
    assert node.rooms.loaded == []
    await world.at(NO_SHOW)
    await node.recovery.sweep()
    await world.clock.advance(1)
    assert await end_reason(world, session, START + NO_SHOW) is EndReason.NOT_ENOUGH_PARTICIPANTS


async def test_a_room_is_not_dropped_while_anything_hangs_on_it(world: World, node: Node, session: SessionId) -> None:
    node.line.hold()
    answer = await node.submit(session, join(ANNA))
    node.rooms.drop_idle()
    await world.clock.advance(1)
    node.rooms.drop_idle()
    assert len(node.rooms.loaded) == 1
    node.line.release()
    assert await soon(answer) == 2
    with (await node.room(session)).in_use():
        await world.clock.advance(1)
        node.rooms.drop_idle()
        assert len(node.rooms.loaded) == 1
    node.rooms.drop_idle()
    assert node.rooms.loaded == []


async def test_deadlines_move_with_what_happens(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA), join(BEN))
    room = await node.room(session)
    seen = [room.timed_for]
    for command in (lose(BEN), join(BEN), leave(BEN), media(ANNA, mic=True)):
        await node.do(session, command)
        seen.append(room.timed_for)
    now = world.clock.now()
    waiting = SessionStatus.WAITING
    expected = [START, now + GRACE, START, START + NO_SHOW, START + NO_SHOW]
    assert seen == [(deadline, waiting) for deadline in expected]
    timers = list(room.timers)
    await node.do(session, media(ANNA, mic=False))
    assert room.timers == timers, "what moves no deadline moves no timer"
    assert len(timers) == 1
