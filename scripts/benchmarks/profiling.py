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
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

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


def _read_stacks(lines: Iterable[str]) -> list[str]:
    """Turn py-spy's stacks, `frame;frame;… count`, into tables of the main thread's time."""
    own_by_module: Counter[str] = Counter()
    own: Counter[str] = Counter()
    with_callees: Counter[str] = Counter()
    total = 0
    for line in lines:
        stack, _, number = line.rstrip().rpartition(" ")
        frames = []
        for frame in stack.split(";"):
            match = _FRAME.match(frame)
            frames.append((_module(match[2]), match[1]) if match else ("?", frame))
        count = int(number)
        total += count
        own_by_module[frames[-1][0]] += count
        own[" · ".join(frames[-1])] += count
        for frame_ in set(frames):
            with_callees[" · ".join(frame_)] += count
    if not total:
        return ["no samples"]
    return [
        _table("own time by module", own_by_module, total),
        _table("own time by function", own, total),
        _table("with what it calls", with_callees, total),
    ]


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


async def _sampled(spy: str, run: Run, size: Size, field: Field, output: Path) -> str | None:
    """Sample a saturated server; return why that was not possible."""
    load = asyncio.create_task(
        run.measured(OURS, field, f"closed {size.warm_up} {size.seconds + 2}", what="profiled, saturated")
    )
    await asyncio.sleep(size.warm_up)
    command = [spy, "record", "--pid", str(field.running.process.pid), "--duration", str(max(1, round(size.seconds)))]
    command += ["--rate", str(_RATE), "--format", "raw", "--output", str(output), "--nonblocking"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    figure = await load
    rate = f"{figure.result['per_second']:.0f} transitions/s while it was watched"
    if process.returncode:
        return said.decode(errors="replace").strip() or "py-spy failed"
    print(rate, file=sys.stderr)
    return None


async def _one(run: Run, size: Size, title: str, spy: str | None) -> list[str]:
    company, kind = Company(size.rooms, SEATS), _LOADS[title]
    output = run.fresh_file()
    reason: str | None = "py-spy is not installed"
    if spy is not None:
        async with run.filled(OURS, company, **kind) as field:
            reason = await _sampled(spy, run, size, field, output)
        if reason is None:
            with output.open(encoding="utf-8") as lines:
                return [f"## {title}: sampled by py-spy", *_read_stacks(lines)]
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
    parts = ["# Where the time of the saturated server goes", f"{size.rooms} rooms of {SEATS}, closed loop."]
    spy = _spy()
    for title in _LOADS:
        with contextlib.suppress(BenchError):
            parts += await _one(run, size, title, spy)
    (folder / REPORT).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
