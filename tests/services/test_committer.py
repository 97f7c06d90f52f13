"""Group commit when all goes well, and when there is too much of it: gathering, durability, bounds, defects."""

import asyncio
from typing import Any

import pytest

from coordinator.adapters.memory.clock import ManualClock
from coordinator.domain.commands import Command
from coordinator.domain.decide import Decision
from coordinator.domain.errors import (
    NotInSessionError,
    RoomFullError,
    SessionEndedError,
    UnavailableError,
)
from coordinator.domain.ids import SessionId
from coordinator.services.committer import MAX_COMMANDS_PER_COMMIT, MAX_ROOMS_PER_FLUSH
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    END,
    GRACE,
    MODERATOR,
    NO_SHOW,
    PASS,
    START,
    acting,
    join,
    leave,
    lose,
    media,
    minutes,
    remove,
    user,
)
from tests.services.harness import Node, World, soon

MANY = 5


async def sessions(world: World, node: Node, count: int) -> list[SessionId]:
    opened = [await world.open_session(node, [ANNA, BEN, CLEO]) for _ in range(count)]
    node.line.appends.clear()
    return opened


async def test_commands_of_all_rooms_gather_while_an_append_is_under_way(world: World, node: Node) -> None:
    rooms = await sessions(world, node, MANY)
    node.line.hold()
    first = await node.submit(rooms[0], join(ANNA))
    await world.settle()
    assert node.line.held == 1

    answers = [await node.submit(session, join(who)) for session in rooms for who in (BEN, CLEO)]
    await world.settle()
    assert node.line.held == 1
    node.line.release()
    assert await soon(asyncio.gather(first, *answers)) == [2, 3, 4, *([2, 3] * (MANY - 1))]

    assert [len(commits) for commits in node.line.appends] == [1, MANY]
    assert [len(commit.events) for commit in node.line.appends[1]] == [2] * MANY
    for session in rooms:
        assert len(await world.log(session)) == (4 if session == rooms[0] else 3)


async def test_a_room_has_never_two_commits_in_flight(world: World, node: Node) -> None:
    one, other = await sessions(world, node, 2)
    node.line.hold()
    answers = []
    for turn in range(6):
        answers.append(await node.submit(one, join(user(turn))))
        answers.append(await node.submit(other, join(user(turn))))
        await world.settle()
        assert node.line.held == 1
        assert (await node.room(one)).in_flight or (await node.room(other)).in_flight
        node.line.let_one_through()
        await world.settle()
    node.line.release()
    await soon(asyncio.gather(*answers))
    # The journal line itself objects to a second commit of a room; this only tells that there was an occasion.
    assert len(node.line.appends) > MANY
    assert not (await node.room(one)).in_flight


async def test_nothing_is_told_or_answered_before_it_is_durable(world: World, node: Node) -> None:
    (session,) = await sessions(world, node, 1)
    (anna,) = await node.joined(session, ANNA)
    node.line.hold()
    answer = anna.media(mic=True)
    coming = asyncio.ensure_future(node.client(BEN, session).join())
    await world.clock.advance(1)

    room = await node.room(session)
    assert (node.line.held, room.seq, anna.position) == (1, 2, 2)
    assert not answer.done()
    assert not coming.done()
    assert (await world.documents(session)).session.seq == 2

    node.line.release()
    await soon(answer)
    await soon(coming)
    assert anna.kinds[-2:] == ["mic_changed", "participant_joined"]


async def test_an_answer_is_ready_only_after_everyone_was_told(world: World, node: Node) -> None:
    (session,) = await sessions(world, node, 1)
    anna, ben = await node.joined(session, ANNA, BEN)
    heard_when_answered: list[int] = []
    answer = anna.media(camera=True)
    answer.add_done_callback(lambda _: heard_when_answered.append(ben.position))
    assert await soon(answer) == 4
    await world.settle()
    assert heard_when_answered == [4]


async def test_a_refusal_waits_for_the_event_it_is_based_on(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN, CLEO], max_participants=2)
    await node.do(session, join(ANNA))
    node.line.hold()
    taken = await node.submit(session, join(BEN))
    full = await node.submit(session, join(CLEO))
    await world.settle()
    assert not full.done(), "the seat that is taken from CLEO is not yet durably BEN's"
    node.line.release()
    assert await soon(taken) == 3
    with pytest.raises(RoomFullError):
        await soon(full)


async def test_a_refusal_that_is_based_on_what_is_durable_needs_no_write(world: World, node: Node) -> None:
    (session,) = await sessions(world, node, 1)
    with pytest.raises(NotInSessionError):
        await node.do(session, media(ANNA, mic=True))
    assert node.line.appends == []


async def test_what_already_is_as_asked_is_answered_without_a_write(world: World, node: Node) -> None:
    (session,) = await sessions(world, node, 1)
    assert await node.do(session, join(ANNA)) == 2
    assert await node.do(session, join(ANNA)) == 2
    assert await node.do(session, leave(BEN), lose(BEN), media(ANNA, mic=False), PASS) == 2
    assert len(node.line.appends) == 1


async def test_commands_take_effect_in_the_order_in_which_they_were_submitted(world: World, node: Node) -> None:
    (session,) = await sessions(world, node, 1)
    switches = [media(ANNA, mic=bool(turn % 2)) for turn in range(1, 2 * MAX_COMMANDS_PER_COMMIT)]
    await node.do(session, join(ANNA), *switches, leave(ANNA))
    expected = ["session_opened", "participant_joined", *["mic_changed"] * len(switches), "participant_left"]
    assert await world.kinds(session) == expected
    assert len(node.line.appends) == 3


async def test_more_rooms_than_one_write_takes_are_written_in_turn(world: World, node: Node) -> None:
    rooms = await sessions(world, node, MAX_ROOMS_PER_FLUSH + 3)
    answers = [await node.submit(session, join(ANNA)) for session in rooms]
    assert set(await soon(asyncio.gather(*answers))) == {2}
    assert sum(len(commits) for commits in node.line.appends) == len(rooms)
    assert max(len(commits) for commits in node.line.appends) <= MAX_ROOMS_PER_FLUSH


async def test_a_full_queue_refuses_at_once_and_serves_again_afterwards(world: World) -> None:
    node = world.node("a0", max_pending=MANY)
    (session,) = await sessions(world, node, 1)
    node.line.hold()
    waiting = [await node.submit(session, join(user(number))) for number in range(MANY)]
    await world.settle()
    room = await node.room(session)
    for _ in range(1000):
        with pytest.raises(UnavailableError):
            node.rooms.submit(room, join(ANNA))
    assert len(room.pending) <= MANY

    node.line.release()
    await soon(asyncio.gather(*waiting))
    assert await node.do(session, join(ANNA)) == MANY + 2
    # Whatever became of a command, its place is free again.
    for _ in range(3):
        answers = [node.rooms.submit(room, media(who, mic=True)) for who in (ANNA, BEN, CLEO)]
        answers[0].cancel()
        await soon(asyncio.gather(*answers, return_exceptions=True))
    assert len(await soon(asyncio.gather(*(node.rooms.submit(room, PASS) for _ in range(MANY))))) == MANY


async def test_a_command_that_nobody_waits_for_any_more_is_not_decided(world: World, node: Node) -> None:
    (session,) = await sessions(world, node, 1)
    node.line.hold()
    first = await node.submit(session, join(ANNA))
    await world.settle()
    given_up = await node.submit(session, join(BEN))
    last = await node.submit(session, join(CLEO))
    given_up.cancel()
    first.cancel()
    node.line.release()
    assert await soon(last) == 3
    assert await world.kinds(session) == ["session_opened", "participant_joined", "participant_joined"]
    assert BEN not in (await world.state(session)).participants
    assert ANNA in (await world.state(session)).participants, "it was on its way already"


async def test_what_fell_due_before_a_command_happens_even_when_the_command_is_refused(
    world: World, node: Node
) -> None:
    (session,) = await sessions(world, node, 1)
    room = await node.room(session)
    room.cancel_timers()
    await world.at(NO_SHOW)
    with pytest.raises(SessionEndedError):
        await soon(node.rooms.submit(room, join(ANNA)))
    assert await world.kinds(session) == ["session_opened", "session_ended"]


async def test_what_fell_due_comes_before_the_command_that_finds_it(world: World, node: Node) -> None:
    (session,) = await sessions(world, node, 1)
    await node.do(session, join(ANNA), lose(ANNA))
    room = await node.room(session)
    room.cancel_timers()
    await world.clock.advance(GRACE.total_seconds() + 1)
    assert await soon(node.rooms.submit(room, join(ANNA))) == 5
    assert (await world.kinds(session))[3:] == ["participant_left", "participant_joined"]


async def test_each_user_gets_a_salt_of_its_own(world: World, node: Node) -> None:
    one, other = await sessions(world, node, 2)
    await node.do(one, join(ANNA), media(ANNA, mic=True), join(BEN))
    await node.do(other, join(ANNA), join(BEN))
    await node.do(one, leave(ANNA), join(ANNA), join(CLEO))
    salts = [alias.salt for session in (one, other) for alias in (await world.state(session)).aliases.values()]
    assert len(set(salts)) == len(salts) == 5


async def test_a_defect_in_the_decider_is_answered_and_harms_nobody_else(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear = Decision.hear

    def broken(decision: Decision, command: Command) -> None:
        if getattr(command, "user_id", None) == BEN:
            raise ZeroDivisionError
        hear(decision, command)

    world.tolerated = {"decider_failed"}
    one, other = await sessions(world, node, 2)
    await node.do(one, join(ANNA), join(BEN))
    monkeypatch.setattr(Decision, "hear", broken)
    before, defect, after = [await node.submit(one, command) for command in (leave(ANNA), remove(BEN), join(CLEO))]
    elsewhere = await node.submit(other, join(ANNA))
    assert [await soon(answer) for answer in (before, after, elsewhere)] == [4, 5, 2]
    with pytest.raises(ZeroDivisionError):
        await soon(defect)
    assert len(await world.log(one)) == 5


async def test_a_defect_in_telling_does_not_keep_the_answer_nor_what_follows(world: World, node: Node) -> None:
    world.tolerated = {"on_commit_failed"}
    one, other = await sessions(world, node, 2)
    node.megaphone.defect = ZeroDivisionError()
    assert await node.do(one, join(ANNA), join(BEN)) == 3
    assert await node.do(other, join(ANNA)) == 2
    node.megaphone.defect = None
    await world.clock.advance(1)
    assert await world.documents(one) == await world.expected_documents(one)
    await world.at(minutes(0))
    assert (await world.kinds(one))[-1] == "session_started"


async def test_a_defect_in_writing_is_answered_and_the_next_command_finds_what_holds(world: World, node: Node) -> None:
    world.tolerated = {"flush_failed"}
    one, other = await sessions(world, node, 2)
    node.line.defect = ZeroDivisionError()
    answers = [await node.submit(session, join(ANNA)) for session in (one, other)]
    for answer in answers:
        with pytest.raises(ZeroDivisionError):
            await soon(answer)
    for session in (one, other):
        assert not (await node.room(session)).in_flight
        assert await node.do(session, join(ANNA)) == 2


async def test_a_defect_in_one_room_leaves_no_other_room_hanging(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tolerated = {"flush_failed", "room_failed"}
    broken, healthy = await sessions(world, node, 2)
    read = node.line.read

    async def unreadable(session: SessionId, after: int = 0) -> Any:
        if session == broken:
            raise KeyError("an event that this version does not know")
        return await read(session, after)

    monkeypatch.setattr(node.line, "read", unreadable)
    room = await node.room(broken)
    room.is_stale = True
    # The healthy room is decided first, then the other one spoils the flush.
    answers = [await node.submit(healthy, join(ANNA)), await node.submit(broken, join(ANNA))]
    assert await soon(answers[0]) == 2
    with pytest.raises(KeyError):
        await soon(answers[1])
    assert not (await node.room(healthy)).in_flight

    monkeypatch.undo()
    assert await node.do(broken, join(ANNA)) == 2
    assert await node.do(healthy, join(BEN)) == 3


async def test_a_commit_that_cannot_be_sealed_is_answered_too(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    world.tolerated = {"flush_failed", "room_failed"}
    (session,) = await sessions(world, node, 1)
    monkeypatch.setattr(node.ids, "new_id", broken)
    with pytest.raises(ZeroDivisionError):
        await node.do(session, join(ANNA))
    monkeypatch.undo()
    assert await node.do(session, join(ANNA)) == 2


async def test_times_in_the_log_never_run_backwards(world: World, node: Node) -> None:
    (session,) = await sessions(world, node, 1)
    await world.clock.advance(60)
    await node.do(session, join(ANNA))
    behind = world.node("b0")
    behind.rooms._committer._clock = ManualClock(START - END)
    await behind.do(session, join(BEN))
    times = [event.at for event in await world.log(session)]
    assert times == sorted(times)


async def test_the_actor_of_an_event_is_who_asked(world: World, node: Node) -> None:
    (session,) = await sessions(world, node, 1)
    await node.do(session, join(ANNA), remove(ANNA))
    assert [event.actor for event in await world.log(session)][1:] == [acting(ANNA), MODERATOR]
