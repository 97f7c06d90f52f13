"""The stream of commits as MongoDB serves it: what is lost is told, what is no commit is passed over. MongoDB only."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from bson import ObjectId
from msgspec.structs import replace
from pymongo.database import Database as SyncDatabase

from coordinator.adapters.mongo.client import Database, connect
from coordinator.adapters.mongo.commit_documents import commit_document
from coordinator.adapters.mongo.commit_stream import STALL_SECONDS, MongoCommitStream
from coordinator.adapters.mongo.embedded import EmbeddedServer
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.adapters.mongo.schema import prepare
from coordinator.domain.cursors import Position
from coordinator.domain.ids import CommitId
from coordinator.ports.commit_stream import InvalidPositionError, PositionLostError
from tests.contracts.making import NOON, chain, commit, new_id, new_session_id
from tests.contracts.streaming import PATIENCE_SECONDS, commits_of, opened, read_to_the_end, read_until, write

Raw = SyncDatabase[dict[str, Any]]
OPLOG_ENTRIES = 50
PRUNED_EVERY = 1000
"""The embedded server shortens its oplog after so many writes."""


class Stopwatch:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class ForgetfulServer(EmbeddedServer):
    """An embedded server that keeps hardly anything of its oplog."""

    def _make_command(self) -> list[str]:
        command = super()._make_command()
        command[command.index("--oplog-max-entries") + 1] = str(OPLOG_ENTRIES)
        return command


@pytest.fixture
def journal(database: Database) -> MongoJournal:
    return MongoJournal(database)


@pytest.fixture
def commit_stream(database: Database) -> MongoCommitStream:
    return MongoCommitStream(database)


@pytest.fixture
async def forgetful(tmp_path: Path) -> AsyncIterator[Database]:
    """A prepared database on a server that forgets what has happened."""
    server = ForgetfulServer(tmp_path, durable=False)
    database = connect(await server.start(), "forgetful")
    await prepare(database)
    yield database
    await database.close()
    await server.stop()


async def push_out(database: Database) -> None:
    """Write so much of something else that the server throws away what was there before."""
    notes = database.collection("notes")
    for _ in range(3):
        await notes.insert_many([{} for _ in range(PRUNED_EVERY)])


async def test_changes_and_deletions_are_not_told(
    journal: MongoJournal, commit_stream: MongoCommitStream, raw: Raw
) -> None:
    first, second, third = chain(new_session_id(), [2, 1, 1])
    async with opened(commit_stream) as reader:
        await write(journal, [first, second])
        assert commits_of(await read_until(reader, 2)) == [first, second]
        before = reader.position
        raw["events"].update_one({"_id": ObjectId(first.id)}, {"$set": {"events.0.actor.userId": "erased"}})
        raw["events"].replace_one({"_id": ObjectId(second.id)}, commit_document(second))
        raw["events"].delete_many({"sessionId": ObjectId(first.session_id)})
        assert await read_to_the_end(reader) == []
        assert reader.position != before
        position = reader.position
    await write(journal, [third])
    for after in (before, position):
        async with opened(commit_stream, after) as reader:
            assert commits_of(await read_until(reader, 1)) == [third]


async def test_many_changes_in_a_row_do_not_pass_for_the_end(
    journal: MongoJournal, commit_stream: MongoCommitStream, raw: Raw
) -> None:
    first, last = chain(new_session_id(), [1, 1])
    async with opened(commit_stream) as reader:
        await write(journal, [first])
        for number in range(700):
            raw["events"].update_one({"_id": ObjectId(first.id)}, {"$set": {"at": NOON + timedelta(seconds=number)}})
        await write(journal, [last])
        assert [item.id for item in commits_of(await read_to_the_end(reader))] == [first.id, last.id]


async def test_the_position_moves_on_while_others_are_writing(
    journal: MongoJournal, commit_stream: MongoCommitStream, database: Database
) -> None:
    item = commit(new_session_id())
    async with opened(commit_stream) as reader, asyncio.timeout(PATIENCE_SECONDS):
        positions = {reader.position}
        while len(positions) < 3:
            await database.collection("notes").insert_one({})
            assert list(await reader.read()) == []
            positions.add(reader.position)
        newest = reader.position
    await write(journal, [item])
    for position in {newest, *positions}:
        async with opened(commit_stream, position) as reader:
            assert commits_of(await read_until(reader, 1)) == [item]


async def test_a_place_right_after_an_index_was_made_is_good_or_lost_but_skips_nothing(
    journal: MongoJournal, commit_stream: MongoCommitStream, database: Database
) -> None:
    item = commit(new_session_id())
    async with opened(commit_stream) as reader, asyncio.timeout(PATIENCE_SECONDS):
        before = reader.position
        await database.collection("notes").create_index("text")
        while reader.position == before:
            assert list(await reader.read()) == []
        position = reader.position
        await write(journal, [item])
        assert commits_of(await read_until(reader, 1)) == [item]
    try:
        async with opened(commit_stream, position) as reader:
            assert commits_of(await read_until(reader, 1)) == [item]
    except PositionLostError:
        """The embedded server does not take such a token back."""


GARBAGE: list[dict[str, Any]] = [
    {},
    {"_id": "text"},
    {"sessionId": "text"},
    {"seq": "1"},
    {"seq": 1.5},
    {"seq": True, "events": []},
    {"events": []},
    {"events": None},
    {"events": "text"},
    {"events": ["text"]},
    {"events": [{}]},
    {"at": "text"},
    {"at": None},
    {"seq": 7},
]


async def test_what_is_no_commit_is_passed_over_and_named_once(
    journal: MongoJournal, commit_stream: MongoCommitStream, raw: Raw
) -> None:
    commits = [commit(new_session_id()) for _ in range(len(GARBAGE) + 1)]
    keys = []
    async with opened(commit_stream) as reader:
        position = reader.position
        for item, change in zip(commits, GARBAGE, strict=False):
            await write(journal, [item])
            sound = commit_document(replace(commit(new_session_id()), id=CommitId(new_id())))
            damaged = {**sound, **change} if change else {"_id": sound["_id"]}
            raw["events"].insert_one(damaged, bypass_document_validation=True)
            keys.append(str(damaged["_id"]))
        unknown = commit_document(commit(new_session_id()))
        unknown["events"][0]["type"] = "of_a_newer_version"
        raw["events"].insert_one(unknown)
        keys.append(str(unknown["_id"]))
        await write(journal, commits[-1:])
        with structlog.testing.capture_logs() as logs:
            assert commits_of(await read_to_the_end(reader)) == commits
            async with opened(commit_stream, position) as again:
                assert commits_of(await read_until(again, len(commits))) == commits
    assert [entry["event"] for entry in logs] == ["document_unreadable"] * len(keys)
    assert [entry["id"] for entry in logs] == keys


async def test_when_the_collection_is_dropped_the_position_is_lost(
    journal: MongoJournal, commit_stream: MongoCommitStream, database: Database, raw: Raw
) -> None:
    item = commit(new_session_id())
    async with opened(commit_stream) as reader, asyncio.timeout(PATIENCE_SECONDS):
        await write(journal, [item])
        raw.drop_collection("events")
        assert commits_of(await reader.read()) == [item]
        with pytest.raises(PositionLostError):
            await reader.read()
        position = reader.position
        with pytest.raises(RuntimeError, match="open another"):
            await reader.read()
    await prepare(database)
    with pytest.raises(InvalidPositionError):  # these are other events
        await commit_stream.open(position)
    async with opened(commit_stream) as reader:
        await write(journal, [item])
        assert commits_of(await read_until(reader, 1)) == [item]


async def test_a_position_that_has_been_pushed_out_is_lost(forgetful: Database) -> None:
    journal, commit_stream = MongoJournal(forgetful), MongoCommitStream(forgetful)
    async with opened(commit_stream) as reader:
        positions = [reader.position]
        await write(journal, chain(new_session_id(), [1, 1]))
        positions += [item.position for item in await read_until(reader, 2)]
    await push_out(forgetful)
    for position in positions:
        with pytest.raises(PositionLostError):
            await commit_stream.open(position)


async def test_a_reader_that_stays_away_too_long_is_told_what_it_has_lost(forgetful: Database) -> None:
    stopwatch = Stopwatch()
    journal, commit_stream = MongoJournal(forgetful), MongoCommitStream(forgetful, stopwatch=stopwatch)
    async with opened(commit_stream) as reader:
        await write(journal, chain(new_session_id(), [1, 1]))
        await push_out(forgetful)
        stopwatch.seconds += STALL_SECONDS + 1
        with pytest.raises(PositionLostError):
            await reader.read()


async def test_a_reader_that_stays_away_loses_nothing_that_is_still_there(
    journal: MongoJournal, database: Database
) -> None:
    stopwatch = Stopwatch()
    commit_stream = MongoCommitStream(database, stall_seconds=5, stopwatch=stopwatch)
    commits = chain(new_session_id(), [1] * 8)
    async with opened(commit_stream) as reader:
        for first in range(0, 8, 2):
            await write(journal, commits[first : first + 2])
            stopwatch.seconds += 6
            assert commits_of(await read_until(reader, 2)) == commits[first : first + 2]
        stopwatch.seconds += 6
        assert await read_to_the_end(reader) == []


async def test_more_readers_than_the_driver_has_threads_hold_nobody_up(
    journal: MongoJournal, commit_stream: MongoCommitStream
) -> None:
    item = commit(new_session_id())
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        readers = [await commit_stream.open() for _ in range(30)]
        reading = [group.create_task(read_until(reader, 1)) for reader in readers]
        await journal.append([item])
    assert all(commits_of(task.result()) == [item] for task in reading)
    await asyncio.gather(*(reader.close() for reader in readers))


async def test_a_position_with_a_slip_in_it_is_refused(commit_stream: MongoCommitStream) -> None:
    async with opened(commit_stream) as reader:
        position = reader.position
    for tampered in (position[:-1], position[1:], position.swapcase(), position + "A"):
        with pytest.raises(InvalidPositionError):
            await commit_stream.open(Position(tampered))
