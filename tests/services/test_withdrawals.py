"""What becomes of a deactivated slot: its registrations, its session, and those who are in it."""

import asyncio
from datetime import timedelta

import pytest

from coordinator.domain.errors import UnavailableError
from coordinator.domain.events import SYSTEM
from coordinator.domain.model import EndReason
from coordinator.services.settlement import AFTERMATH
from tests.domain.story import ANNA, BEN, CLEO, END, END_IT, START, minutes
from tests.services.faults import Fate
from tests.services.harness import Node, World, soon
from tests.services.test_settlement import CLAIMED, ended_by, is_settled, slot_of


async def test_deactivated_before_anything_happened(world: World, node: Node) -> None:
    slot = await world.slot([ANNA, BEN], start=START + timedelta(days=1))
    await soon(node.booking.cancel(slot, BEN))
    await world.deactivate(slot)
    await soon(node.settlement.settle(slot))
    assert await world.statuses(slot) == {ANNA: "cancelled", BEN: "cancelled"}
    assert (await world.found(slot)).registered_count == 0
    node.tick()
    await world.clock.advance(AFTERMATH.total_seconds() + 2)
    assert await is_settled(world, slot)


async def test_deactivated_in_the_lobby(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = await slot_of(world, session)
    (anna,) = await node.joined(session, ANNA)
    await world.deactivate(slot)
    await soon(node.settlement.settle(slot))
    assert anna.kinds == ["session_ended", "participant_left"]
    assert await ended_by(world, session) == (EndReason.ENDED_BY_MODERATOR, SYSTEM.role)
    assert await world.statuses(slot) == {ANNA: "cancelled", BEN: "cancelled"}


async def test_deactivated_while_it_runs(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN, CLEO])
    slot = await slot_of(world, session)
    other = world.node("b0")
    (anna,) = await other.joined(session, ANNA)
    await node.joined(session, BEN)
    await world.at(minutes(5))
    await world.deactivate(slot)
    await soon(node.settlement.settle(slot))
    assert await ended_by(world, session) == (EndReason.ENDED_BY_MODERATOR, SYSTEM.role)
    assert await world.statuses(slot) == {ANNA: "attended", BEN: "attended", CLEO: "noshow"}
    await soon(other.reader.snapshot(session))
    assert anna.kinds[-3:] == ["session_ended", "participant_left", "participant_left"]


async def test_deactivated_after_it_ended(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = await slot_of(world, session)
    await node.joined(session, ANNA, BEN)
    await world.at(minutes(5))
    world.bookings.is_attendance_cut = True
    await node.do(session, END_IT)
    await world.settle()
    world.bookings.is_attendance_cut = False
    log = await world.log(session)
    await world.deactivate(slot)
    await soon(node.settlement.settle(slot))
    assert await world.statuses(slot) == {ANNA: "attended", BEN: "attended"}
    assert await world.log(session) == log


async def test_deactivated_with_a_claim_that_nobody_finishes(world: World, node: Node) -> None:
    slot = await world.slot([ANNA, BEN])
    await world.claim(slot, CLAIMED)
    await world.deactivate(slot)
    await soon(node.settlement.settle(slot))
    assert await world.statuses(slot) == {ANNA: "cancelled", BEN: "cancelled"}
    node.tick()
    await world.at(END)
    assert not await is_settled(world, slot), "an opener may still be on its way"
    await world.at(END + AFTERMATH + minutes(1))
    assert await is_settled(world, slot)
    assert await world.journal.read(CLAIMED) == []
    assert node.rooms.loaded == []


async def test_deactivated_between_claim_and_opening(world: World, node: Node) -> None:
    slot = await world.slot([ANNA])
    node.line.hold()
    opening = asyncio.ensure_future(node.openings.open_due())
    await world.settle()
    other = world.node("b0")
    await world.deactivate(slot)
    await soon(other.settlement.settle(slot))
    assert await world.statuses(slot) == {ANNA: "cancelled"}
    node.line.release()
    await soon(opening)
    session = await world.session_of(slot)
    assert session is not None
    assert await world.kinds(session) == ["session_opened", "session_ended"]


async def test_deactivated_between_claim_and_an_opening_whose_process_dies(world: World, node: Node) -> None:
    slot = await world.slot([ANNA])
    node.line.lose(Fate.LATE)
    node.line.is_read_only = True
    opening = asyncio.ensure_future(node.openings.open_due())
    await world.settle()
    other = world.node("b0")
    other.tick()
    await world.deactivate(slot)
    await soon(other.settlement.settle(slot))
    await world.clock.advance(3)
    await node.line.land()
    await node.crash()
    opening.cancel()
    session = await world.session_of(slot)
    assert session is not None
    assert await world.kinds(session) == ["session_opened"]
    await world.clock.advance(12)
    assert await world.kinds(session) == ["session_opened", "session_ended"]
    await world.clock.advance(AFTERMATH.total_seconds() + 2)
    assert await is_settled(world, slot)


async def test_deactivated_with_nobody_but_the_note_to_know(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA])
    slot = await slot_of(world, session)
    await world.deactivate(slot)
    await node.crash()
    other = world.node("b0")
    other.tick()
    await world.clock.advance(2)
    assert await world.kinds(session) == ["session_opened", "session_ended"]
    assert await world.statuses(slot) == {ANNA: "cancelled"}


async def test_deactivated_in_an_outage(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA])
    slot = await slot_of(world, session)
    await world.deactivate(slot)
    node.line.is_cut = True
    settling = asyncio.ensure_future(node.settlement.settle(slot))
    await world.clock.advance(10)
    with pytest.raises(UnavailableError):
        await soon(settling)
    node.line.is_cut = False
    node.tick()
    await world.clock.advance(2)
    assert await world.kinds(session) == ["session_opened", "session_ended"]
    assert await world.statuses(slot) == {ANNA: "cancelled"}
