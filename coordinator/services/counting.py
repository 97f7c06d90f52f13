"""The number of a slot's registrations, as it is shown with the slot: a copy that is brought right after each change.

Not what capacity rests on (that is the seats, see `booking`), so that nothing but a shown number is late after a crash.
"""

from coordinator.domain.ids import SlotId
from coordinator.ports.bookings import Bookings
from coordinator.ports.catalog import Catalog

_ATTEMPTS = 100


async def bring_count_right(catalog: Catalog, bookings: Bookings, slot_id: SlotId) -> None:
    """Make a slot's `registeredCount` the number of its registrations that are not cancelled.

    Whoever changes the registrations calls this afterwards. Each goes on until it finds the two equal, so the last one
    to look leaves them equal.

    Raises:
        OutcomeUnknownError: The store does not answer.
    """
    for _ in range(_ATTEMPTS):  # if it changes as often as that, there is somebody else who still counts
        slot = await catalog.slot(slot_id)
        if slot is None:
            return
        count = len(await bookings.holders(slot_id))
        if slot.registered_count == count:
            return
        await catalog.set_registered_count(slot_id, slot.registered_count, count)
