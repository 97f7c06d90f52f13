"""Group commit: commands gather while a write is under way; the next write takes all of them, of all rooms, at once.

Owns the road from a command to a durable commit: deciding, writing, conflicts, unknown outcomes, the bound on what
may wait. Nothing is answered or shown before it is durable: also a refusal waits for the events that it is based on.
At most one commit of a room is in flight, so its next commands are decided on a state that is known to hold.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from coordinator.domain.commands import AdvanceTime, Command
from coordinator.domain.decide import Decision
from coordinator.domain.errors import CoordinatorError, UnavailableError
from coordinator.domain.ids import CommitId, SessionId
from coordinator.domain.ledger import Commit, seal
from coordinator.domain.state import SessionState
from coordinator.ports.clock import Clock
from coordinator.ports.identity import IdSource
from coordinator.ports.journal import Journal, OutcomeUnknownError
from coordinator.services.pace import Pace
from coordinator.services.room import Answer, Pending, Room
from coordinator.telemetry import get_logger

MAX_ROOMS_PER_FLUSH = 256
"""Commits written together. Larger writes are cheaper each, but everyone in them waits for the whole."""
MAX_COMMANDS_PER_COMMIT = 64
"""Commands of one room decided together."""
_ENOUGH_EVENTS = 512
"""Events after which no further command joins a commit: readers look back only so far for one (`MAX_COMMIT_EVENTS`)."""
_LOOKUP_PAUSES_SECONDS = (0.0, 0.1, 0.3, 0.6, 1.0, 2.0)
_LOOKUP_SECONDS = 6.0
"""No further attempt after this: each may itself take as long as the journal lets an operation take."""

_log = get_logger("committer")


@dataclass(slots=True)
class _Batch:
    """One room's commands, decided.

    Attributes:
        room: The room.
        commit: What is to be written, if anything.
        state: After that.
        asked: The commands that have been decided and not answered yet.
        outcomes: A seq or a refusal for each of them.
    """

    room: Room
    commit: Commit | None = None
    state: SessionState | None = None
    asked: list[Pending] = field(default_factory=list)
    outcomes: list[int | Exception] = field(default_factory=list)


@dataclass(slots=True)
class Counts:
    """What a committer has done so far, and what waits for it: plain numbers, so that counting costs nothing.

    Attributes:
        commits: Commits that it has written.
        events: Events in them.
        conflicts: Commits that met one of another writer, and were decided again.
        waiting: Commands that wait to become durable.
    """

    commits: int = 0
    events: int = 0
    conflicts: int = 0
    waiting: int = 0


class GroupCommitter:
    """Decides commands and makes their events durable.

    Args:
        journal: Where commits go.
        clock: Tells the time of decisions.
        ids: Names commits, and makes the salts of new users.
        on_commit: Called with a room and each commit applied to it, in order, before commands are answered.
        on_written: Called with the commits that were written together from here, before any of them is applied.
        max_pending: Commands that may wait, over all rooms; more are refused with `unavailable`.

    Attributes:
        counts: What it has done so far.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        ids: IdSource,
        on_commit: Callable[[Room, Commit], None],
        on_written: Callable[[Sequence[Commit]], None],
        max_pending: int,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._on_commit = on_commit
        self._on_written = on_written
        self._max_pending = max_pending
        self._salt = ids.new_salt()
        self.counts = Counts()
        self._dirty: dict[SessionId, Room] = {}
        self._wake = asyncio.Event()
        self._pace = Pace()

    def submit(self, room: Room, command: Command, *, first: bool = False) -> asyncio.Future[int]:
        """Let `command` be decided in its turn, or before all that waits (`first`).

        Returns:
            A future of the `seq` that holds once the command's events are durable. It fails with what the decider
            refuses, or with `UnavailableError` when the journal is out of reach.

        Raises:
            UnavailableError: Too many commands are waiting; this one was not taken.
        """
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.submit_for(room, command, answer, first=first)
        return answer

    def submit_for(self, room: Room, command: Command, answer: Answer, *, first: bool = False) -> None:
        """Let `command` be decided as `submit` does, and tell `answer` what would become of the future.

        Raises:
            UnavailableError: Too many commands are waiting; this one was not taken.
        """
        counts = self.counts
        if counts.waiting >= self._max_pending:
            raise UnavailableError("the database cannot keep up; try again")
        (room.pending.appendleft if first else room.pending.append)(Pending(command, answer, first))
        counts.waiting += 1
        self._mark(room)

    async def run(self) -> None:
        """Flush for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                try:
                    await self._flush_in_step()
                except Exception:  # noqa: BLE001
                    # A flush answers for its own failures; whatever reaches this point is a defect, and must not end
                    # the work of every other room.
                    _log.exception("flush_failed")

    async def _flush_in_step(self) -> None:
        window = self._pace.window(self._clock.monotonic())
        if window > 0:
            await self._clock.sleep(window)
        waiting, began = self.counts.waiting, self._clock.monotonic()
        await self._flush()
        self._pace.note(began, self._clock.monotonic(), waiting)

    async def refresh(self, room: Room) -> None:
        """Bring a room up to the journal, telling its subscribers what they have missed.

        Raises:
            OutcomeUnknownError: The journal does not answer.
        """
        commits = await self._journal.read(room.session_id, after=room.seq)
        for commit in commits:
            self._apply(room, commit)
        room.is_stale = False

    def take(self, room: Room, commit: Commit) -> bool:
        """Apply a commit that another node has made durable, if it is the very next one; tell whether it is known here.

        Whatever of this room is in flight meanwhile will find the place taken, and be decided again.
        """
        if commit.seq == room.seq + 1 and commit.prev_hash == room.head_hash:
            self._apply(room, commit)
        return commit.last_seq <= room.seq

    def _mark(self, room: Room) -> None:
        self._dirty[room.session_id] = room
        self._wake.set()

    def _apply(self, room: Room, commit: Commit, state: SessionState | None = None) -> None:
        if commit.seq != room.seq + 1:
            return  # a refresh has read it back from the journal before its writer came to apply it
        room.apply(commit, state)
        try:
            self._on_commit(room, commit)
        except Exception:  # noqa: BLE001
            # A defect in telling must not keep the commit, which is durable, from being answered.
            _log.exception("on_commit_failed", session=room.session_id)

    async def _flush(self) -> None:
        batches: list[_Batch] = []
        for session_id in list(self._dirty)[:MAX_ROOMS_PER_FLUSH]:
            room = self._dirty.pop(session_id)
            try:
                batch = await self._prepare(room) if room.pending else None
            except OutcomeUnknownError as error:
                # Waiting for the same silence once for each room would keep everybody waiting for minutes.
                _log.warning("journal_out_of_reach", session=session_id, rooms=len(self._dirty) + 1, error=str(error))
                self._refuse_everyone([room, *(batch.room for batch in batches)], batches)
                return
            if batch is not None:
                room.in_flight = True
                batches.append(batch)
        if batches:
            try:
                await self._write(batches)
            except Exception as defect:
                for batch in batches:
                    batch.room.is_stale = True
                    self._answer(batch, defect)
                raise
            finally:
                for batch in batches:
                    batch.room.in_flight = False

    async def _prepare(self, room: Room) -> _Batch | None:
        """Decide a room's commands; None, and everything is answered, where that leaves nothing to write.

        Raises:
            OutcomeUnknownError: The room has to be read again first, and the journal does not answer.
        """
        batch = _Batch(room)
        try:
            if room.is_stale:
                await self.refresh(room)
            self._decide(batch)
        except OutcomeUnknownError:
            raise
        except Exception as defect:  # noqa: BLE001
            # Such as an event that this version does not know: this room cannot go on, all others must.
            _log.exception("room_failed", session=room.session_id)
            self._fail(batch, defect)
        else:
            if batch.commit is not None:
                return batch
            self._answer(batch)
        return None

    def _refuse_everyone(self, rooms: list[Room], batches: list[_Batch]) -> None:
        """Refuse what waits in any room, decided or not; nothing of it has been written."""
        failure = UnavailableError("the database is out of reach; try again")
        for batch in batches:
            self._answer(batch, failure)
            batch.room.in_flight = False
        for room in (*rooms, *self._dirty.values()):
            self._fail(_Batch(room), failure)
        self._dirty.clear()

    def _fail(self, batch: _Batch, failure: Exception) -> None:
        """Answer what was decided of a room, and what still waits in it."""
        pending = batch.room.pending
        batch.asked += pending
        pending.clear()
        self._answer(batch, failure)

    def _decide(self, batch: _Batch) -> None:
        room, counts = batch.room, self.counts
        # One for all of them: what it finds out of the state, and of the time, holds from one command to the next.
        decision = Decision(room.session_id, room.state, self._clock.now(), self._salt)
        waiting, events, asked, outcomes = room.pending, decision.events, batch.asked, batch.outcomes
        while waiting and len(asked) < MAX_COMMANDS_PER_COMMIT and len(events) < _ENOUGH_EVENTS:
            pending = waiting.popleft()
            if pending.answer.done():
                counts.waiting -= 1  # nobody waits for it any more
                continue
            asked.append(pending)
            try:
                if decision.may_be_overdue:
                    decision.hear(AdvanceTime())  # what fell due before the command happens even if that is refused
                decision.hear(pending.command)
                outcomes.append(0 if decision.state is None else decision.state.seq)
            except CoordinatorError as refusal:
                outcomes.append(refusal)
            except Exception as defect:  # noqa: BLE001 - logged, and answered with
                _log.exception("decider_failed", session=room.session_id, command=type(pending.command).__name__)
                outcomes.append(defect)
            if decision.is_salt_used:  # hardly any command introduces a user, and a salt costs a system call
                self._salt = self._ids.new_salt()
                decision.salt, decision.is_salt_used = self._salt, False
        if waiting:
            self._mark(room)
        batch.state = decision.state
        if events:
            aliases = {} if room.state is None else room.state.aliases
            batch.commit = seal(CommitId(self._ids.new_id()), events, room.head_hash, aliases)

    async def _write(self, batches: list[_Batch]) -> None:
        commits = {batch.commit.id: batch.commit for batch in batches if batch.commit is not None}
        written = await self._append(list(commits.values()))
        if written:
            self._on_written([commit for commit in commits.values() if commit.id in written])
        for batch in batches:
            assert batch.commit is not None
            if written is None:
                batch.room.is_stale = True
                self._answer(batch, UnavailableError("the database is out of reach; repeat to find the outcome"))
            elif batch.commit.id in written:
                self.counts.commits += 1
                self.counts.events += len(batch.commit.events)
                self._apply(batch.room, batch.commit, batch.state)
                self._answer(batch)
            else:
                self._decide_again(batch)

    async def _append(self, commits: list[Commit]) -> set[CommitId] | None:
        """Write commits; return the ids of those that are in the journal, or None if that cannot be found out."""
        try:
            return set(await self._journal.append(commits))
        except OutcomeUnknownError as error:
            _log.warning("append_outcome_unknown", commits=len(commits), error=str(error))
        give_up_at = self._clock.monotonic() + _LOOKUP_SECONDS
        for pause in _LOOKUP_PAUSES_SECONDS:
            await self._clock.sleep(pause)
            if self._clock.monotonic() >= give_up_at:
                break
            try:
                written = set(await self._journal.written([commit.id for commit in commits]))
                missing = [commit for commit in commits if commit.id not in written]
                # The first try may still arrive; then this one finds its own commit there, which counts as written.
                return written | set(await self._journal.append(missing)) if missing else written
            except OutcomeUnknownError as error:
                _log.warning("append_lookup_failed", commits=len(commits), error=str(error))
        return None

    def _decide_again(self, batch: _Batch) -> None:
        # Somebody else wrote first. The cache is behind: read what they wrote, then decide the same commands again.
        self.counts.conflicts += 1
        _log.info("commit_conflict", session=batch.room.session_id)
        batch.room.is_stale = True
        asked, batch.asked = batch.asked, []
        waiting = batch.room.pending
        urgent = [waiting.popleft() for _ in range(len(waiting)) if waiting[0].is_first]
        waiting.extendleft(reversed([*urgent, *asked]))
        self._mark(batch.room)

    def _answer(self, batch: _Batch, failure: Exception | None = None) -> None:
        """Tell everybody whose command was decided the outcome, once: `failure`, or that of the command."""
        asked, batch.asked = batch.asked, []
        self.counts.waiting -= len(asked)
        outcomes = batch.outcomes if failure is None else repeat(failure)
        for pending, outcome in zip(asked, outcomes, strict=False):
            answer = pending.answer
            if answer.done():
                continue
            if isinstance(outcome, int):
                answer.set_result(outcome)
            else:
                answer.set_exception(outcome)
