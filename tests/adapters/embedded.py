"""Databases that run, what is in them, and the ends of their processes."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pymongo

from coordinator.adapters.mongo.embedded import EmbeddedServer

PATIENCE_SECONDS = 30.0
DURABLE = pymongo.WriteConcern("majority", j=True)


@asynccontextmanager
async def running(data_dir: Path, *, durable: bool = False) -> AsyncIterator[EmbeddedServer]:
    """Runs a database, a fast one unless it is to be durable."""
    server = EmbeddedServer(data_dir, durable=durable)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextmanager
def connected(url: str) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    """Hands over the driver's client of a database that may yet have to come back."""
    # Waiting for the server is the driver's business; the tests only say for how long.
    with pymongo.MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=int(PATIENCE_SECONDS * 1000)) as client:
        yield client


def insert(url: str, *names: str) -> None:
    """Stores things of these names, durably."""
    with connected(url) as client:
        things = client.get_database("test", write_concern=DURABLE)["things"]
        things.insert_many([{"_id": name} for name in names])


def stored(url: str) -> set[str]:
    """The names of all things that are stored."""
    with connected(url) as client:
        return {document["_id"] for document in client["test"]["things"].find()}


def recorded(data_dir: Path) -> psutil.Process:
    """The process that the directory's record says is its database."""
    return psutil.Process(json.loads((data_dir / "database.json").read_bytes())["database"]["pid"])


def databases_on(data_dir: Path) -> list[int]:
    """The ids of all processes that are databases on the directory."""
    storage = str(data_dir / "database")
    return [process.pid for process in psutil.process_iter(["cmdline"]) if storage in (process.info["cmdline"] or [])]


async def gone(process: psutil.Process) -> None:
    """Waits for the end of a process. Of a child, only looks at the status: taking it would deprive the event loop."""
    try:
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:  # the child of another process, or the event loop has seen its end already
        await asyncio.to_thread(process.wait, PATIENCE_SECONDS)


async def kill(process: psutil.Process) -> None:
    """Kills a process and waits for its end."""
    process.kill()
    await gone(process)
