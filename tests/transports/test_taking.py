"""In which order messages take effect, some at once and some after a while, and that each is answered once."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from coordinator.adapters.memory.clock import ManualClock, settle
from coordinator.domain.events import DisconnectReason
from coordinator.domain.ids import NodeId
from coordinator.transports.socketio.client import Client, Frames
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.handshake import Connections
from coordinator.transports.socketio.limits import SocketLimits
from coordinator.transports.socketio.namespace import Surroundings
from coordinator.transports.socketio.wire.packets import Event, read_packet
from tests.transports.clients import NAMESPACE
from tests.transports.road import LIMITS, START, Notebook, Road, Tokens, running_road


class _Reader(Client):
    """A client that reads everything at once."""

    def __init__(self) -> None:
        super().__init__("reader")
        self.acks: list[tuple[int, str]] = []
        self._is_open = True

    @property
    def is_open(self) -> bool:
        return self._is_open

    def send(self, text: bytes) -> None:
        kind, _, rest = text.decode().partition(",")
        if kind == f"43{NAMESPACE}":
            packet_id, _, reply = rest.partition("[")
            decoded = json.loads(reply[:-1])
            self.acks.append((int(packet_id), "ok" if decoded["ok"] else decoded["error"]["code"]))

    def send_all(self, frames: Frames) -> None:
        raise AssertionError(f"nothing is sent to all: {frames.texts}")

    async def abort(self) -> None: ...

    async def close(self, reason: str | None = None, *, in_silence: bool = False) -> None:  # noqa: ARG002
        self._is_open = False

    async def end(self) -> None: ...


class _Desk(NamedTuple):
    """One connection to a namespace without any socket."""

    notebook: Notebook
    connection: Connection
    reader: _Reader

    def say(self, name: str, packet_id: int | None, **fields: Any) -> None:
        """Let the client say something."""
        digits = "" if packet_id is None else packet_id
        packet = read_packet(f"42{NAMESPACE},{digits}{json.dumps([name, fields])}")
        assert isinstance(packet, Event)
        self.notebook.receive(self.connection, packet)


def _desk(limits: SocketLimits = LIMITS) -> _Desk:
    def spawn(work: Any, name: str) -> None:
        task = asyncio.ensure_future(work)
        task.set_name(name)
        spawned.add(task)
        task.add_done_callback(spawned.discard)

    spawned: set[asyncio.Task[Any]] = set()
    clock = ManualClock(START)
    connections = Connections(NodeId("n"), Tokens(), clock, limits, spawn)
    notebook = Notebook(NAMESPACE, Surroundings(connections, clock, spawn))
    reader = _Reader()
    return _Desk(notebook, notebook.admit(reader, {"token": "ada"}), reader)


async def test_what_is_taken_at_once_is_answered_at_once() -> None:
    desk = _desk()
    desk.say("say", 1, text="a")
    assert (desk.notebook.said, desk.reader.acks) == (["a"], [(1, "ok")])
    assert desk.notebook._tasks == set()


async def test_behind_one_that_takes_a_while_it_waits_its_turn() -> None:
    desk = _desk()
    desk.notebook.gate.clear()
    desk.say("say_slowly", 1, text="a")
    desk.say("say", 2, text="b")
    desk.say("say", None, text="c")
    desk.say("say_slowly", 3, text="d")
    desk.say("say", 4, text="e")
    await settle()
    assert (desk.notebook.said, desk.reader.acks, desk.connection.waiting) == ([], [], 5)
    desk.notebook.gate.set()
    await settle()
    assert desk.notebook.said == ["a", "b", "c", "d", "e"]
    assert desk.reader.acks == [(1, "ok"), (2, "ok"), (3, "ok"), (4, "ok")]
    assert desk.connection.waiting == 0
    desk.say("say", 5, text="f")
    assert desk.notebook.said[-1] == "f", "at once again"


async def test_one_that_comes_while_another_is_about_to_have_its_turn_queues_behind_it() -> None:
    desk = _desk()
    desk.notebook.gate.clear()
    desk.say("say_slowly", 1, text="a")
    desk.say("say", 2, text="b")
    await settle()
    desk.notebook.gate.set()
    for number in range(20):  # in every turn of the loop until all is done, whatever is going on just then
        desk.say("say", 10 + number, text=number)
        await asyncio.sleep(0)
    await settle()
    assert desk.notebook.said == ["a", "b", *range(20)]
    assert desk.connection.waiting == 0


@pytest.mark.parametrize("fields", [{"fail": True}, {"defect": True}], ids=["refusal", "defect"])
@pytest.mark.parametrize("behind", [False, True], ids=["at once", "in turn"])
async def test_a_refusal_is_the_answer_and_holds_nothing_up(fields: dict[str, bool], behind: bool) -> None:
    desk = _desk()
    code = "unauthenticated" if "fail" in fields else "unavailable"
    with structlog.testing.capture_logs() as entries:
        if behind:
            desk.say("say_slowly", 1, **fields)
        desk.say("say", 2, **fields)
        desk.say("say", None, **fields)
        desk.say("say", 3, text="a")
        await settle()
    assert desk.notebook.said == ["a"]
    assert desk.reader.acks == [(1, code)] * behind + [(2, code), (3, "ok")]
    assert desk.connection.waiting == 0
    logged = [entry["event"] for entry in entries if entry["log_level"] == "error"]
    assert logged == ["handler_failed"] * (0 if "fail" in fields else 2 + behind)


async def test_what_cannot_be_read_is_refused_at_once_even_behind_others() -> None:
    desk = _desk()
    desk.notebook.gate.clear()
    desk.say("say_slowly", 1, text="a")
    desk.say("say", 2, loud=True)
    desk.say("no_such_event", 3)
    assert desk.reader.acks == [(2, "invalid_request"), (3, "invalid_request")]
    assert desk.connection.waiting == 1
    desk.notebook.gate.set()
    await settle()
    assert desk.connection.waiting == 0


async def test_what_waits_when_the_connection_is_closed_does_not_happen() -> None:
    desk = _desk()
    desk.notebook.gate.clear()
    desk.say("say_slowly", 1, text="a")
    desk.say("say", 2, text="b")
    desk.say("say_slowly", 3, text="c")
    await settle()
    desk.connection.close("replaced")
    desk.notebook.dismiss(desk.connection, DisconnectReason.CONNECTION_CLOSED)
    desk.say("say", 4, text="d")
    await settle()
    assert desk.notebook.gone == [], "only once what is under way is over"
    desk.notebook.gate.set()
    await settle()
    assert desk.notebook.said == ["a"]
    assert desk.notebook.gone == [("ada", DisconnectReason.CONNECTION_CLOSED)]
    assert (desk.reader.acks, desk.connection.waiting) == ([], 0)


async def test_each_counts_whether_taken_at_once_or_not() -> None:
    desk = _desk(SocketLimits(commands_per_second=0.001, command_burst=4))
    for number, name in enumerate(["say", "say_slowly", "no_such_event", "say", "say", "say_slowly"]):
        desk.say(name, number)
    await settle()
    codes = dict(desk.reader.acks)
    assert [codes[number] for number in range(6)] == [
        *("ok", "ok", "invalid_request", "ok", "rate_limited", "rate_limited")
    ]
    assert desk.connection.waiting == 0


_STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["say", "say", "say_slowly"]),
        st.sampled_from([{}, {}, {}, {"fail": True}]),
        st.booleans(),
    ),
    st.sampled_from(["open", "shut", "turn", "settle"]),
)


@given(steps=st.lists(_STEPS, max_size=40))
async def test_whatever_the_schedule(steps: list[Any]) -> None:
    """All take effect in the order in which they were sent; whoever wants an answer gets one."""
    desk = _desk()
    expected: list[int] = []
    answers: dict[int, str] = {}
    for number, step in enumerate(steps):
        match step:
            case "open":
                desk.notebook.gate.set()
            case "shut":
                desk.notebook.gate.clear()
            case "turn":
                await asyncio.sleep(0)
            case "settle":
                await settle()
            case name, fields, wants_answer:
                desk.say(name, number if wants_answer else None, text=number, **fields)
                if not fields:
                    expected.append(number)
                if wants_answer:
                    answers[number] = "unauthenticated" if fields else "ok"
        assert desk.notebook.said == expected[: len(desk.notebook.said)]
    desk.notebook.gate.set()
    await settle()
    assert desk.notebook.said == expected
    assert sorted(desk.reader.acks) == sorted(answers.items())
    assert desk.connection.waiting == 0
    assert desk.notebook._tasks == set()


# Over a socket, the same.


@pytest.fixture
async def road(no_errors: None) -> AsyncIterator[Road]:
    async with running_road() as running:
        yield running


async def test_in_one_piece_over_a_socket(road: Road) -> None:
    socket = await road.enter()
    names = ["say", "say_slowly", "say", "say", "say_slowly", "say"] * 50
    for number, name in enumerate(names):
        await socket.send_text(f'42{NAMESPACE},{number}["{name}",{{"text":{number}}}]')
    acks = [await socket.read_text() for _ in names]
    assert acks == [f'43{NAMESPACE},{number}[{{"ok":true,"seq":{number + 1}}}]' for number in range(len(names))]
    assert road.notebook.said == list(range(len(names)))
    assert road.connection().waiting == 0
