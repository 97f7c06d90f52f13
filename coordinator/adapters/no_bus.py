"""No bus at all: a node that is alone, or that finds out in the database what others do."""

import asyncio
from collections.abc import Sequence

from coordinator.domain.ids import SessionId
from coordinator.ports.bus import Bus, BusListener, Hint


class NoBus(Bus):
    """A `Bus` on which nothing is ever said."""

    @property
    def is_up(self) -> bool:
        """Tell that nothing that is published arrives."""
        return False

    def is_live(self, session_id: SessionId) -> bool:  # noqa: ARG002
        """Tell that no message arrives."""
        return False

    def publish(self, hints: Sequence[Hint]) -> None:
        """Drop what is published."""

    def follow(self, session_id: SessionId) -> None:
        """Do nothing."""

    def unfollow(self, session_id: SessionId) -> None:
        """Do nothing."""

    async def run(self, listener: BusListener) -> None:  # noqa: ARG002
        """Do nothing, for ever."""
        await asyncio.get_running_loop().create_future()

    async def ping(self) -> None:
        """Answer: there is nothing that could be out of reach."""
