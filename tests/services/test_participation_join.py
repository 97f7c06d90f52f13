"""Joining: what a subscriber is given, and that nothing is lost or doubled between that and the next event."""

import asyncio

import pytest

from coordinator.domain.errors import (
    NotFoundError,
    NotInSessionError,
    NotRegisteredError,
    RemovedError,
    SessionEndedError,
    UnavailableError,
)
from coordinator.domain.events import Event
from coordinator.domain.ids import SessionId
from coordinator.domain.ledger import SealedEvent
from coordinator.domain.model import RegistrationStatus
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.catching_up import View
from coordinator.services.room import RECENT_EVENTS
from tests.domain.story import ANNA, BEN, CLEO, DINA, END_IT, media, remove, user
from tests.services.clients import Client
from tests.services.harness import Node, World, soon


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    return await world.open_session(node, [ANNA, BEN, CLEO, DINA])


def replayed(view: View) -> list[Event]:
    assert view.events is not None
    return [sealed.event for sealed in view.events]


async def talk(client: Client, events: int) -> None:
    """Let `events` events happen."""
    room = await client.node.room(client.session)
    before = room.seq
    answers = [client.media(mic=turn % 2 == 0) for turn in range(events)]
    await soon(asyncio.gather(*answers))
    assert room.seq == before + events


async def test_a_first_join_gets_a_snapshot(world: World, node: Node, session: SessionId) -> None:
    await node.joined(session, BEN)
    anna = node.client(ANNA, session)
    view = await soon(anna.join())
    assert (view.session_id, view.seq, view.server_time) == (session, 3, world.clock.now())
    assert view.events is None
    assert view.snapshot == await world.expected_documents(session)
    assert [participant.user_id for participant in view.snapshot.participants] == [BEN, ANNA]
    assert anna.heard == []


@pytest.mark.parametrize("after", range(1, 6))
async def test_who_comes_back_with_after_gets_what_it_missed(
    world: World, node: Node, session: SessionId, after: int
) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await talk(ben, 1)
    again = node.client(ANNA, session)
    view = await soon(again.join(after))
    assert view.snapshot is None
    assert replayed(view) == (await world.log(session))[after:]
    assert view.seq == 5
    assert anna.is_closed


async def test_a_repeated_join_changes_nothing(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    again = await soon(anna.join(after=anna.position))
    assert (again.seq, again.events) == (3, [])
    assert not anna.is_closed
    await talk(ben, 2)
    assert anna.kinds == ["participant_joined", "mic_changed", "mic_changed"]


async def test_events_older_than_memory_come_from_the_journal(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await anna.vanish()
    await talk(ben, RECENT_EVENTS + 20)
    after = anna.position
    reads = node.line.reads
    view = await soon(node.client(ANNA, session).join(after))
    assert node.line.reads == reads + 1
    assert replayed(view) == (await world.log(session))[after:]
    # What memory still holds needs no journal.
    later = await soon(node.client(CLEO, session).join(view.seq - 5))
    assert (len(replayed(later)), node.line.reads) == (6, reads + 1)


@pytest.mark.parametrize("in_memory", [True, False])
async def test_after_may_lie_inside_a_commit_of_several_events(
    world: World, node: Node, session: SessionId, in_memory: bool
) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await talk(ben, 6)
    assert max(len(commit.events) for commit in await world.journal.read(session)) == 6
    if not in_memory:
        await talk(ben, RECENT_EVENTS)
    log = await world.log(session)
    for after in range(4, 10):
        view = await soon(anna.join(after))
        assert replayed(view) == log[after:]


async def test_too_many_missed_events_become_a_snapshot(world: World) -> None:
    node = world.node("a0", replay_limit=10)
    session = await world.open_session(node, [ANNA, BEN])
    anna, ben = await node.joined(session, ANNA, BEN)
    await talk(ben, 10)
    assert len(replayed(await soon(anna.join(3)))) == 10
    assert (await soon(anna.join(2))).snapshot is not None


@pytest.mark.parametrize("after", [4, 1000, 2**53])
async def test_after_beyond_the_end_becomes_a_snapshot(node: Node, session: SessionId, after: int) -> None:
    view = await soon(node.client(ANNA, session).join(after))
    assert view.seq == 2
    assert view.snapshot is not None


async def test_a_room_fresh_from_the_journal_replays_too(world: World, node: Node, session: SessionId) -> None:
    _, ben = await node.joined(session, ANNA, BEN)
    await talk(ben, RECENT_EVENTS + 5)
    other = world.node("b0")
    for after in (2, RECENT_EVENTS):
        view = await soon(other.client(CLEO, session).join(after))
        assert replayed(view) == (await world.log(session))[after:]


async def test_nothing_is_lost_or_doubled_between_the_view_and_the_first_event(
    world: World, node: Node, session: SessionId
) -> None:
    # A client checks each event against its view's seq; here commands pour in at every step of many joins.
    (ben,) = await node.joined(session, BEN)
    late = [node.client(who, session) for who in (ANNA, CLEO, DINA)]
    joining = []
    for turn in range(60):
        ben.media(mic=turn % 2 == 0)
        if turn % 20 == 5:
            joining.append(asyncio.ensure_future(late[turn // 20].join()))
        await asyncio.sleep(0)
    await soon(asyncio.gather(*joining))
    await talk(ben, 2)
    length = len(await world.log(session))
    assert length >= 60
    assert [client.position for client in (ben, *late)] == [length] * 4


async def test_nothing_is_lost_or_doubled_when_the_missed_events_must_be_read(
    world: World, node: Node, session: SessionId
) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await anna.vanish()
    await talk(ben, RECENT_EVENTS + 1)
    node.line.hold()
    again = node.client(ANNA, session)
    joining = asyncio.ensure_future(again.join(anna.position))
    await world.settle()
    # The read of the journal begins when the join is durable, and these are written while it is under way.
    answers = [ben.media(camera=turn % 2 == 0) for turn in range(10)]
    node.line.release()
    view = await soon(joining)
    await soon(asyncio.gather(*answers))
    log = await world.log(session)
    assert [*replayed(view), *again.events] == log[anna.position :]
    assert again.position == len(log)


async def test_a_journal_that_is_away_once_the_seat_is_taken_only_needs_a_repeated_join(
    world: World, node: Node, session: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> list[SealedEvent]:
        raise OutcomeUnknownError

    anna, ben = await node.joined(session, ANNA, BEN)
    await anna.vanish()
    await talk(ben, RECENT_EVENTS + 1)
    again = node.client(ANNA, session)
    monkeypatch.setattr(node.line, "events_after", away)
    with pytest.raises(UnavailableError):
        await soon(again.join(anna.position))
    assert not again.listens()
    monkeypatch.undo()
    view = await soon(again.join(anna.position))
    assert replayed(view) == (await world.log(session))[anna.position :]
    assert (await world.kinds(session)).count("participant_reconnected") == 1


async def test_a_join_that_was_unavailable_succeeds_when_repeated(world: World, node: Node, session: SessionId) -> None:
    (ben,) = await node.joined(session, BEN)
    anna = node.client(ANNA, session)
    node.line.is_cut = True
    joining = asyncio.ensure_future(anna.join())
    await world.clock.advance(10)
    with pytest.raises(UnavailableError):
        await soon(joining)
    assert not anna.listens()
    node.line.is_cut = False
    assert (await soon(anna.join())).seq == 3
    assert ben.kinds == ["participant_joined"]


async def test_only_registered_users_take_a_seat(world: World, node: Node, session: SessionId) -> None:
    slot = (await world.state(session)).time_slot_id
    await world.register(slot, user(1), RegistrationStatus.CANCELLED)
    for stranger in (user(1), user(2)):
        client = node.client(stranger, session)
        with pytest.raises(NotRegisteredError):
            await soon(client.join())
        assert not client.listens()
    await world.register(slot, user(2))
    assert (await soon(node.client(user(2), session).join())).seq == 2


async def test_registration_may_not_be_required(world: World) -> None:
    node = world.node("a0", require_registration=False)
    session = await world.open_session(node, [ANNA])
    assert (await soon(node.client(user(1), session).join())).seq == 2


async def test_who_holds_a_seat_needs_no_catalogue_to_come_back(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    await anna.vanish()
    world.bookings.is_cut = True
    assert (await soon(node.client(ANNA, session).join())).seq == 4
    ben = node.client(BEN, session)
    with pytest.raises(UnavailableError):
        await soon(ben.join())
    world.bookings.is_cut = False
    assert (await soon(ben.join())).seq == 5


@pytest.mark.parametrize("unknown", ["f" * 24, "nonsense", "", "F" * 24, "f" * 24 + "\n"])
async def test_an_unknown_session_cannot_be_joined_and_is_not_remembered(node: Node, unknown: str) -> None:
    with pytest.raises(NotFoundError):
        await soon(node.client(ANNA, SessionId(unknown)).join())
    assert node.rooms.loaded == []


async def test_an_ended_session_and_a_removed_user_are_refused(node: Node, session: SessionId) -> None:
    await node.joined(session, ANNA)
    await node.do(session, remove(ANNA))
    with pytest.raises(RemovedError):
        await soon(node.client(ANNA, session).join())
    await node.do(session, END_IT)
    late = node.client(BEN, session)
    with pytest.raises(SessionEndedError):
        await soon(late.join())
    assert not late.listens()


async def test_who_is_removed_in_the_commit_of_its_own_join_never_listens(
    world: World, node: Node, session: SessionId
) -> None:
    (ben,) = await node.joined(session, BEN)
    node.line.hold()
    ben.media(mic=True)
    await world.settle()
    anna = node.client(ANNA, session)
    joining = asyncio.ensure_future(anna.join())
    await world.settle()
    removal = await node.submit(session, remove(ANNA))
    node.line.release()
    assert await soon(removal) == 5
    with pytest.raises(RemovedError):
        await soon(joining)
    assert not anna.listens()
    assert (await world.journal.read(session))[-1].seq == 4


async def test_who_is_removed_right_after_its_join_was_written_is_closed(
    world: World, node: Node, session: SessionId
) -> None:
    anna = node.client(ANNA, session)
    node.line.hold()
    joining = asyncio.ensure_future(anna.join())
    await world.settle()
    removal = await node.submit(session, remove(ANNA))
    node.line.release()
    assert (await soon(joining)).seq == 2
    assert await soon(removal) == 3
    assert anna.kinds == ["participant_left", "closed"]
    assert not anna.listens()


async def test_catching_up_gives_what_was_missed(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await talk(ben, 5)
    log = await world.log(session)
    for after in range(9):
        assert replayed(await soon(anna.sync(after))) == log[after:]
    assert (await soon(anna.sync(99))).snapshot == await world.expected_documents(session)
    assert anna.listens()


async def test_catching_up_while_much_happens_leaves_no_gap(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await talk(ben, RECENT_EVENTS + 10)
    for turn in range(20):
        ben.media(camera=turn % 2 == 0)
        syncing = asyncio.ensure_future(anna.sync(2))
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        await soon(syncing)
    assert anna.position == (await node.room(session)).seq


async def test_what_this_node_has_not_heard_of_yet_is_not_part_of_the_view(
    world: World, node: Node, session: SessionId
) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await talk(ben, RECENT_EVENTS + 10)
    await world.node("b0").joined(session, CLEO, DINA)
    ahead = len(await world.log(session))
    view = await soon(anna.sync(2))
    assert view.seq == ahead - 2
    await soon(ben.media(camera=True))
    assert anna.position == ahead + 1


async def test_a_room_is_kept_for_those_who_are_about_to_join(
    world: World, node: Node, session: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> bool:
        asked.set()
        return await gate.wait()

    await world.clock.advance(1)
    monkeypatch.setattr(world.bookings, "is_registered", slow)
    anna = node.client(ANNA, session)
    joining = asyncio.ensure_future(anna.join())
    await soon(asked.wait())
    node.rooms.drop_idle()
    gate.set()
    await soon(joining)
    assert anna.listens()
    await talk(anna, 3)


async def test_only_who_listens_can_catch_up(node: Node, session: SessionId) -> None:
    anna, stranger = node.client(ANNA, session), node.client(BEN, session)
    with pytest.raises(NotInSessionError):
        await soon(stranger.sync(0))
    await soon(anna.join())
    await soon(anna.leave())
    with pytest.raises(NotInSessionError):
        await soon(anna.sync(0))


async def test_who_is_replaced_while_catching_up_is_told_so(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await talk(ben, RECENT_EVENTS + 10)
    node.line.hold()
    newer = asyncio.ensure_future(node.client(ANNA, session).join())
    await world.settle()
    node.line.release()
    syncing = asyncio.ensure_future(anna.sync(2))
    await soon(newer)
    with pytest.raises(NotInSessionError):
        await soon(syncing)
    await node.do(session, media(BEN, mic=True, via=ben.connection_id))
