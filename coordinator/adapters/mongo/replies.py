"""Replies in MongoDB: the collection `replies`, which forgets each after a day by itself.

Owns the documents and who comes first under a key; must not know what was asked.
"""

from datetime import datetime

from pymongo.errors import DuplicateKeyError

from coordinator.adapters.mongo.client import Database, Document
from coordinator.adapters.mongo.failures import unanswered_is_unknown
from coordinator.ports.replies import Remembered, Reply


class MongoReplies:
    """A `Replies` over the collection `replies`."""

    def __init__(self, database: Database) -> None:
        self._replies = database.replies

    async def remember(self, key: str, fingerprint: str, at: datetime) -> Remembered | None:
        """Note that a request came under `key`; return the one that came before under it, if one did."""
        with unanswered_is_unknown():
            while True:
                try:
                    await self._replies.insert_one({"_id": key, "fingerprint": fingerprint, "at": at})
                except DuplicateKeyError:
                    document = await self._replies.find_one({"_id": key})
                    if document is not None:
                        return _read(document)
                    # It was forgotten between the two looks at it.
                else:
                    return None

    async def keep(self, key: str, reply: Reply) -> None:
        """Keep the reply to the request under `key`."""
        # Pairs, because the name of a header may hold what has a meaning in the name of a field.
        headers = [{"name": name, "value": value} for name, value in reply.headers.items()]
        values = {"status": reply.status, "headers": headers, "body": reply.body}
        with unanswered_is_unknown():
            await self._replies.update_one({"_id": key}, {"$set": values})

    async def release(self, key: str) -> None:
        """Forget the request under `key`, unless its reply is kept."""
        with unanswered_is_unknown():
            await self._replies.delete_one({"_id": key, "status": None})  # null, or missing


def _read(document: Document) -> Remembered:
    if "status" not in document:
        return Remembered(fingerprint=document["fingerprint"])
    headers = {header["name"]: header["value"] for header in document["headers"]}
    reply = Reply(status=document["status"], headers=headers, body=bytes(document["body"]))
    return Remembered(fingerprint=document["fingerprint"], reply=reply)
