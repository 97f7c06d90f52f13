"""Shard keys: what they must fulfil, and what is said about a database that is reached through a router."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pymongo.database import Database as SyncDatabase

from coordinator.adapters.mongo.client import Database, connect
from coordinator.adapters.mongo.schema import inspect
from coordinator.adapters.mongo.server import ask_server
from coordinator.adapters.mongo.shapes import COLLECTIONS, CollectionShape, ShardKey
from coordinator.adapters.mongo.sharding import Remark, commands, fits, inspect_sharding
from coordinator.adapters.system import SystemClock
from coordinator.ports.journal import OutcomeUnknownError
from tests.router import Router, running_router

RIGHT: dict[str, dict[str, Any]] = {
    "registrations": {"timeSlotId": "hashed"},
    "sessions": {"_id": "hashed"},
    "participants": {"_id": "hashed"},
    "events": {"sessionId": "hashed"},
}
SPREAD = Remark(
    'as it should be: registrations by {timeSlotId: "hashed"}, sessions by {_id: "hashed"}, '
    'participants by {_id: "hashed"}, events by {sessionId: "hashed"}'
)
STAY = Remark("whole on one shard, where they should stay: timeslots, series, nodes, replies, consumers, marks")


@pytest.fixture
async def router() -> AsyncIterator[Router]:
    async with running_router() as running:
        yield running


@pytest.fixture
async def routed(router: Router) -> AsyncIterator[Database]:
    """A database behind the router."""
    database = connect(router.url, "rooms")
    yield database
    await database.close()


@pytest.mark.parametrize("shape", COLLECTIONS, ids=lambda shape: shape.name)
def test_every_unique_index_begins_with_the_shard_key(shape: CollectionShape) -> None:
    unique = [[field for field, _ in index.keys] for index in shape.indexes if index.options.get("unique")]
    assert all(fits(shape.shard_key, fields) for fields in unique)


@pytest.mark.parametrize("shape", COLLECTIONS, ids=lambda shape: shape.name)
def test_every_document_has_the_shard_key_and_what_is_not_hashed_has_an_index(shape: CollectionShape) -> None:
    schema = shape.validator["$jsonSchema"]
    assert set(shape.shard_key.fields) <= {"_id", *schema["required"]}
    if shape.shard_key.is_hashed:
        assert len(shape.shard_key.fields) == 1
        making = f'{shape.name}.createIndex({{{shape.shard_key.fields[0]}: "hashed"}})'
        assert sum(making in line for line in commands("conversation", [shape])) == 1
    else:
        assert any(index.keys[: len(shape.shard_key.keys)] == shape.shard_key.keys for index in shape.indexes)


def test_the_collections_that_are_worth_it_have_a_command_each() -> None:
    sharding = [line for line in commands("other") if line.startswith("sh.shardCollection(")]
    assert sharding == [
        'sh.shardCollection("other.registrations", {timeSlotId: "hashed"})',
        'sh.shardCollection("other.sessions", {_id: "hashed"})',
        'sh.shardCollection("other.participants", {_id: "hashed"})',
        'sh.shardCollection("other.events", {sessionId: "hashed"})',
    ]


@pytest.mark.parametrize(
    ("fields", "is_fit"), [(["a"], True), (["a", "b"], True), (["b", "a"], False), (["_id"], True), (["b"], False)]
)
def test_a_unique_index_fits_if_it_begins_with_the_shard_key(fields: list[str], is_fit: bool) -> None:
    assert fits(ShardKey(("a",)), fields) is is_fit


async def test_of_a_replica_set_it_is_said_that_it_could_be_sharded(database: Database) -> None:
    assert not (await ask_server(database, SystemClock().now)).is_router
    assert await inspect_sharding(database, is_router=False) == [
        Remark("a replica set, not sharded; every unique index fits the shard keys (--sharding lists them)")
    ]


async def test_a_unique_index_of_others_that_does_not_fit_is_named(database: Database, raw: SyncDatabase[Any]) -> None:
    raw["participants"].create_index([("userId", 1), ("sessionId", 1)], unique=True, name="theirs")
    assert await inspect_sharding(database, is_router=False) == [
        Remark(
            'participants cannot be sharded by {_id: "hashed"} while there is the unique index theirs, '
            "which does not begin with it"
        )
    ]


async def test_a_router_is_known_and_the_shape_behind_it_is_right(router: Router, routed: Database) -> None:
    router.sharded = RIGHT
    assert (await ask_server(routed, SystemClock().now)).is_router
    assert await inspect(routed) == []


async def test_what_is_sharded_as_it_should_be_needs_nothing(router: Router, routed: Database) -> None:
    router.sharded = RIGHT
    assert await inspect_sharding(routed, is_router=True) == [SPREAD, STAY]


@pytest.mark.parametrize("whole", [(), ("events", "timeslots")])
async def test_what_is_not_sharded_is_fine_and_may_be_spread(
    router: Router, routed: Database, whole: tuple[str, ...]
) -> None:
    router.whole = whole
    stay, busy, how = await inspect_sharding(routed, is_router=True)
    assert stay == STAY
    assert busy == Remark(
        "whole on one shard, which is right until that has too much to do: "
        "registrations, sessions, participants, events"
    )
    assert how == Remark(f"to spread them, in mongosh: {'; '.join(commands('rooms'))}")


@pytest.mark.parametrize("one", [1, 1.0])
async def test_a_key_in_order_works_and_is_remarked_upon(router: Router, routed: Database, one: float) -> None:
    router.sharded = {**RIGHT, "events": {"sessionId": one}, "marks": {"consumer": one}}
    remarks = await inspect_sharding(routed, is_router=True)
    assert [remark.remedy for remark in remarks] == [""] * 4
    assert remarks[1:3] == [
        Remark(
            'events by {sessionId: 1}, not {sessionId: "hashed"}: nothing fails, '
            "but what is new may all go to one shard"
        ),
        Remark(
            "marks by {consumer: 1}, not {consumer: 1, beginning: 1, sessionId: 1}: nothing fails, "
            "but what is new may all go to one shard"
        ),
    ]


@pytest.mark.parametrize("key", [{"_id": "hashed"}, {"sessionId": 1, "seq": 1}, {"at": 1}])
async def test_a_wrong_key_is_to_be_changed(router: Router, routed: Database, key: dict[str, Any]) -> None:
    router.sharded = {**RIGHT, "events": key}
    written = ", ".join(f"{field}: " + ("1" if kind == 1 else '"hashed"') for field, kind in key.items())
    found = [remark for remark in await inspect_sharding(routed, is_router=True) if remark.remedy]
    assert found == [
        Remark(
            f'events by {{{written}}}, where {{sessionId: "hashed"}} is needed: commands that name that key are sent '
            "to every shard or refused",
            'in mongosh: sh.reshardCollection("rooms.events", {sessionId: "hashed"})',
        )
    ]


async def test_a_user_who_may_not_look_is_told_what_to_grant(router: Router, routed: Database) -> None:
    router.may_read_config = False
    (remark,) = await inspect_sharding(routed, is_router=True)
    assert "does not let this user see" in remark.text
    assert 'db.grantRolesToUser("<user>", [{role: "read", db: "config"}])' in remark.remedy


@pytest.mark.parametrize("behind", [-90.0, 0.0, 2.5])
async def test_the_clock_of_the_server_is_read(router: Router, routed: Database, behind: float) -> None:
    router.behind_seconds = behind
    server = await ask_server(routed, SystemClock().now)
    assert abs(server.lag_seconds + behind) <= server.doubt_seconds + 0.001  # BSON keeps milliseconds
    difference = SystemClock().now() - server.time
    assert timedelta(0) <= difference - timedelta(seconds=behind) < timedelta(seconds=30)


async def test_a_server_that_does_not_answer_leaves_it_open(dead_database: Database) -> None:
    with pytest.raises(OutcomeUnknownError):
        await ask_server(dead_database, SystemClock().now)
    with pytest.raises(OutcomeUnknownError):
        await inspect_sharding(dead_database, is_router=True)
