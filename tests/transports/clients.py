"""Two clients of any namespace: the ordinary Socket.IO one, and one that writes every frame by hand.

Owns connecting, waiting and remembering what arrived, in the order of arrival. Knows nothing of what should arrive.
"""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec
import socketio
import socketio.exceptions

NAMESPACE = "/rooms"
"""Where clients go unless another namespace is named."""
MODERATION = "/moderation"
RECORDING = "/recording"
PATIENCE_SECONDS = 20.0
"""How long anything may take that happens at once on an idle machine."""

T = TypeVar("T")


class Refused(Exception):  # noqa: N818 - what happened, not a defect
    """The handshake was refused; `reason` is what the client's `connect_error` got."""

    def __init__(self, reason: Any) -> None:
        super().__init__(reason)
        self.reason = reason


class Arrival(NamedTuple):
    """Something that reached a client: an event under its name, or an ack as `ack <name of the command>`."""

    kind: str
    payload: Any


class _Arrivals:
    """What reached a client, and whoever waits for more of it."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def announce(self) -> None:
        self._news.set()

    async def until(self, find: Callable[[], T | None], what: Callable[[], str]) -> T:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    self._news.clear()
                    found = find()
                    if found is not None:
                        return found
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(what()) from None


def matches(payload: Any, fields: dict[str, Any]) -> bool:
    """Tell whether an event carries these values, at its top or in its `data`."""
    both = {**payload, **payload["data"]} if isinstance(payload.get("data"), dict) else payload
    return all(name in both and both[name] == value for name, value in fields.items())


class RoomClient:
    """A user on the official Python client, in one namespace.

    Attributes:
        arrivals: All events and acks, in order.
        gone: Why the connection ended, once it has.
    """

    def __init__(self, user: str, namespace: str = NAMESPACE) -> None:
        self.user = user
        self.namespace = namespace
        self.arrivals: list[Arrival] = []
        self.gone: str | None = None
        self._waiting = _Arrivals()
        self._refusal: Any = None
        self._sio: Any = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self._sio.on("*", self._on_event, namespace=namespace)
        self._sio.on("disconnect", self._on_disconnect, namespace=namespace)
        self._sio.on("connect_error", self._on_connect_error, namespace=namespace)

    async def connect(self, address: str, auth: Any, transports: tuple[str, ...] = ("websocket",)) -> None:
        """Connect; raises `Refused` with the server's reason."""
        try:
            await self._sio.connect(
                address,
                auth=auth,
                namespaces=[self.namespace],
                transports=list(transports),
                wait_timeout=PATIENCE_SECONDS,
            )
        except socketio.exceptions.ConnectionError:
            raise Refused(self._refusal) from None

    async def close(self) -> None:
        """Say goodbye and end; harmless to repeat."""
        await self._sio.disconnect()

    async def lose_connection(self) -> None:
        """Let the network fail: nothing is said, the socket just closes."""
        await self._sio.eio.ws.close()
        await self.wait_gone()

    async def call(self, name: str, *arguments: Any) -> Any:
        """Send an event with these arguments; return its ack."""
        return await self.start(name, *arguments)

    def start(self, name: str, *arguments: Any) -> "asyncio.Future[Any]":
        """Send an event without waiting for anything; the future is its ack."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def on_ack(*reply: Any) -> None:
            self._arrive(f"ack {name}", reply[0])
            if not answer.done():
                answer.set_result(reply[0])

        async def exchange() -> Any:
            await self._sio.emit(name, arguments, namespace=self.namespace, callback=on_ack)
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await answer

        return asyncio.ensure_future(exchange())

    async def join(self, session_id: str, after: int | None = None) -> Any:
        """Join; return the ack."""
        return await self.call("join", {"sessionId": session_id} | ({} if after is None else {"after": after}))

    async def watch(self, session_id: str, after: int | None = None) -> Any:
        """Watch a session; return the ack."""
        return await self.call("watch", {"sessionId": session_id} | ({} if after is None else {"after": after}))

    def events(self, kind: str | None = None) -> list[Any]:
        """Return the payloads of the persisted events that arrived, or of all events of one kind."""
        return [
            payload
            for name, payload in self.arrivals
            if (name == kind if kind is not None else not name.startswith("ack ") and "at" in payload)
        ]

    async def wait_for(self, kind: str, **fields: Any) -> Any:
        """Return the first event of that kind with these fields, at its top or in its `data`, once it is there."""

        def find() -> Any:
            return next((payload for payload in self.events(kind) if matches(payload, fields)), None)

        def what() -> str:
            return f"{self.user}: no {kind} {fields}; arrived: {[arrival.kind for arrival in self.arrivals]}"

        return await self._waiting.until(find, what)

    async def wait_seq(self, seq: int) -> None:
        """Wait until the event with that `seq` has arrived."""

        def find() -> bool | None:
            return any(event["seq"] >= seq for event in self.events()) or None

        await self._waiting.until(find, lambda: f"{self.user}: no event {seq}")

    async def wait_record(self, session_id: str, seq: int) -> Any:
        """Return the event with that `seq` of a session, once the feed has brought it."""

        def find() -> Any:
            events = (record["event"] for record in self.events("record"))
            return next((event for event in events if (event["sessionId"], event["seq"]) == (session_id, seq)), None)

        return await self._waiting.until(find, lambda: f"{self.user}: no record of {session_id} {seq}")

    async def wait_gone(self) -> str:
        """Return why the connection ended, once it has."""
        return await self._waiting.until(lambda: self.gone, lambda: f"{self.user}: still connected")

    def _arrive(self, kind: str, payload: Any) -> None:
        self.arrivals.append(Arrival(kind, payload))
        self._waiting.announce()

    def _on_event(self, kind: str, *arguments: Any) -> None:
        assert len(arguments) == 1, arguments
        self._arrive(kind, arguments[0])

    def _on_disconnect(self, reason: str) -> None:
        self.gone = reason
        self._waiting.announce()

    def _on_connect_error(self, reason: Any = None) -> None:
        self._refusal = reason


class RawClient:
    """A WebSocket on which Engine.IO and Socket.IO are spoken by hand.

    Attributes:
        frames: Every text frame that arrived but for pings, exactly as it was.
        is_closed: Whether the server has closed the WebSocket, or the network has.
        negotiated: The extensions that the server agreed to.
    """

    def __init__(self, name: str = "raw") -> None:
        self.name = name
        self.frames: list[str] = []
        self.is_closed = False
        self.negotiated = 0
        self._waiting = _Arrivals()
        self._ack_ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ws: aiohttp.ClientWebSocketResponse[bool] | None = None

    async def open(self, address: str, compress: int = 0) -> None:
        """Open the WebSocket and wait for Engine.IO's first frame; nobody is told who this is."""
        self._session = aiohttp.ClientSession()
        url = f"{address}/socket.io/?EIO=4&transport=websocket"
        self._ws = await self._session.ws_connect(url, compress=compress, max_msg_size=0)
        self.negotiated = self._ws.compress
        self._reader = asyncio.create_task(self._read(self._ws), name=f"reader of {self.name}")
        await self.wait_frame("0{")

    async def connect(self, auth: Any, namespace: str = NAMESPACE) -> str:
        """Say who this is; return the answering frame."""
        before = len(self.frames)
        await self.send(f"40{namespace}," + ("" if auth is None else json.dumps(auth)))
        return await self.wait_frame("4", since=before)

    async def send(self, frame: str | bytes) -> None:
        """Send a frame as it is."""
        assert self._ws is not None
        if isinstance(frame, bytes):
            await self._ws.send_bytes(frame)
        else:
            await self._ws.send_str(frame)

    async def send_event(self, arguments: str, namespace: str = NAMESPACE) -> int:
        """Send an event, given as the text of its JSON array; return the id of the ack."""
        ack_id = next(self._ack_ids)
        await self.send(f"42{namespace},{ack_id}{arguments}")
        return ack_id

    async def wait_ack(self, ack_id: int, namespace: str = NAMESPACE) -> Any:
        """Return an ack."""
        prefix = f"43{namespace},{ack_id}["
        frame = await self.wait_frame(prefix)
        (reply,) = msgspec.json.decode(frame[len(prefix) - 1 :])
        return reply

    async def call(self, name: str, payload: Any, namespace: str = NAMESPACE) -> Any:
        """Send an event with one argument; return its ack."""
        return await self.wait_ack(await self.send_event(json.dumps([name, payload]), namespace), namespace)

    async def wait_frame(self, prefix: str, since: int = 0) -> str:
        """Return the first frame from number `since` on that begins so, once it is there."""

        def find() -> str | None:
            found = next((frame for frame in self.frames[since:] if frame.startswith(prefix)), None)
            assert found is not None or not self.is_closed, f"{self.name}: closed while waiting for {prefix}"
            return found

        return await self._waiting.until(find, lambda: f"{self.name}: no frame {prefix}; the last: {self.frames[-1:]}")

    async def wait_closed(self) -> None:
        """Wait until the WebSocket is closed by the other side."""
        await self._waiting.until(lambda: self.is_closed or None, lambda: f"{self.name}: still open")

    def event_frames(self) -> list[str]:
        """Return the frames that carry events."""
        return [frame for frame in self.frames if frame.startswith("42")]

    async def close(self) -> None:
        """Close the WebSocket; harmless to repeat."""
        if self._ws is not None:
            await self._ws.close()
        if self._reader is not None:
            await self._reader
        if self._session is not None:
            await self._session.close()

    async def _read(self, ws: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        async for message in ws:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            if message.data == "2":
                await ws.send_str("3")
                continue
            self.frames.append(message.data)
            self._waiting.announce()
        self.is_closed = True
        self._waiting.announce()


def event_of(frame: str) -> Any:
    """Return the payload of an event frame."""
    name, payload = msgspec.json.decode(frame.partition(",")[2])
    assert name == payload.get("type", name)
    return payload
