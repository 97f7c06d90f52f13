"""Conditional writes of many documents at once, in MongoDB: whatever is there, and whatever happens in between."""

import random
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database as SyncDatabase
from pymongo.errors import BulkWriteError

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.documents import participant_document
from coordinator.adapters.mongo.replacing import replace_older
from coordinator.domain.ids import UserId
from tests.contracts.making import new_session_id, participant

SESSION = new_session_id()
Raw = SyncDatabase[dict[str, Any]]


def document(number: int, seq: int, **changes: Any) -> dict[str, Any]:
    """What is to be stored of one participant; `micEnabled` tells an even `seq`."""
    made = participant_document(participant(SESSION, UserId(f"user{number}"), seq=seq, mic_enabled=seq % 2 == 0))
    return {**made, **changes}


def seqs(raw: Raw) -> dict[str, int]:
    found = {item["userId"]: item for item in raw.participants.find()}
    assert all(item["micEnabled"] is (item["seq"] % 2 == 0) for item in found.values()), "half of a document"
    return {user: item["seq"] for user, item in found.items()}


class Collection:
    """The collection of participants, with something that happens before an operation; counts what is asked."""

    def __init__(self, database: Database, **meddlers: Any) -> None:
        self._genuine = database.participants
        self._meddlers = meddlers
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        if name in self._meddlers:
            self._meddlers[name](self.asked.count(name))
        return getattr(self._genuine, name)


async def write(collection: Any, documents: list[dict[str, Any]]) -> None:
    await replace_older(collection, documents)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 33, 200])
async def test_each_is_decided_by_its_own_seq(database: Database, raw: Raw, count: int) -> None:
    dice = random.Random(count)
    stored = {number: dice.randrange(0, 10) for number in range(count)}  # 0: there is none
    if present := [document(number, seq) for number, seq in stored.items() if seq]:
        raw.participants.insert_many(present)
    new = {number: dice.randrange(1, 10) for number in range(count)}
    await write(database.participants, [document(number, seq) for number, seq in new.items()])
    assert seqs(raw) == {f"user{number}": max(seq, stored[number]) for number, seq in new.items()}


async def test_what_is_there_already_costs_one_statement_for_many(database: Database, raw: Raw) -> None:
    raw.participants.insert_many([document(number, 1) for number in range(128)])
    collection = Collection(database)
    await write(collection, [document(number, 2) for number in range(128)])
    assert collection.asked == ["update_many"] * 4
    assert set(seqs(raw).values()) == {2}


async def test_the_first_time_they_are_inserted(database: Database, raw: Raw) -> None:
    collection = Collection(database)
    await write(collection, [document(number, 1) for number in range(8)])
    assert collection.asked == ["update_many", "find", "insert_many"]
    assert len(seqs(raw)) == 8


async def test_a_document_without_a_seq_is_older_than_any(database: Database, raw: Raw) -> None:
    bare = document(0, 1)
    del bare["seq"]
    raw.participants.insert_one(bare)
    await write(database.participants, [document(0, 2)])
    assert seqs(raw) == {"user0": 2}


@pytest.mark.parametrize(("theirs", "left"), [(9, 9), (3, 4)])
async def test_one_that_somebody_makes_meanwhile(database: Database, raw: Raw, theirs: int, left: int) -> None:
    def make(_: int) -> None:
        raw.participants.insert_one(document(1, theirs))

    collection = Collection(database, insert_many=make)
    await write(collection, [document(number, 4) for number in range(3)])
    assert seqs(raw) == {"user0": 4, "user1": left, "user2": 4}


async def test_one_that_somebody_takes_away_meanwhile(database: Database, raw: Raw) -> None:
    raw.participants.insert_one(document(1, 1))

    def take_away(time: int) -> None:
        if time == 2:
            raw.participants.delete_one({"_id": document(1, 1)["_id"]})

    collection = Collection(database, update_many=take_away)
    await write(collection, [document(number, 4) for number in range(3)])
    assert seqs(raw) == dict.fromkeys(("user0", "user1", "user2"), 4)


async def test_one_that_is_made_between_looking_and_writing_one_by_one(database: Database, raw: Raw) -> None:
    raw.participants.insert_one(document(1, 1))
    collection = Collection(
        database,
        update_many=lambda time: raw.participants.delete_many({}) if time == 2 else None,
        bulk_write=lambda _: raw.participants.insert_one(document(1, 9)),
    )
    await write(collection, [document(number, 4) for number in range(3)])
    assert seqs(raw) == {"user1": 9}  # the others were there, and somebody took them away after


async def test_one_that_is_refused_keeps_no_other_from_being_written(database: Database, raw: Raw) -> None:
    raw.participants.insert_many([document(number, 1) for number in range(6)])
    documents = [document(number, 2) for number in range(6)]
    documents[2]["sessionId"] = "no ObjectId"
    with pytest.raises(BulkWriteError):
        await write(database.participants, documents)
    assert seqs(raw) == {f"user{number}": 1 if number == 2 else 2 for number in range(6)}


async def test_what_looks_like_an_expression_is_stored_as_it_is(database: Database, raw: Raw) -> None:
    odd = {**document(0, 2), "userId": "$seq"}
    raw.participants.insert_one(document(0, 1))
    await write(database.participants, [odd])
    assert raw.participants.find_one({"_id": odd["_id"]}) == odd
    assert isinstance(odd["_id"], ObjectId)
