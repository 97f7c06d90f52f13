"""One consumer on one connection: where it stands, and what it is sent next (SPEC section 3, `/recording`).

    catch up    from the journal, session by session, if it is new or its place in the stream is lost
    read back   from a stream of its own, until that meets the ring of the tail
    follow      the ring

Whatever goes wrong, it goes on from where it stands; `Delivered` removes what then comes twice and shows what is
missing, which is read from the journal. A commit that cannot be read is passed over, as it is by the stream: it must
not keep everything else from being heard. Must not know who may subscribe.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from coordinator.domain.cursors import START, CatchUpCursor, Cursor, Position, StreamCursor, cursor_text
from coordinator.domain.feed import FEED_EVENTS
from coordinator.domain.ids import SessionId, is_object_id
from coordinator.domain.ledger import SealedEvent, UnknownEventError
from coordinator.ports.audience import Subscriber
from coordinator.ports.clock import Clock
from coordinator.ports.commit_stream import CommitStream, InvalidPositionError, PositionLostError
from coordinator.ports.consumers import Consumer, Consumers
from coordinator.ports.journal import Journal, OutcomeUnknownError
from coordinator.services.background import BackgroundTasks
from coordinator.services.feed.acks import Acks, Progress
from coordinator.services.feed.delivered import Delivered
from coordinator.services.feed.tail import PAUSES_SECONDS, Arrival, Place, Tail, arrivals, opened
from coordinator.telemetry import get_logger

PAGE = 200
"""Events that are read from a session's journal at once, and sessions whose marks are."""
IDLE_MOVE_SECONDS = 10.0
"""How often the cursor of a consumer that has had everything is moved on, so that it does not grow too old."""
_FRESH_SECONDS = 5.0
"""The tail looks about every second; what has not been looked at for so long may be waiting."""

_UNREADABLE = (UnknownEventError, ValueError, TypeError, KeyError, AttributeError)
"""What the journal raises for a commit that no coordinator of this version wrote."""

_log = get_logger("feed")


@dataclass(frozen=True, slots=True)
class Sources:
    """What deliveries work with."""

    stream: CommitStream
    tail: Tail
    consumers: Consumers
    journal: Journal
    clock: Clock
    background: BackgroundTasks


@dataclass(slots=True)
class _CatchUp:
    """A catch-up with some sessions, or with all, from where it is at; then the stream is read.

    Attributes:
        position: From here on the stream is read.
        place: The same place in the ring, if it was taken there.
        scope: The sessions; None for all.
        session_id: The session that it is at; those before are done.
        seq: Up to where that is done.
    """

    position: Position
    place: Place | None
    scope: tuple[SessionId, ...] | None
    session_id: SessionId = START
    seq: int = 0


class Delivery:
    """Sends a consumer its records.

    Args:
        sources: Where they come from.
        consumer: The consumer as it is stored; its owner is this delivery.
        subscriber: The connection.
        on_lost: Called once it turns out that somebody else owns the consumer.
        on_defect: Called if it cannot go on.
    """

    def __init__(
        self,
        sources: Sources,
        consumer: Consumer,
        cursor: Cursor | None,
        subscriber: Subscriber,
        *,
        on_lost: Callable[["Delivery"], None],
        on_defect: Callable[["Delivery"], None],
    ) -> None:
        self._sources = sources
        self.consumer = consumer
        self.subscriber = subscriber
        self._on_defect = on_defect
        self._floor = {} if cursor is None or cursor.session_id in (None, START) else {cursor.session_id: cursor.seq}
        self._delivered = Delivered(consumer.name, sources.consumers, consumer.is_exact, self._floor)
        self.acks = Acks(
            consumer.name,
            consumer.owner,
            consumer.cursor,
            sources.consumers,
            sources.clock,
            sources.background,
            self._delivered.note_stored,
            lambda: on_lost(self),
        )
        self._position = None if cursor is None else cursor.position
        self._place: Place | None = None
        self._catch_up: _CatchUp | None = None
        if isinstance(cursor, CatchUpCursor):
            self._catch_up = _CatchUp(cursor.position, None, consumer.scope, cursor.session_id, cursor.seq)
        self._up_to = consumer.up_to
        self._unreadable: set[SessionId] = set()
        self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self._is_ended = False

    def start(self) -> None:
        """Begin to send; harmless to repeat."""
        if self._task is None and not self._is_ended:
            self._sources.tail.attach()
            self._task = self._sources.background.start(self._run(), f"feed of {self.consumer.name}")

    def end(self) -> None:
        """Send nothing more; harmless to repeat. What has been acked is still written."""
        if not self._is_ended and self._task is not None:
            self._task.cancel()
            self._sources.tail.detach()
        self._is_ended = True

    async def ended(self) -> None:
        """Wait until nothing of it runs any more."""
        if self._task is not None:
            await asyncio.wait([self._task])
        await self.acks.written()

    def tick(self) -> None:
        """Write what could not be written before; after a while with nothing to ack, move the stored cursor on."""
        self.acks.flush()
        if self._sources.clock.monotonic() - self.acks.written_at >= IDLE_MOVE_SECONDS and self.acks.is_idle:
            standing = self._standing()
            if standing is not None:
                self.acks.move_on(standing)

    def up_to(self) -> datetime:
        """Return since when it has not had everything: as old as its oldest record is, if one is not acked."""
        standing = self.acks.oldest or self._standing()
        return self.consumer.up_to if standing is None else standing.up_to

    def has_everything(self) -> bool:
        """Tell whether everything is acked, and nothing waits that could be known of."""
        tail = self._sources.tail
        silent = (self._sources.clock.now() - tail.read_at).total_seconds()
        return self.acks.is_idle and self._is_at_end() and silent < _FRESH_SECONDS

    def _is_at_end(self) -> bool:
        return self._catch_up is None and self._place is not None and self._sources.tail.is_end(self._place)

    def _standing(self) -> Progress | None:
        """Return where it stands; None if nobody knows. What it has of the next commit already, its marks tell."""
        tail = self._sources.tail
        if self._catch_up is not None:
            at = self._catch_up
            seq = max(at.seq, self._delivered.of(at.session_id))
            cursor: Cursor = CatchUpCursor(at.position, at.session_id, seq)
            return Progress(cursor_text(cursor), self._floor, self._up_to, at.scope is None)
        if self._position is None:
            return None
        position, up_to = self._position, self._up_to
        if tail.position is not None and self._is_at_end():
            position, up_to = tail.position, max(up_to, tail.read_at)
        return Progress(cursor_text(StreamCursor(position)), self._floor, up_to, is_caught_up=True)

    async def _run(self) -> None:
        try:
            while True:
                try:
                    await self._work()
                except (PositionLostError, InvalidPositionError) as error:
                    _log.warning("position_lost", consumer=self.consumer.name, error=str(error))
                    await self._begin_catch_up()
                except OutcomeUnknownError as error:
                    if self._failures == 0:
                        _log.warning("waiting_for_database", work="feed", error=str(error))
                    await self._sources.clock.sleep(PAUSES_SECONDS[min(self._failures, len(PAUSES_SECONDS) - 1)])
                    self._failures += 1
        except Exception:  # noqa: BLE001 - logged, and the client comes back
            _log.exception("delivery_failed", consumer=self.consumer.name)
            self._on_defect(self)

    async def _work(self) -> None:
        if self._catch_up is not None:
            await self._read_journal(self._catch_up)
        while True:
            batch = None if self._place is None else self._sources.tail.after(self._place)
            if batch is None or self._place is None:
                self._place = await self._read_back()
            elif batch:
                await self._follow(self._place, batch)
            else:
                await self._sources.tail.changed()

    async def _begin_catch_up(self) -> None:
        """Begin anew with every session, from what has been delivered of each."""
        place, position = await self._sources.tail.end()
        self._catch_up = _CatchUp(position, place, None)

    async def _read_journal(self, catch_up: _CatchUp) -> None:
        if catch_up.scope is None:
            known = [session_id async for session_id in self._sources.journal.session_ids()]
            sessions = sorted(filter(is_object_id, known))  # somebody may have put commits under something else
        else:
            sessions = sorted(catch_up.scope)
        # After a failure it goes on with the session that it was at.
        sessions = sessions[bisect_left(sessions, catch_up.session_id) :]
        for first in range(0, len(sessions), PAGE):
            chunk = sessions[first : first + PAGE]
            self._delivered.trim()
            starts = await self._delivered.start_of(chunk)
            for session_id in chunk:
                if session_id != catch_up.session_id:
                    catch_up.session_id, catch_up.seq = session_id, 0
                catch_up.seq = max(catch_up.seq, starts[session_id])
                await self._read_session(catch_up)
        self._position, self._place, self._catch_up = catch_up.position, catch_up.place, None

    async def _read_session(self, catch_up: _CatchUp) -> None:
        position, session_id = catch_up.position, catch_up.session_id
        while page := await self._events_after(session_id, catch_up.seq):
            self._failures = 0
            is_caught_up = catch_up.scope is None
            await self._send(page, lambda seq: CatchUpCursor(position, session_id, seq), is_caught_up=is_caught_up)
            catch_up.seq = page[-1].event.seq

    async def _events_after(self, session_id: SessionId, after: int) -> Sequence[SealedEvent]:
        """Return some of a session's next events, without those that cannot be read; none: there are no more."""
        journal = self._sources.journal
        try:
            return await journal.events_after(session_id, after, PAGE)
        except _UNREADABLE as error:
            if session_id not in self._unreadable:
                self._unreadable.add(session_id)
                _log.error("session_unreadable", consumer=self.consumer.name, session=session_id, error=str(error))
        while True:
            # One by one up to where it cannot be read; then on with the commit behind that.
            try:
                return await journal.events_after(session_id, after, 1)
            except _UNREADABLE:
                stored = [commit.get("seq") for commit in await journal.stored(session_id)]
                following = [seq for seq in stored if type(seq) is int and seq > after + 1]
                if not following:
                    return []
                after = min(following) - 1

    async def _read_back(self) -> Place:
        """Read a stream of its own from where it stands, until it meets the ring; return where it goes on there."""
        tail = self._sources.tail
        if self._position is None:
            raise PositionLostError("the stored cursor is not one of this version")
        async with opened(self._sources.stream, self._position) as stream:
            while True:
                # What is read into the ring before this place was durable before the private reader looks.
                place, _ = await tail.end()
                asked_at = self._sources.clock.now()
                before = stream.position
                batch = await stream.read()
                self._failures = 0
                if not batch:
                    self._position, self._up_to = stream.position, max(self._up_to, asked_at)
                    return place
                self._delivered.trim()
                await self._delivered.learn(streamed.commit for streamed in batch)
                for arrival in arrivals(before, self._up_to, batch):
                    await self._take(arrival)
                    met = tail.place_after(arrival.commit.id)
                    if met is not None:
                        return met

    async def _follow(self, place: Place, batch: Sequence[Arrival]) -> None:
        self._delivered.trim()
        await self._delivered.learn(arrival.commit for arrival in batch)
        for index, arrival in enumerate(batch, start=place.index + 1):
            await self._take(arrival)
            self._place = Place(place.generation, index)
        self._failures = 0

    async def _take(self, arrival: Arrival) -> None:
        """Send what a commit brings, and before it what is missing of its session."""
        commit = arrival.commit
        session_id = commit.session_id
        self._position = arrival.before
        self._up_to = max(self._up_to, arrival.since)
        had = self._delivered.of(session_id)
        while had < commit.seq - 1:
            page = await self._events_after(session_id, had)
            missing = [sealed for sealed in page if sealed.event.seq < commit.seq]
            if not missing:
                break  # nobody can read it, or this session's journal does not reach back so far any more
            await self._send(missing, lambda seq: StreamCursor(arrival.before, session_id, seq))
            had = missing[-1].event.seq

        def cursor_of(seq: int) -> Cursor:
            # The last one says it all with the commit's own place.
            is_last = seq == commit.last_seq
            return StreamCursor(arrival.position) if is_last else StreamCursor(arrival.before, session_id, seq)

        await self._send([sealed for sealed in commit.events if sealed.event.seq > had], cursor_of, commit.at)
        self._position = arrival.position
        self._up_to = max(self._up_to, commit.at)

    async def _send(
        self,
        events: Sequence[SealedEvent],
        cursor_of: Callable[[int], Cursor],
        up_to: datetime | None = None,
        *,
        is_caught_up: bool = True,
    ) -> None:
        """Send those of a session's next events that the feed carries.

        Args:
            events: The events.
            cursor_of: Makes the cursor of "up to this `seq`".
            up_to: With the last of them, the consumer has everything that was durable then; None: no more than before.
            is_caught_up: Whether the consumer needs its scope no more once it has acked one of them.
        """
        fed = [sealed for sealed in events if sealed.event.body.kind in FEED_EVENTS]
        for sealed in fed:
            # With the last one it has what follows that, too: nothing of it is in the feed.
            is_last = sealed is fed[-1]
            session_id, seq = sealed.event.session_id, (events[-1] if is_last else sealed).event.seq
            instant = max(self._up_to, up_to) if is_last and up_to is not None else self._up_to
            progress = Progress(cursor_text(cursor_of(seq)), {session_id: seq}, instant, is_caught_up)
            await self.acks.room()
            # From here on nothing is waited for: what is noted is sent.
            self._delivered.note(session_id, sealed.event.seq)
            self.acks.sent(progress)
            self.subscriber.notify("record", {"cursor": progress.cursor, "event": msgspec.Raw(sealed.json)})
        if events:
            self._delivered.note(events[-1].event.session_id, events[-1].event.seq)
