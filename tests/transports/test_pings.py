"""The wheel of pings, whatever clients do meanwhile: nobody is asked too early, twice in a turn, or not at all."""

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from coordinator.adapters.memory.clock import ManualClock
from coordinator.transports.socketio.direct.pings import Pings
from tests.transports.road import START

_INTERVAL = 10.0
_STEP = _INTERVAL / 20


class _Client:
    """Notes when it is asked, and may do something about it."""

    def __init__(self, wheel: "_Wheel", name: int) -> None:
        self.wheel = wheel
        self.name = name
        self.asked: list[float] = []
        self.then: Callable[[], None] = lambda: None
        self.since = wheel.clock.monotonic()
        self.spoke = wheel.pings.add(self)
        self.is_there = True

    def ping(self) -> None:
        if not self.is_there:
            self.wheel.asked_in_vain.append(self.name)
        self.asked.append(self.wheel.clock.monotonic())
        self.then()

    def go(self) -> None:
        if self.is_there:
            self.is_there = False
            self.wheel.pings.remove(self, self.spoke)


class _Wheel:
    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.pings = Pings(self.clock, _INTERVAL)
        self.clients: list[_Client] = []
        self.asked_in_vain: list[int] = []

    def add(self) -> _Client:
        client = _Client(self, len(self.clients))
        self.clients.append(client)
        return client

    @property
    def there(self) -> list[_Client]:
        return [client for client in self.clients if client.is_there]

    def check(self) -> None:
        """Check that each has been asked when it should have been, and that the timer runs only while it must."""
        assert self.asked_in_vain == []
        now = self.clock.monotonic()
        for client in self.clients:
            times = [client.since, *client.asked]
            # The first one may come up to a step early, because the wheel turns in steps; then it is one turn each.
            assert all(_INTERVAL - _STEP <= times[1] - times[0] <= _INTERVAL + 1e-6 for _ in client.asked[:1])
            turns = pairwise(client.asked)
            assert all(later - earlier == pytest.approx(_INTERVAL) for earlier, later in turns)
            if client.is_there:
                assert now - times[-1] < _INTERVAL + 1e-6
        assert self.pings._count == len(self.there)
        assert self.clock.pending == (1 if self.there else 0)


async def test_each_is_asked_once_in_a_turn() -> None:
    wheel = _Wheel()
    client = wheel.add()
    await wheel.clock.advance(_INTERVAL - 0.001)
    assert client.asked == []
    await wheel.clock.advance(0.001)
    assert client.asked == [_INTERVAL]
    await wheel.clock.advance(3 * _INTERVAL)
    assert client.asked == [pytest.approx(number * _INTERVAL) for number in range(1, 5)]
    wheel.check()


async def test_the_timer_stops_when_nobody_is_left() -> None:
    wheel = _Wheel()
    first, second = wheel.add(), wheel.add()
    first.go()
    assert wheel.clock.pending == 1
    second.go()
    assert wheel.clock.pending == 0
    third = wheel.add()
    assert wheel.clock.pending == 1
    third.then = third.go
    await wheel.clock.advance(_INTERVAL)
    assert (len(third.asked), wheel.clock.pending) == (1, 0)


async def test_whoever_goes_because_another_did_is_not_asked() -> None:
    wheel = _Wheel()
    clients = [wheel.add() for _ in range(8)]

    def all_but_one_go(stays: _Client) -> Callable[[], None]:
        def go() -> None:
            for client in clients:
                if client is not stays:
                    client.go()

        return go

    for client in clients:
        client.then = all_but_one_go(client)
    await wheel.clock.advance(_INTERVAL)
    assert sum(len(client.asked) for client in clients) == 1
    wheel.check()


async def test_a_defect_with_one_leaves_the_others_alone() -> None:
    wheel = _Wheel()
    clients = [wheel.add() for _ in range(8)]

    def fail() -> None:
        raise RuntimeError("a defect")

    clients[3].then = fail
    with structlog.testing.capture_logs() as entries:
        await wheel.clock.advance(2 * _INTERVAL)
    assert [len(client.asked) for client in clients] == [2] * 8
    assert [entry["event"] for entry in entries] == ["ping_failed"] * 2


_DOES: dict[str, Callable[[_Wheel, int], Any]] = {
    "come": lambda wheel, _number: wheel.add(),
    "go": lambda wheel, number: wheel.there[number % len(wheel.there)].go() if wheel.there else None,
}
_ACTS = st.tuples(st.sampled_from(sorted(_DOES)), st.integers(0, 99))


@given(
    schedule=st.lists(st.tuples(st.integers(0, 2500), st.lists(_ACTS, max_size=4)), max_size=25),
    in_turns=st.dictionaries(st.integers(0, 20), st.lists(_ACTS, min_size=1, max_size=3), max_size=8),
)
async def test_whatever_happens(
    schedule: list[tuple[int, list[tuple[str, int]]]], in_turns: dict[int, list[tuple[str, int]]]
) -> None:
    """Clients come and go in any order, between turns and while others are being asked."""
    wheel = _Wheel()
    asked: defaultdict[str, int] = defaultdict(int)

    def act(acts: list[tuple[str, int]]) -> None:
        for name, number in acts:
            _DOES[name](wheel, number)
            for client in wheel.clients:
                client.then = in_turn

    def in_turn() -> None:
        asked["all"] += 1
        act(in_turns.get(asked["all"], []))

    for centiseconds, acts in schedule:
        await wheel.clock.advance(centiseconds / 100)
        act(acts)
        wheel.check()
    await wheel.clock.advance(_INTERVAL)
    wheel.check()
    for client in list(wheel.there):
        client.go()
    wheel.check()
    assert not any(wheel.pings._spokes)
