"""Who is alive: judged by heartbeats that change while one looks, on one's own stopwatch."""

from datetime import datetime, timedelta

import pytest

from coordinator.adapters.memory.clock import ManualClock
from coordinator.adapters.memory.liveness import MemoryLiveness
from coordinator.domain.ids import NodeId
from coordinator.services.neighbours import BEATS_PER_TIMEOUT, LOOKS_PER_TIMEOUT, Neighbours
from tests.domain.story import START
from tests.services.harness import soon

HERE, THERE = NodeId("a0"), NodeId("b0")
TIMEOUT_SECONDS = 15.0
BEAT_SECONDS, LOOK_SECONDS = TIMEOUT_SECONDS / BEATS_PER_TIMEOUT, TIMEOUT_SECONDS / LOOKS_PER_TIMEOUT


class Skewed(ManualClock):
    """The manual clock of a machine whose wall clock is wrong by so much."""

    def __init__(self, clock: ManualClock, skew: timedelta) -> None:
        self._clock = clock
        self._skew = skew

    def now(self) -> datetime:
        return self._clock.now() + self._skew

    def monotonic(self) -> float:
        return self._clock.monotonic()


class Pair:
    """Two nodes: one that looks each second, and one that beats until it does not."""

    def __init__(self, skew: timedelta = timedelta(0)) -> None:
        self.clock = ManualClock(START)
        self.liveness = MemoryLiveness()
        self.here = Neighbours(HERE, self.liveness, self.clock, TIMEOUT_SECONDS)
        self.there = Neighbours(THERE, self.liveness, Skewed(self.clock, skew), TIMEOUT_SECONDS)

    async def go_on(self, seconds: float, *, beating: bool) -> set[NodeId]:
        """Let time pass; return who was found dead at any time."""
        found: set[NodeId] = set()
        for step in range(round(seconds / LOOK_SECONDS)):
            if beating and step % round(BEAT_SECONDS / LOOK_SECONDS) == 0:
                await soon(self.there.beat())
            await self.clock.advance(LOOK_SECONDS)
            dead, alive = await soon(self.here.look())
            assert HERE in alive
            assert dead.isdisjoint(alive)
            found |= dead
        return found


async def test_a_node_alone_has_no_company_and_is_alive() -> None:
    pair = Pair()
    assert not pair.here.has_company
    assert await soon(pair.here.beat()) is False
    assert await soon(pair.here.look()) == (set(), {HERE})
    assert not pair.here.has_company


async def test_who_beats_is_alive_for_as_long_as_it_beats() -> None:
    pair = Pair()
    assert await pair.go_on(120, beating=True) == set()
    assert pair.here.has_company


async def test_silence_is_noticed_early_enough_to_be_dealt_with_within_the_timeout() -> None:
    pair = Pair()
    await pair.go_on(60, beating=True)
    assert await pair.go_on(0.5 * TIMEOUT_SECONDS - BEAT_SECONDS, beating=False) == set()
    assert await pair.go_on(0.35 * TIMEOUT_SECONDS, beating=False) == {THERE}


@pytest.mark.parametrize(
    "skew", [timedelta(hours=-1), timedelta(seconds=-20), timedelta(seconds=20), timedelta(hours=1)]
)
async def test_a_wrong_clock_is_no_death_once_it_has_been_seen_to_beat(skew: timedelta) -> None:
    pair = Pair(skew)
    await soon(pair.there.beat())
    await soon(pair.here.look())
    await pair.clock.advance(BEAT_SECONDS)
    assert await pair.go_on(60, beating=True) == set()
    assert await pair.go_on(TIMEOUT_SECONDS, beating=False) == {THERE}


async def test_who_was_silent_long_before_this_node_came_is_dead_at_once() -> None:
    pair = Pair()
    await soon(pair.there.beat())
    await pair.clock.advance(TIMEOUT_SECONDS)
    assert await soon(pair.here.look()) == ({THERE}, {HERE})


async def test_a_node_that_stood_still_itself_does_not_take_the_others_for_dead() -> None:
    pair = Pair()
    await pair.go_on(30, beating=True)
    await pair.clock.advance(10 * TIMEOUT_SECONDS)
    assert await soon(pair.here.look()) == (set(), {HERE, THERE})
    assert await pair.go_on(TIMEOUT_SECONDS, beating=False) == {THERE}


async def test_who_was_forgotten_learns_it_from_its_next_beat_and_is_alive_again() -> None:
    pair = Pair()
    await pair.go_on(30, beating=True)
    await pair.go_on(TIMEOUT_SECONDS, beating=False)
    await soon(pair.here.forget(THERE))
    assert await soon(pair.here.look()) == (set(), {HERE})
    assert not pair.here.has_company
    assert await soon(pair.there.beat()) is True
    assert await soon(pair.there.beat()) is False
    assert await pair.go_on(60, beating=True) == set()
    assert pair.here.has_company


async def test_a_node_that_left_is_nobody_s_concern() -> None:
    pair = Pair()
    await pair.go_on(5, beating=True)
    await soon(pair.there.leave())
    assert await pair.go_on(60, beating=False) == set()
    assert not pair.here.has_company
