"""One live connection per user: takeovers, departures, ghosts; and what only those who are present may do."""

import asyncio

import pytest

from coordinator.domain.errors import InvalidRequestError, NotInSessionError, RemovedError, UnavailableError
from coordinator.domain.events import DisconnectReason, ParticipantDisconnected
from coordinator.domain.ids import SessionId
from coordinator.domain.transitions import Presence
from tests.domain.story import ANNA, BEN, CLEO, END_IT, GRACE, lose, minutes, remove
from tests.services.clients import Client, Note
from tests.services.faults import Fate
from tests.services.harness import Node, World, soon


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    return await world.open_session(node, [ANNA, BEN, CLEO])


def replaced(session: SessionId) -> list[Note]:
    return [Note("replaced", {"sessionId": session}), Note("closed", {"reason": "replaced"})]


async def held_by(world: World, client: Client) -> bool:
    """Whether the client's connection holds its user's seat, present."""
    participant = (await world.state(client.session)).participants[client.user_id]
    return participant.is_present and participant.connection_id == client.connection_id


async def test_the_newest_connection_wins(world: World, node: Node, session: SessionId) -> None:
    old, ben = await node.joined(session, ANNA, BEN)
    new = node.client(ANNA, session)
    view = await soon(new.join())
    assert view.snapshot is not None
    assert len(view.snapshot.participants) == 2
    assert old.notes == replaced(session)
    assert old.kinds[-2:] == ["replaced", "closed"], "the end comes after everything else"
    assert ben.kinds == ["participant_reconnected"]
    assert await held_by(world, new)


async def test_a_late_departure_of_the_older_connection_changes_nothing(
    world: World, node: Node, session: SessionId
) -> None:
    old, ben = await node.joined(session, ANNA, BEN)
    new = node.client(ANNA, session)
    await soon(new.join())
    await old.vanish()
    assert await soon(old.leave()) == 4
    assert len(await world.log(session)) == 4
    assert new.listens()
    assert await soon(ben.media(mic=True)) == 5
    assert new.kinds == ["mic_changed"]


async def test_the_older_connection_may_do_nothing_any_more(node: Node, session: SessionId) -> None:
    old, _ = await node.joined(session, ANNA, BEN)
    await soon(node.client(ANNA, session).join())
    for forbidden in (lambda: old.media(mic=True), lambda: old.consent(True), lambda: old.signal(BEN)):
        with pytest.raises(NotInSessionError):
            forbidden()
    with pytest.raises(NotInSessionError):
        await soon(old.sync(1))
    assert not node.participation.is_seated(old, session)


@pytest.mark.parametrize("in_one_commit", [True, False])
async def test_the_newest_wins_also_while_the_older_waits_for_its_seat(
    world: World, node: Node, session: SessionId, in_one_commit: bool
) -> None:
    (ben,) = await node.joined(session, BEN)
    old, new = node.client(ANNA, session), node.client(ANNA, session)
    node.line.hold()
    if in_one_commit:
        ben.media(mic=True)
        await world.settle()
    first = asyncio.ensure_future(old.join())
    await world.settle()
    second = asyncio.ensure_future(new.join())
    await world.settle()
    node.line.release()
    await soon(second)
    if in_one_commit:
        with pytest.raises(NotInSessionError):
            await soon(first)
    else:
        await soon(first)
    assert old.notes == replaced(session)
    assert not old.listens()
    assert new.listens()
    assert await held_by(world, new)
    await old.vanish()
    assert await held_by(world, new)


async def test_taking_over_from_another_node(world: World, node: Node, session: SessionId) -> None:
    old, ben = await node.joined(session, ANNA, BEN)
    other = world.node("b0")
    new = other.client(ANNA, session)
    await soon(new.join())
    # Nothing tells this node yet; whatever it writes next does.
    assert await soon(ben.media(mic=True)) == 5
    assert old.notes == replaced(session)
    await old.vanish()
    assert await held_by(world, new)


async def test_a_lost_connection_is_shown_at_once_and_its_seat_is_held(
    world: World, node: Node, session: SessionId
) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await soon(anna.media(camera=True))
    await anna.drop(DisconnectReason.PING_TIMEOUT)
    assert not anna.listens(), "it is not sent anything from here on"
    await world.settle()
    gone = ben.events[-1].body
    assert isinstance(gone, ParticipantDisconnected)
    assert (gone.user_id, gone.reason) == (ANNA, DisconnectReason.PING_TIMEOUT)
    assert gone.reconnect_by == world.clock.now() + GRACE
    again = node.client(ANNA, session)
    view = await soon(again.join())
    assert view.snapshot is not None
    assert view.snapshot.participants[0].camera_enabled
    assert (await world.kinds(session))[-1] == "participant_reconnected"


async def test_a_removed_user_is_closed_and_stays_out(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await node.do(session, remove(ANNA, "be kind"))
    assert anna.kinds == ["participant_joined", "participant_left", "closed"]
    assert anna.notes == [Note("closed", {"reason": "removed"})]
    await anna.vanish()
    with pytest.raises(RemovedError):
        await soon(node.client(ANNA, session).join())
    assert ben.kinds == ["participant_left"]
    assert (await world.state(session)).participants[ANNA].presence is Presence.REMOVED


async def test_leaving_twice_is_leaving_once(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    assert await soon(anna.leave()) == 4
    assert anna.kinds == ["participant_joined", "participant_left"], "who leaves hears of it"
    assert not anna.listens()
    assert await soon(anna.leave()) == 4
    await anna.vanish()
    assert ben.kinds == ["participant_left"]
    assert (await soon(anna.join())).seq == 5
    assert len(await world.log(session)) == 5


async def test_a_leave_that_was_unavailable_can_be_repeated(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    node.line.is_cut = True
    node.line.lose(Fate.LATE)
    leaving = asyncio.ensure_future(anna.leave())
    await world.clock.advance(10)
    with pytest.raises(UnavailableError):
        await soon(leaving)
    assert anna.listens()
    node.line.is_cut = False
    await node.line.land()
    assert await soon(anna.leave()) == 3
    assert not anna.listens()
    assert anna.kinds == ["participant_left"]


async def test_leaving_an_ended_session_is_no_error(node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    end = await node.do(session, END_IT)
    assert await soon(anna.leave()) == end
    assert not anna.listens()


async def test_a_departure_while_a_join_is_under_way_leaves_no_ghost(
    world: World, node: Node, session: SessionId
) -> None:
    anna = node.client(ANNA, session)
    node.line.hold()
    joining = asyncio.ensure_future(anna.join())
    await world.settle()
    dropping = asyncio.ensure_future(anna.drop())
    await world.settle()
    assert not dropping.done()
    node.line.release()
    await soon(joining)
    await soon(dropping)
    await world.settle()
    assert not anna.listens()
    assert (await world.kinds(session))[1:] == ["participant_joined", "participant_disconnected"]
    await world.clock.advance(GRACE.total_seconds())
    assert (await world.state(session)).seats_taken == 0
    await world.clock.advance(1)
    node.rooms.drop_idle()
    assert node.rooms.loaded == []


@pytest.mark.parametrize("lands", [True, False])
async def test_a_departure_after_a_join_of_unknown_outcome_leaves_no_ghost(
    world: World, node: Node, session: SessionId, lands: bool
) -> None:
    anna = node.client(ANNA, session)
    node.line.is_cut = True
    node.line.lose(Fate.LATE)
    joining = asyncio.ensure_future(anna.join())
    await world.clock.advance(10)
    with pytest.raises(UnavailableError):
        await soon(joining)
    await anna.drop()
    if lands:
        await node.line.land()
    await world.clock.advance(5)
    node.line.is_cut = False
    await world.clock.advance(2 + GRACE.total_seconds())
    kinds = (await world.kinds(session))[1:]
    assert kinds == (["participant_joined", "participant_disconnected", "participant_left"] if lands else [])
    assert node.rooms.loaded == [await node.room(session)]
    node.rooms.drop_idle()
    assert node.rooms.loaded == []


async def test_a_cancelled_join_leaves_nobody_listening(world: World, node: Node, session: SessionId) -> None:
    anna = node.client(ANNA, session)
    node.line.hold()
    joining = asyncio.ensure_future(anna.join())
    await world.settle()
    joining.cancel()
    node.line.release()
    await anna.vanish()
    assert not anna.listens()
    assert (await world.state(session)).participants[ANNA].presence is Presence.AWAY
    await world.clock.advance(1)
    node.rooms.drop_idle()
    assert node.rooms.loaded == [], "whoever gives up does not keep the room in memory"


async def test_signals_go_to_present_participants_only(world: World, node: Node, session: SessionId) -> None:
    anna, ben, cleo = await node.joined(session, ANNA, BEN, CLEO)
    anna.signal(BEN, {"sdp": "offer"})
    assert ben.heard[-1] == Note("signal", {"sessionId": session, "from": ANNA, "data": {"sdp": "offer"}})
    assert cleo.notes == anna.notes == []
    assert len(await world.log(session)) == 4

    await ben.vanish()
    await soon(cleo.leave())
    for absent in (BEN, CLEO, "nobody"):
        with pytest.raises(NotInSessionError):
            anna.signal(BEN if absent == BEN else CLEO)
    with pytest.raises(NotInSessionError):
        cleo.signal(ANNA)
    with pytest.raises(InvalidRequestError) as refused:
        anna.signal(ANNA)
    assert refused.value.field == "to"
    assert anna.notes == []


async def test_who_was_taken_for_lost_comes_back_on_the_same_connection(
    world: World, node: Node, session: SessionId
) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    # Another node held this one for dead for a moment; its connections are fine.
    await world.node("b0").do(session, lose(ANNA, anna.connection_id, DisconnectReason.CONNECTION_LOST))
    await soon(ben.media(mic=True))
    await world.settle()
    assert anna.kinds[-3:] == ["participant_disconnected", "participant_reconnected", "mic_changed"]
    assert anna.notes == []
    anna.signal(BEN, "back")
    assert await soon(anna.media(mic=True)) == 7
    assert ben.kinds[-3:] == ["mic_changed", "signal", "mic_changed"]


async def test_signals_stop_with_the_session(node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await node.do(session, END_IT)
    with pytest.raises(NotInSessionError):
        anna.signal(BEN)
    assert ben.notes == []


async def test_signals_and_events_keep_their_order(node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    await soon(anna.media(mic=True))
    anna.signal(BEN, 1)
    await soon(anna.media(mic=False))
    anna.signal(BEN, 2)
    assert ben.kinds == ["mic_changed", "signal", "mic_changed", "signal"]


async def test_a_seat_is_held_from_join_to_departure(world: World, node: Node, session: SessionId) -> None:
    anna = node.client(ANNA, session)
    seen = [node.participation.is_seated(anna, session)]
    await soon(anna.join())
    seen.append(node.participation.is_seated(anna, session))
    await soon(anna.leave())
    seen.append(node.participation.is_seated(anna, session))
    await soon(anna.join())
    await node.do(session, END_IT)
    seen.append(node.participation.is_seated(anna, session))
    await soon(anna.leave())
    await world.clock.advance(1)
    node.rooms.drop_idle()
    seen.append(node.participation.is_seated(anna, session))
    assert seen == [False, True, False, False, False]


async def test_consent_and_media_of_a_present_participant(world: World, node: Node, session: SessionId) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    assert await soon(anna.media(camera=True, mic=True)) == 5
    assert await soon(anna.media(camera=True)) == 5
    assert await soon(anna.consent(True, "2030-01")) == 6
    assert await soon(anna.consent(False)) == 7
    assert ben.kinds == ["camera_changed", "mic_changed", "recording_consent_granted", "recording_consent_revoked"]
    await world.at(minutes(0))
    assert (await world.kinds(session))[-1] == "session_started"
