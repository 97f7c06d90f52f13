"""The simulation finds every defect that is planted, by an invariant that it breaks."""

import pytest

from tests.simulation.planted import PLANTS, planted
from tests.simulation.runs import tell_one
from tests.simulation.verdicts import Violation

MOST_SEEDS = 1000


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_defect_is_found(name: str) -> None:
    with planted(name):
        outcomes = (tell_one(seed, name) for seed in range(MOST_SEEDS))
        failure = next((outcome.failure for outcome in outcomes if outcome.failure is not None), None)
    assert isinstance(failure, Violation), f"{PLANTS[name].what}: {failure!r} in {MOST_SEEDS} seeds"
    assert failure.invariant in PLANTS[name].breaks


@pytest.mark.parametrize("name", PLANTS)
def test_the_same_story_holds_without_the_defect(name: str) -> None:
    assert tell_one(0, name).failure is None
