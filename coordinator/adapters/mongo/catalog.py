"""The catalogue in MongoDB: collections `timeslots` and `series`.

Owns the queries and the compare-and-set; must not know the rules of offering. How a page is read without reading what
lies behind it is in `windows`.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

import msgspec
from bson import ObjectId
from msgspec.structs import replace
from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from coordinator.adapters.mongo.client import Collection, Database, Document
from coordinator.adapters.mongo.documents import ListReader, read_series, read_slot, series_document, slot_document
from coordinator.adapters.mongo.failures import unanswered_is_unknown
from coordinator.adapters.mongo.pieces import find_by
from coordinator.adapters.mongo.replacing import own
from coordinator.adapters.mongo.windows import EPOCH, LATEST, MOMENT, windows_after
from coordinator.domain.ids import SlotId
from coordinator.domain.model import Recurrence, Series, TimeSlot
from coordinator.ports.catalog import EDITABLE, Claim, SlotQuery

_REPEATING = [str(Recurrence.DAILY), str(Recurrence.WEEKLY)]
_EDITABLE = [field.encode_name for field in msgspec.structs.fields(TimeSlot) if field.name in EDITABLE]
_IN_ORDER = [("startTime", ASCENDING), ("_id", ASCENDING)]


class MongoCatalog:
    """A `Catalog` over the collections `timeslots` and `series`."""

    def __init__(self, database: Database) -> None:
        self._slots = database.timeslots
        self._series = database.series
        self._slot_lists = ListReader("timeslots")
        self._series_lists = ListReader("series")

    async def add_slot(self, slot: TimeSlot) -> None:
        """Store a new slot.

        Raises:
            KeyError: There is a slot with that id.
        """
        await _add(self._slots, slot_document(slot), slot.id)

    async def slot(self, slot_id: SlotId) -> TimeSlot | None:
        """Return a slot."""
        with unanswered_is_unknown():
            document = await self._slots.find_one({"_id": ObjectId(slot_id)})
        return None if document is None else read_slot(document)

    async def slots(self, slot_ids: AbstractSet[SlotId]) -> list[TimeSlot]:
        """Return those of the slots that exist."""
        with unanswered_is_unknown():
            found = await find_by(self._slots, "_id", [ObjectId(slot_id) for slot_id in slot_ids])
        return self._slot_lists.read(found, read_slot)

    async def page(self, query: SlotQuery) -> list[TimeSlot]:
        """Return the slots that are looked for, by start and id."""
        found: list[Document] = []
        with unanswered_is_unknown():
            for wanted in _conditions(query, datetime.now(UTC)):
                cursor = self._slots.find(wanted).sort(_IN_ORDER)
                found += await cursor.limit(query.limit - len(found)).to_list(None)
                if len(found) >= query.limit:
                    break
        slots = self._slot_lists.read(found, read_slot)
        if len(slots) < len(found) == query.limit:  # a page is full as long as there are more
            last = found[-1]["startTime"], SlotId(str(found[-1]["_id"]))
            slots += await self.page(replace(query, after=last, limit=query.limit - len(slots)))
        return slots

    async def active_slots(self, start_from: datetime, start_until: datetime) -> list[TimeSlot]:
        """Return the active slots that start within the two instants, both included, earliest first."""
        query = {"startTime": {"$gte": start_from, "$lte": start_until}, "isActive": True}
        with unanswered_is_unknown():
            found = await self._slots.find(query).sort(_IN_ORDER).to_list(None)
        return self._slot_lists.read(found, read_slot)

    async def change_slot(self, slot: TimeSlot, expected: datetime, *, unopened: bool) -> bool:
        """Write what can be edited in a slot, if it still is of the version `expected`."""
        document = slot_document(slot)
        values = {name: document[name] for name in (*_EDITABLE, "settleAt") if name in document}
        unchanged: Document = {"_id": document["_id"], "updatedAt": expected}
        if unopened:
            unchanged["sessionId"] = None  # null, or missing
        with unanswered_is_unknown():
            result = await self._slots.update_one(unchanged, {"$set": values})
        return result.matched_count == 1

    async def set_registered_count(self, slot_id: SlotId, expected: int, count: int) -> bool:
        """Set a slot's `registeredCount` if it still is `expected`."""
        # A slot that was put in by hand may have no count: that is 0.
        stored = {"$in": [0, None]} if expected == 0 else expected
        with unanswered_is_unknown():
            result = await self._slots.update_one(
                {"_id": ObjectId(slot_id), "registeredCount": stored}, {"$set": {"registeredCount": count}}
            )
        return result.matched_count == 1

    async def claim_sessions(self, claims: Sequence[Claim]) -> list[TimeSlot]:
        """Give active slots their session ids, and their ends as `settleAt`, unless they have one or were edited.

        In one statement, for many begin at the same full hour; the server decides on each by itself, and atomically.
        """
        if not claims:
            return []
        ids = [ObjectId(slot.id) for slot, _ in claims]
        given = [{"sessionId": ObjectId(session_id), "settleAt": slot.end_time} for slot, session_id in claims]
        versions = [slot.updated_at for slot, _ in claims]
        claimed = {"$mergeObjects": ["$$ROOT", own(ids, given)]}
        is_unchanged = {"$eq": ["$updatedAt", own(ids, versions)]}
        unclaimed = {"_id": {"$in": ids}, "isActive": True, "sessionId": None}  # null, or missing
        with unanswered_is_unknown():
            await self._slots.update_many(unclaimed, [{"$replaceWith": {"$cond": [is_unchanged, claimed, "$$ROOT"]}}])
            found = await find_by(self._slots, "_id", ids)
        open_to_sessions = [document for document in found if document["isActive"] and document.get("sessionId")]
        return self._slot_lists.read(open_to_sessions, read_slot)

    async def unsettled(self, until: datetime, limit: int) -> list[TimeSlot]:
        """Return up to `limit` slots whose `settleAt` is not after `until`, the most overdue first."""
        return self._slot_lists.read(await _overdue(self._slots, "settleAt", until, limit), read_slot)

    async def settle(self, slot_id: SlotId, expected: datetime, again_at: datetime | None = None) -> None:
        """Take away a slot's `settleAt`, or move it to `again_at`, if it still is `expected`."""
        change = {"$unset": {"settleAt": ""}} if again_at is None else {"$set": {"settleAt": again_at}}
        with unanswered_is_unknown():
            await self._slots.update_one({"_id": ObjectId(slot_id), "settleAt": expected}, change)

    async def add_series(self, series: Series) -> None:
        """Store a new series.

        Raises:
            KeyError: There is a series with that id.
        """
        await _add(self._series, series_document(series), series.id)

    async def series(self, series_id: SlotId) -> Series | None:
        """Return a series."""
        with unanswered_is_unknown():
            document = await self._series.find_one({"_id": ObjectId(series_id)})
        return None if document is None else read_series(document)

    async def change_series(self, series: Series, expected: datetime) -> bool:
        """Write a whole series, if the stored one still is of the version `expected`."""
        document = series_document(series)
        with unanswered_is_unknown():
            result = await self._series.replace_one({"_id": document["_id"], "updatedAt": expected}, document)
        return result.matched_count == 1

    async def due_series(self, until: datetime, limit: int) -> list[Series]:
        """Return up to `limit` series whose `nextStart` is not after `until`, earliest first."""
        return self._series_lists.read(await _overdue(self._series, "nextStart", until, limit), read_series)

    async def slots_to_adopt(self, limit: int) -> list[TimeSlot]:
        """Return up to `limit` active slots that repeat but have no series."""
        found: list[Document] = []
        with unanswered_is_unknown():
            for recurrence in _REPEATING:
                if len(found) < limit:
                    query = {"recurrence": recurrence, "seriesId": None, "isActive": True}
                    found += await self._slots.find(query).limit(limit - len(found)).to_list(None)
        return self._slot_lists.read(found, read_slot)

    async def adopt_slot(self, slot_id: SlotId, series_id: SlotId, number: int) -> None:
        """Make a slot that has no series occurrence `number` of one."""
        place = {"seriesId": ObjectId(series_id), "seriesNumber": number}
        with unanswered_is_unknown():
            await self._slots.update_one({"_id": ObjectId(slot_id), "seriesId": None}, {"$set": place})


async def _add(collection: Collection, document: Document, key: str) -> None:
    with unanswered_is_unknown():
        try:
            await collection.insert_one(document)
        except DuplicateKeyError:
            raise KeyError(key) from None


async def _overdue(collection: Collection, field: str, until: datetime, limit: int) -> list[Document]:
    if limit <= 0:  # which MongoDB would take for no limit
        return []
    query = {field: {"$gte": EPOCH, "$lte": until}}
    order = [(field, ASCENDING), ("_id", ASCENDING)]
    with unanswered_is_unknown():
        return await collection.find(query).sort(order).limit(limit).to_list(None)


def _conditions(query: SlotQuery, now: datetime) -> Iterator[Document]:
    """Yield the queries for the slots that are looked for, one after the other, to be asked until there are enough.

    The embedded server uses an index for the first field of a query, and no other: the most telling one comes first.
    """
    equal = _equal(query)
    series = {} if query.series_id is None else {"seriesId": ObjectId(query.series_id)}
    start, end = query.start_from, LATEST if query.start_until is None else query.start_until
    if query.after is not None and query.after[0] >= start:
        last_start, last_id = query.after
        if last_start > end:
            return
        tied = {"startTime": last_start, "_id": {"$gt": ObjectId(last_id)}}
        yield {**series, **tied, **equal}
        start = min(last_start, LATEST) + MOMENT
    # A series has few slots.
    windows = iter([{"$gte": start, "$lte": end}]) if series else windows_after(start, end, now)
    for window in windows:
        yield {**series, "startTime": window, **equal}


def _equal(query: SlotQuery) -> Document:
    """Return what further fields must be equal to."""
    wanted: Document = {}
    if query.target_language_code is not None:
        wanted["targetLanguageCode"] = str(query.target_language_code)
    if query.level is not None:
        wanted["level"] = str(query.level)
    if query.is_active is not None:
        wanted["isActive"] = query.is_active
    return wanted
