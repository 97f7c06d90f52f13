"""The catalogue in MongoDB: collections `timeslots` and `registrations`.

Owns the queries and the compare-and-set; must not know the rules of registering.
"""

from collections.abc import Set as AbstractSet
from datetime import datetime

import pymongo
from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.documents import read_slot, registration_document, slot_document
from coordinator.adapters.mongo.failures import unanswered_is_unknown
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import Registration, RegistrationStatus, TimeSlot

_REGISTERED = str(RegistrationStatus.REGISTERED)


class MongoCatalog:
    """A `Catalog` over the collections `timeslots` and `registrations`."""

    def __init__(self, database: Database) -> None:
        self._slots = database.timeslots
        self._registrations = database.registrations

    async def add_slot(self, slot: TimeSlot) -> None:
        """Store a new slot.

        Raises:
            KeyError: There is a slot with that id.
        """
        with unanswered_is_unknown():
            try:
                await self._slots.insert_one(slot_document(slot))
            except DuplicateKeyError:
                raise KeyError(slot.id) from None

    async def slot(self, slot_id: SlotId) -> TimeSlot | None:
        """Return a slot."""
        with unanswered_is_unknown():
            document = await self._slots.find_one({"_id": ObjectId(slot_id)})
        return None if document is None else read_slot(document)

    async def active_slots(self, start_from: datetime, start_until: datetime) -> list[TimeSlot]:
        """Return the active slots that start within the two instants, both included, earliest first."""
        query = {"startTime": {"$gte": start_from, "$lte": start_until}, "isActive": True}
        order = [("startTime", pymongo.ASCENDING)]
        with unanswered_is_unknown():
            found = await self._slots.find(query).sort(order).to_list(None)
        return [read_slot(document) for document in found]

    async def claim_session(self, slot_id: SlotId, session_id: SessionId) -> SessionId | None:
        """Give an active slot its session id, unless it has one; compare-and-set, whoever is first wins.

        Returns:
            The id that the slot has now; None if it is inactive or does not exist.
        """
        key = ObjectId(slot_id)
        unclaimed = {"_id": key, "isActive": True, "sessionId": None}  # null, or missing
        while True:
            with unanswered_is_unknown():
                result = await self._slots.update_one(unclaimed, {"$set": {"sessionId": ObjectId(session_id)}})
                if result.modified_count:
                    return session_id
                document = await self._slots.find_one({"_id": key}, {"isActive": True, "sessionId": True})
            if document is None or not document["isActive"]:
                return None
            if document.get("sessionId") is not None:
                return SessionId(str(document["sessionId"]))
            # It was made active again between the two looks at it: now it can be claimed.

    async def add_registration(self, registration: Registration) -> None:
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
