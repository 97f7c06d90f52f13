"""Starts of the embedded database that fail or come close to it: nothing is left running, and the error says why."""

import asyncio
from pathlib import Path

import psutil
import pytest

from coordinator.adapters.mongo.embedded import EmbeddedServer, EmbeddedServerError, running_url
from tests.adapters.embedded import databases_on, running

_GARBLED_RECORDS = [
    b"",
    b"\xff\xfe",
    b"{",
    b"[]",
    b'{"database":{"pid":1,"create_time":"now"},"coordinator":{"pid":1,"create_time":0}}',
    b'{"database":{"pid":-5,"create_time":0},"coordinator":{"pid":0,"create_time":0},"url":"mongodb://x"}',
    b'{"database":{"pid":99999999999999999999,"create_time":0},"coordinator":{"pid":1,"create_time":0}}',
]


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


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
    assert databases_on(tmp_path) == []
    async with running(tmp_path):
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
    async with running(tmp_path) as server:
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
