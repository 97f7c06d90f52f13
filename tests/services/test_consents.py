"""The consent history as it is gathered from the journals, on any node, whatever is late or away."""

import pytest

from coordinator.domain.errors import UnavailableError
from coordinator.domain.ids import SessionId, UserId
from coordinator.ports.journal import Mention
from coordinator.services.consents import PAGE_SESSIONS, Place
from tests.domain.story import ANNA, BEN, CLEO, consent, join, remove, revoke
from tests.services.harness import Node, World, soon


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    return await world.open_session(node, [ANNA, BEN])


def places(items: list[Mention]) -> list[tuple[SessionId, int, str]]:
    return [(item.event.session_id, item.event.seq, item.event.body.kind) for item in items]


async def whole(node: Node, user: UserId, limit: int = 2) -> list[Mention]:
    """Everything, page after page, after checking that no page is too long."""
    items: list[Mention] = []
    after: Place | None = None
    while True:
        page = await soon(node.consents.page(user, after, limit))
        assert len(page.items) <= limit
        items += page.items
        if page.next is None:
            return items
        assert after is None or page.next > after
        after = page.next


async def test_each_event_comes_with_the_commit_that_holds_it(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA), consent(ANNA, "1"), revoke(ANNA), consent(ANNA, "2"))
    found = await whole(node, ANNA)
    log = await world.log(session)
    assert [item.event for item in found] == log[2:5]
    commits = await world.journal.read(session)
    for item in found:
        (holder,) = [commit for commit in commits if commit.seq <= item.event.seq <= commit.last_seq]
        assert item.commit_hash == holder.hash


async def test_a_session_that_began_a_moment_ago_is_part_of_it(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA), consent(ANNA))
    assert await world.projections.session(session) is None, "its documents have not followed yet"
    assert places(await whole(node, ANNA)) == [(session, 3, "recording_consent_granted")]


async def test_every_node_tells_the_same(world: World, node: Node, session: SessionId) -> None:
    other = world.node("b0")
    await node.do(session, join(ANNA), consent(ANNA))
    await world.clock.advance(1)
    await other.do(session, revoke(ANNA))
    assert places(await whole(other, ANNA)) == places(await whole(node, ANNA))
    assert len(await whole(node, ANNA)) == 2


async def test_who_was_removed_keeps_the_history(node: Node, session: SessionId) -> None:
    await node.do(session, join(ANNA), consent(ANNA), remove(ANNA))
    assert [kind for _, _, kind in places(await whole(node, ANNA))] == ["recording_consent_granted"]


async def test_sessions_without_consent_do_not_hide_those_behind_them(world: World, node: Node) -> None:
    expected = []
    for number in range(PAGE_SESSIONS + 10):
        session = await world.open_session(node, [ANNA])
        await node.do(session, join(ANNA))
        if number % 20 == 7 or number == PAGE_SESSIONS + 9:
            await node.do(session, consent(ANNA), revoke(ANNA))
            expected += [session, session]
    for limit in (1, 2, 3, 100):
        assert [session for session, _, _ in places(await whole(node, ANNA, limit))] == expected


async def test_a_history_is_as_long_as_its_heads_say(world: World, node: Node, session: SessionId) -> None:
    other = await world.open_session(node, [ANNA])
    await node.do(session, join(ANNA), consent(ANNA), join(BEN), consent(BEN))
    await node.do(other, join(ANNA))
    history = await soon(node.consents.history(ANNA))
    assert places(list(history.items)) == [(session, 3, "recording_consent_granted")]
    assert history.exported_at == world.clock.now()
    for session_id, head in history.sessions:
        commits = await world.journal.read(session_id)
        assert (head.seq, head.hash, head.commits) == (commits[-1].last_seq, commits[-1].hash, len(commits))
    assert [session_id for session_id, _ in history.sessions] == sorted([session, other])
    assert (await soon(node.consents.history(CLEO))).sessions == []


async def test_what_is_written_while_it_is_gathered_is_left_out(
    world: World, node: Node, session: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items are complete up to the head: not less, and not more either."""
    await node.do(session, join(ANNA), consent(ANNA))
    genuine = world.journal.head

    async def head(session_id: SessionId) -> object:
        found = await genuine(session_id)
        await node.do(session, revoke(ANNA))
        return found

    monkeypatch.setattr(world.journal, "head", head)
    history = await soon(node.consents.history(ANNA))
    assert [item.event.seq for item in history.items] == [3]
    ((_, found),) = history.sessions
    assert found.seq == 3


@pytest.mark.parametrize("what", ["journal", "documents"])
async def test_a_database_that_is_away_is_said_to_be(world: World, node: Node, session: SessionId, what: str) -> None:
    await node.do(session, join(ANNA), consent(ANNA))
    if what == "journal":
        await node.projector.flush()
        node.line.is_cut = True
    else:
        world.projections.is_cut = True
    for work in (node.consents.page(ANNA, None, 10), node.consents.history(ANNA)):
        with pytest.raises(UnavailableError):
            await soon(work)
    node.line.is_cut = world.projections.is_cut = False
    assert len(await whole(node, ANNA)) == 1
