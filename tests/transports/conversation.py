"""One long conversation with the server, by hand and step by step, whatever carries it.

Owns the script and a client that polls like one that has a WebSocket. Knows nothing of what is right.
"""

import asyncio
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp

from coordinator.domain.events import Role
from coordinator.domain.ledger import wire_time
from tests.transports.clients import MODERATION, NAMESPACE, RECORDING, RawClient
from tests.transports.harness import Live, eventually

SETTINGS = {"limits.connections_per_user": 3, "session.reconnect_grace_seconds": 60.0}
_LONG = "x" * 66_000

_BAD = (
    '["no_such_event",{}]',
    '["set_media",{}]',
    '["set_media",{"cameraEnabled":1}]',
    '["set_media",{"cameraEnabled":true,"loud":true}]',
    '["set_media"]',
    '["set_media",{},{}]',
    '["set_media",[]]',
    '["join",{"sessionId":"x"}]',
    '["signal",{"to":"nobody","data":1}]',
    f'["signal",{{"to":"bo","data":"{"x" * 17_000}"}}]',
    '["connect",{}]',
    "[]",
    "{}",
    "[1]",
    '["set_media"',
    "",
    f'["set_media",{{"text":"{_LONG}"}}]',
    f'["set_media",{{"text":"{_LONG}',
)
_MALFORMED = ("4x", "44/rooms,{}", "43/rooms,1[", "461-/rooms,1[]", "42/elsewhere," + _LONG)


class PollingClient(RawClient):
    """The same as a `RawClient`, but over requests."""

    def __init__(self, name: str = "polling") -> None:
        super().__init__(name)
        self._url = ""
        self._packets_to_send = asyncio.Lock()

    async def open(self, address: str, _compress: int = 0) -> None:
        """Begin, and go on polling."""
        self._session = aiohttp.ClientSession()
        self._url = f"{address}/socket.io/?EIO=4&transport=polling"
        await self._poll()
        opened = json.loads(self.frames[0][1:])
        self._url += f"&sid={opened['sid']}"
        self._reader = asyncio.create_task(self._poll_on(), name=f"polls of {self.name}")

    async def send(self, frame: str | bytes) -> None:
        """Send a packet as it is."""
        assert isinstance(frame, str)
        assert self._session is not None
        async with self._packets_to_send, self._session.post(self._url, data=frame) as response:
            await response.read()

    async def send_attachment(self) -> None:
        """Send something binary."""
        await self.send("bAAAA")

    async def close(self) -> None:
        """Say that it goes, which a request that is broken off would not. Harmless to repeat."""
        if self._reader is not None and not self._reader.done():
            await self.send("1")
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _poll(self) -> bool:
        assert self._session is not None
        async with self._session.get(self._url) as response:
            if response.status != 200:
                return False
            packets = (await response.text()).split("\x1e")
        for packet in packets:
            if packet == "2":
                await self.send("3")
            elif packet not in ("", "6"):
                self.frames.append(packet)
        self._waiting.announce()
        return "1" not in packets

    async def _poll_on(self) -> None:
        while await self._poll():
            pass
        self.is_closed = True
        self._waiting.announce()


class Conversation:
    """The script.

    Attributes:
        clients: Everybody who took part, by name; the same names on every road.
    """

    def __init__(self, live: Live, make: Callable[[str], RawClient]) -> None:
        self._live = live
        self._make = make
        self._session_id = ""
        self.clients: dict[str, RawClient] = {}

    async def hold(self) -> None:
        """Say everything."""
        try:
            await self._strangers()
            offer = await self._live.offer("ada", "bo", "cy", "eve")
            self._session_id = offer.session_id
            await self._a_session()
            await self._mistakes()
            await self._malformed()
            await self._moderation()
            await self._endings()
            await self._recording()
            await self._the_server_stops()
        finally:
            await asyncio.gather(*(client.close() for client in self.clients.values()))

    async def _open(self, name: str) -> RawClient:
        client = self._make(name)
        self.clients[name] = client
        await client.open(self._live.address)
        return client

    async def _enter(
        self, name: str, user: str, namespace: str = NAMESPACE, role: Role = Role.PARTICIPANT, ttl: float = 600
    ) -> RawClient:
        client = await self._open(name)
        answer = await client.connect({"token": self._live.token(user, role, ttl)}, namespace)
        assert answer.startswith(f"40{namespace},"), answer
        return client

    async def _join(self, name: str, user: str, **fields: Any) -> RawClient:
        client = await self._enter(name, user)
        assert (await client.call("join", {"sessionId": self._session_id, **fields}))["ok"]
        return client

    async def _all_have(self, seq: int, *names: str) -> None:
        """Wait until these clients have seen an event, so that what they say next comes after it everywhere."""
        for name in names:
            client = self.clients[name]
            await eventually(partial(_has, client, f'"seq":{seq},'), f"event {seq} at {name}")

    async def _strangers(self) -> None:
        stranger = await self._open("stranger")
        for namespace, auth in (
            (NAMESPACE, None),
            (NAMESPACE, {}),
            (NAMESPACE, {"token": 7}),
            (NAMESPACE, {"token": "x.y.z"}),
            (NAMESPACE, {"token": self._live.token("ada", Role.RECORDER)}),
            (MODERATION, {"token": self._live.token("ada")}),
            (RECORDING, {"token": self._live.token("mona", Role.MODERATOR)}),
            ("/elsewhere", {"token": self._live.token("ada")}),
            ("/", {"token": self._live.token("ada")}),
        ):
            await stranger.connect(auth, namespace)
        await stranger.send(f'42{NAMESPACE},1["leave",{{}}]')  # which is not heard
        for number in range(3):
            await self._enter(f"crowd-{number}", "crowd")
        await stranger.connect({"token": self._live.token("crowd")})
        await stranger.connect({"token": self._live.token("ada")})
        await stranger.connect({"token": self._live.token("ada")})  # once more
        await stranger.call("leave", {})
        await stranger.send(f"41{NAMESPACE},")
        await stranger.send(f'42{NAMESPACE},2["leave",{{}}]')
        await stranger.connect({"token": self._live.token("ada")})
        await stranger.send("1")
        await stranger.wait_closed()
        for number in range(3):
            await self.clients[f"crowd-{number}"].close()

    async def _a_session(self) -> None:
        ada = await self._join("ada", "ada")
        bo = await self._join("bo", "bo")
        await self._all_have(4, "ada")
        for payload in ({"cameraEnabled": True}, {"cameraEnabled": False, "micEnabled": True}, {"micEnabled": True}):
            await self._say(ada, "set_media", payload, "ada", "bo")
        for granted in (True, False, True):
            message = {"granted": granted, "policyVersion": "2"}
            await self._say(bo, "set_recording_consent", message, "ada", "bo")
        await ada.call("signal", {"to": "bo", "data": {"sdp": 'v=0 … "\\\n', "n": [1, 2.5, None]}})
        await bo.wait_frame(f'42{NAMESPACE},["signal"')
        seq = (await ada.call("sync", {"after": 3}))["seq"]
        # It loses its connection and comes back for what it missed; then it takes over from another place.
        await bo.close()
        await self._all_have(seq + 1, "ada")
        await self._join("bo again", "bo", after=seq)
        await self._all_have(seq + 2, "ada")
        await self._join("bo elsewhere", "bo", after=seq)
        await self.clients["bo again"].wait_closed()
        await self._say(self.clients["bo elsewhere"], "set_media", {"cameraEnabled": True}, "ada", "bo elsewhere")

    async def _say(self, client: RawClient, name: str, payload: Any, *listeners: str) -> None:
        reply = await client.call(name, payload)
        assert reply["ok"], reply
        await self._all_have(reply["seq"], *listeners)

    async def _mistakes(self) -> None:
        ada = self.clients["ada"]
        for arguments in _BAD:
            await ada.wait_ack(await ada.send_event(arguments))
        for text in ('["no_such_event",{}]', "[]", '["leave",{"x":1}]'):
            await ada.send(f"42{NAMESPACE},{text}")  # nobody waits for an answer
        await ada.send(f'451-{NAMESPACE},99["set_media",{{"_placeholder":true,"num":0}}]')
        if isinstance(ada, PollingClient):
            await ada.send_attachment()
        else:
            await ada.send(b"\x00")
            await ada.send("5")  # answered by a NOOP, which to polls means nothing
        await ada.send(f"43{NAMESPACE},1[]")  # which answers nothing
        await ada.send("3")
        await ada.call("sync", {"after": 0})

    async def _malformed(self) -> None:
        for number, malformed in enumerate(_MALFORMED):
            client = await self._enter(f"malformed {number}", "mal")
            await client.send(malformed)
            await client.wait_closed()

    async def _moderation(self) -> None:
        mona = await self._enter("mona", "mona", MODERATION, Role.MODERATOR)
        session = {"sessionId": self._session_id}
        for message in (session, session | {"after": 2}, {}, {"all": False}, session | {"all": True}):
            await mona.call("watch", message, MODERATION)
        mia = await self._enter("mia", "mia", MODERATION, Role.ADMIN)
        await mia.call("watch", {"all": True}, MODERATION)
        there = ["ada", "bo elsewhere", "mona"]

        async def steer(name: str, **fields: Any) -> None:
            reply = await mona.call(name, session | fields, MODERATION)
            assert reply["ok"], reply
            await self._all_have(reply["seq"], *there)

        await steer("mute", userId="ada")
        await steer("set_recording", enabled=True)
        await self._say(self.clients["ada"], "set_recording_consent", {"granted": True}, *there)
        await steer("set_recording", enabled=False)
        await mona.call("mute", session | {"userId": "nobody"}, MODERATION)
        there.remove("bo elsewhere")
        await steer("remove", userId="bo", reason="enough")
        await self.clients["bo elsewhere"].wait_closed()
        refused = await self._enter("bo at last", "bo")
        await refused.call("join", session)

    async def _endings(self) -> None:
        short = await self._enter("short", "short", ttl=1)
        await short.wait_closed()
        eve = await self._join("eve", "eve")
        await self._say(eve, "leave", {}, "ada", "mona")
        mona, session = self.clients["mona"], {"sessionId": self._session_id}
        reply = await mona.call("end_session", session, MODERATION)
        await self._all_have(reply["seq"], "ada", "mona")
        await mona.call("unwatch", session, MODERATION)
        await self.clients["ada"].call("leave", {})

    async def _recording(self) -> None:
        journal = await self._live.journal(self._session_id)
        consented = next(json.loads(event)["at"] for event in journal if b'"recording_permitted"' in event)
        rec = await self._enter("rec", "rec", RECORDING, Role.RECORDER)
        await rec.call("subscribe", {"consumer": "main", "after": "beginning"}, RECORDING)
        last = await rec.wait_frame(f'42{RECORDING},["record"')
        await eventually(partial(_has, rec, '"session_ended"'), "the whole feed")
        cursor = json.loads(last.partition(",")[2])[1]["cursor"]
        await rec.call("ack", {"cursor": cursor}, RECORDING)
        await rec.call("ack", {"cursor": "nonsense"}, RECORDING)
        await rec.call("subscribe", {"consumer": "?"}, RECORDING)
        recording = {"sessionId": self._session_id, "userId": "bo", "url": "https://eu.r2.cloudflarestorage.com/b.webm"}
        await rec.call("attach_recording", recording | {"startTime": consented}, RECORDING)
        await eventually(partial(_has, rec, '"recording_attached"'), "the recording")
        for changed in ({"startTime": consented, "userId": "nobody"}, {"startTime": "yesterday"}):
            await rec.call("attach_recording", recording | changed, RECORDING)
        assert wire_time(self._live.coordinator.ports.clock.now()) > consented

    async def _the_server_stops(self) -> None:
        sockets = self._live.coordinator._sockets
        left = [self.clients[name] for name in ("ada", "rec", "mona")]
        sockets.drain(lambda: 700)
        for client, namespace in zip(left, (NAMESPACE, RECORDING, MODERATION), strict=True):
            await client.wait_frame(f'42{namespace},["server_draining"')
        await left[0].call("join", {"sessionId": self._session_id})
        await left[0].connect({"token": self._live.token("mona", Role.MODERATOR)}, MODERATION)
        await sockets.close_all(0.0, 0.0)
        for client in left:
            await client.wait_closed()


def _has(client: RawClient, text: str) -> bool:
    return any(text in frame for frame in client.event_frames())


_CHANGING = (
    (re.compile(r'"(sid|connectionId|cursor)":"[^"]+"'), r'"\1":"*"'),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\b[0-9a-f]{24}\b"), "ID"),
)


def unchanging(text: str) -> str:
    """Return a frame without what differs between two conversations."""
    for pattern, instead in _CHANGING:
        text = pattern.sub(instead, text)
    return text
