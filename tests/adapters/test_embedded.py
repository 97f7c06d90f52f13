"""The embedded database, with real processes: it starts, it stops, it survives, and it leaves nothing behind."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pymongo
import pytest
import uvloop
from motor.motor_asyncio import AsyncIOMotorClient

from coordinator.adapters.mongo.embedded import EmbeddedServer, EmbeddedServerError, running_url

_PATIENCE_SECONDS = 30.0
_DURABLE = pymongo.WriteConcern("majority", j=True)

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

_GARBLED_RECORDS = [
    b"",
    b"\xff\xfe",
    b"{",
    b"[]",
    b'{"database":{"pid":1,"create_time":"now"},"coordinator":{"pid":1,"create_time":0}}',
    b'{"database":{"pid":-5,"create_time":0},"coordinator":{"pid":0,"create_time":0},"url":"mongodb://x"}',
    b'{"database":{"pid":99999999999999999999,"create_time":0},"coordinator":{"pid":1,"create_time":0}}',
]


@asynccontextmanager
async def _running(data_dir: Path, *, durable: bool = False) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(data_dir, durable=durable)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextmanager
def _client(url: str) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    # Waiting for the server is the driver's business; the tests only say for how long.
    with pymongo.MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=int(_PATIENCE_SECONDS * 1000)) as client:
        yield client


def _insert(url: str, *names: str) -> None:
    with _client(url) as client:
        things = client.get_database("test", write_concern=_DURABLE)["things"]
        things.insert_many([{"_id": name} for name in names])


def _names(url: str) -> set[str]:
    with _client(url) as client:
        return {document["_id"] for document in client["test"]["things"].find()}


def _recorded(data_dir: Path) -> psutil.Process:
    return psutil.Process(json.loads((data_dir / "database.json").read_bytes())["database"]["pid"])


def _databases_on(data_dir: Path) -> list[int]:
    storage = str(data_dir / "database")
    return [process.pid for process in psutil.process_iter(["cmdline"]) if storage in (process.info["cmdline"] or [])]


async def _gone(process: psutil.Process) -> None:
    """Waits for the end of a process. Of a child, only looks at the status: taking it would deprive the event loop."""
    try:
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:  # the child of another process, or the event loop has seen its end already
        await asyncio.to_thread(process.wait, _PATIENCE_SECONDS)


async def _kill(process: psutil.Process) -> None:
    process.kill()
    await _gone(process)


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


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# The ordinary course.


async def test_a_started_server_answers_and_a_stopped_one_is_gone(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, durable=False)
    url = await server.start()
    process = _recorded(tmp_path)
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
        async with _running(tmp_path) as server:
            await asyncio.to_thread(_insert, server.url, "a")
            await _kill(_recorded(tmp_path))
            assert await asyncio.to_thread(_names, server.url) == {"a"}
        assert _databases_on(tmp_path) == []

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_data_survives_stop_and_start_of_the_same_object(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, durable=False)
    await asyncio.to_thread(_insert, await server.start(), "a", "b")
    await server.stop()
    assert await asyncio.to_thread(_names, await server.start()) == {"a", "b"}
    await server.stop()


async def test_stopping_twice_at_once_waits_for_the_same_end(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, durable=False)
    await server.start()
    await asyncio.gather(server.stop(), server.stop())
    assert _databases_on(tmp_path) == []
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.url


async def test_starting_twice_is_a_mistake_without_consequences(tmp_path: Path) -> None:
    async with _running(tmp_path) as server:
        with pytest.raises(RuntimeError, match="started already"):
            await server.start()
        assert await asyncio.to_thread(_names, server.url) == set()


async def test_a_start_on_another_thread_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(lambda: asyncio.run(EmbeddedServer(tmp_path).start()))


async def test_the_running_url_is_known_only_while_the_server_runs(tmp_path: Path) -> None:
    assert running_url(tmp_path / "missing") is None
    assert running_url(tmp_path) is None
    async with _running(tmp_path) as server:
        assert running_url(tmp_path) == server.url
        assert running_url(tmp_path / ".." / tmp_path.name) == server.url
    assert running_url(tmp_path) is None


async def test_ctrl_c_in_a_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    async with _running(tmp_path):
        pid = _recorded(tmp_path).pid
        assert os.getsid(pid) == pid
        assert os.getsid(0) != pid


# The server dies.


async def test_a_server_that_dies_is_back_on_the_same_port_with_its_data(tmp_path: Path) -> None:
    async with _running(tmp_path) as server:
        url = server.url
        await asyncio.to_thread(_insert, url, "a")
        for _ in range(2):
            killed = _recorded(tmp_path)
            await _kill(killed)
            assert await asyncio.to_thread(_names, url) == {"a"}
            assert _recorded(tmp_path).pid != killed.pid
        assert server.url == url


async def test_stop_during_a_restart_leaves_nothing_running(tmp_path: Path) -> None:
    async with _running(tmp_path):
        await _kill(_recorded(tmp_path))
    assert _databases_on(tmp_path) == []
    assert not (tmp_path / "database.json").exists()


async def test_an_acknowledged_write_survives_the_death_of_the_server(tmp_path: Path) -> None:
    def write_and_kill(url: str, name: str) -> None:
        with _client(url) as client:
            things = client.get_database("test", write_concern=_DURABLE)["things"]
            for number in range(5):
                things.insert_many([{"_id": f"{name}-{number}-{letter}"} for letter in "abc"])
            # The one kind of write that the server does not sync for the sake of the write concern alone comes last.
            last = pymongo.InsertOne({"_id": f"{name}-last"}, namespace="test.things")
            client.bulk_write([last], write_concern=_DURABLE)
            _recorded(tmp_path).kill()

    async with _running(tmp_path, durable=True) as server:
        expected: set[str] = set()
        for kill in ("1", "2", "3", "4"):
            killed = _recorded(tmp_path)
            await asyncio.to_thread(write_and_kill, server.url, kill)
            await _gone(killed)
            expected |= {f"{kill}-{number}-{letter}" for number in range(5) for letter in "abc"} | {f"{kill}-last"}
            assert await asyncio.to_thread(_names, server.url) == expected


async def test_a_durable_server_cannot_be_made_a_fast_one_by_accident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECANTUS_TEST_FAST_STORAGE", "1")
    async with _running(tmp_path, durable=True):
        process = _recorded(tmp_path)
        assert "SECANTUS_TEST_FAST_STORAGE" not in process.environ()
        assert "--sync-on-commit" in process.cmdline()


# The coordinator dies.


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process on the death of its parent")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_the_server_ends_with_a_killed_coordinator(tmp_path: Path, loop: str) -> None:
    with _other_coordinator(tmp_path, loop) as coordinator:
        database = _recorded(tmp_path)
        coordinator.kill()
        coordinator.wait(_PATIENCE_SECONDS)
        await _gone(database)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process on the death of its parent")
async def test_a_restarted_server_ends_with_a_killed_coordinator_too(tmp_path: Path) -> None:
    with _other_coordinator(tmp_path) as coordinator:
        url = running_url(tmp_path)
        assert url is not None
        await _kill(_recorded(tmp_path))
        assert await asyncio.to_thread(_names, url) == set()
        database = _recorded(tmp_path)
        coordinator.kill()
        coordinator.wait(_PATIENCE_SECONDS)
        await _gone(database)


async def test_the_next_start_works_right_after_the_coordinator_was_killed(tmp_path: Path) -> None:
    with _other_coordinator(tmp_path) as coordinator:
        url = running_url(tmp_path)
        assert url is not None
        await asyncio.to_thread(_insert, url, "a")
        coordinator.kill()
        coordinator.wait(_PATIENCE_SECONDS)
        async with _running(tmp_path) as server:
            assert await asyncio.to_thread(_names, server.url) == {"a"}


async def test_the_next_start_ends_a_leftover_that_still_runs(tmp_path: Path) -> None:
    with _left_behind(tmp_path) as leftover:
        _write_record(tmp_path, leftover, _dead_process())
        assert running_url(tmp_path) is None
        async with _running(tmp_path):
            assert not leftover.is_running()
            assert _recorded(tmp_path).pid != leftover.pid


async def test_a_leftover_that_does_not_heed_the_request_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.adapters.mongo.process_record._END_SECONDS", 0.5)
    with _left_behind(tmp_path) as leftover:
        leftover.suspend()
        _write_record(tmp_path, leftover, _dead_process())
        async with _running(tmp_path):
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
        async with _running(tmp_path):
            assert bystander.status() != psutil.STATUS_ZOMBIE


# The start is refused.


async def test_a_directory_in_use_is_refused_and_its_server_left_alone(tmp_path: Path) -> None:
    with _other_coordinator(tmp_path) as coordinator:
        url = running_url(tmp_path)
        with pytest.raises(EmbeddedServerError, match=rf"in use by another coordinator \(process {coordinator.pid}\)"):
            await EmbeddedServer(tmp_path, durable=False).start()
        assert url is not None
        assert running_url(tmp_path) == url


async def test_a_directory_in_use_by_this_process_is_refused_too(tmp_path: Path) -> None:
    async with _running(tmp_path) as server:
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
        async with _running(tmp_path):
            assert not holder.is_running() or holder.status() == psutil.STATUS_ZOMBIE


async def test_a_missing_server_is_an_error_that_says_what_to_install(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, executable=tmp_path / "nowhere")
    with pytest.raises(EmbeddedServerError, match=r"pip install 'conversation-coordinator\[embedded\]'"):
        await server.start()
    await server.stop()


async def test_a_server_that_ends_at_once_is_an_error_with_its_log(tmp_path: Path) -> None:
    broken = _script(tmp_path / "secantusd-broken", "echo the moon is in the wrong phase; exit 3")
    with pytest.raises(EmbeddedServerError, match="exit code 3") as caught:
        await EmbeddedServer(tmp_path / "data", executable=broken).start()
    assert "the moon is in the wrong phase" in str(caught.value)


async def test_a_server_that_never_answers_is_ended_and_is_an_error_with_its_log(tmp_path: Path) -> None:
    silent = _script(tmp_path / "secantusd-silent", "echo thinking as $$; exec sleep 600")
    with pytest.raises(EmbeddedServerError, match=r"did not answer within 1 seconds") as caught:
        await EmbeddedServer(tmp_path / "data", executable=silent, start_timeout_seconds=1).start()
    pid = int(str(caught.value).rpartition("thinking as ")[2])
    assert not psutil.pid_exists(pid)


async def test_a_cancelled_start_leaves_nothing_running(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await EmbeddedServer(tmp_path, durable=False).start()
    assert _databases_on(tmp_path) == []
    async with _running(tmp_path):
        pass


async def test_a_log_line_of_any_length_does_not_stop_the_server(tmp_path: Path) -> None:
    talkative = _script(
        tmp_path / "secantusd-talkative",
        "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo listening on 127.0.0.1:1; exec sleep 600",
    )
    server = EmbeddedServer(tmp_path / "data", executable=talkative)
    assert (await server.start()).startswith("mongodb://127.0.0.1:1/")
    await server.stop()


@pytest.mark.parametrize("garbage", _GARBLED_RECORDS)
def test_a_garbled_record_is_no_running_server(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "database.json").write_bytes(garbage)
    assert running_url(tmp_path) is None


async def test_a_garbled_record_is_replaced_by_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "database.json").write_bytes(b"{")
    async with _running(tmp_path) as server:
        assert running_url(tmp_path) == server.url


@pytest.mark.parametrize("below", ["file", "file/data"])
async def test_a_file_in_place_of_the_directory_is_an_error_that_names_it(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match=f"cannot use {tmp_path / below} as the data directory"):
        await EmbeddedServer(tmp_path / below).start()


async def test_a_directory_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "database.toml").mkdir()  # stands in for missing rights, which do not hold an administrator back
    with pytest.raises(EmbeddedServerError, match=f"cannot write to the data directory {tmp_path}"):
        await EmbeddedServer(tmp_path).start()
