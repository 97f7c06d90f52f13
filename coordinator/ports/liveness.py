"""Which coordinator processes are alive."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from coordinator.domain.ids import NodeId


class Liveness(Protocol):
    """Heartbeats of all nodes. Every method raises `OutcomeUnknownError` when the store does not answer in time."""

    async def beat(self, node: NodeId, at: datetime) -> bool:
        """Note that `node` was alive at `at`; tell whether it was known: not new, and not forgotten by anybody."""

    async def heartbeats(self) -> Mapping[NodeId, datetime]:
        """Return the last heartbeat of every node that has not been forgotten."""

    async def forget(self, node: NodeId) -> None:
        """Drop a node that has stopped, or whose death has been dealt with."""
