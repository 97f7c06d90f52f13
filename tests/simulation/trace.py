"""What happened in one run: a line for each step, with the virtual time. Owns the order; must not judge."""

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple

SHOWN_LINES = 150
_ROUTINE = frozenset({"beat", "heartbeats", "active_slots", "unsettled", "due", "seqs"})
"""What every node asks time and again, mostly for nothing."""


class Line(NamedTuple):
    """One thing that happened.

    Attributes:
        at: Virtual seconds since the beginning.
        who: The node, client or machine that did it.
        what: What it did, in a few words.
        details: What belongs to it; shown as it prints.
    """

    at: float
    who: str
    what: str
    details: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.at:9.4f}  {self.who:<14} {self.what} {' '.join(map(str, self.details))}".rstrip()


class Trace:
    """The story of a run.

    Attributes:
        time: Tells virtual seconds since the beginning.
        lines: What happened, in order.
        steps: How much of it counts as a step: a call to a store, a delivery, what a client does, a fault.
        faults: The faults among them, by kind.
    """

    def __init__(self) -> None:
        self.time: Callable[[], float] = lambda: 0.0
        self.lines: list[Line] = []
        self.steps = 0
        self.faults: Counter[str] = Counter()

    def step(self, who: str, what: str, *details: Any) -> None:
        """Note a step."""
        self.steps += 1
        self.lines.append(Line(self.time(), who, what, details))

    def fault(self, kind: str, who: str, *details: Any) -> None:
        """Note a fault: a step as well, and counted by its kind."""
        self.faults[kind] += 1
        self.step(who, f"*** {kind}", *details)

    def note(self, who: str, what: str, *details: Any) -> None:
        """Note something that is no step of its own, such as what a process logs."""
        self.lines.append(Line(self.time(), who, what, details))

    def digest(self) -> str:
        """Return a hash of everything that happened."""
        digest = hashlib.sha256()
        for line in self.lines:
            digest.update(f"{line}\n".encode())
        return digest.hexdigest()

    def tail(self, count: int = SHOWN_LINES) -> list[str]:
        """Return the last lines, without calls that every node makes time and again and that went well."""
        told = (line for line in self.lines if line.what not in _ROUTINE or any(line.details))
        return [str(line) for line in deque(told, count)]
