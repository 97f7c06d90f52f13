"""A bus within one process: messages arrive at once, in order, unless it is told to lose them."""

import asyncio
from collections.abc import Sequence

from coordinator.domain.ids import SessionId
from coordinator.ports.bus import Bus, BusListener, BusOutOfReachError, Hint


class MemoryExchange:
    """What the nodes' ends of the bus hang on.

    Attributes:
        is_down: Whether nothing gets through.
    """

    def __init__(self) -> None:
        self.is_down = False
        self.ends: list[MemoryBus] = []

    def carry(self, sender: "MemoryBus", hint: Hint) -> None:
        """Take a hint to every other end that listens."""
        for end in self.ends:
            if end is not sender and end.is_live(hint.session_id):
                self.deliver(end, hint)

    def deliver(self, end: "MemoryBus", hint: Hint) -> None:
        """Hand a hint to an end, soon."""
        asyncio.get_running_loop().call_soon(end.take, hint)

    def go_down(self) -> None:
        """Lose every message from here on, and with them all subscriptions."""
        self.is_down = True
        for end in self.ends:
            end.interrupt()

    def come_up(self) -> None:
        """Be there again: every end subscribes anew."""
        self.is_down = False
        for end in self.ends:
            end.resume()


class MemoryBus(Bus):
    """A `Bus` over an exchange in memory."""

    def __init__(self, exchange: MemoryExchange) -> None:
        self._exchange = exchange
        self._listener: BusListener | None = None
        self._followed: set[SessionId] = set()
        self._live: set[SessionId] = set()

    @property
    def is_up(self) -> bool:
        """Whether what is published now will arrive."""
        return self._listener is not None and not self._exchange.is_down

    def is_live(self, session_id: SessionId) -> bool:
        """Tell whether messages to a followed session arrive."""
        return session_id in self._live

    def publish(self, hints: Sequence[Hint]) -> None:
        """Send hints to whoever follows their sessions; see `Bus.publish`."""
        if self.is_up:
            for hint in hints:
                self._exchange.carry(self, hint)

    def follow(self, session_id: SessionId) -> None:
        """Listen to a session; see `Bus.follow`."""
        if session_id not in self._followed:
            self._followed.add(session_id)
            self._subscribe(session_id)

    def unfollow(self, session_id: SessionId) -> None:
        """Listen to a session no more."""
        self._followed.discard(session_id)
        self._live.discard(session_id)

    async def run(self, listener: BusListener) -> None:
        """Be connected until cancelled."""
        self._listener = listener
        self._exchange.ends.append(self)
        try:
            self.resume()
            await asyncio.get_running_loop().create_future()
        finally:
            self.interrupt()
            self._exchange.ends.remove(self)
            self._listener = None

    async def ping(self) -> None:
        """Ask whether the exchange is there."""
        await asyncio.sleep(0)
        if self._exchange.is_down:
            raise BusOutOfReachError("the bus in memory was told to be down")

    def interrupt(self) -> None:
        """Lose every subscription."""
        self._live.clear()

    def resume(self) -> None:
        """Subscribe to everything that is followed."""
        for session_id in self._followed:
            self._subscribe(session_id)

    def take(self, hint: Hint) -> None:
        """Take what another end has published, unless that is no longer wanted."""
        if self._listener is not None and hint.session_id in self._live:
            self._listener.heard(hint)

    def _subscribe(self, session_id: SessionId) -> None:
        if self.is_up and session_id not in self._live:
            asyncio.get_running_loop().call_soon(self._come_alive, session_id)

    def _come_alive(self, session_id: SessionId) -> None:
        if self.is_up and session_id in self._followed and session_id not in self._live:
            self._live.add(session_id)
            assert self._listener is not None
            self._listener.live(session_id)
