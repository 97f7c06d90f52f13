"""Fixtures: one database and one Redis for the whole package, and the coordinators that share them."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from coordinator.adapters.mongo.embedded import EmbeddedServer
from tests.database import URL_VARIABLE
from tests.multinode.cluster import Cluster, running_cluster
from tests.redis_server import redis_process

REPEAT_VARIABLE = "COORDINATOR_TEST_MULTINODE_REPEAT"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test as often as the run was told to, for who looks for what happens seldom."""
    times = int(os.environ.get(REPEAT_VARIABLE, "1"))
    if times > 1:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


@pytest.fixture
def repetition(request: pytest.FixtureRequest) -> int:
    """Which run of the test this is."""
    return int(request.param)


@pytest.fixture(scope="package")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the embedded database lies, if there is one."""
    return tmp_path_factory.mktemp("database")


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def mongo_url(data_dir: Path) -> AsyncIterator[str]:
    """A database server that is no coordinator's: the one that the run was given, else an embedded one that syncs."""
    given = os.environ.get(URL_VARIABLE)
    if given:
        yield given
        return
    embedded = EmbeddedServer(data_dir)
    yield await embedded.start()
    await embedded.stop()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def three_nodes(mongo_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three coordinators with Redis, for all tests of the package."""
    with redis_process() as redis:
        async with running_cluster(3, tmp_path_factory.mktemp("three"), mongo_url, redis) as cluster:
            yield cluster


@pytest_asyncio.fixture(loop_scope="package")
async def cluster(three_nodes: Cluster) -> AsyncIterator[Cluster]:
    """The same, all of them well."""
    async with three_nodes.well():
        yield three_nodes
