"""The feed when something is lost: positions, commits that the stream never told of, places in the ring."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from coordinator.domain.cursors import CatchUpCursor, Position, StreamCursor, read_cursor
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import Commit, SealedEvent, UnknownEventError
from coordinator.ports.commit_stream import CommitStream, OpenStream, StreamedCommit
from coordinator.services.feed import WINDOW, delivered, tail
from tests.services.feeds import ENDED, Stage, fed, unfed


async def test_what_the_stream_skipped_is_read_from_the_journal(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(2))
    await stage.hide(session, [*fed(2), *unfed()])
    await stage.hide(session, fed())
    await stage.write(session, unfed())
    assert recorder.seqs(session) == [1, 2, 3, 4, 6]
    await recorder.ack(4)
    recorder.drop()
    again = await stage.stations[0].recorder("archive")
    await stage.advance(2)
    assert again.seqs(session) == [6]


async def test_a_session_that_was_missed_so_far_comes_whole(stage: Stage) -> None:
    session = stage.session()
    await stage.write(session, unfed(), fed(3))
    recorder = await stage.station("a0").recorder("archive")
    assert recorder.records == []
    await stage.write(session, unfed())
    assert recorder.seqs(session) == [2, 3, 4]


async def test_a_skipped_commit_is_found_after_a_crash_too(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(2))
    await recorder.ack()
    await stage.stations[0].crash()
    await stage.hide(session, fed(2))
    await stage.write(session, fed())
    again = await stage.station("b0").recorder("archive")
    await stage.advance(2)
    assert again.seqs(session) == [3, 4, 5]


async def test_who_chose_a_cursor_is_trusted_to_have_what_came_before(stage: Stage) -> None:
    session, other = stage.session(), stage.session()
    first = await stage.station("a0").recorder("archive")
    await stage.write(other, fed(3))
    await stage.write(session, fed())
    first.drop()
    again = await stage.stations[0].recorder("archive", first.cursors[-1])
    await stage.advance(2)
    await stage.write(other, fed())
    await stage.write(session, fed())
    assert again.places() == [(other, 4), (session, 2)]


async def test_what_a_chosen_cursor_says_of_a_session_is_not_forgotten(stage: Stage) -> None:
    """It names a place in the middle of a commit, and is moved on before anything has been sent."""
    session = stage.session()
    first = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(3))
    first.drop()
    station = stage.station("b0")
    station.cable.gates["read"] = asyncio.Event()
    await station.recorder("archive", first.cursors[1])
    await stage.advance(11)
    assert (await stage.stored("archive")).cursor != first.cursors[1]
    await station.crash()
    again = await stage.stations[0].recorder("archive")
    await stage.advance(2)
    assert again.seqs(session) == [3]


async def test_a_gap_longer_than_a_page_comes_in_order(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    for _ in range(60):
        await stage.hide(session, fed(7))
    await stage.write(session, fed())
    for _ in range(3):
        await recorder.ack()
        await stage.settle()
    assert recorder.seqs(session) == list(range(1, 422))


@pytest.mark.parametrize("unacked", [0, 1, 5])
async def test_a_lost_position_costs_and_repeats_nothing_on_a_living_connection(stage: Stage, unacked: int) -> None:
    sessions = [stage.session() for _ in range(4)]
    recorder = await stage.station("a0").recorder("archive")
    for session in sessions:
        await stage.write(session, fed(3), unfed())
    await recorder.ack(len(recorder.records) - unacked)
    stage.stream.lose()
    for session in sessions:
        await stage.write(session, fed(2))
    await stage.advance(3)
    for session in sessions:
        await stage.write(session, fed())
    for session in sessions:
        assert recorder.seqs(session) == stage.expected(session)
    # What was in flight before can still be acked.
    await recorder.ack(len(recorder.records) - 6)
    await stage.stations[0].crash()
    again = await stage.station("b0").recorder("archive")
    await stage.advance(2)
    assert sorted(again.places()) == sorted(recorder.places()[-6:])


async def test_a_lost_position_is_made_good_by_marks(stage: Stage) -> None:
    sessions = [stage.session() for _ in range(4)]
    recorder = await stage.station("a0").recorder("archive")
    for session in sessions:
        await stage.write(session, fed(3), unfed())
    await recorder.ack(7)
    await stage.stations[0].crash()
    late = stage.session()
    await stage.write(late, fed(), [ENDED])
    stage.stream.lose()
    again = await stage.station("b0").recorder("archive")
    await stage.advance(2)
    assert sorted(again.places()) == sorted([*recorder.places()[7:], (late, 1), (late, 2)])
    assert {type(read_cursor(cursor)) for cursor in again.cursors} == {CatchUpCursor}
    await again.ack()
    await stage.advance(11)
    assert isinstance(read_cursor((await stage.stored("archive")).cursor), StreamCursor)


async def test_a_position_lost_in_the_middle_of_a_catch_up(stage: Stage) -> None:
    sessions = [stage.session() for _ in range(3)]
    for session in sessions:
        await stage.write(session, *[fed(10)] * 20)
    recorder = await stage.station("a0").recorder("archive", "beginning")
    stage.stream.lose()
    await stage.write(sessions[0], fed())
    stage.stream.lose()
    while len(recorder.records) < 601:
        await recorder.ack()
        await stage.advance(1)
    for session in sessions:
        assert recorder.seqs(session) == stage.expected(session)


async def test_a_session_that_began_and_ended_while_a_new_consumer_was_away_is_not_missed(stage: Stage) -> None:
    """It is not among those that were live when the consumer began, and there will be no further commit of it."""
    live, late = stage.session(), stage.session()
    await stage.write(live, fed(4))
    await stage.live(live)
    recorder = await stage.station("a0").recorder("archive")
    await recorder.ack(2)
    await stage.stations[0].crash()
    await stage.write(late, fed(2), [ENDED])
    again = await stage.station("b0").recorder("archive")
    await stage.advance(2)
    assert again.places() == [(live, 3), (live, 4), (late, 1), (late, 2), (late, 3)]


async def test_that_session_is_not_missed_either_if_the_position_is_lost(stage: Stage) -> None:
    live, late = stage.session(), stage.session()
    await stage.write(live, fed(4))
    await stage.live(live)
    recorder = await stage.station("a0").recorder("archive")
    await recorder.ack(2)
    await stage.stations[0].crash()
    await stage.write(late, fed(2), [ENDED])
    stage.stream.lose()
    again = await stage.station("b0").recorder("archive")
    await again.ack(1)
    await stage.stations[1].crash()
    # Its scope was of no more use once another catch-up had begun.
    third = await stage.station("c0").recorder("archive")
    await stage.advance(2)
    wanted = [(live, 3), (live, 4), (late, 1), (late, 2), (late, 3)]
    assert again.places() == wanted
    assert third.places() == wanted[1:]


async def test_a_new_consumer_is_spared_what_was_over_also_if_it_comes_back_early(stage: Stage) -> None:
    live, over = stage.session(), stage.session()
    await stage.write(over, fed(3), [ENDED])
    await stage.write(live, fed(4))
    await stage.live(live)
    recorder = await stage.station("a0").recorder("archive")
    await recorder.ack(2)
    await stage.stations[0].crash()
    again = await stage.station("b0").recorder("archive")
    await stage.advance(2)
    assert again.places() == [(live, 3), (live, 4)]


class Sluggish:
    """A stream in which whoever reads from a place of its own hears late that there was nothing."""

    def __init__(self, stream: CommitStream) -> None:
        self._stream = stream
        self.gate = asyncio.Event()

    async def open(self, after: Position | None = None) -> OpenStream:
        stream = await self._stream.open(after)
        return stream if after is None else _SluggishReader(stream, self.gate)


class _SluggishReader:
    def __init__(self, stream: OpenStream, gate: asyncio.Event) -> None:
        self._stream = stream
        self._gate = gate

    @property
    def position(self) -> Position:
        return self._stream.position

    async def read(self) -> Sequence[StreamedCommit]:
        found = await self._stream.read()
        if not found:
            await self._gate.wait()
        return found

    async def close(self) -> None:
        await self._stream.close()


async def test_what_the_tail_reads_while_a_reader_of_its_own_finds_nothing_is_not_missed(stage: Stage) -> None:
    session = stage.session()
    sluggish = Sluggish(stage.stream)
    stage.stream = sluggish  # type: ignore[assignment]
    recorder = await stage.station("a0").recorder("archive")
    await stage.advance(1.5)
    await stage.write(session, fed(2), [ENDED])
    assert recorder.records == []
    sluggish.gate.set()
    await stage.settle()
    assert recorder.seqs(session) == [1, 2, 3]


async def test_a_catch_up_goes_on_where_it_was_after_a_crash(stage: Stage) -> None:
    sessions = sorted(stage.session() for _ in range(3))
    for session in sessions:
        await stage.write(session, fed(3), unfed(2))
    wanted = [(session, seq) for session in sessions for seq in (1, 2, 3)]
    await (await stage.station("a0").recorder("archive", "beginning")).station.crash()
    for number in range(len(wanted)):
        station = stage.station(f"b{number}")
        recorder = await station.recorder("archive")
        assert recorder.places() == wanted[number:]
        await recorder.ack(1)
        await station.crash()


async def test_who_falls_out_of_the_ring_reads_a_stream_of_its_own(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "RING_COMMITS", 8)
    sessions = [stage.session() for _ in range(5)]
    station = stage.station("a0")
    slow, quick = await station.recorder("slow"), await station.recorder("quick")
    for _ in range(100):
        for session in sessions:
            await stage.write(session, fed())
        await quick.ack()
    opened = station.cable.calls["open"]
    assert len(slow.records) == WINDOW
    while len(slow.records) < 500:
        await slow.ack()
        await stage.settle()
    await stage.advance(2)
    assert station.cable.calls["open"] == opened + 1
    await stage.write(sessions[0], fed())
    assert slow.places() == quick.places()


async def test_a_stream_that_never_rests_meets_the_ring_all_the_same(stage: Stage) -> None:
    session = stage.session()
    station = stage.station("a0")
    first = await station.recorder("first")
    await stage.write(session, fed(2))
    cursor = await first.ack(1)
    await stage.write(session, *[fed()] * 20)
    second = station.connection()
    subscribing = second.subscribe("second", cursor)
    await subscribing
    await stage.write(session, fed())
    closed = station.cable.calls["read"]
    await stage.write(session, *[fed()] * 5)
    assert second.seqs(session) == list(range(2, 29))
    # Each further commit is read once, by the tail alone.
    assert station.cable.calls["read"] <= closed + 6


async def test_the_tail_runs_only_while_somebody_reads_and_once_for_all(stage: Stage) -> None:
    session, station = stage.session(), stage.station("a0")
    await stage.write(session, fed())
    await stage.advance(10)
    assert station.cable.calls["open"] == station.cable.calls["read"] == 0
    recorders = [await station.recorder(f"consumer{number}") for number in range(4)]
    await stage.advance(2)
    reads = station.cable.calls["read"]
    await stage.write(session, fed(), fed(), fed())
    assert station.cable.calls["read"] <= reads + 3
    assert {len(recorder.records) for recorder in recorders} == {4}
    for recorder in recorders:
        recorder.drop()
    await stage.settle()
    reads = station.cable.calls["read"]
    await stage.write(session, fed())
    await stage.advance(10)
    assert station.cable.calls["read"] == reads


async def test_what_is_remembered_of_sessions_is_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivered, "_REMEMBERED", 5)
    sizes: list[int] = []
    learn = delivered.Delivered.learn

    async def watched(self: delivered.Delivered, commits: object) -> None:
        await learn(self, commits)  # type: ignore[arg-type]
        sizes.append(len(self._seqs))

    monkeypatch.setattr(delivered.Delivered, "learn", watched)
    old = [stage.session() for _ in range(3)]
    recorder = await stage.station("a0").recorder("archive")
    for _ in range(40):
        session = stage.session()
        for either in (session, old[0], old[1]):
            await stage.write(either, fed(2), unfed())
            await stage.write(either, fed())
        await recorder.ack(len(recorder.records) - 3)
    assert max(sizes) <= 14
    for session in stage.commits:
        assert recorder.seqs(session) == stage.expected(session)


def _spoil(stage: Stage, monkeypatch: pytest.MonkeyPatch, *commits: Commit) -> None:
    """Let nobody be able to read these commits in the journal."""
    stage.tolerated.add("session_unreadable")
    places = {(commit.session_id, sealed.event.seq) for commit in commits for sealed in commit.events}
    read = stage.journal.events_after

    async def events_after(session: SessionId, after: int, limit: int | None = None) -> Sequence[SealedEvent]:
        found = await read(session, after, limit)
        if any((session, sealed.event.seq) in places for sealed in found):
            raise UnknownEventError("of a newer version")
        return found

    monkeypatch.setattr(stage.journal, "events_after", events_after)


async def test_what_cannot_be_read_keeps_nothing_else_from_being_heard(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, other = stage.session(), stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(2))
    await stage.hide(session, fed(2))
    await stage.hide(session, fed())
    await stage.hide(session, fed(3))
    spoilt = stage.commits[session]
    _spoil(stage, monkeypatch, spoilt[1], spoilt[3])
    await stage.write(session, fed())
    await stage.write(other, fed(2))
    assert recorder.closed is None
    assert recorder.seqs(session) == [1, 2, 5, 9]
    assert recorder.seqs(other) == [1, 2]
    whole = await stage.station("b0").recorder("new", "beginning")
    await stage.advance(2)
    assert whole.closed is None
    assert whole.seqs(session) == [1, 2, 5, 9]
    assert whole.seqs(other) == [1, 2]


async def test_commits_under_what_is_no_session_are_nobodys_business(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = stage.session()
    await stage.write(session, fed(2))
    known = stage.journal.session_ids

    async def session_ids() -> AsyncIterator[SessionId]:
        yield SessionId("5")
        async for item in known():
            yield item

    monkeypatch.setattr(stage.journal, "session_ids", session_ids)
    recorder = await stage.station("a0").recorder("archive", "beginning")
    assert recorder.closed is None
    assert recorder.seqs(session) == [1, 2]
