"""What must become right while nothing goes wrong: nobody hangs, nothing is overdue, whoever listens hears.

Owns suspicion: what is not right when it is looked at may be about to become so. It is a violation only when it has not
been right, at every look, for longer than that may take.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta

from coordinator.domain.events import DisconnectReason
from coordinator.domain.ids import ConnectionId, NodeId, SessionId, UserId, node_of
from tests.simulation.logbook import Logbook
from tests.simulation.model import Part, Phase, Place, SessionModel
from tests.simulation.verdicts import Invariant, Tally, violated

Seats = Mapping[tuple[SessionId, UserId], AbstractSet[ConnectionId]]
"""The open connections that believe that they hold a seat, by whose they are."""


class Watch:
    """Looks at the sessions time and again.

    Args:
        logbooks: What the journal holds.
        models: The sessions.
        tally: Where checks are counted.
        node_timeout: Silence after which a node counts as dead.
        allowance: How long anything else may take, and what follows from a node's death.
    """

    def __init__(
        self,
        logbooks: Mapping[SessionId, Logbook],
        models: Mapping[SessionId, SessionModel],
        tally: Tally,
        *,
        node_timeout: timedelta,
        allowance: timedelta,
    ) -> None:
        self._logbooks = logbooks
        self._models = models
        self._checked = tally.checked
        self._allowance = allowance
        self._patience_with_nodes = node_timeout + allowance
        self._suspicions: dict[tuple[object, ...], datetime] = {}
        self._before: dict[tuple[object, ...], datetime] = {}
        self._now: datetime | None = None
        self._calm_since: datetime | None = None
        self._gone: dict[ConnectionId, DisconnectReason] = {}
        self._sees_connections = False

    def disturbed(self) -> None:
        """Begin anew: something goes wrong now, so nothing need become right."""
        self._suspicions = {}
        self._calm_since = None

    def look(
        self,
        now: datetime,
        seats: Seats,
        living_nodes: AbstractSet[NodeId],
        others: AbstractSet[ConnectionId],
        listeners: Iterable[tuple[SessionId, int, str]],
    ) -> None:
        """Look at everything, while nothing goes wrong.

        Args:
            now: The true time.
            seats: Who believes to hold a seat.
            living_nodes: The nodes that run.
            others: Further open connections: they need not hold a seat, and nobody present on one is a ghost.
            listeners: Who listens: the session, the last event that it has, and its name.

        Raises:
            Violation: Something has not been right for too long.
        """
        self._now = now
        self._calm_since = self._calm_since or now
        self._before, self._suspicions = self._suspicions, {}
        for session_id, model in self._models.items():
            if not model.is_live:
                continue
            self._checked[Invariant.DEADLINES] += 1
            if model.next_due is not None and model.next_due <= now:
                self._suspect(
                    self._allowance,
                    (Invariant.DEADLINES, session_id, model.next_due),
                    f"nothing has happened at {model.next_due}, when the session ({model.phase}) had to change",
                )
            for user, part in model.parts.items():
                if part.place is Place.PRESENT:
                    self._look_for_ghost(session_id, user, part, seats, living_nodes, others)
        for (session_id, user), connections in seats.items():
            for connection in connections:
                if node_of(connection) in living_nodes:
                    self._look_at_seat(session_id, user, connection)
        for session_id, position, name in listeners:
            self._look_at_listener(session_id, position, name)

    def look_at_connections(self, open_connections: Iterable[ConnectionId]) -> None:
        """Look, in calm or not, whether a connection is open of which its own node has said that it is gone.

        Raises:
            Violation: One is. The seat was taken from the wrong connection.
        """
        self._sees_connections = True
        for connection in open_connections:
            reason = self._gone.get(connection)
            if reason is not None and reason is not DisconnectReason.SERVER_STOPPED:  # that is said in advance
                violated(Invariant.SEATED, f"{connection} is open; in the journal it was lost ({reason})")

    def gone(self, connection: ConnectionId, reason: DisconnectReason) -> None:
        """Hear that a connection that held a seat is gone, by its own node or by another."""
        if reason is not DisconnectReason.CONNECTION_LOST:
            self._gone[connection] = reason

    def seated(self, session_id: SessionId, user: UserId, connection: ConnectionId) -> None:
        """Judge that a connection takes a seat: not after its own node has said that it is gone.

        Judged only in a world that tells of connections at all.

        Raises:
            Violation: It was gone.
        """
        self._checked[Invariant.SEATED] += 1
        if self._sees_connections and connection in self._gone:
            violated(
                Invariant.SEATED,
                f"session {session_id}: {user} takes a seat on {connection}, which was lost before "
                f"({self._gone[connection]})",
            )

    def reconnected(self, session_id: SessionId, user: UserId, part: Part) -> None:
        """Judge that a user who was away is back on the very same connection: it never was gone.

        That is the way back for whoever was on a node that was silent for a while; otherwise nobody may be evicted.

        Raises:
            Violation: There was no such silence when the connection was said to be gone.
        """
        self._checked[Invariant.SEATED] += 1
        if self._calm_since is None or part.lost_at is None:
            return
        if part.lost_at > self._calm_since + self._patience_with_nodes:
            violated(
                Invariant.SEATED,
                f"session {session_id}: {user} was said at {part.lost_at} to have lost {part.connection}, "
                "which is still open",
            )

    def _look_for_ghost(
        self,
        session_id: SessionId,
        user: UserId,
        part: Part,
        seats: Seats,
        living_nodes: AbstractSet[NodeId],
        others: AbstractSet[ConnectionId],
    ) -> None:
        self._checked[Invariant.GHOSTS] += 1
        node = node_of(part.connection)
        key = (Invariant.GHOSTS, session_id, user, part.connection)
        if node not in living_nodes:
            self._suspect(self._patience_with_nodes, key, f"{user} is present on {node}, which does not live")
        elif part.connection not in seats.get((session_id, user), ()) and part.connection not in others:
            self._suspect(self._allowance, key, f"{user} is present on {part.connection}, which is not open")

    def _look_at_seat(self, session_id: SessionId, user: UserId, connection: ConnectionId) -> None:
        self._checked[Invariant.SEATED] += 1
        model = self._models.get(session_id)
        part = None if model is None else model.parts.get(user)
        if part is not None and part.place is Place.PRESENT and part.connection == connection:
            return
        place = "never joined" if part is None else f"is {part.place}, last on {part.connection}"
        phase = Phase.UNOPENED if model is None else model.phase
        self._suspect(
            self._allowance,
            (Invariant.SEATED, session_id, user, connection),
            f"{connection} of {user} is open and holds a seat, so it believes; in the journal {user} {place}, and the "
            f"session is {phase}",
        )

    def _look_at_listener(self, session_id: SessionId, position: int, name: str) -> None:
        self._checked[Invariant.CAUGHT_UP] += 1
        logbook = self._logbooks.get(session_id)
        if logbook is not None and position < logbook.head:
            self._suspect(
                self._allowance,
                (Invariant.CAUGHT_UP, session_id, name, position),
                f"{name} listens, has event {position}, and has not got the next, which is there since "
                f"{logbook.arrived[position]}",
            )

    def _suspect(self, patience: timedelta, key: tuple[object, ...], facts: str) -> None:
        assert self._now is not None
        since = self._suspicions[key] = self._before.get(key, self._now)
        if self._now - since > patience:
            invariant, session_id = key[:2]
            assert isinstance(invariant, Invariant)
            violated(invariant, f"session {session_id}, at {self._now}: {facts}; so it has been since {since}")
