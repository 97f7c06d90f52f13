"""One world for each test. A defect that the services only log fails the test, unless the test brought it about."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.services.feeds import Stage, staged
from tests.services.harness import Node, World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with capture_logs() as logs:
        world = World(logs)
        yield world
        await world.close()
    defects = [entry for entry in world.logs if entry["log_level"] == "error" and entry["event"] not in world.tolerated]
    assert defects == []


@pytest.fixture
async def node(world: World) -> Node:
    return world.node("a0")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as stage:
        yield stage
