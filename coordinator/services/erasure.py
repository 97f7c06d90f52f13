"""Erasing a user: a pseudonym takes the user's place in everything that is stored, and every proof still holds.

Owns the order of the steps and which sessions they concern; what is replaced by what is `domain.erasure`. Works beside
running coordinators, straight on the journal: the word `user_erased` is appended like any commit, and whoever meets
another commit there reads again. Each step may be repeated, and the first mention of a user in a log is the last that
goes: whatever is cut short is found and finished by the next call.
"""

from collections.abc import Sequence
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from coordinator.domain.commands import EraseUser
from coordinator.domain.decide import decide
from coordinator.domain.erasure import UnfitForErasureError, is_about, names, rewritten_without
from coordinator.domain.errors import InvalidRequestError, NotFoundError, SlotOverError
from coordinator.domain.evolve import fold
from coordinator.domain.ids import CommitId, SessionId, UserId, is_object_id
from coordinator.domain.ledger import Commit, UnknownEventError, seal
from coordinator.domain.model import SESSION_KEPT, RegistrationStatus
from coordinator.domain.pseudonyms import is_pseudonym, random_pseudonym
from coordinator.domain.state import SessionState
from coordinator.domain.transitions import IllegalTransitionError
from coordinator.ports.bookings import Bookings, RegistrationQuery
from coordinator.ports.clock import Clock
from coordinator.ports.identity import IdSource
from coordinator.ports.journal import Journal
from coordinator.ports.projections import Projections
from coordinator.services.booking import Booking
from coordinator.services.catching_up import snapshot_of

_PAGE = 100
"""Registrations that are read at a time."""
_UNREADABLE = (UnknownEventError, IllegalTransitionError, ValueError, TypeError, KeyError, AttributeError)
"""What reading a journal raises that is not as a coordinator of this version wrote it."""
_REJOINED = "the user came into it, or acted in it, while this was being done; repeat it once the session is over"
_NO_JOURNAL = "a participant's document names the user, and its journal is gone; see `coordinator verify`"
_UNSALTED = "it was written before users had salts: its hash chain covers the id itself"


class Left(msgspec.Struct, frozen=True):
    """A session in which the user is, or may be, still named, and why."""

    session_id: SessionId
    reason: str


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure has done.

    Attributes:
        sessions: Sessions that named the user.
        commits: Commits that were written anew.
        cancelled: Coming registrations that were cancelled first.
        registrations: Registrations that bear a pseudonym from now on.
        left: What could not be done.
    """

    sessions: int
    commits: int
    cancelled: int
    registrations: int
    left: tuple[Left, ...]

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing about the user."""
        return not (self.sessions or self.registrations or self.left)


class Erasure:
    """Erases users.

    Args:
        journal: The journal.
        projections: The documents of sessions and participants.
        bookings: The registrations.
        booking: Cancels those that are still to come.
        clock: Time.
        ids: Names commits, and makes a pseudonym for registrations.
    """

    def __init__(
        self,
        journal: Journal,
        projections: Projections,
        bookings: Bookings,
        booking: Booking,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._journal = journal
        self._projections = projections
        self._bookings = bookings
        self._booking = booking
        self._clock = clock
        self._ids = ids

    async def erase(self, user_id: UserId) -> Erased:
        """Erase a user from every session and registration. Reads the whole journal, which may take long.

        Where it ends early, nothing is lost: the next call goes on.

        Raises:
            InvalidRequestError: The user has a part in a session that is not over, or the id is a pseudonym; nothing
                has changed.
            OutcomeUnknownError, UnavailableError: The database is out of reach.
        """
        if is_pseudonym(user_id):
            raise InvalidRequestError("user: this already stands for a user who was erased", field="user")
        sessions, left = await self._sessions_of(user_id)
        cancelled = await self._cancel_coming(user_id)
        commits = 0
        for session_id in sessions:
            try:
                commits += await self._erase_from(session_id, user_id)
                if names(await self._journal.read(session_id), user_id):
                    left.append(Left(session_id, _UNSALTED))
            except (UnfitForErasureError, *_UNREADABLE) as error:
                left.append(Left(session_id, f"{error}; see `coordinator verify`"))
        registrations = await self._bookings.rename(user_id, random_pseudonym(self._ids.new_salt()))
        found = Erased(
            sessions=len(sessions), commits=commits, cancelled=cancelled, registrations=registrations, left=tuple(left)
        )
        return await self.look_again(user_id, found)

    async def look_again(self, user_id: UserId, erased: Erased) -> Erased:
        """Rebuild documents that name a user who is erased from their session's journal; return what is done then.

        A coordinator that read the journal before may write a participant's document after: it will not do so again.

        Raises:
            OutcomeUnknownError: The database is out of reach.
        """
        known = {left.session_id for left in erased.left}
        left: list[Left] = []
        rebuilt = 0
        last: SessionId | None = None
        while found := await self._projections.sessions_of(user_id, last, _PAGE):
            last = found[-1]
            for session_id in found:
                if session_id in known:
                    continue
                reason = await self._rebuild(session_id, user_id)
                rebuilt += reason is None
                left += [] if reason is None else [Left(session_id, reason)]
        return replace(erased, sessions=erased.sessions + rebuilt, left=(*erased.left, *left))

    async def _rebuild(self, session_id: SessionId, user_id: UserId) -> str | None:
        """Make a session's documents what its journal says, if that does not name the user; return why not."""
        try:
            commits = await self._journal.read(session_id)
            if not commits:
                return _NO_JOURNAL
            if names(commits, user_id):
                return _REJOINED
            await self._write_documents(_state_of(commits))
        except _UNREADABLE as error:
            return f"it cannot be read: {error}; see `coordinator verify`"
        return None

    async def _sessions_of(self, user_id: UserId) -> tuple[list[SessionId], list[Left]]:
        """Return the sessions that name a user, all of them over, and those of which that cannot be said.

        Raises:
            InvalidRequestError: Not all of them are over.
        """
        found: list[SessionId] = []
        live: list[SessionId] = []
        left: list[Left] = []
        # The journal knows more than the documents: they may be late, and whoever only acted has none.
        async for session_id in self._journal.session_ids():
            try:
                commits = await self._journal.read(session_id) if is_object_id(session_id) else []
                if names(commits, user_id):
                    (live if _state_of(commits).is_live else found).append(session_id)
            except _UNREADABLE as error:
                left.append(Left(session_id, f"it cannot be read: {error}; see `coordinator verify`"))
        if live:
            raise InvalidRequestError(
                f"user: {user_id} has a part in what is not over yet: session {', '.join(sorted(live))}; "
                "end it, or let a running coordinator end it on time, and repeat",
                field="user",
            )
        return found, left

    async def _cancel_coming(self, user_id: UserId) -> int:
        """Cancel what the user is registered for and could still cancel, so that the seats are free."""
        cancelled = 0
        query = RegistrationQuery(user_id=user_id, limit=_PAGE)
        while registrations := await self._bookings.page(query):
            for registration in registrations:
                # One that is cancelled is cancelled again: an earlier call may not have come to counting the seats.
                with suppress(SlotOverError, NotFoundError):  # or its slot is gone
                    await self._booking.cancel(registration.time_slot_id, user_id)
                    cancelled += registration.status is not RegistrationStatus.CANCELLED
            query = replace(query, after=registrations[-1].id)
        return cancelled

    async def _erase_from(self, session_id: SessionId, user_id: UserId) -> int:
        """Erase a user from a session that is over; return how many commits were written anew.

        Raises:
            UnfitForErasureError: The session's journal is not what was written; nothing has changed.
        """
        said = await self._say_so(session_id, user_id)
        if is_about(said, user_id):
            # While a mention is left in the log: whoever repeats this finds the session by that.
            await self._write_documents(_state_of(said))
        written = 0
        for commit in rewritten_without(said, user_id):
            written += await self._journal.replace(commit)
        return written

    async def _say_so(self, session_id: SessionId, user_id: UserId) -> Sequence[Commit]:
        """Let a session's log say that a participant is erased, if it does not yet; return the log then."""
        while True:
            commits = [*await self._journal.read(session_id)]
            if not commits or not rewritten_without(commits, user_id):
                return []
            state = _state_of(commits)
            if user_id not in state.aliases:
                return commits
            if state.started_at is not None:
                # What `settlement` does when a session has ended: it may not have come to it, and knows users by id.
                await self._bookings.record_attendance(state.time_slot_id, state.participants.keys())
            decision = decide(session_id, state, EraseUser(user_id=user_id), self._clock.now(), self._ids.new_salt())
            commit = seal(CommitId(self._ids.new_id()), decision.events, commits[-1].hash, state.aliases)
            if await self._journal.append([commit]):
                return [*commits, commit]

    async def _write_documents(self, state: SessionState) -> None:
        while True:
            expected = snapshot_of(state)
            if state.created_at + SESSION_KEPT <= self._clock.now():
                # The session's own document has vanished, or is about to.
                await self._projections.rebuild_participants(state.session_id, expected.participants)
            else:
                await self._projections.rebuild(expected.session, expected.participants)
            # What was committed meanwhile, its node may have written before we did: then ours is the older one.
            later = await self._journal.read(state.session_id, after=state.seq)
            if not later:
                return
            state = _state_of(later, state)


def _state_of(commits: Sequence[Commit], before: SessionState | None = None) -> SessionState:
    state = fold((sealed.event for commit in commits for sealed in commit.events), before)
    assert state is not None
    return state
