"""Moderators mute, remove, end, and switch recording: durable when answered, repeatable, from any node."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from coordinator.domain.errors import NotFoundError, NotInSessionError, SessionEndedError, UnavailableError
from coordinator.domain.events import MicChanged, ParticipantLeft, RecordingEnabled, SessionEnded
from coordinator.domain.ids import SessionId
from coordinator.domain.model import EndReason, SessionStatus
from tests.domain.story import ANNA, BEN, CLEO, MODERATOR
from tests.services.faults import Fate
from tests.services.harness import Node, World, soon

Deed = Callable[[Node, SessionId], Awaitable[int]]

DEEDS: dict[str, Deed] = {
    "mute": lambda node, session: node.moderation.mute(MODERATOR, session, ANNA),
    "remove": lambda node, session: node.moderation.remove(MODERATOR, session, ANNA, "be kind"),
    "end_session": lambda node, session: node.moderation.end_session(MODERATOR, session),
    "set_recording": lambda node, session: node.moderation.set_recording(MODERATOR, session, True),
}
every_deed = pytest.mark.parametrize("deed", list(DEEDS.values()), ids=list(DEEDS))


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    return await world.open_session(node, [ANNA, BEN])


@every_deed
async def test_the_answer_is_the_seq_and_repeating_changes_nothing(
    world: World, node: Node, session: SessionId, deed: Deed
) -> None:
    (anna,) = await node.joined(session, ANNA)
    await soon(anna.media(mic=True))
    seq = await soon(deed(node, session))
    log = await world.log(session)
    assert seq == log[-1].seq > 3
    assert log[3].actor == MODERATOR
    await world.clock.advance(1)
    assert await soon(deed(node, session)) == seq
    assert await world.log(session) == log


@every_deed
async def test_an_answer_waits_until_it_is_durable(world: World, node: Node, session: SessionId, deed: Deed) -> None:
    (anna,) = await node.joined(session, ANNA)
    await soon(anna.media(mic=True))
    node.line.hold()
    asked = asyncio.ensure_future(deed(node, session))
    await world.settle()
    assert not asked.done()
    assert len(await world.log(session)) == 3
    node.line.release()
    assert await soon(asked) == (await world.log(session))[-1].seq


@every_deed
async def test_what_another_node_did_meanwhile_is_not_taken_for_what_was_asked(
    world: World, node: Node, session: SessionId, deed: Deed
) -> None:
    """The other node's cache says that nothing is to be done, or that nobody is there."""
    other = world.node("b0")
    await other.room(session)
    (anna,) = await node.joined(session, ANNA)
    await soon(anna.media(mic=True))
    assert await soon(deed(other, session)) == (await world.log(session))[-1].seq > 3


@every_deed
async def test_an_unknown_session_is_not_found(world: World, node: Node, deed: Deed) -> None:
    for unknown in ("e" * 24, "nonsense"):
        with pytest.raises(NotFoundError):
            await soon(deed(node, SessionId(unknown)))
    assert node.rooms.loaded == []


@every_deed
async def test_a_database_that_is_away_is_said_to_be(world: World, node: Node, session: SessionId, deed: Deed) -> None:
    (anna,) = await node.joined(session, ANNA)
    await soon(anna.media(mic=True))
    node.line.lose(Fate.NOT_WRITTEN)
    node.line.is_read_only = True
    asked = asyncio.ensure_future(deed(node, session))
    await world.clock.advance(10)
    with pytest.raises(UnavailableError):
        await soon(asked)
    node.line.is_cut = True
    with pytest.raises(UnavailableError):
        await soon(deed(node, session))
    node.line.is_cut = node.line.is_read_only = False
    assert await soon(deed(node, session)) == (await world.log(session))[-1].seq > 3


# End.


async def test_a_moderator_ends_a_session_once(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    await soon(node.moderation.end_session(MODERATOR, session))
    state = await world.state(session)
    assert (state.status, state.end_reason) == (SessionStatus.ENDED, EndReason.ENDED_BY_MODERATOR)
    assert anna.kinds == ["session_ended", "participant_left"]
    (event,) = [event for event in await world.log(session) if isinstance(event.body, SessionEnded)]
    assert event.actor == MODERATOR


# Recording.


async def test_recording_is_switched_on_and_off(world: World, node: Node, session: SessionId) -> None:
    for enabled in (False, True, True, False):
        await soon(node.moderation.set_recording(MODERATOR, session, enabled))
        assert (await world.state(session)).recording_enabled is enabled
    kinds = await world.kinds(session)
    assert kinds == ["session_opened", "recording_enabled", "recording_disabled"]
    (event,) = [event for event in await world.log(session) if isinstance(event.body, RecordingEnabled)]
    assert event.actor == MODERATOR


async def test_two_nodes_switch_recording_in_turns(world: World, node: Node, session: SessionId) -> None:
    other = world.node("b0")
    await node.joined(session, ANNA)
    await other.joined(session, BEN)
    for asked, enabled in ((node, True), (other, False), (node, True), (other, True), (node, False), (other, True)):
        await soon(asked.moderation.set_recording(MODERATOR, session, enabled))
        assert (await world.state(session)).recording_enabled is enabled
    await soon(other.moderation.end_session(MODERATOR, session))
    with pytest.raises(SessionEndedError):
        await soon(node.moderation.set_recording(MODERATOR, session, True))
    assert (await world.kinds(session)).count("session_ended") == 1


# Mute.


async def test_mute_turns_the_microphone_off_and_never_on(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    assert await soon(node.moderation.mute(MODERATOR, session, ANNA)) == 2, "it is off already"
    await soon(anna.media(mic=True, camera=True))
    assert await soon(node.moderation.mute(MODERATOR, session, ANNA)) == 5
    muted = (await world.log(session))[-1]
    assert (muted.body, muted.actor) == (MicChanged(user_id=ANNA, mic_enabled=False), MODERATOR)
    assert anna.events[-1] == muted
    assert await soon(anna.media(mic=True)) == 6, "whoever was muted may speak again"


async def test_who_is_away_is_muted_and_comes_back_silent(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    await soon(anna.media(mic=True))
    await anna.vanish()
    await soon(node.moderation.mute(MODERATOR, session, ANNA))
    await node.joined(session, ANNA)
    assert not (await world.state(session)).participants[ANNA].mic_enabled


async def test_nobody_is_muted_who_is_not_there(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    await soon(anna.leave())
    log = await world.log(session)
    for user in (ANNA, BEN, CLEO, MODERATOR.user_id):
        with pytest.raises(NotInSessionError):
            await soon(node.moderation.mute(MODERATOR, session, user))
    assert await world.log(session) == log


@pytest.mark.parametrize("name", ["mute", "remove", "set_recording"])
async def test_an_ended_session_is_left_as_it_is(world: World, node: Node, session: SessionId, name: str) -> None:
    await node.joined(session, ANNA)
    await soon(node.moderation.end_session(MODERATOR, session))
    log = await world.log(session)
    with pytest.raises(SessionEndedError):
        await soon(DEEDS[name](node, session))
    assert await world.log(session) == log


# Remove (what a removed user may still try: `test_removal`).


async def test_whoever_is_removed_hears_of_it_with_the_reason_and_is_closed(
    world: World, node: Node, session: SessionId
) -> None:
    anna, ben = await node.joined(session, ANNA, BEN)
    seq = await soon(node.moderation.remove(MODERATOR, session, ANNA, "be kind"))
    assert anna.kinds == ["participant_joined", "participant_left", "closed"]
    assert anna.notes[-1].payload == {"reason": "removed"}
    assert ben.kinds == ["participant_left"]
    assert not ben.is_closed
    gone = ben.events[-1]
    assert (gone.seq, gone.actor) == (seq, MODERATOR)
    assert isinstance(gone.body, ParticipantLeft)
    assert (gone.body.reason, gone.body.message) == ("removed", "be kind")


async def test_who_was_never_there_cannot_be_removed(world: World, node: Node, session: SessionId) -> None:
    for user in (BEN, CLEO):
        with pytest.raises(NotInSessionError):
            await soon(node.moderation.remove(MODERATOR, session, user, None))
    assert await world.kinds(session) == ["session_opened"]
