"""The bus between simulated nodes: late, lossy, doubling, out of order, and at times not there at all.

Owns what becomes of messages and subscriptions; must not know what the messages say.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from coordinator.domain.ids import SessionId
from coordinator.ports.bus import Bus, BusListener, BusOutOfReachError, Hint
from tests.simulation.loop import Process
from tests.simulation.trace import Trace

_NOTICED_SECONDS = 0.4
"""Within this a node notices that the bus is gone, or there again."""
_DELAY_SECONDS = 1.0
"""Within this a message arrives that others overtake, or that comes once more."""

_LEAST_APART_SECONDS = 1e-6


@dataclass(slots=True)
class BusWeather:
    """How reliable the bus is. The shares are of messages on their way to one receiver.

    Attributes:
        latency_seconds: How long a message takes on average.
        lost: Those that never arrive.
        doubled: Those that arrive twice.
        overtaken: Those that others overtake.
    """

    latency_seconds: float = 0.002
    lost: float = 0.0
    doubled: float = 0.0
    overtaken: float = 0.0


class Exchange:
    """What the nodes' ends of the bus hang on.

    Attributes:
        is_down: Whether nothing gets through.
        weather: How reliable it is while it is up.
    """

    def __init__(self, random: Random, trace: Trace) -> None:
        self.is_down = False
        self.weather = BusWeather()
        self._random = random
        self._trace = trace
        self._ends: list[SimulatedBus] = []

    def end(self, process: Process) -> "SimulatedBus":
        """Return a node's end."""
        end = SimulatedBus(self, process)
        self._ends.append(end)
        return end

    def go_down(self) -> None:
        """Lose every message from here on, also those on their way, and with them all subscriptions."""
        self.is_down = True
        for end in self._ends:
            end.interrupt()

    def come_up(self) -> None:
        """Be there again; the ends find out by and by."""
        self.is_down = False

    def latency(self) -> float:
        """Return how long the next message takes."""
        return self._random.random() * 2 * self.weather.latency_seconds

    def notice(self) -> float:
        """Return after how long a node notices the next change."""
        return self._random.random() * _NOTICED_SECONDS

    def send(self, sender: "SimulatedBus", hint: Hint) -> None:
        """Send a message to every other end that follows its session."""
        if self.is_down:
            return
        for end in self._ends:
            if end is not sender and end.is_subscribed(hint.session_id):
                self._send(end, hint)

    def _send(self, end: "SimulatedBus", hint: Hint) -> None:
        weather, chance = self.weather, self._random.random()
        name, kind = end.process.name, type(hint).__name__
        if chance < weather.lost:
            self._trace.fault("bus message lost", name, kind, hint.session_id)
        elif chance < weather.lost + weather.overtaken:
            self._trace.fault("bus message delayed", name, kind, hint.session_id)
            end.expect(hint, self._random.random() * _DELAY_SECONDS, in_order=False)
        else:
            end.expect(hint, self.latency(), in_order=True)
            if chance > 1.0 - weather.doubled:
                self._trace.fault("bus message doubled", name, kind, hint.session_id)
                end.expect(hint, self._random.random() * _DELAY_SECONDS, in_order=False)

    def arrived(self, end: "SimulatedBus", hint: Hint) -> None:
        """Note that a message has arrived."""
        self._trace.step(end.process.name, "hears", type(hint).__name__, hint.session_id, getattr(hint, "seq", ""))


class SimulatedBus(Bus):
    """One node's end.

    Attributes:
        process: The node.
    """

    def __init__(self, exchange: Exchange, process: Process) -> None:
        self.process = process
        self._exchange = exchange
        self._listener: BusListener | None = None
        self._followed: dict[SessionId, int] = {}
        self._follows = 0
        self._subscribed: dict[SessionId, None] = {}
        self._live: dict[SessionId, None] = {}
        self._is_up = False
        self._connections = 0
        self._last_arrival = 0.0

    @property
    def is_up(self) -> bool:
        """Whether what is published now will probably arrive."""
        return self._is_up

    def is_live(self, session_id: SessionId) -> bool:
        """Tell whether messages to a followed session arrive, as far as is known."""
        return session_id in self._live

    def publish(self, hints: Sequence[Hint]) -> None:
        """Send hints to whoever follows their sessions; see `Bus.publish`."""
        if self._is_up:
            for hint in hints:
                self._exchange.send(self, hint)

    def follow(self, session_id: SessionId) -> None:
        """Listen to a session; see `Bus.follow`."""
        if session_id not in self._followed:
            self._follows += 1
            self._followed[session_id] = self._follows
            if self._is_up:
                self._subscribe(session_id)

    def unfollow(self, session_id: SessionId) -> None:
        """Listen to a session no more."""
        self._followed.pop(session_id, None)
        self._subscribed.pop(session_id, None)
        self._live.pop(session_id, None)

    async def run(self, listener: BusListener) -> None:
        """Be connected until cancelled."""
        self._listener = listener
        try:
            self._try_to_connect()
            await asyncio.get_running_loop().create_future()
        finally:
            self._listener = None
            self.interrupt()
            self._lose()

    async def ping(self) -> None:
        """Ask whether the exchange is there."""
        await asyncio.sleep(self._exchange.latency())
        if self._exchange.is_down:
            raise BusOutOfReachError("the simulated bus is down")

    def interrupt(self) -> None:
        """Break the connection, and with it all subscriptions; the node notices in a while, and tries to come back."""
        self._connections += 1
        self._subscribed.clear()
        self._later(self._exchange.notice(), self._notice_loss, self._connections)

    def is_subscribed(self, session_id: SessionId) -> bool:
        """Tell whether the exchange knows that this end follows a session."""
        return session_id in self._subscribed and not self.process.is_dead

    def expect(self, hint: Hint, seconds: float, *, in_order: bool) -> None:
        """Let a message arrive, after all earlier ones if it comes in order."""
        arrival = asyncio.get_running_loop().time() + seconds
        if in_order:
            # Strictly later than the one before: timers for the same instant promise no order.
            arrival = self._last_arrival = max(arrival, self._last_arrival + _LEAST_APART_SECONDS)
        loop = asyncio.get_running_loop()
        loop.call_at(arrival, self._take, hint, self._connections, context=self.process.context)

    def _take(self, hint: Hint, connection: int) -> None:
        # A commit that was delayed on the way is a late one of the same connection; with the connection it is lost.
        if connection == self._connections and self._listener is not None and hint.session_id in self._live:
            self._exchange.arrived(self, hint)
            self._listener.heard(hint)

    def _notice_loss(self, connection: int) -> None:
        self._lose()
        self._later(self._exchange.notice(), self._try_to_connect_again, connection)

    def _lose(self) -> None:
        self._is_up = False
        self._live.clear()

    def _try_to_connect_again(self, connection: int) -> None:
        if connection == self._connections:
            self._try_to_connect()

    def _try_to_connect(self) -> None:
        if self._listener is None:
            return
        if self._exchange.is_down:
            self._later(self._exchange.notice(), self._try_to_connect_again, self._connections)
            return
        self._is_up = True
        for session_id in self._followed:
            self._subscribe(session_id)

    def _subscribe(self, session_id: SessionId) -> None:
        errand = self._connections, self._followed[session_id]
        self._later(self._exchange.latency(), self._reach_exchange, session_id, errand)

    def _reach_exchange(self, session_id: SessionId, errand: tuple[int, int]) -> None:
        if self._is_wanted(session_id, errand):
            self._subscribed[session_id] = None
            self._later(self._exchange.latency(), self._come_alive, session_id, errand)

    def _come_alive(self, session_id: SessionId, errand: tuple[int, int]) -> None:
        if self._is_wanted(session_id, errand) and self._listener is not None:
            self._live[session_id] = None
            self._listener.live(session_id)

    def _is_wanted(self, session_id: SessionId, errand: tuple[int, int]) -> bool:
        """Tell whether a subscription still is on the same connection, and nobody has changed his mind meanwhile."""
        return errand == (self._connections, self._followed.get(session_id))

    def _later(self, seconds: float, callback: object, *args: object) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, callback, *args, context=self.process.context)  # type: ignore[arg-type]
