"""Those who are measured: the coordinator and its peers, each started as a process of its own.

Owns how each is started and what it is called; knows nothing of loads.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from scripts.benchmarks.machine import PEERS, ROOT, BenchError, Process
from scripts.benchmarks.sessions import Company

_READY = re.compile(r"ready at http://\S+?:(\d+)/(?: |$)")
_TOLD = "&retryWrites=false"
"""What the embedded database's URL tells drivers, against their defaults."""
_UNLIMITED = {
    "COMMANDS_PER_SECOND": "1000000",
    "COMMAND_BURST": "1000000",
    "CONNECTIONS_PER_USER": "100",
    "HANDSHAKE_SECONDS": "60",
}
"""Limits of ours that a benchmark would meet; the peers have none."""

OURS = "ours"
NODE = "node"
NODE_DEFAULTS = "node-defaults"
NODE_GROUPS = "node-groups"
PYTHON = "python"
BARE = "bare"
LABELS = {
    OURS: "coordinator",
    NODE: "Node",
    NODE_DEFAULTS: "Node, driver's defaults",
    NODE_GROUPS: "Node, group commit",
    PYTHON: "python-socketio",
    BARE: "bare uvloop",
}


@dataclass(frozen=True)
class Start:
    """What one contender is started with.

    Attributes:
        secret: What tokens are signed with.
        core: Where it runs.
        url: The database; None for none.
        database: The database's name.
        company: Who is to come, for a coordinator without a database.
        prefix: What to put before the program, such as a profiler, in place of the Python that runs it.
        environment: More settings.
    """

    secret: str
    core: int | None
    url: str | None = None
    database: str = ""
    company: Company | None = None
    prefix: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A contender that answers.

    Attributes:
        process: Its process.
        port: Where it answers.
        sessions: The sessions that it offered by itself.
    """

    process: Process
    port: int
    sessions: list[str]


def _ours(start: Start) -> tuple[list[str], dict[str, str]]:
    environment = {
        "COORDINATOR_AUTH__SECRET": start.secret,
        "COORDINATOR_LOG__LEVEL": "warning",
        **{f"COORDINATOR_LIMITS__{name}": value for name, value in _UNLIMITED.items()},
        **start.environment,
    }
    python = [*start.prefix] or [sys.executable]
    if start.url is None:
        assert start.company is not None
        size = ["--rooms", str(start.company.rooms), "--seats", str(start.company.seats)]
        return [*python, "-m", "scripts.benchmarks.memory_server", *size], environment
    environment["COORDINATOR_MONGO__DATABASE"] = start.database
    return [*python, "-m", "coordinator", "serve", "--port", "0", "--mongo-url", start.url], environment


def _peer(name: str, start: Start) -> tuple[list[str], dict[str, str]]:
    environment = {"PEER_SECRET": start.secret, "PEER_DATABASE": start.database}
    if start.url is not None:
        environment["PEER_MONGO_URL"] = _untold(start.url) if name == NODE_DEFAULTS else start.url
    if name in (PYTHON, BARE):
        return [sys.executable, str(PEERS / ("plain.py" if name == PYTHON else "bare.py"))], environment
    if name == NODE_GROUPS:
        environment["PEER_GROUPS"] = "yes"
    return ["node", str(PEERS / "node" / "server.mjs")], {**environment, "NODE_ENV": "production"}


def _untold(url: str) -> str:
    if _TOLD not in url:
        raise BenchError(
            f"{LABELS[NODE_DEFAULTS]} would be told the same as {LABELS[NODE]}: {url} does not say {_TOLD}"
        )
    return url.replace(_TOLD, "")


async def start_contender(name: str, start: Start) -> Running:
    """Start one, and wait until it answers.

    Raises:
        BenchError: It ended, or does not answer in time.
    """
    command, environment = _ours(start) if name == OURS else _peer(name, start)
    process = await Process.start(LABELS[name], command, start.core, environment)
    sessions: list[str] = []
    try:
        while True:
            line = await process.line()
            if line.startswith("["):
                sessions = json.loads(line)
            elif match := _READY.search(line):
                return Running(process, int(match[1]), sessions)
    except BaseException:
        await process.stop()
        raise


def versions() -> list[str]:
    """Say what is measured, with versions."""
    ours = ", ".join(
        f"{name} {version(name)}"
        for name in ("aiohttp", "python-engineio", "python-socketio", "motor", "pymongo", "uvloop", "msgspec")
    )
    said = [f"Python {sys.version.split()[0]}, {ours}", f"SecantusDB {version('SecantusDB')}"]
    if shutil.which("node") is not None:
        command = ["node", str(PEERS / "node" / "server.mjs"), "--versions"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said.append(done.stdout.strip() or "the Node peers are not installed")
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    said.append(f"commit {revision.stdout.strip() or 'unknown'}; {os.cpu_count()} cores of {_processor()}")
    return said


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (match := re.search(r"model name\s*: (.+)", cpuinfo.read_text(encoding="utf-8"))):
        return match[1]
    return "an unknown processor"
