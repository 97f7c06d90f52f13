"""Settles what becomes of registrations once their slot's session has ended, or the slot was deactivated.

Owns attendance and the end of deactivated slots (SPEC section 2). One durable note says that something is left to do:
`settle_at` of the slot, set by the claim of its session and by its deactivation, taken away when done. Every step is
conditional and may be repeated, on any node, so nothing is lost with a process and doing it twice changes nothing.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from coordinator.domain.commands import EndSession
from coordinator.domain.errors import NotFoundError, UnavailableError
from coordinator.domain.events import SYSTEM
from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import TimeSlot
from coordinator.domain.state import SessionState
from coordinator.ports.bookings import Bookings
from coordinator.ports.catalog import Catalog
from coordinator.ports.clock import Clock
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.background import BackgroundTasks
from coordinator.services.counting import bring_count_right
from coordinator.services.rooms import Rooms
from coordinator.telemetry import get_logger

AFTERMATH = timedelta(minutes=1)
"""How long after its end a slot is settled once more.

A registration looks again after its write and takes itself back if it came too late. If its process dies just then, the
registration stays; by this time no such write is under way any more. Likewise the opening of a deactivated slot.
"""
_PAUSE = timedelta(seconds=10)
"""After this, a slot whose time has come but that cannot be settled yet is looked at again, others first."""
_GIVEN_UP_AFTER = timedelta(days=8)
"""So long after its end, no node opens a slot's session any more, not even at start-up."""
_EVER = timedelta(days=36_500)
_DUE_LIMIT = 200
_MISSED_LIMIT = 100_000
_AT_ONCE = 2
"""Slots settled at the same time: nobody waits for that, and what people do must not queue behind it.

Tried with 500 sessions that had ended together, on the embedded server: the fewer, the sooner acks came, four times as
soon with 2 as with all of them at once.
"""

_MISSED_AT_ONCE = 50
"""The same at start-up and when a node has died: the next death is noticed only after it."""

_log = get_logger("settlement")


class Settlement:
    """Writes down what became of registrations, exactly once.

    Args:
        catalog: The slots.
        bookings: Their registrations.
        rooms: Where sessions are read and ended.
        clock: Time.
        background: Where the work that follows from the end of a session runs.
    """

    def __init__(
        self, catalog: Catalog, bookings: Bookings, rooms: Rooms, clock: Clock, background: BackgroundTasks
    ) -> None:
        self._catalog = catalog
        self._bookings = bookings
        self._rooms = rooms
        self._clock = clock
        self._background = background
        self._failed: set[SlotId] = set()
        self._ended: set[SlotId] = set()
        self._is_settling_ended = False

    def session_ended(self, session_id: SessionId, slot_id: SlotId) -> None:
        """Settle a slot in the background; called after the commit that ended its session."""
        self._ended.add(slot_id)
        if not self._is_settling_ended:
            self._is_settling_ended = True
            self._background.start(self._settle_ended(), f"settlement after {session_id} and others")

    async def settle(self, slot_id: SlotId) -> None:
        """Do now whatever can be done for a slot; harmless to repeat.

        Raises:
            OutcomeUnknownError, UnavailableError: The database is out of reach; `settle_due` goes on if the slot has a
                `settle_at`.
        """
        slot = await self._catalog.slot(slot_id)
        if slot is None:
            return
        state = None if slot.session_id is None else await self._state(slot.session_id)
        again_at = await (self._settle_active(slot, state) if slot.is_active else self._settle_inactive(slot, state))
        # Only if the note still is the one that this began with: a deactivation since then is another matter.
        if slot.settle_at is not None and slot.settle_at != again_at:
            await self._catalog.settle(slot.id, slot.settle_at, again_at)

    async def settle_due(self) -> None:
        """Settle the slots whose time has come, and those that could not be settled before.

        Raises:
            OutcomeUnknownError, UnavailableError: The database is out of reach; the next call goes on.
        """
        due = await self._catalog.unsettled(self._clock.now(), _DUE_LIMIT)
        failed, self._failed = self._failed, set()
        await self._settle_all({*failed, *(slot.id for slot in due)})

    async def settle_missed(self) -> None:
        """Settle every slot with something left to do; for start-up, and when a node has died.

        Raises:
            OutcomeUnknownError, UnavailableError: The database is out of reach.
        """
        unsettled = await self._catalog.unsettled(self._clock.now() + _EVER, _MISSED_LIMIT)
        await self._settle_all({slot.id for slot in unsettled}, _MISSED_AT_ONCE)

    async def _settle_ended(self) -> None:
        try:
            while self._ended:
                ended, self._ended = self._ended, set()
                with suppress(OutcomeUnknownError, UnavailableError):  # logged, and left to `settle_due`
                    await self._settle_all(ended)
        finally:
            self._is_settling_ended = False

    async def _settle_all(self, slot_ids: Iterable[SlotId], at_once: int = _AT_ONCE) -> None:
        left = sorted(slot_ids)
        failures: list[Exception] = []
        while left:
            batch, left = left[:at_once], left[at_once:]
            silences = [silence for silence in await asyncio.gather(*map(self._attempt, batch)) if silence is not None]
            failures += silences
            if len(silences) == len(batch):
                self._failed.update(left)  # nobody answers; the next call may find somebody
                break
        if failures:
            raise failures[0]

    async def _attempt(self, slot_id: SlotId) -> Exception | None:
        """Settle a slot; where the database is silent, return that and leave the slot to `settle_due`."""
        try:
            await self.settle(slot_id)
        except (OutcomeUnknownError, UnavailableError) as silence:
            self._failed.add(slot_id)
            _log.info("settlement_late", slot=slot_id, error=str(silence))
            return silence
        except Exception:  # noqa: BLE001
            # A defect with one slot, such as a journal that cannot be read, must not keep the others unsettled.
            _log.exception("settlement_failed", slot=slot_id)
            await self._put_off(slot_id)
        return None

    async def _put_off(self, slot_id: SlotId) -> None:
        try:
            slot = await self._catalog.slot(slot_id)
            if slot is not None and slot.settle_at is not None:
                await self._catalog.settle(slot_id, slot.settle_at, self._not_yet(slot))
        except OutcomeUnknownError:
            self._failed.add(slot_id)

    async def _state(self, session_id: SessionId) -> SessionState | None:
        """Return a session's state as the journal has it; None if it has not been opened."""
        try:
            room = await self._rooms.room_or_new(session_id)  # also one that has vanished since: its journal tells
        except NotFoundError:
            return None
        if room.state is not None and room.state.is_live:
            await self._rooms.refresh(room)  # another node may have gone on since this one looked
        return room.state

    async def _settle_active(self, slot: TimeSlot, state: SessionState | None) -> datetime | None:
        """Record attendance if the session has ended; return when to look again, None if there is no need."""
        now = self._clock.now()
        if slot.session_id is None:
            return None
        if state is None:
            # Claimed, and not opened yet: whoever looks for slots to open finishes it.
            return self._not_yet(slot) if now < slot.end_time + _GIVEN_UP_AFTER else None
        if state.is_live:
            return self._not_yet(slot)
        assert state.ended_at is not None
        await self._record_attendance(slot, state)
        return self._once_more(state.ended_at)

    async def _settle_inactive(self, slot: TimeSlot, state: SessionState | None) -> datetime | None:
        """End the session, settle the registrations; return when to look again, None if there is no need."""
        if slot.session_id is not None and state is not None and state.is_live:
            state = await self._end(slot.session_id)
        if state is not None and state.started_at is not None:
            await self._record_attendance(slot, state)
        else:
            await self._bookings.cancel_all(slot.id, self._clock.now())
            await bring_count_right(self._catalog, self._bookings, slot.id)
        if slot.session_id is not None and state is None:
            # Whoever claimed it may be about to open it, or have died: only time tells.
            is_past = self._clock.now() >= max(slot.end_time, slot.updated_at) + AFTERMATH
            return None if is_past else self._not_yet(slot)
        return self._once_more(slot.updated_at)

    async def _end(self, session_id: SessionId) -> SessionState | None:
        room = await self._rooms.room(session_id)
        await self._rooms.submit(room, EndSession(actor=SYSTEM))
        return room.state

    async def _record_attendance(self, slot: TimeSlot, state: SessionState) -> None:
        await self._bookings.record_attendance(slot.id, state.participants.keys())
        await bring_count_right(self._catalog, self._bookings, slot.id)

    def _once_more(self, ended_at: datetime) -> datetime | None:
        again_at = ended_at + AFTERMATH
        return again_at if again_at > self._clock.now() else None

    def _not_yet(self, slot: TimeSlot) -> datetime | None:
        """Return when a slot is to be looked at that cannot be settled now."""
        now = self._clock.now()
        return slot.settle_at if slot.settle_at is None or slot.settle_at > now else now + _PAUSE
