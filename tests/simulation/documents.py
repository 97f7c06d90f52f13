"""What the store of documents holds: each document equal to the fold of the journal up to its `seq`, and never older.

Owns what was last found of each document; must not know who writes them, or when.
"""

from collections.abc import Mapping, Sequence

from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.model import Participant, Session
from tests.simulation.logbook import Logbook
from tests.simulation.verdicts import Invariant, Tally, violated


class Documents:
    """Judges documents.

    Args:
        logbooks: What the journal holds.
        tally: Where checks are counted.
    """

    def __init__(self, logbooks: Mapping[SessionId, Logbook], tally: Tally) -> None:
        self._logbooks = logbooks
        self._checked = tally.checked
        self._sessions: dict[SessionId, int] = {}
        self._participants: dict[tuple[SessionId, UserId], Participant] = {}

    def found(self, session: Session | None, participants: Sequence[Participant]) -> None:
        """Judge what is stored of one session.

        Raises:
            Violation: It differs from the journal, shows what is not there, or is older than it was.
        """
        for participant in participants:
            self._check_participant(participant)
        if session is not None:
            self._check_session(session)

    def _check_session(self, session: Session) -> None:
        self._checked[Invariant.DOCUMENTS] += 1
        logbook, which = self._logbooks.get(session.id), f"session {session.id}: its document of seq {session.seq}"
        if logbook is None or not 1 <= session.seq <= logbook.head:
            violated(Invariant.DOCUMENTS, f"{which} shows what is not durable")
        known = self._sessions.get(session.id, 0)
        if session.seq < known:
            violated(Invariant.DOCUMENTS, f"{which} is older than the one before, of {known}")
        expected, by_user = logbook.snapshot_at(session.seq)
        if session != expected.session:
            violated(Invariant.DOCUMENTS, f"{which} is {session}, the journal says {expected.session}")
        self._sessions[session.id] = session.seq
        for user, participant in by_user.items():
            stored = self._participants.get((session.id, user))
            if stored is None or stored.seq < participant.seq:
                violated(
                    Invariant.DOCUMENTS,
                    f"{which} is there, and that of {user} is {stored}, not yet of seq {participant.seq}",
                )

    def _check_participant(self, participant: Participant) -> None:
        self._checked[Invariant.DOCUMENTS] += 1
        key, seq = (participant.session_id, participant.user_id), participant.seq
        known = self._participants.get(key)
        if participant is known:
            return
        logbook = self._logbooks.get(participant.session_id)
        which = f"session {participant.session_id}: the document of {participant.user_id} of seq {seq}"
        if logbook is None or not 1 <= seq <= logbook.head:
            violated(Invariant.DOCUMENTS, f"{which} shows what is not durable")
        if known is not None and seq < known.seq:
            violated(Invariant.DOCUMENTS, f"{which} is older than the one before, of {known.seq}")
        expected = logbook.snapshot_at(seq)[1].get(participant.user_id)
        if participant != expected:
            violated(Invariant.DOCUMENTS, f"{which} is {participant}, the journal says {expected}")
        self._participants[key] = participant
