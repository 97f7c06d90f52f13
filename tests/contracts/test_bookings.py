"""The port `Bookings`, sentence by sentence, over every backend."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from coordinator.domain.ids import SlotId, UserId
from coordinator.domain.model import Registration, RegistrationStatus
from coordinator.ports.bookings import Bookings, RegistrationQuery, SeatTakenError
from tests.contracts.making import ANNA, BEN, CLEO, MOMENT, NOON, new_slot_id, registration, users

LATER = NOON + timedelta(hours=1)
HOLDING = [status for status in RegistrationStatus if status is not RegistrationStatus.CANCELLED]
REGISTERED, CANCELLED = RegistrationStatus.REGISTERED, RegistrationStatus.CANCELLED
ATTENDED, NOSHOW = RegistrationStatus.ATTENDED, RegistrationStatus.NOSHOW


async def stored(bookings: Bookings, *items: Registration) -> None:
    for item in items:
        await bookings.add(item)


async def of_slot(bookings: Bookings, slot_id: SlotId) -> list[Registration]:
    return await bookings.page(RegistrationQuery(slot_id=slot_id, limit=1000))


def by_user(items: Sequence[Registration]) -> dict[UserId, Registration]:
    found = {item.user_id: item for item in items}
    assert len(found) == len(items)
    return found


async def test_registrations_come_back_as_they_were_stored(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    seated, by_hand = registration(slot_id, ANNA, seat=0), registration(slot_id, BEN)
    cancelled = registration(slot_id, CLEO, status=CANCELLED, cancelled_at=NOON + MOMENT)
    await stored(bookings, seated, by_hand, cancelled)
    assert await bookings.find(slot_id, ANNA) == seated
    assert await bookings.find(slot_id, BEN) == by_hand
    assert await bookings.find(slot_id, CLEO) == cancelled


async def test_an_unknown_registration_is_none(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    await bookings.add(registration(slot_id, ANNA))
    assert await bookings.find(slot_id, BEN) is None
    assert await bookings.find(new_slot_id(), ANNA) is None


async def test_a_user_books_a_slot_once(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    first = registration(slot_id, ANNA, seat=0)
    await bookings.add(first)
    for seat in (None, 1):
        with pytest.raises(KeyError):
            await bookings.add(registration(slot_id, ANNA, seat=seat))
    await bookings.add(registration(slot_id, BEN, seat=1))
    await bookings.add(registration(new_slot_id(), ANNA, seat=0))
    assert await bookings.find(slot_id, ANNA) == first


async def test_a_seat_is_taken_once(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    await bookings.add(registration(slot_id, ANNA, seat=3))
    with pytest.raises(SeatTakenError):
        await bookings.add(registration(slot_id, BEN, seat=3))
    assert await bookings.find(slot_id, BEN) is None
    await bookings.add(registration(slot_id, BEN, seat=4))
    await bookings.add(registration(new_slot_id(), BEN, seat=3))


async def test_any_number_of_registrations_has_no_seat(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    await stored(bookings, *(registration(slot_id, user) for user in (ANNA, BEN, CLEO)))
    assert len(await bookings.holders(slot_id)) == 3


async def test_among_simultaneous_bookings_of_a_user_one_is_stored(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    attempts = [registration(slot_id, ANNA, seat=number) for number in range(20)]
    outcomes = await asyncio.gather(*(bookings.add(item) for item in attempts), return_exceptions=True)
    assert outcomes.count(None) == 1
    assert all(outcome is None or isinstance(outcome, KeyError) for outcome in outcomes)
    assert await of_slot(bookings, slot_id) == [attempts[outcomes.index(None)]]


async def test_of_fifty_users_who_want_one_seat_one_gets_it(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    attempts = [registration(slot_id, user, seat=0) for user in users(50)]
    outcomes = await asyncio.gather(*(bookings.add(item) for item in attempts), return_exceptions=True)
    assert outcomes.count(None) == 1
    assert all(outcome is None or isinstance(outcome, SeatTakenError) for outcome in outcomes)
    assert await of_slot(bookings, slot_id) == [attempts[outcomes.index(None)]]


async def test_of_fifty_users_who_try_seat_after_seat_as_many_are_seated_as_there_are_seats(bookings: Bookings) -> None:
    slot_id, seats = new_slot_id(), 8

    async def seated(user: UserId) -> int | None:
        for seat in range(seats):
            try:
                await bookings.add(registration(slot_id, user, seat=seat))
            except SeatTakenError:
                continue
            return seat
        return None

    outcomes = await asyncio.gather(*(seated(user) for user in users(50)))
    taken = {user: seat for user, seat in zip(users(50), outcomes, strict=True) if seat is not None}
    assert sorted(taken.values()) == list(range(seats))
    holders = by_user(await bookings.holders(slot_id))
    assert {user: item.seat for user, item in holders.items()} == taken


async def cancelled_one(bookings: Bookings, slot_id: SlotId, user_id: UserId) -> Registration:
    """A registration that was made and cancelled."""
    item = registration(slot_id, user_id, status=CANCELLED, cancelled_at=NOON + MOMENT)
    await bookings.add(item)
    return item


def revived(item: Registration, seat: int) -> Registration:
    return replace(item, status=REGISTERED, registered_at=LATER, cancelled_at=None, seat=seat)


async def test_a_cancelled_registration_is_revived_as_it_is_given(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    back = revived(await cancelled_one(bookings, slot_id, ANNA), 2)
    assert await bookings.revive(back)
    assert await bookings.find(slot_id, ANNA) == back
    with pytest.raises(SeatTakenError):
        await bookings.add(registration(slot_id, BEN, seat=2))


@pytest.mark.parametrize("status", HOLDING)
async def test_only_a_cancelled_registration_is_revived(bookings: Bookings, status: RegistrationStatus) -> None:
    held = registration(new_slot_id(), ANNA, status=status, seat=1)
    await bookings.add(held)
    assert not await bookings.revive(revived(held, 5))
    assert await bookings.find(held.time_slot_id, ANNA) == held
    assert not await bookings.revive(registration(held.time_slot_id, BEN, seat=5))
    assert await bookings.find(held.time_slot_id, BEN) is None


async def test_none_is_revived_on_a_taken_seat(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    item = await cancelled_one(bookings, slot_id, ANNA)
    await bookings.add(registration(slot_id, BEN, seat=0))
    with pytest.raises(SeatTakenError):
        await bookings.revive(revived(item, 0))
    assert await bookings.find(slot_id, ANNA) == item


async def test_of_one_that_is_revived_twice_at_once_one_is(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    item = await cancelled_one(bookings, slot_id, ANNA)
    attempts = [revived(item, seat) for seat in range(20)]
    outcomes = await asyncio.gather(*(bookings.revive(attempt) for attempt in attempts))
    assert sum(outcomes) == 1
    assert await bookings.find(slot_id, ANNA) == attempts[outcomes.index(True)]


async def test_those_who_register_and_those_who_come_back_race_for_the_same_seat(bookings: Bookings) -> None:
    for _ in range(3):
        slot_id = new_slot_id()
        returning = [await cancelled_one(bookings, slot_id, user) for user in users(10)]
        new = [registration(slot_id, UserId(f"new {user}"), seat=0) for user in users(10)]
        attempts: list[Any] = [bookings.revive(revived(item, 0)) for item in returning]
        attempts += [bookings.add(item) for item in new]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        assert sum(not isinstance(outcome, SeatTakenError) for outcome in outcomes) == 1
        (holder,) = await bookings.holders(slot_id)
        assert holder.seat == 0
        assert {item.seat for item in await of_slot(bookings, slot_id)} == {0, None}


@pytest.mark.parametrize("became", [None, *RegistrationStatus])
async def test_a_registration_is_taken_back_whatever_has_become_of_it(
    bookings: Bookings, became: RegistrationStatus | None
) -> None:
    slot_id = new_slot_id()
    added = registration(slot_id, ANNA, seat=0)
    await bookings.add(added)
    cancelled = await cancelled_one(bookings, slot_id, BEN)
    back = revived(cancelled, 1)
    assert await bookings.revive(back)
    if became is CANCELLED:
        await bookings.cancel_all(slot_id, LATER)
    elif became in (ATTENDED, NOSHOW):
        await bookings.record_attendance(slot_id, {ANNA, BEN} if became is ATTENDED else set())
    await bookings.take_back(added, None)
    await bookings.take_back(back, cancelled)
    assert await bookings.find(slot_id, ANNA) is None
    assert await bookings.find(slot_id, BEN) == cancelled
    assert await bookings.holders(slot_id) == []
    await stored(bookings, *(registration(slot_id, user, seat=seat) for seat, user in enumerate([ANNA, CLEO])))


async def test_taking_back_touches_no_other(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    other, elsewhere = registration(slot_id, BEN, seat=1), registration(new_slot_id(), ANNA, seat=0)
    taken = registration(slot_id, ANNA, seat=0)
    await stored(bookings, other, elsewhere, taken)
    for _ in range(2):
        await bookings.take_back(taken, None)
        assert await of_slot(bookings, slot_id) == [other]
        assert await bookings.find(elsewhere.time_slot_id, ANNA) == elsewhere


async def test_what_was_cancelled_and_booked_again_is_not_taken_back(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    added = registration(slot_id, ANNA, seat=0)
    await bookings.add(added)
    assert await bookings.cancel(slot_id, ANNA, LATER)
    again = revived(added, 1)
    assert await bookings.revive(again)
    await bookings.take_back(added, None)
    assert await bookings.find(slot_id, ANNA) == again
    back = replace(again, registered_at=LATER + MOMENT)
    cancelled = replace(again, status=CANCELLED, seat=None, cancelled_at=LATER)
    await bookings.take_back(back, cancelled)
    assert await bookings.find(slot_id, ANNA) == again
    await bookings.take_back(again, cancelled)
    assert await bookings.find(slot_id, ANNA) == cancelled


@pytest.mark.parametrize("returns", [False, True])
async def test_whoever_was_cancelled_by_hand_gives_up_the_seat_when_somebody_wants_it(
    bookings: Bookings, returns: bool
) -> None:
    slot_id = new_slot_id()
    by_hand = registration(slot_id, ANNA, status=CANCELLED, seat=0)
    elsewhere = registration(new_slot_id(), ANNA, status=CANCELLED, seat=0)
    await stored(bookings, by_hand, elsewhere)
    wanted = revived(await cancelled_one(bookings, slot_id, BEN), 0) if returns else registration(slot_id, BEN, seat=0)
    book = bookings.revive if returns else bookings.add
    with pytest.raises(SeatTakenError):
        await book(wanted)
    assert await bookings.find(slot_id, ANNA) == replace(by_hand, seat=None)
    await book(wanted)
    assert await bookings.find(slot_id, BEN) == wanted
    assert await bookings.find(elsewhere.time_slot_id, ANNA) == elsewhere


@pytest.mark.parametrize("status", HOLDING)
async def test_nobody_else_gives_up_a_seat(bookings: Bookings, status: RegistrationStatus) -> None:
    slot_id = new_slot_id()
    holder = registration(slot_id, ANNA, status=status, seat=0)
    await bookings.add(holder)
    for _ in range(2):
        with pytest.raises(SeatTakenError):
            await bookings.add(registration(slot_id, BEN, seat=0))
    assert await bookings.holders(slot_id) == [holder]


@pytest.mark.parametrize("status", list(RegistrationStatus))
async def test_only_registered_counts_as_registered(bookings: Bookings, status: RegistrationStatus) -> None:
    slot_id = new_slot_id()
    cancelled_at = NOON + MOMENT if status is CANCELLED else None
    await bookings.add(registration(slot_id, CLEO, status=status, cancelled_at=cancelled_at))
    is_registered = status is REGISTERED
    assert await bookings.is_registered(slot_id, CLEO) is is_registered
    assert await bookings.booked({slot_id}) == ({slot_id} if is_registered else set())
    assert await bookings.slots_of(CLEO) == ({slot_id} if is_registered else set())
    assert not await bookings.is_registered(slot_id, ANNA)
    assert not await bookings.is_registered(new_slot_id(), CLEO)


async def test_booked_names_those_of_the_slots_that_somebody_booked(bookings: Bookings) -> None:
    booked, twice, cancelled, empty, unasked = (new_slot_id() for _ in range(5))
    await stored(
        bookings,
        registration(booked, ANNA),
        registration(twice, ANNA),
        registration(twice, BEN, status=CANCELLED),
        registration(twice, CLEO),
        registration(cancelled, ANNA, status=CANCELLED),
        registration(unasked, ANNA),
    )
    assert await bookings.booked({booked, twice, cancelled, empty}) == {booked, twice}
    assert await bookings.booked({empty, cancelled}) == set()
    assert await bookings.booked(set()) == set()


async def test_slots_of_a_user_are_those_it_is_registered_for(bookings: Bookings) -> None:
    slots = [new_slot_id() for _ in range(3)]
    await stored(bookings, *(registration(slot_id, ANNA) for slot_id in slots), registration(new_slot_id(), BEN))
    assert await bookings.slots_of(ANNA) == set(slots)
    assert await bookings.slots_of(CLEO) == set()


async def test_holders_are_those_that_are_not_cancelled_seated_or_not(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    held = [
        registration(slot_id, UserId(f"seated {status}"), status=status, seat=n) for n, status in enumerate(HOLDING)
    ]
    held += [registration(slot_id, UserId(f"by hand {status}"), status=status) for status in HOLDING]
    await stored(bookings, *held, registration(new_slot_id(), ANNA, seat=0))
    await cancelled_one(bookings, slot_id, BEN)
    assert by_user(await bookings.holders(slot_id)) == by_user(held)
    assert await bookings.holders(new_slot_id()) == []


async def test_cancelling_frees_the_seat(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    held = registration(slot_id, ANNA, seat=0)
    await bookings.add(held)
    assert await bookings.cancel(slot_id, ANNA, LATER)
    cancelled = replace(held, status=CANCELLED, cancelled_at=LATER, seat=None)
    assert await bookings.find(slot_id, ANNA) == cancelled
    assert not await bookings.cancel(slot_id, ANNA, LATER + MOMENT)
    assert await bookings.find(slot_id, ANNA) == cancelled
    await bookings.add(registration(slot_id, BEN, seat=0))


@pytest.mark.parametrize("status", [CANCELLED, ATTENDED, NOSHOW])
async def test_only_who_is_registered_is_cancelled(bookings: Bookings, status: RegistrationStatus) -> None:
    seat = None if status is CANCELLED else 1
    item = registration(new_slot_id(), ANNA, status=status, seat=seat)
    await bookings.add(item)
    assert not await bookings.cancel(item.time_slot_id, ANNA, LATER)
    assert not await bookings.cancel(item.time_slot_id, BEN, LATER)
    assert not await bookings.cancel(new_slot_id(), ANNA, LATER)
    await bookings.cancel_all(item.time_slot_id, LATER)
    await bookings.record_attendance(item.time_slot_id, {BEN})
    assert await of_slot(bookings, item.time_slot_id) == [item]


async def test_of_simultaneous_cancellations_one_finds_something_to_cancel(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    await bookings.add(registration(slot_id, ANNA, seat=0))
    times = [LATER + number * MOMENT for number in range(10)]
    outcomes = await asyncio.gather(*(bookings.cancel(slot_id, ANNA, at) for at in times))
    assert sum(outcomes) == 1
    found = await bookings.find(slot_id, ANNA)
    assert found is not None
    assert found.cancelled_at == times[outcomes.index(True)]


async def test_a_whole_slot_is_cancelled(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    held = [registration(slot_id, user, seat=seat) for seat, user in enumerate(users(5))]
    by_hand, before = registration(slot_id, ANNA), await cancelled_one(bookings, slot_id, BEN)
    elsewhere = registration(new_slot_id(), ANNA, seat=0)
    await stored(bookings, *held, by_hand, elsewhere)
    for at in (LATER, LATER + MOMENT):
        await bookings.cancel_all(slot_id, at)
        assert await bookings.holders(slot_id) == []
        assert by_user(await of_slot(bookings, slot_id)) == by_user(
            [before, *(replace(item, status=CANCELLED, cancelled_at=LATER, seat=None) for item in [*held, by_hand])]
        )
    assert await bookings.find(elsewhere.time_slot_id, ANNA) == elsewhere


async def test_attendance_turns_each_registration_once(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    there, away = registration(slot_id, ANNA, seat=0), registration(slot_id, CLEO, seat=1)
    by_hand = registration(slot_id, UserId("dora"))
    cancelled = await cancelled_one(bookings, slot_id, BEN)
    elsewhere = registration(new_slot_id(), ANNA, seat=0)
    await stored(bookings, there, away, by_hand, elsewhere)
    present = {ANNA, BEN, by_hand.user_id, UserId("a guest")}
    expected = by_user([replace(there, status=ATTENDED), replace(away, status=NOSHOW), cancelled])
    expected[by_hand.user_id] = replace(by_hand, status=ATTENDED)
    for _ in range(2):
        await bookings.record_attendance(slot_id, present)
        assert by_user(await of_slot(bookings, slot_id)) == expected
    await bookings.record_attendance(slot_id, set())
    assert by_user(await of_slot(bookings, slot_id)) == expected
    assert await bookings.find(elsewhere.time_slot_id, ANNA) == elsewhere
    assert await bookings.slots_of(ANNA) == {elsewhere.time_slot_id}


async def test_without_anybody_present_nobody_attended(bookings: Bookings) -> None:
    slot_id = new_slot_id()
    await stored(bookings, *(registration(slot_id, user, seat=seat) for seat, user in enumerate((ANNA, BEN))))
    await bookings.record_attendance(slot_id, set())
    assert [item.status for item in await of_slot(bookings, slot_id)] == [NOSHOW, NOSHOW]


async def test_attendance_recorded_twice_at_once_is_recorded_once(bookings: Bookings) -> None:
    slot_id, everybody = new_slot_id(), users(20)
    await stored(bookings, *(registration(slot_id, user, seat=seat) for seat, user in enumerate(everybody)))
    present = set(everybody[::2])
    await asyncio.gather(*(bookings.record_attendance(slot_id, present) for _ in range(4)))
    found = by_user(await of_slot(bookings, slot_id))
    assert {user for user, item in found.items() if item.status is ATTENDED} == present
    assert {user for user, item in found.items() if item.status is NOSHOW} == set(everybody) - present
