"""Being connected: to one Redis, or to every node of a cluster that serves channels.

Owns the connections from when they are made until the first of them fails; then all are given up, and the next
attachment begins with nothing. That is simple, and it covers whatever can happen to a cluster: nodes that die, slots
that move. Must not know what is followed or published.

In a cluster, a channel belongs to a slot, and a slot to one node: messages travel between the nodes that take part only
(sharded channels, Redis 7). An older cluster sends every message to all of its nodes, so any one of them will do.
"""

import asyncio
from collections.abc import Iterable, Sequence

from redis.crc import key_slot

from coordinator.adapters.redis.link import PING, Link, pack
from coordinator.adapters.redis.outbox import Outbox
from coordinator.adapters.redis.server import SLOTS, Address, Pushed, Server, Shard, shards

_SHARDED_SINCE = 7


class Attachment:
    """Connections to everything that channels need.

    Args:
        outboxes: One for each connection.
        slots: Which of them serves each slot; none where channels are not sharded.
        addresses: Where the nodes of the cluster are, replicas included, if it is one.

    Attributes:
        outboxes: One for each connection.
        addresses: Where the nodes of the cluster are, replicas included.
    """

    def __init__(
        self, outboxes: Sequence[Outbox], slots: Sequence[Outbox] | None = None, addresses: Sequence[Address] = ()
    ) -> None:
        self.outboxes = outboxes
        self.addresses = addresses
        self._slots = slots
        self._subscribe, self._unsubscribe = (
            (b"SUBSCRIBE", b"UNSUBSCRIBE") if slots is None else (b"SSUBSCRIBE", b"SUNSUBSCRIBE")
        )

    @property
    def is_sharded(self) -> bool:
        """Whether each channel belongs to one node of a cluster."""
        return self._slots is not None

    def outbox(self, channel: bytes) -> Outbox:
        """Return what leads to the node that serves a channel."""
        return self.outboxes[0] if self._slots is None else self._slots[key_slot(channel)]

    def subscribe(self, channels: Iterable[bytes]) -> None:
        """Ask for subscriptions; each is confirmed by a push."""
        self._ask_for(self._subscribe, channels)

    def unsubscribe(self, channels: Iterable[bytes]) -> None:
        """Ask for the end of subscriptions; each is confirmed by a push."""
        self._ask_for(self._unsubscribe, channels)

    def fail(self, reason: str) -> None:
        """Give it up."""
        self.outboxes[0].link.fail(reason)

    async def ping(self, channel: bytes | None = None) -> None:
        """Ask all others whether they are there.

        Args:
            channel: Where to say something, to find out whether that is allowed; nobody must listen there.

        Raises:
            BusOutOfReachError: One does not answer in time.
        """
        asked = [outbox.link.answer(PING) for outbox in self.outboxes]
        if channel is not None:
            outbox = self.outbox(channel)
            asked.append(outbox.link.answer(pack(outbox.verb, channel, b"")))
        await asyncio.gather(*asked)

    async def watch(self) -> None:
        """Make sure that all others are there, until one is not.

        Raises:
            BusOutOfReachError: One is not there any more; always, sooner or later.
        """
        watches = [asyncio.ensure_future(outbox.link.watch()) for outbox in self.outboxes]
        try:
            await asyncio.gather(*watches)
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def close(self) -> None:
        """Give every connection up, and wait until nothing is left of them."""
        await asyncio.gather(*(outbox.link.close() for outbox in self.outboxes))

    def _ask_for(self, verb: bytes, channels: Iterable[bytes]) -> None:
        if self._slots is None:
            wanted = tuple(channels)
            if wanted:
                self.outboxes[0].link.write(pack(verb, *wanted))
            return
        commands: dict[Link, list[bytes]] = {}
        for channel in channels:
            # One command must not name channels of several slots, and few have a slot in common.
            command = pack(verb, channel)
            commands.setdefault(self.outbox(channel).link, []).append(command)
        for link, parts in commands.items():
            link.write(b"".join(parts))


async def attach(server: Server, pushed: Pushed, start: Address | None = None) -> Attachment:
    """Connect to everything that channels need.

    Args:
        server: Where Redis is.
        pushed: Takes what comes unasked from any of the connections.
        start: The node of a cluster to ask; if None, the one that the URL names.

    Raises:
        BusOutOfReachError: Something cannot be reached.
    """
    link, greeting = await server.connect(pushed, start)
    if not greeting.in_cluster or greeting.version < _SHARDED_SINCE:
        return Attachment([Outbox(link, b"PUBLISH")])
    try:
        ranges = await shards(link, (start or server.address).host)
    finally:
        await link.close()
    return await _attach_to_all(server, pushed, ranges)


async def _attach_to_all(server: Server, pushed: Pushed, ranges: Sequence[Shard]) -> Attachment:
    addresses = list(dict.fromkeys(shard.nodes[0] for shard in ranges))
    attempts = [asyncio.ensure_future(server.connect(pushed, address)) for address in addresses]
    try:
        links = [link for link, _ in await asyncio.gather(*attempts)]
    except BaseException:
        for attempt in attempts:
            attempt.cancel()
        for outcome in await asyncio.gather(*attempts, return_exceptions=True):
            if not isinstance(outcome, BaseException):
                await outcome[0].close()
        raise
    outboxes = [Outbox(link, b"SPUBLISH") for link in links]
    by_address = dict(zip(addresses, outboxes, strict=True))
    slots: list[Outbox] = [outboxes[0]] * SLOTS
    for shard in ranges:
        slots[shard.first : shard.last + 1] = [by_address[shard.nodes[0]]] * (shard.last - shard.first + 1)
    known = dict.fromkeys(address for shard in ranges for address in shard.nodes)
    return Attachment(outboxes, slots, list(known))
