"""Bookings in MongoDB: the collection `registrations`.

Owns the queries and the conditional writes; must not know the rules of registering.
"""

from collections.abc import Set as AbstractSet

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.documents import registration_document
from coordinator.adapters.mongo.failures import unanswered_is_unknown
from coordinator.domain.ids import SlotId, UserId
from coordinator.domain.model import Registration, RegistrationStatus

_REGISTERED = str(RegistrationStatus.REGISTERED)


class MongoBookings:
    """A `Bookings` over the collection `registrations`."""

    def __init__(self, database: Database) -> None:
        self._registrations = database.registrations

    async def add(self, registration: Registration) -> None:
        """Store a new registration.

        Raises:
            KeyError: There is one for the same slot and user.
        """
        with unanswered_is_unknown():
            try:
                await self._registrations.insert_one(registration_document(registration))
            except DuplicateKeyError:
                raise KeyError((registration.time_slot_id, registration.user_id)) from None

    async def is_registered(self, slot_id: SlotId, user_id: UserId) -> bool:
        """Tell whether the user has a registration with status `registered` for the slot."""
        query = {"timeSlotId": ObjectId(slot_id), "userId": user_id}  # at most one, by its unique index
        with unanswered_is_unknown():
            document = await self._registrations.find_one(query, {"status": True})
        return document is not None and document["status"] == _REGISTERED

    async def booked(self, slot_ids: AbstractSet[SlotId]) -> AbstractSet[SlotId]:
        """Return those of the slots that have at least one registration with status `registered`."""
        if not slot_ids:
            return frozenset()
        query = {"timeSlotId": {"$in": [ObjectId(slot_id) for slot_id in slot_ids]}, "status": _REGISTERED}
        with unanswered_is_unknown():
            found = await self._registrations.distinct("timeSlotId", query)
        return frozenset(SlotId(str(slot_id)) for slot_id in found)
