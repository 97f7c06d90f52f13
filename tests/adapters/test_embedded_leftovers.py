"""The embedded database where others are or were: killed coordinators, what they leave, and directories in use."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from coordinator.adapters.mongo.embedded import EmbeddedServer, EmbeddedServerError, running_url
from tests.adapters.embedded import PATIENCE_SECONDS, gone, insert, kill, recorded, running, stored

# A coordinator reduced to what matters here: it starts the database, says so, and waits until it is killed.
_COORDINATOR = """
import asyncio, sys
from pathlib import Path
import uvloop
from coordinator.adapters.mongo.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]), durable=False)
    print(await server.start(), file=sys.stderr, flush=True)
    await asyncio.Event().wait()

{"asyncio": asyncio.run, "uvloop": uvloop.run}[sys.argv[2]](main())
"""


@contextmanager
def _other_coordinator(data_dir: Path, loop: str = "asyncio") -> Iterator[subprocess.Popen[str]]:
    """Runs a coordinator in a process of its own and hands it over once its database answers."""
    command = [sys.executable, "-c", _COORDINATOR, str(data_dir), loop]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("mongodb://")
            yield process
        finally:
            process.kill()


@contextmanager
def _left_behind(data_dir: Path) -> Iterator[psutil.Process]:
    """Runs a database that nothing ties to a coordinator, as on a system where the kernel does not end it."""
    config = data_dir / "database.toml"
    config.touch()
    executable = str(Path(sys.executable).with_name("secantusd-py"))
    command = [executable, "--config", str(config), "--port", "0", "--storage-path", str(data_dir / "database")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("listening on" in line for line in process.stderr)
            yield psutil.Process(process.pid)
        finally:
            process.kill()


@contextmanager
def _bystander(command: list[str]) -> Iterator[psutil.Process]:
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield psutil.Process(process.pid)
        process.communicate(b"\n")


def _write_record(data_dir: Path, database: psutil.Process, coordinator: dict[str, Any]) -> None:
    record = {"database": _identity(database), "coordinator": coordinator, "url": "mongodb://127.0.0.1:1"}
    (data_dir / "database.json").write_text(json.dumps(record))


def _identity(process: psutil.Process) -> dict[str, Any]:
    return {"pid": process.pid, "create_time": process.create_time()}


def _dead_process() -> dict[str, Any]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = _identity(psutil.Process(process.pid))
        process.communicate(b"\n")
        return identity


# The coordinator dies.


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process on the death of its parent")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_the_server_ends_with_a_killed_coordinator(tmp_path: Path, loop: str) -> None:
    with _other_coordinator(tmp_path, loop) as coordinator:
        database = recorded(tmp_path)
        coordinator.kill()
        coordinator.wait(PATIENCE_SECONDS)
        await gone(database)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process on the death of its parent")
async def test_a_restarted_server_ends_with_a_killed_coordinator_too(tmp_path: Path) -> None:
    with _other_coordinator(tmp_path) as coordinator:
        url = running_url(tmp_path)
        assert url is not None
        await kill(recorded(tmp_path))
        assert await asyncio.to_thread(stored, url) == set()
        database = recorded(tmp_path)
        coordinator.kill()
        coordinator.wait(PATIENCE_SECONDS)
        await gone(database)


async def test_the_next_start_works_right_after_the_coordinator_was_killed(tmp_path: Path) -> None:
    with _other_coordinator(tmp_path) as coordinator:
        url = running_url(tmp_path)
        assert url is not None
        await asyncio.to_thread(insert, url, "a")
        coordinator.kill()
        coordinator.wait(PATIENCE_SECONDS)
        async with running(tmp_path) as server:
            assert await asyncio.to_thread(stored, server.url) == {"a"}


async def test_the_next_start_ends_a_leftover_that_still_runs(tmp_path: Path) -> None:
    with _left_behind(tmp_path) as leftover:
        _write_record(tmp_path, leftover, _dead_process())
        assert running_url(tmp_path) is None
        async with running(tmp_path):
            assert not leftover.is_running()
            assert recorded(tmp_path).pid != leftover.pid


async def test_a_leftover_that_does_not_heed_the_request_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.adapters.mongo.process_record._END_SECONDS", 0.5)
    with _left_behind(tmp_path) as leftover:
        leftover.suspend()
        _write_record(tmp_path, leftover, _dead_process())
        async with running(tmp_path):
            assert not leftover.is_running()


async def test_a_leftover_is_not_ended_while_its_coordinator_lives(tmp_path: Path) -> None:
    coordinator = psutil.Process(os.getppid())
    with _left_behind(tmp_path) as leftover:
        _write_record(tmp_path, leftover, _identity(coordinator))
        with pytest.raises(EmbeddedServerError, match=rf"in use by another coordinator \(process {coordinator.pid}\)"):
            await EmbeddedServer(tmp_path, durable=False).start()
        assert leftover.is_running()
        assert running_url(tmp_path) == "mongodb://127.0.0.1:1"


@pytest.mark.parametrize("seconds_later", [0, 3600], ids=["another program", "another start time"])
async def test_a_process_that_has_the_recorded_id_by_chance_is_left_alone(tmp_path: Path, seconds_later: int) -> None:
    command = [sys.executable, "-c", "input()"]
    if seconds_later:  # then the command line alone would be convincing
        command += ["secantusd-py", str(tmp_path / "database")]
    with _bystander(command) as bystander:
        identity = _identity(bystander)
        identity["create_time"] += seconds_later
        record = {"database": identity, "coordinator": _dead_process()}
        (tmp_path / "database.json").write_text(json.dumps(record))
        async with running(tmp_path):
            assert bystander.status() != psutil.STATUS_ZOMBIE


# The directory is in use.


async def test_a_directory_in_use_is_refused_and_its_server_left_alone(tmp_path: Path) -> None:
    with _other_coordinator(tmp_path) as coordinator:
        url = running_url(tmp_path)
        with pytest.raises(EmbeddedServerError, match=rf"in use by another coordinator \(process {coordinator.pid}\)"):
            await EmbeddedServer(tmp_path, durable=False).start()
        assert url is not None
        assert running_url(tmp_path) == url


async def test_a_directory_in_use_by_this_process_is_refused_too(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        with pytest.raises(EmbeddedServerError, match=f"process {os.getpid()}"):
            await EmbeddedServer(tmp_path, durable=False).start()
        assert running_url(tmp_path) == server.url


async def test_of_two_simultaneous_starts_one_succeeds(tmp_path: Path) -> None:
    servers = [EmbeddedServer(tmp_path, durable=False) for _ in range(2)]
    results = await asyncio.gather(*(server.start() for server in servers), return_exceptions=True)
    assert [type(result) for result in results] == [str, EmbeddedServerError]
    assert running_url(tmp_path) == results[0]
    await asyncio.gather(*(server.stop() for server in servers))


async def test_files_held_by_an_unknown_process_are_an_error_that_names_it(tmp_path: Path) -> None:
    with _left_behind(tmp_path) as holder:
        with pytest.raises(EmbeddedServerError, match=rf"another process .* open \(process {holder.pid}\)") as caught:
            await EmbeddedServer(tmp_path, durable=False, start_timeout_seconds=6).start()
        assert "WiredTigerError: Device or resource busy" in str(caught.value)
        assert holder.is_running()


async def test_files_that_become_free_in_time_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _left_behind(tmp_path) as holder:

        def name_and_end(_storage: Path) -> list[int]:  # asked for after each attempt that failed
            if not asked:
                holder.terminate()  # once: the server starts its farewell anew at every request
            asked.append(True)
            return [holder.pid]

        asked: list[bool] = []

        monkeypatch.setattr("coordinator.adapters.mongo.embedded.find_databases", name_and_end)
        async with running(tmp_path):
            assert not holder.is_running() or holder.status() == psutil.STATUS_ZOMBIE
