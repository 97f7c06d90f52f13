"""The bus over Redis: one channel for each session, on one server or on a cluster.

Owns being connected, and being so again after every interruption: then everything begins anew, and every followed
session comes to life again. Must not know what a hint means.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from coordinator.adapters.redis.attachment import Attachment, attach
from coordinator.adapters.redis.complaints import Complaints
from coordinator.adapters.redis.hints import UndecodableHintError, decode, encode, header, is_word
from coordinator.adapters.redis.server import Address, Server
from coordinator.adapters.redis.subscriptions import Subscriptions
from coordinator.domain.ids import NodeId, SessionId
from coordinator.ports.bus import Bus, BusListener, BusOutOfReachError, Hint
from coordinator.telemetry import get_logger

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 2.0
STEADY_SECONDS = 5.0
"""How long a connection must have lasted for the first retry after it to come at once."""
_MESSAGES = (b"message", b"smessage")
_SUBSCRIBED = (b"subscribe", b"ssubscribe")
_UNSUBSCRIBED = (b"unsubscribe", b"sunsubscribe")

_log = get_logger("bus")


class RedisBus(Bus):
    """A `Bus` over Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`; of a cluster, any of its nodes.
        node: Whose end of the bus this is; no other may have the same. One word.
        prefix: What the names of all channels begin with. Those with different prefixes do not hear each other.

    Raises:
        ValueError: One of these makes no sense; the message says which, and does not repeat the URL.
    """

    def __init__(self, url: str, node: NodeId, prefix: str = "coordinator") -> None:
        if not is_word(prefix) or set(prefix) & set("{}"):
            raise ValueError(f"prefix: {prefix!r} must be one word of ASCII without braces")
        self._header = header(node)
        self._server = Server(url, f"{prefix}:{node}")
        self._channels = f"{prefix}:session:".encode()
        self._trial_channel = f"{prefix}:ping".encode()
        self._subscriptions = Subscriptions()
        self._is_settling = False
        self._listener: BusListener | None = None
        self._attachment: Attachment | None = None
        self._known: Sequence[Address] = ()
        self._not_sent = Complaints(_log, "hints_not_sent")
        self._not_read = Complaints(_log, "hints_not_read")

    @property
    def is_up(self) -> bool:
        """Whether what is published now will probably arrive."""
        return self._attachment is not None

    def is_live(self, session_id: SessionId) -> bool:
        """Tell whether messages to a followed session arrive, as far as is known."""
        return session_id in self._subscriptions.live

    def publish(self, hints: Sequence[Hint]) -> None:
        """Send hints to whoever follows their sessions; see `Bus.publish`."""
        attachment = self._attachment
        if attachment is None:
            return
        for hint in hints:
            channel = self._channel(hint.session_id)
            outbox = attachment.outbox(channel)
            if outbox.is_full:
                self._not_sent.add(session=hint.session_id, error="too much waits to be sent")
                continue
            try:
                outbox.put(channel, encode(self._header, hint))
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                self._not_sent.add(session=hint.session_id, error=str(error))

    def follow(self, session_id: SessionId) -> None:
        """Listen to a session; see `Bus.follow`."""
        if self._subscriptions.follow(session_id):
            self._settle_soon()

    def unfollow(self, session_id: SessionId) -> None:
        """Listen to a session no more."""
        if self._subscriptions.unfollow(session_id):
            self._settle_soon()

    async def run(self, listener: BusListener) -> None:
        """Be connected until cancelled; see `Bus.run`."""
        self._listener = listener
        failures = 0
        said: str | None = None
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            was_up = False
            try:
                # Who knows a cluster need not depend on the node that the URL names.
                places = [None, *self._known]
                attachment = await attach(self._server, self._pushed, places[failures % len(places)])
                was_up = True
                await self._attend(attachment)
            except BusOutOfReachError as error:
                if was_up or str(error) != said:
                    said = str(error)
                    _log.warning("bus_down", error=said)
            failures = 1 if was_up and loop.time() - began >= STEADY_SECONDS else failures + 1
            delay = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - keeps nodes apart, guards nothing

    async def ping(self) -> None:
        """Ask whether Redis is there, and, unless connected already, whether it lets us do what we need.

        Raises:
            BusOutOfReachError: See `Bus.ping`.
        """
        if self._attachment is not None:
            await self._attachment.ping()
            return
        trial = await attach(self._server, lambda _: None)
        try:
            trial.subscribe([self._trial_channel])
            await trial.ping(self._trial_channel)
        finally:
            await trial.close()

    async def _attend(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._known = attachment.addresses
        self._subscriptions.connected()
        _log.info("bus_up", redis=self._server.where, nodes=len(attachment.outboxes), sharded=attachment.is_sharded)
        try:
            self._settle()
            await attachment.watch()
        finally:
            self._attachment = None
            self._subscriptions.disconnected()
            await attachment.close()

    def _settle_soon(self) -> None:
        # Not at once: whatever else is followed in this turn of the event loop goes along.
        if not self._is_settling:
            self._is_settling = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._is_settling = False
        if self._attachment is None:
            return
        changes = self._subscriptions.changes()
        self._attachment.subscribe(map(self._channel, changes.subscribe))
        self._attachment.unsubscribe(map(self._channel, changes.unsubscribe))
        for session_id in changes.revived:
            self._announce(session_id)

    def _pushed(self, push: list[Any]) -> None:
        kind = push[0]
        if kind in _MESSAGES:
            self._hear(push[1], push[2])
        elif kind in _SUBSCRIBED:
            session_id = self._session(push[1])
            if self._subscriptions.subscribed(session_id):
                self._announce(session_id)
            else:
                self._settle_soon()
        elif kind in _UNSUBSCRIBED:
            if self._subscriptions.unsubscribed(self._session(push[1])):
                self._settle_soon()
            elif self._attachment is not None:
                self._attachment.fail("has ended a subscription: slots of the cluster have moved")

    def _hear(self, channel: bytes, message: bytes) -> None:
        if message.startswith(self._header):
            return
        session_id = self._session(channel)
        if session_id not in self._subscriptions.live:
            return
        try:
            hint = decode(session_id, message)
        except UndecodableHintError as error:
            self._not_read.add(session=session_id, error=str(error))
            return
        assert self._listener is not None
        self._listener.heard(hint)

    def _announce(self, session_id: SessionId) -> None:
        assert self._listener is not None
        self._listener.live(session_id)

    def _channel(self, session_id: SessionId) -> bytes:
        return self._channels + session_id.encode()

    def _session(self, channel: bytes) -> SessionId:
        return SessionId(channel[len(self._channels) :].decode())
