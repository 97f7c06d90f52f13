"""The bus over one Redis: servers that stand still, connections that are cut, messages and servers of other kinds."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from coordinator.adapters.redis.bus import RedisBus
from coordinator.adapters.redis.link import ANSWER_SECONDS
from coordinator.adapters.redis.outbox import MAX_WAITING_BYTES, MAX_WAITING_MESSAGES
from coordinator.domain.ids import ConnectionId, NodeId, SessionId
from coordinator.ports.bus import Hint, RelayedSignal
from tests.contracts.bus_ends import End, RedisPlace, ends, until
from tests.contracts.making import ANNA, chain, commit, new_session_id
from tests.redis_server import RedisProcess, redis_process, server_url

NOTICED_SECONDS = 3.0
"""How soon a server that stands still is to be noticed."""


@pytest.fixture
def server() -> Iterator[RedisProcess]:
    with redis_process() as found:
        yield found


@pytest.fixture
def place(server: RedisProcess) -> RedisPlace:
    return RedisPlace(server.url, server)


def channel(place: RedisPlace, session_id: SessionId) -> str:
    return f"{place.prefix}:session:{session_id}"


async def test_a_server_that_stands_still_is_noticed_and_found_again(server: RedisProcess, place: RedisPlace) -> None:
    async with ends(place, 2) as (writer, reader):
        sessions = [new_session_id() for _ in range(3)]
        await reader.follow(*sessions)
        reader.ear.lives.clear()
        server.suspend()
        began = time.monotonic()
        await until(lambda: not reader.bus.is_up and not writer.bus.is_up)
        assert time.monotonic() - began < NOTICED_SECONDS + 2.0, "even on a busy machine"
        assert not any(map(reader.bus.is_live, sessions))
        writer.bus.publish([commit(sessions[0])])
        server.resume()
        await reader.live(*sessions)
        assert sorted(reader.ear.lives) == sessions
        await until(lambda: writer.bus.is_up)
        again = commit(sessions[1])
        writer.bus.publish([again])
        await reader.ear.until(lambda: again in reader.ear.hints)


@pytest.mark.parametrize(("size", "most"), [(1, MAX_WAITING_MESSAGES), (1_000_000, MAX_WAITING_BYTES // 1_000_000 + 1)])
async def test_what_waits_while_a_server_stands_still_is_bounded(
    server: RedisProcess, place: RedisPlace, size: int, most: int
) -> None:
    async with ends(place, 1) as (writer,):
        hint = RelayedSignal(session_id=new_session_id(), to=ConnectionId("n-1"), sender=ANNA, data="x" * size)
        server.suspend()
        with capture_logs() as logged:
            writer.bus.publish([hint] * (most - 3))
            await asyncio.sleep(0)
            writer.bus.publish([hint] * 3)
            assert not logged
            writer.bus.publish([hint] * 1_000)
        assert [entry["event"] for entry in logged] == ["hints_not_sent"], "a thousand warnings would be no help"
        assert logged[0]["log_level"] == "warning"


async def test_a_connection_that_is_cut_is_made_again(server: RedisProcess, place: RedisPlace) -> None:
    async with ends(place, 2) as (writer, reader):
        session_id = new_session_id()
        await reader.follow(session_id)
        for item in chain(session_id, [1, 1, 1]):
            lives = len(reader.ear.lives)
            with server.client() as client:
                assert client.client_kill_filter(_type="pubsub") == 1
            await reader.ear.until(lambda seen=lives: len(reader.ear.lives) == seen + 1)  # type: ignore[misc]
            writer.bus.publish([item])
            await reader.ear.until(lambda wanted=item: wanted in reader.ear.hints)  # type: ignore[misc]


async def test_what_cannot_be_read_is_dropped_with_a_warning(server: RedisProcess, place: RedisPlace) -> None:
    async with ends(place, 2) as (writer, reader):
        session_id = new_session_id()
        await reader.follow(session_id)
        with server.client() as client, capture_logs() as logged:
            for message in (
                b"",
                b"\xff\xfe",
                b"node commit/1 {",
                b"node commit/2 {}",
                b"node-0 signal/1 [[[[",
                b"a b c",
            ):
                assert client.publish(channel(place, session_id), message) == 1
            item = commit(session_id)
            writer.bus.publish([item])
            await reader.hears(item)
        warnings = [entry for entry in logged if entry["event"] == "hints_not_read"]
        assert [entry["log_level"] for entry in warnings] == ["warning"]
        assert warnings[0]["session"] == session_id


async def test_a_signal_that_cannot_be_sent_is_dropped_with_a_warning(place: RedisPlace) -> None:
    async with ends(place, 2) as (writer, reader):
        session_id = new_session_id()
        await reader.follow(session_id)
        with capture_logs() as logged:
            writer.bus.publish(
                [
                    RelayedSignal(session_id=session_id, to=ConnectionId("n-1"), sender=ANNA, data=object()),
                    item := commit(session_id),
                ]
            )
            await reader.hears(item)
        assert [entry["event"] for entry in logged] == ["hints_not_sent"]


async def test_those_with_different_prefixes_do_not_hear_each_other() -> None:
    here, there = RedisPlace(server_url()), RedisPlace(server_url())
    async with ends(here, 2) as (writer, reader), ends(there, 2) as (other_writer, other_reader):
        session_id = new_session_id()
        await reader.follow(session_id)
        await other_reader.follow(session_id)
        one, other = commit(session_id), commit(session_id)
        writer.bus.publish([one])
        await reader.hears(one)
        other_writer.bus.publish([other])
        await other_reader.hears(other)
        assert reader.ear.hints == [one]


async def test_everything_goes_through_one_connection_that_is_gone_afterwards(
    server: RedisProcess, place: RedisPlace
) -> None:
    async with ends(place, 1) as (end,):
        await end.follow(*(new_session_id() for _ in range(10)))
        end.bus.publish([commit(new_session_id())])
        await end.bus.ping()
        with server.client() as client:
            names = [item["name"] for item in client.client_list()]
            assert [name for name in names if name] == [name for name in names if name.startswith(place.prefix)]
            assert len(names) == 2, "its own, and the one that looks"
    with server.client() as client:
        assert len(client.client_list()) == 1


async def test_a_listener_that_fails_costs_an_interruption_and_no_more(place: RedisPlace) -> None:
    async with ends(place, 2) as (writer, reader):
        session_id = new_session_id()
        await reader.follow(session_id)
        hear, failures = reader.ear.heard, []

        def fail(hint: Hint) -> None:
            failures.append(hint)
            reader.ear.heard = hear  # type: ignore[method-assign]
            raise ArithmeticError("a mistake")

        reader.ear.heard = fail  # type: ignore[method-assign]
        first, second = chain(session_id, [1, 1])
        writer.bus.publish([first])
        await reader.ear.until(lambda: len(reader.ear.lives) == 2)
        assert failures == [first]
        writer.bus.publish([second])
        await reader.hears(second)


async def test_a_socket_in_the_file_system_will_do(tmp_path: Path) -> None:
    with redis_process("--unixsocket", str(tmp_path / "redis.sock")):
        place = RedisPlace(f"unix://{tmp_path}/redis.sock")
        await place.bus().ping()
        async with ends(place, 2) as (writer, reader):
            item = commit(new_session_id())
            await reader.follow(item.session_id)
            writer.bus.publish([item])
            await reader.hears(item)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_it_may_be_stopped_at_any_moment(
    server: RedisProcess, place: RedisPlace, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(stop_at_any_moment(server, place))


async def stop_at_any_moment(server: RedisProcess, place: RedisPlace) -> None:
    durations = [await stop_after(turns, place) for turns in range(40)]
    server.suspend()
    try:
        durations += [await stop_after(turns, place) for turns in range(10)]
    finally:
        server.resume()
    assert len([seconds for seconds in durations if seconds >= ANSWER_SECONDS]) < 2, durations
    with server.client() as client:
        await until(lambda: len(client.client_list()) == 1)


async def stop_after(turns: int, place: RedisPlace) -> float:
    """Start an end and stop it after so many turns of the event loop; return how many seconds the stopping took."""
    end = End(place.bus())
    end.bus.follow(new_session_id())
    for _ in range(turns):
        await asyncio.sleep(0)
    began = time.monotonic()
    await end.stop()
    assert not end.bus.is_up
    return time.monotonic() - began


async def test_a_burst_of_followers_is_one_command(server: RedisProcess, place: RedisPlace) -> None:
    async with ends(place, 1) as (end,):
        await end.follow(*(new_session_id() for _ in range(100)))
        with server.client() as client:
            calls = client.info("commandstats")["cmdstat_subscribe"]["calls"]
        assert calls <= 2


async def test_messages_that_wait_travel_together(server: RedisProcess, place: RedisPlace) -> None:
    async with ends(place, 2) as (writer, reader):
        session_id = new_session_id()
        await reader.follow(session_id)
        with server.client() as client:
            before = client.info("stats")["total_reads_processed"]
            commits = chain(session_id, [1] * 500)
            for item in commits:
                writer.bus.publish([item])
            await reader.hears(*commits)
            reads = client.info("stats")["total_reads_processed"] - before
        assert reads < 100


async def test_one_bus_may_be_run_again_after_it_was_stopped(place: RedisPlace) -> None:
    bus = RedisBus(place.url, NodeId("again"), place.prefix)
    session_id = new_session_id()
    for _ in range(2):
        end = End(bus)
        await end.follow(session_id)
        assert end.ear.lives == [session_id]
        await end.stop()
