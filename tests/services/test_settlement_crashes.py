"""Whatever dies or goes unanswered between any two steps of settling: in the end it is as if nothing had gone wrong.

Each story is told once as it should go, and then again with each of its calls to the stores going wrong.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from coordinator.domain.errors import UnavailableError
from coordinator.domain.ids import SessionId, SlotId
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.settlement import AFTERMATH
from tests.domain.story import ANNA, BEN, CLEO, DINA, END, END_IT, MODERATOR, START, leave, minutes
from tests.services.faults import Mishap
from tests.services.harness import Node, World, soon

STORY_SECONDS = 15
"""How long a story is watched before whoever died is replaced; longer than any lookup of an unknown outcome."""


@dataclass
class Scene:
    """A slot just before something happens to it.

    Attributes:
        slot: The slot.
        ask: What somebody asks of a node, again and again until it is answered.
    """

    slot: SlotId
    ask: Callable[[Node], Awaitable[object]]


async def nothing(_: Node) -> None:
    """Only time passes."""


async def booked(world: World, node: Node, **fields: Any) -> SlotId:
    """A slot for which four have registered, and one of them has cancelled."""
    slot = await world.slot(**fields)
    for who in (ANNA, BEN, CLEO, DINA):
        await soon(node.booking.register(slot, who))
    await soon(node.booking.cancel(slot, DINA))
    return slot


async def open_lobby(world: World, node: Node) -> Scene:
    slot = await booked(world, node)
    await soon(node.openings.open_due())
    session = await world.session_of(slot)
    assert session is not None
    anna, _ = await node.joined(session, ANNA, BEN)
    await node.do(session, leave(ANNA, anna.connection_id))
    return Scene(slot, withdrawal(world, slot))


async def running(world: World, node: Node) -> Scene:
    scene = await open_lobby(world, node)
    session = await world.session_of(scene.slot)
    assert session is not None
    await node.joined(session, ANNA)
    await world.at(minutes(1))
    return scene


def withdrawal(world: World, slot: SlotId) -> Callable[[Node], Awaitable[None]]:
    async def withdraw(node: Node) -> None:
        await world.deactivate(slot, node)
        await node.settlement.settle(slot)

    return withdraw


async def about_to_end(world: World, node: Node) -> Scene:
    scene = await running(world, node)
    await world.at(END - timedelta(seconds=1))
    return Scene(scene.slot, nothing)


async def ended_by_a_moderator(world: World, node: Node) -> Scene:
    scene = await running(world, node)
    session = await world.session_of(scene.slot)
    assert session is not None
    return Scene(scene.slot, lambda node: node.moderation.end_session(MODERATOR, session))


async def withdrawn_while_it_runs(world: World, node: Node) -> Scene:
    return await running(world, node)


async def withdrawn_in_the_lobby(world: World, node: Node) -> Scene:
    return await open_lobby(world, node)


async def withdrawn_before_the_lobby(world: World, node: Node) -> Scene:
    slot = await booked(world, node, start=START + timedelta(days=1))
    return Scene(slot, withdrawal(world, slot))


async def withdrawn_as_soon_as_it_is_claimed(world: World, node: Node) -> Scene:
    slot = await booked(world, node)
    await world.claim(slot, SessionId("c" * 24))
    return Scene(slot, withdrawal(world, slot))


async def withdrawn_after_it_ended(world: World, node: Node) -> Scene:
    scene = await running(world, node)
    session = await world.session_of(scene.slot)
    assert session is not None
    world.bookings.is_attendance_cut = True
    await node.do(session, END_IT)
    await world.settle()
    world.bookings.is_attendance_cut = False
    return scene


async def tell(
    world: World, stage: Callable[[World, Node], Awaitable[Scene]], at: int, mishap: Mishap
) -> tuple[dict[str, Any], int]:
    """Tell a story in which call number `at` goes wrong; return how it ended, and how many calls it took."""
    node = world.node("a0")
    await soon(node.recovery.start())
    scene = await stage(world, node)
    node.course.begin(at, mishap)
    node.tick()
    asking = asyncio.ensure_future(insist(world, scene, node))
    await world.clock.advance(STORY_SECONDS)
    calls = len(node.course.calls)
    alive = node
    if node.course.died.is_set():
        asking.cancel()
        await node.crash()
        alive = world.node("b0")
        await soon(alive.take_up())
        asking = asyncio.ensure_future(insist(world, scene, alive))
    await world.clock.advance(AFTERMATH.total_seconds() + 2 * STORY_SECONDS)
    await soon(asking)
    found = await world.found(scene.slot)
    if found.settle_at is not None:  # of a claim that nobody finishes, only time tells
        await alive.errands.stop()
        await world.clock.advance_to(found.end_time + AFTERMATH)
        await soon(alive.settlement.settle_due())
        found = await world.found(scene.slot)
    kinds = await world.kinds(found.session_id) if found.session_id else []
    await world.close()
    return {
        "registrations": await world.statuses(scene.slot),
        "count": found.registered_count,
        "settle_at": found.settle_at,
        "live": kinds.count("session_opened") - kinds.count("session_ended"),
        "started": kinds.count("session_started"),
    }, calls


async def insist(world: World, scene: Scene, node: Node) -> None:
    while True:
        try:
            await scene.ask(node)
        except (UnavailableError, OutcomeUnknownError):
            await world.clock.sleep(0.2)
        else:
            return


CAME = {ANNA: "attended", BEN: "attended", CLEO: "noshow", DINA: "cancelled"}
NOBODY = dict.fromkeys((ANNA, BEN, CLEO, DINA), "cancelled")
STORIES = [
    (about_to_end, CAME),
    (ended_by_a_moderator, CAME),
    (withdrawn_while_it_runs, CAME),
    (withdrawn_after_it_ended, CAME),
    (withdrawn_in_the_lobby, NOBODY),
    (withdrawn_before_the_lobby, NOBODY),
    (withdrawn_as_soon_as_it_is_claimed, NOBODY),
]


@pytest.mark.parametrize("mishap", list(Mishap))
@pytest.mark.parametrize(("stage", "became"), STORIES)
async def test_a_story_ends_the_same_whatever_goes_wrong(
    world: World,
    mishap: Mishap,
    stage: Callable[[World, Node], Awaitable[Scene]],
    became: dict[str, str],
) -> None:
    expected, calls = await tell(World(world.logs), stage, 0, mishap)
    assert expected == {
        "registrations": became,
        "count": sum(status != "cancelled" for status in became.values()),
        "settle_at": None,
        "live": 0,
        "started": int(became is CAME),
    }
    assert calls > STORY_SECONDS, "hardly anything was asked"
    for at in range(1, calls + 1):
        assert (await tell(World(world.logs), stage, at, mishap))[0] == expected, f"call {at} of {calls}"
