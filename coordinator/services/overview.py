"""Moderators who watch all sessions: a summary of each live one, whenever it changes (SPEC section 3, `/moderation`).

Owns who gets summaries, when they are sent, and finding out what other nodes have done: while anybody watches, each
second one look at the documents tells which sessions have moved on elsewhere. What that costs depends on the number of
live sessions, and on how many of them moved, not on the number of watchers. Nobody watches: nothing is done.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from coordinator.domain.errors import NotFoundError, UnavailableError
from coordinator.domain.ids import ConnectionId, SessionId
from coordinator.domain.ledger import Commit
from coordinator.domain.model import SessionStatus
from coordinator.ports.audience import Publisher, Subscriber
from coordinator.ports.clock import Clock, Timer
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.ports.projections import Projections, SessionQuery
from coordinator.protocol.summaries import summary_to_wire
from coordinator.services.background import BackgroundTasks, at_once
from coordinator.services.outages import silence_is_unavailable
from coordinator.services.room import Room
from coordinator.services.rooms import Rooms
from coordinator.telemetry import get_logger

SUMMARY_SECONDS = 0.25
"""Between two summaries of one session at least."""
PAGE_SESSIONS = 200
"""Documents that are read at once."""
_ANSWER_BYTES = 262_144
"""Of summaries that an answer holds at most, well below what may wait for a client; the others follow it."""
_HEAD_BYTES, _SEAT_BYTES = 512, 256
"""What a summary takes at most, nearly always, and each seat in it."""
_REST_SESSIONS = 32
_REST_SECONDS = 0.02
"""Those others follow so many at once, and so far apart: a client that reads is never taken for one that does not."""
_LOADS_AT_ONCE = 16

_log = get_logger("overview")


class Overlook(msgspec.Struct, frozen=True):
    """Live sessions at one instant: the summaries of some, and which others there are."""

    server_time: datetime
    summaries: list[dict[str, Any]]
    others: list[SessionId]


@dataclass(slots=True, eq=False)
class _Overseen:
    """A live session, or one whose last summary is still to be sent.

    Attributes:
        room: Its room, which is kept in memory.
        told_seq: Up to where every watcher knows it, or will once `timer` has gone off.
        sent_at: When its last summary was sent, by the stopwatch.
        timer: Sends the next one.
    """

    room: Room
    told_seq: int = 0
    sent_at: float = -SUMMARY_SECONDS
    timer: Timer | None = None


class Overview:
    """Summaries of all live sessions for those who watch them all.

    Args:
        rooms: The rooms of this node; those of live sessions are kept in memory while anybody watches.
        projections: Where the live sessions of all nodes are found.
        publisher: Tells watchers.
        clock: Time.
        background: Where what follows an answer is sent.
    """

    def __init__(
        self, rooms: Rooms, projections: Projections, publisher: Publisher, clock: Clock, background: BackgroundTasks
    ) -> None:
        self._rooms = rooms
        self._projections = projections
        self._publisher = publisher
        self._clock = clock
        self._background = background
        self._watchers: dict[ConnectionId, Subscriber] = {}
        self._overseen: dict[SessionId, _Overseen] = {}
        self._unreadable: set[SessionId] = set()
        self._is_overseeing = False
        self._taking_stock = asyncio.Lock()
        rooms.on_commit(self._committed)

    async def watch(self, subscriber: Subscriber) -> Overlook:
        """Start sending summaries; return those of all live sessions. Repeated, it returns them anew.

        What another node did within about the last second may be missing; its summary follows. After the answer has
        been sent, `send_others` is to be called.

        Raises:
            UnavailableError: The database is out of reach.
        """
        async with self._taking_stock:
            if not self._is_overseeing:
                self._is_overseeing = True  # from here on, what is committed meanwhile is not missed
                try:
                    await self._take_stock()
                except BaseException:
                    self._stop_overseeing()
                    raise
            self._watchers[subscriber.connection_id] = subscriber
            return self._overlook()

    def send_others(self, subscriber: Subscriber, others: Iterable[SessionId]) -> None:
        """Send the summaries that were not part of an answer, as `session_summary`."""
        left = list(others)
        if left:
            self._background.start(self._send_others(subscriber, left), f"summaries for {subscriber.connection_id}")

    def unwatch(self, subscriber: Subscriber) -> None:
        """Send no more summaries; harmless if the subscriber does not watch."""
        self._watchers.pop(subscriber.connection_id, None)
        if not self._watchers and not self._taking_stock.locked():
            self._stop_overseeing()

    async def look(self) -> None:
        """Find out what other nodes have done, if anybody watches all sessions.

        Raises:
            OutcomeUnknownError, UnavailableError: The database is out of reach.
        """
        async with self._taking_stock:
            if self._watchers:
                await self._bring_up(self._not_seen(await self._stored_seqs()))
            if not self._watchers:
                self._stop_overseeing()

    async def _take_stock(self) -> None:
        with silence_is_unavailable():
            stored = await self._stored_seqs()
            for room in self._rooms.loaded:
                self._note(room)  # documents may be a little late, also for what this node did
            await self._bring_up(self._not_seen(stored))

    async def _stored_seqs(self) -> dict[SessionId, int]:
        """Return how far each live session has come, as its document tells."""
        seqs: dict[SessionId, int] = {}
        for status in (SessionStatus.WAITING, SessionStatus.ACTIVE):
            query = SessionQuery(status=status, limit=PAGE_SESSIONS)
            while page := await self._projections.page(query):
                seqs |= {session.id: max(session.seq, seqs.get(session.id, 0)) for session in page}
                if len(page) < PAGE_SESSIONS:
                    break
                query = msgspec.structs.replace(query, after=(page[-1].created_at, page[-1].id))
        return seqs

    def _not_seen(self, stored: dict[SessionId, int]) -> set[SessionId]:
        """Return the sessions that have moved on since we saw them, are new to us, or are no longer live."""
        moved = {session_id for session_id, seq in stored.items() if seq > self._seen_seq(session_id)}
        gone = {
            session_id
            for session_id, overseen in self._overseen.items()
            if session_id not in stored and overseen.timer is None
        }
        return moved | gone if self._is_overseeing else set()

    def _seen_seq(self, session_id: SessionId) -> int:
        overseen = self._overseen.get(session_id)
        return 0 if overseen is None else overseen.room.seq

    async def _bring_up(self, sessions: Iterable[SessionId]) -> None:
        await at_once(_LOADS_AT_ONCE, sessions, self._bring_up_one)

    async def _bring_up_one(self, session_id: SessionId) -> None:
        """Bring a session's room up to the journal; one that cannot be read is said once, and hides no other."""
        try:
            room = await self._rooms.room(session_id)
            await self._rooms.refresh(room)
        except (OutcomeUnknownError, UnavailableError):
            raise
        except Exception as failure:  # noqa: BLE001
            if session_id not in self._unreadable:
                self._unreadable.add(session_id)
                is_missing = isinstance(failure, NotFoundError)
                _log.warning("session_not_overseen", session=session_id, is_missing=is_missing, error=str(failure))
        else:
            self._note(room)

    def _committed(self, room: Room, _commit: Commit) -> None:
        if self._is_overseeing:
            self._note(room)

    def _note(self, room: Room) -> None:
        """See to it that watchers hear of what is new of a session that is live, or was when we saw it last."""
        overseen = self._overseen.get(room.session_id)
        if overseen is None:
            if not self._is_overseeing or room.state is None or not room.state.is_live:
                return
            room.keep()
            overseen = self._overseen[room.session_id] = _Overseen(room)
        # Whoever comes to watch while there is no watcher yet finds it in the answer.
        if self._watchers and overseen.timer is None and room.seq > overseen.told_seq:
            wait = overseen.sent_at + SUMMARY_SECONDS - self._clock.monotonic()
            overseen.timer = self._clock.call_later(max(wait, 0.0), lambda: self._send(overseen))

    def _send(self, overseen: _Overseen) -> None:
        state = overseen.room.state
        assert state is not None
        overseen.timer = None
        overseen.told_seq = state.seq
        overseen.sent_at = self._clock.monotonic()
        self._publisher.announce(self._watchers.values(), "session_summary", summary_to_wire(state, self._clock.now()))
        if not state.is_live:
            self._let_go(overseen)

    async def _send_others(self, subscriber: Subscriber, others: list[SessionId]) -> None:
        for first in range(0, len(others), _REST_SESSIONS):
            for session_id in others[first : first + _REST_SESSIONS]:
                overseen = self._overseen.get(session_id)
                if self._watchers.get(subscriber.connection_id) is not subscriber:
                    return
                if overseen is not None and overseen.room.state is not None:
                    subscriber.notify("session_summary", summary_to_wire(overseen.room.state, self._clock.now()))
            await self._clock.sleep(_REST_SECONDS)

    def _overlook(self) -> Overlook:
        now = self._clock.now()
        summaries: list[dict[str, Any]] = []
        others: list[SessionId] = []
        size = 0
        for session_id, overseen in self._overseen.items():
            state = overseen.room.state
            if state is None or not state.is_live:
                continue
            if overseen.timer is None:
                overseen.told_seq = state.seq
            size += _HEAD_BYTES + _SEAT_BYTES * state.seats_taken
            if size > _ANSWER_BYTES:
                others.append(session_id)
            else:
                summaries.append(summary_to_wire(state, now))
        return Overlook(server_time=now, summaries=summaries, others=others)

    def _let_go(self, overseen: _Overseen) -> None:
        if overseen.timer is not None:
            overseen.timer.cancel()
        overseen.room.let_go()
        self._overseen.pop(overseen.room.session_id, None)

    def _stop_overseeing(self) -> None:
        self._is_overseeing = False
        for overseen in list(self._overseen.values()):
            self._let_go(overseen)
