"""Reads are never older than any answer, whoever wrote and however far behind the documents are."""

import asyncio

import pytest

from coordinator.domain.errors import NotFoundError, UnavailableError
from coordinator.domain.ids import SessionId
from coordinator.domain.model import SessionStatus
from coordinator.ports.projections import SessionQuery
from tests.domain.story import ANNA, BEN, CLEO, DINA, END_IT, join, leave, media, minutes, user
from tests.services.harness import Node, World, soon


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    return await world.open_session(node, [ANNA, BEN, CLEO])


@pytest.fixture
async def elsewhere(world: World) -> Node:
    """A node that has nothing in memory yet."""
    return world.node("b0")


async def test_documents_that_are_up_to_date_are_enough(
    world: World, node: Node, session: SessionId, elsewhere: Node
) -> None:
    await node.do(session, join(ANNA), join(BEN), leave(BEN))
    await world.clock.advance(1)
    snapshot = await soon(elsewhere.reader.snapshot(session))
    assert snapshot == await world.expected_documents(session)
    assert elsewhere.rooms.loaded == [], "reading what is written needs no room"


async def test_documents_that_are_behind_are_not_shown(
    world: World, node: Node, session: SessionId, elsewhere: Node
) -> None:
    await world.clock.advance(1)
    seq = await node.do(session, join(ANNA), media(ANNA, mic=True))
    assert (await world.documents(session)).session.seq == 1
    for reader in (node.reader, elsewhere.reader):
        snapshot = await soon(reader.snapshot(session))
        assert snapshot.session.seq == seq
        assert snapshot == await world.expected_documents(session)


async def test_a_session_without_any_document_is_read_from_the_journal(
    world: World, node: Node, session: SessionId, elsewhere: Node
) -> None:
    await node.do(session, join(ANNA))
    assert await world.projections.session(session) is None
    assert (await soon(elsewhere.reader.snapshot(session))).session.seq == 2


async def test_a_room_in_memory_is_brought_up_to_what_other_nodes_wrote(
    world: World, node: Node, session: SessionId, elsewhere: Node
) -> None:
    (anna,) = await elsewhere.joined(session, ANNA)
    seq = await node.do(session, join(BEN), join(CLEO))
    snapshot = await soon(elsewhere.reader.snapshot(session))
    assert snapshot.session.seq == seq
    assert anna.kinds == ["participant_joined", "participant_joined"], "its listeners are told what a reader found"


async def test_after_every_answer_every_node_reads_at_least_that(
    world: World, node: Node, session: SessionId, elsewhere: Node
) -> None:
    readers = (node.reader, elsewhere.reader, world.node("c0").reader)
    await node.do(session, join(ANNA))
    for turn in range(12):
        writer = (node, elsewhere)[turn % 2]
        seq = await writer.do(session, media(ANNA, mic=turn % 2 == 0))
        await world.clock.advance(0.02 * (turn % 4))
        node.rooms.drop_idle()
        for reader in readers:
            assert (await soon(reader.snapshot(session))).session.seq >= seq
    assert len(await world.log(session)) > 10


async def test_ended_sessions_can_be_read_for_ever(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA), END_IT)
    await world.at(minutes(600))
    node.rooms.drop_idle()
    snapshot = await soon(node.reader.snapshot(session))
    assert snapshot.session.ended_at is not None
    assert len(await soon(node.reader.events(session, 0, 100))) == 4


async def test_events_are_read_from_anywhere_up_to_a_limit(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, *(join(who) for who in (ANNA, BEN, CLEO)))
    log = await world.log(session)
    for after in range(6):
        for limit in (1, 2, 100):
            events = await soon(node.reader.events(session, after, limit))
            assert [sealed.event for sealed in events] == log[after : after + limit]


@pytest.mark.parametrize("unknown", ["e" * 24, "nonsense"])
async def test_an_unknown_session_is_not_found(world: World, node: Node, unknown: str) -> None:
    session = SessionId(unknown)
    for work in (
        node.reader.snapshot(session),
        node.reader.events(session, 0, 10),
        node.reader.took_part(session, ANNA),
    ):
        with pytest.raises(NotFoundError):
            await soon(work)
    assert node.rooms.loaded == []
    assert [entry for entry in world.logs if entry["log_level"] != "info"] == []


async def test_who_took_part(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(DINA), leave(DINA))
    await world.register((await world.state(session)).time_slot_id, user(1))
    assert [await soon(node.reader.took_part(session, who)) for who in (ANNA, DINA, user(1), user(2))] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("loaded", [True, False])
async def test_a_database_that_is_away_is_said_to_be(
    world: World, node: Node, session: SessionId, elsewhere: Node, loaded: bool
) -> None:
    await world.clock.advance(1)
    reading = node if loaded else elsewhere
    reading.line.is_cut = True
    with pytest.raises(UnavailableError):
        await soon(reading.reader.snapshot(session))
    with pytest.raises(UnavailableError):
        await soon(reading.reader.events(session, 0, 10))
    reading.line.is_cut = False
    world.bookings.is_cut = True
    with pytest.raises(UnavailableError):
        await soon(reading.reader.took_part(session, ANNA))


async def test_documents_that_are_away_are_said_to_be(world: World, session: SessionId, elsewhere: Node) -> None:
    await world.clock.advance(1)
    world.projections.is_cut = True
    with pytest.raises(UnavailableError):
        await soon(elsewhere.reader.snapshot(session))


async def test_reading_does_not_keep_rooms_in_memory(
    world: World, node: Node, session: SessionId, elsewhere: Node
) -> None:
    await node.do(session, join(ANNA))
    await soon(elsewhere.reader.snapshot(session))
    assert len(elsewhere.rooms.loaded) == 1
    await world.clock.advance(1)
    elsewhere.rooms.drop_idle()
    assert elsewhere.rooms.loaded == []
    assert world.clock.pending == len((await node.room(session)).timers)


async def test_lists_of_sessions_are_never_older_than_an_ack(world: World, node: Node, session: SessionId) -> None:
    second = await world.open_session(node, [DINA])
    assert [item.id for item in await soon(node.reader.sessions(SessionQuery()))] == [second, session]
    for turn in range(10):
        seq = await node.do(session, join(ANNA), media(ANNA, mic=turn % 2 == 0))
        await world.clock.advance(0.02 * (turn % 4))
        (_, first) = await soon(node.reader.sessions(SessionQuery()))
        assert first.seq >= seq
    ended = SessionQuery(status=SessionStatus.ENDED)
    assert list(await soon(node.reader.sessions(ended))) == []
    await node.do(session, END_IT)
    (found,) = await soon(node.reader.sessions(ended))
    assert found == (await world.expected_documents(session)).session


async def test_what_a_list_shows_is_not_older_than_an_ack_of_another_node(
    world: World, node: Node, session: SessionId, elsewhere: Node
) -> None:
    for each in (elsewhere, node):
        await soon(each.recovery.start())
    for turn in range(10):
        seq = await elsewhere.do(session, join(ANNA), media(ANNA, mic=turn % 2 == 0))
        await world.clock.advance(0.02 * (turn % 4))
        (found,) = await soon(node.reader.sessions(SessionQuery()))
        assert found.seq >= seq
    await elsewhere.do(session, END_IT)
    assert list(await soon(node.reader.sessions(SessionQuery(status=SessionStatus.WAITING)))) == []


async def test_a_list_waits_for_documents_that_somebody_else_is_writing(
    world: World, node: Node, session: SessionId
) -> None:
    await soon(node.reader.sessions(SessionQuery()))
    seq = await node.do(session, join(ANNA))
    flushing = asyncio.ensure_future(node.projector.flush())
    await asyncio.sleep(0)
    assert not flushing.done(), "the documents are on their way"
    (found,) = await soon(node.reader.sessions(SessionQuery()))
    assert found.seq == seq
    await soon(flushing)


async def test_a_list_is_paged_and_written_only_once(world: World, node: Node) -> None:
    sessions = [await world.open_session(node, [ANNA]) for _ in range(3)]
    first = await soon(node.reader.sessions(SessionQuery(limit=2)))
    assert [item.id for item in first] == [sessions[2], sessions[1]]
    writes = len(world.projections.writes)
    query = SessionQuery(limit=2, after=(first[-1].created_at, first[-1].id))
    assert [item.id for item in await soon(node.reader.sessions(query))] == [sessions[0]]
    assert len(world.projections.writes) == writes


async def test_a_list_without_documents_is_unavailable(world: World, node: Node, session: SessionId) -> None:
    world.projections.is_cut = True
    with pytest.raises(UnavailableError):
        await soon(node.reader.sessions(SessionQuery()))
    world.projections.is_cut = False
    assert len(await soon(node.reader.sessions(SessionQuery()))) == 1
