"""Writes whole documents, each unless the stored one has the same or a higher `seq`; repeating that is harmless.

Owns the forms of these conditional writes and the choice between them; must not know what the documents mean.
"""

from collections.abc import Sequence
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, WriteError

from coordinator.adapters.mongo.client import Collection, Document
from coordinator.adapters.mongo.failures import refused_duplicates

_FEWEST_PER_WRITE = 8
_MOST_PER_WRITE = 32
"""A larger write is cheaper for each of its documents, but the journal's commits wait behind all of it, and beyond this
it is little cheaper or even dearer. So writes are small as long as there is little to write."""
_WRITES_AT_LEAST = 2


async def replace_older(collection: Collection, documents: Sequence[Document]) -> None:
    """Write each document, unless one with the same `_id` and the same or a higher `seq` is there.

    Args:
        collection: Where to.
        documents: With ObjectIds for `_id`, each of them once.

    Raises:
        PyMongoError: As the driver says; any of the documents may have been written.
    """
    size = min(max(len(documents) // _WRITES_AT_LEAST, _FEWEST_PER_WRITE), _MOST_PER_WRITE)
    for start in range(0, len(documents), size):
        some = documents[start : start + size]
        # Nearly always all of them are there. If not, those that are missing are made, which is nearly always enough.
        if not await _replace_present(collection, some):
            rest = await _insert_missing(collection, some)
            if rest and not await _replace_present(collection, rest):
                await _replace_one_by_one(collection, rest)


def own(ids: Sequence[ObjectId], values: Sequence[Any]) -> Document:
    """Return an expression: of one statement about many documents, the value that is meant for each, by its `_id`."""
    return {"$arrayElemAt": [{"$literal": values}, {"$indexOfArray": [{"$literal": ids}, "$_id"]}]}


async def _replace_present(collection: Collection, documents: Sequence[Document]) -> bool:
    """Write those that replace an older one, in one statement; tell whether each of them was there, older or not.

    One statement and not one for each document: that nearly halves the cost on the embedded server. The server
    decides on each document by itself, and atomically. In an expression a missing `seq` is less than any number.
    """
    ids = [document["_id"] for document in documents]
    decided = {"$cond": [{"$lt": ["$seq", "$$own.seq"]}, "$$own", "$$ROOT"]}
    replaced = [{"$replaceWith": {"$let": {"vars": {"own": own(ids, documents)}, "in": decided}}}]
    try:
        result = await collection.update_many({"_id": {"$in": ids}}, replaced)
    except WriteError:
        return False  # one that is refused must not keep the others from being written, one by one
    return result.matched_count == len(documents)


async def _insert_missing(collection: Collection, documents: Sequence[Document]) -> Sequence[Document]:
    """Make those that are not there; return the others, on which their `seq` has still to decide."""
    ids = [document["_id"] for document in documents]
    present = {found["_id"] for found in await collection.find({"_id": {"$in": ids}}, {"_id": True}).to_list(None)}
    missing = [document for document in documents if document["_id"] not in present]
    others = [document for document in documents if document["_id"] in present]
    if missing:
        try:
            await collection.insert_many(missing, ordered=False)
        except BulkWriteError as error:
            # Somebody made the same document at the same moment. It is there now.
            others += [missing[index] for index in refused_duplicates(error)]
    return others


async def _replace_one_by_one(collection: Collection, documents: Sequence[Document]) -> None:
    operations = [_replacement_of_older(document) for document in documents]
    try:
        await collection.bulk_write(operations, ordered=False)
    except BulkWriteError as error:
        # As above: this time its seq decides.
        await collection.bulk_write([operations[index] for index in refused_duplicates(error)], ordered=False)


def _replacement_of_older(document: Document) -> UpdateOne:
    # One atomic step for all three cases: no document, an older one, one that is not older. A replacement with a filter
    # on `seq` reports the third case as a duplicate key, and costs the embedded server a fifth more, which finds a
    # document fast by `_id` alone.
    is_older = {"$lt": ["$seq", document["seq"]]}
    decided = {"$cond": [is_older, {"$literal": document}, "$$ROOT"]}
    return UpdateOne({"_id": document["_id"]}, [{"$replaceWith": decided}], upsert=True)
