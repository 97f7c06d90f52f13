"""`Journal.replace` and salts: what a commit says anew, and what it still proves, over every backend."""

import json
from typing import Any

import pytest
from bson import Binary, ObjectId
from msgspec.structs import replace
from pymongo import WriteConcern
from pymongo.database import Database as SyncDatabase

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.journal import MongoJournal
from coordinator.domain.erasure import rewritten_without
from coordinator.domain.events import (
    SYSTEM,
    Actor,
    Event,
    EventBody,
    LeftReason,
    MicChanged,
    ParticipantJoined,
    ParticipantLeft,
    Role,
    SessionEnded,
    UserErased,
)
from coordinator.domain.evolve import fold
from coordinator.domain.ids import CommitId, ConnectionId, UserId
from coordinator.domain.ledger import GENESIS, Commit, find_flaws, seal
from coordinator.domain.model import EndReason
from coordinator.domain.pseudonyms import NOBODY
from coordinator.domain.state import SessionState
from coordinator.ports.journal import Journal
from tests.contracts.making import ANNA, BEN, MOMENT, NOON, OPENED, new_id, new_session_id

SALTS = {user: f"5a17{number:028x}" for number, user in enumerate((ANNA, BEN))}


def joined(user: UserId) -> ParticipantJoined:
    return ParticipantJoined(
        user_id=user,
        connection_id=ConnectionId("node-1"),
        camera_enabled=False,
        mic_enabled=True,
        recording_consent=False,
    )


BATCHES: list[list[tuple[Actor, EventBody]]] = [
    [(SYSTEM, OPENED)],
    [(Actor(user_id=user, role=Role.PARTICIPANT), joined(user)) for user in (ANNA, BEN)],
    [(Actor(user_id=ANNA, role=Role.PARTICIPANT), MicChanged(user_id=ANNA, mic_enabled=False))],
    [
        (SYSTEM, SessionEnded(reason=EndReason.COMPLETED)),
        *((SYSTEM, ParticipantLeft(user_id=user, reason=LeftReason.SESSION_ENDED)) for user in (ANNA, BEN)),
    ],
    [(SYSTEM, UserErased(user_id=ANNA))],
]


def a_log() -> list[Commit]:
    """The journal of a session that is over, from which Anna is about to be erased."""
    session_id = new_session_id()
    commits: list[Commit] = []
    state: SessionState | None = None
    for batch in BATCHES:
        first = 1 if state is None else state.seq + 1
        events = [
            Event(
                session_id=session_id,
                seq=seq,
                at=NOON + seq * MOMENT,
                actor=actor,
                body=body,
                salt=SALTS[body.user_id] if isinstance(body, ParticipantJoined) else None,
            )
            for seq, (actor, body) in enumerate(batch, start=first)
        ]
        prev_hash = commits[-1].hash if commits else GENESIS
        commits.append(seal(CommitId(new_id()), events, prev_hash, state.aliases if state else NOBODY))
        state = fold(events, state)
    return commits


@pytest.fixture
async def log(journal: Journal) -> list[Commit]:
    commits = a_log()
    for commit in commits:
        await journal.append([commit])
    return commits


async def test_salts_are_stored_beside_the_events_and_shown_to_nobody(journal: Journal, log: list[Commit]) -> None:
    assert await journal.read(log[0].session_id) == log
    stored = [event for commit in await journal.stored(log[0].session_id) for event in commit["events"]]
    assert [event.get("salt") for event in stored] == [None, SALTS[ANNA], SALTS[BEN], None, None, None, None, None]
    assert sum("salt" in event for event in stored) == 2
    for sealed in await journal.events_after(log[0].session_id, 0):
        assert "salt" not in json.loads(sealed.json)
    assert find_flaws(log[0].session_id, await journal.stored(log[0].session_id)) == []


async def test_a_commit_is_written_anew_under_its_own_id(journal: Journal, log: list[Commit]) -> None:
    rewritten = rewritten_without(log, ANNA)
    assert [commit.id for commit in rewritten] == [log[place].id for place in (4, 3, 2, 1)]
    anew = list(log)
    for commit in rewritten:
        for _ in range(2):
            assert await journal.replace(commit)
        anew[log.index(next(one for one in log if one.id == commit.id))] = commit
        assert await journal.read(log[0].session_id) == anew
        assert find_flaws(log[0].session_id, await journal.stored(log[0].session_id)) == []
    text = json.dumps(await journal.stored(log[0].session_id))
    assert ANNA not in text
    assert SALTS[ANNA] not in text
    assert SALTS[BEN] in text
    assert await journal.written([commit.id for commit in log]) == {commit.id for commit in log}


async def test_a_commit_that_was_written_anew_counts_as_written(journal: Journal, log: list[Commit]) -> None:
    for commit in rewritten_without(log, ANNA):
        await journal.replace(commit)
    before = await journal.stored(log[0].session_id)
    for commit in log:
        assert await journal.append([commit]) == {commit.id}
    assert await journal.stored(log[0].session_id) == before, "appending again does not bring the user back"


async def test_nothing_else_than_the_same_commit_is_written_anew(journal: Journal, log: list[Commit]) -> None:
    changed = rewritten_without(log, ANNA)[0]
    others = [
        replace(changed, hash="0" * 64),
        replace(changed, prev_hash="0" * 64),
        replace(changed, id=CommitId(new_id())),
        replace(changed, session_id=new_session_id()),
        replace(changed, seq=changed.seq + 1),
    ]
    for other in others:
        assert not await journal.replace(other)
    assert await journal.read(log[0].session_id) == log
    assert [found async for found in journal.session_ids()] == [log[0].session_id]


@pytest.mark.parametrize("value", ["0" * 32, "", None, 5, Binary(b"0" * 24), ObjectId(), SALTS[ANNA].upper()])
async def test_a_salt_that_somebody_changed_in_the_database_is_found(
    database: Database, raw: SyncDatabase[dict[str, Any]], value: object
) -> None:
    journal, commits = MongoJournal(database), a_log()
    for commit in commits:
        await journal.append([commit])
    events = raw["events"].with_options(write_concern=WriteConcern("majority"))
    for change in ({"$set": {"events.0.salt": value}}, {"$unset": {"events.0.salt": ""}}):
        events.update_one({"_id": ObjectId(commits[1].id)}, change)
        flaws = find_flaws(commits[0].session_id, await journal.stored(commits[0].session_id))
        assert flaws[0].seq == 2
