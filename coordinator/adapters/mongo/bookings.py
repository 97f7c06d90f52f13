"""Bookings in MongoDB: the collection `registrations`.

Owns the queries and the conditional writes; must not know the rules of registering. Each write is one operation on
one document, or a conditional one on many: two unique indexes, over (slot, user) and over (slot, seat), do the rest.
"""

from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

from bson import ObjectId
from msgspec.structs import replace
from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from coordinator.adapters.mongo.client import Database, Document
from coordinator.adapters.mongo.documents import ListReader, read_registration, registration_document
from coordinator.adapters.mongo.failures import unanswered_is_unknown
from coordinator.adapters.mongo.pieces import find_by
from coordinator.domain.ids import SlotId, UserId
from coordinator.domain.model import Registration, RegistrationStatus
from coordinator.ports.bookings import RegistrationQuery, SeatTakenError

_REGISTERED = str(RegistrationStatus.REGISTERED)
_CANCELLED = str(RegistrationStatus.CANCELLED)
_HOLDING = [str(status) for status in RegistrationStatus if status is not RegistrationStatus.CANCELLED]


class MongoBookings:
    """A `Bookings` over the collection `registrations`."""

    def __init__(self, database: Database) -> None:
        self._registrations = database.registrations
        self._lists = ListReader("registrations")

    async def add(self, registration: Registration) -> None:
        """Store a new registration.

        Raises:
            KeyError: There is one for the same slot and user.
            SeatTakenError: Its seat is taken.
        """
        with unanswered_is_unknown():
            try:
                await self._registrations.insert_one(registration_document(registration))
            except DuplicateKeyError as error:
                if _is_about_seats(error):
                    await self._free_if_cancelled(registration)
                    raise SeatTakenError(registration.seat) from None
                raise KeyError((registration.time_slot_id, registration.user_id)) from None

    async def revive(self, registration: Registration) -> bool:
        """Make a cancelled registration what is given; tell whether it still was cancelled.

        Raises:
            SeatTakenError: Its seat is taken.
        """
        document = registration_document(registration)
        still_cancelled = {**_key(registration), "status": _CANCELLED}
        with unanswered_is_unknown():
            try:
                result = await self._registrations.replace_one(still_cancelled, document)
            except DuplicateKeyError:
                await self._free_if_cancelled(registration)
                raise SeatTakenError(registration.seat) from None
        return result.modified_count == 1

    async def _free_if_cancelled(self, wanted: Registration) -> None:
        """Free the seat that a registration wants from one that was cancelled by hand and so did not give it up."""
        held = {"timeSlotId": ObjectId(wanted.time_slot_id), "seat": wanted.seat, "status": _CANCELLED}
        await self._registrations.update_one(held, {"$unset": {"seat": ""}})

    async def take_back(self, registration: Registration, before: Registration | None) -> None:
        """Undo an `add` (`before` is None) or a `revive` of `before`."""
        key = {**_key(registration), "registeredAt": registration.registered_at}
        with unanswered_is_unknown():
            if before is None:
                await self._registrations.delete_one(key)
            else:
                await self._registrations.replace_one(key, registration_document(before))

    async def find(self, slot_id: SlotId, user_id: UserId) -> Registration | None:
        """Return the user's registration for the slot, whatever its status."""
        with unanswered_is_unknown():
            document = await self._registrations.find_one(_of(slot_id, user_id))
        return None if document is None else read_registration(document)

    async def is_registered(self, slot_id: SlotId, user_id: UserId) -> bool:
        """Tell whether the user has a registration with status `registered` for the slot."""
        with unanswered_is_unknown():
            document = await self._registrations.find_one(_of(slot_id, user_id), {"status": True})
        return document is not None and document["status"] == _REGISTERED

    async def holders(self, slot_id: SlotId) -> list[Registration]:
        """Return the slot's registrations that are not cancelled."""
        query = {"timeSlotId": ObjectId(slot_id), "status": {"$in": _HOLDING}}
        with unanswered_is_unknown():
            found = await self._registrations.find(query).to_list(None)
        return [read_registration(document) for document in found]

    async def slots_of(self, user_id: UserId) -> AbstractSet[SlotId]:
        """Return the slots for which the user has a registration with status `registered`."""
        query = {"userId": user_id, "status": _REGISTERED}
        with unanswered_is_unknown():
            found = await self._registrations.find(query, {"timeSlotId": True}).to_list(None)
        return frozenset(SlotId(str(document["timeSlotId"])) for document in found)

    async def booked(self, slot_ids: AbstractSet[SlotId]) -> AbstractSet[SlotId]:
        """Return those of the slots that have at least one registration with status `registered`."""
        keys = [ObjectId(slot_id) for slot_id in slot_ids]
        only = {"_id": False, "timeSlotId": True}
        with unanswered_is_unknown():
            # Not `distinct`: on a sharded cluster that may also see what a move between shards has left behind.
            found = await find_by(self._registrations, "timeSlotId", keys, {"status": _REGISTERED}, only)
        return frozenset(SlotId(str(document["timeSlotId"])) for document in found)

    async def page(self, query: RegistrationQuery) -> list[Registration]:
        """Return the registrations that are looked for, by id."""
        wanted = _wanted(query)
        with unanswered_is_unknown():
            cursor = self._registrations.find(wanted).sort([("_id", ASCENDING)])
            found = await cursor.limit(query.limit).to_list(None)
        registrations = self._lists.read(found, read_registration)
        if len(registrations) < len(found) == query.limit:  # a page is full as long as there are more
            left = query.limit - len(registrations)
            registrations += await self.page(replace(query, after=str(found[-1]["_id"]), limit=left))
        return registrations

    async def cancel(self, slot_id: SlotId, user_id: UserId, at: datetime) -> bool:
        """Cancel a registration with status `registered`, freeing its seat; tell whether there was one."""
        with unanswered_is_unknown():
            registered = {**_of(slot_id, user_id), "status": _REGISTERED}
            result = await self._registrations.update_one(registered, _cancellation(at))
        return result.modified_count == 1

    async def cancel_all(self, slot_id: SlotId, at: datetime) -> None:
        """Cancel all registrations of a slot that have status `registered`."""
        with unanswered_is_unknown():
            await self._registrations.update_many(_registered_for(slot_id), _cancellation(at))

    async def rename(self, user_id: UserId, pseudonym: UserId) -> int:
        """Let all registrations of a user be a pseudonym's; return how many there were."""
        with unanswered_is_unknown():
            result = await self._registrations.update_many({"userId": user_id}, {"$set": {"userId": pseudonym}})
        return int(result.modified_count)

    async def record_attendance(self, slot_id: SlotId, present: AbstractSet[UserId]) -> None:
        """Turn `registered` into `attended` for users in `present` and into `noshow` for all others."""
        # Both say whom they mean: an update of many may pass over a document that is just moved to another shard, and
        # whoever was there and is passed over by the first must not become a no-show by the second.
        users = sorted(present)
        there, not_there = ({**_registered_for(slot_id), "userId": {which: users}} for which in ("$in", "$nin"))
        with unanswered_is_unknown():
            await self._registrations.update_many(there, _becomes(RegistrationStatus.ATTENDED))
            await self._registrations.update_many(not_there, _becomes(RegistrationStatus.NOSHOW))


def _key(registration: Registration) -> dict[str, Any]:
    return {"_id": ObjectId(registration.id), "timeSlotId": ObjectId(registration.time_slot_id)}


def _of(slot_id: SlotId, user_id: UserId) -> dict[str, Any]:
    return {"timeSlotId": ObjectId(slot_id), "userId": user_id}  # at most one, by its unique index


def _registered_for(slot_id: SlotId) -> dict[str, Any]:
    return {"timeSlotId": ObjectId(slot_id), "status": _REGISTERED}


def _cancellation(at: datetime) -> Document:
    return {"$set": {"status": _CANCELLED, "cancelledAt": at}, "$unset": {"seat": ""}}


def _becomes(status: RegistrationStatus) -> Document:
    return {"$set": {"status": str(status)}}


def _is_about_seats(error: DuplicateKeyError) -> bool:
    return "seat" in (error.details or {}).get("keyPattern", {})


def _wanted(query: RegistrationQuery) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if query.slot_id is not None:
        wanted["timeSlotId"] = ObjectId(query.slot_id)
    if query.user_id is not None:
        wanted["userId"] = query.user_id
    if query.status is not None:
        wanted["status"] = str(query.status)
    if query.after is not None:
        wanted["_id"] = {"$gt": ObjectId(query.after)}
    return wanted
