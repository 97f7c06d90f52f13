"""How long commands gather before a flush: where many wait for a slow database, or a fast one is asked all the time."""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pytest

from coordinator.domain.ids import CommitId
from coordinator.domain.ledger import Commit
from coordinator.services.pace import Pace
from tests.domain.story import media, user
from tests.services.harness import World, soon

LONG, MANY, ROOMS = 0.04, 200, 20


@pytest.mark.parametrize(
    ("lasted", "commands", "since", "window"),
    [
        pytest.param(LONG, MANY, 0.0, LONG / 8, id="a long flush for many: the next one waits for them"),
        pytest.param(LONG, MANY, LONG / 2, LONG / 8, id="also a little later"),
        pytest.param(LONG, MANY, LONG * 1.01, 0.0, id="nobody has come meanwhile: no need to wait"),
        pytest.param(LONG, 40, 0.0, 0.0, id="a long flush for few"),
        pytest.param(0.004, MANY, 0.0, 0.0, id="a short flush"),
        pytest.param(0.0005, 1, 0.0, 0.001, id="a very short flush: as long again, twice"),
        pytest.param(0.0005, 1, 0.0005, 0.0005, id="a part of that has passed"),
        pytest.param(0.0005, 1, 0.001, 0.0, id="all of it has passed: who writes now and then never waits"),
        pytest.param(0.0015, 1, 0.0, 0.0005, id="a longer one, but no longer than two milliseconds together"),
        pytest.param(0.002, 1, 0.0, 0.0, id="one that took all of these"),
        pytest.param(0.001, 4, 0.0, 0.005, id="a very short one of several commands: as long again, five times"),
        pytest.param(0.001, 3, 0.0, 0.001, id="a very short one of a few"),
        pytest.param(0.001, 4, 0.005, 0.0, id="all of these six have passed"),
        pytest.param(0.0002, 4, 0.0, 0.001, id="several commands, and a database that takes hardly any time"),
        pytest.param(0.002, 4, 0.0, 0.004, id="no longer than six milliseconds together"),
        pytest.param(0.003, 4, 0.0, 0.001, id="several commands, but a database that takes longer"),
        pytest.param(0.0, 1, 0.0, 0.0, id="a database that takes no time"),
    ],
)
def test_the_window(lasted: float, commands: int, since: float, window: float) -> None:
    pace = Pace()
    assert pace.window(7.0) == 0.0
    pace.note(began=7.0, ended=7.0 + lasted, commands=commands)
    assert pace.window(7.0 + lasted + since) == pytest.approx(window, abs=1e-9)


async def test_who_comes_back_right_after_a_long_flush_shares_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = world.node("a0", require_registration=False)
    users = [user(number) for number in range(8)]
    sessions = [await world.open_session(node, users[:2]) for _ in range(ROOMS)]
    clients = [client for session in sessions for client in await node.joined(session, *users)]
    append = node.line.append

    async def slow(commits: Sequence[Commit]) -> AbstractSet[CommitId]:
        await world.clock.sleep(LONG)
        return await append(commits)

    monkeypatch.setattr(node.line, "append", slow)
    node.line.appends.clear()
    acks: list[asyncio.Future[int]] = []

    async def toggle(some: int) -> None:
        for client in clients[some::2]:
            room = await node.room(client.session)
            on = not (room.state and room.state.participants[client.user_id].camera_enabled)
            command = media(client.user_id, camera=on, via=client.connection_id)
            acks.append(node.rooms.submit(room, command))

    await toggle(0)
    await world.settle()
    await toggle(1)  # too late for the flush that is under way
    await world.clock.advance(LONG)
    await toggle(0)  # a moment after they were answered
    await world.clock.advance(LONG / 8 + LONG)
    await soon(asyncio.gather(*acks))
    assert [[len(commit.events) for commit in commits] for commits in node.line.appends] == [[4] * ROOMS, [8] * ROOMS]
