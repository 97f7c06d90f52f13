"""The port `Journal`, sentence by sentence, over every backend."""

import asyncio
import json
import random

import pytest
from msgspec.structs import replace

from coordinator.domain.ids import CommitId
from coordinator.domain.ledger import (
    GENESIS,
    MAX_COMMIT_EVENTS,
    Commit,
    SealedEvent,
    find_flaws,
    plain_data,
    seal,
    wire_time,
    wire_value,
)
from coordinator.ports.journal import Journal
from tests.contracts.making import EVERY_KIND, OPENED, chain, commit, new_id, new_session_id, toggles


def ids_of(*commits: Commit) -> set[CommitId]:
    return {item.id for item in commits}


async def write(journal: Journal, commits: list[Commit]) -> None:
    for item in commits:
        assert await journal.append([item]) == {item.id}


async def test_what_was_appended_is_read_back_unchanged(journal: Journal) -> None:
    written = commit(new_session_id(), EVERY_KIND)
    assert await journal.append([written]) == {written.id}
    assert await journal.read(written.session_id) == [written]


async def test_a_commit_that_was_read_is_sealed_like_the_one_that_was_written(journal: Journal) -> None:
    written = commit(new_session_id(), EVERY_KIND)
    await journal.append([written])
    (found,) = await journal.read(written.session_id)
    assert [sealed.json for sealed in found.events] == [sealed.json for sealed in written.events]
    assert seal(found.id, [sealed.event for sealed in found.events], found.prev_hash) == written
    assert found.events[0].event.at.microsecond == 124_000  # milliseconds survive


async def test_appending_nothing_writes_nothing(journal: Journal) -> None:
    assert await journal.append([]) == set()


async def test_commits_of_many_sessions_go_in_one_append(journal: Journal) -> None:
    commits = [commit(new_session_id()) for _ in range(120)]
    assert await journal.append(commits) == ids_of(*commits)
    for item in random.Random(1).sample(commits, 10):
        assert await journal.read(item.session_id) == [item]


async def test_whoever_comes_second_to_a_place_is_not_written(journal: Journal) -> None:
    session_id = new_session_id()
    first, second = commit(session_id), commit(session_id)
    assert await journal.append([first]) == {first.id}
    assert await journal.append([second]) == set()
    assert await journal.read(session_id) == [first]
    assert await journal.written([first.id, second.id]) == {first.id}


async def test_repeating_an_append_is_harmless(journal: Journal) -> None:
    commits = chain(new_session_id(), [2, 1])
    await write(journal, commits)
    for item in commits:
        assert await journal.append([item]) == {item.id}
    assert await journal.read(commits[0].session_id) == commits


async def test_each_commit_fares_on_its_own(journal: Journal) -> None:
    taken = [commit(new_session_id()) for _ in range(3)]
    mine_already = [commit(new_session_id()) for _ in range(3)]
    await journal.append([*taken, *mine_already])
    fresh = [commit(new_session_id()) for _ in range(44)]
    late = [commit(item.session_id) for item in taken]
    batch = [*fresh, *mine_already, *late]
    random.Random(2).shuffle(batch)
    assert await journal.append(batch) == ids_of(*fresh, *mine_already)
    for item in (*fresh, *mine_already, *taken):
        assert await journal.read(item.session_id) == [item]


@pytest.mark.parametrize("refused", [0, 24, 49])
async def test_one_conflict_among_many_stops_none_of_the_others(journal: Journal, refused: int) -> None:
    commits = [commit(new_session_id()) for _ in range(50)]
    winner = commit(commits[refused].session_id)
    await journal.append([winner])
    assert await journal.append(commits) == ids_of(*commits) - {commits[refused].id}
    assert await journal.read(winner.session_id) == [winner]


async def test_of_fifty_who_race_for_a_place_exactly_one_wins(journal: Journal) -> None:
    session_id = new_session_id()
    (opening,) = chain(session_id, [1])
    await journal.append([opening])
    racers = [commit(session_id, toggles(1), seq=2, prev_hash=opening.hash) for _ in range(50)]
    outcomes = await asyncio.gather(*(journal.append([racer]) for racer in racers))
    winners = [racer for racer, outcome in zip(racers, outcomes, strict=True) if outcome]
    assert len(winners) == 1
    assert [outcome for outcome in outcomes if outcome] == [{winners[0].id}]
    assert await journal.read(session_id) == [opening, winners[0]]


async def test_races_in_batches_leave_one_winner_for_each_session(journal: Journal) -> None:
    sessions = [new_session_id() for _ in range(20)]
    batches = [[commit(session_id) for session_id in sessions] for _ in range(8)]
    for number, batch in enumerate(batches):
        random.Random(number).shuffle(batch)
    outcomes = await asyncio.gather(*(journal.append(batch) for batch in batches))
    won = [item for batch, outcome in zip(batches, outcomes, strict=True) for item in batch if item.id in outcome]
    assert sorted(item.session_id for item in won) == sorted(sessions)
    for item in won:
        assert await journal.read(item.session_id) == [item]


async def test_written_tells_which_ids_are_there(journal: Journal) -> None:
    there, refused = commit(new_session_id()), commit(new_session_id())
    await journal.append([there, replace(refused, id=CommitId(new_id()))])
    await journal.append([refused])
    assert await journal.written([]) == set()
    assert await journal.written([CommitId(new_id()), refused.id]) == set()
    assert await journal.written([refused.id, there.id, CommitId(new_id())]) == {there.id}


async def test_read_continues_after_any_commit(journal: Journal) -> None:
    commits = chain(new_session_id(), [3, 1, 4, 1, 5])
    await write(journal, commits)
    await write(journal, chain(new_session_id(), [2, 2]))
    session_id = commits[0].session_id
    assert await journal.read(session_id) == commits
    for number, item in enumerate(commits, start=1):
        assert list(await journal.read(session_id, item.last_seq)) == commits[number:]


async def test_events_after_starts_anywhere_also_inside_a_commit(journal: Journal) -> None:
    commits = chain(new_session_id(), [3, 1, 4, 1, 5])
    await write(journal, commits)
    await write(journal, chain(new_session_id(), [20]))
    every: list[SealedEvent] = [sealed for item in commits for sealed in item.events]
    for after in range(len(every) + 3):
        assert list(await journal.events_after(commits[0].session_id, after)) == every[after:]


async def test_events_after_reaches_into_the_largest_commit(journal: Journal) -> None:
    commits = chain(new_session_id(), [2, MAX_COMMIT_EVENTS, 1])
    await write(journal, commits)
    every = [sealed for item in commits for sealed in item.events]
    for after in (1, 2, 3, 500, MAX_COMMIT_EVENTS + 1, MAX_COMMIT_EVENTS + 2, MAX_COMMIT_EVENTS + 3):
        assert list(await journal.events_after(commits[0].session_id, after)) == every[after:]


async def test_a_commit_that_a_reader_could_not_find_again_is_refused(journal: Journal) -> None:
    too_large = commit(new_session_id(), (OPENED, *toggles(MAX_COMMIT_EVENTS)))
    with pytest.raises(ValueError, match="1025 events"):
        await journal.append([too_large])
    assert await journal.read(too_large.session_id) == []


async def test_an_unknown_session_has_nothing(journal: Journal) -> None:
    await write(journal, chain(new_session_id(), [2]))
    assert list(await journal.read(new_session_id())) == []
    assert list(await journal.events_after(new_session_id(), 0)) == []
    assert list(await journal.events_after(new_session_id(), 7)) == []
    assert list(await journal.stored(new_session_id())) == []


async def test_commits_are_read_in_order_however_they_were_written(journal: Journal) -> None:
    commits = chain(new_session_id(), [1, 2, 3, 4])
    await write(journal, list(reversed(commits)))
    assert await journal.read(commits[0].session_id) == commits


async def test_session_ids_names_every_session_once(journal: Journal) -> None:
    assert [found async for found in journal.session_ids()] == []
    sessions = [new_session_id() for _ in range(150)]
    journals = [chain(session_id, [1, 2]) for session_id in sessions]
    await journal.append([commits[0] for commits in journals])
    await journal.append([commits[1] for commits in journals])
    assert sorted([found async for found in journal.session_ids()]) == sorted(sessions)


async def test_stored_is_the_plain_form_of_what_was_written(journal: Journal) -> None:
    written = commit(new_session_id(), EVERY_KIND)
    await journal.append([written])
    expected = {
        "id": written.id,
        "sessionId": written.session_id,
        "seq": 1,
        "at": wire_time(written.at),
        "events": [
            {
                "seq": sealed.event.seq,
                "type": sealed.event.body.kind,
                "at": wire_time(sealed.event.at),
                "actor": {"userId": "anna", "role": "participant"},
                "data": wire_value(plain_data(sealed.event.body)),
            }
            for sealed in written.events
        ],
        "prevHash": GENESIS,
        "hash": written.hash,
    }
    (stored,) = await journal.stored(written.session_id)
    assert stored == expected
    assert json.loads(json.dumps(stored)) == expected  # nothing but plain data


async def test_the_chain_of_what_is_stored_holds(journal: Journal) -> None:
    first = commit(new_session_id(), EVERY_KIND)
    rest = commit(first.session_id, toggles(3), seq=len(EVERY_KIND) + 1, prev_hash=first.hash)
    await write(journal, [first, rest])
    assert find_flaws(first.session_id, await journal.stored(first.session_id)) == []


async def test_a_broken_chain_is_found_where_it_breaks(journal: Journal) -> None:
    commits = chain(new_session_id(), [2, 2, 2])
    await write(journal, [commits[0], replace(commits[1], prev_hash=GENESIS), commits[2]])
    flaws = find_flaws(commits[0].session_id, await journal.stored(commits[0].session_id))
    assert [flaw.seq for flaw in flaws] == [3]


async def test_any_mixture_of_commit_sizes_reads_alike(journal: Journal) -> None:
    dice = random.Random(3)
    for _ in range(5):
        commits = chain(new_session_id(), [dice.randint(1, 6) for _ in range(dice.randint(1, 8))])
        await write(journal, commits)
        every = [sealed for item in commits for sealed in item.events]
        for after in dice.sample(range(len(every) + 2), k=min(4, len(every))):
            assert list(await journal.events_after(commits[0].session_id, after)) == every[after:]
            assert list(await journal.read(commits[0].session_id, after)) == [c for c in commits if c.seq > after]
