"""Makes the occurrences of series, each exactly once, and brings changes of a whole series to its slots.

Exactly once (SPEC section 2), because an occurrence's id follows from its series and its number: whoever comes second
finds it made.
The series' document says from which number on there is something to make, and which change may not have reached every
slot yet (`pending`); it is brought up to date last, by compare-and-set. Whoever dies before that is finished by whoever
looks next, and whoever finds it changed meanwhile starts over with the series as it is then.
"""

from collections.abc import Awaitable
from datetime import timedelta

from msgspec.structs import replace

from coordinator.domain.errors import InvalidRequestError, UnavailableError
from coordinator.domain.ids import SlotId
from coordinator.domain.model import Series, SlotChanges, TimeSlot
from coordinator.domain.recurrence import HORIZON, first_number_after
from coordinator.domain.series import adopted_series, again, all_terms, brought_to, occurrence, occurrence_start
from coordinator.domain.slots import given, later_version, merged
from coordinator.ports.bookings import Bookings
from coordinator.ports.catalog import Catalog, SlotQuery
from coordinator.ports.clock import Clock
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.settlement import Settlement
from coordinator.services.slot_writer import ATTEMPTS, SlotWriter
from coordinator.telemetry import get_logger

_AT_ONCE = 200
"""Series, and slots to adopt, looked at in one round."""
_PAGE = 100
"""Slots of a series read at a time; more than one has to come, unless many were moved far ahead."""
_NO_CHANGES = SlotChanges()

_log = get_logger("occurrences")


class Occurrences:
    """Keeps series two weeks ahead.

    Args:
        catalog: The slots and their series.
        bookings: Registrations, whose seats stay.
        settlement: What becomes of the registrations of a series that is stopped.
        clock: Time.
    """

    def __init__(self, catalog: Catalog, bookings: Bookings, settlement: Settlement, clock: Clock) -> None:
        self._catalog = catalog
        self._settlement = settlement
        self._clock = clock
        self._writer = SlotWriter(catalog, bookings, settlement, clock)
        self._defective: set[SlotId] = set()

    async def make_due(self) -> None:
        """Adopt what was put in by hand, make what is missing up to the horizon, finish what was cut short.

        Raises:
            OutcomeUnknownError, UnavailableError: The database is out of reach; the next call goes on.
        """
        # Those that always fail must not take the places of the others.
        limit = _AT_ONCE + len(self._defective)
        for slot in await self._catalog.slots_to_adopt(limit):
            await self._attempt(slot.id, self._adopt(slot))
        for series in await self._catalog.due_series(self._clock.now() + HORIZON, limit):
            await self._attempt(series.id, self.bring_up(series.id))

    async def bring_up(self, series_id: SlotId) -> None:
        """Make what is missing of one series up to the horizon, and finish a pending change; harmless to repeat.

        The cost depends on the occurrences that are to come, not on how many are over.

        Raises:
            OutcomeUnknownError, UnavailableError: The database is out of reach, or the series is changed by others all
                the time; `make_due` goes on.
        """
        traces: dict[SlotId, _Trace] = {}
        for _ in range(ATTEMPTS):
            series = await self._catalog.series(series_id)
            if series is None or await self._bring_up(series, traces):
                break
        else:
            raise UnavailableError("this series is being changed by others; try again")
        if series is not None and not series.is_active:
            await self._settle(series_id)

    async def coming(self, series_id: SlotId) -> list[TimeSlot]:
        """Return the slots of a series that have not begun, earliest first.

        Raises:
            OutcomeUnknownError: The database is out of reach.
        """
        query = SlotQuery(start_from=self._clock.now() + timedelta(milliseconds=1), series_id=series_id, limit=_PAGE)
        found: list[TimeSlot] = []
        while page := await self._catalog.page(query):
            found += page
            if len(page) < _PAGE:
                break
            query = replace(query, after=(page[-1].start_time, page[-1].id))
        return found

    async def _attempt(self, series_id: SlotId, work: Awaitable[None]) -> None:
        """Do what is due for one series. A defect, such as a time zone that does not exist, must not hold up others."""
        try:
            await work
        except (OutcomeUnknownError, UnavailableError):
            raise
        except Exception:  # noqa: BLE001
            if series_id not in self._defective:
                _log.exception("series_failed", series=series_id)
            self._defective.add(series_id)
        else:
            self._defective.discard(series_id)

    async def _adopt(self, slot: TimeSlot) -> None:
        """Make a slot that was put in by hand the first of a series. The series comes first, so that it is found."""
        try:
            await self._catalog.add_series(adopted_series(slot, self._clock.now()))
        except KeyError:
            pass  # by another node, or by one that died before the next step
        else:
            _log.info("slot_adopted", slot=slot.id)
        await self._catalog.adopt_slot(slot.id, slot.id, 0)

    async def _bring_up(self, series: Series, traces: "dict[SlotId, _Trace]") -> bool:
        """Do everything for a series as it was read; tell whether it still was like that in the end."""
        number = await self._make(series, traces) if series.is_active else series.next_number
        is_read_only = True
        # What was made is looked at again here: somebody else may have made it, from other terms.
        for slot in await self.coming(series.id):
            changes = _due_changes(slot, series, traces.get(slot.id))
            if (written := await self._change(slot, series, changes)) is not None:
                earlier = traces.get(slot.id)
                traces[slot.id] = _Trace(written, changes if earlier is None else merged(earlier.changes, changes))
                is_read_only = False
        done = replace(
            series,
            next_number=number,
            next_start=occurrence_start(series, number) if series.is_active else None,
            pending=None,
        )
        if done == series:
            return is_read_only or await self._catalog.series(series.id) == series
        done = replace(done, updated_at=later_version(series.updated_at, self._clock.now()))
        return await self._catalog.change_series(done, series.updated_at)

    async def _settle(self, series_id: SlotId) -> None:
        """Settle what was withdrawn with a series, by whomever: that node may have died before it came to it."""
        for slot in await self.coming(series_id):
            if not slot.is_active and slot.settle_at is not None:
                await self._settlement.settle(slot.id)

    async def _make(self, series: Series, traces: "dict[SlotId, _Trace]") -> int:
        """Make the occurrences up to the horizon, and the first one wherever it is; return the number of the next."""
        now = self._clock.now()
        numbers = [0] if series.next_number == 0 else []
        coming = first_number_after(series.anchor, series.recurrence, series.timezone, now)
        number = max(series.next_number, coming, 1)
        while (start := occurrence_start(series, number)) <= now + HORIZON:
            if start != occurrence_start(series, number - 1):  # else the zone left out the whole day of one of the two
                numbers.append(number)
            number += 1
        for missing in numbers:
            await self._add(occurrence(series, missing, now), series, traces)
        return number

    async def _add(self, slot: TimeSlot, series: Series, traces: "dict[SlotId, _Trace]") -> None:
        try:
            await self._catalog.add_slot(slot)
        except KeyError:
            return
        if slot.id != series.id:  # that one is there before anybody can change the series
            traces[slot.id] = _Trace(slot, all_terms(series))
        _log.debug("occurrence_made", series=series.id, slot=slot.id, start=slot.start_time.isoformat())

    async def _change(self, slot: TimeSlot, series: Series, changes: SlotChanges) -> TimeSlot | None:
        """Bring changes to one slot; return it as it was written, None if there was nothing to write."""
        for _ in range(ATTEMPTS):
            after = brought_to(slot, series, changes, self._clock.now())
            if after is slot:
                return None
            try:
                if await self._writer.write(slot, after):
                    return after
            except InvalidRequestError:
                # Booked since the change was accepted: this slot keeps the seats that it has.
                changes = replace(changes, max_participants=None)
            stored = await self._catalog.slot(slot.id)
            if stored is None:
                return None
            slot = stored
        raise UnavailableError("a slot of this series is being changed by others; try again")


class _Trace:
    """What this call has written to a slot: if the series turns out to have been another by then, it is put right."""

    __slots__ = ("changes", "slot")

    def __init__(self, slot: TimeSlot, changes: SlotChanges) -> None:
        self.slot = slot
        self.changes = changes

    def left_in(self, slot: TimeSlot) -> SlotChanges:
        """Return what is still there of it: nobody has written something else since."""
        names = (name for name in given(self.changes) if getattr(slot, name) == getattr(self.slot, name))
        return SlotChanges(**{name: getattr(slot, name) for name in names})


def _due_changes(slot: TimeSlot, series: Series, trace: _Trace | None) -> SlotChanges:
    """Return what of its series a slot may not have yet."""
    pending = series.pending or _NO_CHANGES
    if trace is not None:
        return merged(again(trace.left_in(slot), series), pending)
    if _may_be_outdated(slot, series):
        return merged(all_terms(series), pending)
    return pending


def _may_be_outdated(slot: TimeSlot, series: Series) -> bool:
    """Tell whether a slot may have been made from older terms, by somebody who died or is slow.

    Nobody has noted in the series that it was made, nobody has changed it since. Occurrence 0 is made before anybody
    can change the series.
    """
    number = slot.series_number
    return number is not None and number >= max(series.next_number, 1) and slot.updated_at == slot.created_at
