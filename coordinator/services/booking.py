"""Booking: users register for slots, and cancel (SPEC section 2, registration).

Owns the rules that look at more than one document. There are no transactions: each slot has as many seats as
participants, each registration holds one, and the store gives each seat away once, so one write decides. What a write
cannot decide is looked at again after it: what has changed meanwhile was written either before that look, and is seen,
or after the registration, and then whoever wrote it sees the registration.
"""

import asyncio
import zlib
from collections.abc import Sequence
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import replace

from coordinator.domain.errors import (
    CoordinatorError,
    NotFoundError,
    OverlappingRegistrationError,
    SlotFullError,
    SlotOverError,
    UnavailableError,
)
from coordinator.domain.ids import SessionId, SlotId, UserId
from coordinator.domain.model import Registration, RegistrationStatus, SessionStatus, TimeSlot
from coordinator.domain.slots import check_bookable, overlaps
from coordinator.ports.bookings import Bookings, RegistrationQuery, SeatTakenError
from coordinator.ports.catalog import Catalog
from coordinator.ports.clock import Clock
from coordinator.ports.identity import IdSource
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.counting import bring_count_right
from coordinator.services.outages import silence_is_unavailable
from coordinator.services.reader import Reader

_ATTEMPTS = 100
"""A seat that somebody else took costs one attempt, and no slot has more than 50."""
_LOOKS = 5
"""Looks at another registration of the same user that came at the same time, before both are given up."""


class Booked(msgspec.Struct, frozen=True):
    """A registration, and whether the call that returns it made or revived it."""

    registration: Registration
    is_new: bool


class Booking:
    """The registrations of users.

    Every method raises `UnavailableError` when the database is out of reach: repeating finds out, or does it.

    Args:
        catalog: The slots.
        bookings: Their registrations.
        reader: Tells whether a slot's session is open, or has ended.
        clock: Time.
        ids: Names registrations.
    """

    def __init__(self, catalog: Catalog, bookings: Bookings, reader: Reader, clock: Clock, ids: IdSource) -> None:
        self._catalog = catalog
        self._bookings = bookings
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._locks: WeakValueDictionary[UserId, asyncio.Lock] = WeakValueDictionary()

    async def register(self, slot_id: SlotId, user_id: UserId) -> Booked:
        """Register a user for a slot; one who is registered stays so, even when the slot is full or has begun.

        Raises:
            NotFoundError: There is no such slot.
            SlotInactiveError: It was deactivated.
            SlotOverError: It is over, or its session has ended.
            OverlappingRegistrationError: The user is registered for another slot at that time.
            SlotFullError: Every seat is taken.
            UnavailableError: The database is out of reach, or too many others were faster.
        """
        # One at a time for each user: two slots that overlap are then only a race between nodes.
        lock = self._locks.setdefault(user_id, asyncio.Lock())
        with silence_is_unavailable():
            async with lock:
                for _ in range(_ATTEMPTS):
                    booked = await self._try_to_register(slot_id, user_id)
                    if booked is not None:
                        return booked
        raise UnavailableError("too many register at the same time; try again")

    async def cancel(self, slot_id: SlotId, user_id: UserId) -> Registration:
        """Cancel a user's registration for a slot, freeing the seat; one that is cancelled stays as it is.

        Raises:
            NotFoundError: There is no such slot, or the user never registered for it.
            SlotOverError: It is over, or its session has ended.
        """
        with silence_is_unavailable():
            for _ in range(_ATTEMPTS):
                slot = await self._slot(slot_id)
                registration = await self._bookings.find(slot_id, user_id)
                if registration is None:
                    raise NotFoundError(f"{user_id} is not registered for slot {slot_id}")
                if registration.status is not RegistrationStatus.CANCELLED:
                    await self._check_cancellable(slot, registration)
                    now = self._clock.now()
                    if not await self._bookings.cancel(slot_id, user_id, now):
                        continue  # it has been settled, or cancelled elsewhere, since we read it
                    registration = replace(
                        registration, status=RegistrationStatus.CANCELLED, cancelled_at=now, seat=None
                    )
                await self._count(slot_id)
                return registration
        raise UnavailableError("the registration keeps changing; try again")

    async def of_slot(self, query: RegistrationQuery) -> list[Registration]:
        """Return the registrations of the slot that `query` names.

        Raises:
            NotFoundError: There is no such slot.
        """
        assert query.slot_id is not None
        with silence_is_unavailable():
            await self._slot(query.slot_id)
            return await self._bookings.page(query)

    async def of_user(self, query: RegistrationQuery) -> list[tuple[Registration, TimeSlot]]:
        """Return the registrations of the user that `query` names, each with its slot; without those that have none.

        Fewer than `query.limit` mean that there are no more.
        """
        assert query.user_id is not None
        found: list[tuple[Registration, TimeSlot]] = []
        with silence_is_unavailable():
            while len(found) < query.limit:
                registrations = await self._bookings.page(query)
                known = await self._catalog.slots({registration.time_slot_id for registration in registrations})
                slots = {slot.id: slot for slot in await self._reader.shown(known)}
                found += [(item, slots[item.time_slot_id]) for item in registrations if item.time_slot_id in slots]
                if len(registrations) < query.limit:
                    break
                query = replace(query, after=registrations[-1].id)
        return found[: query.limit]

    async def _try_to_register(self, slot_id: SlotId, user_id: UserId) -> Booked | None:
        """Register a user; None where somebody else got in between, and it is worth another attempt."""
        slot = await self._slot(slot_id)
        before = await self._bookings.find(slot_id, user_id)
        if before is not None and before.status is RegistrationStatus.REGISTERED:
            await self._count(slot_id)  # an earlier call may have been cut short before it came to that
            return Booked(before, is_new=False)
        await self._check_open(slot)
        if before is not None and before.status is not RegistrationStatus.CANCELLED:
            raise SlotOverError("the session of this slot has ended")
        other = await self._overlapping(slot, user_id)
        if other is not None:
            raise OverlappingRegistrationError(f"{user_id} is registered for slot {other.id} at that time")
        registration = Registration(
            id=self._ids.new_id() if before is None else before.id,
            time_slot_id=slot_id,
            user_id=user_id,
            status=RegistrationStatus.REGISTERED,
            registered_at=self._clock.now(),
            seat=_free_seat(slot, await self._bookings.holders(slot_id), user_id),
        )
        try:
            if before is None:
                await self._bookings.add(registration)
            elif not await self._bookings.revive(registration):
                return None
        except (KeyError, SeatTakenError):
            return None
        return await self._look_again(registration, before)

    async def _look_again(self, registration: Registration, before: Registration | None) -> Booked | None:
        """Keep a registration that was just written if it may stay, otherwise take it back."""
        try:
            may_stay = await self._may_stay(registration)
        except (CoordinatorError, OutcomeUnknownError):
            await self._take_back(registration, before)
            raise
        if not may_stay:
            await self._take_back(registration, before)
            return None
        await self._count(registration.time_slot_id)
        return Booked(registration, is_new=True)

    async def _may_stay(self, registration: Registration) -> bool:
        """Tell whether a registration that was just written meets no other one.

        Raises:
            CoordinatorError: The slot cannot be booked any more.
        """
        slot = await self._slot(registration.time_slot_id)
        await self._check_open(slot)
        # Seats keep to the limit that was read before the write; it may have been lowered since.
        if len(await self._bookings.holders(slot.id)) > slot.max_participants:
            return False
        for _ in range(_LOOKS):
            other = await self._overlapping(slot, registration.user_id)
            if other is None:
                return True
            if other.id < slot.id:
                return False
            # Two that were written at the same time see each other. If both gave way at once, neither would ever stay,
            # so this one waits whether the other does.
        return False

    async def _take_back(self, registration: Registration, before: Registration | None) -> None:
        await self._bookings.take_back(registration, before)
        await self._count(registration.time_slot_id)  # somebody else may have counted it

    async def _slot(self, slot_id: SlotId) -> TimeSlot:
        slot = await self._catalog.slot(slot_id)
        if slot is None:
            raise NotFoundError(f"there is no slot {slot_id}")
        return slot

    async def _check_open(self, slot: TimeSlot) -> None:
        check_bookable(slot, self._clock.now())
        if await self._has_ended(slot.session_id):
            raise SlotOverError("the session of this slot has ended")

    async def _check_cancellable(self, slot: TimeSlot, registration: Registration) -> None:
        is_settled = registration.status is not RegistrationStatus.REGISTERED
        if is_settled or slot.end_time <= self._clock.now() or await self._has_ended(slot.session_id):
            raise SlotOverError("this slot is over")

    async def _has_ended(self, session_id: SessionId | None) -> bool:
        if session_id is None:
            return False
        try:
            return (await self._reader.snapshot(session_id)).session.status is SessionStatus.ENDED
        except NotFoundError:
            return False  # claimed, and not opened yet

    async def _overlapping(self, slot: TimeSlot, user_id: UserId) -> TimeSlot | None:
        """Return an active slot at the same time that the user is registered for."""
        others = await self._bookings.slots_of(user_id) - {slot.id}
        found = await self._catalog.slots(others) if others else []
        return min(
            (other for other in found if other.is_active and overlaps(slot, other)),
            key=lambda other: other.id,
            default=None,
        )

    async def _count(self, slot_id: SlotId) -> None:
        await bring_count_right(self._catalog, self._bookings, slot_id)


def _free_seat(slot: TimeSlot, holders: Sequence[Registration], user_id: UserId) -> int:
    """Choose a free seat; different users choose different ones, so that they seldom meet.

    Registrations without a seat, put in by hand, count as well: only as many free seats are given away as are left, the
    lowest. Whoever chooses later, when more of them are taken, chooses among some of the same seats, so that no two
    choices together exceed the limit.

    Raises:
        SlotFullError: There is none.
    """
    left = slot.max_participants - len(holders)
    if left <= 0:
        raise SlotFullError(f"all {slot.max_participants} seats of this slot are taken")
    taken = {holder.seat for holder in holders}
    free = [seat for seat in range(slot.max_participants) if seat not in taken][:left]
    return free[zlib.crc32(user_id.encode()) % len(free)]
