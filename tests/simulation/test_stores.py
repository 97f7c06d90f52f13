"""The simulated stores keep the contracts of the ports: the network is slow, and changes nothing else in calm.

The same suites as over the other backends, collected here with these fixtures; names that two of them share are kept
apart by class.
"""

from random import Random
from typing import Any

import pytest

from coordinator.adapters.memory.bookings import MemoryBookings
from coordinator.adapters.memory.catalog import MemoryCatalog
from coordinator.adapters.memory.ids import SequentialIds
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.adapters.memory.liveness import MemoryLiveness
from coordinator.adapters.memory.projections import MemoryProjections
from coordinator.ports.bus import Bus
from tests.contracts import (
    test_bookings,
    test_bus,
    test_bus_subscriptions,
    test_catalog,
    test_journal,
    test_journal_pages,
    test_liveness,
    test_projections,
    test_registration_pages,
)
from tests.contracts.bus_ends import Place
from tests.simulation.bus import Exchange
from tests.simulation.loop import Process
from tests.simulation.network import Line, Weather
from tests.simulation.stores import Remote
from tests.simulation.trace import Trace

_SUITES = (
    test_journal,
    test_journal_pages,
    test_projections,
    test_catalog,
    test_bookings,
    test_registration_pages,
    test_liveness,
    test_bus,
    test_bus_subscriptions,
)
for _suite in _SUITES:
    for _name, _test in vars(_suite).items():
        if _name.startswith("test_"):
            assert _name not in globals(), f"two suites have a test {_name}"
            globals()[_name] = _test


class SimulatedPlace(Place):
    """A simulated exchange."""

    def __init__(self) -> None:
        self._exchange = Exchange(Random(1), Trace())

    def bus(self) -> Bus:
        return self._exchange.end(Process("a1"))

    def go_down(self) -> None:
        self._exchange.go_down()

    def come_up(self) -> None:
        self._exchange.come_up()


@pytest.fixture
def place() -> Place:
    return SimulatedPlace()


@pytest.fixture
def fragile_place() -> Place:
    return SimulatedPlace()


@pytest.fixture
def line() -> Line:
    return Line("a1", Weather(latency_seconds=0.0001), Random(1), Trace())


@pytest.fixture
def journal(line: Line) -> Any:
    return Remote(MemoryJournal(), line)


@pytest.fixture
def projections(line: Line) -> Any:
    return Remote(MemoryProjections(), line)


@pytest.fixture
def catalog(line: Line) -> Any:
    return Remote(MemoryCatalog(), line)


@pytest.fixture
def bookings(line: Line) -> Any:
    return Remote(MemoryBookings(), line)


@pytest.fixture
def liveness(line: Line) -> Any:
    return Remote(MemoryLiveness(), line)


@pytest.fixture
def ids() -> SequentialIds:
    return SequentialIds()
