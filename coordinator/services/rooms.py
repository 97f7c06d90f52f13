"""The rooms of this node: found, filled from the journal, listened to, dropped when idle.

Owns the registry and what happens around every commit: telling listeners, marking projections, setting timers,
closing connections that lost their seat. What users may ask stands in `participation`.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from coordinator.domain.commands import AdvanceTime, Command, ReconnectParticipant
from coordinator.domain.deadlines import next_deadline
from coordinator.domain.errors import NotFoundError
from coordinator.domain.events import (
    Actor,
    EventBody,
    LeftReason,
    ParticipantDisconnected,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantReconnected,
    Role,
    SessionEnded,
)
from coordinator.domain.ids import ConnectionId, SessionId, SlotId, UserId, is_object_id
from coordinator.domain.ledger import Commit
from coordinator.domain.model import SESSION_KEPT, SessionStatus
from coordinator.domain.state import SessionState
from coordinator.ports.audience import Publisher, Subscriber
from coordinator.ports.clock import Clock
from coordinator.ports.identity import IdSource
from coordinator.ports.journal import Journal
from coordinator.services.background import BackgroundTasks
from coordinator.services.committer import Counts, GroupCommitter
from coordinator.services.insistence import Insistence
from coordinator.services.outages import silence_is_unavailable
from coordinator.services.projector import Projector
from coordinator.services.room import Answer, Room
from coordinator.telemetry import get_logger

ENDING_NOTICES_SECONDS = (300, 60)
"""How long before the scheduled end subscribers get `session_ending` (SPEC section 3)."""
_SHORTEST_TIMER_SECONDS = 0.001
_MOVES = frozenset({ParticipantJoined, ParticipantReconnected, ParticipantLeft, ParticipantDisconnected})
"""Events that give a seat to a connection, or take it away. All others are passed over: toggling must stay cheap."""

_log = get_logger("rooms")


class Rooms:
    """Every room in memory, and the one way to change a session.

    Args:
        journal: The truth.
        clock: Time.
        ids: Names commits.
        projector: Follows the journal.
        publisher: Tells subscribers.
        background: Where retries run.
        max_pending: Commands that may wait for the database.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        ids: IdSource,
        projector: Projector,
        publisher: Publisher,
        background: BackgroundTasks,
        max_pending: int,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._projector = projector
        self._publisher = publisher
        self._background = background
        self._committer = GroupCommitter(journal, clock, ids, self._after_commit, self._after_write, max_pending)
        self._insistence = Insistence(self.room, self._committer, clock, background)
        self._rooms: dict[SessionId, Room] = {}
        self._on_commit: list[Callable[[Room, Commit], None]] = []
        self._on_written: list[Callable[[Sequence[Commit]], None]] = []
        self._on_listened: list[Callable[[SessionId], None]] = []
        self._on_dropped: list[Callable[[SessionId], None]] = []

    def on_commit(self, callback: Callable[[Room, Commit], None]) -> None:
        """Call `callback` with a room and each commit that is applied to it, in order, whichever node wrote that.

        Subscribers have been told by then. What a room is filled with when it is loaded is not reported, and a process
        may die in between: this only makes soon what must be found out anyway.
        """
        self._on_commit.append(callback)

    def on_ended(self, callback: Callable[[SessionId, SlotId], None]) -> None:
        """Call `callback` with a session and its slot after each commit that ended it; otherwise as `on_commit`."""

        def report(room: Room, commit: Commit) -> None:
            state = room.state
            if state is None or state.is_live:
                return  # as nearly always: no need to look at the events
            if any(isinstance(sealed.event.body, SessionEnded) for sealed in commit.events):
                callback(room.session_id, state.time_slot_id)

        self.on_commit(report)

    def on_written(self, callback: Callable[[Sequence[Commit]], None]) -> None:
        """Call `callback` with the commits of each write of this node, once they are durable."""
        self._on_written.append(callback)

    def on_listened(self, callback: Callable[[SessionId], None]) -> None:
        """Call `callback` with a session each time that somebody begins to listen to it."""
        self._on_listened.append(callback)

    def on_dropped(self, callback: Callable[[SessionId], None]) -> None:
        """Call `callback` with each session whose room is dropped from memory."""
        self._on_dropped.append(callback)

    async def write(self) -> None:
        """Write what is submitted, for ever."""
        await self._committer.run()

    async def write_documents(self) -> None:
        """Bring the documents of all rooms up to what this node has acked.

        Raises:
            UnavailableError: The store is out of reach.
        """
        for room in self.loaded:
            # Also what another flush has taken and is still writing: only what is marked is waited for.
            if room.projected_seq < room.seq:
                self._projector.mark(room)
        with silence_is_unavailable():
            await self._projector.flush()

    @property
    def counts(self) -> Counts:
        """What has been written from here so far, and what waits."""
        return self._committer.counts

    @property
    def loaded(self) -> list[Room]:
        """The rooms in memory."""
        return list(self._rooms.values())

    def peek(self, session_id: SessionId) -> Room | None:
        """Return a room if it is in memory."""
        return self._rooms.get(session_id)

    async def room(self, session_id: SessionId) -> Room:
        """Return a session's room, filled from the journal if need be.

        Raises:
            NotFoundError: There is no such session, or it has vanished (`SESSION_KEPT`), though its journal be kept.
            UnavailableError: The journal is out of reach.
        """
        room = await self.room_or_new(session_id)
        if room.state is None or self._has_vanished(room.state):
            self._drop_if_idle(room)
            raise NotFoundError(f"there is no session {session_id}")
        return room

    async def room_or_new(self, session_id: SessionId) -> Room:
        """Return a session's room, an empty one if the session has no event yet.

        Raises:
            NotFoundError: The id has not the form of one.
            UnavailableError: The journal is out of reach.
        """
        known = self._rooms.get(session_id)
        if known is not None:
            if known.state is None:
                await self.refresh(known)  # opened since by another node, or by a commit that was taken for lost
            return known
        if not is_object_id(session_id):
            raise NotFoundError(f"there is no session {session_id[:40]!r}: an id has 24 hexadecimal digits")
        with silence_is_unavailable():
            commits = await self._journal.read(session_id)
        loaded = Room(session_id)
        for commit in commits:
            loaded.apply(commit)  # of a journal that cannot be read, no room stays behind
        # Someone else may have loaded it while we waited, and theirs may be further.
        room = self._rooms.setdefault(session_id, loaded)
        if room is not loaded and room.state is None:
            for commit in commits:
                room.apply(commit)
        if commits:
            assert room.state is not None
            if self._has_vanished(room.state):
                room.projected_seq = room.seq  # its documents have had their time, and must not come back
            self._follow(room)
        return room

    def new_room(self, session_id: SessionId) -> Room:
        """Return the room of a session that was named a moment ago, without looking whether it has an event yet."""
        return self._rooms.setdefault(session_id, Room(session_id))

    def _has_vanished(self, state: SessionState) -> bool:
        """Tell whether a session is too old to be found; one that is still to end never is, whatever its age."""
        return not state.is_live and state.created_at + SESSION_KEPT <= self._clock.now()

    def subscribe(self, room: Room, subscriber: Subscriber) -> None:
        """Let a participant's connection hear what happens in a room from now on."""
        room.subscribers[subscriber.connection_id] = subscriber
        self._listened(room)

    def watch(self, room: Room, watcher: Subscriber) -> None:
        """Let a moderator's connection hear what happens in a room from now on."""
        room.watchers[watcher.connection_id] = watcher
        self._listened(room)

    def take(self, commit: Commit) -> bool:
        """Take in a commit that another node has made durable; False if something before it is missing here.

        True also if nobody here has the session in memory.
        """
        room = self._rooms.get(commit.session_id)
        return room is None or self._committer.take(room, commit)

    def submit(self, room: Room, command: Command) -> asyncio.Future[int]:
        """Let a command happen; the future is the session's `seq` once everything it changed is durable.

        Commands of one room take effect in the order in which they are submitted. Nothing may be awaited between
        getting the room and submitting to it: an idle room may be dropped.

        Raises:
            UnavailableError: Too much is waiting for the database. The future fails with what refuses the command.
        """
        return self._committer.submit(room, command)

    def submit_for(self, room: Room, command: Command, answer: Answer) -> None:
        """Let a command happen as `submit` does, for someone who needs no future.

        Raises:
            UnavailableError: Too much is waiting for the database.
        """
        self._committer.submit_for(room, command, answer)

    def insist(self, session_id: SessionId, command: Command) -> None:
        """Let a command of the coordinator itself happen, if the database is away then as soon as it is back."""
        self._insistence.begin(session_id, command)

    async def refresh(self, room: Room) -> None:
        """Bring a room up to the journal, for readers that must not miss what another node wrote.

        Raises:
            UnavailableError: The journal is out of reach.
        """
        with room.in_use(), silence_is_unavailable():
            await self._committer.refresh(room)

    def drop_idle(self) -> None:
        """Drop the rooms that nobody would miss: a sweep finds what falls due for them later."""
        for room in self.loaded:
            self._drop_if_idle(room)

    def _drop_if_idle(self, room: Room) -> None:
        if room.is_idle:
            room.cancel_timers()
            if self._rooms.pop(room.session_id, None) is not None:
                for callback in self._on_dropped:
                    callback(room.session_id)

    def _listened(self, room: Room) -> None:
        for callback in self._on_listened:
            callback(room.session_id)

    def _after_write(self, commits: Sequence[Commit]) -> None:
        for callback in self._on_written:
            self._report(callback, commits)

    def _after_commit(self, room: Room, commit: Commit) -> None:
        try:
            self._publisher.publish(room.listeners, commit.events)
            for sealed in commit.events:
                if type(sealed.event.body) in _MOVES:
                    self._follow_move(room, sealed.event.body)
        finally:
            # Also after a defect in telling: documents, deadlines and attendance must not stand still for it.
            self._follow(room)
            for callback in self._on_commit:
                self._report(callback, room, commit)

    def _follow_move(self, room: Room, body: EventBody) -> None:
        """Close or take back the connections that an event takes a seat from."""
        if isinstance(body, ParticipantJoined | ParticipantReconnected):
            self._close_others(room, body.user_id, body.connection_id)
        elif isinstance(body, ParticipantLeft) and body.reason is LeftReason.REMOVED:
            self._close_others(room, body.user_id, None)
        elif isinstance(body, ParticipantLeft | ParticipantDisconnected):
            self._contradict(room, body)

    def _report(self, callback: Callable[..., None], *facts: object) -> None:
        try:
            callback(*facts)
        except Exception:  # noqa: BLE001 - a defect of one listener must not keep the next from hearing of it
            _log.exception("callback_failed", callback=callback.__qualname__)

    def _contradict(self, room: Room, body: ParticipantLeft | ParticipantDisconnected) -> None:
        """Take back what another node has written about a connection that is still open here.

        Such as when this process stood still for so long that it was taken for dead. Who has let go of a connection of
        its own has taken it from the subscribers before.
        """
        participant = None if room.state is None else room.state.participants.get(body.user_id)
        subscriber = None if participant is None else room.subscribers.get(participant.connection_id)
        if subscriber is None:
            return
        if isinstance(body, ParticipantDisconnected):
            actor = Actor(user_id=body.user_id, role=Role.PARTICIPANT)
            back = ReconnectParticipant(actor=actor, connection_id=subscriber.connection_id)
            # Before whatever the connection has asked for since: it has never been away. And not once it is gone: its
            # departure may have been decided while it was away, and nobody would take this back again.
            self._insistence.begin_first(room, back, lambda: _listens(subscriber, room))
        elif body.reason is LeftReason.TIMEOUT:
            del room.subscribers[subscriber.connection_id]
            subscriber.close("seat_lost")  # it comes back and takes a seat like anybody

    def _close_others(self, room: Room, user: UserId, keep: ConnectionId | None) -> None:
        """Close a user's seats in this room, but for one: the newest wins, and the removed have none.

        Watchers stay: a moderator may have the same user id as a participant.
        """
        for connection, subscriber in list(room.subscribers.items()):
            if subscriber.user_id == user and connection != keep:
                del room.subscribers[connection]
                if keep is None:
                    subscriber.close("removed")
                else:
                    close_replaced(subscriber, room.session_id)

    def _follow(self, room: Room) -> None:
        """Bring everything that hangs on a room's state after it."""
        self._projector.mark(room)
        self._set_timers(room)

    def _set_timers(self, room: Room) -> None:
        state = room.state
        if state is None:
            return
        deadline = next_deadline(state)
        if room.timed_for == (deadline, state.status):
            return
        room.cancel_timers()
        room.timed_for = (deadline, state.status)
        now = self._clock.now()
        if deadline is not None:
            seconds = max((deadline - now).total_seconds(), _SHORTEST_TIMER_SECONDS)
            room.timers.append(self._clock.call_later(seconds, lambda: self._fire(room)))
        if state.status is SessionStatus.ACTIVE:
            for notice in ENDING_NOTICES_SECONDS:
                seconds = (state.scheduled_end - timedelta(seconds=notice) - now).total_seconds()
                if seconds > 0:
                    announce = partial(self._announce_end, room, notice)
                    room.timers.append(self._clock.call_later(seconds, announce))

    def _announce_end(self, room: Room, seconds_left: int) -> None:
        payload = {"sessionId": room.session_id, "secondsLeft": seconds_left}
        self._publisher.announce(room.listeners, "session_ending", payload)

    def _fire(self, room: Room) -> None:
        self._background.start(self._advance(room), f"deadline {room.session_id}")

    async def _advance(self, room: Room) -> None:
        await self._insistence.finish(room.session_id, AdvanceTime())
        if self._rooms.get(room.session_id) is not room:
            return  # dropped meanwhile: whoever loaded the session anew has timers, and this state will never move on
        # Timers run on the stopwatch, deadlines on the wall clock: if it was a little early, there is another time.
        room.timed_for = None
        self._set_timers(room)


def _listens(subscriber: Subscriber, room: Room) -> bool:
    return room.subscribers.get(subscriber.connection_id) is subscriber


def close_replaced(subscriber: Subscriber, session_id: SessionId) -> None:
    """Close a connection in whose place a newer one of the same user is."""
    subscriber.notify("replaced", {"sessionId": session_id})
    subscriber.close("replaced")
