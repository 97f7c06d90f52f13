"""Bringing a subscriber up to date: the events that it missed, or everything anew (SPEC section 3, `join` and `watch`).

Owns the choice between the two, and the promise that nothing is lost or doubled between them and the next event.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from coordinator.domain.deadlines import next_deadline
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import SealedEvent
from coordinator.domain.model import Participant, Session
from coordinator.domain.state import SessionState, participant_record, session_record
from coordinator.ports.clock import Clock
from coordinator.ports.journal import Journal
from coordinator.services.outages import silence_is_unavailable
from coordinator.services.room import Room

_ATTEMPTS = 5


class Snapshot(msgspec.Struct, frozen=True):
    """A session and its participants, as of one `seq`."""

    session: Session
    participants: list[Participant]


class View(msgspec.Struct, frozen=True):
    """What a subscriber needs to be up to date at `seq`: the events that it missed, or everything anew."""

    session_id: SessionId
    seq: int
    server_time: datetime
    events: Sequence[SealedEvent] | None = None
    snapshot: Snapshot | None = None


def snapshot_of(state: SessionState) -> Snapshot:
    """Return a live session in the form that is stored and shown."""
    return Snapshot(
        session=session_record(state, next_deadline(state)),
        participants=[participant_record(state, participant) for participant in state.participants.values()],
    )


class CatchingUp:
    """What subscribers have missed.

    Whoever subscribes asks for `missed` first, then subscribes and takes the `view`, and awaits nothing in between: so
    no event can slip in between the view and the subscription.

    Args:
        journal: Where older events are read from.
        clock: Time.
        replay_limit: Missed events up to which they are replayed instead of a snapshot.
    """

    def __init__(self, journal: Journal, clock: Clock, replay_limit: int) -> None:
        self._journal = journal
        self._clock = clock
        self._replay_limit = replay_limit

    async def missed(self, room: Room, after: int | None) -> Sequence[SealedEvent] | None:
        """Return the events after `after` up to the room's present `seq`, or None where a snapshot is better.

        Nothing is awaited between taking the last of them and returning. The room must be in use.

        Raises:
            UnavailableError: The journal is out of reach.
        """
        if after is None:
            return None
        for _ in range(_ATTEMPTS):
            if not 0 <= room.seq - after <= self._replay_limit:
                return None
            recent = room.recent_after(after)
            if recent is not None:
                return recent
            with silence_is_unavailable():
                older = await self._journal.events_after(room.session_id, after)
            newer = room.recent_after(older[-1].event.seq) if older else None
            if newer is not None:
                return [sealed for sealed in (*older, *newer) if sealed.event.seq <= room.seq]
        return None

    def view(self, room: Room, missed: Sequence[SealedEvent] | None) -> View:
        """Return the view of a room in which `missed` is what the subscriber lacks; None: everything."""
        assert room.state is not None
        return View(
            session_id=room.session_id,
            seq=room.seq,
            server_time=self._clock.now(),
            events=missed,
            snapshot=snapshot_of(room.state) if missed is None else None,
        )
