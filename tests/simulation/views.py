"""What subscribers were shown: each a prefix-exact copy of the journal (SPEC section 2, event log).

Owns how far each client has come; must not know what the events mean.
"""

from collections.abc import Mapping

from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import SealedEvent
from coordinator.services.catching_up import View
from tests.simulation.logbook import Logbook
from tests.simulation.verdicts import Invariant, Tally, violated


class Views:
    """Judges what clients see.

    Args:
        logbooks: What the journal holds.
        tally: Where checks are counted.
    """

    def __init__(self, logbooks: Mapping[SessionId, Logbook], tally: Tally) -> None:
        self._logbooks = logbooks
        self._checked = tally.checked
        self._positions: dict[tuple[str, SessionId], int] = {}

    def position(self, client: str, session_id: SessionId) -> int:
        """Return the last event that a client has; 0 for none."""
        return self._positions.get((client, session_id), 0)

    def saw(self, client: str, session_id: SessionId, sealed: SealedEvent) -> None:
        """Judge an event that a client took.

        Raises:
            Violation: It is not the next that the journal has for it.
        """
        self._checked[Invariant.VIEWS] += 1
        logbook, seq = self._logbooks.get(session_id), sealed.event.seq
        before = self.position(client, session_id)
        if logbook is None or seq > logbook.head:
            violated(Invariant.VIEWS, f"session {session_id}: {client} saw event {seq} before it was durable")
        if seq != before + 1:
            what = "missed some" if seq > before else "has it already"
            violated(Invariant.VIEWS, f"session {session_id}: {client} saw event {seq} after {before}: it {what}")
        true = logbook.events[seq - 1]
        if sealed is not true and sealed.json != true.json:
            violated(
                Invariant.VIEWS, f"session {session_id}: {client} saw {sealed.json!r}, the journal has {true.json!r}"
            )
        self._positions[client, session_id] = seq

    def took(self, client: str, session_id: SessionId, view: View) -> None:
        """Judge a view that a client took: a snapshot, or the events that it had missed.

        Raises:
            Violation: The journal has it otherwise, or the client has come further already.
        """
        before = self.position(client, session_id)
        if view.events is not None:
            for sealed in view.events:
                self.saw(client, session_id, sealed)
            self._checked[Invariant.VIEWS] += 1
            position = self.position(client, session_id)
            if position != view.seq:
                violated(Invariant.VIEWS, f"session {session_id}: {client} is at {position} after a view of {view.seq}")
            return
        self._checked[Invariant.SNAPSHOTS] += 1
        logbook, who = self._logbooks.get(session_id), f"session {session_id}: {client} took a snapshot of {view.seq}"
        if logbook is None or not 1 <= view.seq <= logbook.head:
            violated(Invariant.VIEWS, f"{who}, which is not durable")
        if view.seq < before:
            violated(Invariant.VIEWS, f"{who} and had event {before} already: its view runs backwards")
        if view.session_id != session_id:
            violated(Invariant.SNAPSHOTS, f"{who}, of session {view.session_id}")
        expected = logbook.snapshot_at(view.seq)[0]
        if view.snapshot != expected:
            violated(Invariant.SNAPSHOTS, f"{who} that is {view.snapshot}, the journal says {expected}")
        self._positions[client, session_id] = view.seq
