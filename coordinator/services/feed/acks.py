"""What one consumer has been sent on one connection and not acked yet, and how its acks become durable.

Owns the window and the writes of progress, of which there is never more than one under way. Must not know where the
records come from.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from coordinator.domain.errors import CoordinatorError, InvalidRequestError, UnavailableError
from coordinator.domain.ids import ConnectionId, SessionId
from coordinator.ports.clock import Clock
from coordinator.ports.consumers import Consumers
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.background import BackgroundTasks
from coordinator.telemetry import get_logger

WINDOW = 256
"""Records that may be unacked; then delivery waits (SPEC section 3, `/recording`)."""

_log = get_logger("feed.acks")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a consumer has come once it has acked a record, or once there is nothing to ack.

    Attributes:
        cursor: The record's cursor.
        marks: Sessions, and up to which `seq` it has them.
        up_to: It has everything that was durable then.
        is_caught_up: Whether its scope is of no more use.
    """

    cursor: str
    marks: Mapping[SessionId, int]
    up_to: datetime
    is_caught_up: bool

    def then(self, later: "Progress | None") -> "Progress":
        """Return what holds after `later`, which followed, marks of both included."""
        return (
            self
            if later is None
            else Progress(later.cursor, higher(self.marks, later.marks), later.up_to, later.is_caught_up)
        )


def higher(marks: Mapping[SessionId, int], others: Mapping[SessionId, int]) -> dict[SessionId, int]:
    """Join marks; of two of one session the higher counts."""
    return {**marks, **{session: max(seq, marks.get(session, 0)) for session, seq in others.items()}}


@dataclass(slots=True)
class _Writing:
    """What is to be written next, and who waits for it."""

    progress: Progress | None = None
    waiting: list[asyncio.Future[str]] = field(default_factory=list)


class Acks:
    """The window of one consumer on one connection.

    Args:
        name: The consumer.
        owner: Whose acks count.
        stored: The cursor that is stored.
        consumers: Where progress is written.
        clock: Tells how long ago that was.
        background: Where it runs.
        on_written: Called with marks that have become durable.
        on_lost: Called once it turns out that somebody else owns the consumer.

    Attributes:
        stored: The cursor that is stored now, as far as is known.
        written_at: When progress was written last, on the stopwatch.
    """

    def __init__(
        self,
        name: str,
        owner: ConnectionId,
        stored: str,
        consumers: Consumers,
        clock: Clock,
        background: BackgroundTasks,
        on_written: Callable[[Mapping[SessionId, int]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._name = name
        self._owner = owner
        self._consumers = consumers
        self._clock = clock
        self._background = background
        self._on_written = on_written
        self._on_lost = on_lost
        self._in_flight: dict[str, Progress] = {}
        self._next = _Writing()
        self._writer: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._is_lost = False
        self.stored = stored
        self.written_at = clock.monotonic()

    @property
    def unacked(self) -> int:
        """How many records are in flight."""
        return len(self._in_flight)

    @property
    def oldest(self) -> Progress | None:
        """How far the consumer has come once it acks the record that has been in flight for longest."""
        return next(iter(self._in_flight.values()), None)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was sent is acked, durably."""
        return not self._in_flight and self._next.progress is None and self._writer is None

    async def room(self) -> None:
        """Wait until one more record may be sent."""
        while len(self._in_flight) >= WINDOW:
            self._room.clear()
            await self._room.wait()

    def sent(self, progress: Progress) -> None:
        """Note that a record is in flight, and how far the consumer has come with it."""
        self._in_flight[progress.cursor] = progress

    async def ack(self, cursor: str) -> str:
        """Note that the consumer has everything up to `cursor`; return the cursor that is stored once that is durable.

        A cursor that is not in flight changes nothing. What waits to be written is waited for in any case, so that an
        ack whose outcome was unknown can be repeated.

        Raises:
            InvalidRequestError: Another connection reads in the consumer's name.
            UnavailableError: The database is out of reach.
        """
        if self._is_lost:
            raise _replaced()
        if cursor in self._in_flight:
            self._take(cursor)
        if self._next.progress is None and self._writer is None:
            return self.stored
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._next.waiting.append(answer)
        self.flush()
        return await answer

    def move_on(self, progress: Progress) -> None:
        """Write how far the consumer has come without an ack, because it has had everything up to there."""
        if self.is_idle:
            self._next.progress = progress
            self.flush()

    def flush(self) -> None:
        """Write what is to be written, if that is not under way."""
        if self._writer is None and not self._is_lost and (self._next.progress is not None or self._next.waiting):
            self._writer = self._background.start(self._write(), f"acks of {self._name}")

    async def written(self) -> None:
        """Wait until no write is under way."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    def _take(self, cursor: str) -> None:
        acked: Progress | None = None
        while acked is None or acked.cursor != cursor:
            progress = self._in_flight.pop(next(iter(self._in_flight)))
            acked = progress if acked is None else acked.then(progress)
        assert acked is not None
        self._next.progress = acked if self._next.progress is None else self._next.progress.then(acked)
        self._room.set()

    async def _write(self) -> None:
        writing = _Writing()
        try:
            failure: CoordinatorError | None = None
            while self._next.waiting or (self._next.progress is not None and failure is None):
                writing, self._next = self._next, _Writing()
                failure = None if writing.progress is None else await self._advance(writing.progress)
                self._answer(writing.waiting, failure)
        finally:
            self._writer = None
            # Where nothing is left this does nothing; where the task was ended, nobody may wait for ever.
            self._answer([*writing.waiting, *self._next.waiting], UnavailableError("the server is stopping; try again"))

    def _answer(self, waiting: list[asyncio.Future[str]], failure: CoordinatorError | None) -> None:
        for answer in waiting:
            if answer.done():
                continue
            if failure is None:
                answer.set_result(self.stored)
            else:
                answer.set_exception(failure)

    async def _advance(self, progress: Progress) -> CoordinatorError | None:
        """Write progress; return what those who wait for it are refused with, if it did not work."""
        self.written_at = self._clock.monotonic()
        try:
            is_ours = not self._is_lost and await self._consumers.advance(
                self._name,
                self._owner,
                cursor=progress.cursor,
                marks=progress.marks,
                up_to=progress.up_to,
                is_caught_up=progress.is_caught_up,
            )
        except OutcomeUnknownError as error:
            _log.warning("progress_not_written", consumer=self._name, error=str(error))
            self._next.progress = progress.then(self._next.progress)
            return UnavailableError("the database is out of reach; ack again")
        except Exception:  # noqa: BLE001 - those who wait must be answered
            _log.exception("progress_failed", consumer=self._name)
            self._next.progress = progress.then(self._next.progress)
            return UnavailableError("the server failed to note this; ack again")
        if is_ours:
            self.stored = progress.cursor
            self._on_written(progress.marks)
            return None
        if not self._is_lost:
            self._is_lost = True
            self._on_lost()
        return _replaced()


def _replaced() -> InvalidRequestError:
    return InvalidRequestError("another connection reads in this consumer's name now")
