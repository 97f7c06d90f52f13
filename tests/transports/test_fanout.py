"""One thing to many connections is encoded once for each namespace, whoever gets it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from coordinator.domain.events import Role
from coordinator.domain.ids import ConnectionId, UserId
from coordinator.ports.identity import Identity
from coordinator.protocol import codec
from coordinator.transports.socketio import fanout
from coordinator.transports.socketio.client import Client, Frames
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.fanout import Fanout
from coordinator.transports.socketio.limits import SocketLimits
from tests.transports.clients import MODERATION, NAMESPACE


class _Shelf(Client):
    """A client that keeps what is sent to it."""

    def __init__(self) -> None:
        super().__init__("shelf")
        self.frames: list[Frames] = []

    @property
    def is_open(self) -> bool:
        return True

    def send(self, text: bytes) -> None:
        raise AssertionError(f"not shared: {text!r}")

    def send_all(self, frames: Frames) -> None:
        self.frames.append(frames)

    async def abort(self) -> None: ...

    async def close(self, reason: str | None = None, *, in_silence: bool = False) -> None: ...

    async def end(self) -> None: ...


def _connect(namespace: str, shelf: _Shelf) -> Connection:
    identity = Identity(user_id=UserId("mona"), role=Role.MODERATOR, expires_at=datetime(2040, 1, 1, tzinfo=UTC))
    spawn: Callable[[Any, str], Any] = lambda work, _name: asyncio.ensure_future(work)  # noqa: E731
    return Connection(ConnectionId("a0-1"), namespace, identity, shelf, SocketLimits(), spawn, {})


async def test_a_message_to_many_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Any] = []
    encode = codec.encode

    def counted(data: Any) -> bytes:
        encoded.append(data)
        return encode(data)

    monkeypatch.setattr(fanout, "encode", counted)
    shelves = [_Shelf() for _ in range(6)]
    namespaces = [NAMESPACE, MODERATION] * 3
    Fanout().announce([_connect(*pair) for pair in zip(namespaces, shelves, strict=True)], "notice", {"left": 60})
    assert encoded == [{"left": 60}]
    for namespace, first in zip(namespaces[:2], range(2), strict=True):
        frames = [frames for shelf in shelves[first::2] for frames in shelf.frames]
        assert [made.texts for made in frames] == [[f'42{namespace},["notice",{{"left":60}}]'.encode()]] * 3
        assert len({id(made) for made in frames}) == 1, "the very same frames, which keep their encoded form"


async def test_a_message_to_nobody_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "encode", None)
    Fanout().announce([], "notice", {"left": 60})
