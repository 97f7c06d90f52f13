"""Where our server's time goes while it is saturated: by module and by function, for each kind of database.

Owns sampling from outside with py-spy, which costs the server little. Where that may not look into other processes,
the server runs under cProfile instead, which slows it down unevenly; the report says which it was.
"""

import asyncio
import contextlib
import pstats
import re
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import psutil

from scripts.benchmarks.contenders import OURS
from scripts.benchmarks.field import Field, Run
from scripts.benchmarks.machine import BenchError
from scripts.benchmarks.sessions import Company
from scripts.benchmarks.setups import SEATS, Size

REPORT = "profile.md"
_RATE = 250
_SHOWN = 30
_FRAME = re.compile(r"^(.*) \((.*?)(?::\d+)?\)$")
_STANDARD = re.compile(r".*/(?:site-packages|lib/python3\.\d+)/")
_LOADS = {
    "no database": {"database": False, "stand_in": False},
    "stand-in": {"database": True, "stand_in": True},
    "embedded": {"database": True, "stand_in": False},
}


def _spy() -> str | None:
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def _module(path: str) -> str:
    """Return the module that a file is of, as briefly as can be."""
    short = _STANDARD.sub("", path)
    if "/coordinator/" in short:
        short = "coordinator/" + short.rsplit("/coordinator/", 1)[1]
    return short.removesuffix(".py")


def _table(title: str, counts: Counter[str], total: float) -> str:
    lines = [f"| {count / total:.1%} | {name} |" for name, count in counts.most_common(_SHOWN)]
    return "\n".join([f"| {title} | where |", "| --- | --- |", *lines])


def _read_stacks(path: Path) -> list[str]:
    """Turn py-spy's stacks, `thread;frame;frame;… count`, into tables of the event loop's thread.

    Of the driver's threads py-spy cannot tell those that work from those that wait.
    """
    own_by_module: Counter[str] = Counter()
    own: Counter[str] = Counter()
    with_callees: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        stack, _, number = line.rstrip().rpartition(" ")
        thread, *texts = stack.split(";")
        frames = [_frame(text) for text in texts] or [("?", "?")]
        count = int(number)
        if not thread.endswith("MainThread"):
            continue
        own_by_module[frames[-1][0]] += count
        own[" · ".join(frames[-1])] += count
        for frame in set(frames):
            with_callees[" · ".join(frame)] += count
    total = sum(own.values())
    if not total:
        return ["no samples"]
    return [
        _table("own time by module", own_by_module, total),
        _table("own time by function", own, total),
        _table("with what it calls", with_callees, total),
    ]


def _frame(text: str) -> tuple[str, str]:
    match = _FRAME.match(text)
    return (_module(match[2]), match[1]) if match else ("?", text)


def _read_calls(path: Path) -> list[str]:
    """Turn cProfile's file into the same tables."""
    own_by_module: Counter[str] = Counter()
    own: Counter[str] = Counter()
    with_callees: Counter[str] = Counter()
    stats = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]
    for (file, _, function), (_, _, own_seconds, all_seconds, _) in stats.items():
        own_by_module[_module(file)] += own_seconds
        own[f"{_module(file)} · {function}"] += own_seconds
        with_callees[f"{_module(file)} · {function}"] += all_seconds
    total = sum(own.values())
    return [
        _table("own time by module", own_by_module, total),
        _table("own time by function", own, total),
        _table("with what it calls", with_callees, total),
    ]


def _thread_seconds(pid: int) -> tuple[float, float]:
    """Return the CPU seconds of the first thread, which is the event loop's, and of all others."""
    spent = {thread.id: thread.user_time + thread.system_time for thread in psutil.Process(pid).threads()}
    loop = spent.pop(pid, 0.0)
    return loop, sum(spent.values())


async def _sampled(spy: str, run: Run, size: Size, field: Field, output: Path) -> list[str]:
    """Sample a saturated server; return what is to be said of it.

    Raises:
        BenchError: py-spy could not.
    """
    pid = field.running.process.pid
    load = asyncio.create_task(
        run.measured(OURS, field, f"closed {size.warm_up} {size.seconds + 2}", what="profiled, saturated")
    )
    await asyncio.sleep(size.warm_up)
    before, start = _thread_seconds(pid), time.perf_counter()
    command = [spy, "record", "--pid", str(pid), "--duration", str(max(1, round(size.seconds)))]
    command += ["--rate", str(_RATE), "--format", "raw", "--output", str(output), "--threads"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    elapsed, after = time.perf_counter() - start, _thread_seconds(pid)
    figure = await load
    if process.returncode:
        raise BenchError(said.decode(errors="replace").strip() or "py-spy failed")
    loop, others = ((now - then) / elapsed for now, then in zip(after, before, strict=True))
    rate = figure.result["per_second"]
    cpu = f"the event loop's thread {loop:.0%}, all others {others:.0%} of a core"
    return [f"{rate:.0f} transitions/s while it was watched; CPU: {cpu}.", *_read_stacks(output)]


async def _one(run: Run, size: Size, title: str, spy: str | None) -> list[str]:
    company, kind = Company(size.rooms, SEATS), _LOADS[title]
    reason = "py-spy is not installed"
    if spy is not None:
        async with run.filled(OURS, company, **kind) as field:
            try:
                return [f"## {title}: sampled by py-spy", *await _sampled(spy, run, size, field, run.fresh_file())]
            except BenchError as error:
                reason = str(error)
    output = run.fresh_file()
    run.prefix = [sys.executable, "-m", "cProfile", "-o", str(output)]
    try:
        async with run.filled(OURS, company, **kind) as field:
            load = f"closed {size.warm_up} {size.seconds}"
            await run.measured(OURS, field, load, what="profiled, saturated")
    finally:
        run.prefix = ()
    return [f"## {title}: by cProfile, because of: {reason}", *_read_calls(output)]


async def profile(run: Run, size: Size, folder: Path) -> None:
    """Profile every kind of database, and write the report."""
    parts = [
        "# Where the time of the saturated server goes",
        f"{size.rooms} rooms of {SEATS}, closed loop; the tables are of the event loop's thread.",
    ]
    spy = _spy()
    for title in _LOADS:
        with contextlib.suppress(BenchError):
            parts += await _one(run, size, title, spy)
    (folder / REPORT).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
