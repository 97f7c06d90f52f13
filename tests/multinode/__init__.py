"""Several coordinators at once. What fails in these helpers is to say why, as it does in tests."""

import pytest

pytest.register_assert_rewrite("tests.multinode.checks", "tests.multinode.cluster", "tests.multinode.load")
