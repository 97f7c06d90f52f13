"""`Bookings.page` over every backend: each registration that is looked for once, in the order of their ids."""

import asyncio

import pytest
from msgspec.structs import replace

from coordinator.domain.ids import SlotId
from coordinator.domain.model import Registration, RegistrationStatus
from coordinator.ports.bookings import Bookings, RegistrationQuery
from tests.contracts.making import ANNA, BEN, CLEO, new_slot_id, registration, users

SLOT, OTHER_SLOT = SlotId("510751075107510751075101"), SlotId("510751075107510751075102")
QUERIES = [
    RegistrationQuery(slot_id=SLOT),
    RegistrationQuery(slot_id=SLOT, status=RegistrationStatus.REGISTERED),
    RegistrationQuery(slot_id=SLOT, status=RegistrationStatus.CANCELLED),
    RegistrationQuery(user_id=ANNA),
    RegistrationQuery(user_id=ANNA, status=RegistrationStatus.ATTENDED),
    RegistrationQuery(user_id=ANNA, status=RegistrationStatus.CANCELLED),
    RegistrationQuery(slot_id=SLOT, user_id=ANNA),
    RegistrationQuery(slot_id=SLOT, user_id=ANNA, status=RegistrationStatus.ATTENDED),
]


async def fill(bookings: Bookings) -> list[Registration]:
    """Registrations of many users for a slot, and of a user for many slots, in the order of their ids."""
    statuses = list(RegistrationStatus)
    items = [
        registration(slot_id, user, status=statuses[number % 4], seat=number if number % 4 != 1 else None)
        for number, (slot_id, user) in enumerate(
            [*((SLOT, user) for user in [*users(20), ANNA]), *((new_slot_id(), ANNA) for _ in range(20))]
        )
    ]
    items.append(registration(OTHER_SLOT, BEN))
    assert items == sorted(items, key=lambda item: item.id)
    await asyncio.gather(*(bookings.add(item) for item in reversed(items)))
    return items


@pytest.mark.parametrize("query", QUERIES, ids=str)
async def test_pages_hold_each_registration_once_and_in_order(bookings: Bookings, query: RegistrationQuery) -> None:
    wanted = [
        item
        for item in await fill(bookings)
        if query.slot_id in (None, item.time_slot_id)
        and query.user_id in (None, item.user_id)
        and query.status in (None, item.status)
    ]
    for limit in (1, 3, 50):
        found: list[Registration] = []
        following = replace(query, limit=limit)
        while page := await bookings.page(following):
            assert len(page) <= limit
            found += page
            following = replace(following, after=page[-1].id)
        assert found == wanted
    assert await bookings.page(query) == wanted


async def test_nobody_registered_makes_an_empty_page(bookings: Bookings) -> None:
    await fill(bookings)
    for query in (
        RegistrationQuery(slot_id=new_slot_id()),
        RegistrationQuery(user_id=CLEO),
        RegistrationQuery(slot_id=SLOT, user_id=BEN),
        RegistrationQuery(slot_id=SLOT, after="f" * 24),
    ):
        assert await bookings.page(query) == []
