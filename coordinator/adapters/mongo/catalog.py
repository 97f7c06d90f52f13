"""The catalogue in MongoDB: collections `timeslots` and `registrations`.

Owns the queries and the compare-and-set; must not know the rules of registering.
"""

from datetime import datetime

import pymongo
from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.documents import read_slot, slot_document
from coordinator.adapters.mongo.failures import unanswered_is_unknown
from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import TimeSlot


class MongoCatalog:
    """A `Catalog` over the collections `timeslots` and `registrations`."""

    def __init__(self, database: Database) -> None:
        self._slots = database.timeslots

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

    async def claim_session(self, slot_id: SlotId, session_id: SessionId, settle_at: datetime) -> TimeSlot | None:
        """Give an active slot its session id and `settleAt`, unless it has a session; whoever is first wins."""
        key = ObjectId(slot_id)
        unclaimed = {"_id": key, "isActive": True, "sessionId": None}  # null, or missing
        while True:
            with unanswered_is_unknown():
                claim = {"sessionId": ObjectId(session_id), "settleAt": settle_at}
                await self._slots.update_one(unclaimed, {"$set": claim})
                document = await self._slots.find_one({"_id": key})
            if document is None or not document["isActive"]:
                return None
            if document.get("sessionId") is not None:
                return read_slot(document)
            # It was made active again between the two looks at it: now it can be claimed.
