"""Heartbeats in memory. Owns the last one of each node; must not decide who is dead."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

from coordinator.domain.ids import NodeId


class MemoryLiveness:
    """A complete `Liveness`."""

    def __init__(self) -> None:
        self._beats: dict[NodeId, datetime] = {}

    async def beat(self, node: NodeId, at: datetime) -> bool:
        """Note that `node` was alive at `at`; tell whether it was known."""
        await asyncio.sleep(0)
        was_known = node in self._beats
        self._beats[node] = max(at, self._beats.get(node, at))
        return was_known

    async def heartbeats(self) -> Mapping[NodeId, datetime]:
        """Return the last heartbeat of every node that has not been forgotten."""
        await asyncio.sleep(0)
        return dict(self._beats)

    async def forget(self, node: NodeId) -> None:
        """Drop a node that has stopped, or whose death has been dealt with."""
        await asyncio.sleep(0)
        self._beats.pop(node, None)
