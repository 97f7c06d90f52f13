"""What becomes of registrations when sessions end and slots are deactivated (crashes: `test_settlement_crashes`)."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from coordinator.domain.events import SessionEnded
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import EndReason, RegistrationStatus
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.settlement import AFTERMATH
from tests.domain.story import ANNA, BEN, CLEO, DINA, END, END_IT, LOBBY, NO_SHOW, START, leave, minutes, record, user
from tests.services.faults import Mishap
from tests.services.harness import Node, World, soon

NOWHERE = SlotId("f" * 24)
CLAIMED = SessionId("c" * 24)


async def slot_of(world: World, session: SessionId) -> SlotId:
    return (await world.state(session)).time_slot_id


async def is_settled(world: World, slot: SlotId) -> bool:
    """Whether nothing is left to do, and nothing can arrive any more."""
    return (await world.found(slot)).settle_at is None


async def ended_by(world: World, session: SessionId) -> tuple[EndReason, str]:
    (event,) = [event for event in await world.log(session) if isinstance(event.body, SessionEnded)]
    assert isinstance(event.body, SessionEnded)
    return event.body.reason, event.actor.role


async def test_those_who_came_attended_and_the_others_did_not(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN, CLEO, DINA, user(1)])
    slot = await slot_of(world, session)
    await soon(node.booking.cancel(slot, DINA))
    node.tick()
    anna, ben = await node.joined(session, ANNA, BEN)
    await node.do(session, leave(BEN, ben.connection_id))
    await node.joined(session, user(1))
    assert (await world.found(slot)).settle_at == START + END
    await world.at(END)
    assert "session_ended" in anna.kinds
    expected = {ANNA: "attended", BEN: "attended", CLEO: "noshow", DINA: "cancelled", user(1): "attended"}
    assert await world.statuses(slot) == expected
    assert (await world.found(slot)).settle_at == START + END + AFTERMATH
    await world.at(END + AFTERMATH)
    assert await is_settled(world, slot)
    assert await world.statuses(slot) == expected
    assert (await world.found(slot)).registered_count == 4


async def test_nobody_attended_a_session_for_which_nobody_came(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = await slot_of(world, session)
    await node.joined(session, ANNA)
    await world.at(NO_SHOW)
    assert (await ended_by(world, session))[0] is EndReason.NOT_ENOUGH_PARTICIPANTS
    assert await world.statuses(slot) == {ANNA: "attended", BEN: "noshow"}


async def test_a_session_that_runs_settles_nothing(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = await slot_of(world, session)
    await node.joined(session, ANNA, BEN)
    before = await world.found(slot)
    await world.at(minutes(20))
    await soon(node.settlement.settle(slot))
    await soon(node.settlement.settle_due())
    await soon(node.settlement.settle_missed())
    assert await world.found(slot) == before
    assert await world.statuses(slot) == {ANNA: "registered", BEN: "registered"}


async def test_a_slot_without_anything_to_settle(world: World, node: Node) -> None:
    slot = await world.slot([ANNA], settle_at=START - minutes(30))
    await soon(node.settlement.settle(NOWHERE))
    await soon(node.settlement.settle_due())
    assert (await world.found(slot)).settle_at is None, "a note that means nothing"
    await soon(node.settlement.settle(slot))
    assert await world.statuses(slot) == {ANNA: "registered"}


async def test_a_node_that_only_listened_settles_as_well(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = await slot_of(world, session)
    other = world.node("b0")
    await other.joined(session, ANNA)
    await soon(node.reader.snapshot(session))
    heard: list[tuple[SessionId, SlotId]] = []
    other.rooms.on_ended(lambda session, slot: heard.append((session, slot)))
    node.course.begin(1, Mishap.DEATH_AFTER)
    ending = asyncio.ensure_future(node.do(session, END_IT))
    await world.settle()
    assert node.course.calls == ["append"], "the node that wrote the end dies of it"
    await soon(other.reader.snapshot(session))
    await world.settle()
    assert heard == [(session, slot)]
    assert await world.statuses(slot) == {ANNA: "attended", BEN: "noshow"}
    ending.cancel()


async def test_a_room_from_before_the_end_is_not_believed(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = await slot_of(world, session)
    other = world.node("b0")
    await other.joined(session, ANNA)
    world.bookings.is_attendance_cut = True
    await node.do(session, END_IT)
    await world.settle()
    world.bookings.is_attendance_cut = False
    await node.crash()
    await soon(other.settlement.settle_missed())
    assert await world.statuses(slot) == {ANNA: "attended", BEN: "noshow"}


@pytest.mark.parametrize("seed", range(20))
async def test_two_nodes_settle_exactly_once(world: World, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    nodes = [world.node(name) for name in ("a0", "b0")]
    for number, node in enumerate(nodes):
        node.course.jitter = random.Random(f"{seed} {number}")
    session = await world.open_session(nodes[0], [ANNA, BEN, CLEO])
    slot = await slot_of(world, session)
    for node, who in zip(nodes, (ANNA, BEN), strict=True):
        await node.joined(session, who)
    seen: list[dict[UserId, str]] = [await world.statuses(slot)]

    def watched(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def settled(slot: SlotId, *args: Any) -> None:
            await method(slot, *args)
            seen.append(await world.statuses(slot))

        return settled

    for name in ("record_attendance", "cancel_all"):
        monkeypatch.setattr(world.bookings, name, watched(getattr(world.bookings, name)))
    withdrawing = [world.deactivate(slot)] if seed % 2 else []
    ending = nodes[1].do(session, END_IT)
    await soon(asyncio.gather(ending, *withdrawing, *(node.settlement.settle(slot) for node in nodes)))
    await soon(asyncio.gather(*(node.settlement.settle_missed() for node in nodes)))
    await world.settle()
    assert len(seen) > 2, "both were at it"
    for before, after in itertools.pairwise(seen):
        assert all(before[who] in ("registered", after[who]) for who in after)
    attended, cancelled = {ANNA: "attended", BEN: "attended", CLEO: "noshow"}, dict.fromkeys(seen[0], "cancelled")
    # The moderator's end of a lobby and its withdrawal at the same time: either may be the first.
    assert await world.statuses(slot) in ([attended, cancelled] if withdrawing else [attended])
    assert (await world.kinds(session)).count("session_ended") == 1


async def test_listeners_hear_of_the_end_before_anyone_settles(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    (anna,) = await node.joined(session, ANNA)
    heard: list[list[str]] = []
    node.rooms.on_ended(lambda *_: heard.append(list(anna.kinds)))
    await node.do(session, record())
    assert heard == []
    await node.do(session, END_IT, END_IT)
    assert heard == [["recording_enabled", "session_ended", "participant_left"]]


async def test_a_defect_in_telling_does_not_keep_a_session_from_being_settled(world: World, node: Node) -> None:
    world.tolerated = {"on_commit_failed"}
    session = await world.open_session(node, [ANNA])
    node.megaphone.defect = RuntimeError("a defect of the test")
    await node.do(session, END_IT)
    await world.settle()
    assert await world.statuses(await slot_of(world, session)) == {ANNA: "noshow"}


async def test_a_slot_put_in_by_hand_without_a_note_is_settled(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = await slot_of(world, session)
    found = await world.found(slot)
    assert found.settle_at is not None
    await world.catalog.settle(slot, found.settle_at)
    await node.joined(session, ANNA)
    await node.do(session, END_IT)
    await world.settle()
    assert await world.statuses(slot) == {ANNA: "attended", BEN: "noshow"}
    assert await is_settled(world, slot)


@pytest.mark.parametrize("mishap", [Mishap.NOT_DONE, Mishap.NOT_ANSWERED])
async def test_what_could_not_be_settled_is_tried_again(world: World, node: Node, mishap: Mishap) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = await slot_of(world, session)
    found = await world.found(slot)
    assert found.settle_at is not None
    await world.catalog.settle(slot, found.settle_at)  # nobody but this node knows that there is something to do
    world.bookings.is_attendance_cut = True
    await node.do(session, END_IT)
    await world.settle()
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError):
            await soon(node.settlement.settle_due())
    assert await world.statuses(slot) == {ANNA: "registered", BEN: "registered"}
    world.bookings.is_attendance_cut = False
    node.course.begin(2, mishap)
    with pytest.raises(OutcomeUnknownError):
        await soon(node.settlement.settle_due())
    await soon(node.settlement.settle_due())
    assert await world.statuses(slot) == {ANNA: "noshow", BEN: "noshow"}
    node.course.begin(0, mishap)
    await soon(node.settlement.settle_due())
    assert node.course.calls == ["unsettled"], "once is enough"


async def test_an_outage_through_the_end_of_a_session_only_delays(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = await slot_of(world, session)
    await node.joined(session, ANNA, BEN)
    node.tick()
    await world.at(END - minutes(1))
    node.line.is_cut = world.bookings.is_attendance_cut = True
    await world.at(END + minutes(1))
    node.line.is_cut = False
    await world.at(END + minutes(2))
    assert await world.statuses(slot) == {ANNA: "registered", BEN: "registered"}
    world.bookings.is_attendance_cut = False
    await world.clock.advance(5)
    assert await world.statuses(slot) == {ANNA: "attended", BEN: "attended"}
    assert await is_settled(world, slot), "the time in which something could arrive is over as well"


async def test_one_slot_that_cannot_be_settled_does_not_keep_the_others(world: World, node: Node) -> None:
    world.tolerated = {"settlement_failed", "session_unreadable"}
    damaged = await world.open_session(node, [ANNA])
    session = await world.open_session(node, [BEN])
    slot = await slot_of(world, session)
    broken = await slot_of(world, damaged)
    await world.clock.advance(1)
    await node.crash()
    world.journal._sessions[damaged][2] = world.journal._sessions[session][1]  # nobody can fold this
    other = world.node("b0")
    await soon(other.recovery.start())
    await world.at(END)
    for _ in range(3):
        await soon(other.settlement.settle_due())
        await world.clock.advance(1)
    assert await world.statuses(slot) == {BEN: "noshow"}
    found = await world.found(broken)
    assert found.settle_at is not None
    assert found.settle_at > world.clock.now(), "it has to wait its turn"
    assert len([entry for entry in world.logs if entry["event"] == "settlement_failed"]) == 1


async def test_of_many_that_end_together_few_are_settled_at_the_same_time(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [await world.open_session(node, [ANNA]) for _ in range(20)]
    slots = [await slot_of(world, session) for session in sessions]
    for session in sessions:
        await node.do(session, END_IT)
    await world.settle()
    settle, under_way, numbers = node.settlement.settle, set[SlotId](), []

    async def noted(slot_id: SlotId) -> None:
        under_way.add(slot_id)
        numbers.append(len(under_way))
        await settle(slot_id)
        under_way.remove(slot_id)

    monkeypatch.setattr(node.settlement, "settle", noted)
    for session, slot in zip(sessions, slots, strict=True):
        node.settlement.session_ended(session, slot)
    await world.settle()
    assert [await world.statuses(slot) for slot in slots] == [{ANNA: "noshow"}] * 20
    assert (len(numbers), max(numbers)) == (20, 2)


async def test_silence_is_waited_for_once_and_nothing_is_forgotten(world: World, node: Node) -> None:
    slots = [await world.slot([user(number)]) for number in range(120)]
    await soon(node.openings.open_due())
    world.bookings.is_attendance_cut = True
    await world.at(END)
    node.course.begin(0, Mishap.NOT_DONE)
    with pytest.raises(OutcomeUnknownError):
        await soon(node.settlement.settle_due())
    assert node.course.calls.count("record_attendance") <= 60
    world.bookings.is_attendance_cut = False
    await soon(node.settlement.settle_due())
    for number, slot in enumerate(slots):
        assert await world.statuses(slot) == {user(number): "noshow"}


async def test_settling_costs_nothing_for_what_is_settled(world: World, node: Node) -> None:
    for number in range(20):
        await world.open_session(node, [user(number)])
    node.tick()
    await world.at(END + AFTERMATH + minutes(1))
    node.course.begin(0, Mishap.NOT_DONE)
    await soon(node.settlement.settle_due())
    await soon(node.settlement.settle_missed())
    assert node.course.calls == ["unsettled", "unsettled"]


async def test_a_claim_on_a_slot_that_is_over_is_opened_so_that_it_can_be_settled(world: World, node: Node) -> None:
    slot = await world.slot([ANNA])
    await world.claim(slot, CLAIMED)
    await world.at(END + minutes(1))
    await soon(node.settlement.settle_due())
    assert not await is_settled(world, slot)
    assert await world.statuses(slot) == {ANNA: "registered"}
    node.tick()
    await world.clock.advance(3)
    assert await world.kinds(CLAIMED) == ["session_opened", "session_ended"]
    assert await world.statuses(slot) == {ANNA: "noshow"}


async def test_a_claim_that_nobody_will_ever_open_is_given_up(world: World, node: Node) -> None:
    slot = await world.slot([ANNA])
    await world.claim(slot, CLAIMED)
    await world.at(timedelta(days=30))
    await soon(node.openings.open_missed())
    await soon(node.settlement.settle_missed())
    assert await is_settled(world, slot)
    assert await world.journal.read(CLAIMED) == []


async def test_a_death_is_a_reason_to_settle_what_was_missed(world: World, node: Node) -> None:
    living = world.node("b0")
    for each in (node, living):
        await each.recovery.start()
    session = await world.open_session(node, [ANNA])
    slot = await slot_of(world, session)
    await node.room(session)
    node.course.begin(1, Mishap.DEATH_AFTER)
    ending = asyncio.ensure_future(node.do(session, END_IT))
    await world.settle()
    assert (await world.kinds(session))[-1] == "session_ended"
    await node.crash()
    ending.cancel()
    living.beat()
    await world.clock.advance(10)
    assert await world.statuses(slot) == {ANNA: "registered"}
    await world.clock.advance(5)
    assert await world.statuses(slot) == {ANNA: "noshow"}
    assert set(await world.liveness.heartbeats()) == {living.id}


async def test_the_dead_are_not_forgotten_before_that_is_settled(world: World, node: Node) -> None:
    living = world.node("b0")
    for each in (node, living):
        await each.recovery.start()
    session = await world.open_session(node, [ANNA])
    await node.crash()
    await world.clock.advance(16)
    world.bookings.is_attendance_cut = True
    await living.do(session, END_IT)
    with pytest.raises(OutcomeUnknownError):
        await soon(living.recovery.look())
    assert node.id in await world.liveness.heartbeats()
    world.bookings.is_attendance_cut = False
    await soon(living.recovery.look())
    assert await world.statuses(await slot_of(world, session)) == {ANNA: "noshow"}
    assert node.id not in await world.liveness.heartbeats()


@pytest.mark.parametrize("status", [RegistrationStatus.CANCELLED, RegistrationStatus.ATTENDED])
async def test_what_is_settled_stays(world: World, node: Node, status: RegistrationStatus) -> None:
    slot = await world.slot([BEN])
    await world.register(slot, ANNA, status)
    await soon(node.openings.open_due())
    await world.at(LOBBY + minutes(1))
    session = await world.session_of(slot)
    assert session is not None
    await node.do(session, END_IT)
    for _ in range(3):
        await soon(node.settlement.settle(slot))
    assert await world.statuses(slot) == {ANNA: str(status), BEN: "noshow"}
