"""The machine that is measured on: cores, processes pinned to them, and who used how much of them.

Owns processes and their accounting; knows nothing of what runs in them.
"""

import asyncio
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
NATIVE = Path(__file__).with_name("native")
PEERS = Path(__file__).with_name("peers")
BUILD = ROOT / "build"
_LINE_BYTES = 1 << 20
_PATIENCE_SECONDS = 60
_C_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The measurement cannot go on."""


@dataclass(frozen=True)
class Cores:
    """Which core the server and the database share, and which the generator and the stand-in; None: not pinned."""

    server: int | None
    generator: int | None

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """Take the first two cores that we may use."""
        allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        return cls(allowed[0], allowed[1]) if len(allowed) > 1 and shutil.which("taskset") else cls(None, None)

    def describe(self) -> str:
        """Say it in words."""
        if self.server is None:
            return "one core for everything: generator and server disturb each other"
        return f"server and database on core {self.server}, generator and stand-in on core {self.generator}"


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Let processes that are started inside inherit this core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit() -> None:
    """Let us, and every process that we start, have as many files open as the system allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Process:
    """A process that answers by lines, pinned to a core."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self.name = name

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], core: int | None, environment: Mapping[str, str] | None = None
    ) -> "Process":
        """Start a command; what it writes to standard error is shown."""
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        if shutil.which("setpriv") is not None:  # nothing is to be left when we are killed
            pinned += ["setpriv", "--pdeathsig", "TERM"]
        process = await asyncio.create_subprocess_exec(
            *pinned,
            *command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
        )
        return cls(process, name)

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    async def line(self, patience_seconds: float = _PATIENCE_SECONDS) -> str:
        """Return the next line that it prints.

        Raises:
            BenchError: There is none, or not in time.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(patience_seconds):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise BenchError(f"{self.name} did not answer within {patience_seconds:g} s") from None
        if not line:
            raise BenchError(f"{self.name} ended with {await self._process.wait()}")
        return line.decode().rstrip()

    async def ask(self, command: str, patience_seconds: float = _PATIENCE_SECONDS) -> dict[str, Any]:
        """Write a line; return the line of JSON that answers it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        answer: dict[str, Any] = json.loads(await self.line(patience_seconds))
        return answer

    def cpu_seconds(self) -> float:
        """Return what it has used so far."""
        return cpu_seconds(self.pid)

    def resident_bytes(self) -> int:
        """Return what of it is in memory."""
        return int(psutil.Process(self.pid).memory_info().rss)

    async def stop(self, *, gently: bool = False) -> None:
        """End it; gently where it has something to write down."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                if gently:
                    self._process.terminate()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(15):
                            await self._process.communicate()
                if self._process.returncode is None:
                    self._process.kill()
        await self._process.communicate()


def cpu_seconds(pid: int) -> float:
    """Return what a process, with all its threads, has used so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _busy_seconds() -> float:
    """Return how long all cores together have been busy."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, fields)
    return (user + nice + system + interrupts + soft + stolen) / _TICKS_PER_SECOND


@dataclass
class Usage:
    """How much of a core each process used, in seconds and as a share, and what others used meanwhile.

    Attributes:
        seconds: CPU seconds by name.
        shares: The same, of one core.
        foreign: What everybody else used, of one core; None where the system does not say.
    """

    elapsed: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    foreign: float | None = None


@contextlib.contextmanager
def metered(pids: Mapping[str, int]) -> Iterator[Usage]:
    """Measure what processes use while the block runs."""
    usage = Usage()
    watched = {**pids, "bench": os.getpid()}
    knows_all = sys.platform == "linux"
    before = {name: cpu_seconds(pid) for name, pid in watched.items()}
    busy, start = (_busy_seconds() if knows_all else 0.0), time.perf_counter()
    yield usage
    usage.elapsed = time.perf_counter() - start
    if knows_all:
        busy = _busy_seconds() - busy
    usage.seconds = {name: cpu_seconds(pid) - before[name] for name, pid in watched.items()}
    usage.shares = {name: spent / usage.elapsed for name, spent in usage.seconds.items()}
    if knows_all:
        usage.foreign = max(0.0, busy - sum(usage.seconds.values())) / usage.elapsed


def compiled(name: str) -> Path:
    """Compile one of the programs in `native`, unless it is there and newer than its sources."""
    made = BUILD / "bench-bin" / name
    sources = [NATIVE / f"{name}.c", *NATIVE.glob("*.h")]
    if not made.exists() or any(source.stat().st_mtime > made.stat().st_mtime for source in sources):
        made.parent.mkdir(parents=True, exist_ok=True)
        compile_native(name, made)
    return made


def compile_native(name: str, made: Path) -> None:
    """Compile one of the programs in `native`."""
    subprocess.run(["cc", *_C_FLAGS, "-o", str(made), str(NATIVE / f"{name}.c"), "-lm"], check=True)
