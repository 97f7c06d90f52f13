"""A recorder that follows the feed on whatever coordinator is alive, and notes what it is given."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import socketio

from coordinator.adapters.system import SystemClock
from coordinator.domain.events import Role
from coordinator.domain.ids import SessionId
from tests.multinode.cluster import Node
from tests.processes.resuming import CALL_SECONDS, GOODBYE_SECONDS, insist_on_ending
from tests.transports.clients import RECORDING

Place = tuple[str, int]
"""A session and a `seq`."""


class RoamingRecorder:
    """One consumer of the feed.

    Args:
        consumer: Its name.
        nodes: Where it may connect.
        first: Where it connects first.
        chance: Decides where it connects later.

    Attributes:
        node: Where it is connected, or was last.
        connections: What came on each connection, in order.
        begun: For each connection, up to where each session's records may have been acked when it began.
        seen_at: When each event came first.
        acks: How many acks were answered.
        refusals: What was refused though it must not be.
    """

    def __init__(self, consumer: str, nodes: Sequence[Node], first: Node, chance: random.Random) -> None:
        self.node = first
        self.connections: list[list[dict[str, Any]]] = []
        self.begun: list[dict[str, int]] = []
        self.seen_at: dict[Place, float] = {}
        self.acks = 0
        self.refusals: list[Any] = []
        self._consumer = consumer
        self._nodes = nodes
        self._chance = chance
        self._acked: dict[str, int] = {}

    async def follow_for_ever(self) -> None:
        """Follow the feed; when the connection is gone, elsewhere. Ends by cancellation."""
        while True:
            alive = [node for node in self._nodes if node.is_alive]
            if self.node not in alive:
                self.node = self._chance.choice(alive)
            client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
            gone = asyncio.Event()
            client.on("disconnect", lambda _reason, gone=gone: gone.set(), namespace=RECORDING)
            stay = asyncio.create_task(self._stay(client))
            watch = asyncio.create_task(gone.wait())
            try:
                await asyncio.wait({stay, watch}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                watch.cancel()
                await insist_on_ending(stay)
                with suppress(TimeoutError):
                    async with asyncio.timeout(GOODBYE_SECONDS):
                        await client.disconnect()
            await SystemClock().sleep(0.05)  # as any client does between two attempts

    async def more_acks(self, count: int) -> None:
        """Wait until that many more acks were answered than now."""
        wanted = self.acks + count
        async with asyncio.timeout(30):
            while self.acks < wanted:
                await SystemClock().sleep(0.02)

    async def has(self, places: set[Place], seconds: float = 30) -> None:
        """Wait until it has been given all of these events."""
        try:
            async with asyncio.timeout(seconds):
                while places - self.seen_at.keys():
                    await SystemClock().sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"the feed lacks {sorted(places - self.seen_at.keys())[:10]}") from None

    def check(self, written: Mapping[SessionId, Sequence[Mapping[str, Any]]]) -> None:
        """Check that each connection went on where the acks ended, or before, and told all and only what is written.

        Args:
            written: What of each session's journal belongs into the feed, in order.
        """
        assert self.refusals == []
        for records, acked in zip(self.connections, self.begun, strict=True):
            for session, events in written.items():
                told = [event for event in records if event["sessionId"] == session]
                if told:
                    place = [event["seq"] for event in events].index(told[0]["seq"])
                    assert told == events[place : place + len(told)]
                    assert all(event["seq"] <= acked.get(session, 0) for event in events[:place]), "there is a gap"

    async def _stay(self, client: socketio.AsyncClient) -> None:
        records: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        client.on("record", records.put_nowait, namespace=RECORDING)
        auth = {"token": self.node.token("recorder", Role.RECORDER)}
        await client.connect(
            self.node.address, namespaces=[RECORDING], auth=auth, transports=["websocket"], wait_timeout=5
        )
        if not await self._call(client, "subscribe", {"consumer": self._consumer}):
            return
        here: list[dict[str, Any]] = []
        self.connections.append(here)
        self.begun.append(dict(self._acked))
        while True:
            record = await records.get()
            event = record["event"]
            here.append(event)
            self.seen_at.setdefault((event["sessionId"], event["seq"]), asyncio.get_running_loop().time())
            if records.empty():
                # Whether or not the answer comes, it may have been taken.
                self._acked |= {event["sessionId"]: event["seq"] for event in here}
                if await self._call(client, "ack", {"cursor": record["cursor"]}):
                    self.acks += 1

    async def _call(self, client: socketio.AsyncClient, name: str, payload: dict[str, Any]) -> bool:
        answer = await client.call(name, payload, namespace=RECORDING, timeout=CALL_SECONDS)
        if not answer["ok"] and not answer["error"]["retryable"]:
            self.refusals.append((name, answer["error"]))
        return bool(answer["ok"])
