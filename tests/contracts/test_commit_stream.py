"""The port `CommitStream`, sentence by sentence, over every backend."""

import asyncio
import random
from itertools import chain as concatenate

import pytest
from msgspec.structs import replace

from coordinator.domain.cursors import Position
from coordinator.domain.ids import CommitId
from coordinator.domain.ledger import Commit
from coordinator.ports.commit_stream import CommitStream, InvalidPositionError
from coordinator.ports.journal import Journal
from tests.contracts.making import EVERY_KIND, chain, commit, new_id, new_session_id
from tests.contracts.streaming import PATIENCE_SECONDS, commits_of, opened, read_to_the_end, read_until, write


def mixture(number: int, seed: int) -> list[Commit]:
    """The journals of so many sessions, interleaved as they would be written."""
    dice = random.Random(seed)
    journals = [chain(new_session_id(), [dice.randint(1, 4) for _ in range(dice.randint(1, 6))]) for _ in range(number)]
    mixed = []
    while journals:
        journal = dice.choice(journals)
        mixed.append(journal.pop(0))
        journals = [item for item in journals if item]
    return mixed


async def test_commits_come_whole_and_in_the_order_of_writing(journal: Journal, commit_stream: CommitStream) -> None:
    commits = [commit(new_session_id(), EVERY_KIND), *mixture(6, seed=1)]
    async with opened(commit_stream) as reader:
        await write(journal, commits)
        assert commits_of(await read_until(reader, len(commits))) == commits
        assert await read_to_the_end(reader) == []


async def test_what_was_there_before_is_not_told(journal: Journal, commit_stream: CommitStream) -> None:
    await write(journal, mixture(3, seed=2))
    later = commit(new_session_id())
    async with opened(commit_stream) as reader:
        assert list(await reader.read()) == []
        await write(journal, [later])
        assert commits_of(await read_until(reader, 1)) == [later]


async def test_commits_of_one_append_come_once_each_and_alike_for_every_reader(
    journal: Journal, commit_stream: CommitStream, stream_elsewhere: CommitStream
) -> None:
    journals = [chain(new_session_id(), [2, 1, 3]) for _ in range(40)]
    async with opened(commit_stream) as here, opened(stream_elsewhere) as there:
        for number in range(3):
            await journal.append([commits[number] for commits in journals])
        streamed = await read_until(here, 120)
        assert await read_until(there, 120) == streamed
    for commits in journals:
        assert [item for item in commits_of(streamed) if item.session_id == commits[0].session_id] == commits


async def test_what_was_not_written_is_not_told_nor_a_repetition(journal: Journal, commit_stream: CommitStream) -> None:
    first, second = chain(new_session_id(), [1, 1])
    async with opened(commit_stream) as reader:
        await journal.append([first])
        await journal.append([replace(first, id=CommitId(new_id()))])
        await journal.append([first])
        await journal.append([second])
        assert commits_of(await read_until(reader, 2)) == [first, second]
        assert await read_to_the_end(reader) == []


async def test_reading_goes_on_after_every_position(journal: Journal, commit_stream: CommitStream) -> None:
    commits = mixture(5, seed=3)
    async with opened(commit_stream) as reader:
        positions = [reader.position]
        await write(journal, commits)
        streamed = await read_until(reader, len(commits))
        assert reader.position == streamed[-1].position
        positions += [item.position for item in streamed]
    assert len(set(positions)) == len(positions)
    for number, position in enumerate(positions):
        async with opened(commit_stream, position) as reader:
            assert reader.position == position
            assert await read_until(reader, len(commits) - number) == streamed[number:]
    async with opened(commit_stream, positions[-1]) as reader:
        assert list(await reader.read()) == []


async def test_another_node_goes_on_where_one_has_stopped(
    journal: Journal, commit_stream: CommitStream, stream_elsewhere: CommitStream
) -> None:
    commits = mixture(8, seed=4)
    half = len(commits) // 2
    async with opened(commit_stream) as reader:
        await write(journal, commits[:half])
        assert commits_of(await read_until(reader, half)) == commits[:half]
        position = reader.position
    await write(journal, commits[half:])
    async with opened(stream_elsewhere, position) as reader:
        assert commits_of(await read_until(reader, len(commits) - half)) == commits[half:]


async def test_nothing_is_missed_from_the_moment_it_is_open(journal: Journal, commit_stream: CommitStream) -> None:
    """Writers never pause; each notes which of its commits it began to write once the stream was open."""
    underway, is_open, is_over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def keep_writing() -> tuple[list[Commit], list[Commit]]:
        before: list[Commit] = []
        after: list[Commit] = []
        for item in chain(new_session_id(), [1] * 1000):
            (after if is_open.is_set() else before).append(item)
            await journal.append([item])
            underway.set()
            if is_over.is_set() and len(after) > 5:
                break
            await asyncio.sleep(0)
        return before, after

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(keep_writing()) for _ in range(5)]
        await asyncio.wait_for(underway.wait(), PATIENCE_SECONDS)
        reader = await commit_stream.open()
        is_open.set()
        first = await reader.read()
        is_over.set()
    streamed = commits_of([*first, *await read_to_the_end(reader)])
    await reader.close()
    for before, after in (writer.result() for writer in writers):
        told = [item for item in streamed if item.session_id == after[0].session_id]
        assert told == [*before, *after][-len(told) :]
        assert len(told) >= len(after) > 5
    assert len(streamed) == len({item.id for item in streamed})


async def test_none_means_that_everything_durable_has_been_read(journal: Journal, commit_stream: CommitStream) -> None:
    async with opened(commit_stream) as reader:
        for seed in range(3):
            commits = mixture(20, seed=seed)
            await write(journal, commits)
            assert commits_of(await read_to_the_end(reader)) == commits


async def test_a_read_waits_for_the_first_commit(journal: Journal, commit_stream: CommitStream) -> None:
    item = commit(new_session_id())
    async with opened(commit_stream) as reader, asyncio.timeout(PATIENCE_SECONDS):
        reading = asyncio.create_task(read_until(reader, 1))
        await asyncio.wait([reading], timeout=0.01)
        await journal.append([item])
        assert commits_of(await reading) == [item]


async def test_its_place_while_nothing_comes_is_good_to_go_on_from(
    journal: Journal, commit_stream: CommitStream
) -> None:
    first, second = chain(new_session_id(), [1, 1])
    async with opened(commit_stream) as reader:
        await journal.append([first])
        await read_to_the_end(reader)
        idle = [reader.position]
        await reader.read()
        idle.append(reader.position)
    await journal.append([second])
    for position in idle:
        async with opened(commit_stream, position) as reader:
            assert commits_of(await read_until(reader, 1)) == [second]


async def test_a_read_that_was_given_up_loses_nothing(journal: Journal, commit_stream: CommitStream) -> None:
    commits = chain(new_session_id(), [1, 1, 1])
    async with opened(commit_stream) as reader:
        await journal.append([commits[0]])
        assert commits_of(await read_until(reader, 1)) == commits[:1]
        reading = asyncio.create_task(reader.read())
        await asyncio.wait([reading], timeout=0.01)
        reading.cancel()
        await write(journal, commits[1:])
        await asyncio.wait([reading])
        position = reader.position
    async with opened(commit_stream, position) as reader:
        assert commits_of(await read_until(reader, 2)) == commits[1:]


async def test_closing_is_harmless_at_any_time(commit_stream: CommitStream) -> None:
    reader = await commit_stream.open()
    for _ in range(2):
        await reader.close()
    reader = await commit_stream.open()
    reading = asyncio.create_task(reader.read())
    await asyncio.wait([reading], timeout=0.01)
    for _ in range(2):
        await reader.close()
    reading.cancel()
    await asyncio.wait([reading])
    await reader.close()


@pytest.mark.parametrize(
    "text", ["", "x", "garbage", "H", "h", "b", "AAAAAAAAAAAAAAAA", "s.position", "m-1", "b" * 1000, "hÄ", "h====", " "]
)
async def test_what_is_no_position_is_refused(commit_stream: CommitStream, text: str) -> None:
    with pytest.raises(InvalidPositionError):
        await commit_stream.open(Position(text))


async def test_a_position_of_another_store_is_refused(
    commit_stream: CommitStream, foreign: tuple[Journal, CommitStream]
) -> None:
    foreign_journal, foreign_stream = foreign
    async with opened(foreign_stream) as reader:
        await write(foreign_journal, mixture(2, seed=5))
        position = (await read_to_the_end(reader))[-1].position
    with pytest.raises(InvalidPositionError):
        await commit_stream.open(position)
    async with opened(foreign_stream, position):
        """It is good where it comes from."""


async def test_a_large_run_comes_whole(journal: Journal, commit_stream: CommitStream) -> None:
    journals = [chain(new_session_id(), [1, 1, 1]) for _ in range(450)]
    async with opened(commit_stream) as reader:
        position = reader.position
        for number in range(3):
            await journal.append([commits[number] for commits in journals])
        streamed = await read_until(reader, 1350)
    assert {item.id for item in commits_of(streamed)} == {item.id for item in concatenate(*journals)}
    async with opened(commit_stream, position) as reader:
        batches = [await reader.read() for _ in range(3)]
        assert all(0 < len(batch) <= 500 for batch in batches)
        rest = await read_to_the_end(reader)
    assert [*concatenate(*batches), *rest] == streamed
