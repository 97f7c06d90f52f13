"""Heartbeats in MongoDB: collection `nodes`, one document per running coordinator. Must not decide who is dead."""

from collections.abc import Mapping
from datetime import datetime

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.failures import unanswered_is_unknown
from coordinator.domain.ids import NodeId


class MongoLiveness:
    """A `Liveness` over the collection `nodes`."""

    def __init__(self, database: Database) -> None:
        self._nodes = database.nodes

    async def beat(self, node: NodeId, at: datetime) -> bool:
        """Note that `node` was alive at `at`; tell whether it was known. A late, older beat changes nothing."""
        with unanswered_is_unknown():
            result = await self._nodes.update_one({"_id": node}, {"$max": {"at": at}}, upsert=True)
        return result.upserted_id is None

    async def heartbeats(self) -> Mapping[NodeId, datetime]:
        """Return the last heartbeat of every node that has not been forgotten."""
        with unanswered_is_unknown():
            found = await self._nodes.find({}).to_list(None)
        return {NodeId(document["_id"]): document["at"] for document in found}

    async def forget(self, node: NodeId) -> None:
        """Drop a node that has stopped, or whose death has been dealt with."""
        with unanswered_is_unknown():
            await self._nodes.delete_one({"_id": node})
