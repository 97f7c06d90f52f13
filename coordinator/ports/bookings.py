"""Bookings: who has registered for which slot, and what became of it."""

from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Protocol

import msgspec

from coordinator.domain.ids import SlotId, UserId
from coordinator.domain.model import Registration, RegistrationStatus


class SeatTakenError(Exception):
    """Another registration held that seat of the slot.

    If that one is cancelled, which is done by hand in the store and then leaves the seat where it was, it has given up
    the seat by now.
    """


class RegistrationQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which registrations are looked for, in the order of their ids. A slot or a user must be named.

    Attributes:
        slot_id: Of this slot.
        user_id: Of this user.
        status: With this status; None for any.
        after: The id after which to go on; None from the beginning.
        limit: How many at most; at least 1.
    """

    slot_id: SlotId | None = None
    user_id: UserId | None = None
    status: RegistrationStatus | None = None
    after: str | None = None
    limit: int = 50


class Bookings(Protocol):
    """Documents of the collection `registrations`: at most one per (slot, user), and at most one per (slot, seat).

    Each write is one step, and what it returns is durable. Every method raises `OutcomeUnknownError` when the store
    does not answer in time.
    """

    async def add(self, registration: Registration) -> None:
        """Store a new registration.

        Raises:
            KeyError: There is one for the same slot and user.
            SeatTakenError: Its seat is taken.
        """

    async def revive(self, registration: Registration) -> bool:
        """Make a cancelled registration what is given: registered, with a seat; tell whether it still was cancelled.

        Raises:
            SeatTakenError: Its seat is taken.
        """

    async def take_back(self, registration: Registration, before: Registration | None) -> None:
        """Undo an `add` (`before` is None) or a `revive` of `before`, whatever has become of it since.

        Not if it was cancelled and has been revived since, at another instant: that is another booking.
        """

    async def find(self, slot_id: SlotId, user_id: UserId) -> Registration | None:
        """Return the user's registration for the slot, whatever its status."""

    async def is_registered(self, slot_id: SlotId, user_id: UserId) -> bool:
        """Tell whether the user has a registration with status `registered` for the slot."""

    async def holders(self, slot_id: SlotId) -> list[Registration]:
        """Return the slot's registrations that are not cancelled, in any order."""

    async def slots_of(self, user_id: UserId) -> AbstractSet[SlotId]:
        """Return the slots for which the user has a registration with status `registered`."""

    async def booked(self, slot_ids: AbstractSet[SlotId]) -> AbstractSet[SlotId]:
        """Return those of the slots that have at least one registration with status `registered`."""

    async def page(self, query: RegistrationQuery) -> list[Registration]:
        """Return the registrations that are looked for."""

    async def cancel(self, slot_id: SlotId, user_id: UserId, at: datetime) -> bool:
        """Cancel a registration with status `registered`, freeing its seat; tell whether there was one."""

    async def cancel_all(self, slot_id: SlotId, at: datetime) -> None:
        """Cancel all registrations of a slot that have status `registered`; harmless to repeat."""

    async def rename(self, user_id: UserId, pseudonym: UserId) -> int:
        """Let all registrations of a user be a pseudonym's, which nobody else has; return how many there were.

        Nothing else about them changes. Harmless to repeat: each registration is renamed once.
        """

    async def record_attendance(self, slot_id: SlotId, present: AbstractSet[UserId]) -> None:
        """Turn `registered` into `attended` for users in `present` and into `noshow` for all others.

        Harmless to repeat with the same users: each registration is changed once.
        """
