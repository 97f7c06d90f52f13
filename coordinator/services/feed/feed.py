"""Who reads the feed here: consumers subscribe, are taken over, and go (SPEC section 3, `/recording`).

Owns the registry and how a subscription begins. Must not know what is sent: that stands in `delivery`.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from coordinator.domain.cursors import CatchUpCursor, Cursor, Position, cursor_text, read_cursor
from coordinator.domain.errors import InvalidRequestError, UnavailableError
from coordinator.domain.ids import ConnectionId, SessionId
from coordinator.ports.audience import Subscriber
from coordinator.ports.clock import Clock
from coordinator.ports.commit_stream import CommitStream, InvalidPositionError, PositionLostError
from coordinator.ports.consumers import Consumer, Consumers
from coordinator.ports.journal import Journal, OutcomeUnknownError
from coordinator.ports.projections import Projections
from coordinator.services.background import BackgroundTasks, every
from coordinator.services.feed.delivery import Delivery, Sources
from coordinator.services.feed.tail import Tail, opened
from coordinator.services.outages import silence_is_unavailable
from coordinator.services.rooms import Rooms
from coordinator.telemetry import get_logger

BEGINNING = "beginning"
"""The `after` that asks for everything that is kept."""
_ROUND_SECONDS = 1.0
_CONSUMER = re.compile(r"[A-Za-z0-9._-]{1,64}")

_log = get_logger("feed")


class Subscribed(msgspec.Struct, frozen=True):
    """How a subscription began.

    Attributes:
        consumer: The consumer.
        cursor: What follows after this is sent.
        origin: What decided that: `resumed` (the stored cursor), `new`, `cursor` (the one that was asked for) or
            `beginning`.
    """

    consumer: str
    cursor: str
    origin: str


class ConsumerLag(msgspec.Struct, frozen=True, kw_only=True):
    """How far a consumer is behind.

    Attributes:
        name: The consumer.
        seconds: It has acked everything that was durable so long ago.
        unacked: How many records are in flight from this node.
        is_connected: Whether it is connected to this node.
    """

    name: str
    seconds: float
    unacked: int
    is_connected: bool


@dataclass(slots=True, eq=False)
class _Attempt:
    """A connection that is about to subscribe; it may go meanwhile."""

    connection: ConnectionId
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a subscription begins if the stored cursor does not decide it."""

    cursor: Cursor
    origin: str
    is_exact: bool
    scope: tuple[SessionId, ...] | None = None


class Feed:
    """The consumers that are connected to this node.

    Args:
        stream: All commits, as they become durable.
        consumers: Who reads, and how far each has come.
        journal: The truth.
        projections: Name the sessions that are live.
        rooms: Let the documents tell also of those that have only just begun.
        clock: Time.
        background: Where deliveries run.
    """

    def __init__(
        self,
        stream: CommitStream,
        consumers: Consumers,
        journal: Journal,
        projections: Projections,
        rooms: Rooms,
        clock: Clock,
        background: BackgroundTasks,
    ) -> None:
        self._stream = stream
        self._consumers = consumers
        self._projections = projections
        self._rooms = rooms
        self._clock = clock
        self._background = background
        tail = Tail(stream, clock, background)
        self._sources = Sources(stream, tail, consumers, journal, clock, background)
        self._deliveries: dict[str, Delivery] = {}
        self._by_connection: dict[ConnectionId, tuple[Delivery, Subscribed]] = {}
        self._attempts: list[_Attempt] = []
        self._order = asyncio.Lock()
        self._moves = 0
        self._is_stopped = False

    async def run(self) -> None:
        """Look each second whether the consumers here are still ours, and move idle cursors on; for ever."""
        await every(self._clock, _ROUND_SECONDS, self._look_after_all, "feed")

    async def subscribe(self, subscriber: Subscriber, consumer: str, after: str | None) -> Subscribed:
        """Let a connection read in a consumer's name; nothing is sent before `start`.

        Args:
            subscriber: The connection. An older one of this consumer is closed, on whatever node it is.
            consumer: Its name: 1 to 64 of `[A-Za-z0-9._-]`.
            after: The cursor after which to begin, or `beginning`; None: where the consumer left off, and if nobody
                knows it, with all that has happened so far in the sessions that are live now.

        Raises:
            InvalidRequestError: `consumer` or `after` is malformed, `after` is of another store, or this connection
                reads for another consumer already. Nothing has changed.
            UnavailableError: The database is out of reach, or another connection came between. This one may have to
                subscribe anew; it is closed if the other was the newer.
        """
        if _CONSUMER.fullmatch(consumer) is None:
            raise InvalidRequestError(
                "consumer: must be 1 to 64 of letters, digits, '.', '_' and '-'", field="consumer"
            )
        asked = _read_after(after)
        with self._attempt(subscriber.connection_id) as attempt:
            async with self._order:
                mine = self._by_connection.get(subscriber.connection_id)
                if mine is not None and mine[1].consumer != consumer:
                    raise InvalidRequestError(
                        f"consumer: this connection reads for {mine[1].consumer} already", field="consumer"
                    )
                if mine is not None and after is None:
                    return mine[1]
                with silence_is_unavailable():
                    return await self._subscribe(subscriber, attempt, consumer, after, asked)

    def start(self, subscriber: Subscriber) -> None:
        """Begin to send to a connection that has been told that it is subscribed; harmless to repeat."""
        mine = self._by_connection.get(subscriber.connection_id)
        if mine is not None:
            mine[0].start()

    async def ack(self, subscriber: Subscriber, cursor: str) -> str:
        """Note that everything up to `cursor` has been processed; return the cursor that is stored, durably, now.

        A cursor that is not in flight on this connection changes nothing.

        Raises:
            InvalidRequestError: `cursor` is malformed, or this connection does not read for any consumer (any more).
            UnavailableError: The database is out of reach, and repeating finds out or does it; or the server stops.
        """
        if read_cursor(cursor) is None:
            raise InvalidRequestError("cursor: must be the cursor of a record", field="cursor")
        mine = self._by_connection.get(subscriber.connection_id)
        if mine is None and self._is_stopped:
            raise UnavailableError("this server is stopping; subscribe elsewhere")
        if mine is None:
            raise InvalidRequestError("this connection reads for no consumer; subscribe first")
        return await mine[0].acks.ack(cursor)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a connection that is gone; harmless to repeat."""
        for attempt in self._attempts:
            attempt.is_gone |= attempt.connection == subscriber.connection_id
        mine = self._by_connection.get(subscriber.connection_id)
        if mine is not None:
            self._remove(mine[0])

    async def lags(self) -> Sequence[ConsumerLag]:
        """Return how far every consumer is behind, by name.

        Raises:
            UnavailableError: The database is out of reach.
        """
        with silence_is_unavailable():
            return [self._lag_of(consumer) for consumer in await self._consumers.all()]

    async def stop(self) -> None:
        """End all deliveries; what has been acked is written, and stored cursors stay."""
        self._is_stopped = True
        deliveries = list(self._deliveries.values())
        for delivery in deliveries:
            self._remove(delivery)
        for delivery in deliveries:
            await delivery.ended()

    async def _subscribe(
        self, subscriber: Subscriber, attempt: _Attempt, name: str, after: str | None, asked: Cursor | str | None
    ) -> Subscribed:
        start = None if asked is None else await self._start_at(asked)
        owner = subscriber.connection_id
        mine = self._by_connection.get(owner)
        if mine is not None:
            # What this connection has acked so far, and is still being written, must not undo the move.
            self._moves += 1
            owner = ConnectionId(f"{owner}.{self._moves}")
            self._remove(mine[0])
        known = await self._consumers.claim(name, owner)
        was_known = known is not None
        is_fresh = known is None or after not in (None, known.cursor)
        is_ours = True
        if known is None or is_fresh:
            start = start or await self._start_live()
            known = Consumer(
                name=name,
                owner=owner,
                cursor=cursor_text(start.cursor),
                is_exact=start.is_exact,
                scope=start.scope,
                up_to=self._clock.now() if known is None else known.up_to,
            )
            is_ours = await self._consumers.begin(known)
        if attempt.is_gone or self._is_stopped:
            raise UnavailableError("this connection is being closed")
        if not is_ours:
            raise _overtaken(subscriber, name, was_known)
        self._replace(name)
        delivery = Delivery(
            self._sources,
            known,
            read_cursor(known.cursor),
            subscriber,
            on_lost=self._look_after_soon,
            on_defect=self._give_up,
        )
        subscribed = Subscribed(name, known.cursor, start.origin if is_fresh and start is not None else "resumed")
        self._deliveries[name] = delivery
        self._by_connection[subscriber.connection_id] = (delivery, subscribed)
        _log.info("subscribed", consumer=name, connection=owner, origin=subscribed.origin)
        return subscribed

    async def _start_at(self, asked: Cursor | str) -> _Start:
        """Return where to begin for an `after`."""
        if not isinstance(asked, str):
            try:
                async with opened(self._stream, asked.position):
                    return _Start(asked, "cursor", is_exact=False)
            except InvalidPositionError as error:
                raise InvalidRequestError("after: is not a cursor of this feed", field="after") from error
            except PositionLostError:
                _log.warning("position_lost", cursor=cursor_text(asked))
        return _Start(CatchUpCursor(await self._now()), BEGINNING, is_exact=True)

    async def _start_live(self) -> _Start:
        """Return where a new consumer begins: with all of what is live now.

        What is missing among that is found by its next commit, which shows that nothing of it has been delivered.
        """
        position = await self._now()
        await self._rooms.write_documents()
        live = await self._projections.live()
        return _Start(CatchUpCursor(position), "new", is_exact=True, scope=tuple(sorted(live)))

    async def _now(self) -> Position:
        async with opened(self._stream, None) as stream:
            return stream.position

    @contextmanager
    def _attempt(self, connection: ConnectionId) -> Iterator[_Attempt]:
        attempt = _Attempt(connection)
        self._attempts.append(attempt)
        try:
            yield attempt
        finally:
            self._attempts.remove(attempt)

    async def _look_after_all(self) -> None:
        deliveries = list(self._deliveries.values())
        if deliveries:
            await self._check_owners(deliveries)
        for delivery in self._deliveries.values():
            delivery.tick()

    def _look_after_soon(self, delivery: Delivery) -> None:
        self._background.start(self._look_after(delivery), f"owner of {delivery.consumer.name}")

    async def _look_after(self, delivery: Delivery) -> None:
        try:
            await self._check_owners([delivery])
        except OutcomeUnknownError as error:
            _log.warning("waiting_for_database", work="feed", error=str(error))  # a round will come

    async def _check_owners(self, deliveries: Sequence[Delivery]) -> None:
        owners = await self._consumers.owners([delivery.consumer.name for delivery in deliveries])
        for delivery in deliveries:
            name = delivery.consumer.name
            if self._deliveries.get(name) is not delivery or owners.get(name) == delivery.consumer.owner:
                continue
            if name in owners:
                self._replace(name)
            else:
                _log.info("consumer_forgotten", consumer=name)
                self._remove(delivery)
                delivery.subscriber.close("forgotten")

    def _replace(self, name: str) -> None:
        """Close the connection that read for a consumer so far, if there is one here: a newer one does."""
        older = self._deliveries.get(name)
        if older is not None:
            self._remove(older)
            _close_replaced(older.subscriber, name)

    def _give_up(self, delivery: Delivery) -> None:
        self._remove(delivery)
        delivery.subscriber.close("error")

    def _remove(self, delivery: Delivery) -> None:
        delivery.end()
        if self._deliveries.get(delivery.consumer.name) is delivery:
            del self._deliveries[delivery.consumer.name]
            del self._by_connection[delivery.subscriber.connection_id]

    def _lag_of(self, consumer: Consumer) -> ConsumerLag:
        delivery = self._deliveries.get(consumer.name)
        has_everything = delivery is not None and delivery.has_everything()
        # What is stored may be some seconds old while it had everything.
        up_to = consumer.up_to if delivery is None else max(consumer.up_to, delivery.up_to())
        behind = (self._clock.now() - up_to).total_seconds()
        return ConsumerLag(
            name=consumer.name,
            seconds=0.0 if has_everything else max(0.0, behind),
            unacked=0 if delivery is None else delivery.acks.unacked,
            is_connected=delivery is not None,
        )


def _close_replaced(subscriber: Subscriber, name: str) -> None:
    """Tell a connection that a newer one reads for its consumer, and close it."""
    subscriber.notify("replaced", {"consumer": name})
    subscriber.close("replaced")


def _overtaken(subscriber: Subscriber, name: str, was_claimed: bool) -> UnavailableError:
    """Return the refusal for a connection that was about to subscribe when one on another node did.

    If it had claimed the consumer, the other claimed it later: this one is replaced. If nobody knew the consumer,
    nobody can say who came later: it may try again, and then is the newer.
    """
    if was_claimed:
        _close_replaced(subscriber, name)
        return UnavailableError(f"a newer connection reads for {name}")
    return UnavailableError(f"another connection has just subscribed for {name}; subscribe again")


def _read_after(after: str | None) -> Cursor | str | None:
    """Read an `after`: a cursor, `beginning`, or None."""
    if after is None or after == BEGINNING:
        return after
    cursor = read_cursor(after)
    if cursor is None:
        raise InvalidRequestError(f'after: must be the cursor of a record, or "{BEGINNING}"', field="after")
    return cursor
