"""The journal in MongoDB: one document per commit in the collection `events` (SPEC section 1, events).

Owns the form of those documents and the queries for them; must not know what the events mean. The unique index
`{sessionId: 1, seq: 1}` makes two writers of the same place collide. Every query is bounded by an index.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import chain
from typing import Any

import pymongo
from bson import ObjectId
from bson.codec_options import DatetimeConversion
from pymongo.errors import BulkWriteError

from coordinator.adapters.mongo.client import Database, Document, unhurried
from coordinator.adapters.mongo.failures import refused_duplicates, unanswered_is_unknown
from coordinator.domain.ids import CommitId, SessionId
from coordinator.domain.ledger import (
    MAX_COMMIT_EVENTS,
    Commit,
    SealedEvent,
    canonical_stored_event,
    plain_data,
    read_event,
    wire_time,
    wire_value,
)


class MongoJournal:
    """A `Journal` over the collection `events`."""

    def __init__(self, database: Database) -> None:
        self._events = database.events
        # Someone may have put a date there that no datetime can hold; whoever looks for tampering must get to see it.
        codec = self._events.codec_options.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
        self._raw_events = self._events.with_options(codec_options=codec)

    async def append(self, commits: Sequence[Commit]) -> AbstractSet[CommitId]:
        """Write commits in one operation; see `Journal.append`."""
        if not commits:
            return frozenset()
        documents = [_commit_document(commit) for commit in commits]
        with unanswered_is_unknown():
            try:
                await self._events.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                # This also waited for the majority to have whatever was met there.
                refused = {commits[index].id for index in refused_duplicates(error)}
            else:
                return frozenset(commit.id for commit in commits)
        refused -= await self.written(list(refused))  # what is there under our own id, we wrote earlier
        return frozenset(commit.id for commit in commits if commit.id not in refused)

    async def written(self, ids: Sequence[CommitId]) -> AbstractSet[CommitId]:
        """Return which of `ids` are in the journal, durably."""
        if not ids:
            return frozenset()
        keys = [ObjectId(commit_id) for commit_id in ids]
        with unanswered_is_unknown():
            found = await self._events.find({"_id": {"$in": keys}}, {"_id": True}).to_list(None)
        return frozenset(CommitId(str(document["_id"])) for document in found)

    async def read(self, session_id: SessionId, after: int = 0) -> Sequence[Commit]:
        """Return a session's commits after the one that ends with event `after`, in order (0: all)."""
        return await self._commits(session_id, {"$gt": after})

    async def _commits(self, session_id: SessionId, seqs: Mapping[str, int]) -> Sequence[Commit]:
        query = {"sessionId": ObjectId(session_id), "seq": seqs}
        with unanswered_is_unknown():
            found = await self._events.find(query).sort("seq", pymongo.ASCENDING).to_list(None)
        return [_read_commit(document) for document in found]

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
        return [_read_commit(document) for document in found]

    async def session_ids(self) -> AsyncIterator[SessionId]:
        """Go through all sessions that have a commit, in no particular order."""
        # MongoDB answers this from the index, one step per session; the embedded server looks at every commit.
        pipeline = [{"$group": {"_id": "$sessionId"}}]
        with unanswered_is_unknown():
            cursor = self._events.aggregate(pipeline)
            with unhurried():
                document = await anext(cursor, None)
            while document is not None:
                yield SessionId(str(document["_id"]))
                document = await anext(cursor, None)

    async def stored(self, session_id: SessionId) -> Sequence[Mapping[str, Any]]:
        """Return a session's commits in order of `seq` exactly as stored, for `ledger.find_flaws`."""
        query = {"sessionId": ObjectId(session_id)}
        with unanswered_is_unknown():
            found = await self._raw_events.find(query).sort("seq", pymongo.ASCENDING).to_list(None)
        return [_raw_commit(document) for document in found]


def _commit_document(commit: Commit) -> Document:
    if len(commit.events) > MAX_COMMIT_EVENTS:
        raise ValueError(f"a commit of {len(commit.events)} events; at most {MAX_COMMIT_EVENTS} are allowed")
    return {
        "_id": ObjectId(commit.id),
        "sessionId": ObjectId(commit.session_id),
        "seq": commit.seq,
        "at": commit.at,
        "events": [_event_document(sealed) for sealed in commit.events],
        "prevHash": commit.prev_hash,
        "hash": commit.hash,
    }


def _event_document(sealed: SealedEvent) -> Document:
    event = sealed.event
    return {
        "seq": event.seq,
        "type": event.body.kind,
        "at": event.at,
        "actor": {"userId": event.actor.user_id, "role": str(event.actor.role)},
        "data": plain_data(event.body),
    }


def _read_commit(document: Document) -> Commit:
    session_id = SessionId(str(document["sessionId"]))
    return Commit(
        id=CommitId(str(document["_id"])),
        session_id=session_id,
        seq=document["seq"],
        at=document["at"],
        events=tuple(
            SealedEvent(read_event(session_id, stored), canonical_stored_event(session_id, stored))
            for stored in document["events"]
        ),
        prev_hash=document["prevHash"],
        hash=document["hash"],
    )


def _raw_commit(document: Document) -> Document:
    # A foreign field may be called "id": it takes the name that the real one gave up, and so remains foreign.
    plain = {"_id" if name == "id" else name: value for name, value in document.items() if name != "_id"}
    plain["id"] = _raw_id(document["_id"])
    for name, convert in (("sessionId", _raw_id), ("at", _raw_time)):
        if name in document:
            plain[name] = convert(document[name])
    if isinstance(document.get("events"), list):
        plain["events"] = [_raw_event(event) for event in document["events"]]
    return plain


def _raw_event(event: Any) -> Any:
    if not isinstance(event, dict):
        return event
    plain = wire_value(event)
    if "at" in event:
        plain["at"] = _raw_time(event["at"])
    return plain


def _raw_id(value: Any) -> str:
    return str(value) if isinstance(value, ObjectId) else _misfit(value)


def _raw_time(value: Any) -> str:
    return wire_time(value) if isinstance(value, datetime) else _misfit(value)


def _misfit(value: Any) -> str:
    # Where a date or an id belongs, the same characters stored as a text must not pass for it.
    return f"{type(value).__name__} {value!r}"
