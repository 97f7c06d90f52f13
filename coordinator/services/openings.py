"""Opens the sessions of slots whose lobby time has come, exactly one per slot (SPEC section 2, session).

Exactly one, because the slot's document names its session by compare-and-set before anything is written, and the first
commit of that session can only be written once. Whoever dies in between is finished by whoever looks next. A slot that
is deactivated in between is left to `settlement`.
"""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta

import msgspec

from coordinator.domain.commands import OpenSession
from coordinator.domain.deadlines import span
from coordinator.domain.errors import UnavailableError
from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import TimeSlot
from coordinator.ports.bookings import Bookings
from coordinator.ports.catalog import Catalog, Claim
from coordinator.ports.clock import Clock
from coordinator.ports.identity import IdSource
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.rooms import Rooms
from coordinator.services.settlement import Settlement
from coordinator.telemetry import get_logger

_LOOK_BACK = timedelta(hours=1)
"""Longer than any slot lasts: what started earlier is over, or has been opened."""
_LOOK_BACK_AT_START = timedelta(days=7)
"""What fell due while nothing was running happens at start-up, for slots that began since."""
_AT_ONCE = 50
"""Slots opened together: many start at the same full hour. What others write waits behind the one statement that claims
them, 23 ms for 50 on the embedded server; for each of 200 it takes half as long again as for each of 50."""

_log = get_logger("openings")


class SessionRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules that a session gets when it opens; times in minutes and seconds as the names say."""

    lobby_minutes: float
    no_show_minutes: float
    empty_timeout_seconds: float
    reconnect_grace_seconds: float


class Openings:
    """Opens sessions on time.

    Args:
        catalog: The slots.
        bookings: Their registrations.
        rooms: Where sessions are changed.
        clock: Time.
        ids: Names sessions.
        rules: What every session opened from here on gets.
        settlement: Ends the session of a slot that was deactivated while it opened.
    """

    def __init__(
        self,
        catalog: Catalog,
        bookings: Bookings,
        rooms: Rooms,
        clock: Clock,
        ids: IdSource,
        rules: SessionRules,
        settlement: Settlement,
    ) -> None:
        self._catalog = catalog
        self._bookings = bookings
        self._rooms = rooms
        self._clock = clock
        self._ids = ids
        self._rules = rules
        self._settlement = settlement
        self._done: set[SlotId] = set()
        self._defective: set[SlotId] = set()
        self._looked_at: datetime | None = None

    async def open_missed(self) -> None:
        """Open what should have been opened while nothing was running, also where it is over by now."""
        now = self._clock.now()
        await self._open(now, now - _LOOK_BACK_AT_START)

    async def open_due(self) -> None:
        """Open what is due now. The cost depends on the slots around this time, not on how many there ever were.

        Raises:
            OutcomeUnknownError, UnavailableError: The database is out of reach; the next call goes on.
        """
        now = self._clock.now()
        # What ended since the last look was never looked at: after an outage that may be long ago.
        since = min(now, self._looked_at or now)
        await self._open(now, max(since, now - _LOOK_BACK_AT_START))

    async def _open(self, now: datetime, since: datetime) -> None:
        """Open what is due and was not over by `since`."""
        lobby = timedelta(minutes=self._rules.lobby_minutes)
        slots = await self._catalog.active_slots(since - _LOOK_BACK, now + lobby)
        looked_at = {slot.id for slot in slots}
        self._done &= looked_at
        self._defective &= looked_at
        waiting = [slot for slot in slots if slot.id not in self._done and _may_be_due(slot, now, since)]
        unclaimed = {slot.id for slot in waiting if slot.session_id is None}
        booked = await self._bookings.booked(unclaimed) if unclaimed else set()
        due = [slot for slot in waiting if slot.id not in unclaimed or slot.id in booked]
        for first in range(0, len(due), _AT_ONCE):
            await self._open_together(due[first : first + _AT_ONCE])
        self._looked_at = now

    async def _open_together(self, slots: Sequence[TimeSlot]) -> None:
        # Also those that have a session: only what is read after the claim can no longer be edited.
        claims = [Claim(slot, SessionId(self._ids.new_id())) for slot in slots]
        try:
            claimed = await self._catalog.claim_sessions(claims)
        except (OutcomeUnknownError, UnavailableError):
            raise
        except Exception:  # noqa: BLE001
            if len(slots) == 1:
                self._tell(slots[0].id)
                return
            for slot in slots:  # which of them it is, and whatever it is, must not keep the others closed
                await self._open_together([slot])
            return
        # Whoever is missing was deactivated or edited since we read it; if it still is due, the next look sees that.
        own = {session_id for _, session_id in claims}
        outcomes = await asyncio.gather(*(self._attempt(slot, is_new=slot.session_id in own) for slot in claimed))
        await self._look_again({slot.id for slot, outcome in zip(claimed, outcomes, strict=True) if outcome is True})
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _attempt(self, slot: TimeSlot, *, is_new: bool) -> bool | Exception:
        """Open a claimed slot's session; tell whether that was done here, or return the silence of the database."""
        try:
            return await self._open_one(slot, is_new=is_new)
        except (OutcomeUnknownError, UnavailableError) as silence:
            return silence
        except Exception:  # noqa: BLE001
            # A defect with one slot, such as a journal that cannot be read, must not keep the others closed.
            self._tell(slot.id)
            return False

    async def _open_one(self, slot: TimeSlot, *, is_new: bool) -> bool:
        assert slot.session_id is not None
        # Of a session that has just been named here there is nothing to read; if somebody else is quicker with its
        # first commit, ours finds the place taken.
        room = self._rooms.new_room(slot.session_id) if is_new else await self._rooms.room_or_new(slot.session_id)
        is_opened = room.state is None
        if is_opened:
            await self._rooms.submit(room, self._command(slot))
            _log.info("session_opened", session=room.session_id, slot=slot.id, start=slot.start_time.isoformat())
        self._done.add(slot.id)
        return is_opened

    async def _look_again(self, opened: AbstractSet[SlotId]) -> None:
        # Whoever deactivated a slot after the claim may have looked for its session before it was there.
        if opened:
            for slot in await self._catalog.slots(opened):
                if not slot.is_active:
                    await self._settlement.settle(slot.id)

    def _tell(self, slot_id: SlotId) -> None:
        """Log the exception that is being handled, once for each slot."""
        if slot_id not in self._defective:
            _log.exception("opening_failed", slot=slot_id)
        self._defective.add(slot_id)

    def _command(self, slot: TimeSlot) -> OpenSession:
        return OpenSession(
            time_slot_id=slot.id,
            target_language_code=slot.target_language_code,
            level=slot.level,
            scheduled_start=slot.start_time,
            scheduled_end=slot.end_time,
            no_show_at=slot.start_time + span(60 * self._rules.no_show_minutes),
            min_participants=slot.min_participants,
            max_participants=slot.max_participants,
            empty_timeout_seconds=self._rules.empty_timeout_seconds,
            reconnect_grace_seconds=self._rules.reconnect_grace_seconds,
        )


def _may_be_due(slot: TimeSlot, now: datetime, since: datetime) -> bool:
    """Tell whether a slot's session may have to be opened, because the slot was not over by `since`.

    A claimed slot is opened even after that, so that it can be settled; once it is, it carries no note any more.
    """
    if slot.session_id is None:
        return slot.end_time > since
    return slot.end_time > now or slot.settle_at is not None
