"""Following a stream of commits in tests: reading until what is expected has come."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from coordinator.domain.cursors import Position
from coordinator.domain.ledger import Commit
from coordinator.ports.commit_stream import CommitStream, OpenStream, StreamedCommit
from coordinator.ports.journal import Journal

PATIENCE_SECONDS = 30.0


@asynccontextmanager
async def opened(stream: CommitStream, after: Position | None = None) -> AsyncIterator[OpenStream]:
    """Open a stream, and close it afterwards."""
    reader = await stream.open(after)
    try:
        yield reader
    finally:
        await reader.close()


async def read_until(reader: OpenStream, count: int) -> list[StreamedCommit]:
    """Read until so many have come; more is a failure of whoever looks at them."""
    found: list[StreamedCommit] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(found) < count:
            found += await reader.read()
    return found


async def read_to_the_end(reader: OpenStream) -> list[StreamedCommit]:
    """Read until there is nothing more."""
    found: list[StreamedCommit] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while batch := await reader.read():
            found += batch
    return found


def commits_of(streamed: Sequence[StreamedCommit]) -> list[Commit]:
    return [item.commit for item in streamed]


async def write(journal: Journal, commits: Sequence[Commit]) -> None:
    """Write commits one after the other."""
    for item in commits:
        assert await journal.append([item]) == {item.id}
