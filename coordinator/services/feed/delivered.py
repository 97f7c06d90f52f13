"""Up to where each session has been delivered to one consumer: what removes duplicates and shows gaps.

Owns the rule for a session of which nothing is known here: its mark; without one, nothing has been delivered if the
marks are exact; else the stream is trusted to begin where the consumer left off.
"""

from collections.abc import Iterable, Mapping, Sequence

from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import Commit
from coordinator.ports.consumers import Consumers

_REMEMBERED = 4096
"""Sessions that are remembered whatever the store knows about them."""


class Delivered:
    """The `seq` up to which one consumer has been sent each session on this connection.

    Args:
        name: The consumer.
        consumers: Where its marks are.
        is_exact: Whether the marks tell all that it has.
        floor: What it has of some sessions according to its cursor.
    """

    def __init__(self, name: str, consumers: Consumers, is_exact: bool, floor: Mapping[SessionId, int]) -> None:
        self._name = name
        self._consumers = consumers
        self._is_exact = is_exact
        self._floor = floor
        self._seqs: dict[SessionId, int] = {}
        self._stored: dict[SessionId, int] = {}
        self._limit = _REMEMBERED

    def of(self, session_id: SessionId) -> int:
        """Return what has been delivered of a session; 0 for one that is not known here."""
        return self._seqs.get(session_id, self._floor.get(session_id, 0))

    def note(self, session_id: SessionId, seq: int) -> None:
        """Note that a session has been delivered up to `seq`."""
        self._seqs[session_id] = max(seq, self._seqs.get(session_id, 0))

    def note_stored(self, marks: Mapping[SessionId, int]) -> None:
        """Note marks that are durable."""
        for session_id in marks.keys() & self._seqs.keys():
            self._stored[session_id] = max(marks[session_id], self._stored.get(session_id, 0))

    async def learn(self, commits: Iterable[Commit]) -> None:
        """Find out what has been delivered of the sessions of `commits`, which the stream brings next.

        Raises:
            OutcomeUnknownError: The store does not answer.
        """
        firsts: dict[SessionId, int] = {}
        for commit in commits:
            if commit.session_id not in self._seqs:
                firsts.setdefault(commit.session_id, commit.seq)
        if not firsts:
            return
        marks = await self._consumers.marks(self._name, firsts.keys())
        for session_id, first in firsts.items():
            known = max(marks.get(session_id, 0), self._floor.get(session_id, 0))
            self._seqs[session_id] = known if known or self._is_exact else first - 1
            if session_id in marks:
                self._stored[session_id] = marks[session_id]

    async def start_of(self, sessions: Sequence[SessionId]) -> Mapping[SessionId, int]:
        """Return after which `seq` a catch-up begins with each session.

        Raises:
            OutcomeUnknownError: The store does not answer.
        """
        marks = await self._consumers.marks(self._name, [item for item in sessions if item not in self._seqs])
        return {session_id: max(marks.get(session_id, 0), self.of(session_id)) for session_id in sessions}

    def trim(self) -> None:
        """Drop sessions that the store knows to be delivered this far, if too many are remembered.

        Only between two commits: a session that is dropped must be learnt again before it is asked for.
        """
        if len(self._seqs) <= self._limit:
            return
        for session_id in [known for known, seq in self._seqs.items() if self._stored.get(known) == seq]:
            del self._seqs[session_id], self._stored[session_id]
        self._limit = max(_REMEMBERED, 2 * len(self._seqs))
