"""What other nodes do is heard here: over the bus, from the journal where something is missing, and in any case."""

import asyncio
import random

import pytest
from msgspec.structs import replace

from coordinator.domain.errors import NotInSessionError, UnavailableError
from coordinator.domain.events import DisconnectReason
from coordinator.domain.ids import SessionId
from coordinator.ports.bus import RelayedSignal
from coordinator.services.following import LOOK_SECONDS
from tests.domain.story import ANNA, BEN, CLEO, DINA, END_IT, MODERATOR, attach, lose, minutes, record
from tests.services.clients import Client
from tests.services.harness import Node, World, soon

USERS = [ANNA, BEN, CLEO, DINA]


class Pair:
    """Two nodes on one bus that know of each other, and a session with a participant on each."""

    def __init__(self, world: World, here: Node, there: Node) -> None:
        self.world = world
        self.here, self.there = here, there
        self.session: SessionId

    async def begin(self) -> None:
        for node in (self.here, self.there, self.here):
            await soon(node.recovery.start())
        self.session = await self.world.open_session(self.here, USERS)
        (self.anna,) = await self.here.joined(self.session, ANNA)
        (self.ben,) = await self.there.joined(self.session, BEN)
        await self.world.settle()

    def reads(self, node: Node) -> int:
        return node.line.reads

    async def agree(self, *clients: Client) -> None:
        """Everyone has seen the whole log."""
        log = await self.world.log(self.session)
        assert [client.position for client in clients] == [log[-1].seq] * len(clients)


@pytest.fixture
async def pair(world: World) -> Pair:
    made = Pair(world, world.node("a0", on_bus=True), world.node("b0", on_bus=True))
    await made.begin()
    return made


async def test_what_happens_there_is_heard_here_without_a_read(pair: Pair) -> None:
    before = pair.reads(pair.here), pair.reads(pair.there)
    for turn in range(5):
        await soon(pair.ben.media(mic=turn % 2 == 0))
        await soon(pair.anna.media(camera=turn % 2 == 0))
        await pair.world.settle()
    await pair.agree(pair.anna, pair.ben)
    assert (pair.reads(pair.here), pair.reads(pair.there)) == before
    assert pair.here.rooms.counts.conflicts == pair.there.rooms.counts.conflicts == 0


async def test_what_was_missed_is_read_as_soon_as_something_follows(pair: Pair) -> None:
    with pair.world.exchange.lose(pair.here.bus):
        await soon(pair.ben.media(mic=True))
        await pair.world.settle()
    assert pair.anna.kinds[-1:] == ["participant_joined"]
    await soon(pair.ben.media(camera=True))
    await pair.world.settle()
    assert pair.anna.kinds[-2:] == ["mic_changed", "camera_changed"]
    await pair.agree(pair.anna, pair.ben)


async def test_what_nothing_follows_is_found_by_looking(pair: Pair) -> None:
    pair.here.tick(LOOK_SECONDS)
    with pair.world.exchange.lose(pair.here.bus):
        await soon(pair.ben.media(mic=True))
        await pair.world.clock.advance(LOOK_SECONDS + 0.2)
    await pair.agree(pair.anna, pair.ben)


async def test_after_an_interruption_the_journal_is_read_at_once(pair: Pair) -> None:
    pair.world.exchange.go_down()
    await soon(pair.ben.media(mic=True))
    await pair.world.settle()
    assert pair.anna.kinds[-1:] == ["participant_joined"]
    pair.world.exchange.come_up()
    await pair.world.settle()
    await pair.agree(pair.anna, pair.ben)


async def test_with_the_bus_down_everything_is_still_heard(pair: Pair) -> None:
    pair.world.exchange.go_down()
    for node in (pair.here, pair.there):
        node.tick(LOOK_SECONDS)
    for turn in range(4):
        await soon(pair.ben.media(mic=turn % 2 == 0))
        await soon(pair.anna.media(camera=turn % 2 == 0))
        await pair.world.clock.advance(LOOK_SECONDS + 0.2)
        await pair.agree(pair.anna, pair.ben)


async def test_what_was_committed_while_one_subscribed_is_not_missed(pair: Pair) -> None:
    (dina,) = await pair.there.joined(pair.session, DINA)
    await pair.world.settle()
    await pair.agree(pair.anna, pair.ben, dina)


async def test_a_hint_that_does_not_fit_is_not_believed(pair: Pair) -> None:
    """Such as one of another database that shares the bus."""
    commit = (await pair.world.journal.read(pair.session))[-1]
    await soon(pair.ben.media(mic=True))
    await pair.world.settle()
    other = await pair.world.open_session(pair.here, USERS)
    await pair.here.joined(other, CLEO)
    strange = (await pair.world.journal.read(other))[-1]
    room = pair.here.rooms.peek(pair.session)
    assert room is not None
    pair.here.following.heard(commit)
    pair.here.following.heard(replace(strange, session_id=pair.session, seq=room.seq + 1))
    await pair.world.settle()
    assert room.seq == 4
    await pair.agree(pair.anna, pair.ben)
    await soon(pair.anna.media(mic=True))
    await pair.world.settle()
    await pair.agree(pair.anna, pair.ben)


async def test_nothing_is_published_where_there_is_nobody(world: World) -> None:
    alone = world.node("a0", on_bus=True)
    await soon(alone.recovery.start())
    session = await world.open_session(alone, USERS)
    (anna,) = await alone.joined(session, ANNA)
    await soon(anna.media(mic=True))
    assert world.exchange.published == 0
    reads = len(world.projections.asked_seqs)
    await soon(alone.following.look())
    assert len(world.projections.asked_seqs) == reads


async def test_only_what_is_listened_to_is_followed_and_only_so_long(pair: Pair) -> None:
    assert pair.here.bus.is_live(pair.session)
    other = await pair.world.open_session(pair.here, USERS)
    await pair.there.room(other)
    assert not pair.there.bus.is_live(other)
    await soon(pair.anna.leave())
    await pair.world.clock.advance(1)
    pair.here.rooms.drop_idle()
    assert not pair.here.bus.is_live(pair.session)
    assert pair.there.bus.is_live(pair.session)


async def test_while_the_database_is_away_catching_up_waits_for_it(pair: Pair) -> None:
    with pair.world.exchange.lose(pair.here.bus):
        await soon(pair.ben.media(mic=True))
    pair.here.line.is_cut = True
    await soon(pair.ben.media(camera=True))
    await pair.world.settle()
    assert pair.anna.kinds[-1:] == ["participant_joined"]
    pair.here.line.is_cut = False
    await pair.world.clock.advance(1)
    await pair.agree(pair.anna, pair.ben)


async def test_a_session_that_cannot_be_read_does_not_keep_another_from_catching_up(pair: Pair) -> None:
    pair.world.tolerated = {"session_unreadable"}
    other = await pair.world.open_session(pair.here, USERS)
    (cleo,) = await pair.here.joined(other, CLEO)
    with pair.world.exchange.lose(pair.here.bus):
        await soon(pair.ben.media(mic=True))
        await pair.there.joined(other, DINA)
    pair.here.line.unreadable.add(pair.session)
    pair.here.following.look_at_all()
    await pair.world.settle()
    assert cleo.kinds[-1:] == ["participant_joined"]
    pair.here.line.unreadable.clear()
    pair.here.following.look_at_all()
    await pair.world.settle()
    await pair.agree(pair.anna, pair.ben)


# What a commit of another node does to connections here.


async def test_a_newer_connection_elsewhere_replaces_the_one_here(pair: Pair) -> None:
    (again,) = await pair.there.joined(pair.session, ANNA)
    await pair.world.settle()
    assert pair.anna.is_closed
    assert [note.name for note in pair.anna.notes] == ["replaced", "closed"]
    await pair.anna.vanish()
    assert (await pair.world.state(pair.session)).participants[ANNA].connection_id == again.connection_id
    await pair.agree(pair.ben, again)


async def test_who_is_removed_elsewhere_is_closed_here(pair: Pair) -> None:
    await soon(pair.there.moderation.remove(MODERATOR, pair.session, ANNA, None))
    await pair.world.settle()
    assert pair.anna.is_closed
    assert pair.anna.kinds[-2:] == ["participant_left", "closed"]


async def test_the_session_ends_everywhere_at_once(pair: Pair) -> None:
    await pair.there.do(pair.session, END_IT)
    await pair.world.settle()
    assert "session_ended" in pair.anna.kinds
    await pair.agree(pair.anna, pair.ben)


async def test_what_follows_an_end_is_heard_as_well(pair: Pair) -> None:
    await soon(pair.anna.consent(True))
    await pair.world.at(minutes(0.5))
    await pair.here.do(pair.session, record())
    await pair.world.at(minutes(1))
    await pair.here.do(pair.session, END_IT)
    await pair.there.do(pair.session, attach(ANNA, minutes(0.7)))
    await pair.world.settle()
    assert pair.anna.kinds[-1] == "recording_attached"


async def test_a_connection_that_was_taken_for_lost_takes_its_seat_back(pair: Pair) -> None:
    gone = lose(ANNA, pair.anna.connection_id, DisconnectReason.CONNECTION_LOST)
    await soon(pair.anna.media(mic=True))
    await pair.there.do(pair.session, gone)
    await pair.world.settle()
    assert pair.anna.kinds[-2:] == ["participant_disconnected", "participant_reconnected"]
    participant = (await pair.world.state(pair.session)).participants[ANNA]
    assert participant.is_present
    assert participant.mic_enabled
    assert await soon(pair.anna.media(mic=False)) == (await pair.world.log(pair.session))[-1].seq
    await pair.agree(pair.anna, pair.ben)


async def test_what_it_asked_for_meanwhile_is_done_as_if_it_had_never_been_away(pair: Pair) -> None:
    with pair.world.exchange.lose(pair.here.bus):
        await pair.there.do(pair.session, lose(ANNA, pair.anna.connection_id, DisconnectReason.CONNECTION_LOST))
    await soon(pair.anna.media(mic=True))
    assert pair.anna.kinds[-3:] == ["participant_disconnected", "participant_reconnected", "mic_changed"]
    pair.here.line.hold()
    waiting = pair.anna.media(mic=False)
    await pair.world.settle()
    await pair.there.do(pair.session, lose(ANNA, pair.anna.connection_id, DisconnectReason.CONNECTION_LOST))
    pair.here.line.release()
    await soon(waiting)
    await pair.world.settle()
    assert pair.anna.kinds[-3:] == ["participant_disconnected", "participant_reconnected", "mic_changed"]
    await pair.agree(pair.anna, pair.ben)


async def test_a_connection_whose_seat_was_freed_meanwhile_is_closed_so_that_it_comes_back(pair: Pair) -> None:
    with pair.world.exchange.lose(pair.here.bus):
        await pair.there.do(pair.session, lose(ANNA, pair.anna.connection_id, DisconnectReason.CONNECTION_LOST))
        await pair.world.clock.advance(31)
    assert (await pair.world.kinds(pair.session))[-1] == "participant_left"
    pair.here.following.look_at_all()
    await pair.world.settle()
    assert pair.anna.is_closed
    assert pair.anna.kinds[-3:] == ["participant_disconnected", "participant_left", "closed"]
    again = pair.here.client(ANNA, pair.session)
    await soon(again.join(pair.anna.position))
    assert (await pair.world.state(pair.session)).participants[ANNA].is_present


async def test_a_node_that_hears_that_it_was_taken_for_dead_reads_what_it_missed(pair: Pair) -> None:
    with pair.world.exchange.lose(pair.here.bus):
        await soon(pair.ben.media(mic=True))
    await pair.world.liveness.forget(pair.here.id)
    await soon(pair.here.recovery.beat())
    await pair.world.settle()
    await pair.agree(pair.anna, pair.ben)


# Signals.


async def test_signals_reach_across(pair: Pair) -> None:
    for number in range(3):
        pair.anna.signal(BEN, {"number": number})
    await pair.world.settle()
    assert [note.payload for note in pair.ben.notes] == [
        {"sessionId": pair.session, "from": ANNA, "data": {"number": number}} for number in range(3)
    ]


async def test_without_a_bus_the_sender_is_told(pair: Pair) -> None:
    pair.world.exchange.go_down()
    with pytest.raises(UnavailableError):
        pair.anna.signal(BEN, "hello")
    pair.world.exchange.come_up()
    await pair.world.settle()
    pair.anna.signal(BEN, "hello again")
    await pair.world.settle()
    assert [note.payload["data"] for note in pair.ben.notes] == ["hello again"]


async def test_a_signal_to_a_connection_that_is_gone_or_to_nobody_is_dropped(pair: Pair) -> None:
    with pytest.raises(NotInSessionError):
        pair.anna.signal(CLEO, "hello")
    signal = RelayedSignal(session_id=pair.session, to=pair.ben.connection_id, sender=ANNA, data=None)
    await soon(pair.ben.leave())
    await pair.world.settle()
    pair.there.following.heard(signal)
    pair.there.following.heard(RelayedSignal(session_id=SessionId("e" * 24), to=signal.to, sender=ANNA, data=None))
    assert pair.ben.notes == []


@pytest.mark.parametrize("seed", range(20))
async def test_everyone_sees_one_order_whatever_the_bus_does(world: World, seed: int) -> None:
    """`Client` itself checks that every event comes once and in order; in the end all of them have come."""
    chance = random.Random(seed)
    pair = Pair(world, world.node("a0", on_bus=True), world.node("b0", on_bus=True))
    for node in (pair.here, pair.there):
        node.course.jitter = random.Random(seed + 1)
        node.tick(LOOK_SECONDS)
    await pair.begin()
    world.exchange.trouble = random.Random(seed + 2)

    async def talk(client: Client) -> None:
        for turn in range(40):
            await client.media(mic=turn % 2 == 0)
            if chance.random() < 0.1:
                world.exchange.go_down()
            if chance.random() < 0.2:
                world.exchange.come_up()

    await soon(asyncio.gather(talk(pair.anna), talk(pair.ben)))
    world.exchange.trouble = None
    await world.clock.advance(2 * LOOK_SECONDS)
    await pair.agree(pair.anna, pair.ben)
