"""The bus between nodes: what its docstring promises, in memory, over Redis and over a cluster of Redis."""

import asyncio
from typing import Any

import pytest

from coordinator.domain.ids import ConnectionId, SessionId
from coordinator.ports.bus import BusOutOfReachError, RelayedSignal
from tests.contracts.bus_ends import End, Place, ends, until
from tests.contracts.making import CLEO, EVERY_KIND, chain, commit, new_session_id
from tests.domain.story import ANNA, BEN, running


def signal(session_id: SessionId, data: Any = "offer") -> RelayedSignal:
    return RelayedSignal(session_id=session_id, to=ConnectionId("node-1"), sender=CLEO, data=data)


async def test_all_who_follow_hear_everything_in_order(place: Place) -> None:
    async with ends(place, 3) as (writer, near, far):
        session_id = new_session_id()
        await near.follow(session_id)
        await far.follow(session_id)
        commits = chain(session_id, [1 + number % 5 for number in range(300)])
        for first in range(0, 300, 7):
            writer.bus.publish(commits[first : first + 7])
        await near.hears(*commits)
        await far.hears(*commits)


async def test_a_commit_arrives_as_it_was_sealed_whatever_it_tells(place: Place) -> None:
    commits = running(ANNA, BEN, recording=True, consenting=[ANNA]).sealed()
    assert any(sealed.event.salt for item in commits for sealed in item.events)
    every_kind = commit(new_session_id(), EVERY_KIND)
    async with ends(place, 2) as (writer, reader):
        await reader.follow(commits[0].session_id, every_kind.session_id)
        writer.bus.publish([*commits, every_kind])
        await reader.hears(*commits, every_kind)


@pytest.mark.parametrize(
    "data",
    [
        {"type": "offer", "sdp": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n", "é\u2028🎙": [1, -2.5, True, None, {}]},
        "x" * 100_000,
        2**80,
        None,
        [],
    ],
    ids=["an offer", "large", "a large number", "null", "empty"],
)
async def test_signals_arrive_as_they_are(place: Place, data: Any) -> None:
    async with ends(place, 2) as (writer, reader):
        session_id = new_session_id()
        await reader.follow(session_id)
        writer.bus.publish([signal(session_id, data)])
        await reader.hears(signal(session_id, data))


async def test_commits_and_signals_keep_their_order(place: Place) -> None:
    async with ends(place, 2) as (writer, reader):
        session_id = new_session_id()
        await reader.follow(session_id)
        hints = [hint for item in chain(session_id, [1] * 20) for hint in (signal(session_id, item.seq), item)]
        writer.bus.publish(hints)
        await reader.hears(*hints)


async def test_nobody_hears_what_it_says_itself(place: Place) -> None:
    async with ends(place, 2) as (one, other):
        session_id = new_session_id()
        await one.follow(session_id)
        await other.follow(session_id)
        said, answered = chain(session_id, [1, 1])
        one.bus.publish([said])
        await other.hears(said)
        other.bus.publish([answered])
        await one.hears(answered)
        assert other.ear.hints == [said]


async def test_only_what_is_followed_is_heard(place: Place) -> None:
    async with ends(place, 2) as (writer, reader):
        foreign, left, followed = (commit(new_session_id()) for _ in range(3))
        await reader.follow(left.session_id, followed.session_id)
        reader.bus.unfollow(left.session_id)
        assert not reader.bus.is_live(left.session_id)
        writer.bus.publish([foreign, left, followed])
        await reader.hears(followed)


async def test_a_session_is_live_once_it_is_followed(place: Place) -> None:
    async with ends(place, 1) as (reader,):
        session_id = new_session_id()
        assert not reader.bus.is_live(session_id)
        reader.bus.follow(session_id)
        reader.bus.follow(session_id)
        assert not reader.bus.is_live(session_id)
        await reader.live(session_id)
        reader.bus.follow(session_id)
        await reader.follow(new_session_id())
        assert reader.ear.lives.count(session_id) == 1
        reader.bus.unfollow(session_id)
        reader.bus.unfollow(session_id)
        assert not reader.bus.is_live(session_id)


async def test_what_is_followed_before_the_bus_runs_comes_to_life_with_it(place: Place) -> None:
    bus = place.bus()
    session_id = new_session_id()
    bus.follow(session_id)
    bus.publish([commit(session_id)])
    ups = [bus.is_up]
    end = End(bus)
    await end.live(session_id)
    ups.append(bus.is_up)
    await end.stop()
    ups.append(bus.is_up)
    assert ups == [False, True, False]
    assert not bus.is_live(session_id)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_who_follows_again_at_once_is_live_once(place: Place, turns: int) -> None:
    async with ends(place, 2) as (writer, reader):
        session_id = new_session_id()
        reader.bus.follow(session_id)
        for _ in range(turns):
            await asyncio.sleep(0)
        lives = len(reader.ear.lives)
        reader.bus.unfollow(session_id)
        reader.bus.follow(session_id)
        await reader.live(session_id)
        # What is confirmed after it has been asked for after it.
        await reader.follow(new_session_id())
        await reader.follow(new_session_id())
        assert reader.ear.lives[lives:].count(session_id) == 1
        writer.bus.publish([commit(session_id)])
        await reader.ear.until(lambda: len(reader.ear.hints) == 1)


async def test_who_follows_again_is_told_that_something_may_have_been_missed(place: Place) -> None:
    async with ends(place, 2) as (writer, reader):
        session_id = new_session_id()
        missed, heard = chain(session_id, [1, 1])
        await reader.follow(session_id)
        reader.bus.unfollow(session_id)
        writer.bus.publish([missed])
        await writer.follow(session_id)
        reader.bus.follow(session_id)
        await reader.ear.until(lambda: reader.ear.lives == [session_id, session_id])
        writer.bus.publish([heard])
        await reader.ear.until(lambda: heard in reader.ear.hints)


async def test_minds_may_change_all_the_time(place: Place) -> None:
    async with ends(place, 2) as (writer, reader):
        sessions = [new_session_id() for _ in range(40)]
        for number in range(2_000):
            change = reader.bus.unfollow if number % 3 == 1 else reader.bus.follow
            change(sessions[number * 7 % 40])
            if number % 5 == 0:
                await asyncio.sleep(0)
        for session_id in sessions[:20]:
            reader.bus.follow(session_id)
        for session_id in sessions[20:]:
            reader.bus.unfollow(session_id)
        await reader.live(*sessions[:20])
        commits = [commit(session_id) for session_id in reversed(sessions)]
        writer.bus.publish(commits)
        await reader.hears(*commits[20:])


async def test_thousands_of_sessions_are_followed(place: Place) -> None:
    async with ends(place, 2) as (writer, reader):
        sessions = [new_session_id() for _ in range(2_000)]
        await reader.follow(*sessions)
        assert sorted(reader.ear.lives) == sorted(sessions)
        commits = [commit(session_id) for session_id in sessions]
        writer.bus.publish(commits)
        await reader.hears(*commits)


async def test_after_an_interruption_everything_followed_is_live_again(fragile_place: Place) -> None:
    async with ends(fragile_place, 2) as (writer, reader):
        sessions = [new_session_id() for _ in range(20)]
        await reader.follow(*sessions)
        fragile_place.go_down()
        await until(lambda: not reader.bus.is_up and not writer.bus.is_up)
        assert not any(map(reader.bus.is_live, sessions))
        late = new_session_id()
        reader.bus.follow(late)
        reader.bus.unfollow(sessions[0])
        writer.bus.publish([commit(late), signal(sessions[1])])
        reader.ear.lives.clear()
        fragile_place.come_up()
        await reader.live(*sessions[1:], late)
        assert sorted(reader.ear.lives) == sorted([*sessions[1:], late])
        await until(lambda: writer.bus.is_up)
        again = [commit(session_id) for session_id in (*sessions, late)]
        writer.bus.publish(again)
        await reader.hears(*again[1:])


async def test_who_has_never_reached_the_bus_does_so_when_it_is_there(fragile_place: Place) -> None:
    fragile_place.go_down()
    end = End(fragile_place.bus())
    session_id = new_session_id()
    end.bus.follow(session_id)
    with pytest.raises(BusOutOfReachError):
        await end.bus.ping()
    end.bus.publish([commit(session_id)])
    assert not end.bus.is_up
    assert not end.running.done()
    fragile_place.come_up()
    await end.live(session_id)
    await end.stop()


async def test_a_ping_tells_whether_the_bus_is_there(fragile_place: Place) -> None:
    alone = fragile_place.bus()
    await alone.ping()
    async with ends(fragile_place, 1) as (end,):
        await end.bus.ping()
        fragile_place.go_down()
        for bus in (alone, end.bus):
            with pytest.raises(BusOutOfReachError):
                await bus.ping()
        await until(lambda: not end.bus.is_up)
        fragile_place.come_up()
        await until(lambda: end.bus.is_up)
        await end.bus.ping()
        await alone.ping()
