"""A room: the live side of one session on this node. A cache of the journal that may be dropped at any moment.

Owns what is known of the session here and who listens; must not write anything.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Protocol

import msgspec

from coordinator.domain.commands import Command
from coordinator.domain.events import Event, UserErased
from coordinator.domain.evolve import fold
from coordinator.domain.ids import ConnectionId, SessionId, UserId
from coordinator.domain.ledger import GENESIS, Commit, SealedEvent, canonical_event
from coordinator.domain.model import SessionStatus
from coordinator.domain.state import SessionState
from coordinator.ports.audience import Subscriber
from coordinator.ports.clock import Timer

RECENT_EVENTS = 128
"""Events that a room keeps for resuming clients; older ones are read from the journal."""


class Answer(Protocol):
    """Who waits for the outcome of a command. A future is one; what only has to pass it on needs no event loop."""

    def done(self) -> bool:
        """Tell whether nobody waits any more; then it is told nothing, and a command not yet decided is dropped."""

    def set_result(self, seq: int, /) -> None:
        """Take the session's `seq` once everything that the command changed is durable; must not raise."""

    def set_exception(self, refusal: Exception, /) -> None:
        """Take what refuses the command; must not raise."""


class Pending(msgspec.Struct, eq=False):
    """A command that waits to be decided.

    Attributes:
        command: What is asked.
        answer: Gets the `seq` after it, or a refusal.
        is_first: Whether it goes before all that is not.
    """

    command: Command
    answer: Answer
    is_first: bool = False


class Room:
    """One session on this node.

    Attributes:
        session_id: The session.
        state: After the last event that is known here to be durable; None before the first.
        head_hash: The hash of the last commit known here.
        pending: Commands that wait for the next commit of this room.
        in_flight: Whether a commit of this room is being written; there is never more than one.
        is_stale: Whether a write had an unknown outcome, so that the journal must be read before deciding again.
        subscribers: The participants' connections that listen.
        watchers: The moderators' connections that listen; they have no part in the session.
        projected_seq: Up to where the projections have been written from here.
        timers: What the clock will call for this room.
        timed_for: The deadline and status that the timers were set for.
    """

    def __init__(self, session_id: SessionId) -> None:
        self.session_id = session_id
        self.state: SessionState | None = None
        self.head_hash = GENESIS
        self.pending: deque[Pending] = deque()
        self.in_flight = False
        self.is_stale = False
        self.subscribers: dict[ConnectionId, Subscriber] = {}
        self.watchers: dict[ConnectionId, Subscriber] = {}
        self.projected_seq = 0
        self.timers: list[Timer] = []
        self.timed_for: tuple[datetime | None, SessionStatus] | None = None
        # Without their JSON, which is two thirds of a room and hardly ever asked for, wherever it can be made again.
        self._recent: deque[Event | SealedEvent] = deque(maxlen=RECENT_EVENTS)
        self._uses = 0

    @property
    def seq(self) -> int:
        """The last durable event known here."""
        return 0 if self.state is None else self.state.seq

    @property
    def is_idle(self) -> bool:
        """Whether nobody would miss this room if it were dropped now."""
        is_wanted = self._uses or self.has_listeners
        return not (is_wanted or self.pending or self.in_flight or self.projected_seq < self.seq)

    @property
    def has_listeners(self) -> bool:
        """Whether anybody gets the room's events."""
        return bool(self.subscribers or self.watchers)

    @property
    def listeners(self) -> list[Subscriber]:
        """Everyone who gets the room's events."""
        return [*self.subscribers.values(), *self.watchers.values()]

    def keep(self) -> None:
        """Keep the room from being dropped, until as many times `let_go` is called."""
        self._uses += 1

    def let_go(self) -> None:
        """Take back one `keep`."""
        self._uses -= 1

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the room from being dropped meanwhile."""
        self.keep()
        try:
            yield
        finally:
            self.let_go()

    def apply(self, commit: Commit, state: SessionState | None = None) -> None:
        """Take in a commit that is durable; `state` is the state after it, where it was decided here."""
        if state is None:
            self.state = fold((sealed.event for sealed in commit.events), self.state)
            self._recent.extend(_without_json(sealed) for sealed in commit.events)
        else:
            self.state = state
            self._recent.extend([sealed.event for sealed in commit.events])
        self.head_hash = commit.hash
        if self.state is not None and self.state.is_live:
            return  # nobody is erased from it yet
        for sealed in commit.events:
            if type(sealed.event.body) is UserErased:
                self._recent.clear()  # they name the user; the journal will not

    def recent_after(self, after: int) -> Sequence[SealedEvent] | None:
        """Return the events after `after` from memory; None if some of them are not kept any more."""
        missing = self.seq - after
        if missing <= 0:
            return []
        if missing > len(self._recent):
            return None
        newest = islice(self._recent, len(self._recent) - missing, None)
        return [SealedEvent(kept, canonical_event(kept)) if isinstance(kept, Event) else kept for kept in newest]

    def subscriber_of(self, user: UserId) -> Subscriber | None:
        """Return the local subscriber on which a present user is connected."""
        participant = None if self.state is None else self.state.participants.get(user)
        if participant is None or not participant.is_present:
            return None
        return self.subscribers.get(participant.connection_id)

    def cancel_timers(self) -> None:
        """Let the clock forget this room."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        self.timed_for = None


def _without_json(sealed: SealedEvent) -> Event | SealedEvent:
    """Return the event alone; of one whose JSON says what this version does not know, all there is."""
    return sealed.event if canonical_event(sealed.event) == sealed.json else sealed
