"""A simulated world: the stores, the bus, the nodes in their places, the people, and the referee who hears of it all.

Owns who is there and what time it is. What is to happen stands in `scenario`, what goes wrong is brought about in
`story`.
"""

import asyncio
from collections.abc import Mapping
from contextvars import Context
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from coordinator.domain.events import EventBody, Role, SessionEnded
from coordinator.domain.ids import ConnectionId, SessionId, SlotId, UserId
from coordinator.domain.ledger import Commit, SealedEvent
from coordinator.domain.model import Language, Level, Registration, RegistrationStatus, TimeSlot
from coordinator.services.catching_up import View
from coordinator.services.openings import SessionRules
from tests.simulation.bus import Exchange
from tests.simulation.clock import SkewedClock
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Death, Line, Weather
from tests.simulation.node import Failure, Node, NodeSettings
from tests.simulation.people import Moderator, Participant, Visitor
from tests.simulation.referee import Referee
from tests.simulation.scenario import (
    EMPTY_TIMEOUT_SECONDS,
    LOBBY_MINUTES,
    NODE_TIMEOUT_SECONDS,
    RECONNECT_GRACE_SECONDS,
    SLOT_MINUTES,
    Fault,
    Kind,
    NodePlan,
    Scenario,
    SlotPlan,
)
from tests.simulation.stores import Stores
from tests.simulation.trace import Trace
from tests.simulation.verdicts import Invariant, violated

EPOCH = datetime(2030, 3, 4, 17, 0, tzinfo=UTC)
_STOP_SECONDS = 10.0
"""After this a process that was told to stop is killed."""
_NAME_LENGTH = 3
"""Of a node; its commits' ids begin with its name."""
_RESTART_SECONDS = 1.0
"""After this a process is started in place of one that could not start."""


class Place:
    """Where a node runs: one process after the other, on one machine with one clock.

    Attributes:
        node: The process that is there now, or was there last; None before the first.
    """

    def __init__(self, number: int, plan: NodePlan, clock: SkewedClock) -> None:
        self.letter = "abcdef"[number]
        self.plan = plan
        self.clock = clock
        self.runs = 0
        self.node: Node | None = None


class World:
    """Everything there is.

    Args:
        loop: Time.
        scenario: Who is there.
        trace: Where it is noted what happens.

    Attributes:
        weather: How the way to the stores is.
        is_closing: Whether it is time for the people to go home.
        defects: What the nodes have logged as errors.
    """

    def __init__(self, loop: VirtualLoop, scenario: Scenario, trace: Trace) -> None:
        self.loop = loop
        self.scenario = scenario
        self.trace = trace
        self.weather = Weather()
        self.referee = Referee(
            RECONNECT_GRACE_SECONDS,
            EMPTY_TIMEOUT_SECONDS,
            NODE_TIMEOUT_SECONDS,
            lobby_seconds=60 * LOBBY_MINUTES,
        )
        self.stores = Stores(self._committed, self.referee.document_written, self._booked)
        self.exchange = Exchange(self.random("bus"), trace)
        self.is_closing = False
        self.defects: list[Mapping[str, Any]] = []
        self.people: list[Visitor] = []
        self.slots: list[SlotId] = []
        self._died_at: dict[str, float] = {}
        self._ended: set[SessionId] = set()
        self._statuses: dict[str, RegistrationStatus] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._users: dict[SlotId, list[UserId]] = {}
        self.places = [
            Place(number, plan, SkewedClock(loop, EPOCH, plan.ahead_seconds, plan.drift))
            for number, plan in enumerate(scenario.nodes)
        ]
        self._settings = NodeSettings(
            rules=SessionRules(
                lobby_minutes=LOBBY_MINUTES,
                no_show_minutes=scenario.no_show_minutes,
                empty_timeout_seconds=EMPTY_TIMEOUT_SECONDS,
                reconnect_grace_seconds=RECONNECT_GRACE_SECONDS,
            ),
            node_timeout_seconds=NODE_TIMEOUT_SECONDS,
            replay_limit=scenario.replay_limit,
        )

    def random(self, of: str) -> Random:
        """Return a source of chance of its own, so that what one does with chance is nothing to the others."""
        return Random(f"{of} {self.scenario.seed}")

    @property
    def now(self) -> datetime:
        """The true time."""
        return EPOCH + timedelta(seconds=self.loop.time())

    @property
    def is_calm(self) -> bool:
        """Whether nothing is wrong at the moment that anybody would have to wait for."""
        return (
            not self.weather.is_out
            and self.weather.mishaps == 0.0
            and self.weather.latency_seconds <= Weather().latency_seconds
            and all(node.process.is_dead or (node.is_running and node.line.is_open) for node in self.nodes)
        )

    @property
    def nodes(self) -> list[Node]:
        """The process in each place that is there now, or was there last."""
        return [place.node for place in self.places if place.node is not None]

    # What people see

    @property
    def fickleness(self) -> float:
        """The share of those whose connection is gone who do not come back."""
        return self.scenario.fickleness

    def find_node(self, random: Random) -> Node | None:
        """Return a node that takes connections, as far as a load balancer knows."""
        serving = [node for node in self.nodes if node.is_serving and not node.is_dead]
        return random.choice(serving) if serving else None

    def session_of(self, slot: SlotId) -> SessionId | None:
        """Return the session of a slot, once it has one."""
        return self.stores.catalog._slots[slot].session_id

    def users_of(self, slot: SlotId) -> list[UserId]:
        """Return who may be in a slot's session."""
        return self._users[slot]

    def arrive(self, visitor: Visitor) -> None:
        """Let somebody begin to live."""
        self.people.append(visitor)
        self._tasks.append(self.loop.create_task(visitor.live(), name=visitor.client.name))

    # What is told of people

    def saw(self, client: str, session_id: SessionId, sealed: SealedEvent) -> None:
        """An event was taken."""
        self.referee.client_saw(client, session_id, sealed)

    def took_view(self, client: str, session_id: SessionId, view: View) -> None:
        """A view was taken."""
        self.referee.client_snapshot(client, session_id, view)

    def acked(self, session_id: SessionId, user: UserId, command: str, seq: int, asked: Mapping[str, bool]) -> None:
        """A command was acked."""
        self.referee.acked(session_id, user, command, seq, asked or None)

    def step(self, who: str, what: str, *details: Any) -> None:
        """Something was done or told."""
        self.trace.step(who, what, *details)

    # Making

    async def furnish(self) -> None:
        """Make the slots, the registrations and the people."""
        for number, plan in enumerate(self.scenario.slots, start=1):
            await self._furnish_slot(number, plan)
        for number in range(1, self.scenario.moderators + 1):
            name = f"m{number}"
            chance, ends = self.random(name), number == 1
            self.arrive(Moderator(name, self.slots, self, self, chance, self.scenario.restless / 2, ends_sessions=ends))

    async def _furnish_slot(self, number: int, plan: SlotPlan) -> None:
        slot = TimeSlot(
            id=SlotId(f"51{number:022x}"),
            target_language_code=Language.FRENCH,
            level=Level.B1,
            start_time=EPOCH + timedelta(milliseconds=round(plan.starts_in * 1000)),
            duration_minutes=SLOT_MINUTES,
            is_active=True,
            created_at=EPOCH,
            updated_at=EPOCH,
            max_participants=plan.seats,
            min_participants=plan.least,
        )
        await self.stores.catalog.add_slot(slot)
        self.slots.append(slot.id)
        users = [UserId(f"u{number}{letter}") for letter in "abcdefgh"[: plan.booked + plan.strangers]]
        self._users[slot.id] = users
        for seat, user in enumerate(users[: plan.booked]):
            registration = Registration(
                id=f"52{number:02x}{seat:020x}",
                time_slot_id=slot.id,
                user_id=user,
                status=RegistrationStatus.REGISTERED,
                registered_at=EPOCH,
                seat=seat if seat < plan.seats else None,
            )
            await self.stores.bookings.add(registration)
            self.referee.registered(slot.id, user)
        for user in users:
            self.arrive(Participant(user, user, slot.id, self, self, self.random(user), self.scenario.restless))

    def start_process(self, place: Place) -> None:
        """Start a process in a place; if it cannot start, another is tried in a while."""
        place.runs += 1
        name = f"{place.letter}{place.runs:02}"
        process = Process(name)
        place.node = process.context.run(self._make_node, name, place, process)
        self.trace.note(name, "starts")
        # Kept: a loop forgets a task that only waits, and what waits of the dead waits for ever.
        self._tasks.append(self.loop.create_task(self._run(place, place.node), name=name, context=process.context))

    def _make_node(self, name: str, place: Place, process: Process) -> Node:
        line = Line(name, self.weather, self.random(name), self.trace)
        return Node(name, self.loop, line, self.stores, self.exchange, place.clock, self._settings, process)

    async def _run(self, place: Place, node: Node) -> None:
        try:
            await node.start()
        except Failure as failure:
            self.trace.note(node.id, "cannot start:", failure)
            self.crash(place, _RESTART_SECONDS)
        else:
            self.trace.note(node.id, "serves")

    def let_die_of_call(self, place: Place, fault: Fault) -> None:
        """Let the process in a place die of a call that it will make."""
        node = place.node
        if node is None:
            return

        def die(when: str) -> None:
            self.trace.fault(Kind.CRASH_AT_CALL, node.id, when)
            self.crash(place, fault.seconds)

        node.line.die = die
        node.line.dies_of = Death(fault.moment, fault.method, fault.call)

    def crash(self, place: Place, restart_seconds: float) -> None:
        """Kill the process in a place, if it lives, and start another so many seconds later."""
        node = place.node
        if node is None or node.is_dead:
            return
        self.trace.note(node.id, "is dead")
        self._died_at[node.id] = self.loop.time()
        chance = node.line.random
        for link in node.vanish():
            # The kernel of a machine that lives on says goodbye at once; of one that does not, nobody does.
            link.tear(chance.choice((0.001, 3.0)) * chance.random(), 0.0)
        self.loop.call_later(restart_seconds, self.start_process, place, context=Context())

    def stop(self, place: Place, restart_seconds: float) -> None:
        """Tell the process in a place to stop; when it has, or is killed for taking too long, start another."""
        node = place.node
        if node is None or node.is_dead or not node.is_serving:
            return
        self.trace.fault(Kind.STOP, node.id)
        task = self.loop.create_task(node.stop(), name=f"stop of {node.id}", context=node.process.context)
        self._tasks.append(task)

        def end() -> None:
            if not node.is_dead:
                self.trace.note(node.id, "has stopped" if task.done() else "is killed")
                self.crash(place, restart_seconds)

        task.add_done_callback(lambda _: end(), context=Context())
        self.loop.call_later(_STOP_SECONDS, end, context=Context())

    # What the referee is told

    def _committed(self, commit: Commit) -> None:
        kinds = ", ".join(_said(sealed.event.body) for sealed in commit.events)
        if any(isinstance(sealed.event.body, SessionEnded) for sealed in commit.events):
            self._ended.add(commit.session_id)
        self.trace.note("journal", f"{commit.session_id} {commit.seq}:", kinds)
        self.referee.committed(commit, self.now)

    def _booked(self, registration: Registration) -> None:
        """Judge what becomes of a registration: attendance follows the end of the session, once."""
        status, who = registration.status, f"{registration.user_id} of slot {registration.time_slot_id}"
        before = self._statuses.get(registration.id, RegistrationStatus.REGISTERED)
        self._statuses[registration.id] = status
        if before is not RegistrationStatus.REGISTERED:
            violated(Invariant.ATTENDANCE, f"{who} was {before}, and becomes {status}")
        if status in (RegistrationStatus.ATTENDED, RegistrationStatus.NOSHOW):
            self.trace.note("bookings", f"{who}:", status)
            if self.session_of(registration.time_slot_id) not in self._ended:
                violated(Invariant.ATTENDANCE, f"{who} is {status} before the session has ended")

    def tick(self) -> None:
        """Let the referee look at the world."""
        seats: dict[tuple[SessionId, UserId], set[ConnectionId]] = {}
        others: set[ConnectionId] = set()
        for node in self.nodes:
            for connection in node.connections:
                if connection.seat is None or connection.actor.role is not Role.PARTICIPANT:
                    others.add(connection.connection_id)
                else:
                    seats.setdefault((connection.seat, connection.user_id), set()).add(connection.connection_id)
        self.referee.tick(
            self.now,
            seats,
            {node.id for node in self.nodes if node.is_running and node.line.is_open},
            is_calm=self.is_calm,
            other_connections=others,
            listeners=[
                (person.client.name, session_id)
                for person in self.people
                if person.client.hears
                for session_id in person.client.listening
                if not self._may_not_have_heard(person.client.positions.get(session_id, 0), session_id)
            ],
        )

    def _may_not_have_heard(self, position: int, session_id: SessionId) -> bool:
        """Tell whether the next event was written by a node that has died since, and may not have been missed yet.

        Who dies right after a write has told nobody, and written no document that would show it: it is found out when
        the journal is read because of the death.
        """
        commits = self.stores.journal._sessions.get(session_id, {})
        following = next((commit for seq, commit in commits.items() if seq <= position + 1 <= commit.last_seq), None)
        died_at = None if following is None else self._died_at.get(following.id[:_NAME_LENGTH])
        return died_at is not None and self.loop.time() - died_at <= NODE_TIMEOUT_SECONDS


def _said(body: EventBody) -> str:
    facts = (getattr(body, name, None) for name in ("user_id", "connection_id", "reason"))
    return " ".join([body.kind, *(str(fact) for fact in facts if fact is not None)])
