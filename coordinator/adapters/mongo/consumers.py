"""The feed's consumers in MongoDB: a document each in `consumers`, and in `marks` one for each consumer and session.

Owns both and who may write them; must not know what a cursor says. Every document that is written costs, so the marks
that were moved last stand in the consumer's own document, as `recent`, and are written with its cursor. Once there are
too many of these, the ones that have not been moved for longest go to `marks`: a session that is over goes there once.
Either place may know of a session, and where both do the higher mark holds.

Each time a consumer begins without its marks it gets an empty `recent` and a new `beginning`, an id that its marks
carry: so all older marks are gone with the one write that says where it begins. A slow write of an earlier owner may
still add to those in `marks`, but never to the new ones.
"""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from coordinator.adapters.mongo.client import Database, Document
from coordinator.adapters.mongo.documents import ListReader
from coordinator.adapters.mongo.failures import refused_duplicates, unanswered_is_unknown
from coordinator.domain.ids import ConnectionId, SessionId
from coordinator.ports.consumers import Consumer

RECENT_MARKS = 256
"""How many marks may stand in a consumer's own document: every write of that is the slower for each of them."""
_WITHOUT_MARKS = {"recent": False}


class MongoConsumers:
    """A `Consumers` over the collections `consumers` and `marks`.

    Args:
        database: Where these are.
        recent_marks: How many marks may stand in a consumer's own document.
    """

    def __init__(self, database: Database, recent_marks: int = RECENT_MARKS) -> None:
        self._recent_marks = recent_marks
        self._consumers = database.consumers
        self._marks = database.marks
        self._reader = ListReader(database.consumers.name)

    async def claim(self, name: str, owner: ConnectionId) -> Consumer | None:
        """Make a connection the owner of a known consumer; return that as it is from now on."""
        with unanswered_is_unknown():
            result = await self._consumers.update_one({"_id": name}, {"$set": {"owner": owner}})
            document = await self._consumers.find_one({"_id": name}, _WITHOUT_MARKS) if result.matched_count else None
        # Whoever claimed it in between is named there now. This claim is told so by whatever it writes.
        return None if document is None else _read(document | {"owner": owner})

    async def begin(self, consumer: Consumer) -> bool:
        """Write a whole consumer, and take its marks away, unless another connection owns it."""
        if_owned = {"_id": consumer.name, "owner": consumer.owner}
        changes = _changes(_fields(consumer), {"beginning": ObjectId(), "recent": {}})
        with unanswered_is_unknown():
            before = await self._consumers.find_one({"_id": consumer.name}, {"beginning": True})
            try:
                await self._consumers.update_one(if_owned, changes, upsert=True)
            except DuplicateKeyError:  # it is known, and another's; or an earlier call of its owner came between
                if not (await self._consumers.update_one(if_owned, changes)).matched_count:
                    return False
            if before is not None:  # nobody reads these any more
                await self._marks.delete_many({"consumer": consumer.name, "beginning": before["beginning"]})
        return True

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
        """Note that a consumer has come to `cursor`, and has these sessions up to these `seq`."""
        with unanswered_is_unknown():
            while (known := await self._find(name)) is not None and known["owner"] == owner:
                recent, surplus = self._part(_moved(known.get("recent", {}), marks))
                # It may lose the ownership here. What goes to `marks` does so all the same and is true: this has been
                # acked. Should the consumer have begun anew meanwhile, it belongs to the beginning before.
                await self._put_away(name, known["beginning"], surplus)
                fields = {"cursor": cursor, "upTo": up_to, "recent": recent}
                changes: Document = {"$set": fields, "$unset": {"scope": ""}} if is_caught_up else {"$set": fields}
                # Only what `recent` was made of may be overwritten. One write of it all is quicker than many `$max`.
                as_found = {"recent": None, **known}
                if (await self._consumers.update_one(as_found, changes)).matched_count:
                    return True
        return False

    async def _find(self, name: str) -> Document | None:
        return await self._consumers.find_one({"_id": name}, {"owner": True, "beginning": True, "recent": True})

    def _part(self, marks: dict[SessionId, int]) -> tuple[dict[SessionId, int], dict[SessionId, int]]:
        """Part marks into those that stay in the consumer's document and those that are too many there.

        More than need be are parted off at a time, so that it is not done all the time.
        """
        too_many = 0 if len(marks) <= self._recent_marks else len(marks) - self._recent_marks * 3 // 4
        items = list(marks.items())
        return dict(items[too_many:]), dict(items[:too_many])

    async def _put_away(self, name: str, beginning: ObjectId, marks: Mapping[SessionId, int]) -> None:
        """Write marks to `marks`, where most of them are new: to insert them is several times quicker than to upsert.

        The higher holds there too, so that a late or repeated write takes nothing back.
        """
        if not marks:
            return
        which = {"consumer": name, "beginning": beginning}
        documents = [{**which, "sessionId": ObjectId(session_id), "seq": seq} for session_id, seq in marks.items()]
        try:
            await self._marks.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            there = [documents[index] for index in refused_duplicates(error)]
            raises = [
                UpdateOne({**which, "sessionId": one["sessionId"]}, {"$max": {"seq": one["seq"]}}) for one in there
            ]
            await self._marks.bulk_write(raises, ordered=False)

    async def marks(self, name: str, sessions: Collection[SessionId] | None = None) -> Mapping[SessionId, int]:
        """Return a consumer's marks of these sessions, or of all (None)."""
        with unanswered_is_unknown():
            # First this, then `marks`: what moves from here to there meanwhile is found in both.
            known = await self._find(name)
            if known is None:
                return {}
            query: dict[str, Any] = {"consumer": name, "beginning": known["beginning"]}
            if sessions is not None:
                query["sessionId"] = {"$in": [ObjectId(session_id) for session_id in sessions]}
            found = await self._marks.find(query, {"sessionId": True, "seq": True}).to_list(None)
        marks = {SessionId(str(document["sessionId"])): document["seq"] for document in found}
        recent: dict[SessionId, int] = known.get("recent", {})
        wanted = recent.keys() if sessions is None else recent.keys() & set(sessions)
        return marks | {session_id: max(recent[session_id], marks.get(session_id, 0)) for session_id in wanted}

    async def owners(self, names: Collection[str]) -> Mapping[str, ConnectionId]:
        """Return who owns these consumers; one that is not known is left out."""
        with unanswered_is_unknown():
            found = await self._consumers.find({"_id": {"$in": list(names)}}, {"owner": True}).to_list(None)
        return {document["_id"]: ConnectionId(document["owner"]) for document in found}

    async def all(self) -> Sequence[Consumer]:
        """Return every consumer, by name."""
        with unanswered_is_unknown():
            found = await self._consumers.find({}, _WITHOUT_MARKS).to_list(None)
        return sorted(self._reader.read(found, _read), key=lambda consumer: consumer.name)

    async def forget(self, name: str) -> bool:
        """Take a consumer and its marks away; tell whether it was known."""
        with unanswered_is_unknown():
            result = await self._consumers.delete_one({"_id": name})
            await self._marks.delete_many({"consumer": name})
        return result.deleted_count == 1

    async def forget_sessions(self, sessions: AbstractSet[SessionId]) -> None:
        """Take away the marks of sessions whose journal is gone."""
        if not sessions:
            return
        gone = {f"recent.{session_id}": "" for session_id in sessions}
        with unanswered_is_unknown():
            # In this order, for what is taken from the first place is not moved on to the second.
            await self._consumers.update_many({}, {"$unset": gone})
            await self._marks.delete_many({"sessionId": {"$in": [ObjectId(session_id) for session_id in sessions]}})


def _moved(recent: Mapping[SessionId, int], marks: Mapping[SessionId, int]) -> dict[SessionId, int]:
    """Join marks to recent ones. The higher holds, so that a late or repeated write takes nothing back."""
    moved = {session_id: max(seq, recent.get(session_id, 0)) for session_id, seq in marks.items()}
    # Those that were moved last come last: the document keeps the order.
    return {**{session_id: seq for session_id, seq in recent.items() if session_id not in moved}, **moved}


def _fields(consumer: Consumer) -> Document:
    fields = {
        "owner": consumer.owner,
        "cursor": consumer.cursor,
        "exact": consumer.is_exact,
        "upTo": consumer.up_to,
    }
    if consumer.scope is None:
        return fields
    return {**fields, "scope": [ObjectId(session_id) for session_id in consumer.scope]}


def _changes(fields: Document, more: Document) -> Document:
    changes: Document = {"$set": {**fields, **more}}
    return changes if "scope" in fields else {**changes, "$unset": {"scope": ""}}


def _read(document: Document) -> Consumer:
    scope = document.get("scope")
    return Consumer(
        name=document["_id"],
        owner=ConnectionId(document["owner"]),
        cursor=document["cursor"],
        is_exact=document["exact"],
        scope=None if scope is None else tuple(SessionId(str(session_id)) for session_id in scope),
        up_to=document["upTo"],
    )
