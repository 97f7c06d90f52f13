"""One session's journal as the referee was told of it, commit by commit.

Owns the order: dense, chained, in time. Also says what a subscriber or a document must show as of any `seq`; only for
that, and only when asked, is the log folded with the coordinator's own `fold`.
"""

from datetime import datetime, timedelta

from coordinator.domain.evolve import fold
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.ledger import GENESIS, Commit, SealedEvent, canonical_event
from coordinator.domain.model import Participant
from coordinator.domain.state import SessionState
from coordinator.services.catching_up import Snapshot, snapshot_of
from tests.simulation.verdicts import Invariant, Tally, violated


class Logbook:
    """What one session's journal holds.

    Args:
        session_id: The session.
        tally: Where checks are counted.
        skew: How far a node's clock may be ahead of the true time.

    Attributes:
        commits: Every commit, in order.
        events: Every event, in order: event `seq` is at `seq - 1`.
        arrived: For each event the true time at which it became durable.
    """

    def __init__(self, session_id: SessionId, tally: Tally, skew: timedelta) -> None:
        self.session_id = session_id
        self.commits: list[Commit] = []
        self.events: list[SealedEvent] = []
        self.arrived: list[datetime] = []
        self._checked = tally.checked
        self._skew = skew
        self._states: list[SessionState] = []
        self._snapshots: dict[int, tuple[Snapshot, dict[UserId, Participant]]] = {}

    @property
    def head(self) -> int:
        """The last event's `seq`."""
        return len(self.events)

    def take(self, commit: Commit, at: datetime) -> None:
        """Take the next commit.

        Raises:
            Violation: It does not continue the log.
        """
        checked, where = self._checked, f"session {self.session_id}, commit {commit.id} of seq {commit.seq}"
        checked[Invariant.CHAIN] += 1
        checked[Invariant.CLOCK] += 1
        if commit.seq != self.head + 1:
            violated(Invariant.CHAIN, f"{where}: {self.head + 1} should follow")
        if commit.prev_hash != (self.commits[-1].hash if self.commits else GENESIS):
            violated(Invariant.CHAIN, f"{where}: prevHash is not the hash of the commit before")
        if not commit.events:
            violated(Invariant.CHAIN, f"{where}: it holds no events")
        latest = self.events[-1].event.at if self.events else commit.events[0].event.at
        for seq, sealed in enumerate(commit.events, commit.seq):
            event = sealed.event
            if event.seq != seq or event.session_id != self.session_id:
                violated(Invariant.CHAIN, f"{where}: holds event {event.seq} of {event.session_id} in place of {seq}")
            if event.at < latest:
                violated(Invariant.CLOCK, f"{where}: event {seq} is of {event.at}, the one before it of {latest}")
            if canonical_event(event) != sealed.json:
                violated(Invariant.CHAIN, f"{where}: event {seq} is written as {sealed.json!r}")
            latest = event.at
        if commit.at != latest:
            violated(Invariant.CLOCK, f"{where}: it is of {commit.at}, its last event of {latest}")
        if latest > at + self._skew:
            violated(Invariant.CLOCK, f"{where}: it is of {latest}, and that was written at {at}")
        self.commits.append(commit)
        self.events += commit.events
        self.arrived += [at] * len(commit.events)

    def snapshot_at(self, seq: int) -> tuple[Snapshot, dict[UserId, Participant]]:
        """Return the fold of the first `seq` events, as it is stored and shown, and its participants by user."""
        known = self._snapshots.get(seq)
        if known is None:
            for sealed in self.events[len(self._states) : seq]:
                state = fold([sealed.event], self._states[-1] if self._states else None)
                assert state is not None
                self._states.append(state)
            snapshot = snapshot_of(self._states[seq - 1])
            known = snapshot, {participant.user_id: participant for participant in snapshot.participants}
            self._snapshots[seq] = known
        return known
