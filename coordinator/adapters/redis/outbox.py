"""What waits to be published by one connection.

Owns the queue and its bounds. What waits is sent together, one batch for each round trip: while a batch is under way,
the next one gathers.
"""

import asyncio
from typing import Any

from coordinator.adapters.redis.link import Link, pack

MAX_WAITING_MESSAGES = 10_000
MAX_WAITING_BYTES = 16 * 1024 * 1024


class Outbox:
    """A queue of messages for one connection, in order. It is bounded if nothing is put into it while it is full.

    Args:
        link: The connection.
        verb: The command that publishes.

    Attributes:
        link: The connection.
        verb: The command that publishes.
    """

    def __init__(self, link: Link, verb: bytes) -> None:
        self.link = link
        self.verb = verb
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._under_way = 0
        self._under_way_bytes = 0
        self._is_sending = False

    @property
    def is_full(self) -> bool:
        """Whether so much waits or is under way that nothing more should be put here."""
        return (
            len(self._waiting) + self._under_way >= MAX_WAITING_MESSAGES
            or self._waiting_bytes + self._under_way_bytes >= MAX_WAITING_BYTES
        )

    def put(self, channel: bytes, message: bytes) -> None:
        """Queue a message."""
        command = pack(self.verb, channel, message)
        self._waiting.append(command)
        self._waiting_bytes += len(command)
        if not self._is_sending:
            self._is_sending = True
            # Not at once: whatever else is published in this turn of the event loop goes along.
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        batch, self._waiting = self._waiting, []
        self._under_way, self._under_way_bytes, self._waiting_bytes = len(batch), self._waiting_bytes, 0
        self.link.ask(b"".join(batch), len(batch)).add_done_callback(self._sent)

    def _sent(self, answer: "asyncio.Future[Any]") -> None:
        if answer.cancelled() or answer.exception() is not None:
            return  # the link is gone, and this outbox with it
        self._under_way = self._under_way_bytes = 0
        if self._waiting:
            self._send()
        else:
            self._is_sending = False
