"""The projections in MongoDB: collections `sessions` and `participants`.

Owns the documents that are written and the bounded queries; must not know how the documents come about.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from collections.abc import Collection as AbstractCollection
from datetime import UTC, datetime, timedelta

import pymongo
from bson import ObjectId
from pymongo import DESCENDING, DeleteMany, ReplaceOne

from coordinator.adapters.mongo.client import Database, Document, unhurried
from coordinator.adapters.mongo.documents import (
    ListReader,
    participant_document,
    participant_key,
    read_participant,
    read_session,
    session_document,
)
from coordinator.adapters.mongo.failures import unanswered_is_unknown
from coordinator.adapters.mongo.pieces import find_by
from coordinator.adapters.mongo.replacing import replace_older
from coordinator.adapters.mongo.windows import EARLIEST, EPOCH, LATEST, MOMENT, windows_before
from coordinator.domain.ids import SessionId, UserId, is_object_id
from coordinator.domain.model import SESSION_KEPT, Participant, Session, SessionStatus
from coordinator.ports.projections import SessionQuery

_KEPT = SESSION_KEPT + timedelta(days=1)  # nothing older is left, give or take a sweep
_NEWEST_FIRST = [("createdAt", DESCENDING), ("_id", DESCENDING)]
_LIVE = [str(status) for status in SessionStatus if status is not SessionStatus.ENDED]


class MongoProjections:
    """A `Projections` over the collections `sessions` and `participants`."""

    def __init__(self, database: Database) -> None:
        self._sessions = database.sessions
        self._participants = database.participants
        self._lists = ListReader("sessions")

    async def write(self, sessions: Sequence[Session], participants: Sequence[Participant]) -> None:
        """Write whole documents, each unless the stored one has the same or a higher `seq`; participants first."""
        with unanswered_is_unknown():
            await replace_older(self._participants, [participant_document(item) for item in participants])
            await replace_older(self._sessions, [session_document(item) for item in sessions])

    async def rebuild(self, session: Session, participants: Sequence[Participant]) -> None:
        """Make the documents of one session equal to these, whatever is stored now; harmless to repeat."""
        await self.rebuild_participants(session.id, participants)
        with unanswered_is_unknown():
            await self._sessions.bulk_write([_replacement(session_document(session))])

    async def rebuild_participants(self, session_id: SessionId, participants: Sequence[Participant]) -> None:
        """Make the documents of one session's participants equal to these; leave the session's own as it is."""
        keys = [participant_key(item.session_id, item.user_id) for item in participants]
        operations: list[DeleteMany | ReplaceOne[Document]] = [
            DeleteMany({"sessionId": ObjectId(session_id), "_id": {"$nin": keys}}),
            *(_replacement(participant_document(item)) for item in participants),
        ]
        with unanswered_is_unknown():
            await self._participants.bulk_write(operations, ordered=False)

    async def discard(self, session_id: SessionId) -> None:
        """Take away all documents of a session and its participants; harmless to repeat."""
        with unanswered_is_unknown():
            await self._participants.delete_many({"sessionId": ObjectId(session_id)})
            await self._sessions.delete_one({"_id": ObjectId(session_id)})

    async def session(self, session_id: SessionId) -> Session | None:
        """Return a session's document."""
        with unanswered_is_unknown():
            document = await self._sessions.find_one({"_id": ObjectId(session_id)})
        return None if document is None else read_session(document)

    async def participants(self, session_id: SessionId) -> Sequence[Participant]:
        """Return a session's participants in the order in which they first joined; at the same instant, by user id."""
        with unanswered_is_unknown():
            found = await self._participants.find({"sessionId": ObjectId(session_id)}).to_list(None)
        participants = [read_participant(document) for document in found]
        return sorted(participants, key=lambda participant: (participant.joined_at, participant.user_id))

    async def session_ids(self) -> AsyncIterator[SessionId]:
        """Go through all sessions that have any document, of their own or of a participant; some come twice."""
        for collection, field in ((self._sessions, "$_id"), (self._participants, "$sessionId")):
            with unanswered_is_unknown():
                cursor = collection.aggregate([{"$group": {"_id": field}}])
                with unhurried():
                    document = await anext(cursor, None)
                while document is not None:
                    if is_object_id(session_id := str(document["_id"])):
                        yield SessionId(session_id)
                    document = await anext(cursor, None)

    async def sessions_of(self, user_id: UserId, after: SessionId | None, limit: int) -> Sequence[SessionId]:
        """Return up to `limit` sessions that the user has a part in, by id."""
        query: Document = (
            {"userId": user_id} if after is None else {"userId": user_id, "sessionId": {"$gt": ObjectId(after)}}
        )
        with unanswered_is_unknown():
            cursor = self._participants.find(query, {"sessionId": True}).sort("sessionId", pymongo.ASCENDING)
            found = await cursor.limit(limit).to_list(None)
        return [SessionId(str(document["sessionId"])) for document in found]

    async def page(self, query: SessionQuery) -> Sequence[Session]:
        """Return the session documents that are looked for, the newest first."""
        if query.slot_id is not None or query.status in _LIVE:
            return await self._page_of_few(query)
        found: list[Document] = []
        with unanswered_is_unknown():
            for bounds in _bounds(query, datetime.now(UTC)):
                cursor = self._sessions.find({**bounds, **_equal(query)}).sort(_NEWEST_FIRST)
                found += await cursor.limit(query.limit - len(found)).to_list(None)
                if len(found) >= query.limit:
                    break
        return [read_session(document) for document in found]

    async def _page_of_few(self, query: SessionQuery) -> Sequence[Session]:
        """Return a page of the sessions of one slot, or of those that are live."""
        with unanswered_is_unknown():
            documents = await self._sessions.find(_equal(query)).to_list(None)
        sessions = sorted(self._lists.read(documents, read_session), key=_place, reverse=True)
        return [item for item in sessions if query.after is None or _place(item) < query.after][: query.limit]

    async def seqs(self, session_ids: AbstractCollection[SessionId]) -> Mapping[SessionId, int]:
        """Return how far the documents of these sessions are: the `seq` of each that is there, 0 where it has none."""
        keys = [ObjectId(session_id) for session_id in session_ids]
        with unanswered_is_unknown():
            found = await find_by(self._sessions, "_id", keys, projection={"seq": True})
        return {SessionId(str(document["_id"])): document.get("seq", 0) for document in found}

    async def live(self) -> Sequence[SessionId]:
        """Return the sessions whose documents say waiting or active."""
        found: dict[SessionId, None] = {}
        with unanswered_is_unknown():
            # In the order in which a session moves: one that moves between the two queries is found by both.
            for status in _LIVE:
                for document in await self._sessions.find({"status": status}, {"_id": True}).to_list(None):
                    found[SessionId(str(document["_id"]))] = None
        return list(found)

    async def due(self, until: datetime, limit: int) -> Sequence[SessionId]:
        """Return up to `limit` sessions whose `nextDeadline` is not after `until`, the most overdue first."""
        if limit <= 0:  # which MongoDB would take for no limit
            return []
        query = {"nextDeadline": {"$gte": EPOCH, "$lte": until}}
        order = [("nextDeadline", pymongo.ASCENDING)]
        with unanswered_is_unknown():
            found = await self._sessions.find(query, {"_id": True}).sort(order).limit(limit).to_list(None)
        return [SessionId(str(document["_id"])) for document in found]


def _replacement(document: Document) -> ReplaceOne[Document]:
    return ReplaceOne({"_id": document["_id"]}, document, upsert=True)


def _place(session: Session) -> tuple[datetime, SessionId]:
    return session.created_at, session.id


def _equal(query: SessionQuery) -> Document:
    """Return what fields must be equal to, the most telling first: the embedded server uses an index for that only."""
    wanted: Document = {}
    if query.slot_id is not None:
        wanted["timeSlotId"] = ObjectId(query.slot_id)
    if query.status is not None:
        wanted["status"] = str(query.status)
    if query.target_language_code is not None:
        wanted["targetLanguageCode"] = str(query.target_language_code)
    return wanted


def _bounds(query: SessionQuery, now: datetime) -> Iterator[Document]:
    """Yield the bounds within which sessions are to be looked for, one after the other, until there are enough.

    They cover all time whatever the clock says: `now` tells only where most of the sessions are.
    """
    if query.after is None:
        yield {"createdAt": {"$gt": now, "$lte": LATEST}}
        end = now
    else:
        last_created, last_id = query.after
        yield {"createdAt": last_created, "_id": {"$lt": ObjectId(last_id)}}  # those of the same instant
        end = max(last_created, EARLIEST) - MOMENT
    oldest = min(now - _KEPT, end)
    for window in windows_before(oldest, end):
        yield {"createdAt": window}
    yield {"createdAt": {"$gte": EARLIEST, "$lt": oldest}}
