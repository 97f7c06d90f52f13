"""`Idempotency-Key`: a request that is repeated is answered as before, and does nothing again.

Owns what makes two requests the same, and what is answered to the second. It does not keep the second from running
where the first was cut short: every operation is idempotent by itself, so that running it again finishes it.
"""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

import msgspec
from msgspec.structs import replace

from coordinator.domain.errors import CoordinatorError, InvalidRequestError
from coordinator.domain.ids import UserId
from coordinator.ports.clock import Clock
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.ports.replies import Replies, Reply
from coordinator.protocol.reading import Request
from coordinator.services.outages import silence_is_unavailable
from coordinator.transports.rest.operations import REPLAYED


class KeyedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request under a key.

    Attributes:
        scope: SHA-256, as hex, of who asked what under which key: the same key elsewhere is another.
        fingerprint: SHA-256, as hex, of what was sent: of its meaning, not of its spaces.
    """

    scope: str
    fingerprint: str

    @property
    def new_id(self) -> str:
        """The id of what this request makes: 24 hex digits, the same whenever it is repeated.

        It depends on the body as well, because keys are forgotten after a day: another request under an old key must
        not find what the old one made.
        """
        return hashlib.sha256((self.scope + self.fingerprint).encode()).hexdigest()[:24]


def keyed_request(user_id: UserId, method: str, path: str, key: str, body: Request) -> KeyedRequest:
    """Return what identifies a request."""
    return KeyedRequest(
        scope=hashlib.sha256(msgspec.json.encode([user_id, method, path, key])).hexdigest(),
        fingerprint=hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest(),
    )


class Idempotency:
    """Answers what comes again with what it was answered before."""

    def __init__(self, replies: Replies, clock: Clock) -> None:
        self._replies = replies
        self._clock = clock

    async def once(self, keyed: KeyedRequest, run: Callable[[], Awaitable[Reply]]) -> Reply:
        """Return the kept reply, or run and keep the reply if it is a success.

        Raises:
            InvalidRequestError: The key came with another request before.
            UnavailableError: The store of replies is out of reach; nothing was done.
        """
        with silence_is_unavailable():
            before = await self._replies.remember(keyed.scope, keyed.fingerprint, self._clock.now())
        if before is not None and before.fingerprint != keyed.fingerprint:
            message = "Idempotency-Key: came with another body before; a new request needs a new key"
            raise InvalidRequestError(message, field="Idempotency-Key")
        if before is not None and before.reply is not None:
            return replace(before.reply, headers={**before.reply.headers, REPLAYED: "true"})
        try:
            reply = await run()
        except CoordinatorError as refusal:
            if not refusal.retryable:
                # Nothing was done, so the request may come again, put right, under the same key.
                with suppress(OutcomeUnknownError):
                    await self._replies.release(keyed.scope)
            raise
        if reply.status < HTTPStatus.MULTIPLE_CHOICES:
            # It is done, and says so; should the request be repeated, it runs again and finds it done.
            with suppress(OutcomeUnknownError):
                await self._replies.keep(keyed.scope, reply)
        return reply
