"""What moderators do with slots: offer, edit, withdraw; one slot, or a whole series (SPEC section 2, slots).

Owns which steps each of these takes, and that concurrent ones do not undo each other; must not know HTTP, nor who may
do it. A series is written before its slots: whatever was cut short is finished by `Occurrences.make_due`.
"""

from datetime import datetime

from msgspec.structs import replace

from coordinator.domain.errors import (
    NotFoundError,
    SlotOverError,
    StaleVersionError,
    UnavailableError,
)
from coordinator.domain.ids import SlotId
from coordinator.domain.model import Recurrence, Series, SlotChanges, TimeSlot
from coordinator.domain.series import edited_series, offered_series
from coordinator.domain.slots import (
    SlotTerms,
    changed,
    check_deactivated_alone,
    check_start,
    check_terms,
    edited,
    is_empty,
    offered_slot,
    whole_milliseconds,
)
from coordinator.ports.bookings import Bookings
from coordinator.ports.catalog import Catalog, SlotQuery
from coordinator.ports.clock import Clock
from coordinator.services.occurrences import Occurrences
from coordinator.services.outages import silence_is_unavailable
from coordinator.services.reader import Reader
from coordinator.services.settlement import Settlement
from coordinator.services.slot_writer import ATTEMPTS, SlotWriter
from coordinator.telemetry import get_logger

_DEACTIVATE = SlotChanges(is_active=False)

_log = get_logger("offering")


class Offering:
    """Offers slots and changes them.

    Args:
        catalog: The slots and their series.
        bookings: Registrations, which keep their seats.
        occurrences: Makes what repeats, and brings it up to date.
        settlement: What becomes of the registrations of a withdrawn slot.
        reader: Tells which sessions are open.
        clock: Time.
    """

    def __init__(
        self,
        catalog: Catalog,
        bookings: Bookings,
        occurrences: Occurrences,
        settlement: Settlement,
        reader: Reader,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._occurrences = occurrences
        self._settlement = settlement
        self._reader = reader
        self._clock = clock
        self._writer = SlotWriter(catalog, bookings, settlement, clock)

    async def offer(self, terms: SlotTerms, slot_id: SlotId) -> TimeSlot:
        """Offer a slot, and where it repeats, its occurrences of the next two weeks.

        Args:
            terms: What is offered; the start is cut to milliseconds.
            slot_id: The id that it gets. Repeated with the same id, nothing changes.

        Returns:
            The slot; of several, the first.

        Raises:
            InvalidRequestError: The terms are not allowed; the error names the field.
            UnavailableError: The database is out of reach; repeating finds out.
        """
        terms = replace(terms, start_time=whole_milliseconds(terms.start_time))
        with silence_is_unavailable():
            # One that is there may have been offered by the same request, even if its start has passed by now.
            if await self._catalog.slot(slot_id) is None:
                check_terms(terms)
                check_start(terms.start_time, self._clock.now())
                await (self._add_once if terms.recurrence is Recurrence.ONCE else self._add_series)(terms, slot_id)
            return await self.slot(slot_id)

    async def slot(self, slot_id: SlotId) -> TimeSlot:
        """Return a slot.

        Raises:
            NotFoundError: There is none with that id.
            UnavailableError: The database is out of reach.
        """
        with silence_is_unavailable():
            (shown,) = await self._reader.shown([await self._slot(slot_id)])
        return shown

    async def page(self, query: SlotQuery) -> list[TimeSlot]:
        """Return the slots that are looked for.

        Raises:
            UnavailableError: The database is out of reach.
        """
        with silence_is_unavailable():
            return await self._reader.shown(await self._catalog.page(query))

    async def edit(
        self, slot_id: SlotId, changes: SlotChanges, *, whole_series: bool, expected: datetime | None
    ) -> TimeSlot:
        """Change a slot, or all slots of its series that are still to come and have no session.

        Of a series, slots that were moved or edited singly get what is given here all the same, and keep the rest. A
        given start is the one of this slot; the others move with it.

        Args:
            slot_id: The slot, or any slot of the series.
            changes: What is to change. To deactivate goes alone; see `deactivate`.
            whole_series: The series instead of the slot.
            expected: The version (`updatedAt`) that the slot must still be of; None for any.

        Returns:
            The slot, changed.

        Raises:
            NotFoundError: There is no such slot, or no series that it is part of (field `scope`).
            StaleVersionError: It is of another version than expected.
            SlotOverError, SlotInactiveError, SessionEndedError: It can no longer be changed.
            InvalidRequestError: A change is not allowed; the error names the field.
            UnavailableError: The database is out of reach; repeating finds out.
        """
        if changes.is_active is False:
            check_deactivated_alone(changes)
            return await self.deactivate(slot_id, whole_series=whole_series, expected=expected)
        if changes.start_time is not None:
            changes = replace(changes, start_time=whole_milliseconds(changes.start_time))
        with silence_is_unavailable():
            if whole_series:
                return await self._edit_series(slot_id, changes, expected)
            return await self._edit_one(slot_id, changes, expected)

    async def deactivate(self, slot_id: SlotId, *, whole_series: bool, expected: datetime | None) -> TimeSlot:
        """Withdraw a slot: its registrations are cancelled, its session does not take place. Harmless to repeat.

        Of a series, every slot that has not begun is withdrawn, and no more are made.

        Args:
            slot_id: The slot, or any slot of the series, also one that is over.
            whole_series: The series instead of the slot.
            expected: The version (`updatedAt`) that the slot must still be of; None for any.

        Returns:
            The slot as it is then.

        Raises:
            NotFoundError: There is no such slot, or no series that it is part of (field `scope`).
            StaleVersionError: It is of another version than expected.
            SlotOverError: The single slot is over.
            UnavailableError: The database is out of reach. If the slot is inactive by now, the rest follows by itself.
        """
        with silence_is_unavailable():
            if whole_series:
                return await self._edit_series(slot_id, _DEACTIVATE, expected)
            return await self._deactivate_one(slot_id, expected)

    async def _add_once(self, terms: SlotTerms, slot_id: SlotId) -> None:
        slot = offered_slot(terms, slot_id, self._clock.now())
        try:
            await self._catalog.add_slot(slot)
        except KeyError:
            return  # by the same request, repeated at the same time
        _log.info("slot_offered", slot=slot_id, start=slot.start_time.isoformat())

    async def _add_series(self, terms: SlotTerms, slot_id: SlotId) -> None:
        try:
            await self._catalog.add_series(offered_series(terms, slot_id, self._clock.now()))
        except KeyError:
            pass  # by the same request; whether that got any further is not known
        else:
            _log.info("series_offered", series=slot_id, recurrence=terms.recurrence, timezone=terms.timezone)
        await self._occurrences.bring_up(slot_id)

    async def _edit_one(self, slot_id: SlotId, changes: SlotChanges, expected: datetime | None) -> TimeSlot:
        for _ in range(ATTEMPTS):
            slot = await self._slot(slot_id, expected)
            after = edited(slot, changes, self._clock.now())
            if after is slot or await self._writer.write(slot, after):
                return after
        raise _too_busy()

    async def _deactivate_one(self, slot_id: SlotId, expected: datetime | None) -> TimeSlot:
        for _ in range(ATTEMPTS):
            slot = await self._slot(slot_id, expected)
            now = self._clock.now()
            if not slot.is_active:
                break  # its settlement may have been cut short, so it is settled in any case
            if slot.end_time <= now:
                raise SlotOverError("this slot is over")
            if await self._writer.write(slot, changed(slot, _DEACTIVATE, now)):
                _log.info("slot_deactivated", slot=slot_id)
                break
        else:
            raise _too_busy()
        await self._settlement.settle(slot_id)
        return await self.slot(slot_id)

    async def _edit_series(self, slot_id: SlotId, changes: SlotChanges, expected: datetime | None) -> TimeSlot:
        for _ in range(ATTEMPTS):
            series = await self._series_of(await self._slot(slot_id))
            # Read after the series: what is not pending there any more, the slot has.
            slot = await self._slot(slot_id, expected)
            if is_empty(changes):
                return slot
            after = edited_series(series, slot, changes, self._clock.now())
            if changes.max_participants is not None:
                await self._check_seats(series, changes.max_participants)
            if await self._catalog.change_series(after, series.updated_at):
                break
        else:
            raise _too_busy()
        if changes.is_active is False:
            _log.info("series_stopped", series=series.id)
        await self._occurrences.bring_up(series.id)
        return await self.slot(slot_id)

    async def _check_seats(self, series: Series, max_participants: int) -> None:
        for slot in await self._occurrences.coming(series.id):
            if slot.is_active and slot.session_id is None:
                await self._writer.check_seats(replace(slot, max_participants=max_participants))

    async def _series_of(self, slot: TimeSlot) -> Series:
        series = None if slot.series_id is None else await self._catalog.series(slot.series_id)
        if series is None or slot.series_number is None:
            raise NotFoundError("this slot is not part of a series", field="scope")
        return series

    async def _slot(self, slot_id: SlotId, expected: datetime | None = None) -> TimeSlot:
        slot = await self._catalog.slot(slot_id)
        if slot is None:
            raise NotFoundError("there is no such slot")
        if expected is not None and slot.updated_at != expected:
            raise StaleVersionError("If-Match: the slot has changed since that version", field="If-Match")
        return slot


def _too_busy() -> UnavailableError:
    return UnavailableError("this slot is being changed by others all the time; try again")
