"""Validators and indexes: what they let in, what they keep out, and how they come about. MongoDB only."""

import asyncio
import copy
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from bson import Int64, ObjectId
from pymongo.database import Database as SyncDatabase
from pymongo.errors import WriteError

from coordinator.adapters.mongo.bookings import MongoBookings
from coordinator.adapters.mongo.catalog import MongoCatalog
from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.schema import SchemaError, inspect, prepare
from coordinator.adapters.mongo.shapes import COLLECTIONS
from coordinator.domain.ids import SessionId, SlotId
from coordinator.ports.catalog import SlotQuery
from tests.contracts.claiming import claim
from tests.contracts.tables import AT, INDEXES, OPTIONAL, SMALLEST, WRONG
from tests.database import client, open_database

Raw = SyncDatabase[dict[str, Any]]
DAY = timedelta(days=1)
NAMES = list(INDEXES)


def indexes(raw: Raw, collection: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """What there is, without the index over `_id`; every direction must be 1."""
    found = [index for index in raw[collection].list_indexes() if index["name"] != "_id_"]
    assert all(direction == 1 for index in found for direction in index["key"].values())
    return {
        tuple(index["key"]): {name: value for name, value in index.items() if name not in ("v", "key", "name")}
        for index in found
    }


def shape(raw: Raw) -> dict[str, Any]:
    return {item["name"]: (item, list(raw[item["name"]].list_indexes())) for item in raw.list_collections()}


def bare_raw(database: Database) -> Raw:
    return client()[database.name]


def test_the_tables_here_speak_of_every_field() -> None:
    assert {item.name for item in COLLECTIONS} == set(NAMES)
    for item in COLLECTIONS:
        fields = set(item.validator["$jsonSchema"]["properties"])
        assert fields | {"unknown"} == set(WRONG[item.name])
        assert fields - {"_id"} == {*SMALLEST[item.name], *OPTIONAL[item.name]} - {"_id"}


@pytest.mark.parametrize("collection", NAMES)
async def test_indexes_are_exactly_these(raw: Raw, collection: str) -> None:
    assert indexes(raw, collection) == INDEXES[collection]


@pytest.mark.parametrize("collection", NAMES)
async def test_what_is_put_in_by_hand_is_taken(raw: Raw, collection: str) -> None:
    smallest, full = SMALLEST[collection], {**SMALLEST[collection], **OPTIONAL[collection]}
    raw[collection].insert_one(dict(smallest))
    raw[collection].delete_many({})
    for name, value in OPTIONAL[collection].items():
        raw[collection].insert_one({**smallest, name: value})
        raw[collection].delete_many({})
    raw[collection].insert_one(full)


@pytest.mark.parametrize("collection", ["timeslots", "registrations"])
async def test_null_stands_for_no_value_where_others_write(raw: Raw, collection: str) -> None:
    raw[collection].insert_one({**SMALLEST[collection], **dict.fromkeys(OPTIONAL[collection])})


async def test_a_slot_put_in_by_hand_has_the_defaults_and_can_be_claimed(database: Database, raw: Raw) -> None:
    nulls = dict.fromkeys(OPTIONAL["timeslots"])
    key = raw["timeslots"].insert_one({**SMALLEST["timeslots"], **nulls}).inserted_id
    catalog = MongoCatalog(database)
    slot = await catalog.slot(SlotId(str(key)))
    assert slot is not None
    assert (slot.max_participants, slot.min_participants, slot.timezone) == (8, 2, "UTC")
    session_id = SessionId(str(ObjectId()))
    for wanted in (session_id, SessionId(str(ObjectId()))):
        claimed = await claim(catalog, slot, wanted)
        assert claimed is not None
        assert (claimed.session_id, claimed.settle_at) == (session_id, slot.end_time)


@pytest.mark.parametrize("collection", NAMES)
async def test_what_is_wrong_is_refused(raw: Raw, collection: str) -> None:
    documents = [
        {**SMALLEST[collection], **OPTIONAL[collection], name: value}
        for name, values in WRONG[collection].items()
        for value in values
    ]
    documents += [
        {name: value for name, value in SMALLEST[collection].items() if name != missing}
        for missing in SMALLEST[collection]
        if missing != "_id"
    ]
    for document in documents:
        with pytest.raises(WriteError) as refusal:
            raw[collection].insert_one(document)
        assert refusal.value.code == 121, document  # DocumentValidationFailure
    assert raw[collection].count_documents({}) == 0


@pytest.mark.parametrize("collection", NAMES)
async def test_a_change_for_the_worse_is_refused(raw: Raw, collection: str) -> None:
    raw[collection].insert_one(dict(SMALLEST[collection]))
    with pytest.raises(WriteError):
        raw[collection].update_one({}, {"$set": {"unknown": 1}})


async def test_a_seat_is_held_once_however_it_comes_about(raw: Raw) -> None:
    registrations, booking = raw["registrations"], SMALLEST["registrations"]
    slot_id = ObjectId()
    for user, seat in (("anna", {"seat": 0}), ("ben", {"seat": 1}), ("cleo", {"seat": None}), ("dora", {})):
        registrations.insert_one({**booking, "timeSlotId": slot_id, "userId": user, **seat})
    with pytest.raises(WriteError) as refusal:
        registrations.insert_one({**booking, "timeSlotId": slot_id, "userId": "emil", "seat": Int64(1)})
    assert refusal.value.code == 11000
    for user in ("anna", "cleo", "dora"):
        with pytest.raises(WriteError) as refusal:
            registrations.update_one({"timeSlotId": slot_id, "userId": user}, {"$set": {"seat": 1}})
        assert refusal.value.code == 11000
    registrations.insert_one({**booking, "timeSlotId": ObjectId(), "userId": "anna", "seat": 0})


async def test_one_booking_for_each_slot_and_user_one_commit_for_each_place(raw: Raw) -> None:
    for collection in ("registrations", "events"):
        raw[collection].insert_one(dict(SMALLEST[collection]))
        with pytest.raises(WriteError) as refusal:
            raw[collection].insert_one(dict(SMALLEST[collection]))
        assert refusal.value.code == 11000


async def test_preparing_twice_changes_nothing(database: Database, raw: Raw) -> None:
    for collection in NAMES:
        raw[collection].insert_one(dict(SMALLEST[collection]))
    before = shape(raw)
    assert set(before) == set(NAMES)
    await prepare(database)
    assert shape(raw) == before
    assert all(raw[collection].count_documents({}) == 1 for collection in NAMES)


async def test_several_coordinators_may_prepare_at_once(bare: Database) -> None:
    others = [open_database(bare.name) for _ in range(4)]
    try:
        await asyncio.gather(*(prepare(item) for item in (bare, *others)))
    finally:
        for other in others:
            await other.close()
    assert await inspect(bare) == []


async def test_a_prepared_database_has_no_problems(database: Database) -> None:
    assert await inspect(database) == []


async def test_an_empty_database_lacks_everything_and_looking_changes_nothing(bare: Database) -> None:
    assert await inspect(bare) == [f"collection {item.name} is missing" for item in COLLECTIONS]
    assert bare_raw(bare).list_collection_names() == []


async def test_collections_that_exist_are_completed(bare: Database) -> None:
    raw = bare_raw(bare)
    raw["timeslots"].insert_one(dict(SMALLEST["timeslots"]))
    assert await inspect(bare) == [
        "collection timeslots: its validator differs from the one that is needed",
        "collection timeslots: index targetLanguageCode_1_level_1_startTime_1 is missing",
        "collection timeslots: index startTime_1_isActive_1 is missing",
        "collection timeslots: index seriesId_1_startTime_1 is missing",
        "collection timeslots: index recurrence_1_seriesId_1_isActive_1 is missing",
        "collection timeslots: index settleAt_1 is missing",
        *(f"collection {item.name} is missing" for item in COLLECTIONS if item.name != "timeslots"),
    ]
    await prepare(bare)
    assert await inspect(bare) == []
    assert indexes(raw, "timeslots") == INDEXES["timeslots"]
    assert raw["timeslots"].count_documents({}) == 1


async def test_a_database_of_an_earlier_version_is_brought_up_to_date(database: Database, raw: Raw) -> None:
    """One that knows neither series nor seats nor replies, and holds slots and registrations."""
    raw.drop_collection("series")
    raw.drop_collection("replies")
    added = {
        "timeslots": ("seriesNumber", "settleAt"),
        "registrations": ("seat",),
    }
    for collection, fields in added.items():
        for index in list(raw[collection].list_indexes()):
            if not index["key"].keys().isdisjoint({*fields, "seriesId"}):
                raw[collection].drop_index(index["name"])
        validator = copy.deepcopy(raw[collection].options()["validator"])
        for field in fields:
            del validator["$jsonSchema"]["properties"][field]
        raw.command({"collMod": collection, "validator": validator})
    slots = [
        {**SMALLEST["timeslots"], **OPTIONAL["timeslots"], "_id": ObjectId(), "startTime": AT + number * DAY}
        for number in range(20)
    ]
    for item in slots:
        del item["seriesNumber"], item["settleAt"]
    raw["timeslots"].insert_many(slots)
    bookings = [
        {**SMALLEST["registrations"], "timeSlotId": item["_id"], "userId": user} for item in slots for user in "ab"
    ]
    raw["registrations"].insert_many(bookings)
    assert len(await inspect(database)) == 8
    await prepare(database)
    assert await inspect(database) == []
    for collection in NAMES:
        assert indexes(raw, collection) == INDEXES[collection]
    catalog = MongoCatalog(database)
    key = slots[7]["_id"]
    found = await catalog.page(SlotQuery(start_from=AT + 7 * DAY, limit=1))
    assert [item.id for item in found] == [str(key)]
    of_series = await catalog.page(SlotQuery(start_from=AT, series_id=found[0].series_id))
    assert [item.id for item in of_series] == [str(item["_id"]) for item in slots]
    assert len(await MongoBookings(database).holders(found[0].id)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"validator": {"$jsonSchema": {"bsonType": "object"}}},
        {"validator": {}},
        {"validationLevel": "moderate"},
        {"validationAction": "warn"},
    ],
)
async def test_a_validator_that_differs_is_replaced(database: Database, raw: Raw, change: Mapping[str, Any]) -> None:
    raw.command({"collMod": "participants", **change})
    assert await inspect(database) == ["collection participants: its validator differs from the one that is needed"]
    await prepare(database)
    assert await inspect(database) == []
    with pytest.raises(WriteError):
        raw["participants"].insert_one({**SMALLEST["participants"], "unknown": 1})


async def test_further_indexes_of_others_are_left_alone(database: Database, raw: Raw) -> None:
    raw["sessions"].create_index("level")
    await prepare(database)
    assert await inspect(database) == []
    assert indexes(raw, "sessions") == {**INDEXES["sessions"], ("level",): {}}


async def test_the_right_index_under_another_name_is_as_good(bare: Database) -> None:
    bare_raw(bare)["sessions"].create_index("createdAt", expireAfterSeconds=2_592_000, name="expiry")
    await prepare(bare)
    assert await inspect(bare) == []
    assert indexes(bare_raw(bare), "sessions") == INDEXES["sessions"]


async def refusal(database: Database) -> str:
    with pytest.raises(SchemaError) as error:
        await prepare(database)
    assert str(error.value) in await inspect(database)
    return str(error.value)


async def test_an_index_with_another_time_to_live_stops_the_start(bare: Database) -> None:
    bare_raw(bare)["sessions"].create_index("createdAt", expireAfterSeconds=60)
    assert await refusal(bare) == (
        "collection sessions: index createdAt_1 has expireAfterSeconds 60 where expireAfterSeconds 2592000 is needed: "
        'drop it with db.sessions.dropIndex("createdAt_1") and start again'
    )
    assert indexes(bare_raw(bare), "sessions")[("createdAt",)] == {"expireAfterSeconds": 60}


async def test_an_index_that_should_be_unique_stops_the_start(bare: Database) -> None:
    bare_raw(bare)["events"].create_index([("sessionId", 1), ("seq", 1)], name="mine")
    message = await refusal(bare)
    assert "collection events: index mine has no options where unique True is needed" in message
    assert 'db.events.dropIndex("mine")' in message


async def test_an_index_over_other_fields_under_the_same_name_stops_the_start(bare: Database) -> None:
    bare_raw(bare)["participants"].create_index([("userId", 1)], name="sessionId_1")
    message = await refusal(bare)
    assert (
        "collection participants: index sessionId_1 is over {'userId': 1} where {'sessionId': 1} is needed" in message
    )


async def test_documents_that_a_unique_index_forbids_stop_the_start(bare: Database) -> None:
    bare_raw(bare)["registrations"].insert_many([dict(SMALLEST["registrations"]) for _ in range(2)])
    with pytest.raises(SchemaError, match="registrations: the unique index timeSlotId_1_userId_1 cannot be made"):
        await prepare(bare)


async def test_a_server_that_does_not_do_is_named(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = database.command

    async def command(command: dict[str, Any]) -> dict[str, Any]:
        replies: dict[str, dict[str, Any]] = {"buildInfo": {"version": "5.0.31"}, "hello": {"isWritablePrimary": True}}
        return replies.get(next(iter(command))) or await genuine(command)

    monkeypatch.setattr(database, "command", command)
    assert await inspect(database) == [
        "the server is MongoDB 5.0.31; 6 or newer is needed",
        "the server is not part of a replica set; a set of one member is enough",
    ]
