"""Moderators watch all sessions: a summary of each live one when it changes, not too often, from all nodes."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from coordinator.domain.errors import UnavailableError
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.model import Recording, Session
from coordinator.ports.projections import SessionQuery
from coordinator.services import overview
from coordinator.services.overview import SUMMARY_SECONDS
from tests.domain.story import ANNA, BEN, CLEO, END_IT, MODERATOR, START, minutes, record, seconds
from tests.services.clients import Client
from tests.services.harness import Node, World, soon

TICK = 1.0


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    return await world.open_session(node, [ANNA, BEN, CLEO])


async def quiet(world: World) -> None:
    """Let so much time pass that the next summary may be sent at once."""
    await world.clock.advance(SUMMARY_SECONDS)


async def test_the_answer_summarises_every_live_session(world: World, node: Node, session: SessionId) -> None:
    over = await world.open_session(node, [ANNA])
    await node.do(over, END_IT)
    anna, ben, _ = await node.joined(session, ANNA, BEN, CLEO)
    await soon(asyncio.gather(anna.consent(True), anna.media(camera=True, mic=True), ben.consent(True)))
    await node.do(session, record())
    await world.clock.advance_to(START + seconds(100.4))
    await ben.vanish()
    seen = await soon(node.watcher().watch_all())
    assert (seen.server_time, seen.others) == (world.clock.now(), [])
    state = await world.state(session)
    assert seen.summaries == [
        {
            "sessionId": session,
            "timeSlotId": state.time_slot_id,
            "targetLanguageCode": "fr",
            "level": "B1",
            "status": "active",
            "seq": state.seq,
            "scheduledStart": "2030-03-04T18:00:00.000Z",
            "scheduledEnd": "2030-03-04T18:30:00.000Z",
            "secondsLeft": 1700,
            "recordingEnabled": True,
            "presentCount": 2,
            "maxParticipants": 8,
            "consentCount": 2,
            "recordableCount": 1,
            "participants": [
                _seat(ANNA, "connected", camera=True, mic=True, consent=True),
                _seat(BEN, "disconnected", consent=True),
                _seat(CLEO, "connected"),
            ],
        }
    ]


def _seat(user: UserId, status: str, *, camera: bool = False, mic: bool = False, consent: bool = False) -> object:
    return {
        "userId": user,
        "status": status,
        "cameraEnabled": camera,
        "micEnabled": mic,
        "recordingConsent": consent,
    }


async def test_who_gave_the_seat_back_is_not_listed(world: World, node: Node, session: SessionId) -> None:
    anna, _ = await node.joined(session, ANNA, BEN)
    await soon(anna.leave())
    (summary,) = (await soon(node.watcher().watch_all())).summaries
    assert [seat["userId"] for seat in summary["participants"]] == [BEN]
    assert (summary["status"], summary["participants"][0]["status"]) == ("waiting", "waiting")


async def test_a_summary_is_sent_when_a_session_changes(world: World, node: Node, session: SessionId) -> None:
    mona = node.watcher()
    await soon(mona.watch_all())
    await world.clock.advance(5)
    assert mona.summaries == [], "nothing has changed"
    await node.joined(session, ANNA)
    await world.settle()
    assert [(summary["seq"], summary["presentCount"]) for summary in mona.summaries] == [(2, 1)]
    await world.clock.advance(5)
    assert len(mona.summaries) == 1


async def test_changes_are_coalesced_and_the_last_state_wins(world: World, node: Node, session: SessionId) -> None:
    mona = node.watcher()
    await soon(mona.watch_all())
    (anna,) = await node.joined(session, ANNA)
    began = world.clock.monotonic()
    for turn in range(40):
        await soon(anna.media(mic=turn % 2 == 0))
        await world.clock.advance(0.05)
    elapsed = world.clock.monotonic() - began
    assert 4 <= len(mona.summaries) <= elapsed / SUMMARY_SECONDS + 1
    await quiet(world)
    seqs = [summary["seq"] for summary in mona.summaries]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == (await world.state(session)).seq == 42


async def test_each_session_has_a_pace_of_its_own(world: World, node: Node, session: SessionId) -> None:
    another = await world.open_session(node, [ANNA])
    mona = node.watcher()
    await soon(mona.watch_all())
    await node.joined(session, ANNA)
    await world.settle()
    await node.joined(another, ANNA)
    await world.settle()
    assert [summary["sessionId"] for summary in mona.summaries] == [session, another]


async def test_a_session_that_opens_is_summarised(world: World, node: Node) -> None:
    mona = node.watcher()
    assert (await soon(mona.watch_all())).summaries == []
    session = await world.open_session(node, [ANNA])
    await world.settle()
    assert [(summary["sessionId"], summary["status"]) for summary in mona.summaries] == [(session, "waiting")]


async def test_the_end_is_summarised_once_and_nothing_after_it(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await soon(anna.consent(True))
    await node.do(session, record())
    await world.clock.advance_to(START + minutes(1))
    mona = node.watcher()
    await soon(mona.watch_all())
    await node.do(session, END_IT)
    for client in (anna, ben):
        await client.vanish()
    await quiet(world)
    (summary,) = mona.summaries
    assert (summary["status"], summary["endReason"], summary["secondsLeft"]) == ("ended", "ended_by_moderator", 0)
    assert (summary["presentCount"], summary["recordableCount"], summary["participants"]) == (0, 0, [])
    await soon(node.recordings.attach(MODERATOR, session, _recording()))
    await world.clock.advance(5)
    assert len(mona.summaries) == 1
    node.rooms.drop_idle()
    assert node.rooms.loaded == [], "what is over is not kept"
    assert (await soon(mona.watch_all())).summaries == []


def _recording() -> Recording:
    return Recording(user_id=ANNA, url="https://r2.cloudflarestorage.com/a", start_time=START + minutes(0.5))


async def test_several_watchers_get_the_same_and_each_what_it_asked_for(
    world: World, node: Node, session: SessionId
) -> None:
    mona, max_, idle = node.watcher(), node.watcher(), node.watcher()
    await soon(mona.watch_all())
    await soon(max_.watch_all())
    await soon(max_.watch_all())  # again: a fresh answer, nothing doubled
    await soon(idle.watch(session))
    await node.joined(session, ANNA)
    await world.settle()
    assert mona.summaries == max_.summaries
    assert len(mona.summaries) == 1
    assert idle.summaries == []
    assert mona.heard == []
    assert idle.kinds(session) == ["participant_joined"]
    max_.unwatch_all()
    max_.unwatch_all()
    await quiet(world)
    await node.joined(session, BEN)
    await world.settle()
    assert (len(mona.summaries), len(max_.summaries)) == (2, 1)


async def test_an_answer_in_between_leaves_nobody_without_the_last_state(
    world: World, node: Node, session: SessionId
) -> None:
    mona, late = node.watcher(), node.watcher()
    await soon(mona.watch_all())
    await node.joined(session, ANNA)
    await world.settle()
    await node.joined(session, BEN)  # its summary waits
    (answer,) = (await soon(late.watch_all())).summaries
    assert answer["seq"] == 3
    await quiet(world)
    assert [summary["seq"] for summary in mona.summaries] == [2, 3]


async def test_without_watchers_nothing_is_kept_and_nothing_is_read(
    world: World, node: Node, session: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    mona = node.watcher()
    await soon(mona.watch_all())
    await world.clock.advance(1)
    node.rooms.drop_idle()
    assert node.rooms.peek(session) is not None
    mona.vanish()
    node.rooms.drop_idle()
    assert node.rooms.loaded == []
    pages = _count_pages(world, monkeypatch)
    reads = node.line.reads
    await soon(node.overview.look())
    assert (pages, node.line.reads) == ([], reads)


def _count_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> list[SessionQuery]:
    asked: list[SessionQuery] = []
    page = world.projections.page

    async def counted(query: SessionQuery) -> Sequence[Session]:
        asked.append(query)
        return await page(query)

    monkeypatch.setattr(world.projections, "page", counted)
    return asked


# Other nodes.


async def test_what_another_node_does_is_summarised_within_about_a_second(world: World) -> None:
    here, there = world.node("a0"), world.node("b0")
    mona = here.watcher()
    await soon(mona.watch_all())
    here.tick(TICK)
    session = await world.open_session(there, [ANNA, BEN])
    await world.clock.advance(TICK + 0.2)
    assert [summary["seq"] for summary in mona.summaries] == [1]
    (anna,) = await there.joined(session, ANNA)
    await world.clock.advance(TICK + 0.2)
    for turn in range(5):
        await soon(anna.media(camera=turn % 2 == 0))
    await world.clock.advance(TICK + 0.2)
    assert [summary["seq"] for summary in mona.summaries] == [1, 2, 7]
    await there.do(session, END_IT)
    await world.clock.advance(TICK + 0.2)
    assert [summary["status"] for summary in mona.summaries] == ["waiting", "waiting", "waiting", "ended"]
    await world.clock.advance(5)
    assert len(mona.summaries) == 4
    assert here.rooms.loaded == []


async def test_the_answer_has_the_sessions_of_other_nodes(world: World) -> None:
    here, there = world.node("a0"), world.node("b0")
    stale = await world.open_session(there, [ANNA])
    await here.room(stale)
    unknown = await world.open_session(there, [ANNA])
    for session in (stale, unknown):
        await there.joined(session, ANNA)
    await world.clock.advance(0.2)  # documents follow within 100 ms
    summaries = (await soon(here.watcher().watch_all())).summaries
    assert {(summary["sessionId"], summary["seq"]) for summary in summaries} == {(stale, 2), (unknown, 2)}


async def test_what_this_node_has_done_needs_no_documents(world: World, node: Node, session: SessionId) -> None:
    world.projections.is_cut = True
    await node.joined(session, ANNA)
    assert await world.projections.page(SessionQuery()) == []
    (summary,) = (await soon(node.watcher().watch_all())).summaries
    assert summary["seq"] == 2
    world.tolerated.add("projections_late")


async def test_the_cost_of_looking_does_not_depend_on_the_watchers(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = world.node("b0")
    sessions = [await world.open_session(there, [ANNA]) for _ in range(5)]
    await world.clock.advance(1)
    pages = _count_pages(world, monkeypatch)
    costs = []
    for watchers in (1, 20):
        for _ in range(watchers):
            await soon(node.watcher().watch_all())
        await there.do(sessions[0], record(watchers == 1))
        await world.clock.advance(1)
        pages.clear()
        reads = node.line.reads
        await soon(node.overview.look())
        costs.append((len(pages), node.line.reads - reads))
    assert costs == [(2, 1), (2, 1)], "two pages of documents, and the one journal that has moved on"


async def test_live_sessions_are_found_on_all_pages(world: World, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "PAGE_SESSIONS", 3)
    there = world.node("b0")
    sessions = []
    for _ in range(7):
        sessions.append(await world.open_session(there, [ANNA]))
        await world.clock.advance(0.1)
    seen = await soon(node.watcher().watch_all())
    assert {summary["sessionId"] for summary in seen.summaries} == set(sessions)


# Many sessions.


async def test_what_does_not_fit_into_the_answer_follows_it(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "_ANSWER_BYTES", 2000)
    monkeypatch.setattr(overview, "_REST_SESSIONS", 2)
    sessions = [await world.open_session(node, [ANNA]) for _ in range(9)]
    mona, gone = node.watcher(), node.watcher()
    seen = await soon(mona.watch_all())
    await soon(gone.watch_all())
    gone.vanish()
    assert 0 < len(seen.summaries) < 9
    await world.clock.advance(1)
    told = [summary["sessionId"] for summary in (*seen.summaries, *mona.summaries)]
    assert sorted(told) == sorted(sessions)
    assert gone.summaries == []


# What goes wrong.


async def test_a_database_that_is_away_is_said_to_be_and_nothing_is_kept(
    world: World, node: Node, session: SessionId
) -> None:
    there = world.node("b0")
    await world.open_session(there, [ANNA])
    await world.clock.advance(1)
    node.rooms.drop_idle()
    mona = node.watcher()
    node.line.is_cut = True
    with pytest.raises(UnavailableError):
        await soon(mona.watch_all())
    node.rooms.drop_idle()
    assert node.rooms.loaded == []
    node.line.is_cut = False
    assert len((await soon(mona.watch_all())).summaries) == 2


async def test_looking_goes_on_after_an_outage(world: World, node: Node, session: SessionId) -> None:
    there = world.node("b0")
    mona = node.watcher()
    await soon(mona.watch_all())
    node.tick(TICK)
    await world.clock.advance(2)
    node.line.is_cut = True
    await there.joined(session, ANNA)
    await world.clock.advance(3)
    assert mona.summaries == []
    node.line.is_cut = False
    await world.clock.advance(TICK + 0.2)
    assert [summary["seq"] for summary in mona.summaries] == [2]


async def test_a_document_without_a_journal_hides_no_session(world: World, node: Node, session: SessionId) -> None:
    await world.clock.advance(1)
    document = await world.projections.session(session)
    assert document is not None
    await world.projections.write([replace(document, id=SessionId("e" * 24))], [])
    mona = node.watcher()
    assert [summary["sessionId"] for summary in (await soon(mona.watch_all())).summaries] == [session]
    for _ in range(3):
        await soon(node.overview.look())
    said = [entry for entry in world.logs if entry["event"] == "session_not_overseen"]
    assert len(said) == 1


async def test_what_happens_while_stock_is_taken_is_not_missed(world: World, node: Node) -> None:
    there = world.node("b0")
    sessions = [await world.open_session(there, [ANNA, BEN]) for _ in range(4)]
    await world.clock.advance(1)
    clients: list[Client] = []

    async def join_everywhere() -> None:
        for session in sessions:
            clients.extend(await node.joined(session, ANNA))
            clients.extend(await node.joined(session, BEN))

    mona = node.watcher()
    seen, _ = await soon(asyncio.gather(mona.watch_all(), join_everywhere()))
    await quiet(world)
    known = {summary["sessionId"]: summary["seq"] for summary in (*seen.summaries, *mona.summaries)}
    assert known == dict.fromkeys(sessions, 3)


async def test_whoever_comes_while_the_last_one_goes_is_served(world: World, node: Node, session: SessionId) -> None:
    mona, max_ = node.watcher(), node.watcher()
    coming = asyncio.ensure_future(mona.watch_all())
    next_ = asyncio.ensure_future(max_.watch_all())
    await soon(coming)
    mona.vanish()
    assert len((await soon(next_)).summaries) == 1
    await node.joined(session, ANNA)
    await quiet(world)
    assert len(max_.summaries) == 1
    looking = asyncio.ensure_future(node.overview.look())
    await asyncio.sleep(0)
    max_.vanish()
    await soon(looking)
    await world.clock.advance(31)
    assert node.overview._overseen == {}


async def test_a_departure_while_another_begins_to_watch_takes_nothing_from_it(
    world: World, node: Node, session: SessionId
) -> None:
    await world.open_session(world.node("b0"), [ANNA])
    await world.clock.advance(1)
    mona, gone = node.watcher(), node.watcher()
    coming = asyncio.ensure_future(mona.watch_all())
    while not coming.done():
        gone.vanish()
        await asyncio.sleep(0)
    assert len(coming.result().summaries) == 2
    await node.joined(session, ANNA)
    await quiet(world)
    assert len(mona.summaries) == 1


async def test_looking_again_at_what_has_not_changed_sends_nothing(
    world: World, node: Node, session: SessionId
) -> None:
    world.tolerated.add("projections_late")
    world.projections.is_cut = True  # no document says that the session is live
    mona = node.watcher()
    await soon(mona.watch_all())
    for _ in range(3):
        await world.clock.advance(1)
        await soon(node.overview.look())
        await quiet(world)
    assert mona.summaries == []
