"""Replies to requests that carry an `Idempotency-Key`, kept so that a repeated request gets the same one."""

from datetime import datetime
from typing import Protocol

import msgspec


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What a request was answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """A request that came before under the same key; without `reply` while it is being handled, or was cut short."""

    fingerprint: str
    reply: Reply | None = None


class Replies(Protocol):
    """Documents of the collection `replies`, each kept for a day.

    Every method raises `OutcomeUnknownError` when the store does not answer in time.
    """

    async def remember(self, key: str, fingerprint: str, at: datetime) -> Remembered | None:
        """Note that a request came under `key`; return the one that came before under it, if one did."""

    async def keep(self, key: str, reply: Reply) -> None:
        """Keep the reply to the request under `key`."""

    async def release(self, key: str) -> None:
        """Forget the request under `key`, so that another may come, unless its reply is kept; harmless to repeat."""
