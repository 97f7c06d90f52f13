"""All commits of all sessions, as they become durable: what a feed follows."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from coordinator.domain.cursors import Position
from coordinator.domain.ledger import Commit


class PositionLostError(Exception):
    """The store has forgotten what came after this position: what was missed must be read from the journal."""


class InvalidPositionError(ValueError):
    """This is no position of this store."""


class StreamedCommit(msgspec.Struct, frozen=True):
    """A commit, and the place right after it."""

    position: Position
    commit: Commit


class OpenStream(Protocol):
    """One reader of the stream. It must be closed; whatever it raises, it is of no more use then but to be closed.

    The same holds when a `read` is cancelled.
    """

    @property
    def position(self) -> Position:
        """Where it stands: everything up to here has been read. Moves on also while nothing is returned.

        Stays what it was before when `read` fails or is cancelled.
        """

    async def read(self) -> Sequence[StreamedCommit]:
        """Return the commits that follow, in order; wait about a second for the first, then return none.

        None means: whatever was durable when `read` was called has been read.

        Raises:
            OutcomeUnknownError: The store does not answer. Open another at `position`.
            PositionLostError: It has fallen too far behind.
        """

    async def close(self) -> None:
        """Give back what it holds; harmless to repeat, never raises."""


class CommitStream(Protocol):
    """The commits of all sessions and all nodes in one order, the same for every reader.

    Commits of one session come in the order of their `seq`. Each comes once, and not before it is durable (majority,
    journalled). What is later changed in a commit, or deleted, is not told. A commit that cannot be read is passed over
    and logged, which leaves a gap in the `seq` of its session. Two positions may name the same place: they are for
    opening, not for comparing.
    """

    async def open(self, after: Position | None = None) -> OpenStream:
        """Begin to read after a position; None: with what becomes durable from now on.

        When this returns, nothing that becomes durable from now on will be missed.

        Raises:
            InvalidPositionError: That is no position of this store.
            PositionLostError: It lies too far back.
            OutcomeUnknownError: The store does not answer.
        """
