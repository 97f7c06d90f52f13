"""Registering and cancelling: what is refused, and what comes of it. Races are in `test_booking_races`."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from coordinator.domain.errors import (
    CoordinatorError,
    NotFoundError,
    OverlappingRegistrationError,
    SlotFullError,
    SlotInactiveError,
    SlotOverError,
    UnavailableError,
)
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import Registration, RegistrationStatus
from coordinator.ports.bookings import RegistrationQuery
from coordinator.ports.journal import OutcomeUnknownError
from tests.domain.story import ANNA, BEN, CLEO, DINA, END, END_IT, LOBBY, MOMENT, START, minutes, user
from tests.services.faults import Mishap
from tests.services.harness import Node, World, soon

NOWHERE = SlotId("f" * 24)


async def stored(world: World, slot: SlotId, who: UserId) -> Registration:
    registration = await world.bookings.find(slot, who)
    assert registration is not None
    return registration


async def count(world: World, slot: SlotId) -> int:
    """The shown number of registrations, which must be the right one."""
    shown = (await world.found(slot)).registered_count
    assert shown == len(await world.bookings.holders(slot))
    return shown


async def refused(node: Node, slot: SlotId, who: UserId, error: type[CoordinatorError]) -> str:
    """Register in vain: nothing may have changed."""
    before = await node.booking.of_user(RegistrationQuery(user_id=who))
    with pytest.raises(error) as caught:
        await soon(node.booking.register(slot, who))
    assert await node.booking.of_user(RegistrationQuery(user_id=who)) == before
    return caught.value.message


async def test_a_registration_is_stored_and_counted(world: World, node: Node) -> None:
    slot = await world.slot()
    booked = await soon(node.booking.register(slot, ANNA))
    assert booked.is_new
    assert booked.registration == await stored(world, slot, ANNA)
    assert booked.registration.status is RegistrationStatus.REGISTERED
    assert booked.registration.registered_at == world.clock.now()
    assert booked.registration.cancelled_at is None
    assert await count(world, slot) == 1


async def test_registering_again_changes_nothing(world: World, node: Node) -> None:
    slot = await world.slot()
    first = await soon(node.booking.register(slot, ANNA))
    await world.clock.advance(1)
    again = await soon(node.booking.register(slot, ANNA))
    assert (again.registration, again.is_new) == (first.registration, False)
    assert await count(world, slot) == 1


async def test_every_seat_is_given_away_and_no_more(world: World, node: Node) -> None:
    slot = await world.slot(max_participants=5)
    for number in range(5):
        assert (await soon(node.booking.register(slot, user(number)))).is_new
    await refused(node, slot, ANNA, SlotFullError)
    seats = [holder.seat for holder in await world.bookings.holders(slot)]
    assert sorted(seat for seat in seats if seat is not None) == [0, 1, 2, 3, 4]
    assert await count(world, slot) == 5
    assert not (await soon(node.booking.register(slot, user(3)))).is_new, "full is no matter for who is registered"


async def test_registrations_put_in_by_hand_count(world: World, node: Node) -> None:
    slot = await world.slot([ANNA, BEN, CLEO], max_participants=4)
    await soon(node.booking.register(slot, DINA))
    await refused(node, slot, user(1), SlotFullError)
    assert await count(world, slot) == 4


async def test_those_who_attended_or_stayed_away_hold_their_seats(world: World, node: Node) -> None:
    slot = await world.slot(max_participants=3)
    for who, status in ((ANNA, RegistrationStatus.ATTENDED), (BEN, RegistrationStatus.NOSHOW)):
        await world.register(slot, who, status)
    await soon(node.booking.register(slot, CLEO))
    await refused(node, slot, DINA, SlotFullError)
    assert await count(world, slot) == 3


async def test_cancelling_frees_the_seat_and_can_be_repeated(world: World, node: Node) -> None:
    slot = await world.slot(max_participants=2)
    for who in (ANNA, BEN):
        await soon(node.booking.register(slot, who))
    await world.clock.advance(1)
    cancelled = await soon(node.booking.cancel(slot, ANNA))
    assert cancelled == await stored(world, slot, ANNA)
    assert (cancelled.status, cancelled.cancelled_at) == (RegistrationStatus.CANCELLED, world.clock.now())
    assert await count(world, slot) == 1
    await world.clock.advance(1)
    assert await soon(node.booking.cancel(slot, ANNA)) == cancelled
    assert (await soon(node.booking.register(slot, CLEO))).is_new
    await refused(node, slot, ANNA, SlotFullError)


async def test_registering_after_cancelling_revives_the_same_registration(world: World, node: Node) -> None:
    slot = await world.slot()
    first = (await soon(node.booking.register(slot, ANNA))).registration
    await soon(node.booking.cancel(slot, ANNA))
    await world.clock.advance(1)
    booked = await soon(node.booking.register(slot, ANNA))
    assert booked.is_new
    assert booked.registration == replace(first, registered_at=world.clock.now())
    assert booked.registration == await stored(world, slot, ANNA)
    assert await count(world, slot) == 1


async def test_what_is_unknown_is_not_found(world: World, node: Node) -> None:
    slot = await world.slot()
    for work in (
        node.booking.register(NOWHERE, ANNA),
        node.booking.cancel(NOWHERE, ANNA),
        node.booking.cancel(slot, ANNA),
        node.booking.of_slot(RegistrationQuery(slot_id=NOWHERE)),
    ):
        with pytest.raises(NotFoundError):
            await soon(work)


async def test_a_deactivated_slot_cannot_be_booked(world: World, node: Node) -> None:
    slot = await world.slot([BEN])
    await world.deactivate(slot)
    await refused(node, slot, ANNA, SlotInactiveError)
    assert not (await soon(node.booking.register(slot, BEN))).is_new, "what becomes of it is not for him to decide"
    assert (await soon(node.booking.cancel(slot, BEN))).status is RegistrationStatus.CANCELLED


async def test_a_slot_can_be_booked_and_cancelled_until_it_is_over(world: World, node: Node) -> None:
    slot = await world.slot()
    await world.at(END - MOMENT)
    await soon(node.booking.register(slot, ANNA))
    await soon(node.booking.register(slot, BEN))
    await soon(node.booking.cancel(slot, ANNA))
    await world.at(END)
    await refused(node, slot, ANNA, SlotOverError)
    await refused(node, slot, CLEO, SlotOverError)
    assert not (await soon(node.booking.register(slot, BEN))).is_new
    with pytest.raises(SlotOverError):
        await soon(node.booking.cancel(slot, BEN))
    assert (await soon(node.booking.cancel(slot, ANNA))).status is RegistrationStatus.CANCELLED, "it already was"


async def test_a_running_session_can_be_booked_late(world: World, node: Node) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = (await world.state(session)).time_slot_id
    await node.joined(session, ANNA, BEN)
    await world.at(minutes(20))
    assert (await soon(node.booking.register(slot, CLEO))).is_new
    (cleo,) = await node.joined(session, CLEO)
    assert cleo.listens()
    await soon(node.booking.cancel(slot, ANNA))
    await world.at(END)
    assert await world.statuses(slot) == {ANNA: "cancelled", BEN: "attended", CLEO: "attended"}


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_session_that_has_ended_early_closes_its_slot(world: World, node: Node, elsewhere: bool) -> None:
    session = await world.open_session(node, [ANNA, BEN])
    slot = (await world.state(session)).time_slot_id
    await soon(node.booking.cancel(slot, BEN))
    asked = world.node("b0") if elsewhere else node
    await asked.room(session)  # a cache from before the end
    world.bookings.is_attendance_cut = True
    await node.do(session, END_IT)
    await world.settle()
    assert (await stored(world, slot, ANNA)).status is RegistrationStatus.REGISTERED
    for who in (BEN, CLEO):
        await refused(asked, slot, who, SlotOverError)
    with pytest.raises(SlotOverError):
        await soon(asked.booking.cancel(slot, ANNA))
    assert not (await soon(asked.booking.register(slot, ANNA))).is_new


@pytest.mark.parametrize("status", [RegistrationStatus.ATTENDED, RegistrationStatus.NOSHOW])
async def test_what_became_of_a_registration_stays(world: World, node: Node, status: RegistrationStatus) -> None:
    slot = await world.slot()
    await world.register(slot, ANNA, status)
    await refused(node, slot, ANNA, SlotOverError)
    with pytest.raises(SlotOverError):
        await soon(node.booking.cancel(slot, ANNA))
    assert (await stored(world, slot, ANNA)).status is status


async def test_a_claimed_session_that_is_not_open_yet_can_be_booked(world: World, node: Node) -> None:
    slot = await world.slot()
    await world.claim(slot, SessionId("c" * 24))
    assert (await soon(node.booking.register(slot, ANNA))).is_new
    assert (await soon(node.booking.cancel(slot, ANNA))).status is RegistrationStatus.CANCELLED


@pytest.mark.parametrize(
    ("begins", "lasts", "overlaps"),
    [(-15, 15, False), (-15, 30, True), (0, 30, True), (10, 15, True), (15, 45, True), (30, 15, False)],
)
async def test_one_user_is_not_in_two_places(world: World, node: Node, begins: int, lasts: int, overlaps: bool) -> None:
    later = timedelta(hours=5)
    first = await world.slot(start=START + later)
    second = await world.slot(start=START + later + minutes(begins), duration_minutes=lasts)
    await soon(node.booking.register(first, ANNA))
    if not overlaps:
        assert (await soon(node.booking.register(second, ANNA))).is_new
        return
    assert first in await refused(node, second, ANNA, OverlappingRegistrationError)
    assert (await soon(node.booking.register(second, BEN))).is_new, "others can"
    await soon(node.booking.cancel(first, ANNA))
    assert (await soon(node.booking.register(second, ANNA))).is_new
    await refused(node, first, ANNA, OverlappingRegistrationError)


async def test_slots_that_do_not_take_place_do_not_overlap(world: World, node: Node) -> None:
    withdrawn, other = await world.slot([ANNA]), await world.slot()
    await world.register(NOWHERE, ANNA)
    await world.deactivate(withdrawn)
    assert (await soon(node.booking.register(other, ANNA))).is_new


async def test_registrations_of_a_slot_and_of_a_user_are_paged(world: World, node: Node) -> None:
    slots = [await world.slot(start=START + minutes(60 * number)) for number in range(4)]
    for slot in slots:
        for who in (ANNA, BEN):
            await soon(node.booking.register(slot, who))
    await soon(node.booking.cancel(slots[1], ANNA))
    await world.register(NOWHERE, ANNA)
    mine = await soon(node.booking.of_user(RegistrationQuery(user_id=ANNA)))
    assert [(slot.id, registration.user_id) for registration, slot in mine] == [(slot, ANNA) for slot in slots]
    assert all(registration.time_slot_id == slot.id for registration, slot in mine)
    page = RegistrationQuery(user_id=ANNA, status=RegistrationStatus.REGISTERED, after=mine[0][0].id, limit=1)
    assert [slot.id for _, slot in await soon(node.booking.of_user(page))] == [slots[2]]
    theirs = await soon(node.booking.of_slot(RegistrationQuery(slot_id=slots[1])))
    assert {item.user_id: str(item.status) for item in theirs} == {ANNA: "cancelled", BEN: "registered"}
    assert len(await soon(node.booking.of_slot(RegistrationQuery(slot_id=slots[1], limit=1)))) == 1


async def test_a_page_of_a_users_registrations_is_full_as_long_as_there_are_more(world: World, node: Node) -> None:
    for _ in range(5):  # of slots that nobody knows any more
        await world.register(SlotId(node.ids.new_id()), ANNA)
    slots = [await world.slot([ANNA]) for _ in range(3)]
    found = await soon(node.booking.of_user(RegistrationQuery(user_id=ANNA, limit=2)))
    assert len(found) == 2
    rest = await soon(node.booking.of_user(RegistrationQuery(user_id=ANNA, limit=2, after=found[-1][0].id)))
    assert {slot.id for _, slot in (*found, *rest)} == set(slots)


async def test_a_count_that_a_crash_left_wrong_is_put_right_by_repeating(world: World, node: Node) -> None:
    slot = await world.slot([ANNA, BEN])
    assert (await world.found(slot)).registered_count == 0
    assert not (await soon(node.booking.register(slot, ANNA))).is_new
    assert await count(world, slot) == 2
    await world.bookings.cancel(slot, BEN, world.clock.now())
    await soon(node.booking.cancel(slot, BEN))
    assert await count(world, slot) == 1


@pytest.mark.parametrize("mishap", [Mishap.NOT_DONE, Mishap.NOT_ANSWERED])
@pytest.mark.parametrize("is_revived", [True, False])
async def test_whatever_goes_unanswered_repeating_registers_once(
    world: World, node: Node, mishap: Mishap, is_revived: bool
) -> None:
    await world.at(LOBBY)
    for at in range(1, 100):
        slot = await world.slot(start=START + minutes(60 * at), max_participants=2)
        if is_revived:
            await soon(node.booking.register(slot, ANNA))
            await soon(node.booking.cancel(slot, ANNA))
        node.course.begin(at, mishap)
        try:
            booked = await soon(node.booking.register(slot, ANNA))
        except UnavailableError:
            booked = await soon(node.booking.register(slot, ANNA))
        else:
            assert at > 8, "hardly anything was asked"
            assert booked.is_new
            break
        assert booked.registration == await stored(world, slot, ANNA)
        assert await world.statuses(slot) == {ANNA: "registered"}
        assert await count(world, slot) == 1
        await soon(node.booking.cancel(slot, ANNA))
    else:
        pytest.fail("it never went well")


@pytest.mark.parametrize("mishap", [Mishap.NOT_DONE, Mishap.NOT_ANSWERED])
async def test_whatever_goes_unanswered_repeating_cancels_once(world: World, node: Node, mishap: Mishap) -> None:
    for at in range(1, 100):
        slot = await world.slot(start=START + minutes(60 * at))
        await soon(node.booking.register(slot, ANNA))
        node.course.begin(at, mishap)
        try:
            cancelled = await soon(node.booking.cancel(slot, ANNA))
        except UnavailableError:
            cancelled = await soon(node.booking.cancel(slot, ANNA))
        else:
            assert at > 4, "hardly anything was asked"
            break
        assert cancelled == await stored(world, slot, ANNA)
        assert await count(world, slot) == 0
    else:
        pytest.fail("it never went well")


async def test_a_registration_that_is_taken_back_is_not_counted(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = await world.slot([BEN])
    add, take_back = world.bookings.add, world.bookings.take_back

    async def add_and_withdraw(registration: Registration) -> None:
        await add(registration)
        await world.deactivate(slot)

    async def count_and_take_back(registration: Registration, before: Registration | None) -> None:
        await soon(node.booking.register(slot, BEN))
        assert await count(world, slot) == 2
        await take_back(registration, before)

    monkeypatch.setattr(world.bookings, "add", add_and_withdraw)
    monkeypatch.setattr(world.bookings, "take_back", count_and_take_back)
    await refused(node, slot, ANNA, SlotInactiveError)
    assert await count(world, slot) == 1


async def test_a_booking_made_anew_elsewhere_is_not_taken_back(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = world.node("b0")
    slot = await world.slot()
    holders = world.bookings.holders
    looks = 0

    async def anew_then_silence(slot_id: SlotId) -> list[Registration]:
        nonlocal looks
        looks += 1
        if looks == 2:  # the look after the write
            await other.booking.cancel(slot, ANNA)
            await world.clock.advance(1)
            await other.booking.register(slot, ANNA)
            raise OutcomeUnknownError("nobody answers")
        return await holders(slot_id)

    monkeypatch.setattr(world.bookings, "holders", anew_then_silence)
    with pytest.raises(UnavailableError):
        await soon(node.booking.register(slot, ANNA))
    assert await world.statuses(slot) == {ANNA: "registered"}
    assert await count(world, slot) == 1


async def test_a_seat_of_somebody_who_was_cancelled_by_hand_is_free(world: World, node: Node) -> None:
    slot = await world.slot(max_participants=2)
    await soon(node.booking.register(slot, ANNA))
    by_hand = replace(await stored(world, slot, ANNA), status=RegistrationStatus.CANCELLED)
    world.bookings._registrations[slot, ANNA] = by_hand
    for who in (BEN, CLEO):
        assert (await soon(node.booking.register(slot, who))).is_new
    assert await count(world, slot) == 2
    await refused(node, slot, ANNA, SlotFullError)


async def test_locks_of_users_are_forgotten(world: World, node: Node) -> None:
    slot = await world.slot(max_participants=50)
    for number in range(30):
        await soon(node.booking.register(slot, user(number)))
    assert dict(node.booking._locks) == {}
