"""Who reads the feed, and how far each has come, durably (SPEC section 3, `/recording`)."""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Protocol

import msgspec

from coordinator.domain.ids import ConnectionId, SessionId


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """A named reader of the feed.

    Attributes:
        name: Its name.
        owner: The connection that reads in its name: the newest.
        cursor: How far it has come, as `cursors.cursor_text` writes it: the last one acked, or where it begins.
        is_exact: Whether its marks tell all that it has: a session without a mark has not been delivered at all. False
            once it was moved to a cursor of its own choice, whose earlier history nobody knows.
        scope: While it catches up with some sessions only, these; None for all sessions of the journal.
        up_to: It has acked everything that was durable then; what it lags behind is counted from here.
    """

    name: str
    owner: ConnectionId
    cursor: str
    is_exact: bool
    scope: tuple[SessionId, ...] | None
    up_to: datetime


class Consumers(Protocol):
    """Consumers, and for each the `seq` up to which it has every session: its marks.

    A cursor is quick to resume from, but may become too old. The marks never do: they are the exact answer to what a
    consumer has. Every method raises `OutcomeUnknownError` when the store does not answer in time.
    """

    async def claim(self, name: str, owner: ConnectionId) -> Consumer | None:
        """Make a connection the owner of a known consumer; return that as it is from now on. None: it is not known."""

    async def begin(self, consumer: Consumer) -> bool:
        """Write a whole consumer, and take its marks away.

        Gone are then also those that a slow `advance` of an earlier owner has yet to write. A known consumer is
        written only while `consumer.owner` owns it: of two connections, the one whose `claim` came later keeps it,
        however slow the other's `begin` is. One that nobody knows is inserted.

        Returns:
            Whether it did. False, and nothing has changed: another connection owns the consumer.
        """

    async def advance(
        self,
        name: str,
        owner: ConnectionId,
        *,
        cursor: str,
        marks: Mapping[SessionId, int],
        up_to: datetime,
        is_caught_up: bool,
    ) -> bool:
        """Note that a consumer has come to `cursor`, and has these sessions up to these `seq`.

        No cursor is durable before its marks are. With `is_caught_up` its scope is taken away.

        Returns:
            Whether it did. False, and the cursor stays: another connection owns the consumer, or nobody knows it.
        """

    async def marks(self, name: str, sessions: Collection[SessionId] | None = None) -> Mapping[SessionId, int]:
        """Return a consumer's marks of these sessions, or of all (None)."""

    async def owners(self, names: Collection[str]) -> Mapping[str, ConnectionId]:
        """Return who owns these consumers; one that is not known is left out."""

    async def all(self) -> Sequence[Consumer]:
        """Return every consumer, by name."""

    async def forget(self, name: str) -> bool:
        """Take a consumer and its marks away; tell whether it was known."""

    async def forget_sessions(self, sessions: AbstractSet[SessionId]) -> None:
        """Take away the marks of sessions whose journal is gone."""
