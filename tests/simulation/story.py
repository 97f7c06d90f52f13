"""One story from its beginning to its end: what goes wrong, then calm, then the last look.

Owns the order of things, and what a run gives back. The same seed gives the same story, step by step.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import Actor, Role
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.model import RegistrationStatus
from tests.simulation.bus import BusWeather
from tests.simulation.client import GoneError
from tests.simulation.loop import PROCESS, VirtualLoop, run_virtually
from tests.simulation.network import Weather
from tests.simulation.people import Person
from tests.simulation.scenario import Fault, Kind, Scenario, draw
from tests.simulation.trace import Trace
from tests.simulation.world import Place, World

_TICK_SECONDS = 1.0
_HOMEWARD_SECONDS = 14.0
"""After closing time, everybody has gone by then, also whoever was on a node that died just before."""
_ENDS_WITHIN_SECONDS = 42.0
"""After closing time, sessions have ended and everything that follows has been done."""
_STAYS_SECONDS = 2.0
"""So long it is looked whether what is done stays done."""


class DefectError(AssertionError):
    """A node has logged an error: something that its authors did not expect."""


@dataclass(slots=True)
class Outcome:
    """How a story went.

    Attributes:
        seed: Which story.
        failure: What broke; None if nothing did.
        steps: How much happened.
        faults: What went wrong, by kind.
        seconds: How much virtual time it took.
        trace: What happened.
    """

    seed: int
    failure: Exception | None
    steps: int
    faults: Counter[str]
    seconds: float
    trace: Trace


def tell(seed: int, scenario: Scenario | None = None) -> Outcome:
    """Run the story of a seed, or another scenario under its chances."""
    scenario = scenario or draw(seed)
    trace = Trace()
    failure: Exception | None = None

    async def main(loop: VirtualLoop) -> None:
        trace.time = loop.time
        world = World(loop, scenario, trace)
        with _listening_to_logs(world):
            await _Story(world).run()

    try:
        run_virtually(main)
    except Exception as error:  # noqa: BLE001 - whatever broke, the story is told
        failure = error
    return Outcome(seed, failure, trace.steps, trace.faults, trace.time(), trace)


class _Story:
    def __init__(self, world: World) -> None:
        self._world = world
        self._loop = world.loop
        self._scenario = world.scenario

    async def run(self) -> None:
        world, scenario = self._world, self._scenario
        if not scenario.has_bus:
            world.exchange.go_down()
        await world.furnish()
        for place in world.places:
            self._at(place.plan.starts_at, partial(world.start_process, place))
        for fault in scenario.faults:
            self._at(fault.at, partial(self._bring_about, fault))
        await self._ticking_until(scenario.closes_at)
        world.is_closing = True
        world.trace.note("world", "closing time")
        await self._ticking_until(scenario.closes_at + _HOMEWARD_SECONDS, or_when=self._is_all_done)
        caretaker = _Caretaker(world)
        work = self._loop.create_task(caretaker.end_all(), name="caretaker")
        await self._ticking_until(scenario.closes_at + _ENDS_WITHIN_SECONDS, or_when=self._is_all_done)
        await self._ticking_until(self._loop.time() + _STAYS_SECONDS)
        work.cancel()
        stores = world.stores
        await world.referee.finish(stores.journal, stores.projections, stores.bookings, stores.catalog, world.now)

    def _at(self, seconds: float, callback: Callable[[], None]) -> None:
        self._loop.call_at(seconds, callback)

    async def _ticking_until(self, end: float, or_when: Callable[[], bool] = lambda: False) -> None:
        world = self._world
        while self._loop.time() < end and not or_when():
            await asyncio.sleep(min(_TICK_SECONDS, max(end - self._loop.time(), 1e-6)))
            if world.defects:
                raise DefectError(f"a node logged an error: {world.defects[0]}")
            world.tick()

    def _is_all_done(self) -> bool:
        """Tell whether everything has been done that is still to be done after the end."""
        world = self._world
        stores = world.stores
        sessions = stores.projections._sessions
        return all(
            registration.status is not RegistrationStatus.REGISTERED
            for registration in stores.bookings._registrations.values()
        ) and all(
            commits
            and (stored := sessions.get(session_id)) is not None
            and stored.seq == max(commit.last_seq for commit in commits.values())
            for session_id, commits in stores.journal._sessions.items()
        )

    # What goes wrong

    def _bring_about(self, fault: Fault) -> None:
        world = self._world
        place = world.places[fault.node]
        match fault.kind:
            case Kind.CRASH:
                if place.node is not None and not place.node.is_dead:
                    world.trace.fault(fault.kind, place.node.id)
                    world.crash(place, fault.seconds)
            case Kind.STOP:
                world.stop(place, fault.seconds)
            case Kind.CRASH_AT_CALL:
                world.let_die_of_call(place, fault)
            case Kind.PAUSE:
                self._pause(place, fault)
            case Kind.PARTITION:
                self._cut(place, fault)
            case Kind.BUS_CUT:
                if place.node is not None:
                    world.trace.fault(fault.kind, place.node.id)
                    place.node.bus.interrupt()
            case _:
                self._worsen(fault)

    def _pause(self, place: Place, fault: Fault) -> None:
        node = place.node
        if node is None or not node.is_running:
            return
        self._world.trace.fault(fault.kind, node.id, f"{fault.seconds:.1f} s")
        node.process.pause()

        def go_on() -> None:
            self._world.trace.note(node.id, "goes on")
            node.process.go_on(self._loop)

        self._loop.call_later(fault.seconds, go_on)

    def _cut(self, place: Place, fault: Fault) -> None:
        node = place.node
        if node is None or node.line.is_cut:
            return
        self._world.trace.fault(fault.kind, node.id, f"{fault.seconds:.1f} s")
        node.line.is_cut = True

        def heal() -> None:
            self._world.trace.note(node.id, "reaches the stores again")
            node.line.is_cut = False

        self._loop.call_later(fault.seconds, heal)

    def _worsen(self, fault: Fault) -> None:
        """Make the weather worse for a while. Of two that overlap, the end of the first ends both."""
        world = self._world
        weather, exchange = world.weather, world.exchange
        world.trace.fault(fault.kind, "world", f"{fault.seconds:.1f} s", fault.measure or "")
        restore: Callable[[], None]
        match fault.kind:
            case Kind.OUTAGE:
                weather.is_out = True
                restore = partial(setattr, weather, "is_out", False)
            case Kind.MISHAPS:
                weather.mishaps = fault.measure
                restore = partial(setattr, weather, "mishaps", 0.0)
            case Kind.STORM:
                weather.latency_seconds = fault.measure
                restore = partial(setattr, weather, "latency_seconds", Weather().latency_seconds)
            case Kind.BUS_DOWN:
                exchange.go_down()
                restore = exchange.come_up if self._scenario.has_bus else (lambda: None)
            case _:
                share = fault.measure
                exchange.weather = BusWeather(lost=share, doubled=share / 2, overtaken=share / 2)
                restore = partial(setattr, exchange, "weather", BusWeather())

        def end() -> None:
            world.trace.note("world", f"{fault.kind} is over")
            restore()

        self._loop.call_later(fault.seconds, end)


class _Caretaker(Person):
    """Ends what nobody else has ended, when everybody has gone home; in calm, so it must succeed soon."""

    def __init__(self, world: World) -> None:
        actor = Actor(user_id=UserId("caretaker"), role=Role.MODERATOR)
        super().__init__("caretaker", actor, world, world, world.random("caretaker"), 1.0)
        self._stores = world.stores
        self._slots = world.slots

    async def end_all(self) -> None:
        """End every session that lives, again and again until none does."""
        while True:
            connection = await self._connect()
            try:
                for session_id in [self.world.session_of(slot) for slot in self._slots]:
                    if session_id is not None:
                        await self._end(session_id)
            except (GoneError, AssertionError):
                pass
            finally:
                if connection is not None:
                    connection.hang_up()
            await asyncio.sleep(1.0)  # of virtual time, like every sleep here

    async def _end(self, session_id: SessionId) -> None:
        try:
            await self.client.ask("end_session", session_id=session_id)
        except CoordinatorError:
            return


@contextmanager
def _listening_to_logs(world: World) -> Iterator[None]:
    """Let everything that the nodes log be part of the story; no line is printed."""

    def take(_logger: Any, level: str, entry: MutableMapping[str, Any]) -> Any:
        process = PROCESS.get()
        who = "nobody" if process is None else process.name
        failure = sys.exc_info()[1] if entry.pop("exc_info", None) is True else None
        event = entry.pop("event", "")
        details = [f"{key}={value}" for key, value in entry.items()]
        world.trace.note(who, f"[{level}] {event}", *details)
        if level in ("error", "exception", "critical"):
            world.defects.append({"node": who, "event": event, **entry, "failure": failure})
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    before = processors.copy()
    processors[:] = [take]
    try:
        yield
    finally:
        processors[:] = before
