"""Brings a database into shape: validators and indexes (SPEC section 1), made at start-up, checked by the doctor.

Owns the making and the checking; the shape itself stands in `shapes`. Must not touch documents, and never drops an
index or a collection that somebody else has made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import IndexModel
from pymongo.errors import OperationFailure

from coordinator.adapters.mongo.client import Database, unhurried
from coordinator.adapters.mongo.failures import DUPLICATE_KEY, unanswered_is_unknown
from coordinator.adapters.mongo.shapes import COLLECTIONS, CollectionShape, IndexShape

_MINIMUM_VERSION = 6
_NAMESPACE_EXISTS = 48
_INDEX_OPTIONS_CONFLICT = 85
_INDEX_KEY_SPECS_CONFLICT = 86

_Index = Mapping[str, Any]


class SchemaError(Exception):
    """The database has, or holds, something that stands in the way. The message names it and says what to do."""


async def prepare(database: Database) -> None:
    """Make every collection, validator and index that is missing, and bring validators up to date.

    Harmless to repeat, and while other coordinators do the same.

    Raises:
        SchemaError: An index conflicts with one that is there, or documents forbid it.
        OutcomeUnknownError: The database does not answer.
    """
    with unanswered_is_unknown(), unhurried():  # an index over many documents takes its time
        present = await _collection_options(database)
        for shape in COLLECTIONS:
            await _prepare_collection(database, shape, present.get(shape.name))


async def inspect(database: Database) -> list[str]:
    """Return what is wrong with the server and with the database's shape, one sentence each; nothing is changed.

    Raises:
        OutcomeUnknownError: The database does not answer.
    """
    with unanswered_is_unknown():
        problems = await _server_problems(database)
        present = await _collection_options(database)
        for shape in COLLECTIONS:
            if shape.name not in present:
                problems.append(f"collection {shape.name} is missing")
                continue
            if not _is_validated(present[shape.name], shape):
                problems.append(f"collection {shape.name}: its validator differs from the one that is needed")
            found = await _indexes(database, shape)
            for wanted in shape.indexes:
                if (conflict := _conflict(shape, wanted, found)) is not None:
                    problems.append(conflict)
                elif not _is_there(wanted, found):
                    problems.append(f"collection {shape.name}: index {wanted.name} is missing")
    return problems


async def _server_problems(database: Database) -> list[str]:
    build = await database.command({"buildInfo": 1})
    hello = await database.command({"hello": 1})
    problems = []
    if int(str(build["version"]).partition(".")[0]) < _MINIMUM_VERSION:
        problems.append(f"the server is MongoDB {build['version']}; {_MINIMUM_VERSION} or newer is needed")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        problems.append("the server is not part of a replica set; a set of one member is enough")
    return problems


async def _prepare_collection(database: Database, shape: CollectionShape, options: Mapping[str, Any] | None) -> None:
    validation = {"validator": shape.validator, "validationLevel": "strict", "validationAction": "error"}
    if options is None:
        try:
            await database.command({"create": shape.name, **validation})
        except OperationFailure as error:
            if error.code != _NAMESPACE_EXISTS:
                raise
            # Another coordinator was faster; whether its validator is the same is not worth asking.
            await database.command({"collMod": shape.name, **validation})
    elif not _is_validated(options, shape):
        await database.command({"collMod": shape.name, **validation})
    await _prepare_indexes(database, shape)


async def _prepare_indexes(database: Database, shape: CollectionShape) -> None:
    found = await _indexes(database, shape)
    for wanted in shape.indexes:
        conflict = _conflict(shape, wanted, found)
        if conflict is not None:
            raise SchemaError(conflict)
        if not _is_there(wanted, found):
            await _create_index(database, shape, wanted)


async def _create_index(database: Database, shape: CollectionShape, wanted: IndexShape) -> None:
    model = IndexModel(list(wanted.keys), **wanted.options)
    try:
        await database.collection(shape.name).create_indexes([model])
    except OperationFailure as error:
        if error.code == DUPLICATE_KEY:
            raise SchemaError(
                f"collection {shape.name}: the unique index {wanted.name} cannot be made, because several documents "
                f"have the same {', '.join(name for name, _ in wanted.keys)}: remove all but one and start again"
            ) from error
        if error.code in (_INDEX_OPTIONS_CONFLICT, _INDEX_KEY_SPECS_CONFLICT):
            raise SchemaError(f"collection {shape.name}: index {wanted.name} cannot be made: {error}") from error
        raise


async def _collection_options(database: Database) -> dict[str, Mapping[str, Any]]:
    """Return the options of every collection that exists, by its name."""
    reply = await database.command({"listCollections": 1, "cursor": {"batchSize": 10_000}})
    return {item["name"]: item.get("options", {}) for item in reply["cursor"]["firstBatch"]}


def _is_validated(options: Mapping[str, Any], shape: CollectionShape) -> bool:
    return (
        options.get("validator") == shape.validator
        and options.get("validationLevel", "strict") == "strict"
        and options.get("validationAction", "error") == "error"
    )


async def _indexes(database: Database, shape: CollectionShape) -> Sequence[_Index]:
    return await database.collection(shape.name).list_indexes().to_list(None)


def _is_there(wanted: IndexShape, found: Sequence[_Index]) -> bool:
    return any(_keys(index) == wanted.keys and _options(index) == wanted.options for index in found)


def _conflict(shape: CollectionShape, wanted: IndexShape, found: Sequence[_Index]) -> str | None:
    """Say which of the indexes found stands in the way of the one wanted, if one does."""
    if _is_there(wanted, found):
        return None
    for index in found:
        if _keys(index) != wanted.keys and index["name"] != wanted.name:
            continue
        difference = (
            f"has {_describe(_options(index))} where {_describe(wanted.options)} is needed"
            if _keys(index) == wanted.keys
            else f"is over {dict(_keys(index))} where {dict(wanted.keys)} is needed"
        )
        return (
            f"collection {shape.name}: index {index['name']} {difference}: drop it with "
            f'db.{shape.name}.dropIndex("{index["name"]}") and start again'
        )
    return None


def _keys(index: _Index) -> tuple[tuple[str, Any], ...]:
    return tuple(index["key"].items())


def _options(index: _Index) -> dict[str, Any]:
    """Return what an index does beyond being over its keys."""
    beside_the_point = {"v", "key", "name", "ns", "background"}
    return {name: value for name, value in index.items() if name not in beside_the_point and value is not False}


def _describe(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "no options"
