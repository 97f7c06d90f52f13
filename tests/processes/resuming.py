"""A client as the contract wants it: it resumes with `after`, and notes whatever it is not given in order."""

import asyncio
from contextlib import suppress
from typing import Any

import socketio
from socketio.exceptions import BadNamespaceError, SocketIOError

CALL_SECONDS = 40
GOODBYE_SECONDS = 3


class ResumingClient:
    """One user who toggles for ever, across any number of server deaths.

    Attributes:
        first: The `seq` of the first snapshot; everything after it must arrive.
        received: Every event after it, as received.
        acked: (seq, camera) of every acked toggle.
        refused: Codes of retryable refusals.
        faults: What went against the contract.
    """

    def __init__(self, user: str, token: str, address: str, session_id: str) -> None:
        self.user = user
        self.first = 0
        self.received: list[dict[str, Any]] = []
        self.acked: list[tuple[int, bool]] = []
        self.refused: list[str] = []
        self.faults: list[str] = []
        self.resumptions = 0
        self.joined = asyncio.Event()
        self._token = token
        self._address = address
        self._session_id = session_id
        self._held: list[dict[str, Any]] | None = None
        self._camera = False

    @property
    def seq(self) -> int:
        """The last event seen."""
        return self.received[-1]["seq"] if self.received else self.first

    async def toggle_for_ever(self) -> None:
        """Connect, join, toggle as fast as acks come; begin again when the connection is gone. Ends by cancellation."""
        while True:
            client = socketio.AsyncClient(reconnection=False)
            client.on("*", namespace="/rooms", handler=self._take)
            gone = asyncio.Event()
            client.on("disconnect", namespace="/rooms", handler=lambda _reason, gone=gone: gone.set())
            stay = asyncio.create_task(self._stay(client))
            # A call whose answer never comes would otherwise wait for its timeout.
            watch = asyncio.create_task(gone.wait())
            try:
                await asyncio.wait({stay, watch}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                watch.cancel()
                await insist_on_ending(stay)
                self.joined.clear()
                with suppress(TimeoutError):
                    # The library waits for the server's answer to its goodbye, and for ever where none comes.
                    async with asyncio.timeout(GOODBYE_SECONDS):
                        await client.disconnect()
            await asyncio.sleep(0.05)  # as any client does between two attempts

    async def _stay(self, client: socketio.AsyncClient) -> None:
        self._held = []
        await client.connect(
            self._address, namespaces=["/rooms"], auth={"token": self._token}, transports=["websocket"], wait_timeout=5
        )
        join = {"sessionId": self._session_id}
        if self.first:
            join["after"] = self.seq  # type: ignore[assignment]
        answer = await client.call("join", join, namespace="/rooms", timeout=CALL_SECONDS)
        if not answer["ok"]:
            if not answer["error"]["retryable"]:
                self.faults.append(f"the join was refused: {answer['error']}")
            return
        self._take_view(answer)
        self.joined.set()
        while client.connected:
            await self._toggle(client)

    async def _toggle(self, client: socketio.AsyncClient) -> None:
        self._camera = not self._camera
        answer = await client.call(
            "set_media", {"cameraEnabled": self._camera}, namespace="/rooms", timeout=CALL_SECONDS
        )
        if answer["ok"]:
            self.acked.append((answer["seq"], self._camera))
        elif answer["error"]["retryable"]:
            self.refused.append(answer["error"]["code"])
        else:
            self.faults.append(f"a toggle was refused: {answer['error']}")

    def _take_view(self, answer: dict[str, Any]) -> None:
        if not self.first:
            self.first = answer["seq"]
        else:
            self.resumptions += 1
            if not answer["resumed"]:
                self.faults.append("a snapshot in place of the missed events")
            for event in answer.get("events", []):
                self._append(event)
            if self.seq != answer["seq"]:
                self.faults.append(f"resumed to {self.seq}, but the answer says {answer['seq']}")
        held, self._held = self._held or [], None
        for event in held:
            self._append(event)

    def _take(self, _name: str, payload: dict[str, Any]) -> None:
        if "seq" not in payload:
            return
        if self._held is not None:
            # The client's library runs handlers as tasks: an event may overtake the ack that it follows on the wire.
            self._held.append(payload)
        else:
            self._append(payload)

    def _append(self, event: dict[str, Any]) -> None:
        if event["seq"] != self.seq + 1:
            self.faults.append(f"got {event['seq']} after {self.seq}")
        self.received.append(event)


async def insist_on_ending(stay: asyncio.Task[None]) -> None:
    """Cancel what a client of this library does, until it has ended; however it ended is all right."""
    # Before Python 3.12 `asyncio.wait_for`, on which the library's calls rest, forgets a cancellation that meets an
    # answer just come: one `cancel` can get lost, and the toggling would go on for ever.
    while not stay.done():
        stay.cancel()
        await asyncio.wait({stay}, timeout=GOODBYE_SECONDS)
    with suppress(SocketIOError, BadNamespaceError, OSError, TimeoutError, asyncio.CancelledError):
        stay.result()
