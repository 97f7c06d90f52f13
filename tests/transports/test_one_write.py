"""What is sent in one turn of the event loop goes out in one write, in the order in which it was sent."""

import asyncio
import json
from typing import Any

import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from coordinator.adapters.memory.clock import ManualClock
from coordinator.domain.ids import NodeId
from coordinator.transports.socketio.client import Frames
from coordinator.transports.socketio.direct.outgoing import Outgoing
from coordinator.transports.socketio.direct.road import DirectClient, DirectRoad
from coordinator.transports.socketio.handshake import Connections
from coordinator.transports.socketio.limits import SocketLimits
from coordinator.transports.socketio.namespace import Surroundings
from coordinator.transports.socketio.reception import EngineLimits, Reception
from coordinator.transports.socketio.wire import packets
from coordinator.transports.socketio.wire.frames import text_frame
from tests.transports.clients import NAMESPACE
from tests.transports.harness import Live
from tests.transports.road import LIMITS, START, Notebook, Tokens

_NOBODY: Any = None
_USERS = [f"user-{number}" for number in range(8)]


class _Counting:
    """A transport that notes what is written to it, and passes it on if there is someone to pass it to."""

    def __init__(self, transport: asyncio.Transport | None = None) -> None:
        self._transport = transport
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        if self._transport is not None:
            self._transport.write(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _texts(written: bytes) -> list[str]:
    """Read the text frames of a write."""
    texts = []
    while written:
        size, start = written[1], 2
        if size == 126:
            size, start = int.from_bytes(written[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(written[2:10]), 10
        assert written[0] == 0x81
        texts.append(written[start : start + size].decode())
        written = written[start + size :]
    return texts


async def test_a_commit_and_its_ack_are_one_write_for_each(live: Live) -> None:
    offer = await live.offer(*_USERS)
    clients = {}
    for user in _USERS:
        clients[user] = await live.raw(user)
        assert (await clients[user].call("join", {"sessionId": offer.session_id}))["ok"]
    await clients["user-0"].wait_frame('42/rooms,["session_started"')
    # A word and its answer for each, after which nothing is on its way to anyone.
    for client in clients.values():
        await client.call("sync", {"after": 100})
    counting = []
    for known in live.coordinator._sockets.direct.clients:
        assert isinstance(known, DirectClient)
        known._transport = transport = _Counting(known._transport)  # type: ignore[assignment]
        counting.append(transport)

    message = {"cameraEnabled": True, "micEnabled": True}
    reply = await clients["user-3"].call("set_media", message)
    for client in clients.values():
        await client.wait_frame('42/rooms,["mic_changed"')
    assert [len(transport.writes) for transport in counting] == [1] * len(_USERS)
    for number, transport in enumerate(counting):
        (written,) = transport.writes
        camera, mic, *ack = _texts(written)
        assert camera.startswith('42/rooms,["camera_changed",')
        assert mic.startswith('42/rooms,["mic_changed",')
        assert ack == ([f"43/rooms,3[{json.dumps(reply, separators=(',', ':'))}]"] if number == 3 else [])


def _road() -> tuple[DirectRoad, Notebook]:
    clock = ManualClock(START)
    connections = Connections(NodeId("n"), Tokens(), clock, LIMITS, lambda work, _name: work.close())
    reception = Reception(connections, SocketLimits().message_bytes)
    notebook = Notebook(NAMESPACE, Surroundings(connections, clock, lambda work, _name: work.close()))
    reception.serve(notebook)
    engine = EngineLimits(most_bytes=262_144, ping_interval_seconds=10, ping_timeout_seconds=10)
    return DirectRoad(reception, clock, engine, 1_000_000), notebook


def _client(road: DirectRoad) -> tuple[DirectClient, _Counting]:
    transport = _Counting()
    client = DirectClient(road, transport)  # type: ignore[arg-type]
    client.connection_made(transport)  # type: ignore[arg-type]
    return client, transport


_SENT = st.lists(
    st.tuples(st.sampled_from(["send", "send_all", "notify", "acknowledge", "turn"]), st.integers(0, 70_000)),
    max_size=30,
)


@given(sent=_SENT)
async def test_the_order_is_the_order_of_the_calls(sent: list[tuple[str, int]]) -> None:
    road, notebook = _road()
    client, transport = _client(road)
    connection = notebook.admit(client, {"token": "ada"})
    await asyncio.sleep(0)
    transport.writes.clear()
    turns: list[list[str]] = [[]]
    for how, number in sent:
        fill = "x" * number
        match how:
            case "send":
                client.send(f"4{fill}".encode())
                turns[-1].append(f"4{fill}")
            case "send_all":
                frames = Frames([f"4a{fill}".encode(), b"4b"])
                client.send_all(frames)
                connection.send_all(frames)
                turns[-1] += [f"4a{fill}", "4b"] * 2
            case "notify":
                connection.notify("notice", {"n": number})
                turns[-1].append(f'42{NAMESPACE},["notice",{{"n":{number}}}]')
            case "acknowledge":
                connection.acknowledge(number, b"{}")
                turns[-1].append(packets.ack_packet(NAMESPACE, number, b"{}").decode())
            case _:
                await asyncio.sleep(0)
                turns.append([])
    await asyncio.sleep(0)
    assert [_texts(written) for written in transport.writes] == [turn for turn in turns if turn]


async def test_what_is_sent_while_others_are_written_goes_out_in_the_next_turn() -> None:
    road, _ = _road()
    (first, first_transport), (second, second_transport) = _client(road), _client(road)
    await asyncio.sleep(0)
    first_transport.writes.clear()
    second_transport.writes.clear()
    written = first_transport.write

    def write(data: bytes) -> None:
        written(data)
        if len(first_transport.writes) == 1:
            first.send(b"4again")
            second.send(b"4too")

    first_transport.write = write  # type: ignore[method-assign]
    first.send(b"4first")
    second.send(b"4second")
    await asyncio.sleep(0)
    assert second_transport.writes == [text_frame(b"4second") + text_frame(b"4too")]
    assert first_transport.writes == [text_frame(b"4first")]
    await asyncio.sleep(0)
    assert first_transport.writes == [text_frame(b"4first"), text_frame(b"4again")]
    assert len(second_transport.writes) == 1


async def test_a_defect_with_one_socket_does_not_silence_the_others() -> None:
    outgoing = Outgoing()
    flushed: list[int] = []

    class _Socket:
        def __init__(self, number: int) -> None:
            self.number = number

        def flush(self) -> None:
            flushed.append(self.number)
            if self.number == 1:
                raise RuntimeError("a defect")

    for number in range(3):
        outgoing.mark(_Socket(number))
    with structlog.testing.capture_logs() as entries:
        await asyncio.sleep(0)
    assert flushed == [0, 1, 2]
    assert [entry["event"] for entry in entries] == ["flush_failed"]
    outgoing.mark(_Socket(3))
    await asyncio.sleep(0)
    assert flushed == [0, 1, 2, 3]
