"""The consent history of a user: every grant and revocation of consent to be recorded (SPEC section 2).

Owns how it is gathered from the journals of the user's sessions, which alone are the truth. A session in which the user
has a part is found through the participants' documents, which are kept as long as its journal.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from coordinator.domain.events import RecordingConsentGranted, RecordingConsentRevoked
from coordinator.domain.ids import SessionId, UserId
from coordinator.ports.clock import Clock
from coordinator.ports.journal import Head, Journal, Mention
from coordinator.ports.projections import Projections
from coordinator.services.outages import silence_is_unavailable
from coordinator.services.rooms import Rooms

CONSENT_KINDS = frozenset({RecordingConsentGranted.kind, RecordingConsentRevoked.kind})
"""The events that a consent history consists of."""
PAGE_SESSIONS = 50
"""Journals that are looked into for one page."""


class Place(msgspec.Struct, frozen=True, order=True):
    """A place in a history: after event `seq` of a session."""

    session_id: SessionId
    seq: int


class Page(msgspec.Struct, frozen=True):
    """A part of a history, and where it goes on; None at its end. Before that a page may be short, or even empty."""

    items: Sequence[Mention]
    next: Place | None


class History(msgspec.Struct, frozen=True):
    """A whole history.

    Attributes:
        exported_at: When it was gathered.
        items: Every grant and revocation, by session id and then in order.
        sessions: Every session in which the user has a part, and where its journal ended: the items are complete up to
            there, and the hash tells whether a journal begins like the one that they were taken from.
    """

    exported_at: datetime
    items: Sequence[Mention]
    sessions: Sequence[tuple[SessionId, Head]]


class Consents:
    """The consent histories of users.

    Both methods are never older than an ack of this node. In which session somebody took a first seat on another node
    within the last 100 ms may not be seen yet. Both raise `UnavailableError` when the database is away.
    """

    def __init__(self, rooms: Rooms, journal: Journal, projections: Projections, clock: Clock) -> None:
        self._rooms = rooms
        self._journal = journal
        self._projections = projections
        self._clock = clock

    async def page(self, user_id: UserId, after: Place | None, limit: int) -> Page:
        """Return up to `limit` grants and revocations after a place, the oldest session first; None: from the first."""
        await self._rooms.write_documents()
        with silence_is_unavailable():
            first = None if after is None else after.session_id
            following = await self._projections.sessions_of(user_id, first, PAGE_SESSIONS + 1)
            sessions = [*([] if first is None else [first]), *following[:PAGE_SESSIONS]]
            items: list[Mention] = []
            for session_id in sessions:
                mentions = await self._journal.mentions(session_id, user_id, CONSENT_KINDS)
                items += [item for item in mentions if after is None or _place_of(item) > after]
                if len(items) > limit:
                    return Page(items[:limit], _place_of(items[limit - 1]))
        if len(following) <= PAGE_SESSIONS:
            return Page(items, None)
        # What follows the last item may be more of the session that was looked into last.
        seqs = [item.event.seq for item in items if item.event.session_id == sessions[-1]]
        return Page(items, Place(sessions[-1], max(seqs, default=0)))

    async def history(self, user_id: UserId) -> History:
        """Return the whole history of a user; of one whom nobody knows, an empty one."""
        await self._rooms.write_documents()
        exported_at = self._clock.now()
        items: list[Mention] = []
        heads: list[tuple[SessionId, Head]] = []
        with silence_is_unavailable():
            last: SessionId | None = None
            while sessions := await self._projections.sessions_of(user_id, last, PAGE_SESSIONS):
                last = sessions[-1]
                for session_id in sessions:
                    head = await self._journal.head(session_id)
                    if head is None:
                        continue  # its journal went a moment ago
                    heads.append((session_id, head))
                    mentions = await self._journal.mentions(session_id, user_id, CONSENT_KINDS)
                    items += [item for item in mentions if item.event.seq <= head.seq]
        return History(exported_at, items, heads)


def _place_of(item: Mention) -> Place:
    return Place(item.event.session_id, item.event.seq)
