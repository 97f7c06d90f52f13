"""The embedded database, with real processes: it starts, it stops, and it survives its own death."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pymongo
import pytest
import uvloop
from motor.motor_asyncio import AsyncIOMotorClient

from coordinator.adapters.mongo.embedded import EmbeddedServer, running_url
from tests.adapters.embedded import DURABLE, connected, databases_on, gone, insert, kill, recorded, running, stored

# The ordinary course.


async def test_a_started_server_answers_and_a_stopped_one_is_gone(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, durable=False)
    url = await server.start()
    process = recorded(tmp_path)
    assert url == server.url
    assert url.startswith("mongodb://127.0.0.1:")
    assert url.endswith("/?directConnection=true&serverSelectionTimeoutMS=2000&retryWrites=false")

    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(url)
    assert (await client.admin.command("ping"))["ok"] == 1
    client.close()

    await server.stop()
    assert not process.is_running()
    assert not (tmp_path / "database.json").exists()
    await server.stop()


def test_it_runs_on_uvloop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as server:
            await asyncio.to_thread(insert, server.url, "a")
            await kill(recorded(tmp_path))
            assert await asyncio.to_thread(stored, server.url) == {"a"}
        assert databases_on(tmp_path) == []

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_data_survives_stop_and_start_of_the_same_object(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, durable=False)
    await asyncio.to_thread(insert, await server.start(), "a", "b")
    await server.stop()
    assert await asyncio.to_thread(stored, await server.start()) == {"a", "b"}
    await server.stop()


async def test_stopping_twice_at_once_waits_for_the_same_end(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, durable=False)
    await server.start()
    await asyncio.gather(server.stop(), server.stop())
    assert databases_on(tmp_path) == []
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.url


async def test_starting_twice_is_a_mistake_without_consequences(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        with pytest.raises(RuntimeError, match="started already"):
            await server.start()
        assert await asyncio.to_thread(stored, server.url) == set()


async def test_a_start_on_another_thread_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(lambda: asyncio.run(EmbeddedServer(tmp_path).start()))


async def test_the_running_url_is_known_only_while_the_server_runs(tmp_path: Path) -> None:
    assert running_url(tmp_path / "missing") is None
    assert running_url(tmp_path) is None
    async with running(tmp_path) as server:
        assert running_url(tmp_path) == server.url
        assert running_url(tmp_path / ".." / tmp_path.name) == server.url
    assert running_url(tmp_path) is None


async def test_ctrl_c_in_a_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    async with running(tmp_path):
        pid = recorded(tmp_path).pid
        assert os.getsid(pid) == pid
        assert os.getsid(0) != pid


# The server dies.


async def test_a_server_that_dies_is_back_on_the_same_port_with_its_data(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        url = server.url
        await asyncio.to_thread(insert, url, "a")
        for _ in range(2):
            killed = recorded(tmp_path)
            await kill(killed)
            assert await asyncio.to_thread(stored, url) == {"a"}
            assert recorded(tmp_path).pid != killed.pid
        assert server.url == url


async def test_stop_during_a_restart_leaves_nothing_running(tmp_path: Path) -> None:
    async with running(tmp_path):
        await kill(recorded(tmp_path))
    assert databases_on(tmp_path) == []
    assert not (tmp_path / "database.json").exists()


async def test_an_acknowledged_write_survives_the_death_of_the_server(tmp_path: Path) -> None:
    def write_and_kill(url: str, name: str) -> None:
        with connected(url) as client:
            things = client.get_database("test", write_concern=DURABLE)["things"]
            for number in range(5):
                things.insert_many([{"_id": f"{name}-{number}-{letter}"} for letter in "abc"])
            # The one kind of write that the server does not sync for the sake of the write concern alone comes last.
            last = pymongo.InsertOne({"_id": f"{name}-last"}, namespace="test.things")
            client.bulk_write([last], write_concern=DURABLE)
            recorded(tmp_path).kill()

    async with running(tmp_path, durable=True) as server:
        expected: set[str] = set()
        for name in ("1", "2", "3", "4"):
            killed = recorded(tmp_path)
            await asyncio.to_thread(write_and_kill, server.url, name)
            await gone(killed)
            expected |= {f"{name}-{number}-{letter}" for number in range(5) for letter in "abc"} | {f"{name}-last"}
            assert await asyncio.to_thread(stored, server.url) == expected


async def test_a_durable_server_cannot_be_made_a_fast_one_by_accident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECANTUS_TEST_FAST_STORAGE", "1")
    async with running(tmp_path, durable=True):
        process = recorded(tmp_path)
        assert "SECANTUS_TEST_FAST_STORAGE" not in process.environ()
        assert "--sync-on-commit" in process.cmdline()
