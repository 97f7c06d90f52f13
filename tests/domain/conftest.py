"""How hard the property tests search: the same examples every time in CI, new ones on a developer's machine."""

import os

from hypothesis import HealthCheck, settings

_COMMON = settings(
    deadline=None,
    max_examples=100,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)

settings.register_profile("domain", _COMMON, print_blob=True)
settings.register_profile("domain-ci", _COMMON, derandomize=True, database=None)
settings.load_profile("domain-ci" if os.environ.get("CI") else "domain")
