"""Replies in memory. Owns what was answered under which key; must not know what was asked."""

import asyncio
from datetime import datetime

from msgspec.structs import replace

from coordinator.ports.replies import Remembered, Reply


class MemoryReplies:
    """A complete `Replies`, except that nothing is ever forgotten."""

    def __init__(self) -> None:
        self._requests: dict[str, Remembered] = {}

    async def remember(self, key: str, fingerprint: str, at: datetime) -> Remembered | None:  # noqa: ARG002
        """Note that a request came under `key`; return the one that came before under it, if one did."""
        await asyncio.sleep(0)
        known = self._requests.get(key)
        if known is None:
            self._requests[key] = Remembered(fingerprint=fingerprint)
        return known

    async def keep(self, key: str, reply: Reply) -> None:
        """Keep the reply to the request under `key`."""
        await asyncio.sleep(0)
        known = self._requests.get(key)
        if known is not None:
            self._requests[key] = replace(known, reply=reply)

    async def release(self, key: str) -> None:
        """Forget the request under `key`, unless its reply is kept."""
        await asyncio.sleep(0)
        known = self._requests.get(key)
        if known is not None and known.reply is None:
            del self._requests[key]
