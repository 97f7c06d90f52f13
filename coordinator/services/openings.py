"""Opens the sessions of slots whose lobby time has come, exactly one per slot (SPEC section 2, session).

Exactly one, because the slot's document names its session by compare-and-set before anything is written, and the first
commit of that session can only be written once. Whoever dies in between is finished by whoever looks next.
"""

from datetime import timedelta

import msgspec

from coordinator.domain.commands import OpenSession
from coordinator.domain.deadlines import span
from coordinator.domain.errors import UnavailableError
from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.model import TimeSlot
from coordinator.ports.bookings import Bookings
from coordinator.ports.catalog import Catalog
from coordinator.ports.clock import Clock
from coordinator.ports.identity import IdSource
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.rooms import Rooms
from coordinator.telemetry import get_logger

_LOOK_BACK = timedelta(hours=1)
"""Longer than any slot lasts: what started earlier is over, or has been opened."""
_LOOK_BACK_AT_START = timedelta(days=1)
"""What fell due while nothing was running happens at start-up, for slots that began since."""

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
    """

    def __init__(
        self,
        catalog: Catalog,
        bookings: Bookings,
        rooms: Rooms,
        clock: Clock,
        ids: IdSource,
        rules: SessionRules,
    ) -> None:
        self._catalog = catalog
        self._bookings = bookings
        self._rooms = rooms
        self._clock = clock
        self._ids = ids
        self._rules = rules
        self._done: set[SlotId] = set()

    async def open_missed(self) -> None:
        """Open what should have been opened while nothing was running, also where it is over by now."""
        await self._open(_LOOK_BACK_AT_START, also_over=True)

    async def open_due(self) -> None:
        """Open what is due now. The cost depends on the slots around this time, not on how many there ever were.

        Raises:
            OutcomeUnknownError, UnavailableError: The database is out of reach; the next call goes on.
        """
        await self._open(_LOOK_BACK, also_over=False)

    async def _open(self, look_back: timedelta, *, also_over: bool) -> None:
        now = self._clock.now()
        slots = await self._catalog.active_slots(now - look_back, now + timedelta(minutes=self._rules.lobby_minutes))
        self._done &= {slot.id for slot in slots}
        waiting = [slot for slot in slots if slot.id not in self._done and (also_over or slot.end_time > now)]
        booked = await self._bookings.booked({slot.id for slot in waiting}) if waiting else set()
        for slot in waiting:
            if slot.id not in booked and slot.session_id is None:
                continue
            try:
                await self._open_one(slot)
            except (OutcomeUnknownError, UnavailableError):
                raise
            except Exception:  # noqa: BLE001
                # A defect with one slot, such as a journal that cannot be read, must not keep the others closed.
                _log.exception("opening_failed", slot=slot.id)

    async def _open_one(self, slot: TimeSlot) -> None:
        new_id = SessionId(self._ids.new_id())
        # Also where it has a session: only what is read after the claim can no longer be edited.
        claimed = await self._catalog.claim_session(slot.id, new_id, settle_at=slot.end_time)
        if claimed is None:
            return  # deactivated since we read it
        assert claimed.session_id is not None
        room = await self._rooms.room_or_new(claimed.session_id)
        if room.state is None:
            await self._rooms.submit(room, self._command(claimed))
            _log.info("session_opened", session=room.session_id, slot=slot.id, start=claimed.start_time.isoformat())
        self._done.add(slot.id)

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
