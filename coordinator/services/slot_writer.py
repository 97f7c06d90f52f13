"""Writes a change of one slot as one step that either holds or leaves nothing behind.

Owns what compare-and-set alone does not give: seats are never fewer than the registrations that hold them, and a
deactivation is settled before it is undone. Which changes are allowed is `domain.slots` and `domain.series`.
"""

from msgspec.structs import replace

from coordinator.domain.errors import InvalidRequestError
from coordinator.domain.model import TimeSlot
from coordinator.domain.slots import later_version
from coordinator.ports.bookings import Bookings
from coordinator.ports.catalog import EDITABLE, Catalog
from coordinator.ports.clock import Clock
from coordinator.services.settlement import Settlement

ATTEMPTS = 30
"""How often a change is tried that always meets somebody else's. Each time somebody else has got through."""


class SlotWriter:
    """Changes slots by compare-and-set.

    Args:
        catalog: The slots.
        bookings: Their registrations.
        settlement: What becomes of the registrations of deactivated slots.
        clock: Time.
    """

    def __init__(self, catalog: Catalog, bookings: Bookings, settlement: Settlement, clock: Clock) -> None:
        self._catalog = catalog
        self._bookings = bookings
        self._settlement = settlement
        self._clock = clock

    async def write(self, before: TimeSlot, after: TimeSlot) -> bool:
        """Write `after`, if the stored slot still is `before`; unless it is deactivated, also if it has no session.

        Returns:
            Whether it was written.

        Raises:
            InvalidRequestError: More registrations hold seats than there would be. Nothing has changed.
            OutcomeUnknownError, UnavailableError: The database is out of reach.
        """
        if not after.is_active:
            return await self._catalog.change_slot(after, before.updated_at, unopened=False)
        if not before.is_active and before.settle_at is not None:
            # What the deactivation left to do must not hit those who register from now on.
            await self._settlement.settle(before.id)
        is_tighter = after.max_participants < before.max_participants
        if is_tighter:
            await self.check_seats(after)
        if not await self._catalog.change_slot(replace(after, settle_at=None), before.updated_at, unopened=True):
            return False
        if is_tighter:
            try:
                # A registration looks again after its write, as this does: whichever was second sees the first.
                await self.check_seats(after)
            except InvalidRequestError:
                if await self._take_back(before, after):
                    raise
        return True

    async def check_seats(self, slot: TimeSlot) -> None:
        """Check that the seats of a slot, as it shall be, are enough for the registrations that hold one.

        Raises:
            InvalidRequestError: They are not.
            OutcomeUnknownError: The database is out of reach.
        """
        holders = len(await self._bookings.holders(slot.id))
        if holders > slot.max_participants:
            raise InvalidRequestError(
                f"maxParticipants: {holders} seats of the slot at {slot.start_time.isoformat()} are taken",
                field="maxParticipants",
            )

    async def _take_back(self, before: TimeSlot, after: TimeSlot) -> bool:
        """Give every field that still is as `after` left it the value that it had before; tell whether that was done.

        Not once a session is claimed: that one goes by what was written, and so must the slot.
        """
        for _ in range(ATTEMPTS):
            stored = await self._catalog.slot(after.id)
            if stored is None or stored.session_id is not None:
                return False
            ours = {name: getattr(before, name) for name in EDITABLE if getattr(stored, name) == getattr(after, name)}
            ours["updated_at"] = later_version(stored.updated_at, self._clock.now())
            if await self._catalog.change_slot(replace(stored, **ours), stored.updated_at, unopened=True):
                return True
        return False
