"""The catalogue: what is offered. Time slots, and the series whose occurrences they are."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import Language, Level, Series, TimeSlot


class SlotQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which slots are looked for, in the order of their start and then of their id.

    Attributes:
        start_from: They start then or later.
        start_until: They start then or earlier; None for any time.
        target_language_code: In this language; None for any.
        level: At this level; None for any.
        is_active: Active, or deactivated; None for both.
        series_id: Occurrences of this series; None for all slots.
        after: Start and id of the slot after which to go on; None from the beginning.
        limit: How many at most; at least 1.
    """

    start_from: datetime
    start_until: datetime | None = None
    target_language_code: Language | None = None
    level: Level | None = None
    is_active: bool | None = None
    series_id: SlotId | None = None
    after: tuple[datetime, SlotId] | None = None
    limit: int = 50


EDITABLE = (
    "target_language_code",
    "level",
    "start_time",
    "duration_minutes",
    "max_participants",
    "min_participants",
    "timezone",
    "is_active",
    "updated_at",
)
"""The fields of a slot that `Catalog.change_slot` writes."""


class Claim(NamedTuple):
    """A slot as it was read, and the session that it is to get."""

    slot: TimeSlot
    session_id: SessionId


class Catalog(Protocol):
    """Documents of the collections `timeslots` and `series`.

    Every method raises `OutcomeUnknownError` when the store does not answer in time. Nothing costs more because there
    are many slots that are over.
    """

    async def add_slot(self, slot: TimeSlot) -> None:
        """Store a new slot; `KeyError` if there is one with that id."""

    async def slot(self, slot_id: SlotId) -> TimeSlot | None:
        """Return a slot."""

    async def slots(self, slot_ids: AbstractSet[SlotId]) -> list[TimeSlot]:
        """Return those of the slots that exist, in any order."""

    async def page(self, query: SlotQuery) -> list[TimeSlot]:
        """Return the slots that are looked for."""

    async def active_slots(self, start_from: datetime, start_until: datetime) -> list[TimeSlot]:
        """Return the active slots that start within the two instants, both included, earliest first."""

    async def change_slot(self, slot: TimeSlot, expected: datetime, *, unopened: bool) -> bool:
        """Write what can be edited in a slot, in one step, if it still is of the version `expected` (its `updatedAt`).

        Written are the fields in `EDITABLE` and, where the given slot has one, `settleAt`; never the count of
        registrations, the session, or the series.

        Args:
            slot: The slot as it shall be.
            expected: The version that it was made from.
            unopened: Refuse as well if a session has been claimed for the slot.

        Returns:
            Whether it was written.
        """

    async def set_registered_count(self, slot_id: SlotId, expected: int, count: int) -> bool:
        """Set a slot's `registeredCount` if it still is `expected` (0 where there is none); tell whether it was set."""

    async def claim_sessions(self, claims: Sequence[Claim]) -> list[TimeSlot]:
        """Give active slots their session ids, and their ends as `settleAt`, unless they have one; the first one wins.

        Each by itself, and only if it still is of the version that is given: one that was moved since is perhaps not
        due any more. If the store refuses one of them, any of the others may have been claimed.

        Args:
            claims: Each of another slot.

        Returns:
            Those that have a session, as they are now, in any order: nothing that the session depends on can be edited
            any more. Those that have none, because they are inactive, were edited since, or do not exist, are missing.
        """

    async def unsettled(self, until: datetime, limit: int) -> list[TimeSlot]:
        """Return up to `limit` slots whose `settleAt` is not after `until`, the most overdue first."""

    async def settle(self, slot_id: SlotId, expected: datetime, again_at: datetime | None = None) -> None:
        """Take away a slot's `settleAt`, or move it to `again_at`, if it still is `expected`."""

    async def add_series(self, series: Series) -> None:
        """Store a new series; `KeyError` if there is one with that id."""

    async def series(self, series_id: SlotId) -> Series | None:
        """Return a series."""

    async def change_series(self, series: Series, expected: datetime) -> bool:
        """Write a whole series, if the stored one still is of the version `expected`; tell whether it was written."""

    async def due_series(self, until: datetime, limit: int) -> list[Series]:
        """Return up to `limit` series whose `nextStart` is not after `until`, earliest first."""

    async def slots_to_adopt(self, limit: int) -> list[TimeSlot]:
        """Return up to `limit` active slots that repeat but have no series: somebody put them in by hand."""

    async def adopt_slot(self, slot_id: SlotId, series_id: SlotId, number: int) -> None:
        """Make a slot that has no series occurrence `number` of one."""
