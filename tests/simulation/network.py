"""The network between the nodes and the stores that they share: slow, unreliable, partitioned on demand.

Owns what becomes of a call on its way there and back, and when; must not know what the stores hold. A call goes on
without the process that made it: what was sent arrives though the sender is dead by then, or stands still.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Any

from coordinator.ports.journal import OutcomeUnknownError
from tests.simulation.trace import Trace
from tests.simulation.verdicts import Violation

PATIENCE_SECONDS = 1.5
"""After this a caller is told that nobody answers."""
_LATEST_ARRIVAL_SECONDS = 6.0
"""So late a call may still arrive whose caller has long given up."""
_SENT_AGAIN_SHARE = 0.3
"""Of the calls that find the line cut, those that get through later: whoever cut it has only delayed them."""

Work = Callable[[], Coroutine[Any, Any, Any]]


class Mishap(Enum):
    """What goes wrong with one call."""

    LOST = auto()
    """It never arrives."""
    UNANSWERED = auto()
    """It is done, and the answer never arrives."""
    LATE = auto()
    """It is done after its caller has given up."""


class Moment(Enum):
    """When a process dies that dies of a call."""

    BEFORE = auto()
    """It is about to send it."""
    AFTER = auto()
    """It has been done, and the answer is on its way."""


@dataclass(slots=True)
class Death:
    """Of which call a process dies.

    Attributes:
        moment: When.
        method: Only calls of this method count; empty: all do.
        calls_left: How many of them are left, that one included.
    """

    moment: Moment
    method: str
    calls_left: int

    def of(self, method: str) -> Moment | None:
        """Count a call; return when the process dies, if it dies of this one."""
        if self.method in ("", method):
            self.calls_left -= 1
        return self.moment if self.calls_left == 0 and self.method in ("", method) else None


@dataclass(slots=True)
class Weather:
    """What all nodes have in common.

    Attributes:
        latency_seconds: How long one way takes on average.
        mishaps: The share of calls with which something goes wrong.
        is_out: Whether the stores answer nobody.
    """

    latency_seconds: float = 0.002
    mishaps: float = 0.0
    is_out: bool = False


class Line:
    """One node's way to the stores.

    Args:
        name: The node's.
        weather: What it shares with the others.
        random: Where chance comes from.
        trace: Where it is noted what happened.

    Attributes:
        is_cut: Whether nothing gets through.
        is_dead: Whether the node is dead.
        dies_of: The call of which the node dies.
        die: Ends the node at once.
    """

    def __init__(self, name: str, weather: Weather, random: Random, trace: Trace) -> None:
        self.name = name
        self.weather = weather
        self.random = random
        self.trace = trace
        self.is_cut = False
        self.is_dead = False
        self.dies_of: Death | None = None
        self.die: Callable[[str], None] = lambda _: None

    @property
    def is_open(self) -> bool:
        """Whether what is sent now arrives."""
        return not (self.is_cut or self.weather.is_out)

    async def through(self, name: str, work: Work) -> Any:
        """Make a call.

        Raises:
            OutcomeUnknownError: Nobody answers; whether it was done, or will be, is not known.
        """
        moment = None if self.dies_of is None else self.dies_of.of(name)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if moment is Moment.BEFORE:
            self.die(f"before {name}")
        else:
            _Call(self, name, work, answer, dies_after=moment is Moment.AFTER).send(self._mishap(name))
        return await answer

    def latency(self) -> float:
        """Return how long the next way takes; now and then it is much longer than on average."""
        return self.weather.latency_seconds * (0.2 - math.log(1.0 - self.random.random()))

    def later(self, seconds: float, callback: Callable[..., None], *args: Any) -> None:
        """Let something happen on the network, whatever becomes of the process."""
        asyncio.get_running_loop().call_later(seconds, callback, *args, context=Context())

    def _mishap(self, name: str) -> Mishap | None:
        if self.weather.mishaps == 0.0 or self.random.random() >= self.weather.mishaps:
            return None
        mishap = self.random.choice((Mishap.LOST, Mishap.UNANSWERED, Mishap.LATE))
        self.trace.fault(f"call {mishap.name.lower()}", self.name, name)
        return mishap


class _Call:
    """One call on its way."""

    __slots__ = ("_answer", "_dies_after", "_is_unanswered", "_line", "_name", "_work")

    def __init__(self, line: Line, name: str, work: Work, answer: "asyncio.Future[Any]", *, dies_after: bool) -> None:
        self._line = line
        self._name = name
        self._work = work
        self._answer = answer
        self._dies_after = dies_after
        self._is_unanswered = False

    def send(self, mishap: Mishap | None) -> None:
        """Set out."""
        line = self._line
        if mishap is None:
            line.later(line.latency(), self._arrive)
            return
        # A broken connection is noticed at once, a silent one only by waiting.
        patience = line.random.choice((0.0, 0.1, 1.0)) * PATIENCE_SECONDS
        line.later(patience, self._give_up)
        self._is_unanswered = True
        if mishap is Mishap.UNANSWERED:
            line.later(line.latency(), self._do)
        elif mishap is Mishap.LATE:
            line.later(patience + line.random.random() * _LATEST_ARRIVAL_SECONDS, self._do)

    def _arrive(self) -> None:
        line = self._line
        if line.is_open:
            self._do()
            return
        line.trace.step(line.name, self._name, "meets a cut line")
        line.later(PATIENCE_SECONDS, self._give_up)
        if line.random.random() < _SENT_AGAIN_SHARE:
            line.later(line.random.random() * _LATEST_ARRIVAL_SECONDS, self._arrive_late)

    def _arrive_late(self) -> None:
        if self._line.is_open:
            self._do()

    def _do(self) -> None:
        work = self._work()
        # Before it does anything, a store in memory lets the event loop run once; that is no second step.
        self._step(work, is_first=True)

    def _step(self, work: Coroutine[Any, Any, Any], *, is_first: bool = False) -> None:
        line = self._line
        try:
            work.send(None)
            if is_first:
                work.send(None)
        except StopIteration as stop:
            self._done(stop.value, None)
        except Violation:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for the caller
            self._done(None, error)
        else:
            line.later(line.latency(), self._second, work)

    def _second(self, work: Coroutine[Any, Any, Any]) -> None:
        # The second of two writes is sent when the first has been answered.
        line = self._line
        if line.is_open and not line.is_dead:
            self._step(work)
            return
        line.trace.step(line.name, self._name, "is half done")
        work.close()
        line.later(PATIENCE_SECONDS, self._give_up)

    def _done(self, result: Any, error: Exception | None) -> None:
        line = self._line
        line.trace.step(line.name, self._name, "" if error is None else repr(error))
        if self._dies_after:
            line.die(f"after {self._name}")
        elif self._is_unanswered:
            pass
        elif line.is_open:
            line.later(line.latency(), self._reply, result, error)
        else:
            line.later(PATIENCE_SECONDS, self._give_up)

    def _reply(self, result: Any, error: Exception | None) -> None:
        if self._answer.done():
            return
        if error is None:
            self._answer.set_result(result)
        else:
            self._answer.set_exception(error)

    def _give_up(self) -> None:
        if not self._answer.done():
            self._answer.set_exception(OutcomeUnknownError(f"the simulated store did not answer {self._name}"))
