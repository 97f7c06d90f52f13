"""What holds for the whole run: how many processes share it, in which order, and how hard the property tests search."""

import os

import pytest
from hypothesis import HealthCheck, settings

_LONG_FOLDERS = ("tests/processes/", "tests/multinode/", "tests/simulation/")
_MOST_WORKERS = 8
"""Beyond that, a run lasts as long as its longest test anyway, and each worker has a database of its own."""

_SEARCH = settings(
    deadline=None,
    max_examples=100,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)

# The same examples every time in CI, new ones on a developer's machine.
settings.register_profile("tests", _SEARCH, print_blob=True)
settings.register_profile("tests-ci", _SEARCH, derandomize=True, database=None)
settings.load_profile("tests-ci" if os.environ.get("CI") else "tests")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Return what `-n auto` means: one more than there are cores, because tests with processes mostly wait."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, _MOST_WORKERS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest first where processes share the tests: the last to end would otherwise be one that runs alone."""
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[float, bool]:
    limit = item.get_closest_marker("timeout")
    return (-float(limit.args[0]) if limit else 0.0, not item.nodeid.startswith(_LONG_FOLDERS))
