"""The database that tests run against: one server for the whole process, a database of its own for each test.

The server is the first of these that there is:

1. the one at `COORDINATOR_TEST_MONGO_URL`: any MongoDB replica set;
2. a MongoDB in a container, where a Docker engine answers;
3. the embedded server, on a temporary directory, in memory if there is room, and without syncing.

Where several processes share a run, each has one; only the one that is given serves all of them.

It is started by the first test that asks for it, and stops when the run ends, however it ends. Run as a module
(`python -m tests.database`), this is the process that owns the embedded server: a test run has many event loops, one
per test, and the server needs one that lasts.
"""

import asyncio
import atexit
import contextlib
import functools
import gc
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import docker
import docker.errors
import structlog
from pymongo import MongoClient

from coordinator.adapters.mongo.client import Database, connect

URL_VARIABLE = "COORDINATOR_TEST_MONGO_URL"
DEAD_URL = "mongodb://127.0.0.1:9/?directConnection=true"
"""Where nothing listens: port 9 is reserved for discarding."""

Client = MongoClient[dict[str, Any]]

_ROOT = Path(__file__).resolve().parent.parent
_IMAGE = "mongo:7"
_REPLICA_SET = "tests"
_START_SECONDS = 120.0
_PATIENCE_SECONDS = 30.0
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30
"""For the servers of all the processes that share a run, and for others."""


@functools.cache
def server_url() -> str:
    """Return the URL of the run's server, starting it if this is the first call."""
    given = os.environ.get(URL_VARIABLE)
    if given:
        return given
    return _contained_url() if _docker_answers() else _embedded_url()


@functools.cache
def client() -> Client:
    """Return a synchronous client of the run's server, for looking at what is stored and for meddling with it."""
    opened: Client = MongoClient(server_url(), tz_aware=True, tzinfo=UTC, w="majority", readConcernLevel="majority")
    atexit.register(opened.close)
    return opened


def open_database(name: str) -> Database:
    """Open a database of the run's server, as a coordinator does but with more patience.

    The embedded server now and then takes seconds where many databases were dropped shortly before.
    """
    return connect(server_url(), name, timeout_seconds=_PATIENCE_SECONDS)


@contextmanager
def fresh_database() -> Iterator[str]:
    """Hand out the name of a database that does not exist, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    try:
        yield name
    finally:
        client().drop_database(name)


def _docker_answers() -> bool:
    # The client forgets to close its socket when nobody answers, which would fail whatever test runs just then.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _ping_docker()
        gc.collect()
    return answers


def _ping_docker() -> bool:
    try:
        engine = docker.from_env(timeout=2)
    except docker.errors.DockerException:
        return False
    with contextlib.closing(engine):
        try:
            return bool(engine.ping())
        except docker.errors.DockerException:
            return False


def _contained_url() -> str:
    from testcontainers.community.mongodb import MongoDbContainer

    class ReplicaSet(MongoDbContainer):
        def _configure(self) -> None:
            """Set no password: with one, a replica set would need a key file too."""

    container = ReplicaSet(_IMAGE).with_command(["mongod", "--replSet", _REPLICA_SET, "--bind_ip_all"])
    container.start()
    atexit.register(container.stop)
    # The member's own name for itself means nothing out here, so the driver must not go looking for it.
    url = f"mongodb://{container.get_container_host_ip()}:{container.get_exposed_port(27017)}/?directConnection=true"
    with Client(url) as admin:
        member = {"_id": 0, "host": "localhost:27017"}
        admin.admin.command({"replSetInitiate": {"_id": _REPLICA_SET, "members": [member]}})
        _wait_for_primary(admin)
    return url


def _wait_for_primary(admin: Client) -> None:
    deadline = time.monotonic() + _START_SECONDS
    hello = admin.admin.command("hello")
    while not hello["isWritablePrimary"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the replica set in the container has no primary after {_START_SECONDS:g} s")
        # The server answers as soon as it has something new to say.
        hello = admin.admin.command("hello", topologyVersion=hello["topologyVersion"], maxAwaitTimeMS=1000)


def _embedded_url() -> str:
    owner = subprocess.Popen(
        [sys.executable, "-m", "tests.database"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the test run; this one ends when the run has ended
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    atexit.register(_stop_embedded, owner)
    url = owner.stdout.readline().strip()
    if not url:
        raise RuntimeError(f"the embedded database did not start (exit code {owner.wait()}); see its output above")
    return url


def _stop_embedded(owner: "subprocess.Popen[str]") -> None:
    owner.communicate()  # closes its standard input, which ends it


def _place() -> str | None:
    """Return where the server's files go: into memory where there is plenty, else where temporary files go.

    Nothing in them has to last, and tests that kill durable databases keep the disk busy for seconds at a time.
    """
    roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES
    return str(_MEMORY) if roomy else None


async def _own_embedded_server(directory: Path) -> None:
    from coordinator.adapters.mongo.embedded import EmbeddedServer

    # Standard output belongs to the URL.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    server = EmbeddedServer(directory, durable=False)
    print(await server.start(), flush=True)  # noqa: T201 - read by the test run
    try:
        # Ends when the test run closes its end, also by dying.
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await server.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="coordinator-tests-", dir=_place()) as folder:
        asyncio.run(_own_embedded_server(Path(folder)))
