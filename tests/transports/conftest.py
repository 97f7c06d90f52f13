"""Fixtures: running coordinators, and the rule that nothing is logged as an error."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import structlog.testing

from tests.transports.harness import Live, running_live

StartLive = Callable[..., Awaitable[Live]]

_ERROR_LEVELS = {"error", "critical", "exception"}


class _ErrorRecords(logging.Handler):
    """Keeps what is logged as an error, by whatever library."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


def _watch_logs() -> Iterator[None]:
    handler = _ErrorRecords()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with structlog.testing.capture_logs() as entries:
            yield
    finally:
        root.removeHandler(handler)
    errors: list[Any] = [entry for entry in entries if entry["log_level"] in _ERROR_LEVELS]
    assert errors + handler.messages == []


@pytest.fixture
def no_errors() -> Iterator[None]:
    """Fail the test if anything was logged as an error: an exception that escaped, above all."""
    yield from _watch_logs()


@pytest.fixture(scope="module")
def no_errors_in_module() -> Iterator[None]:
    """The same for a coordinator that all tests of a module share."""
    yield from _watch_logs()


@pytest.fixture
async def start(no_errors: None) -> AsyncIterator[StartLive]:
    """Start coordinators, each over a fresh database: `live = await start({"session.lobby_minutes": 1})`."""
    async with AsyncExitStack() as stack:

        async def start_one(overrides: Mapping[str, object] | None = None, url: str | None = None) -> Live:
            return await stack.enter_async_context(running_live(overrides, url))

        yield start_one


@pytest.fixture
async def live(start: StartLive) -> Live:
    """A running coordinator with the default settings."""
    return await start()
