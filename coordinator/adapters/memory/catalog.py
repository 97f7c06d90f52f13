"""The catalogue in memory. Owns slots and registrations; must not know the rules of registering."""

import asyncio
from collections.abc import Set as AbstractSet
from datetime import datetime

from msgspec.structs import replace

from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import Registration, RegistrationStatus, TimeSlot


class MemoryCatalog:
    """A complete `Catalog`."""

    def __init__(self) -> None:
        self._slots: dict[SlotId, TimeSlot] = {}
        self._registrations: dict[tuple[SlotId, UserId], Registration] = {}

    async def add_slot(self, slot: TimeSlot) -> None:
        """Store a new slot.

        Raises:
            KeyError: There is a slot with that id.
        """
        await asyncio.sleep(0)
        if slot.id in self._slots:
            raise KeyError(slot.id)
        self._slots[slot.id] = slot

    async def slot(self, slot_id: SlotId) -> TimeSlot | None:
        """Return a slot."""
        await asyncio.sleep(0)
        return self._slots.get(slot_id)

    async def active_slots(self, start_from: datetime, start_until: datetime) -> list[TimeSlot]:
        """Return the active slots that start within the two instants, both included, earliest first."""
        await asyncio.sleep(0)
        found = (
            slot for slot in self._slots.values() if slot.is_active and start_from <= slot.start_time <= start_until
        )
        return sorted(found, key=lambda slot: (slot.start_time, slot.id))

    async def claim_session(self, slot_id: SlotId, session_id: SessionId) -> SessionId | None:
        """Give an active slot its session id, unless it has one; whoever is first wins.

        Returns:
            The id that the slot has now; None if it is inactive or does not exist.
        """
        await asyncio.sleep(0)
        slot = self._slots.get(slot_id)
        if slot is None or not slot.is_active:
            return None
        if slot.session_id is None:
            self._slots[slot_id] = slot = replace(slot, session_id=session_id)
        return slot.session_id

    async def add_registration(self, registration: Registration) -> None:
        """Store a new registration.

        Raises:
            KeyError: There is one for the same slot and user.
        """
        await asyncio.sleep(0)
        key = (registration.time_slot_id, registration.user_id)
        if key in self._registrations:
            raise KeyError(key)
        self._registrations[key] = registration

    async def is_registered(self, slot_id: SlotId, user_id: UserId) -> bool:
        """Tell whether the user has a registration with status `registered` for the slot."""
        await asyncio.sleep(0)
        registration = self._registrations.get((slot_id, user_id))
        return registration is not None and registration.status is RegistrationStatus.REGISTERED

    async def booked(self, slot_ids: AbstractSet[SlotId]) -> AbstractSet[SlotId]:
        """Return those of the slots that have at least one registration with status `registered`."""
        await asyncio.sleep(0)
        return {
            slot_id
            for (slot_id, _), registration in self._registrations.items()
            if slot_id in slot_ids and registration.status is RegistrationStatus.REGISTERED
        }
