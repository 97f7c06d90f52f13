"""Tokens end when they end, whether they are watched by a timer or wait in a set until that is near."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.adapters.memory.clock import ManualClock
from coordinator.transports.socketio.expiry import Expiries

_START = datetime(2030, 1, 1, 12, 0, 17, tzinfo=UTC)


class _Watch:
    """Connections by number, and when each was ended, in seconds from the start."""

    def __init__(self) -> None:
        self.clock = ManualClock(_START)
        self.ended: dict[int, float] = {}
        self.connections: dict[int, Any] = {}
        self.expiries = Expiries(self.clock, self._end)

    def add(self, number: int, seconds: float) -> None:
        expires_at = self.clock.now() + timedelta(seconds=seconds)
        connection: Any = _Connection(number=number, identity=SimpleNamespace(expires_at=expires_at))
        self.connections[number] = connection
        self.expiries.add(connection)

    def remove(self, number: int) -> None:
        self.expiries.remove(self.connections.pop(number))

    @property
    def holds(self) -> int:
        return len(self.expiries._soon) + sum(map(len, self.expiries._later.values()))

    def _end(self, connection: Any) -> None:
        assert connection.number not in self.ended
        self.ended[connection.number] = (self.clock.now() - _START).total_seconds()


class _Connection(SimpleNamespace):
    """One that is itself and nobody else."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


@pytest.mark.parametrize("seconds", [0.001, 1, 42.9, 43, 59, 60, 61, 119, 120, 150, 3600, 86_400 * 3])
async def test_it_ends_at_its_instant(seconds: float) -> None:
    watch = _Watch()
    watch.add(1, seconds)
    await watch.clock.advance(seconds - 0.001)
    assert watch.ended == {}
    await watch.clock.advance(0.001)
    assert watch.ended == {1: seconds}
    assert watch.holds == 0


@pytest.mark.parametrize("seconds", [0, -1, -86_400])
async def test_what_has_ended_already_ends_at_once(seconds: float) -> None:
    watch = _Watch()
    watch.add(1, seconds)
    assert watch.ended == {1: 0}


async def test_what_ends_late_has_no_timer_of_its_own() -> None:
    watch = _Watch()
    for number in range(1000):
        watch.add(number, 3600 + number)
    assert len(watch.clock._timers) == 1
    for number in range(1000):
        watch.remove(number)
    assert watch.holds == 0
    assert watch.expiries._sweep is None


@given(
    st.lists(
        st.tuples(st.floats(0.1, 500), st.floats(0, 300), st.none() | st.floats(0, 600)),
        max_size=12,
    )
)
async def test_whoever_comes_and_goes(lives: list[tuple[float, float, float | None]]) -> None:
    watch = _Watch()
    steps = [(begin, number, "add") for number, (_, begin, _) in enumerate(lives)]
    steps += [(begin + stay, number, "remove") for number, (_, begin, stay) in enumerate(lives) if stay is not None]
    at = 0.0
    for instant, number, what in sorted(steps):
        await watch.clock.advance(instant - at)
        at = instant
        if what == "add":
            watch.add(number, lives[number][0])
        else:
            watch.remove(number)
    await watch.clock.advance(2000)
    for number, (lasts, begin, stay) in enumerate(lives):
        if stay is None or lasts < stay - 0.01:
            assert watch.ended[number] == pytest.approx(begin + lasts, abs=0.005)
        elif lasts > stay + 0.01:
            assert number not in watch.ended
    assert watch.holds == 0
    assert watch.expiries._sweep is None
