"""Measure the coordinator beside its peers, in turns, and say what was reached and what was not.

Everyone gets the same database, the same generator and the same load, one after the other, round by round (A B A B);
medians are shown, and ratios round by round. The report goes to build/bench unless told otherwise. scripts/benchmarks/
README.md says how each row is measured and what it does not say.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop
from rich.console import Console

from coordinator.telemetry import configure_logging
from scripts.benchmarks import profiling, report, setups
from scripts.benchmarks.contenders import BARE, LABELS, NODE_DEFAULTS, PYTHON
from scripts.benchmarks.field import FOREIGN_LIMIT, Run, bench_run
from scripts.benchmarks.history import Past, history
from scripts.benchmarks.machine import BUILD, BenchError, raise_file_limit
from scripts.benchmarks.report import Outcome, Taken
from scripts.benchmarks.rows import ROWS, SETUPS, Row
from scripts.benchmarks.setups import Measured, Size

_FULL_ROUNDS = 3
_FULL_SECONDS = 8.0
_QUICK_SECONDS = 2.0
_HISTORY_TURNS = 3
"""In each round: one differs from the next by a quarter, and what is looked for is a tenth."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured, and how much."""

    rows: Sequence[Row]
    size: Size
    past: Past
    rounds: int
    skipped: frozenset[str] = frozenset()

    def contenders(self, setup: str) -> list[str]:
        """Return who takes part in a set-up."""
        taking_part = dict.fromkeys(name for row in self.rows if row.setup == setup for name in row.contenders)
        return [name for name in taking_part if name not in self.skipped]

    def wanted(self, setup: str, contender: str) -> set[str]:
        """Return the rows that a contender is to give figures for."""
        return {row.name for row in self.rows if row.setup == setup and contender in row.contenders}


def _tell(round_number: int, setup: str, contender: str, measured: Measured, seconds: float) -> None:
    said = ", ".join(f"{name} {value:.5g}" for name, value in measured.values.items())
    label = LABELS.get(contender, contender)
    print(f"round {round_number} · {setup} · {label}: {said} ({seconds:.0f} s)", file=sys.stderr, flush=True)


async def _take_turns(run: Run, plan: Plan, outcome: Outcome) -> None:
    """Measure every set-up with every contender, round by round."""
    for number in range(1, plan.rounds + 1):
        for setup in SETUPS:
            if setup not in setups.BY_NAME:
                continue
            for contender in plan.contenders(setup):
                start = time.perf_counter()
                try:
                    measured = await setups.BY_NAME[setup](run, plan.size, contender, plan.wanted(setup, contender))
                except (BenchError, TimeoutError, psutil.Error) as error:
                    run.problems.append(f"{setup}, {contender}: not measured: {error or type(error).__name__}")
                    print(run.problems[-1], file=sys.stderr, flush=True)
                    continue
                seconds = time.perf_counter() - start
                outcome.taken.append(Taken(number, setup, contender, measured, seconds))
                _tell(number, setup, contender, measured, seconds)


async def _take_history(run: Run, plan: Plan, outcome: Outcome) -> None:
    start = time.perf_counter()
    try:
        rounds = await history(run, plan.size, plan.past, _HISTORY_TURNS * plan.rounds)
    except (BenchError, TimeoutError, psutil.Error) as error:
        run.problems.append(f"history: not measured: {error or type(error).__name__}")
        return
    seconds = (time.perf_counter() - start) / (2 * len(rounds))
    for number, one_round in enumerate(rounds, 1):
        for contender, measured in one_round.items():
            outcome.taken.append(Taken(number, "history", contender, measured, seconds))
            _tell(number, "history", contender, measured, seconds)


async def _bench(plan: Plan, folder: Path, *, profile: bool) -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with bench_run() as run:
        outcome = Outcome(plan.rows, plan.size, plan.past, plan.rounds, run.cores.describe())
        if profile:
            await profiling.profile(run, plan.size, folder)
        else:
            await _take_turns(run, plan, outcome)
            if any(row.setup == "history" for row in plan.rows):
                await _take_history(run, plan, outcome)
        if run.disturbed:
            run.problems.append(
                f"in {run.disturbed} of {run.measurements} measurements others used more than {FOREIGN_LIMIT:.0%} of a "
                "core: the figures, and the ratios where it was uneven, are doubtful"
            )
        outcome.problems = list(dict.fromkeys(run.problems))
    return outcome


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="rows:\n"
        + "\n".join(f"  {row.name:14}{row.title}" for row in ROWS)
        + "\n\nother measurements, each with a --help of its own:\n"
        "  scripts/bench feed       how soon the recording service hears of a revoked consent\n"
        "  scripts/bench nodes      one coordinator beside two that share the database\n"
        "  scripts/bench scheduler  what a tick costs in a database full of past slots",
    )
    parser.add_argument("--quick", action="store_true", help="one short round, in under three minutes")
    parser.add_argument("--only", metavar="ROW[,ROW]", help="measure these rows alone")
    parser.add_argument("--rounds", type=int, help=f"rounds, of which medians are shown ({_FULL_ROUNDS}; quick: 1)")
    parser.add_argument(
        "--seconds", type=float, help=f"length of each measurement ({_FULL_SECONDS:g}; quick: {_QUICK_SECONDS:g})"
    )
    parser.add_argument("--report", type=Path, default=BUILD / "bench", metavar="DIR", help="folder of the report")
    parser.add_argument("--profile", action="store_true", help="instead: where our server's time goes, saturated")
    return parser


def _plan(parser: argparse.ArgumentParser) -> tuple[Plan, Path, bool]:
    options = parser.parse_args()
    names = [row.name for row in ROWS] if options.only is None else options.only.split(",")
    if unknown := set(names) - {row.name for row in ROWS}:
        parser.error(f"there is no row {', '.join(sorted(unknown))}; --help lists them")
    rows = [row for row in ROWS if row.name in names]
    seconds = options.seconds or (_QUICK_SECONDS if options.quick else _FULL_SECONDS)
    if options.quick:
        size, past = Size(seconds, idle=1_000, connections=2_400), Past(10, 2_000)
    else:
        size, past = Size(seconds), Past(100, 50_000)
    rounds = options.rounds or (1 if options.quick else _FULL_ROUNDS)
    skipped = frozenset({BARE, NODE_DEFAULTS, PYTHON}) if options.quick else frozenset[str]()
    return Plan(rows, size, past, rounds, skipped), options.report, options.profile


def main() -> None:
    """Measure, print, and write the report."""
    plan, folder, profile = _plan(_parser())
    configure_logging("warning", "console")
    raise_file_limit()
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(_bench(plan, folder, profile=profile))
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit("stopped; nothing was written")
    console = Console(width=150)
    if profile:
        console.print((folder / profiling.REPORT).read_text(encoding="utf-8"), markup=False, highlight=False)
    else:
        outcome.seconds = time.perf_counter() - start
        report.write(outcome, folder)
        report.show(outcome, console)
    console.print(f"written to {folder}", soft_wrap=True)


if __name__ == "__main__":
    main()
