"""The feed while its stores are silent, and when something in it is defective."""

import asyncio
from typing import Any

import pytest

from coordinator.domain.errors import UnavailableError
from coordinator.ports.journal import OutcomeUnknownError
from tests.services.feeds import ENDED, Cable, Stage, fed, staged, unfed
from tests.services.harness import soon


async def test_a_silent_database_only_makes_it_late(stage: Stage) -> None:
    session = stage.session()
    station = stage.station("a0")
    recorder = await station.recorder("archive")
    await stage.write(session, fed(2))
    station.cable.is_cut = True
    await stage.write(session, fed(2), unfed())
    await stage.hide(session, fed())
    await stage.advance(60)
    assert recorder.seqs(session) == [1, 2]
    station.cable.is_cut = False
    await stage.advance(3)
    await stage.write(session, fed())
    assert recorder.seqs(session) == [1, 2, 3, 4, 6, 7]
    assert recorder.closed is None


async def test_retries_do_not_hurry(stage: Stage) -> None:
    station = stage.station("a0")
    await station.recorder("archive")
    await stage.advance(2)
    station.cable.is_cut = True
    await stage.advance(10)
    opened = station.cable.calls["open"]
    await stage.advance(100)
    assert 45 <= station.cable.calls["open"] - opened <= 55


async def test_who_subscribes_while_the_database_is_silent_is_told_to_try_again(stage: Stage) -> None:
    session = stage.session()
    await stage.write(session, fed(2))
    await stage.live(session)
    station = stage.station("a0")
    recorder = station.connection()
    station.cable.is_cut = True
    for after in (None, "beginning", "s.m0-0"):
        with pytest.raises(UnavailableError):
            await recorder.subscribe("archive", after)
    assert await stage.consumers.all() == []
    station.cable.is_cut = False
    assert (await recorder.subscribe("archive")).origin == "new"
    await stage.advance(2)
    assert recorder.seqs(session) == [1, 2]


@pytest.mark.parametrize("name", ["claim", "begin"])
async def test_a_subscription_whose_outcome_is_unknown_can_be_repeated(stage: Stage, name: str) -> None:
    session = stage.session()
    await stage.write(session, fed(2))
    await stage.live(session)
    station = stage.station("a0")
    recorder = station.connection()
    station.cable.mute.add(name)
    with pytest.raises(UnavailableError):
        await recorder.subscribe("archive")
    station.cable.mute.clear()
    await recorder.subscribe("archive")
    await stage.advance(2)
    assert recorder.seqs(session) == [1, 2]
    station.cable.mute.add(name)
    with pytest.raises(UnavailableError):
        await recorder.subscribe("archive", "beginning")
    station.cable.mute.clear()
    await stage.write(session, fed())
    assert recorder.seqs(session) == [1, 2], "a connection that may have moved is sent nothing"
    await recorder.subscribe("archive", "beginning")
    await stage.advance(2)
    assert recorder.seqs(session) == [1, 2, 1, 2, 3]


class Unlucky(Cable):
    """A cable on which one call goes wrong."""

    def __init__(self, at: int, *, is_done: bool) -> None:
        super().__init__()
        self.at = at
        self.is_done = is_done
        self.made = 0

    async def through(self, name: str, work: Any) -> Any:
        self.made += 1
        if self.made != self.at:
            return await super().through(name, work)
        if self.is_done and name != "read":  # what a read has returned is only lost with its stream
            await work()
        raise OutcomeUnknownError("the one that goes wrong")


async def _life(stage: Stage) -> Unlucky:
    """A consumer's life with everything in it: catching up, reading back, following, a gap, a lost position."""
    station = stage.station("b0")
    cable = station.cable
    sessions = sorted(stage.session() for _ in range(3))
    for session in sessions:
        await stage.write(session, fed(2), unfed())
    recorder = station.connection()

    async def insist(work: Any) -> None:
        for _ in range(3):
            try:
                await work()
            except UnavailableError:
                await stage.advance(1)
            else:
                return
        raise AssertionError("one call went wrong, and yet it never worked")

    await insist(lambda: recorder.subscribe("archive", "beginning"))
    await stage.write(sessions[0], fed())
    await stage.advance(3)
    await insist(lambda: recorder.ack(3))
    await stage.write(sessions[1], fed(), unfed())
    await stage.hide(sessions[2], fed(2))
    await stage.write(sessions[2], fed())
    await stage.advance(3)
    stage.stream.lose()
    late = stage.session()
    await stage.write(late, fed(2), [ENDED])
    await stage.advance(15)
    await insist(recorder.ack)
    await stage.advance(12)
    await stage.write(late, fed())
    await stage.advance(3)
    for session in (*sessions, late):
        assert recorder.seqs(session) == stage.expected(session)
    await insist(recorder.ack)
    assert (await stage.stored("archive")).cursor == recorder.cursors[-1]
    assert recorder.closed is None
    assert isinstance(cable, Unlucky)
    return cable


@pytest.mark.parametrize("is_done", [True, False], ids=["done and not answered", "not done"])
async def test_whichever_call_goes_wrong_everything_comes_once_and_in_order(
    is_done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = 0
    while True:
        at += 1
        monkeypatch.setattr("tests.services.feeds.Cable", lambda at=at: Unlucky(at, is_done=is_done))
        async with staged() as stage:
            cable = await _life(stage)
        if cable.made < at:
            break
    assert at > 60


async def test_a_defect_closes_the_connection_so_that_the_client_comes_back(stage: Stage) -> None:
    stage.tolerated.add("delivery_failed")
    session, station = stage.session(), stage.station("a0")
    recorder, other = await station.recorder("archive"), await station.recorder("other")
    await stage.write(session, fed())
    station.cable.defects["events_after"] = RuntimeError("a defect")
    await stage.hide(session, fed())
    await stage.write(session, fed())
    assert recorder.closed == other.closed == "error"
    station.cable.defects.clear()
    recorder.drop()
    await stage.advance(2)
    again = await station.recorder("archive")
    await stage.advance(2)
    assert again.seqs(session) == [1, 2, 3]


async def test_a_defect_in_the_shared_reader_only_makes_it_late(stage: Stage) -> None:
    stage.tolerated.add("tail_failed")
    session, station = stage.session(), stage.station("a0")
    recorder = await station.recorder("archive")
    await stage.advance(2)
    station.cable.defects["read"] = RuntimeError("a defect")
    await stage.write(session, fed(2), fed())
    await stage.advance(5)
    station.cable.defects.clear()
    await stage.advance(5)
    assert recorder.seqs(session) == [1, 2, 3]
    assert recorder.closed is None


async def test_a_defect_in_writing_progress_answers_those_who_wait(stage: Stage) -> None:
    stage.tolerated.add("progress_failed")
    session, station = stage.session(), stage.station("a0")
    recorder = await station.recorder("archive")
    await stage.write(session, fed(2))
    station.cable.defects["advance"] = RuntimeError("a defect")
    with pytest.raises(UnavailableError):
        await recorder.ack()
    station.cable.defects.clear()
    assert await recorder.ack() == recorder.cursors[-1]


async def test_whoever_waits_for_an_ack_is_answered_when_everything_stops(stage: Stage) -> None:
    session, station = stage.session(), stage.station("a0")
    recorder = await station.recorder("archive")
    await stage.write(session, fed(2))
    station.cable.gates["advance"] = asyncio.Event()
    answer = asyncio.create_task(station.feed.ack(recorder, recorder.cursors[0]))
    await stage.settle()
    await station.crash()
    with pytest.raises(UnavailableError):
        await soon(answer)
