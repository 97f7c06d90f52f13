"""Acks of the feed, its window, who owns a consumer, and how far each is behind."""

import asyncio

import pytest

from coordinator.domain.cursors import Position, StreamCursor, cursor_text, read_cursor
from coordinator.domain.errors import InvalidRequestError, UnavailableError
from coordinator.services.feed import WINDOW, ConsumerLag
from tests.services.feeds import Recorder, Stage, fed, unfed
from tests.services.harness import soon


def begun(recorder: Recorder, number: int) -> "asyncio.Task[str]":
    """An ack of the first `number` records, whose answer comes later."""
    return asyncio.create_task(recorder.station.feed.ack(recorder, recorder.cursors[number - 1]))


async def test_an_ack_is_answered_once_it_is_durable(stage: Stage) -> None:
    station, session = stage.station("a0"), stage.session()
    recorder = await station.recorder("archive")
    await stage.write(session, fed(3))
    before = (await stage.stored("archive")).cursor
    gate = station.cable.gates["advance"] = asyncio.Event()
    answer = begun(recorder, 2)
    await stage.settle()
    assert not answer.done()
    assert (await stage.stored("archive")).cursor == before
    gate.set()
    assert await soon(answer) == recorder.cursors[1] == (await stage.stored("archive")).cursor
    assert await stage.consumers.marks("archive") == {session: 2}


async def test_many_acks_are_few_writes_of_which_one_is_under_way(stage: Stage) -> None:
    station, session = stage.station("a0"), stage.session()
    recorder = await station.recorder("archive")
    await stage.write(session, fed(100))
    gate = station.cable.gates["advance"] = asyncio.Event()
    answers = [begun(recorder, 1)]
    await stage.settle()
    answers += [begun(recorder, number) for number in range(2, 101)]
    await stage.settle()
    assert station.cable.calls["advance"] == 1
    gate.set()
    assert (await soon(asyncio.gather(*answers)))[1:] == [recorder.cursors[-1]] * 99
    assert station.cable.calls["advance"] == 2


async def test_an_ack_is_for_everything_before_it(stage: Stage) -> None:
    sessions = [stage.session() for _ in range(3)]
    recorder = await stage.station("a0").recorder("archive")
    for session in sessions:
        await stage.write(session, fed(2), unfed())
    await recorder.ack(5)
    assert await stage.consumers.marks("archive") == {sessions[0]: 2, sessions[1]: 2, sessions[2]: 1}
    assert await recorder.ack(2) == recorder.cursors[4]
    assert await stage.consumers.marks("archive") == {sessions[0]: 2, sessions[1]: 2, sessions[2]: 1}


async def test_a_cursor_that_is_not_in_flight_changes_nothing(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(2))
    stored = await stage.stored("archive")
    strange = cursor_text(StreamCursor(Position("m0-9"), session, 7))
    assert await soon(stage.stations[0].feed.ack(recorder, strange)) == stored.cursor
    assert await stage.stored("archive") == stored


async def test_who_has_not_subscribed_cannot_ack(stage: Stage) -> None:
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(stage.session(), fed())
    stranger = stage.stations[0].connection()
    with pytest.raises(InvalidRequestError, match="subscribe first"):
        await soon(stage.stations[0].feed.ack(stranger, recorder.cursors[0]))
    recorder.drop()
    recorder.drop()
    with pytest.raises(InvalidRequestError, match="subscribe first"):
        await recorder.ack()


@pytest.mark.parametrize("history", [True, False], ids=["catching up", "streaming"])
async def test_no_more_than_the_window_is_unacked_and_nothing_piles_up(stage: Stage, history: bool) -> None:
    sessions = sorted(stage.session() for _ in range(6))
    station = stage.station("a0")
    recorder = None if history else await station.recorder("archive")
    for session in sessions:
        await stage.write(session, *[fed(7)] * 40)
    recorder = recorder or await station.recorder("archive", "beginning")
    await stage.advance(3)
    wanted = [(session, seq) for session in sessions for seq in range(1, 281)]
    sent, reads = WINDOW, station.cable.calls["events_after"]
    assert recorder.places() == wanted[:sent]
    await stage.advance(30)
    assert station.cable.calls["events_after"] == reads
    while sent < len(wanted):
        await recorder.ack(sent - WINDOW + 100)
        await stage.settle()
        sent = min(sent + 100, len(wanted))
        assert recorder.places() == wanted[:sent]
    await recorder.ack()
    assert (await station.feed.lags())[0].unacked == 0


async def test_an_ack_whose_outcome_is_unknown_can_be_repeated(stage: Stage) -> None:
    station, session = stage.station("a0"), stage.session()
    recorder = await station.recorder("archive")
    await stage.write(session, fed(4))
    before = (await stage.stored("archive")).cursor
    station.cable.is_cut = True
    for number in (2, 2, 3, 2):
        with pytest.raises(UnavailableError):
            await recorder.ack(number)
    station.cable.is_cut = False
    assert (await stage.stored("archive")).cursor == before
    assert await recorder.ack(2) == recorder.cursors[2] == (await stage.stored("archive")).cursor
    station.cable.mute.add("advance")
    with pytest.raises(UnavailableError):
        await recorder.ack(4)
    station.cable.mute.clear()
    assert await recorder.ack(4) == recorder.cursors[3]
    assert await stage.consumers.marks("archive") == {session: 4}


async def test_an_ack_that_could_not_be_written_is_written_once_the_database_is_back(stage: Stage) -> None:
    station, session = stage.station("a0"), stage.session()
    recorder = await station.recorder("archive")
    await stage.write(session, fed(4))
    station.cable.is_cut = True
    with pytest.raises(UnavailableError):
        await recorder.ack(3)
    await stage.advance(5)
    station.cable.is_cut = False
    await stage.advance(5)
    assert (await stage.stored("archive")).cursor == recorder.cursors[2]


async def test_what_was_acked_is_written_though_the_connection_is_gone(stage: Stage) -> None:
    station, session = stage.station("a0"), stage.session()
    recorder = await station.recorder("archive")
    await stage.write(session, fed(4))
    gate = station.cable.gates["advance"] = asyncio.Event()
    answers = [begun(recorder, 1), begun(recorder, 3)]
    await stage.settle()
    recorder.drop()
    gate.set()
    await soon(asyncio.gather(*answers))
    assert (await stage.stored("archive")).cursor == recorder.cursors[2]


async def test_the_newest_connection_wins(stage: Stage) -> None:
    station, session = stage.station("a0"), stage.session()
    older = await station.recorder("archive")
    await stage.write(session, fed(2))
    newer = await station.recorder("archive")
    assert older.notes == [("replaced", {"consumer": "archive"})]
    assert older.closed == "replaced"
    with pytest.raises(InvalidRequestError):
        await older.ack()
    older.drop()
    await stage.advance(2)
    assert newer.seqs(session) == [1, 2]
    await newer.ack()
    assert newer.closed is None


async def test_the_newest_connection_wins_on_another_node_within_a_second(stage: Stage) -> None:
    session = stage.session()
    older = await stage.station("a0").recorder("archive")
    newer = await stage.station("b0").recorder("archive")
    await stage.write(session, fed(2))
    await stage.advance(1)
    assert older.notes == [("replaced", {"consumer": "archive"})]
    assert older.closed == "replaced"
    await stage.advance(2)
    assert newer.seqs(session) == [1, 2]
    assert await newer.ack() == newer.cursors[-1]


async def test_an_ack_finds_out_that_a_newer_connection_owns_the_consumer(stage: Stage) -> None:
    session = stage.session()
    older = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(2))
    stored = (await stage.stored("archive")).cursor
    newer = await stage.station("b0").recorder("archive")
    with pytest.raises(InvalidRequestError):
        await older.ack()
    await stage.settle()
    assert older.closed == "replaced"
    assert (await stage.stored("archive")).cursor == stored
    await stage.advance(2)
    assert newer.seqs(session) == [1, 2]


async def test_a_connection_that_goes_while_it_subscribes_is_not_taken(stage: Stage) -> None:
    station = stage.station("a0")
    gate = station.cable.gates["claim"] = asyncio.Event()
    recorder = station.connection()
    subscribing = asyncio.create_task(station.feed.subscribe(recorder, "archive", None))
    await stage.settle()
    station.feed.unsubscribe(recorder)
    gate.set()
    with pytest.raises(UnavailableError):
        await soon(subscribing)
    station.feed.start(recorder)
    await stage.write(stage.session(), fed())
    await stage.advance(2)
    assert recorder.records == []
    assert not (await station.feed.lags())[0].is_connected


async def test_two_that_subscribe_at_once_leave_one(stage: Stage) -> None:
    station, session = stage.station("a0"), stage.session()
    recorders = [station.connection() for _ in range(5)]
    await soon(asyncio.gather(*(recorder.subscribe("archive") for recorder in recorders)))
    await stage.write(session, fed(2))
    await stage.advance(3)
    assert [recorder.closed for recorder in recorders] == ["replaced"] * 4 + [None]
    assert recorders[-1].seqs(session) == [1, 2]


async def test_who_came_later_wins_though_the_other_took_longer(stage: Stage) -> None:
    station, session = stage.station("a0"), stage.session()
    await station.recorder("archive")
    gate = station.cable.gates["begin"] = asyncio.Event()
    slow, quick = station.connection(), station.connection()
    subscribing = [
        asyncio.create_task(slow.subscribe("archive", "beginning")),
        asyncio.create_task(quick.subscribe("archive")),
    ]
    await stage.settle()
    gate.set()
    await soon(asyncio.gather(*subscribing))
    await stage.write(session, fed())
    await stage.advance(3)
    assert slow.closed == "replaced"
    assert quick.closed is None
    assert quick.seqs(session) == [1]
    assert await quick.ack() == quick.cursors[0]


async def test_what_was_being_acked_cannot_undo_a_move(stage: Stage) -> None:
    station, session = stage.station("a0"), stage.session()
    recorder = await station.recorder("archive")
    await stage.write(session, fed(4))
    gate = station.cable.gates["advance"] = asyncio.Event()
    answer = begun(recorder, 4)
    await stage.settle()
    await recorder.subscribe("archive", recorder.cursors[0])
    gate.set()
    with pytest.raises(InvalidRequestError):
        await soon(answer)
    await stage.advance(3)
    assert recorder.closed is None
    assert (await stage.stored("archive")).cursor == recorder.cursors[0]
    assert recorder.seqs(session) == [1, 2, 3, 4, 2, 3, 4]


async def test_a_forgotten_consumers_connection_is_closed_so_that_it_begins_anew(stage: Stage) -> None:
    recorder = await stage.station("a0").recorder("archive")
    await stage.consumers.forget("archive")
    await stage.advance(1)
    assert recorder.closed == "forgotten"
    assert recorder.notes == []
    again = await stage.stations[0].recorder("archive")
    assert again.subscribed is not None
    assert again.subscribed.origin == "new"


async def test_an_idle_cursor_moves_on(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(2))
    await recorder.ack()
    for _ in range(12):
        await stage.write(session, unfed())
        await stage.advance(1)
    stored = await stage.stored("archive")
    cursor = read_cursor(stored.cursor)
    assert isinstance(cursor, StreamCursor)
    assert cursor.position != read_cursor(recorder.cursors[-1]).position  # type: ignore[union-attr]
    assert stored.scope is None
    recorder.drop()
    reads = stage.stations[0].cable.calls["events_after"]
    again = await stage.stations[0].recorder("archive")
    await stage.write(session, fed())
    await stage.advance(2)
    assert again.seqs(session) == [15]
    assert stage.stations[0].cable.calls["events_after"] <= reads + 1


async def test_a_cursor_does_not_move_on_while_something_is_unacked(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(2), unfed())
    await recorder.ack(1)
    await stage.advance(60)
    assert (await stage.stored("archive")).cursor == recorder.cursors[0]


async def test_lags_tell_how_far_each_consumer_is_behind(stage: Stage) -> None:
    session = stage.session()
    here, there = stage.station("a0"), stage.station("b0")
    recorder = await here.recorder("archive")
    absent = await there.recorder("backup")
    absent.drop()
    await stage.advance(30)
    assert await here.feed.lags() == [
        ConsumerLag(name="archive", seconds=0, unacked=0, is_connected=True),
        ConsumerLag(name="backup", seconds=30, unacked=0, is_connected=False),
    ]
    await stage.advance(9)  # since it was last written that it has everything
    await stage.write(session, fed(3))
    await stage.settle()
    assert (await here.feed.lags())[0].seconds <= 2
    await stage.advance(20)
    await recorder.ack(1)
    lag = (await here.feed.lags())[0]
    assert (lag.unacked, lag.is_connected) == (2, True)
    assert 20 <= lag.seconds <= 22
    await recorder.ack()
    assert (await here.feed.lags())[0].seconds == 0
    # Another node knows only what is stored, which is at most ten seconds old.
    await stage.advance(12)
    elsewhere = (await there.feed.lags())[0]
    assert not elsewhere.is_connected
    assert elsewhere.seconds <= 11
    here.cable.is_cut = there.cable.is_cut = True
    with pytest.raises(UnavailableError):
        await here.feed.lags()
    here.cable.is_cut = False
    here.cable.gates["read"] = asyncio.Event()
    await stage.advance(20)
    assert (await here.feed.lags())[0].seconds >= 15


async def test_who_repeats_everything_is_behind_from_then_on(stage: Stage) -> None:
    session = stage.session()
    await stage.write(session, fed(WINDOW + 10))
    station = stage.station("a0")
    recorder = await station.recorder("archive", "beginning")
    await stage.advance(25)
    assert (await station.feed.lags())[0] == ConsumerLag(name="archive", seconds=25, unacked=WINDOW, is_connected=True)
    while recorder.places()[-1:] != [(session, WINDOW + 10)]:
        await recorder.ack()
        await stage.settle()
    await recorder.ack()
    await stage.advance(2)
    assert (await station.feed.lags())[0].seconds == 0
