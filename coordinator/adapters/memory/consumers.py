"""Consumers of the feed in memory. Owns them and their marks; must not know what a cursor means."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from msgspec.structs import replace

from coordinator.domain.ids import ConnectionId, SessionId
from coordinator.ports.consumers import Consumer


class MemoryConsumers:
    """A complete `Consumers`."""

    def __init__(self) -> None:
        self._consumers: dict[str, Consumer] = {}
        self._marks: dict[str, dict[SessionId, int]] = {}

    async def claim(self, name: str, owner: ConnectionId) -> Consumer | None:
        """Make a connection the owner of a known consumer; None: it is not known."""
        await asyncio.sleep(0)
        known = self._consumers.get(name)
        if known is None:
            return None
        self._consumers[name] = replace(known, owner=owner)
        return self._consumers[name]

    async def begin(self, consumer: Consumer) -> bool:
        """Write a whole consumer, and take its marks away, unless another connection owns it."""
        await asyncio.sleep(0)
        known = self._consumers.get(consumer.name)
        if known is not None and known.owner != consumer.owner:
            return False
        self._marks.pop(consumer.name, None)
        self._consumers[consumer.name] = consumer
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
        """Note how far a consumer has come; False if this owner does not own it."""
        await asyncio.sleep(0)
        known = self._consumers.get(name)
        if known is None or known.owner != owner:
            return False
        stored = self._marks.setdefault(name, {})
        for session_id, seq in marks.items():
            stored[session_id] = max(seq, stored.get(session_id, 0))
        scope = None if is_caught_up else known.scope
        self._consumers[name] = replace(known, cursor=cursor, up_to=up_to, scope=scope)
        return True

    async def marks(self, name: str, sessions: Collection[SessionId] | None = None) -> Mapping[SessionId, int]:
        """Return a consumer's marks of these sessions, or of all (None)."""
        await asyncio.sleep(0)
        stored = self._marks.get(name, {})
        if sessions is None:
            return dict(stored)
        return {session_id: stored[session_id] for session_id in sessions if session_id in stored}

    async def owners(self, names: Collection[str]) -> Mapping[str, ConnectionId]:
        """Return who owns these consumers; one that is not known is left out."""
        await asyncio.sleep(0)
        return {name: self._consumers[name].owner for name in names if name in self._consumers}

    async def all(self) -> Sequence[Consumer]:
        """Return every consumer, by name."""
        await asyncio.sleep(0)
        return [consumer for _, consumer in sorted(self._consumers.items())]

    async def forget(self, name: str) -> bool:
        """Take a consumer and its marks away; tell whether it was known."""
        await asyncio.sleep(0)
        self._marks.pop(name, None)
        return self._consumers.pop(name, None) is not None

    async def forget_sessions(self, sessions: AbstractSet[SessionId]) -> None:
        """Take away the marks of sessions whose journal is gone."""
        await asyncio.sleep(0)
        for marks in self._marks.values():
            for session_id in sessions:
                marks.pop(session_id, None)
