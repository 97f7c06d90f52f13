"""Subscribing to the feed: where each subscription begins, and what is sent from there."""

import asyncio

import msgspec
import pytest

from coordinator.domain.cursors import CatchUpCursor, Position, StreamCursor, cursor_text, read_cursor
from coordinator.domain.errors import InvalidRequestError, UnavailableError
from coordinator.domain.events import RecordingAttached, RecordingDisabled, RecordingEnabled
from coordinator.services.feed import Subscribed
from tests.contracts.making import EVERY_KIND, NOON, OPENED, URL
from tests.services.feeds import ANNA, ENDED, Stage, fed, unfed
from tests.services.harness import soon


async def test_a_new_consumer_gets_the_history_of_live_sessions_and_then_what_follows(stage: Stage) -> None:
    live, other, over = stage.session(), stage.session(), stage.session()
    for session in (live, over, other):
        await stage.write(session, fed(3), unfed(), fed())
    await stage.live(other, live)
    recorder = await stage.station("a0").recorder("archive")
    assert recorder.subscribed is not None
    assert recorder.subscribed.origin == "new"
    assert recorder.places() == [(session, seq) for session in sorted((live, other)) for seq in (1, 2, 3, 5)]
    await stage.advance(2)
    await stage.write(live, unfed(), fed(2))
    assert recorder.seqs(live) == [1, 2, 3, 5, 7, 8]
    assert recorder.seqs(over) == []


async def test_the_feed_carries_the_very_json_that_rooms_are_told_and_only_what_concerns_a_recorder(
    stage: Stage,
) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, EVERY_KIND)
    commit = stage.commits[session][0]
    left_out = {"session_opened", "camera_changed", "mic_changed"}
    wanted = [sealed for sealed in commit.events if sealed.event.body.kind not in left_out]
    assert [event["type"] for _, event in recorder.records] == [sealed.event.body.kind for sealed in wanted]
    assert {sealed.event.body.kind for sealed in commit.events} >= left_out
    assert [event for _, event in recorder.records] == [msgspec.json.decode(sealed.json) for sealed in wanted]


async def test_a_session_that_just_began_here_is_live_before_its_document_says_so(stage: Stage) -> None:
    session = stage.session()
    await stage.write(session, [OPENED], [RecordingEnabled(), RecordingDisabled()])
    station = stage.station("a0")
    room = await soon(station.rooms.room(session))
    assert room.projected_seq == 0
    assert await stage.projections.live() == []
    recorder = await station.recorder("archive")
    assert recorder.seqs(session) == [2, 3]


async def test_a_known_consumer_resumes_after_its_last_ack_on_any_node(stage: Stage) -> None:
    session = stage.session()
    first = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(2), fed(3))
    assert await first.ack(3) == first.cursors[2]
    first.drop()
    await stage.write(session, fed())
    second = await stage.station("b0").recorder("archive")
    await stage.advance(2)
    assert second.subscribed == Subscribed("archive", first.cursors[2], "resumed")
    assert second.seqs(session) == [4, 5, 6]


async def test_beginning_replays_everything_that_is_kept(stage: Stage) -> None:
    sessions = [stage.session() for _ in range(4)]
    for session in sessions:
        await stage.write(session, unfed(), fed(2), unfed(2), [ENDED])
    first = await stage.station("a0").recorder("archive")
    assert first.records == []
    first.drop()
    second = await stage.station("b0").recorder("archive", "beginning")
    assert second.subscribed is not None
    assert second.subscribed.origin == "beginning"
    assert second.places() == [(session, seq) for session in sorted(sessions) for seq in (2, 3, 6)]
    await second.ack()
    second.drop()
    third = await stage.station("c0").recorder("archive", "beginning")
    assert third.places() == second.places()


async def test_a_cursor_of_ones_own_is_what_follows_it(stage: Stage) -> None:
    session, other = stage.session(), stage.session()
    recorder = await stage.station("a0").recorder("archive")
    for _ in range(3):
        await stage.write(session, fed(2), unfed())
        await stage.write(other, fed(2))
    await recorder.ack()
    recorder.drop()
    places = recorder.places()
    for number, cursor in enumerate(recorder.cursors):
        again = await stage.station(f"b{number}").recorder("archive", cursor)
        await stage.advance(2)
        assert again.subscribed is not None
        # The last one is where it left off.
        assert again.subscribed.origin == ("resumed" if number == len(places) - 1 else "cursor")
        assert again.places() == places[number + 1 :]
        if again.records:
            await again.ack()
        again.drop()


async def test_a_cursor_out_of_a_catch_up_is_what_follows_it(stage: Stage) -> None:
    sessions = sorted(stage.session() for _ in range(3))
    for session in sessions:
        await stage.write(session, fed(2), unfed())
    recorder = await stage.station("a0").recorder("archive", "beginning")
    await stage.write(sessions[0], fed())
    await stage.advance(2)
    places = recorder.places()
    assert len(places) == 7
    for number, cursor in enumerate(recorder.cursors):
        again = await stage.station(f"b{number}").recorder("other", cursor)
        await stage.advance(2)
        # In another order: what came later is in the journal by now.
        assert sorted(again.places()) == sorted(places[number + 1 :])
        assert len(again.places()) == 6 - number


async def test_a_cursor_for_a_consumer_that_nobody_knows_makes_it_known(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(3))
    again = await stage.station("b0").recorder("copy", recorder.cursors[0])
    await stage.advance(2)
    assert again.seqs(session) == [2, 3]
    assert (await stage.stored("copy")).is_exact is False


async def test_a_lost_cursor_of_ones_own_falls_back_to_the_beginning(stage: Stage) -> None:
    session, over = stage.session(), stage.session()
    await stage.write(over, fed(), [ENDED])
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(3))
    await recorder.ack()
    recorder.drop()
    stage.stream.lose()
    again = await stage.station("b0").recorder("archive", recorder.cursors[0])
    assert again.subscribed is not None
    assert again.subscribed.origin == "beginning"
    assert sorted(again.places()) == sorted([(over, 1), (over, 2), (session, 1), (session, 2), (session, 3)])


async def test_a_lost_cursor_that_is_the_stored_one_is_resumed_by_marks(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(3))
    await recorder.ack(2)
    recorder.drop()
    stage.stream.lose()
    again = await stage.station("b0").recorder("archive", recorder.cursors[1])
    await stage.advance(2)
    assert again.subscribed == Subscribed("archive", recorder.cursors[1], "resumed")
    assert again.seqs(session) == [3]


@pytest.mark.parametrize(
    "after",
    ["", "beginnin", "s.", "s.m0-0.short.1", "c.m0-0", "x.m0-0", "s.m0-0." + "0" * 24 + ".01", "s.é", "s" * 2000],
)
async def test_what_is_no_cursor_is_refused_and_changes_nothing(stage: Stage, after: str) -> None:
    older = await stage.station("a0").recorder("archive")
    before = await stage.stored("archive")
    recorder = stage.stations[0].connection()
    with pytest.raises(InvalidRequestError) as refusal:
        await recorder.subscribe("archive", after)
    assert refusal.value.field == "after"
    assert older.closed is None
    assert await stage.stored("archive") == before
    with pytest.raises(InvalidRequestError) as refusal:
        await soon(stage.stations[0].feed.ack(older, after))
    assert refusal.value.field == "cursor"


async def test_a_cursor_of_another_store_is_refused_and_changes_nothing(stage: Stage) -> None:
    older = await stage.station("a0").recorder("archive")
    before = await stage.stored("archive")
    recorder = stage.stations[0].connection()
    for foreign in (StreamCursor(Position("m0-999")), CatchUpCursor(Position("elsewhere"))):
        with pytest.raises(InvalidRequestError) as refusal:
            await recorder.subscribe("archive", cursor_text(foreign))
        assert refusal.value.field == "after"
    assert older.closed is None
    assert await stage.stored("archive") == before
    with pytest.raises(InvalidRequestError):
        await recorder.subscribe("new", cursor_text(StreamCursor(Position("m7-0"))))
    assert [consumer.name for consumer in await stage.consumers.all()] == ["archive"]


@pytest.mark.parametrize("name", ["", "a b", "ä", "a" * 65, "a/b", "a\n"])
async def test_a_consumers_name_is_checked(stage: Stage, name: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        await stage.station("a0").connection().subscribe(name)
    assert refusal.value.field == "consumer"
    assert await stage.consumers.all() == []


async def test_any_name_of_the_right_form_will_do(stage: Stage) -> None:
    for name in ("a", "A.b_c-9", "x" * 64):
        assert (await stage.station(name[:3]).recorder(name)).subscribed is not None


async def test_subscribing_again_changes_nothing(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    first = recorder.subscribed
    await stage.write(session, fed(2))
    await recorder.ack(1)
    assert await recorder.subscribe("archive") == first
    await stage.write(session, fed())
    await stage.advance(2)
    assert recorder.seqs(session) == [1, 2, 3]


async def test_subscribing_again_with_a_cursor_moves_there(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(4))
    await recorder.ack()
    moved = await recorder.subscribe("archive", recorder.cursors[1])
    await stage.advance(2)
    assert moved.origin == "cursor"
    assert recorder.seqs(session) == [1, 2, 3, 4, 3, 4]
    assert await recorder.ack() == recorder.cursors[-1]
    await stage.write(session, fed())
    assert recorder.seqs(session)[6:] == [5]
    assert recorder.closed is None


async def test_a_connection_reads_for_one_consumer(stage: Stage) -> None:
    recorder = await stage.station("a0").recorder("archive")
    with pytest.raises(InvalidRequestError) as refusal:
        await recorder.subscribe("other")
    assert refusal.value.field == "consumer"
    session = stage.session()
    await stage.write(session, fed())
    assert recorder.seqs(session) == [1]


async def test_nothing_is_sent_before_the_transport_says_so(stage: Stage) -> None:
    session = stage.session()
    await stage.write(session, fed(2))
    await stage.live(session)
    recorder = stage.station("a0").connection()
    feed = stage.stations[0].feed
    recorder.subscribed = await soon(feed.subscribe(recorder, "archive", None))
    await stage.advance(3)
    assert recorder.records == []
    feed.start(recorder)
    assert recorder.records == []
    await stage.settle()
    assert recorder.seqs(session) == [1, 2]
    feed.start(recorder)
    await stage.write(session, fed())
    await stage.advance(2)
    assert recorder.seqs(session) == [1, 2, 3]


async def test_two_consumers_get_everything_each(stage: Stage) -> None:
    session = stage.session()
    station = stage.station("a0")
    one, two = await station.recorder("one"), await station.recorder("two")
    for number in range(5):
        await stage.write(session, fed(2))
        if number == 2:
            await one.ack()
    assert one.seqs(session) == two.seqs(session) == stage.expected(session)


async def test_a_recording_attached_after_the_end_is_told(stage: Stage) -> None:
    session = stage.session()
    recorder = await stage.station("a0").recorder("archive")
    await stage.write(session, fed(), [ENDED])
    await recorder.ack()
    await stage.write(session, [RecordingAttached(user_id=ANNA, url=URL, start_time=NOON)])
    assert [event["type"] for _, event in recorder.records][2:] == ["recording_attached"]


async def test_every_cursor_can_be_read_back(stage: Stage) -> None:
    session = stage.session()
    await stage.write(session, fed(2))
    recorder = await stage.station("a0").recorder("archive", "beginning")
    await stage.advance(2)
    await stage.write(session, fed(3), unfed(), [*fed(), *unfed()])
    assert len(set(recorder.cursors)) == 6
    kinds = [type(read_cursor(cursor)) for cursor in recorder.cursors]
    assert kinds == [CatchUpCursor] * 2 + [StreamCursor] * 4
    assert [getattr(read_cursor(cursor), "session_id", None) is None for cursor in recorder.cursors[2:]] == [
        False,
        False,
        True,
        True,
    ]


async def test_who_claimed_first_and_begins_last_is_replaced(stage: Stage) -> None:
    session = stage.session()
    await stage.write(session, fed(3))
    await (await stage.station("z0").recorder("archive", "beginning")).station.crash()
    slow = stage.station("a0")
    gate = slow.cable.gates["begin"] = asyncio.Event()
    older = slow.connection()
    subscribing = asyncio.create_task(older.subscribe("archive", "beginning"))
    await stage.settle()
    assert slow.cable.calls["begin"] == 1
    newer = await stage.station("b0").recorder("archive")
    await newer.ack(2)
    before = await stage.stored("archive")
    gate.set()
    with pytest.raises(UnavailableError, match="newer"):
        await soon(subscribing)
    assert (older.notes, older.closed) == ([("replaced", {"consumer": "archive"})], "replaced")
    assert await stage.stored("archive") == before
    await stage.write(session, fed())
    await stage.advance(2)
    assert newer.closed is None
    assert newer.seqs(session) == [1, 2, 3, 4]
    assert await newer.ack() == newer.cursors[-1]
    assert older.records == []


async def test_of_two_who_make_a_consumer_known_the_slower_may_try_again(stage: Stage) -> None:
    """Neither met the other, so nobody can say who came later; and what the quicker has acked is not undone."""
    session = stage.session()
    await stage.write(session, fed(3))
    await stage.live(session)
    slow = stage.station("a0")
    gate = slow.cable.gates["begin"] = asyncio.Event()
    one = slow.connection()
    subscribing = asyncio.create_task(one.subscribe("archive"))
    await stage.settle()
    assert slow.cable.calls["begin"] == 1
    other = await stage.station("b0").recorder("archive")
    acked = await other.ack(2)
    gate.set()
    with pytest.raises(UnavailableError, match="subscribe again"):
        await soon(subscribing)
    assert (one.notes, one.closed) == ([], None)
    stored = await stage.stored("archive")
    assert (stored.cursor, stored.owner) == (acked, other.connection_id)
    assert (await one.subscribe("archive")).origin == "resumed"
    await stage.advance(2)
    assert other.closed == "replaced"
    assert one.seqs(session) == [3]


async def test_a_connection_that_goes_before_it_is_refused_is_told_nothing(stage: Stage) -> None:
    await (await stage.station("z0").recorder("archive")).station.crash()
    slow = stage.station("a0")
    gate = slow.cable.gates["begin"] = asyncio.Event()
    older = slow.connection()
    subscribing = asyncio.create_task(older.subscribe("archive", "beginning"))
    await stage.settle()
    newer = await stage.station("b0").recorder("archive")
    older.drop()
    gate.set()
    with pytest.raises(UnavailableError):
        await soon(subscribing)
    assert older.notes == []
    assert (await stage.stored("archive")).owner == newer.connection_id


async def test_a_stopped_feed_sends_nothing_and_takes_nobody(stage: Stage) -> None:
    session = stage.session()
    station = stage.station("a0")
    recorder = await station.recorder("archive")
    await stage.write(session, fed(2))
    acked = await recorder.ack(1)
    await soon(station.feed.stop())
    await stage.write(session, fed())
    await stage.advance(5)
    assert recorder.seqs(session) == [1, 2]
    assert (await stage.stored("archive")).cursor == acked
    with pytest.raises(UnavailableError):
        await station.connection().subscribe("archive")
    with pytest.raises(UnavailableError):  # as any other ack that could not be noted: nothing is wrong with it
        await recorder.ack()
    assert stage.clock.pending == 1  # the rounds; the tail is gone
