"""What is too old is taken away as a whole, whatever interrupts that; everything else stays."""

import asyncio
from datetime import timedelta

import pytest

from coordinator.adapters.memory.consumers import MemoryConsumers
from coordinator.domain.errors import NotFoundError
from coordinator.domain.ids import ConnectionId, SessionId
from coordinator.domain.model import SESSION_KEPT, RegistrationStatus
from coordinator.ports.consumers import Consumer
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services import retention
from coordinator.services.retention import Retention
from tests.domain.story import ANNA, BEN, CLEO, END_IT, START, consent, join
from tests.services.faults import Course, Mishap, Watched
from tests.services.harness import Node, World, soon

DAY = timedelta(days=1)
OWNER = ConnectionId("a0-1")


class Attic:
    """A world with what retention works on.

    Attributes:
        course: The calls of `sweeper` to its stores; one of them may go wrong.
    """

    def __init__(self, world: World, retention_days: int = 30) -> None:
        self.world = world
        self.consumers = MemoryConsumers()
        self.course = Course()
        stores = (world.journal, world.projections, self.consumers)
        journal, projections, consumers = (Watched(store, self.course) for store in stores)
        self.sweeper = Retention(journal, projections, consumers, world.clock, retention_days)

    async def past_session(self, node: Node) -> SessionId:
        """A session that has ended, of which a consumer has everything."""
        session = await self.world.open_session(node, [ANNA, BEN], start=self.world.clock.now())
        seq = await node.do(session, join(ANNA), join(BEN), consent(ANNA), END_IT)
        await self.world.clock.advance(1)
        node.rooms.drop_idle()
        if await self.consumers.claim("recorder", OWNER) is None:
            begun = Consumer(
                name="recorder", owner=OWNER, cursor="s.p", is_exact=True, scope=None, up_to=self.world.clock.now()
            )
            await self.consumers.begin(begun)
        await self.consumers.advance(
            "recorder",
            OWNER,
            cursor="s.p",
            marks={session: seq},
            up_to=self.world.clock.now(),
            is_caught_up=False,
        )
        return session

    async def traces(self, session: SessionId) -> set[str]:
        """What is left of a session."""
        marks = await self.consumers.marks("recorder")
        left = {
            "journal": await self.world.journal.read(session),
            "session": await self.world.projections.session(session),
            "participants": await self.world.projections.participants(session),
            "marks": marks.get(session),
        }
        return {name for name, value in left.items() if value}


EVERYTHING = {"journal", "session", "participants", "marks"}


@pytest.mark.parametrize("days", [30, 31, 365])
async def test_a_session_goes_when_its_time_has_come_and_not_before(world: World, node: Node, days: int) -> None:
    attic = Attic(world, days)
    opened_at = world.clock.now()
    session = await attic.past_session(node)
    await world.clock.advance_to(opened_at + days * DAY)
    await soon(attic.sweeper.sweep())
    assert await attic.traces(session) == EVERYTHING
    await world.clock.advance(0.001)
    await soon(attic.sweeper.sweep())
    assert await attic.traces(session) == set()


async def test_everything_else_stays(world: World, node: Node) -> None:
    attic = Attic(world)
    old = [await attic.past_session(node) for _ in range(3)]
    await world.clock.advance(10 * DAY.total_seconds())
    young = [await attic.past_session(node) for _ in range(3)]
    kept = [await world.log(session) for session in young]
    await world.clock.advance(21 * DAY.total_seconds())
    await soon(attic.sweeper.sweep())
    assert [await attic.traces(session) for session in old] == [set()] * 3
    assert [await attic.traces(session) for session in young] == [EVERYTHING] * 3
    assert [await world.log(session) for session in young] == kept
    verdicts = [found async for found in world.verifier.verify_all(repair=False)]
    assert {found.session_id for found in verdicts} == set(young)
    assert [found.flaws for found in verdicts] == [[]] * 3


async def test_a_sweep_is_bounded_and_the_next_goes_on(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SWEEP_SESSIONS", 2)
    attic = Attic(world)
    sessions = [await attic.past_session(node) for _ in range(5)]
    await world.clock.advance(31 * DAY.total_seconds())
    for left in (3, 1, 0, 0):
        await soon(attic.sweeper.sweep())
        assert [await attic.traces(session) for session in sessions].count(EVERYTHING) == left


@pytest.mark.parametrize("mishap", [Mishap.NOT_DONE, Mishap.NOT_ANSWERED])
async def test_whatever_is_interrupted_is_finished_by_the_next_sweep(world: World, node: Node, mishap: Mishap) -> None:
    attic = Attic(world)
    for at in range(1, 10):
        session = await attic.past_session(node)
        await world.clock.advance(31 * DAY.total_seconds())
        attic.course.begin(at, mishap)
        try:
            await soon(attic.sweeper.sweep())
        except OutcomeUnknownError:
            left = await attic.traces(session)
            assert "journal" in left or not left, "the journal goes last"
            attic.course.begin(0, mishap)
            await soon(attic.sweeper.sweep())
        else:
            assert at > len(attic.course.calls)
        assert await attic.traces(session) == set()
        if at > len(attic.course.calls):
            return
    raise AssertionError("a sweep has more calls than this test has seen")


@pytest.mark.parametrize("left", [1, 2])
async def test_a_log_that_was_taken_away_in_part_is_a_sound_chain_and_is_found_again(
    world: World, node: Node, left: int
) -> None:
    attic = Attic(world)
    session = await attic.past_session(node)
    await world.clock.advance(31 * DAY.total_seconds())
    stored = world.journal._sessions[session]
    for seq in sorted(stored)[left:]:
        del stored[seq]
    await world.projections.discard(session)
    assert await world.log(session), "what is left proves itself"
    await soon(attic.sweeper.sweep())
    assert await attic.traces(session) == set()


async def test_a_session_that_has_yet_to_end_is_not_taken_away(world: World, node: Node) -> None:
    """Nothing ran for a month; when something does, the sessions of that time are ended first."""
    attic = Attic(world)
    session = await world.open_session(node, [ANNA, BEN])
    await node.do(session, join(ANNA))
    await world.clock.advance(1)
    await node.crash()
    await world.clock.advance(40 * DAY.total_seconds())
    await soon(attic.sweeper.sweep())
    assert "journal" in await attic.traces(session)
    again = world.node("b0")
    await again.take_up()
    await world.clock.advance(60)
    assert "session_ended" in await world.kinds(session)
    await soon(attic.sweeper.sweep())
    assert await attic.traces(session) == set()


async def test_a_document_that_cannot_be_read_keeps_nothing(world: World, node: Node) -> None:
    attic = Attic(world)
    session = await attic.past_session(node)
    await world.clock.advance(31 * DAY.total_seconds())
    world.projections.defects[session] = ValueError("no session at all")
    await soon(attic.sweeper.sweep())
    assert await world.journal.read(session) == []


async def test_several_nodes_may_sweep_at_once(world: World, node: Node) -> None:
    attic = Attic(world)
    others = [Retention(world.journal, world.projections, attic.consumers, world.clock, 30) for _ in range(3)]
    sessions = [await attic.past_session(node) for _ in range(4)]
    await world.clock.advance(31 * DAY.total_seconds())
    await soon(asyncio.gather(attic.sweeper.sweep(), *(other.sweep() for other in others)))
    assert [await attic.traces(session) for session in sessions] == [set()] * 4


async def test_a_vanished_session_whose_journal_is_kept_does_not_come_back(world: World, node: Node) -> None:
    attic = Attic(world, 365)
    session = await attic.past_session(node)
    await world.clock.advance(SESSION_KEPT.total_seconds() + 1)
    await soon(attic.sweeper.sweep())
    del world.projections._sessions[session]  # as the database does by itself
    for work in (node.rooms.room(session), node.reader.snapshot(session), node.reader.took_part(session, ANNA)):
        with pytest.raises(NotFoundError):
            await soon(work)
    client = node.client(CLEO, session)
    with pytest.raises(NotFoundError):
        await soon(client.join())
    await world.clock.advance(1)
    assert node.rooms.loaded == []
    assert await attic.traces(session) == {"journal", "participants", "marks"}
    assert len(await soon(node.reader.events(session, 0, 1000))) == len(await world.log(session))


async def test_attendance_is_recorded_even_if_the_session_has_vanished_by_then(world: World, node: Node) -> None:
    """The process died right after the end of a session, and comes back when nobody can find that any more."""
    slot = await world.slot([ANNA, BEN], start=START)
    await soon(node.openings.open_due())
    session = await world.session_of(slot)
    assert session is not None
    await node.do(session, join(ANNA))
    world.bookings.is_attendance_cut = True
    await node.do(session, END_IT)
    await world.clock.advance(1)
    await node.crash()
    world.bookings.is_attendance_cut = False
    await world.clock.advance(40 * DAY.total_seconds())
    del world.projections._sessions[session]
    again = world.node("b0")
    await again.take_up()
    assert await world.statuses(slot) == {ANNA: RegistrationStatus.ATTENDED, BEN: RegistrationStatus.NOSHOW}
    await world.clock.advance(5)
    assert again.rooms.loaded == []
    assert await world.projections.session(session) is None
