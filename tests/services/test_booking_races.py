"""Registering at the same time, on several nodes, while slots are withdrawn and sessions end. Same seed, same race."""

import asyncio
import itertools
import random
from collections.abc import Awaitable
from contextlib import suppress

import pytest
from msgspec.structs import replace

from coordinator.domain.errors import (
    CoordinatorError,
    OverlappingRegistrationError,
    SlotFullError,
    SlotInactiveError,
    SlotOverError,
)
from coordinator.domain.ids import SlotId, UserId
from coordinator.domain.model import RegistrationStatus
from coordinator.domain.slots import later_version
from coordinator.services.booking import Booked
from coordinator.services.settlement import AFTERMATH
from tests.domain.story import ANNA, BEN, CLEO, END_IT, START, minutes, user
from tests.services.faults import Mishap
from tests.services.harness import Node, World, soon

SEEDS = range(12)
Outcome = Booked | type[CoordinatorError]


def two_nodes(world: World, seed: int) -> list[Node]:
    """Nodes whose calls take different times; with seed 0 they keep in step."""
    nodes = [world.node(name) for name in ("a0", "b0")]
    for number, node in enumerate(nodes):
        node.course.jitter = random.Random(f"{seed} {number}") if seed else None
    return nodes


async def outcomes(*works: Awaitable[Booked]) -> list[Outcome]:
    """What became of registrations at the same time: the refusals by their type."""

    async def outcome(work: Awaitable[Booked]) -> Outcome:
        try:
            return await work
        except CoordinatorError as refusal:
            return type(refusal)

    return await soon(asyncio.gather(*map(outcome, works)))


def made(found: list[Outcome]) -> list[Booked]:
    return [outcome for outcome in found if isinstance(outcome, Booked)]


async def check_slot(world: World, slot: SlotId) -> int:
    """Check seats, limit and count; return how many hold a seat."""
    holders = await world.bookings.holders(slot)
    seats = [holder.seat for holder in holders if holder.seat is not None]
    assert len(set(seats)) == len(seats)
    found = await world.found(slot)
    assert len(holders) <= found.max_participants
    assert found.registered_count == len(holders)
    return len(holders)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("seats", "by_hand"), [(2, 1), (50, 49), (50, 0), (8, 3)])
async def test_a_hundred_users_get_the_seats_that_are_left(world: World, seed: int, seats: int, by_hand: int) -> None:
    nodes = two_nodes(world, seed)
    slot = await world.slot([UserId(f"hand{number}") for number in range(by_hand)], max_participants=seats)
    found = await outcomes(*(nodes[number % 2].booking.register(slot, user(number)) for number in range(100)))
    assert len(made(found)) == seats - by_hand
    assert {outcome for outcome in found if not isinstance(outcome, Booked)} == {SlotFullError}
    assert await check_slot(world, slot) == seats


async def test_users_seldom_want_the_same_seat(world: World) -> None:
    nodes = two_nodes(world, 0)
    slot = await world.slot(max_participants=50)
    await outcomes(*(nodes[number % 2].booking.register(slot, user(number)) for number in range(25)))
    assert await check_slot(world, slot) == 25
    assert sum(node.course.calls.count("add") for node in nodes) < 60


@pytest.mark.parametrize("seed", SEEDS)
async def test_one_user_on_two_nodes_registers_once(world: World, seed: int) -> None:
    nodes = two_nodes(world, seed)
    slot = await world.slot()
    found = await outcomes(*(nodes[number % 2].booking.register(slot, ANNA) for number in range(10)))
    assert len({booked.registration.id for booked in made(found)}) == 1
    assert [booked.is_new for booked in made(found)].count(True) == 1
    assert len(made(found)) == 10
    assert await check_slot(world, slot) == 1


@pytest.mark.parametrize("seed", range(60))
async def test_one_user_on_two_nodes_never_gets_slots_that_overlap(world: World, seed: int) -> None:
    nodes = two_nodes(world, seed)
    slots = [await world.slot(), await world.slot(start=START + minutes(15))]
    if seed % 2:
        slots.reverse()
    found = await outcomes(*(node.booking.register(slot, ANNA) for node, slot in zip(nodes, slots, strict=True)))
    assert len(made(found)) == 1
    assert [outcome for outcome in found if not isinstance(outcome, Booked)] == [OverlappingRegistrationError]
    assert len(await world.bookings.slots_of(ANNA)) == 1
    assert sum([await check_slot(world, slot) for slot in slots]) == 1


@pytest.mark.parametrize("seed", SEEDS)
async def test_one_node_takes_one_users_requests_one_after_the_other(world: World, node: Node, seed: int) -> None:
    node.course.jitter = random.Random(seed)
    slots = [await world.slot(start=START + minutes(5 * number)) for number in range(6)]
    found = await outcomes(*(node.booking.register(slot, ANNA) for slot in slots))
    assert [isinstance(outcome, Booked) for outcome in found] == [True, *[False] * 5]


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_slot_that_is_withdrawn_meanwhile_keeps_nobody(world: World, seed: int) -> None:
    nodes = two_nodes(world, seed)
    slot = await world.slot(max_participants=30)
    course = random.Random(seed)

    async def withdraw() -> None:
        for _ in range(course.randrange(60)):
            await asyncio.sleep(0)
        await world.deactivate(slot)
        await nodes[0].settlement.settle(slot)

    registering = [nodes[number % 2].booking.register(slot, user(number)) for number in range(20)]
    withdrawal = asyncio.ensure_future(withdraw())
    found = await outcomes(*registering)
    await soon(withdrawal)
    assert {outcome for outcome in found if not isinstance(outcome, Booked)} <= {SlotInactiveError}
    assert set((await world.statuses(slot)).values()) <= {"cancelled"}
    assert set(await world.statuses(slot)) >= {booked.registration.user_id for booked in made(found)}
    assert await check_slot(world, slot) == 0


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_session_that_ends_meanwhile_leaves_nobody_undecided(world: World, seed: int) -> None:
    nodes = two_nodes(world, seed)
    session = await world.open_session(nodes[0], [ANNA, BEN], max_participants=30)
    slot = (await world.state(session)).time_slot_id
    await nodes[0].joined(session, ANNA)
    course = random.Random(seed)

    async def end() -> None:
        for _ in range(course.randrange(60)):
            await asyncio.sleep(0)
        await nodes[course.randrange(2)].do(session, END_IT)

    registering = [nodes[number % 2].booking.register(slot, user(number)) for number in range(20)]
    ending = asyncio.ensure_future(end())
    found = await outcomes(*registering)
    await soon(ending)
    await world.settle()
    assert {outcome for outcome in found if not isinstance(outcome, Booked)} <= {SlotOverError}
    became = await world.statuses(slot)
    assert became.pop(ANNA) == "attended"
    assert set(became.values()) == {"noshow"}
    assert set(became) >= {booked.registration.user_id for booked in made(found)}
    await check_slot(world, slot)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_limit_that_is_lowered_meanwhile_holds(world: World, seed: int) -> None:
    nodes = two_nodes(world, seed)
    slot = await world.slot(max_participants=20)
    course = random.Random(seed)

    async def lower() -> None:
        for _ in range(course.randrange(10)):
            await asyncio.sleep(0)
        before = await world.found(slot)
        version = later_version(before.updated_at, world.clock.now())
        # The store has the last word: below those who are in already, an edit is refused before it gets here.
        limit = max(6, len(await world.bookings.holders(slot)))
        edited = replace(before, max_participants=limit, updated_at=version)
        assert await world.catalog.change_slot(edited, before.updated_at, unopened=True)

    lowering = asyncio.ensure_future(lower())
    await outcomes(*(nodes[number % 2].booking.register(slot, user(number)) for number in range(20)))
    await soon(lowering)
    await check_slot(world, slot)


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_number_of_users_coming_and_going(world: World, seed: int) -> None:
    nodes = two_nodes(world, seed)
    slots = [await world.slot(start=START + minutes(10 * number), max_participants=3) for number in range(5)]
    course = random.Random(seed)

    async def come_and_go(who: UserId) -> None:
        for _ in range(15):
            node, slot = course.choice(nodes), course.choice(slots)
            with suppress(CoordinatorError):
                await (node.booking.register if course.random() < 0.6 else node.booking.cancel)(slot, who)

    await soon(asyncio.gather(*(come_and_go(user(number)) for number in range(12))))
    for number in range(12):
        mine = await world.catalog.slots(await world.bookings.slots_of(user(number)))
        starts = sorted(slot.start_time for slot in mine)
        assert all(later - earlier >= minutes(30) for earlier, later in itertools.pairwise(starts))
    assert sum([await check_slot(world, slot) for slot in slots]) > 0


@pytest.mark.parametrize("withdrawn", [True, False])
async def test_a_registration_that_died_before_its_second_look_is_settled_all_the_same(
    world: World, node: Node, withdrawn: bool
) -> None:
    other = world.node("b0")
    session = await world.open_session(other, [ANNA])
    slot = (await world.state(session)).time_slot_id
    await soon(node.booking.register(slot, BEN))
    node.course.begin(node.course.calls.index("add") + 1, Mishap.DEATH_BEFORE)
    cut_short = asyncio.ensure_future(node.booking.register(slot, CLEO))
    await soon(node.course.died.wait())
    assert node.course.calls[-1] == "add"
    # The slot is settled, and only then that write arrives.
    if withdrawn:
        await world.deactivate(slot)
        await soon(other.settlement.settle(slot))
    else:
        await other.do(session, END_IT)
        await world.settle()
    await world.register(slot, CLEO)
    await node.crash()
    cut_short.cancel()
    assert (await world.statuses(slot))[CLEO] == str(RegistrationStatus.REGISTERED)

    await world.clock.advance(AFTERMATH.total_seconds() + 1)
    await soon(other.settlement.settle_due())
    assert (await world.statuses(slot))[CLEO] == ("cancelled" if withdrawn else "noshow")
    assert (await world.found(slot)).settle_at is None
    await check_slot(world, slot)
