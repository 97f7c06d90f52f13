"""The catalogue: what is offered (time slots) and who booked it (registrations)."""

from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Protocol

from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import Registration, TimeSlot


class Catalog(Protocol):
    """Documents of the collections `timeslots` and `registrations`.

    Every method raises `OutcomeUnknownError` when the store does not answer in time.
    """

    async def add_slot(self, slot: TimeSlot) -> None:
        """Store a new slot."""

    async def slot(self, slot_id: SlotId) -> TimeSlot | None:
        """Return a slot."""

    async def active_slots(self, start_from: datetime, start_until: datetime) -> list[TimeSlot]:
        """Return the active slots that start within the two instants, both included, earliest first."""

    async def claim_session(self, slot_id: SlotId, session_id: SessionId) -> SessionId | None:
        """Give an active slot its session id, unless it has one; compare-and-set, whoever is first wins.

        Returns:
            The id that the slot has now; None if it is inactive or does not exist.
        """

    async def add_registration(self, registration: Registration) -> None:
        """Store a new registration; a second one for the same slot and user is refused by `KeyError`."""

    async def is_registered(self, slot_id: SlotId, user_id: UserId) -> bool:
        """Tell whether the user has a registration with status `registered` for the slot."""

    async def booked(self, slot_ids: AbstractSet[SlotId]) -> AbstractSet[SlotId]:
        """Return those of the slots that have at least one registration with status `registered`."""
