"""The stores that all simulated nodes share, and how a node sees them: through the network.

Owns what is told to the referee of what is stored; must not decide what goes wrong. What is stored is kept by the
memory adapters: a store never loses what it has taken.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from coordinator.adapters.memory.bookings import MemoryBookings
from coordinator.adapters.memory.catalog import MemoryCatalog
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.adapters.memory.liveness import MemoryLiveness
from coordinator.adapters.memory.projections import MemoryProjections
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import Commit
from coordinator.domain.model import Participant, Registration, Session
from tests.simulation.network import Line


class Remote:
    """A store as one node sees it: every coroutine method is a call through the node's line."""

    def __init__(self, store: object, line: Line) -> None:
        self._store = store
        self._line = line

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if inspect.isasyncgenfunction(method):
            call = self._iterating(name, method)
        elif inspect.iscoroutinefunction(method):
            call = self._calling(name, method)
        else:
            return method
        setattr(self, name, call)
        return call

    def _calling(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        line = self._line

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await line.through(name, lambda: method(*args, **kwargs))

        return call

    def _iterating(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def collect(*args: Any, **kwargs: Any) -> list[Any]:
            return [item async for item in method(*args, **kwargs)]

        call = self._calling(name, collect)

        async def iterate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for item in await call(*args, **kwargs):
                yield item

        return iterate


class _Told(dict[Any, Any]):
    """Documents by key; each is told as soon as it is stored."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        super().__init__()
        self._tell = tell

    def __setitem__(self, key: Any, document: Any) -> None:
        super().__setitem__(key, document)
        self._tell(document)


class _ToldBySession(dict[SessionId, Any]):
    """The participants' documents of every session."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        super().__init__()
        self._tell = tell

    def setdefault(self, key: SessionId, _default: Any = None) -> Any:
        return super().setdefault(key, _Told(self._tell))


Written = Callable[[Session | None, Sequence[Participant]], None]


class Stores:
    """What all nodes share.

    Args:
        committed: Called with each commit at the moment at which the journal has it.
        written: Called with documents at the moment at which they are stored.
        booked: Called with each registration at the moment at which it is stored.
    """

    def __init__(
        self,
        committed: Callable[[Commit], None],
        written: Written,
        booked: Callable[[Registration], None],
    ) -> None:
        self.journal = MemoryJournal()
        self.projections = MemoryProjections()
        self.projections._sessions = _Told(lambda session: written(session, ()))
        self.projections._participants = _ToldBySession(lambda participant: written(None, (participant,)))
        self.liveness = MemoryLiveness()
        self.catalog = MemoryCatalog()
        self.bookings = MemoryBookings()
        self.bookings._registrations = _Told(booked)
        self._committed = committed
        self._known = 0
        self.journal.listeners.append(self._look)

    def _look(self) -> None:
        arrived = self.journal.in_arrival
        while self._known < len(arrived):
            self._known += 1
            self._committed(arrived[self._known - 1])
