"""The stream of all commits in MongoDB: one change stream on the collection `events` for each reader.

Owns the change streams and their threads; must not know who reads, or what the commits mean. Told are inserts only: a
commit may later be rewritten or deleted, and that is nobody's news.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from bson import ObjectId
from pymongo.change_stream import CollectionChangeStream
from pymongo.collection import Collection
from pymongo.errors import OperationFailure, PyMongoError

from coordinator.adapters.mongo.client import Database, Document
from coordinator.adapters.mongo.commit_documents import read_commit
from coordinator.adapters.mongo.documents import ListReader
from coordinator.adapters.mongo.failures import unanswered_is_unknown
from coordinator.adapters.mongo.positions import read_position, write_position
from coordinator.domain.cursors import Position
from coordinator.domain.ledger import Commit, UnknownEventError
from coordinator.ports.commit_stream import PositionLostError, StreamedCommit

AWAIT_SECONDS = 1.0
"""How long the server waits for a commit before it says that there is none."""
READ_MOST = 500
"""Commits that one `read` returns at most."""
STALL_SECONDS = 60.0
"""How long a reader may stay away before its place is looked up anew."""
_CLOSE_SECONDS = 3.0
"""How long `close` waits for the server to hear of it."""
_WAITED = 0.9
"""Of `AWAIT_SECONDS`: timers are not exact."""

_LOST_CODES = frozenset(
    {
        # These say so, and MongoDB labels them as well:
        280,  # ChangeStreamFatalError
        286,  # ChangeStreamHistoryLost
        # These refuse a token. Its checksum shows that it is one of ours, so it must have been good once. The embedded
        # server refuses (13) what it gives out right after an index or a collection was made: such a token names
        # another namespace than the one that is followed.
        2,  # BadValue
        9,  # FailedToParse
        13,  # Unauthorized
        260,  # InvalidResumeToken
    }
)
_FINAL_LABEL = "NonResumableChangeStreamError"

_AnyResult = TypeVar("_AnyResult")


class MongoCommitStream:
    """A `CommitStream` over the collection `events`.

    A commit that cannot be read (put in by hand, or by a newer version) is passed over and logged once: it must not
    keep all that follow from being seen. It leaves a gap in the `seq` of its session, by which a reader notices.

    Args:
        database: The database.
        stall_seconds: How long a reader may stay away before its place is looked up anew.
        stopwatch: Seconds from any moment on, never backwards.
    """

    def __init__(
        self,
        database: Database,
        *,
        stall_seconds: float = STALL_SECONDS,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._reader = ListReader(database.events.name)
        self._stall_seconds = stall_seconds
        self._stopwatch = stopwatch

    async def open(self, after: Position | None = None) -> "MongoOpenStream":
        """Begin to read after a position; None: with what becomes durable from now on."""
        with unanswered_is_unknown():
            identity = await self._identity()
        token = None if after is None else read_position(after, identity)
        changes = _Changes(self._database.events.delegate, self._reader, identity, token)
        stream = MongoOpenStream(changes, self._stall_seconds, self._stopwatch)
        try:
            await stream.start()
        except BaseException:
            await stream.close()
            raise
        return stream

    async def _identity(self) -> bytes:
        """Return what no other collection has: not one of another database, nor one that is made anew."""
        name = self._database.events.name
        reply = await self._database.command({"listCollections": 1, "filter": {"name": name}})
        return b"".join(bytes(found["info"]["uuid"]) for found in reply["cursor"]["firstBatch"])


class MongoOpenStream:
    """One reader of the stream, on a thread of its own.

    The driver waits in the thread that asks. Motor's threads are few and shared by all operations, so as many waiting
    readers would bring everything else to a halt.
    """

    def __init__(self, changes: "_Changes", stall_seconds: float, stopwatch: Callable[[], float]) -> None:
        self._changes = changes
        self._stall_seconds = stall_seconds
        self._stopwatch = stopwatch
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit-stream")
        self._running: Future[Any] | None = None
        self._ending: Future[None] | None = None
        self._position: Position | None = None
        self._read_at = 0.0
        self._is_usable = False

    @property
    def position(self) -> Position:
        """Where it stands: everything up to here has been read."""
        assert self._position is not None
        return self._position

    async def start(self) -> None:
        """Open the change stream on the server; see `CommitStream.open`."""
        self._position = await self._on_worker(self._changes.open)
        self._read_at = self._stopwatch()
        self._is_usable = True

    async def read(self) -> Sequence[StreamedCommit]:
        """Return the commits that follow, in order; wait about a second for the first, then return none."""
        if not self._is_usable:
            raise RuntimeError("this stream is closed, or has failed: open another at its position")
        self._is_usable = False  # also if this is cancelled: what was read meanwhile is lost
        if self._stopwatch() - self._read_at > self._stall_seconds:
            # The embedded server throws old entries away without a look at who still has to read them, and an open
            # stream then goes on behind the gap without a word. It does look when a stream is opened after a token.
            await self._on_worker(self._changes.open)
        loop = asyncio.get_running_loop()
        until = loop.time() + _WAITED * AWAIT_SECONDS
        while True:
            taken = await self._on_worker(self._changes.take)
            self._position, self._read_at = taken.position, self._stopwatch()
            # A server may find nothing early, because something else was written. That does not end the wait, for it
            # may not have looked at everything yet.
            if taken.commits or (taken.is_at_end and loop.time() >= until):
                self._is_usable = True
                return taken.commits

    async def close(self) -> None:
        """Give back what it holds. A `read` that was cancelled ends by itself, within seconds, on its thread."""
        self._is_usable = False
        if self._ending is None:
            is_busy = self._running is not None and not self._running.done()
            self._ending = self._worker.submit(self._changes.close)
            self._worker.shutdown(wait=False)  # what has been submitted is still done
            if not is_busy:
                await asyncio.wait({asyncio.wrap_future(self._ending)}, timeout=_CLOSE_SECONDS)

    async def _on_worker(self, work: Callable[[], _AnyResult]) -> _AnyResult:
        running = self._worker.submit(work)
        self._running = running
        return await asyncio.wrap_future(running)


class _Taken(NamedTuple):
    """What was found, where the stream stands after it, and whether the server found nothing more."""

    commits: list[StreamedCommit]
    position: Position
    is_at_end: bool


class _Changes:
    """The driver's change stream, used on one thread only, and its way from changes to commits."""

    def __init__(
        self, events: "Collection[Document]", reader: ListReader, identity: bytes, token: Document | None
    ) -> None:
        # Texts that are not UTF-8 would make the driver fail at this place again and again.
        codec = events.codec_options.with_options(unicode_decode_error_handler="replace")
        self._events = events.with_options(codec_options=codec)
        self._reader = reader
        self._identity = identity
        self._token = token
        self._stream: CollectionChangeStream[Document] | None = None
        self._is_over = False

    def open(self) -> Position:
        """Open, or open anew, after the last known token; return the position."""
        self.close()
        with unanswered_is_unknown(), _told_when_lost(has_token=self._token is not None):
            # Without a filter on the server: only then an empty answer of the embedded server means that it has
            # reached the end. What is not an insert is rare.
            self._stream = self._events.watch(
                start_after=self._token, max_await_time_ms=round(1000 * AWAIT_SECONDS), batch_size=READ_MOST
            )
            if self._token is None:
                return self._position()
            return write_position(self._token, self._identity)  # nothing has been read yet

    def take(self) -> _Taken:
        """Return what has arrived; when there is nothing, ask the server once, which waits for something."""
        assert self._stream is not None
        if self._is_over:
            raise PositionLostError("the collection of commits was dropped or renamed")
        commits: list[StreamedCommit] = []
        with unanswered_is_unknown(), _told_when_lost(has_token=True):
            change = self._stream.try_next()
            is_at_end = change is None
            while change is not None:
                self._is_over = change["operationType"] == "invalidate"
                if self._is_over:
                    break
                commits += self._read(change)
                change = self._stream.try_next() if len(commits) < READ_MOST and self._has_more() else None
        return _Taken(commits, self._position(), is_at_end)

    def close(self) -> None:
        """Close the change stream, if one is open."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(PyMongoError):  # the server is gone, or the client: either takes the stream with it
                stream.close()

    def _read(self, change: Document) -> list[StreamedCommit]:
        if change["operationType"] != "insert":
            return []
        return [
            StreamedCommit(self._position(), found) for found in self._reader.read([change["fullDocument"]], _whole)
        ]

    def _position(self) -> Position:
        """Note where the stream stands, and write it."""
        assert self._stream is not None
        token = self._stream.resume_token
        if not self._is_over and token is not None:
            self._token = dict(token)
        assert self._token is not None  # every server since 4.2 names the place with each answer
        return write_position(self._token, self._identity)

    def _has_more(self) -> bool:
        """Tell whether the server's last answer holds more; asking for the next then does not wait."""
        # The driver has no public word for it, and waiting a second with commits in hand would not do.
        assert self._stream is not None
        return bool(self._stream._cursor._has_next())  # noqa: SLF001


def _whole(document: Document) -> Commit:
    """Read a commit of which nobody knows whether it is one.

    Raises:
        ValueError: It is not.
    """
    try:
        commit = read_commit(document)
        seqs = [sealed.event.seq for sealed in commit.events]
        is_whole = (
            isinstance(document["_id"], ObjectId)
            and isinstance(document["sessionId"], ObjectId)
            and all(isinstance(seq, int) for seq in (commit.seq, *seqs))
            and seqs == list(range(commit.seq, commit.seq + len(seqs)))
            and all(isinstance(at, datetime) for at in (commit.at, *(sealed.event.at for sealed in commit.events)))
        )
    except (UnknownEventError, AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not is_whole or not seqs:
        raise ValueError("this is not a commit")
    return commit


@contextmanager
def _told_when_lost(*, has_token: bool) -> Iterator[None]:
    """Turn the server's errors that say so into `PositionLostError`."""
    try:
        yield
    except OperationFailure as error:
        if error.has_error_label(_FINAL_LABEL) or (has_token and error.code in _LOST_CODES):
            raise PositionLostError(f"the database cannot go on from there: {error.code}") from error
        raise
