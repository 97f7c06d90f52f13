"""Clients that come back to another coordinator when theirs is gone, and note what they see and when."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

import socketio

from coordinator.adapters.system import SystemClock
from tests.multinode.cluster import Node
from tests.processes.resuming import CALL_SECONDS, ResumingClient

PAUSE_SECONDS = 0.1
"""Between two commands of a user, on average: a load under which two processors still have time to spare."""
_LOOK_SECONDS = 0.01


class RoamingClient(ResumingClient):
    """A user who toggles for ever, on one of several nodes.

    Args:
        user: Who it is.
        session_id: The session.
        nodes: Where it may connect.
        first: Where it connects first.
        chance: Decides everything else.

    Attributes:
        node: Where it is connected, or was last.
        seen_at: For each event, when it was seen, and on which node.
        acked_at: For each acked `seq`, when that was, and on which node.
        waited: When each answer came, and how long it had taken.
        forgiven: Codes of refusals that are no fault.
    """

    def __init__(self, user: str, session_id: str, nodes: Sequence[Node], first: Node, chance: random.Random) -> None:
        super().__init__(user, first.token(user), first.address, session_id)
        self.node = first
        self.seen_at: dict[int, tuple[float, Node]] = {}
        self.acked_at: dict[int, tuple[float, Node]] = {}
        self.waited: list[tuple[float, float]] = []
        self.forgiven: set[str] = set()
        self._nodes = nodes
        self._chance = chance
        self._may_go = asyncio.Event()
        self._may_go.set()
        self._is_waiting = False
        self._attempts = 0
        self._wish: Node | None = None
        self._connection: socketio.AsyncClient | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether it is in the session, and asks nothing."""
        return self._is_waiting and self.joined.is_set()

    def pause(self) -> None:
        """Ask nothing more."""
        self._may_go.clear()

    def go_on(self) -> None:
        """Toggle again."""
        self._may_go.set()

    async def move(self, node: Node) -> None:
        """Hang up, and connect to this node."""
        assert self._connection is not None
        self._wish = node
        self.joined.clear()
        await self._connection.disconnect()
        async with asyncio.timeout(CALL_SECONDS):
            await self.joined.wait()

    async def sees(self, kind: str, after: int, seconds: float, **data: Any) -> tuple[dict[str, Any], float]:
        """Return the first event of a kind, later than `after` and with these data, and when it was seen."""
        place = max(after - self.first, 0)
        async with asyncio.timeout(seconds):
            while True:
                while place < len(self.received):
                    event = self.received[place]
                    if event["type"] == kind and data.items() <= event["data"].items():
                        return event, self.seen_at[event["seq"]][0]
                    place += 1
                await SystemClock().sleep(_LOOK_SECONDS)

    async def acks(self, count: int, seconds: float = 60) -> None:
        """Wait until that many more of its commands are acked than now."""
        wanted = len(self.acked) + count
        async with asyncio.timeout(seconds):
            while len(self.acked) < wanted:
                await SystemClock().sleep(_LOOK_SECONDS)

    async def _stay(self, client: socketio.AsyncClient) -> None:
        self._is_waiting = False
        alive = [node for node in self._nodes if node.is_alive]
        if not alive:
            raise ConnectionRefusedError("no coordinator is there")
        if self._wish in alive:
            self.node = self._wish
        elif self._attempts or self.node not in alive:
            self.node = self._chance.choice(alive)
        self._wish = None
        self._attempts += 1
        self._connection = client
        self._address = self.node.address
        await super()._stay(client)

    async def _toggle(self, client: socketio.AsyncClient) -> None:
        self._is_waiting = True
        await self._may_go.wait()
        self._is_waiting = False
        await SystemClock().sleep(self._chance.uniform(0.5, 1.5) * PAUSE_SECONDS)  # as people do
        self._camera = not self._camera
        name, payload = self._command(self._camera)
        loop = asyncio.get_running_loop()
        asked = loop.time()
        answer = await client.call(name, payload, namespace="/rooms", timeout=CALL_SECONDS)
        now = loop.time()
        self.waited.append((now, now - asked))
        if answer["ok"]:
            self.acked_at[answer["seq"]] = now, self.node
            self.acked.append((answer["seq"], self._camera))
        elif answer["error"]["retryable"] or answer["error"]["code"] in self.forgiven:
            self.refused.append(answer["error"]["code"])
        else:
            self.faults.append(f"a command was refused: {answer['error']}")

    def value_after(self, event: Mapping[str, Any], before: bool) -> bool:
        """Return what is so of what this user toggles, after an event about the user."""
        return bool(event["data"].get("cameraEnabled", before))

    def _command(self, value: bool) -> tuple[str, dict[str, Any]]:
        return "set_media", {"cameraEnabled": value}

    def _append(self, event: dict[str, Any]) -> None:
        self.seen_at[event["seq"]] = asyncio.get_running_loop().time(), self.node
        super()._append(event)


class WaveringRoamer(RoamingClient):
    """Grants and revokes consent for ever, in place of switching the camera."""

    def value_after(self, event: Mapping[str, Any], before: bool) -> bool:
        """Return whether this user's consent is given, after an event about the user."""
        told = {"recording_consent_granted": True, "recording_consent_revoked": False}
        return bool(event["data"].get("recordingConsent", told.get(event["type"], before)))

    def _command(self, value: bool) -> tuple[str, dict[str, Any]]:
        return "set_recording_consent", {"granted": value}
