"""The least that a server on uvloop can do for a room: no server that anybody would run, but the ceiling of all others.

Each socket is read once and written once for each toggle, as the coordinator does, and events and acks have the same
form. Everything else is left out: no Socket.IO but what the generator says, no tokens, rules, state, hashes or limits,
no frame that is not whole. What is between this and the coordinator is what all of that takes.
"""

import asyncio
import base64
import hashlib
import json
import re

import uvloop

_ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""
_KEY = re.compile(rb"sec-websocket-key: *([^\r]+)", re.IGNORECASE)
_OPEN = b'0{"sid":"bare","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}'
_EVENT = (
    b'42/rooms,["camera_changed",{"actor":{"role":"participant","userId":"%b"},"at":"2030-01-01T00:00:00.000Z",'
    b'"data":{"cameraEnabled":%b,"userId":"%b"},"seq":%d,"sessionId":"%b","type":"camera_changed"}]'
)
_SHORT = 125


class Room:
    """Who is in a room, and what has happened there in this turn of the event loop."""

    def __init__(self, session_id: bytes) -> None:
        self.session_id = session_id
        self.seq = 0
        self.members: list[Member] = []
        self.events: list[bytes] = []


rooms: dict[bytes, Room] = {}
changed: list[Room] = []


def frame(payload: bytes) -> bytes:
    """Write a text message as one frame."""
    size = len(payload)
    return (bytes((0x81, size)) if size <= _SHORT else b"\x81\x7e" + size.to_bytes(2)) + payload


def tell() -> None:
    """Write to everybody what has happened in this turn, and everybody's own ack."""
    told = changed.copy()
    changed.clear()
    for room in told:
        events = b"".join(room.events)
        room.events.clear()
        for member in room.members:
            member.transport.write(events + member.ack)
            member.ack = b""


class Member(asyncio.Protocol):
    """One client."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.user = b""
        self.ack = b""
        self.room: Room | None = None
        self.is_on = False
        self.is_upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take one frame."""
        if not self.is_upgraded:
            self.upgrade(data)
            return
        size, begin = data[1] & 0x7F, 2
        if size > _SHORT:
            size, begin = int.from_bytes(data[2:4]), 4
        mask = (data[begin : begin + 4] * (size // 4 + 1))[:size]
        masked = int.from_bytes(data[begin + 4 : begin + 4 + size])
        text = (masked ^ int.from_bytes(mask)).to_bytes(size)
        if self.room is not None and text.startswith(b"42"):
            self.toggle(self.room, text)
        else:
            self.arrive(text)

    def upgrade(self, request: bytes) -> None:
        """Answer the handshake."""
        match = _KEY.search(request)
        assert match is not None
        accept = base64.b64encode(hashlib.sha1(match[1] + _ACCEPT, usedforsecurity=False).digest())
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.transport.write(answer + b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept + frame(_OPEN))
        self.is_upgraded = True

    def arrive(self, text: bytes) -> None:
        """Believe who the client says it is, and let it join."""
        if text.startswith(b"40"):
            claims = json.loads(text[text.index(b"{") :])["token"].split(".")[1]
            self.user = json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"].encode()
            self.transport.write(frame(b'40/rooms,{"sid":"bare"}'))
        elif text.startswith(b"42"):
            session_id = json.loads(text[text.index(b"[") :])[1]["sessionId"].encode()
            self.room = room = rooms.setdefault(session_id, Room(session_id))
            room.members.append(self)
            self.transport.write(frame(b'43/rooms,0[{"ok":true,"seq":%d}]' % room.seq))

    def toggle(self, room: Room, text: bytes) -> None:
        """Switch the camera, whatever the client has asked for."""
        room.seq += 1
        self.is_on = not self.is_on
        if not room.events:
            if not changed:
                asyncio.get_running_loop().call_soon(tell)
            changed.append(room)
        camera = b"true" if self.is_on else b"false"
        room.events.append(frame(_EVENT % (self.user, camera, self.user, room.seq, room.session_id)))
        number = text[len(b"42/rooms,") : text.index(b"[")]
        self.ack = frame(b'43/rooms,%b[{"ok":true,"seq":%d}]' % (number, room.seq))


async def main() -> None:
    """Serve until the process ends."""
    server = await asyncio.get_running_loop().create_server(Member, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"ready at http://{host}:{port}/ ", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
