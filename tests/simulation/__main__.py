"""Runs many stories: `python -m tests.simulation --help`."""

import argparse
import multiprocessing
import os
import secrets
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator

from typer import echo

from tests.simulation.planted import PLANTS, planted
from tests.simulation.runs import Tally, Task, run, story_of, tell_one

_BATCH = 25
_HIGHEST_SEED = 1_000_000_000


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = _options()
    if options.story is not None:
        return _tell_story(options.story, options.plant, options.lines)
    first = secrets.randbelow(_HIGHEST_SEED) if options.first is None else options.first
    echo(f"{options.seeds} seeds from {first} on, {options.workers} at a time")
    begin = time.monotonic()
    total = Tally(0, 0, 0.0, Counter(), None)
    for tally in _tallies(first, options.seeds, options.plant, options.workers):
        total = Tally(
            total.seeds + tally.seeds,
            total.steps + tally.steps,
            total.seconds + tally.seconds,
            total.faults + tally.faults,
            tally.failed,
        )
        _show(total, options.seeds, time.monotonic() - begin)
        if tally.failed is not None:
            break
    return _conclude(total, time.monotonic() - begin, options.plant)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description="Run simulated stories and judge them.")
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="how many (1000)")
    parser.add_argument("--first", type=int, metavar="SEED", help="the first of them (at random)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (all cores)")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="plant this defect; the simulation is to find it")
    parser.add_argument("--story", type=int, metavar="SEED", help="tell one story instead, and what broke in it")
    parser.add_argument("--lines", type=int, default=100_000, metavar="N", help="of a story, only the last lines")
    return parser.parse_args()


def _tell_story(seed: int, plant: str | None, lines: int) -> int:
    with planted(plant):
        outcome = tell_one(seed, plant)
    echo(story_of(outcome, plant, lines))
    if outcome.failure is not None:
        echo()
        traceback.print_exception(outcome.failure, file=sys.stdout)
    return int(outcome.failure is not None)


def _tallies(first: int, seeds: int, plant: str | None, workers: int) -> Iterator[Tally]:
    starts = range(first, first + seeds, _BATCH)
    tasks = [Task(start, min(_BATCH, first + seeds - start), plant) for start in starts]
    if workers == 1:
        yield from map(run, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(run, tasks)


def _show(total: Tally, seeds: int, elapsed: float) -> None:
    rate = total.seeds / elapsed
    is_terminal = sys.stdout.isatty()
    echo(f"{total.seeds} of {seeds} seeds, {total.steps} steps, {rate:.1f} seeds/s", nl=not is_terminal)
    if is_terminal:
        echo("\r", nl=False)


def _conclude(total: Tally, elapsed: float, plant: str | None) -> int:
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(total.faults.items()))
    hours, steps = total.seconds / 3600, total.steps // max(total.seeds, 1)
    echo(f"{hours:.1f} virtual hours in {elapsed:.0f} s; {steps} steps a seed")
    echo(f"what went wrong: {faults}")
    if total.failed is None:
        echo("every invariant held")
        return 0
    seed, summary = total.failed
    with planted(plant):
        echo(story_of(tell_one(seed, plant), plant))
    echo(f"VIOLATION: {summary[:300]}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
