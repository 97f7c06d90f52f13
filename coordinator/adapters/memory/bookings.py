"""Bookings in memory. Owns registrations; must not know the rules of registering."""

import asyncio
from collections.abc import Set as AbstractSet
from datetime import datetime

from msgspec.structs import replace

from coordinator.domain.ids import SlotId, UserId
from coordinator.domain.model import Registration, RegistrationStatus
from coordinator.ports.bookings import RegistrationQuery, SeatTakenError

_Key = tuple[SlotId, UserId]


class MemoryBookings:
    """A complete `Bookings`."""

    def __init__(self) -> None:
        self._registrations: dict[_Key, Registration] = {}

    async def add(self, registration: Registration) -> None:
        """Store a new registration.

        Raises:
            KeyError: There is one for the same slot and user.
            SeatTakenError: Its seat is taken.
        """
        await asyncio.sleep(0)
        key = _key(registration)
        if key in self._registrations:
            raise KeyError(key)
        self._check_seat(registration)
        self._registrations[key] = registration

    async def revive(self, registration: Registration) -> bool:
        """Make a cancelled registration what is given; tell whether it still was cancelled.

        Raises:
            SeatTakenError: Its seat is taken.
        """
        await asyncio.sleep(0)
        stored = self._registrations.get(_key(registration))
        if stored is None or stored.status is not RegistrationStatus.CANCELLED:
            return False
        self._check_seat(registration)
        self._registrations[_key(registration)] = registration
        return True

    async def take_back(self, registration: Registration, before: Registration | None) -> None:
        """Undo an `add` (`before` is None) or a `revive` of `before`."""
        await asyncio.sleep(0)
        stored = self._registrations.get(_key(registration))
        if stored is None or (stored.id, stored.registered_at) != (registration.id, registration.registered_at):
            return
        if before is None:
            del self._registrations[_key(registration)]
        else:
            self._registrations[_key(registration)] = before

    async def find(self, slot_id: SlotId, user_id: UserId) -> Registration | None:
        """Return the user's registration for the slot, whatever its status."""
        await asyncio.sleep(0)
        return self._registrations.get((slot_id, user_id))

    async def is_registered(self, slot_id: SlotId, user_id: UserId) -> bool:
        """Tell whether the user has a registration with status `registered` for the slot."""
        registration = await self.find(slot_id, user_id)
        return registration is not None and registration.status is RegistrationStatus.REGISTERED

    async def holders(self, slot_id: SlotId) -> list[Registration]:
        """Return the slot's registrations that are not cancelled."""
        await asyncio.sleep(0)
        return [
            registration
            for registration in self._of_slot(slot_id)
            if registration.status is not RegistrationStatus.CANCELLED
        ]

    async def slots_of(self, user_id: UserId) -> AbstractSet[SlotId]:
        """Return the slots for which the user has a registration with status `registered`."""
        await asyncio.sleep(0)
        return {
            registration.time_slot_id
            for registration in self._registrations.values()
            if registration.user_id == user_id and registration.status is RegistrationStatus.REGISTERED
        }

    async def booked(self, slot_ids: AbstractSet[SlotId]) -> AbstractSet[SlotId]:
        """Return those of the slots that have at least one registration with status `registered`."""
        await asyncio.sleep(0)
        return {
            slot_id
            for (slot_id, _), registration in self._registrations.items()
            if slot_id in slot_ids and registration.status is RegistrationStatus.REGISTERED
        }

    async def page(self, query: RegistrationQuery) -> list[Registration]:
        """Return the registrations that are looked for, by id."""
        await asyncio.sleep(0)
        found = sorted(
            (registration for registration in self._registrations.values() if _matches(registration, query)),
            key=lambda registration: registration.id,
        )
        return found[: query.limit]

    async def cancel(self, slot_id: SlotId, user_id: UserId, at: datetime) -> bool:
        """Cancel a registration with status `registered`, freeing its seat; tell whether there was one."""
        await asyncio.sleep(0)
        stored = self._registrations.get((slot_id, user_id))
        if stored is None or stored.status is not RegistrationStatus.REGISTERED:
            return False
        self._registrations[slot_id, user_id] = _cancelled(stored, at)
        return True

    async def cancel_all(self, slot_id: SlotId, at: datetime) -> None:
        """Cancel all registrations of a slot that have status `registered`."""
        await asyncio.sleep(0)
        for registration in self._of_slot(slot_id):
            if registration.status is RegistrationStatus.REGISTERED:
                self._registrations[_key(registration)] = _cancelled(registration, at)

    async def rename(self, user_id: UserId, pseudonym: UserId) -> int:
        """Let all registrations of a user be a pseudonym's; return how many there were."""
        await asyncio.sleep(0)
        found = [item for item in self._registrations.values() if item.user_id == user_id]
        for registration in found:
            del self._registrations[_key(registration)]
            renamed = replace(registration, user_id=pseudonym)
            self._registrations[_key(renamed)] = renamed
        return len(found)

    async def record_attendance(self, slot_id: SlotId, present: AbstractSet[UserId]) -> None:
        """Turn `registered` into `attended` for users in `present` and into `noshow` for all others."""
        await asyncio.sleep(0)
        for registration in self._of_slot(slot_id):
            if registration.status is RegistrationStatus.REGISTERED:
                is_present = registration.user_id in present
                status = RegistrationStatus.ATTENDED if is_present else RegistrationStatus.NOSHOW
                self._registrations[_key(registration)] = replace(registration, status=status)

    def _of_slot(self, slot_id: SlotId) -> list[Registration]:
        return [item for item in self._registrations.values() if item.time_slot_id == slot_id]

    def _check_seat(self, registration: Registration) -> None:
        if registration.seat is None:
            return
        for item in self._of_slot(registration.time_slot_id):
            if item.seat == registration.seat:
                if item.status is RegistrationStatus.CANCELLED:
                    self._registrations[_key(item)] = replace(item, seat=None)
                raise SeatTakenError(registration.seat)


def _key(registration: Registration) -> _Key:
    return registration.time_slot_id, registration.user_id


def _cancelled(registration: Registration, at: datetime) -> Registration:
    return replace(registration, status=RegistrationStatus.CANCELLED, cancelled_at=at, seat=None)


def _matches(registration: Registration, query: RegistrationQuery) -> bool:
    return (
        (query.slot_id is None or registration.time_slot_id == query.slot_id)
        and (query.user_id is None or registration.user_id == query.user_id)
        and (query.status is None or registration.status is query.status)
        and (query.after is None or registration.id > query.after)
    )
