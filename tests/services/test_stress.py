"""Everything at once: several nodes, one journal, random commands, crashes and failures. Same seed, same story.

What must hold in the end: the journal is dense and chained, what was answered is in it, every subscriber was told
what is in it, once and in order, and the documents equal it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import pytest

from coordinator.domain.commands import Command
from coordinator.domain.errors import CoordinatorError, UnavailableError
from coordinator.domain.events import CameraChanged, Event, MicChanged
from coordinator.domain.evolve import evolve, fold
from coordinator.domain.ids import SessionId
from coordinator.domain.model import SessionStatus
from coordinator.domain.state import SessionState
from coordinator.domain.transitions import Presence
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.background import every
from tests.domain.story import END_IT, minutes, mute, record, remove, user
from tests.services.clients import Client
from tests.services.faults import Fate
from tests.services.harness import Node, World, soon

SEEDS = 30
STEPS = 400
USERS = [user(number) for number in range(5)]
PAUSES_SECONDS = (0.0, 0.001, 0.02, 0.02, 0.1, 0.1, 0.5, 2.0, 2.0, 5.0, 31.0)
Promise = Callable[[SessionState], bool]
"""What must be true of a session at the `seq` of an answer."""


class Chaos:
    """A random course of events over some nodes and sessions."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.nodes: list[Node] = []
        self.started = 0
        self.sessions: list[SessionId] = []
        self.clients: list[Client] = []
        self.retired: list[Client] = []
        self.under_way: dict[asyncio.Future[None], Node] = {}
        self.kept: list[tuple[SessionId, int, Promise]] = []
        self.refusals = 0

    async def begin(self) -> None:
        for _ in range(3):
            await self.start_node()
        opener = self.nodes[0]
        self.sessions = [await self.world.open_session(opener, USERS, max_participants=4) for _ in range(2)]
        await self.world.at(-minutes(1))

    async def start_node(self) -> None:
        self.started += 1
        on_bus = self.started % 3 != 0  # every third one has to do without
        node = self.world.node(f"{self.started:02x}", require_registration=False, max_pending=50, on_bus=on_bus)
        self.nodes.append(node)
        node.errands.start(self.recover(node), "recovery")
        node.beat()
        for work in (node.recovery.sweep, node.openings.open_due, node.following.look):
            node.errands.start(every(self.world.clock, 1, work, work.__name__), work.__name__)

    async def recover(self, node: Node) -> None:
        """Start as a supervised process does: again and again, until the database is there."""
        while True:
            with suppress(OutcomeUnknownError, UnavailableError):
                await node.recovery.start()
                return
            await self.world.clock.sleep(1)

    def spawn(self, node: Node, work: Awaitable[object]) -> None:
        """Let something go on by itself; refusals are part of life, everything else is not."""

        async def run() -> None:
            try:
                await work
            except CoordinatorError:
                self.refusals += 1

        task = asyncio.ensure_future(run())
        self.under_way[task] = node

    async def keep(self, session: SessionId, answer: Awaitable[int], promise: Promise) -> None:
        """Wait for an answer, and remember what it promised."""
        self.kept.append((session, await answer, promise))

    async def step(self) -> None:
        choices: Sequence[tuple[int, Callable[[], Awaitable[None]]]] = (
            (40, self.ask),
            (6, self.connect),
            (8, self.moderate),
            (12, self.pause),
            (5, self.fail),
            (6, self.heal),
            (3, self.read),
            (1, self.crash),
        )
        (act,) = self.random.choices([act for _, act in choices], [weight for weight, _ in choices])
        await act()
        for client in [client for client in self.clients if client.is_closed]:
            self.depart(client)
        for _ in range(self.random.choice((0, 0, 1, 2, 5, 20))):
            await asyncio.sleep(0)

    async def connect(self) -> None:
        node, session = self.random.choice(self.nodes), self.random.choice(self.sessions)
        client = node.client(self.random.choice(USERS), session)
        self.clients.append(client)
        self.join(client)

    def join(self, client: Client) -> None:
        async def join() -> int:
            after = self.random.choice((None, client.position, max(0, client.position - 3)))
            return (await client.join(after)).seq

        # By the time of the view, others may have acted on it: only that this user had its seat is certain.
        self.spawn(client.node, self.keep(client.session, join(), lambda state: client.user_id in state.participants))

    async def ask(self) -> None:
        seated = [client for client in self.clients if client.listens()]
        among = seated if self.random.random() < 0.9 else self.clients
        if not among:
            return
        client = self.random.choice(among)
        match self.random.randrange(20):
            case 0:
                self.join(client)
            case 1:
                self.spawn(client.node, self.keep(client.session, client.leave(), lambda _: True))
            case 2:
                self.depart(client)
            case 3 | 4:
                granted = self.random.random() < 0.5
                self.submit(
                    client,
                    lambda: client.consent(granted),
                    lambda state: state.participants[client.user_id].recording_consent is granted,
                )
            case _:
                mic = self.random.random() < 0.5
                self.submit(
                    client,
                    lambda: client.media(mic=mic),
                    lambda state: state.participants[client.user_id].mic_enabled is mic,
                )

    def depart(self, client: Client) -> None:
        self.clients.remove(client)
        self.retired.append(client)
        self.spawn(client.node, client.drop())

    def submit(self, client: Client, command: Callable[[], Awaitable[int]], promise: Promise) -> None:
        try:
            answer = command()
        except CoordinatorError:
            self.refusals += 1
        else:
            self.spawn(client.node, self.keep(client.session, answer, promise))

    async def moderate(self) -> None:
        node, session = self.random.choice(self.nodes), self.random.choice(self.sessions)
        who, enabled = self.random.choice(USERS), self.random.random() < 0.5
        command: Command
        promise: Promise
        match self.random.randrange(100):
            case 0:
                command, promise = END_IT, lambda state: state.status is SessionStatus.ENDED
            case 1:
                command, promise = remove(who), lambda state: state.participants[who].presence is Presence.REMOVED
            case number if number < 50:
                command, promise = mute(who), lambda state: not state.participants[who].mic_enabled
            case _:
                command, promise = record(enabled), lambda state: state.recording_enabled is enabled

        async def submit() -> int:
            return await node.rooms.submit(await node.rooms.room(session), command)

        self.spawn(node, self.keep(session, submit(), promise))

    async def pause(self) -> None:
        await self.world.clock.advance(self.random.choice(PAUSES_SECONDS))

    async def fail(self) -> None:
        line = self.random.choice(self.nodes).line
        match self.random.randrange(6):
            case 0:
                line.is_cut = True
            case 1:
                line.is_read_only = True
            case 2:
                line.hold()
            case 3:
                self.world.projections.is_cut = True
            case _:
                line.lose(*self.random.choices([None, *Fate], k=3))

    async def heal(self) -> None:
        self.world.projections.is_cut = False
        for node in self.nodes:
            if self.random.random() < 0.5:
                node.line.is_cut = node.line.is_read_only = False
                node.line.release()
            if self.random.random() < 0.5:
                await node.line.land()

    async def read(self) -> None:
        node, session = self.random.choice(self.nodes), self.random.choice(self.sessions)
        known = max((seq for of, seq, _ in self.kept if of == session), default=1)

        async def read() -> None:
            snapshot = await node.reader.snapshot(session)
            assert snapshot.session.seq >= known, "older than an answer"

        self.spawn(node, read())

    async def crash(self) -> None:
        node = self.nodes.pop(self.random.randrange(len(self.nodes)))
        await asyncio.sleep(0)  # a task that has not begun cannot be cancelled properly
        lost = [task for task, of in self.under_way.items() if of is node and not task.done()]
        for task in lost:
            task.cancel()
        await asyncio.gather(*lost, return_exceptions=True)
        await node.crash()
        gone = [client for client in self.clients if client.node is node]
        self.clients = [client for client in self.clients if client.node is not node]
        self.retired += gone
        await node.line.land()
        await self.start_node()

    async def end(self) -> None:
        """Let the database be there for good, and everything come to rest."""
        self.world.projections.is_cut = False
        for node in self.nodes:
            node.line.is_cut = node.line.is_read_only = False
            node.line.release()
            node.line.forgive()
            await node.line.land()
        await self.world.clock.advance(60)
        for client in [client for client in self.clients if client.is_closed]:
            self.depart(client)
        await self.world.clock.advance(60)
        for task in self.under_way:
            assert task.done(), f"never answered: {task}"
            if not task.cancelled():
                task.result()
        for node in self.nodes:
            for session in self.sessions:
                room = await node.room(session)
                await soon(node.rooms.refresh(room))
        await self.world.clock.advance(1)


def states_of(log: Sequence[Event]) -> list[SessionState]:
    """The state after each event; on the way, no event says what already was."""
    states: list[SessionState] = []
    for event in log:
        before = states[-1] if states else None
        states.append(evolve(before, event))
        if before is not None:
            match event.body:
                case MicChanged(user_id=who, mic_enabled=mic):
                    assert before.participants[who].mic_enabled is not mic
                case CameraChanged(user_id=who, camera_enabled=camera):
                    assert before.participants[who].camera_enabled is not camera
                case _:
                    pass
    return states


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_any_number_of_nodes_over_one_journal(world: World, seed: int) -> None:
    chaos = Chaos(world, seed)
    await chaos.begin()
    for _ in range(STEPS):
        await chaos.step()
    await chaos.end()

    logs = {session: await world.log(session) for session in chaos.sessions}
    states = {session: states_of(log) for session, log in logs.items()}
    for session, seq, promise in chaos.kept:
        assert promise(states[session][seq - 1])
    for client in (*chaos.clients, *chaos.retired):
        assert client.events == [logs[client.session][event.seq - 1] for event in client.events]
    for client in chaos.clients:
        if client.listens():
            assert client.position == len(logs[client.session])
    for session, log in logs.items():
        commits = await world.journal.read(session)
        assert len({commit.id for commit in commits}) == len(commits)
        assert max(state.seats_taken for state in states[session]) <= 4
        stored, expected = await world.documents(session), await world.expected_documents(session)
        assert stored.session == expected.session
        assert {who.user_id: who for who in stored.participants} == {who.user_id: who for who in expected.participants}
        assert [(await node.room(session)).state for node in chaos.nodes] == [fold(log)] * len(chaos.nodes)
        present = [who for who in states[session][-1].participants.values() if who.is_present]
        alive = {client.connection_id for client in chaos.clients}
        assert {who.connection_id for who in present} <= alive, "ghosts"
    assert sum(len(log) for log in logs.values()) > STEPS / 20, "hardly anything happened"
