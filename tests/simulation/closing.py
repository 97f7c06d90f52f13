"""What a referee looks at when a story is over: the stores, against everything that it has seen.

Owns the checks that need whole stores: nothing is gone from the journal, the documents have followed, each slot has its
session, attendance is recorded. A story is over when nothing has gone wrong for long enough that all of it must be so.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from coordinator.adapters.memory.bookings import MemoryBookings
from coordinator.adapters.memory.catalog import MemoryCatalog
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.adapters.memory.projections import MemoryProjections
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import Commit, find_flaws
from coordinator.domain.model import Registration, RegistrationStatus, TimeSlot
from coordinator.domain.pseudonyms import is_pseudonym
from coordinator.ports.bookings import RegistrationQuery
from coordinator.ports.catalog import SlotQuery
from tests.simulation.logbook import Logbook
from tests.simulation.model import Phase, Place, SessionModel
from tests.simulation.verdicts import Invariant, Tally, violated

_EVER = datetime(1, 1, 1, tzinfo=UTC)
_MANY = 1_000_000
_JUST_BEFORE_THE_END = timedelta(seconds=5)
_AFTERMATH = timedelta(seconds=60)
"""A registration that came with the end of its session is settled when the slot is looked at once more, a minute on."""


class Closing:
    """The last look at the stores.

    Args:
        logbooks: What the journal must hold.
        models: The sessions.
        tally: Where checks are counted.
        settled_after: After this long, what follows from the end of a session has been done, and what a slot calls for.
        lobby: How long before its start a slot's session opens.
        require_registration: Whether only registered users may join.
        now: The true time.
    """

    def __init__(
        self,
        logbooks: Mapping[SessionId, Logbook],
        models: Mapping[SessionId, SessionModel],
        tally: Tally,
        *,
        settled_after: timedelta,
        lobby: timedelta,
        require_registration: bool,
        now: datetime,
    ) -> None:
        self._logbooks = logbooks
        self._models = models
        self._checked = tally.checked
        self._settled_after = settled_after
        self._lobby = lobby
        self._require_registration = require_registration
        self._now = now

    async def journal(self, journal: MemoryJournal) -> None:
        """Find in the journal all that was ever committed, unaltered, and nothing else.

        Raises:
            Violation: It is otherwise.
        """
        for session_id in [session_id async for session_id in journal.session_ids()]:
            if session_id not in self._logbooks:
                violated(Invariant.CHAIN, f"session {session_id}: its commits were never heard of")
        for session_id, logbook in self._logbooks.items():
            self._checked[Invariant.ACKS] += 1
            held = await journal.read(session_id)
            is_erased = any(part.place is Place.ERASED for part in self._models[session_id].parts.values())
            for there, was in zip(held, logbook.commits, strict=False):
                if not (_same_place(there, was) if is_erased else there == was):
                    violated(Invariant.ACKS, f"session {session_id}: commit {was.id} of seq {was.seq} has changed")
            if len(held) != len(logbook.commits):
                have, had = (commits[-1].last_seq if commits else 0 for commits in (held, logbook.commits))
                violated(Invariant.ACKS, f"session {session_id}: the journal ends with {have}, and did with {had}")
            self._checked[Invariant.CHAIN] += 1
            flaws = find_flaws(session_id, await journal.stored(session_id))
            if flaws:
                violated(Invariant.CHAIN, f"session {session_id}, commit {flaws[0].seq}: {flaws[0].problem}")

    async def documents(self, projections: MemoryProjections) -> None:
        """Find every session's documents equal to the fold of its whole log, and no others.

        Raises:
            Violation: They are not.
        """
        for session_id in [session_id async for session_id in projections.session_ids()]:
            if session_id not in self._logbooks:
                violated(Invariant.DOCUMENTS, f"session {session_id} has documents and no journal")
        for session_id, logbook in self._logbooks.items():
            self._checked[Invariant.DOCUMENTS] += 1
            expected, by_user = logbook.snapshot_at(logbook.head)
            session = await projections.session(session_id)
            if session != expected.session:
                violated(
                    Invariant.DOCUMENTS,
                    f"session {session_id}: its document at the end is {session}, the journal says {expected.session}",
                )
            found = {item.user_id: item for item in await projections.participants(session_id)}
            for user in found.keys() | by_user.keys():
                if found.get(user) != by_user.get(user):
                    violated(
                        Invariant.DOCUMENTS,
                        f"session {session_id}: the document of {user} at the end is {found.get(user)}, "
                        f"the journal says {by_user.get(user)}",
                    )

    async def slots(self, catalog: MemoryCatalog, bookings: MemoryBookings) -> None:
        """Find for every slot the session that it calls for, and what has become of its registrations.

        Raises:
            Violation: Something else is found.
        """
        slots = {slot.id: slot for slot in await catalog.page(SlotQuery(start_from=_EVER, limit=_MANY))}
        registrations = {
            slot_id: await bookings.page(RegistrationQuery(slot_id=slot_id, limit=_MANY)) for slot_id in slots
        }
        for session_id, model in self._models.items():
            self._checked[Invariant.ONE_SESSION] += 1
            slot = slots.get(model.slot_id)
            if slot is None or slot.session_id != session_id:
                named = None if slot is None else slot.session_id
                violated(Invariant.ONE_SESSION, f"session {session_id} is of slot {model.slot_id}, which names {named}")
            self._check_terms(session_id, slot, model)
            self._check_registered(session_id, model, registrations[slot.id])
        for slot_id, slot in slots.items():
            self._check_opened(slot, registrations[slot_id])
            self._check_attendance(slot, registrations[slot_id])

    def _check_terms(self, session_id: SessionId, slot: TimeSlot, model: SessionModel) -> None:
        rules = model.rules
        offered = (slot.start_time, slot.end_time, slot.min_participants, slot.max_participants)
        taken = (rules.scheduled_start, rules.scheduled_end, rules.min_participants, rules.max_participants)
        if offered != taken:
            violated(Invariant.ONE_SESSION, f"session {session_id} goes by {taken}, its slot {slot.id} by {offered}")

    def _check_registered(
        self, session_id: SessionId, model: SessionModel, registrations: Sequence[Registration]
    ) -> None:
        users = {registration.user_id for registration in registrations}
        if not self._require_registration or any(is_pseudonym(user) for user in users):
            return  # who was erased cannot be told any more
        for user in model.parts:
            self._checked[Invariant.REGISTERED] += 1
            if user not in users:
                violated(Invariant.REGISTERED, f"session {session_id}: {user} joined, and never registered")

    def _check_opened(self, slot: TimeSlot, registrations: Sequence[Registration]) -> None:
        booked_since = [item.registered_at for item in registrations if item.status is RegistrationStatus.REGISTERED]
        if not slot.is_active or not booked_since:
            return
        self._checked[Invariant.ONE_SESSION] += 1
        is_due = max(slot.start_time - self._lobby, min(booked_since)) + self._settled_after < self._now
        if is_due and slot.session_id not in self._models:
            violated(Invariant.ONE_SESSION, f"slot {slot.id} is due and booked, and its session was never opened")

    def _check_attendance(self, slot: TimeSlot, registrations: Sequence[Registration]) -> None:
        model = None if slot.session_id is None else self._models.get(slot.session_id)
        for registration in registrations:
            status, who = registration.status, f"slot {slot.id}: {registration.user_id} is {registration.status}"
            is_settled = status in (RegistrationStatus.ATTENDED, RegistrationStatus.NOSHOW)
            if is_settled:
                self._checked[Invariant.ATTENDANCE] += 1
                if model is None or model.phase is not Phase.ENDED:
                    violated(Invariant.ATTENDANCE, f"{who}, and the session has not ended")
                if registration.cancelled_at is not None:
                    violated(Invariant.ATTENDANCE, f"{who}, and had cancelled")
                was_present = registration.user_id in model.parts
                if not is_pseudonym(registration.user_id) and was_present is (status is RegistrationStatus.NOSHOW):
                    violated(Invariant.ATTENDANCE, f"{who}, and was {'' if was_present else 'never '}present")
            elif status is RegistrationStatus.REGISTERED and model is not None and model.phase is Phase.ENDED:
                assert model.ended_seq is not None
                ended_at = self._logbooks[model.session_id].arrived[model.ended_seq - 1]
                came_late = registration.registered_at > ended_at - _JUST_BEFORE_THE_END
                patience = self._settled_after + (_AFTERMATH if came_late else timedelta())
                if max(ended_at, registration.registered_at) + patience < self._now:
                    self._checked[Invariant.ATTENDANCE] += 1
                    violated(Invariant.ATTENDANCE, f"{who}, long after its session ended at {ended_at}")


def _same_place(one: Commit, other: Commit) -> bool:
    return (one.id, one.seq, one.prev_hash, one.hash) == (other.id, other.seq, other.prev_hash, other.hash)
