"""The rows of the table: what is measured, against whom, and what is to be reached.

Owns figures once they are numbers, their medians and ratios; knows nothing of how they were measured.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.benchmarks.contenders import BARE, NODE, NODE_DEFAULTS, NODE_GROUPS, OURS, PYTHON

FRESH = "fresh"
"""In the row about history: our own server on rooms without one."""


@dataclass(frozen=True)
class Target:
    """What a row is to reach: a ratio to another contender, or an absolute figure where `against` is None.

    Attributes:
        against: Whom.
        must: What is required.
        aim: What is hoped for.
        at_least: Whether more is better.
    """

    against: str | None
    must: float
    aim: float
    at_least: bool

    def reached(self, value: float, limit: float) -> bool:
        """Tell whether a value is good enough."""
        return value >= limit if self.at_least else value <= limit

    def verdict(self, value: float) -> str:
        """Say in a word what was reached."""
        if math.isnan(value):
            return "not measured"
        if self.reached(value, self.aim):
            return "aim"
        return "must" if self.reached(value, self.must) else "NOT REACHED"

    def says(self, limit: float) -> str:
        """Write a limit."""
        return f"{'≥' if self.at_least else '≤'} {limit:g}{' ×' if self.against else ''}"


@dataclass(frozen=True)
class Row:
    """A figure of the table.

    Attributes:
        name: How it is asked for.
        title: What it is.
        unit: Of the figure.
        setup: The measurement that gives it.
        contenders: Who is measured, in this order.
        targets: What is to be reached.
        digits: Behind the point.
    """

    name: str
    title: str
    unit: str
    setup: str
    contenders: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    digits: int = 0


def _more(against: str | None, must: float, aim: float) -> Target:
    return Target(against, must, aim, at_least=True)


def _less(against: str | None, must: float, aim: float) -> Target:
    return Target(against, must, aim, at_least=False)


_ALL = (OURS, NODE, NODE_GROUPS, PYTHON)
_EMBEDDED = (OURS, NODE, NODE_DEFAULTS, NODE_GROUPS, PYTHON)
_SERVERS = (OURS, NODE, PYTHON)
_FAST = (OURS, NODE_GROUPS)
"""Those who reach 1 000/s on the embedded database."""
ROWS = (
    Row(
        "durable",
        "durable transitions/s, embedded database with sync on commit",
        "/s",
        "embedded",
        _EMBEDDED,
        (_more(NODE, 15, 25), _more(NODE_GROUPS, 3, 5)),
    ),
    Row(
        "stand-in",
        "durable transitions/s, database answering in 0.3 ms (stand-in)",
        "/s",
        "stand-in",
        _ALL,
        (_more(NODE, 8, 18),),
    ),
    Row(
        "rooms",
        "deliveries/s without database, rooms of 8",
        "/s",
        "rooms",
        (*_SERVERS, BARE),
        (_more(NODE, 5, 9),),
    ),
    Row(
        "observers",
        "deliveries/s without database, one room with 100 observers",
        "/s",
        "observers",
        _SERVERS,
        (_more(NODE, 4, 15),),
    ),
    Row(
        "p99",
        "toggle → seen p99 at 200/s, evenly spaced, embedded",
        "ms",
        "embedded",
        _EMBEDDED,
        (_less(NODE_DEFAULTS, 1 / 4, 1 / 8), _less(NODE, 1 / 4, 1 / 8)),
        1,
    ),
    Row(
        "p50",
        "toggle → seen p50 at 200/s, evenly spaced, embedded",
        "ms",
        "embedded",
        _EMBEDDED,
        (_less(NODE, 1.1, 0.8),),
        2,
    ),
    Row("p99-random", "toggle → seen p99 at 200/s, at random moments, embedded", "ms", "embedded", _EMBEDDED, digits=1),
    Row("p50-random", "toggle → seen p50 at 200/s, at random moments, embedded", "ms", "embedded", _EMBEDDED, digits=2),
    Row(
        "cpu",
        "CPU of the server per transition at 1 000/s, stand-in",
        "µs",
        "stand-in",
        _ALL,
        (_less(NODE, 0.5, 0.25),),
    ),
    Row("cpu-embedded", "CPU of the server per transition at 1 000/s, embedded", "µs", "embedded", _FAST),
    Row("cpu-both", "CPU of server and database per transition at 1 000/s, embedded", "µs", "embedded", _FAST),
    Row(
        "memory",
        "resident memory per idle joined connection, session state included",
        "KB",
        "memory",
        _SERVERS,
        (_less(None, 12, 5),),
        1,
    ),
    Row(
        "connections",
        "new connections/s without database (handshake, token check, join)",
        "/s",
        "connections",
        _SERVERS,
        (_more(NODE, 1, 2),),
    ),
    Row(
        "history",
        "ack p50 at 200/s in rooms with a long history (against fresh ones)",
        "ms",
        "history",
        (OURS, FRESH),
        (_less(FRESH, 1.1, 1.0),),
        2,
    ),
)
SETUPS = tuple(dict.fromkeys(row.setup for row in ROWS))

Figures = Mapping[str, Mapping[str, Sequence[float]]]
"""By row and contender: one figure per round."""


def median(figures: Figures, row: str, contender: str) -> float:
    """Return the middle of a row's figures."""
    values = figures.get(row, {}).get(contender, ())
    return statistics.median(values) if values else math.nan


def ratio(figures: Figures, row: str, against: str | None) -> float:
    """Return how we stand: the middle of each round's ratio to another contender, or our own figure."""
    if against is None:
        return median(figures, row, OURS)
    ours, theirs = figures.get(row, {}).get(OURS, ()), figures.get(row, {}).get(against, ())
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=False) if other]
    return statistics.median(ratios) if ratios else math.nan
