"""Moderators end sessions and switch recording: durable when answered, repeatable, from any node."""

import asyncio

import pytest

from coordinator.domain.errors import NotFoundError, SessionEndedError, UnavailableError
from coordinator.domain.events import RecordingEnabled, SessionEnded
from coordinator.domain.ids import SessionId
from coordinator.domain.model import EndReason, SessionStatus
from tests.domain.story import ANNA, BEN, MODERATOR
from tests.services.faults import Fate
from tests.services.harness import Node, World, soon


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    return await world.open_session(node, [ANNA, BEN])


async def test_a_moderator_ends_a_session_once(world: World, node: Node, session: SessionId) -> None:
    (anna,) = await node.joined(session, ANNA)
    ended = await soon(node.moderation.end_session(MODERATOR, session))
    assert (ended.status, ended.end_reason) == (SessionStatus.ENDED, EndReason.ENDED_BY_MODERATOR)
    assert ended == (await world.expected_documents(session)).session
    assert anna.kinds == ["session_ended", "participant_left"]
    await world.clock.advance(1)
    assert await soon(node.moderation.end_session(MODERATOR, session)) == ended
    (event,) = [event for event in await world.log(session) if isinstance(event.body, SessionEnded)]
    assert event.actor == MODERATOR


async def test_recording_is_switched_on_and_off(world: World, node: Node, session: SessionId) -> None:
    for enabled in (False, True, True, False):
        found = await soon(node.moderation.set_recording(MODERATOR, session, enabled))
        assert found.recording_enabled is enabled
        assert found == (await world.expected_documents(session)).session
    kinds = await world.kinds(session)
    assert kinds == ["session_opened", "recording_enabled", "recording_disabled"]
    (event,) = [event for event in await world.log(session) if isinstance(event.body, RecordingEnabled)]
    assert event.actor == MODERATOR


async def test_what_another_node_did_meanwhile_is_not_taken_for_what_was_asked(
    world: World, node: Node, session: SessionId
) -> None:
    other = world.node("b0")
    await node.joined(session, ANNA)
    await other.joined(session, BEN)
    for asked, enabled in ((node, True), (other, False), (node, True), (other, True), (node, False), (other, True)):
        found = await soon(asked.moderation.set_recording(MODERATOR, session, enabled))
        assert found.recording_enabled is enabled
    await soon(other.moderation.end_session(MODERATOR, session))
    with pytest.raises(SessionEndedError):
        await soon(node.moderation.set_recording(MODERATOR, session, True))
    assert (await world.kinds(session)).count("session_ended") == 1


async def test_an_ended_session_is_not_recorded(world: World, node: Node, session: SessionId) -> None:
    await soon(node.moderation.end_session(MODERATOR, session))
    for enabled in (True, False):
        with pytest.raises(SessionEndedError):
            await soon(node.moderation.set_recording(MODERATOR, session, enabled))


@pytest.mark.parametrize("unknown", ["e" * 24, "nonsense"])
async def test_an_unknown_session_is_not_found(world: World, node: Node, unknown: str) -> None:
    for work in (
        node.moderation.end_session(MODERATOR, SessionId(unknown)),
        node.moderation.set_recording(MODERATOR, SessionId(unknown), True),
    ):
        with pytest.raises(NotFoundError):
            await soon(work)
    assert node.rooms.loaded == []


async def test_an_answer_waits_until_it_is_durable(world: World, node: Node, session: SessionId) -> None:
    node.line.hold()
    asked = asyncio.ensure_future(node.moderation.end_session(MODERATOR, session))
    await world.settle()
    assert not asked.done()
    assert "session_ended" not in await world.kinds(session)
    node.line.release()
    assert (await soon(asked)).status is SessionStatus.ENDED


async def test_a_database_that_is_away_is_said_to_be(world: World, node: Node, session: SessionId) -> None:
    node.line.lose(Fate.NOT_WRITTEN)
    node.line.is_read_only = True
    asked = asyncio.ensure_future(node.moderation.end_session(MODERATOR, session))
    await world.clock.advance(10)
    with pytest.raises(UnavailableError):
        await soon(asked)
    node.line.is_cut = True
    with pytest.raises(UnavailableError):
        await soon(node.moderation.set_recording(MODERATOR, session, True))
    node.line.is_cut = node.line.is_read_only = False
    assert (await soon(node.moderation.end_session(MODERATOR, session))).status is SessionStatus.ENDED
