"""Runs of many stories: what becomes of them, and how one that failed is told.

Owns the counting. Which stories are run is the caller's choice.
"""

from collections import Counter
from typing import NamedTuple

from tests.simulation.planted import PLANTS, planted
from tests.simulation.scenario import draw
from tests.simulation.story import Outcome, tell


class Tally(NamedTuple):
    """What became of some stories.

    Attributes:
        seeds: How many were run.
        steps: How much happened in them.
        seconds: How much virtual time they took.
        faults: What went wrong in them, by kind.
        failed: The first story that failed, and how; None if all held.
    """

    seeds: int
    steps: int
    seconds: float
    faults: Counter[str]
    failed: tuple[int, str] | None


class Task(NamedTuple):
    """Some stories to run: so many seeds from `first` on, with a planted defect if one is named."""

    first: int
    seeds: int
    plant: str | None


def run(task: Task) -> Tally:
    """Run some stories; stop at the first that fails."""
    seeds, steps, seconds, faults = 0, 0, 0.0, Counter[str]()
    with planted(task.plant):
        for seed in range(task.first, task.first + task.seeds):
            outcome = tell_one(seed, task.plant)
            seeds += 1
            steps += outcome.steps
            seconds += outcome.seconds
            faults.update(outcome.faults)
            if outcome.failure is not None:
                return Tally(seeds, steps, seconds, faults, (seed, summary_of(outcome.failure)))
    return Tally(seeds, steps, seconds, faults, None)


def tell_one(seed: int, plant: str | None) -> Outcome:
    """Run one story; where a defect is planted, in the surroundings in which it shows soonest."""
    scenario = draw(seed)
    return tell(seed, scenario if plant is None else PLANTS[plant].bias(scenario))


def summary_of(failure: Exception) -> str:
    """Say in one line what broke."""
    return f"{type(failure).__name__}: {failure}"


def replay_command(seed: int, plant: str | None = None) -> str:
    """Return the command that tells a story again."""
    return f"scripts/simulate --story {seed}" + ("" if plant is None else f" --plant {plant}")


def story_of(outcome: Outcome, plant: str | None = None, lines: int | None = None) -> str:
    """Return a story for people: what happened, what broke, how to see it again."""
    told = outcome.trace.tail() if lines is None else outcome.trace.tail(lines)
    end = "every invariant held" if outcome.failure is None else summary_of(outcome.failure)
    return "\n".join([*told, "", f"seed {outcome.seed}: {end}", f"again: {replay_command(outcome.seed, plant)}"])
