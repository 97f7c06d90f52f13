"""The referee: hears of everything that happens in a simulated world, and says what must not have happened.

Independent of what it judges: it reads events with a small model of its own (`model`, `effects`, `rulebook`). Each call
costs about as much as what it is told; `finish` looks at whole stores. It must not know how the world is made.
"""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import chain

from coordinator.adapters.memory.bookings import MemoryBookings
from coordinator.adapters.memory.catalog import MemoryCatalog
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.adapters.memory.projections import MemoryProjections
from coordinator.domain.events import (
    Event,
    ParticipantDisconnected,
    ParticipantJoined,
    ParticipantReconnected,
    SessionOpened,
)
from coordinator.domain.ids import CommitId, ConnectionId, NodeId, SessionId, SlotId, UserId
from coordinator.domain.ledger import Commit, SealedEvent
from coordinator.domain.model import Participant, Session
from coordinator.services.catching_up import View
from tests.simulation.closing import Closing
from tests.simulation.documents import Documents
from tests.simulation.logbook import Logbook
from tests.simulation.model import Place, SessionModel, length
from tests.simulation.rulebook import Rulebook
from tests.simulation.verdicts import Invariant, Tally, Violation, violated
from tests.simulation.views import Views
from tests.simulation.watch import Seats, Watch

__all__ = ["Invariant", "Referee", "Violation"]

_PUT_OFF_SECONDS = 15.0
"""What cannot be settled at once is put off by less than this."""


class Referee:
    """Judges one simulated story. Every method raises `Violation` as soon as an invariant does not hold.

    Args:
        reconnect_grace_seconds: The grace that every session must be opened with.
        empty_timeout_seconds: Likewise the time after which it ends when nobody is present.
        node_timeout_seconds: Silence after which a node counts as dead.
        skew_seconds: How far a node's clock may be ahead of the true time.
        allowance_seconds: How long things may take to become right in calm; a node's death takes its timeout besides.
        settled_after_seconds: How long after the end of a session its attendance may be recorded, and after the time
            for it a session opened, so that `finish` must find it; None: the node timeout, the allowance and 15 s.
        lobby_seconds: How long before the scheduled start a session may be opened.
        require_registration: Whether only registered users may join.
    """

    def __init__(
        self,
        reconnect_grace_seconds: float,
        empty_timeout_seconds: float,
        node_timeout_seconds: float,
        *,
        skew_seconds: float = 0.35,
        allowance_seconds: float = 3.0,
        settled_after_seconds: float | None = None,
        lobby_seconds: float = 600.0,
        require_registration: bool = True,
    ) -> None:
        self._grace = reconnect_grace_seconds
        self._empty_timeout = empty_timeout_seconds
        self._skew = length(skew_seconds)
        self._lobby_seconds = lobby_seconds
        self._require_registration = require_registration
        if settled_after_seconds is None:
            settled_after_seconds = node_timeout_seconds + allowance_seconds + _PUT_OFF_SECONDS
        self._settled_after = length(settled_after_seconds)
        self._tally = Tally()
        self._checked = self._tally.checked
        self._counts = dict.fromkeys(("commits", "events", "acks", "views", "documents", "ticks", "calm_ticks"), 0)
        self._logbooks: dict[SessionId, Logbook] = {}
        self._rulebooks: dict[SessionId, Rulebook] = {}
        self._models: dict[SessionId, SessionModel] = {}
        self._commit_ids: set[CommitId] = set()
        self._session_of: dict[SlotId, SessionId] = {}
        self._registered: dict[SlotId, set[UserId]] = {}
        self._views = Views(self._logbooks, self._tally)
        self._documents = Documents(self._logbooks, self._tally)
        self._watch = Watch(
            self._logbooks,
            self._models,
            self._tally,
            node_timeout=length(node_timeout_seconds),
            allowance=length(allowance_seconds),
        )

    @property
    def checked(self) -> Mapping[Invariant, int]:
        """How often each invariant was checked so far."""
        return self._checked

    def summary(self) -> dict[str, int]:
        """Return what was heard of, by kind, and how often each invariant was checked, by its name in lower case."""
        return {**self._counts, **{invariant.name.lower(): times for invariant, times in self._checked.items()}}

    def registered(self, slot_id: SlotId, user_id: UserId) -> None:
        """Hear that a registration has been written.

        A world that tells of any must tell of all: then a session must not open before the first of its slot, and
        nobody may join without.
        """
        self._registered.setdefault(slot_id, set()).add(user_id)

    def committed(self, commit: Commit, at: datetime) -> None:
        """Hear of a commit the moment the journal has it.

        Args:
            commit: The commit, as it is in the journal.
            at: The true time.
        """
        self._counts["commits"] += 1
        self._counts["events"] += len(commit.events)
        session_id = commit.session_id
        rulebook = self._rulebooks.get(session_id)
        if rulebook is None:
            self._logbooks[session_id] = Logbook(session_id, self._tally, self._skew)
            rulebook = self._rulebooks[session_id] = Rulebook(session_id, self._tally, self._lobby_seconds)
            self._models[session_id] = rulebook.model
        if commit.id in self._commit_ids:
            violated(Invariant.CHAIN, f"session {session_id}: commit {commit.id} is in the journal twice")
        self._commit_ids.add(commit.id)
        self._logbooks[session_id].take(commit, at)
        for sealed in commit.events:
            self._take(rulebook, sealed.event, at)
        rulebook.end_commit(commit.at)

    def acked(
        self,
        session_id: SessionId,
        user_id: UserId,
        command_name: str,
        seq: int,
        asked: Mapping[str, bool] | None = None,
    ) -> None:
        """Hear that a client got an ok for a command.

        Args:
            session_id: The session.
            user_id: Whose command it was.
            command_name: What was asked.
            seq: The `seq` of the answer.
            asked: What was asked of `camera_enabled`, `mic_enabled` and `recording_consent`. Only with a `seq` that is
                the very answer to the command, not one of a view taken later.
        """
        self._counts["acks"] += 1
        self._checked[Invariant.ACKS] += 1
        logbook = self._logbooks.get(session_id)
        head = 0 if logbook is None else logbook.head
        who = f"session {session_id}: {command_name} of {user_id} was acked with {seq}"
        if not 1 <= seq <= head:
            violated(Invariant.ACKS, f"{who}, and the journal ends with {head}")
        model = self._models[session_id]
        if not asked or (model.ended_seq is not None and model.ended_seq <= seq):
            return  # an end that came with the command may have taken the ground from under it
        part = model.parts.get(user_id)
        for switch, value in asked.items():
            found = None if part is None else part.switch_at(seq, switch)
            if found is not value:
                violated(Invariant.ACKS, f"{who}, and {switch} is {found} then, not {value}")

    def client_saw(self, client: str, session_id: SessionId, sealed: SealedEvent) -> None:
        """Hear of an event that a client took. Its first must be event 1, unless it took a snapshot before.

        A client is one line of sight: what goes on from a `seq` that it gave (`after`) goes on under the same name.
        """
        self._counts["views"] += 1
        self._views.saw(client, session_id, sealed)

    def client_snapshot(self, client: str, session_id: SessionId, view: View) -> None:
        """Hear of a view that a client took: a snapshot, or the events that it had missed.

        Those events are judged here as if `client_saw` had been called with each; it must not be called for them too.
        """
        self._counts["views"] += 1
        self._views.took(client, session_id, view)

    def document_written(self, session: Session | None, participants: Sequence[Participant]) -> None:
        """Hear what the store holds of one session after a write: its document, and any or all of its participants'.

        All that belong to the `seq` of the session's document must have been told by then.
        """
        self._counts["documents"] += 1
        self._documents.found(session, participants)

    def tick(
        self,
        now: datetime,
        open_connections: Seats,
        living_nodes: AbstractSet[NodeId],
        *,
        is_calm: bool,
        other_connections: AbstractSet[ConnectionId] = frozenset(),
        listeners: Collection[tuple[str, SessionId]] = (),
    ) -> None:
        """Look at the world, once in a virtual second. What is to become right by itself is judged only in calm.

        From the first look on, no connection may be seated, or be open, that its own node has declared gone.

        Args:
            now: The true time.
            open_connections: The open connections that believe that they hold a seat, by session and user.
            living_nodes: The nodes that run; one that is paused or cut off does not.
            is_calm: Whether nothing goes wrong at the moment: the stores answer, no node is paused, no line is cut.
            other_connections: Further open connections, such as one whose join has not been answered.
            listeners: Clients (by the names given with what they saw) that listen to a session at the moment.
        """
        self._counts["ticks"] += 1
        self._watch.look_at_connections(chain(other_connections, *open_connections.values()))
        if not is_calm or not living_nodes:
            self._watch.disturbed()
            return
        self._counts["calm_ticks"] += 1
        heard = [(session_id, self._views.position(name, session_id), name) for name, session_id in listeners]
        self._watch.look(now, open_connections, living_nodes, other_connections, heard)

    async def finish(
        self,
        journal: MemoryJournal,
        projections: MemoryProjections,
        bookings: MemoryBookings,
        catalog: MemoryCatalog,
        now: datetime,
    ) -> None:
        """Judge the stores when the story is over, after calm that was long enough for everything to be done.

        What follows from the end of a session may take `settled_after_seconds`; a minute more where somebody registered
        just then. What is younger is not judged.
        """
        closing = Closing(
            self._logbooks,
            self._models,
            self._tally,
            settled_after=self._settled_after,
            lobby=length(self._lobby_seconds),
            require_registration=self._require_registration,
            now=now,
        )
        await closing.journal(journal)
        await closing.documents(projections)
        await closing.slots(catalog, bookings)

    def _take(self, rulebook: Rulebook, event: Event, at: datetime) -> None:
        body, model = event.body, rulebook.model
        if isinstance(body, SessionOpened):
            self._check_opening(model.session_id, body)
        elif isinstance(body, ParticipantJoined | ParticipantReconnected):
            self._watch.seated(model.session_id, body.user_id, body.connection_id)
            part = model.parts.get(body.user_id)
            if isinstance(body, ParticipantJoined):
                self._check_registered(model, body.user_id)
            elif part is not None and part.place is Place.AWAY and part.connection == body.connection_id:
                self._watch.reconnected(model.session_id, body.user_id, part)
        rulebook.take(event)
        if isinstance(body, ParticipantDisconnected):
            part = model.parts[body.user_id]
            part.lost_at = at
            self._watch.gone(part.connection, body.reason)

    def _check_opening(self, session_id: SessionId, body: SessionOpened) -> None:
        self._checked[Invariant.ONE_SESSION] += 1
        slot_id = body.time_slot_id
        other = self._session_of.setdefault(slot_id, session_id)
        if other != session_id:
            violated(Invariant.ONE_SESSION, f"sessions {other} and {session_id} were opened for slot {slot_id}")
        if self._registered and slot_id not in self._registered:
            violated(
                Invariant.ONE_SESSION, f"session {session_id} was opened for slot {slot_id}, and nobody had booked"
            )
        rules = (body.reconnect_grace_seconds, body.empty_timeout_seconds)
        if rules != (self._grace, self._empty_timeout):
            violated(Invariant.DEADLINES, f"session {session_id} was opened with grace and empty timeout {rules} s")

    def _check_registered(self, model: SessionModel, user: UserId) -> None:
        if not self._registered or not self._require_registration or model.opening is None:
            return
        self._checked[Invariant.REGISTERED] += 1
        if user not in self._registered.get(model.slot_id, ()):
            violated(Invariant.REGISTERED, f"session {model.session_id}: {user} joined, and had not registered")
