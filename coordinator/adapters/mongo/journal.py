"""The journal in MongoDB: one document per commit in the collection `events` (SPEC section 1, events).

Owns the queries for those documents, whose form is in `commit_documents`; must not know what the events mean. The
unique index `{sessionId: 1, seq: 1}` makes two writers of the same place collide. Every query is bounded by an index.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import pymongo
from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne
from pymongo.errors import BulkWriteError

from coordinator.adapters.mongo.client import Database, unhurried
from coordinator.adapters.mongo.commit_documents import commit_document, read_commit, stored_commit
from coordinator.adapters.mongo.failures import refused_duplicates, unanswered_is_unknown
from coordinator.adapters.mongo.pieces import find_by
from coordinator.adapters.mongo.windows import EPOCH, windows_before
from coordinator.domain.ids import CommitId, SessionId, UserId
from coordinator.domain.ledger import MAX_COMMIT_EVENTS, Commit, SealedEvent, read_event
from coordinator.ports.journal import Head, Mention

_DELETED_AT_ONCE = 200
_SECOND = timedelta(seconds=1)


class MongoJournal:
    """A `Journal` over the collection `events`."""

    def __init__(self, database: Database) -> None:
        self._events = database.events
        as_written: Any = CodecOptions(document_class=RawBSONDocument)
        self._raw_events: Any = database.events.with_options(codec_options=as_written)

    async def append(self, commits: Sequence[Commit]) -> AbstractSet[CommitId]:
        """Write commits in one operation; see `Journal.append`."""
        if not commits:
            return frozenset()
        documents = [commit_document(commit) for commit in commits]
        with unanswered_is_unknown():
            try:
                await self._events.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                # This also waited for the majority to have whatever was met there.
                refused = [commits[index] for index in refused_duplicates(error)]
            else:
                return frozenset(commit.id for commit in commits)
        # What is there under our own id, we wrote earlier. The sessions lead to the shards.
        sessions = [ObjectId(commit.session_id) for commit in refused]
        ids = {commit.id for commit in refused}
        lost = ids - await self._found(ids, {"sessionId": {"$in": sessions}})
        return frozenset(commit.id for commit in commits if commit.id not in lost)

    async def replace(self, commit: Commit) -> bool:
        """Write a commit's content anew under its own id; see `Journal.replace`."""
        document = commit_document(commit)
        place = {name: document[name] for name in ("_id", "sessionId", "seq", "prevHash", "hash")}
        with unanswered_is_unknown():
            result = await self._events.replace_one(place, document)
        return result.matched_count == 1

    async def written(self, ids: Sequence[CommitId]) -> AbstractSet[CommitId]:
        """Return which of `ids` are in the journal, durably."""
        return await self._found(ids, {}) if ids else frozenset()

    async def _found(self, ids: Collection[CommitId], where: Mapping[str, Any]) -> AbstractSet[CommitId]:
        keys = [ObjectId(commit_id) for commit_id in ids]
        with unanswered_is_unknown():
            found = await find_by(self._events, "_id", keys, where, {"_id": True})
        return frozenset(CommitId(str(document["_id"])) for document in found)

    async def read(self, session_id: SessionId, after: int = 0) -> Sequence[Commit]:
        """Return a session's commits after the one that ends with event `after`, in order (0: all)."""
        return await self._commits(session_id, {"$gt": after})

    async def _commits(self, session_id: SessionId, seqs: Mapping[str, int]) -> Sequence[Commit]:
        query = {"sessionId": ObjectId(session_id), "seq": seqs}
        with unanswered_is_unknown():
            found = await self._events.find(query).sort("seq", pymongo.ASCENDING).to_list(None)
        return [read_commit(document) for document in found]

    async def events_after(self, session_id: SessionId, after: int, limit: int | None = None) -> Sequence[SealedEvent]:
        """Return at most `limit` of a session's events with a higher `seq` than `after`, in order."""
        # A commit stands at its first event's seq, so none that begins later can hold an event of the page.
        bound = {} if limit is None else {"$lte": after + limit}
        commits = list(await self._commits(session_id, {"$gt": after, **bound}))
        if after > 0 and (not commits or commits[0].seq != after + 1):
            commits[:0] = await self._commit_holding(session_id, after)
        events = chain.from_iterable(commit.events for commit in commits)
        return [sealed for sealed in events if sealed.event.seq > after][:limit]

    async def _commit_holding(self, session_id: SessionId, seq: int) -> list[Commit]:
        """Return the last commit that begins at or before event `seq`, if it can reach that far."""
        query = {"sessionId": ObjectId(session_id), "seq": {"$gt": seq - MAX_COMMIT_EVENTS, "$lte": seq}}
        with unanswered_is_unknown():
            found = await self._events.find(query).sort("seq", pymongo.DESCENDING).limit(1).to_list(None)
        return [read_commit(document) for document in found]

    async def session_ids(self) -> AsyncIterator[SessionId]:
        """Go through all sessions that have a commit, in no particular order."""
        # MongoDB answers this from the index, one step per session; the embedded server looks at every commit.
        pipeline = [{"$group": {"_id": "$sessionId"}}]
        with unanswered_is_unknown():
            cursor = self._events.aggregate(pipeline)
            with unhurried():
                document = await anext(cursor, None)
            while document is not None:
                key = document["_id"]
                yield SessionId(str(key) if isinstance(key, ObjectId) else repr(key))
                document = await anext(cursor, None)

    async def stored(self, session_id: SessionId) -> Sequence[Mapping[str, Any]]:
        """Return a session's commits in order of `seq` exactly as stored, for `ledger.find_flaws`."""
        query = {"sessionId": ObjectId(session_id)}
        with unanswered_is_unknown():
            found = await self._raw_events.find(query).sort("seq", pymongo.ASCENDING).to_list(None)
        return [stored_commit(bytes(document.raw)) for document in found]

    async def head(self, session_id: SessionId) -> Head | None:
        """Return where a session's journal ends; None if it has none."""
        key = {"sessionId": ObjectId(session_id)}
        with unanswered_is_unknown():
            cursor = self._events.find(key, {"seq": True, "hash": True, "events.seq": True})
            last = await cursor.sort("seq", pymongo.DESCENDING).limit(1).to_list(None)
            if not last:
                return None
            # Not those that were written since.
            commits = await self._events.count_documents({**key, "seq": {"$lte": last[0]["seq"]}})
        return Head(last[0]["events"][-1]["seq"], last[0]["hash"], commits)

    async def mentions(self, session_id: SessionId, user_id: UserId, kinds: Collection[str]) -> Sequence[Mention]:
        """Return a session's events of these kinds whose data is about the user, in order."""
        about_user = {"type": {"$in": sorted(kinds)}, "data.userId": user_id}
        query = {"sessionId": ObjectId(session_id), "events": {"$elemMatch": about_user}}
        with unanswered_is_unknown():
            found = await self._events.find(query).sort("seq", pymongo.ASCENDING).to_list(None)
        return [
            Mention(read_event(session_id, stored), document["hash"])
            for document in found
            for stored in document["events"]
            if stored["type"] in kinds and stored["data"].get("userId") == user_id
        ]

    async def expired(self, before: datetime, limit: int) -> Sequence[SessionId]:
        """Return up to `limit` sessions whose first commit is older than `before`."""
        # An index over the time would make every commit dearer, on the embedded server by a fifth. But ids tell when
        # they were made, and a session gets its own just before its first commit: so it is found by its id.
        found: dict[SessionId, None] = {}
        with unanswered_is_unknown():
            for window in windows_before(EPOCH, before):
                first, last = (ObjectId.from_datetime(edge) for edge in (window["$gte"], window["$lte"] + _SECOND))
                query = {"sessionId": {"$gte": first, "$lt": last}, "seq": 1, "at": {"$lt": before}}
                documents = await self._events.find(query, {"sessionId": True}).limit(limit).to_list(None)
                found |= {SessionId(str(document["sessionId"])): None for document in documents}
                if len(found) >= limit:
                    break
        return list(found)[:limit]

    async def discard(self, session_id: SessionId) -> None:
        """Take a session's whole journal away, from its end; harmless to repeat."""
        of_session = {"sessionId": ObjectId(session_id)}
        with unanswered_is_unknown():
            while last := await self._last_ids(session_id):
                await self._events.bulk_write([DeleteOne({"_id": key, **of_session}) for key in last], ordered=True)

    async def _last_ids(self, session_id: SessionId) -> list[ObjectId]:
        """Return the ids of a session's last commits, the very last first."""
        cursor = self._events.find({"sessionId": ObjectId(session_id)}, {"_id": True})
        found = await cursor.sort("seq", pymongo.DESCENDING).limit(_DELETED_AT_ONCE).to_list(None)
        return [document["_id"] for document in found]
