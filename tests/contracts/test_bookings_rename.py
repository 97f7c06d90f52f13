"""`Bookings.rename`: a user's registrations become a pseudonym's, over every backend."""

from msgspec.structs import replace

from coordinator.domain.ids import UserId
from coordinator.domain.model import RegistrationStatus
from coordinator.ports.bookings import Bookings, RegistrationQuery
from tests.contracts.making import ANNA, BEN, CLEO, NOON, new_slot_id, registration

PSEUDONYM = UserId("erased-" + "0" * 32)


async def test_all_registrations_of_a_user_are_renamed_and_nothing_else(bookings: Bookings) -> None:
    slots = [new_slot_id() for _ in RegistrationStatus]
    mine = [
        registration(slot_id, ANNA, status=status, cancelled_at=NOON, seat=None)
        for slot_id, status in zip(slots, RegistrationStatus, strict=True)
    ]
    others = [registration(slot_id, BEN, seat=3) for slot_id in slots]
    for item in (*mine, *others):
        await bookings.add(item)
    assert await bookings.rename(ANNA, PSEUDONYM) == len(mine)
    assert await bookings.page(RegistrationQuery(user_id=ANNA)) == []
    assert await bookings.page(RegistrationQuery(user_id=PSEUDONYM)) == [
        replace(item, user_id=PSEUDONYM) for item in mine
    ]
    assert await bookings.page(RegistrationQuery(user_id=BEN)) == others
    assert await bookings.find(slots[0], ANNA) is None


async def test_renaming_again_and_renaming_nobody_changes_nothing(bookings: Bookings) -> None:
    item = registration(new_slot_id(), ANNA)
    await bookings.add(item)
    assert await bookings.rename(CLEO, PSEUDONYM) == 0
    assert await bookings.rename(ANNA, PSEUDONYM) == 1
    assert await bookings.rename(ANNA, UserId("erased-" + "1" * 32)) == 0
    assert await bookings.page(RegistrationQuery(slot_id=item.time_slot_id)) == [replace(item, user_id=PSEUDONYM)]


async def test_a_renamed_registration_holds_its_seat(bookings: Bookings) -> None:
    item = registration(new_slot_id(), ANNA, seat=2)
    await bookings.add(item)
    await bookings.rename(ANNA, PSEUDONYM)
    assert await bookings.holders(item.time_slot_id) == [replace(item, user_id=PSEUDONYM)]
    await bookings.add(registration(item.time_slot_id, ANNA, seat=3))
    assert {found.seat for found in await bookings.holders(item.time_slot_id)} == {2, 3}
