"""The catalogue in memory. Owns slots and series; must not know the rules of offering."""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from msgspec.structs import replace

from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import Recurrence, Series, TimeSlot
from coordinator.ports.catalog import EDITABLE, Claim, SlotQuery


class MemoryCatalog:
    """A complete `Catalog`."""

    def __init__(self) -> None:
        self._slots: dict[SlotId, TimeSlot] = {}
        self._series: dict[SlotId, Series] = {}

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

    async def slots(self, slot_ids: AbstractSet[SlotId]) -> list[TimeSlot]:
        """Return those of the slots that exist."""
        await asyncio.sleep(0)
        return [self._slots[slot_id] for slot_id in slot_ids if slot_id in self._slots]

    async def page(self, query: SlotQuery) -> list[TimeSlot]:
        """Return the slots that are looked for, by start and id."""
        await asyncio.sleep(0)
        found = sorted((slot for slot in self._slots.values() if _matches(slot, query)), key=_place)
        return found[: query.limit]

    async def active_slots(self, start_from: datetime, start_until: datetime) -> list[TimeSlot]:
        """Return the active slots that start within the two instants, both included, earliest first."""
        await asyncio.sleep(0)
        found = (
            slot for slot in self._slots.values() if slot.is_active and start_from <= slot.start_time <= start_until
        )
        return sorted(found, key=_place)

    async def change_slot(self, slot: TimeSlot, expected: datetime, *, unopened: bool) -> bool:
        """Write what can be edited in a slot, if it still is of the version `expected`."""
        await asyncio.sleep(0)
        stored = self._slots.get(slot.id)
        if stored is None or stored.updated_at != expected or (unopened and stored.session_id is not None):
            return False
        values = {name: getattr(slot, name) for name in EDITABLE}
        if slot.settle_at is not None:
            values["settle_at"] = slot.settle_at
        self._slots[slot.id] = replace(stored, **values)
        return True

    async def set_registered_count(self, slot_id: SlotId, expected: int, count: int) -> bool:
        """Set a slot's `registeredCount` if it still is `expected`."""
        await asyncio.sleep(0)
        stored = self._slots.get(slot_id)
        if stored is None or stored.registered_count != expected:
            return False
        self._slots[slot_id] = replace(stored, registered_count=count)
        return True

    async def claim_sessions(self, claims: Sequence[Claim]) -> list[TimeSlot]:
        """Give active slots their session ids, and their ends as `settleAt`, unless they have one or were edited."""
        await asyncio.sleep(0)
        claimed = [self._claim(*claim) for claim in claims]
        return [slot for slot in claimed if slot is not None]

    def _claim(self, slot: TimeSlot, session_id: SessionId) -> TimeSlot | None:
        stored = self._slots.get(slot.id)
        if stored is None or not stored.is_active:
            return None
        if stored.session_id is None:
            if stored.updated_at != slot.updated_at:
                return None
            self._slots[slot.id] = stored = replace(stored, session_id=session_id, settle_at=slot.end_time)
        return stored

    async def unsettled(self, until: datetime, limit: int) -> list[TimeSlot]:
        """Return up to `limit` slots whose `settleAt` is not after `until`, the most overdue first."""
        await asyncio.sleep(0)
        due = sorted(
            (slot.settle_at, slot.id)
            for slot in self._slots.values()
            if slot.settle_at is not None and slot.settle_at <= until
        )
        return [self._slots[slot_id] for _, slot_id in due[:limit]]

    async def settle(self, slot_id: SlotId, expected: datetime, again_at: datetime | None = None) -> None:
        """Take away a slot's `settleAt`, or move it to `again_at`, if it still is `expected`."""
        await asyncio.sleep(0)
        stored = self._slots.get(slot_id)
        if stored is not None and stored.settle_at == expected:
            self._slots[slot_id] = replace(stored, settle_at=again_at)

    async def add_series(self, series: Series) -> None:
        """Store a new series.

        Raises:
            KeyError: There is a series with that id.
        """
        await asyncio.sleep(0)
        if series.id in self._series:
            raise KeyError(series.id)
        self._series[series.id] = series

    async def series(self, series_id: SlotId) -> Series | None:
        """Return a series."""
        await asyncio.sleep(0)
        return self._series.get(series_id)

    async def change_series(self, series: Series, expected: datetime) -> bool:
        """Write a whole series, if the stored one still is of the version `expected`."""
        await asyncio.sleep(0)
        stored = self._series.get(series.id)
        if stored is None or stored.updated_at != expected:
            return False
        self._series[series.id] = series
        return True

    async def due_series(self, until: datetime, limit: int) -> list[Series]:
        """Return up to `limit` series whose `nextStart` is not after `until`, earliest first."""
        await asyncio.sleep(0)
        due = sorted(
            (series.next_start, series.id)
            for series in self._series.values()
            if series.next_start is not None and series.next_start <= until
        )
        return [self._series[series_id] for _, series_id in due[:limit]]

    async def slots_to_adopt(self, limit: int) -> list[TimeSlot]:
        """Return up to `limit` active slots that repeat but have no series."""
        await asyncio.sleep(0)
        found = [
            slot
            for slot in self._slots.values()
            if slot.is_active and slot.series_id is None and slot.recurrence in (Recurrence.DAILY, Recurrence.WEEKLY)
        ]
        return found[:limit]

    async def adopt_slot(self, slot_id: SlotId, series_id: SlotId, number: int) -> None:
        """Make a slot that has no series occurrence `number` of one."""
        await asyncio.sleep(0)
        stored = self._slots.get(slot_id)
        if stored is not None and stored.series_id is None:
            self._slots[slot_id] = replace(stored, series_id=series_id, series_number=number)


def _place(slot: TimeSlot) -> tuple[datetime, SlotId]:
    return slot.start_time, slot.id


def _matches(slot: TimeSlot, query: SlotQuery) -> bool:
    return (
        slot.start_time >= query.start_from
        and (query.start_until is None or slot.start_time <= query.start_until)
        and (query.target_language_code is None or slot.target_language_code is query.target_language_code)
        and (query.level is None or slot.level is query.level)
        and (query.is_active is None or slot.is_active is query.is_active)
        and (query.series_id is None or slot.series_id == query.series_id)
        and (query.after is None or _place(slot) > query.after)
    )
