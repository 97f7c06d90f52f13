"""The port `Clock`, sentence by sentence, over the real one and the manual one."""

import asyncio
from datetime import UTC, timedelta

import pytest

from coordinator.adapters.memory.clock import ManualClock, settle
from coordinator.adapters.system import SystemClock
from coordinator.ports.clock import Clock
from tests.contracts.making import NOON

SHORT = 0.002
"""Seconds; the real clock has to live through them."""


@pytest.fixture(params=["manual", "system"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return ManualClock(NOON + timedelta(microseconds=999)) if request.param == "manual" else SystemClock()


async def pass_time(clock: Clock, seconds: float) -> None:
    if isinstance(clock, ManualClock):
        await clock.advance(seconds)
    else:
        await clock.sleep(seconds)
        await settle()


async def test_now_is_utc_in_milliseconds(clock: Clock) -> None:
    for _ in range(3):
        assert clock.now().tzinfo is UTC
        assert clock.now().microsecond % 1000 == 0
        await pass_time(clock, SHORT / 3)


async def test_time_passes_alike_on_both_scales(clock: Clock) -> None:
    now, monotonic = clock.now(), clock.monotonic()
    await pass_time(clock, SHORT)
    assert clock.now() - now >= timedelta(milliseconds=1)
    assert clock.monotonic() - monotonic >= SHORT * 0.9


async def test_a_timer_goes_off_once_on_the_event_loop(clock: Clock) -> None:
    calls: list[asyncio.AbstractEventLoop] = []
    clock.call_later(SHORT, lambda: calls.append(asyncio.get_running_loop()))
    assert calls == []
    await pass_time(clock, 2 * SHORT)
    assert calls == [asyncio.get_running_loop()]
    await pass_time(clock, 2 * SHORT)
    assert len(calls) == 1


@pytest.mark.parametrize("seconds", [0, -5])
async def test_a_timer_in_the_past_goes_off_at_once_but_not_within_the_call(clock: Clock, seconds: float) -> None:
    calls: list[str] = []
    clock.call_later(seconds, lambda: calls.append("called"))
    assert calls == []
    await settle()
    assert calls == ["called"]


@pytest.mark.parametrize("seconds", [SHORT, 0])
async def test_a_cancelled_timer_does_not_go_off(clock: Clock, seconds: float) -> None:
    calls: list[str] = []
    clock.call_later(seconds, lambda: calls.append("called")).cancel()
    await pass_time(clock, 2 * SHORT)
    assert calls == []


async def test_cancelling_is_harmless_when_called_already(clock: Clock) -> None:
    calls: list[str] = []
    timer = clock.call_later(SHORT, lambda: calls.append("called"))
    await pass_time(clock, 2 * SHORT)
    timer.cancel()
    timer.cancel()
    assert calls == ["called"]


@pytest.mark.parametrize("seconds", [0, -1])
async def test_sleeping_not_at_all_lets_others_run(clock: Clock, seconds: float) -> None:
    calls: list[str] = []
    asyncio.get_running_loop().call_soon(lambda: calls.append("called"))
    await clock.sleep(seconds)
    assert calls == ["called"]


async def test_a_sleeper_sleeps_so_long(clock: Clock) -> None:
    before = clock.monotonic()
    sleeper = asyncio.create_task(clock.sleep(SHORT))
    await pass_time(clock, 5 * SHORT)
    await sleeper
    assert clock.monotonic() - before >= SHORT * 0.9
