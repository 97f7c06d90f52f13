"""How the database may be spread over the shards of a cluster: what stands in the way, and how it is done.

Owns the judgement about shard keys, which stand in `shapes`, and the words for it. Changes nothing: sharding is decided
and done by whoever runs the database. A replica set needs none of this.

Why the keys are what they are:

- `events` by the hash of `sessionId`. A log lies whole on one shard, so its unique index over `(sessionId, seq)` holds
  cluster-wide: such an index must begin with the fields of the shard key, hashed or not. The ids of sessions grow with
  time. In order they would all fall into the newest chunk, and every live session would write to one shard; by their
  hashes they spread. A commit's `_id` is unique on its shard only, which suffices: it is repeated with its session.
- `participants` and `sessions` by the hash of `_id`. Their documents are written by it ten times a second, and the
  database then sees to it that each is there once: the `_id` of a participant follows from session and user. To write
  participants by `sessionId` as well would cost the embedded server a third more. A session's participants are looked
  up together only for the HTTP API and for repairs.
- `registrations` by the hash of `timeSlotId`, with which both unique indexes begin.
- `marks` in the order of their one unique index: they are read and taken away by its beginning.
- Everything else by `_id`. None of it is worth sharding: whole on one shard, its ticks ask that shard alone.

What is asked without the shard key goes to every shard. Nothing that a command, a join or a heartbeat waits for does;
`tests/contracts/test_sharding.py` has the list of what does, with how often.

The change stream on `events` is merged by the router, which has to hear from every shard, busy or not, before it can
say what came next: a shard without writes speaks every ten seconds (`periodicNoopIntervalSecs`), and the feed waits for
it. Live rooms do not follow that stream. To reshard `events` gives the collection another identity: cursors of feed
consumers are then told to be lost, and their marks take over.

An update or deletion of many documents may pass over one that is just moved to another shard. Those of the coordinator
are repeated, or are harmless where something is left; `pauseMigrationsDuringMultiUpdates` excludes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from pymongo.errors import OperationFailure

from coordinator.adapters.mongo.client import Database
from coordinator.adapters.mongo.failures import unanswered_is_unknown
from coordinator.adapters.mongo.shapes import COLLECTIONS, CollectionShape, ShardKey

_UNAUTHORIZED = 13

Keys = tuple[tuple[str, Any], ...]


class Remark(msgspec.Struct, frozen=True):
    """Something about sharding; `remedy` is empty where nothing needs doing."""

    text: str
    remedy: str = ""


def fits(key: ShardKey, unique: Iterable[str]) -> bool:
    """Tell whether a unique index over these fields holds on a cluster that is sharded by `key`.

    An index that begins with `_id` is left alone by MongoDB: whoever makes the ids has to keep them unique.
    """
    fields = tuple(unique)
    return fields[:1] == ("_id",) or fields[: len(key.fields)] == key.fields


def commands(database_name: str, shapes: Sequence[CollectionShape] | None = None) -> list[str]:
    """Return what to type into mongosh to shard collections; all that are worth it, unless some are given."""
    lines = []
    for shape in [item for item in COLLECTIONS if item.is_busy] if shapes is None else shapes:
        key = _written(shape.shard_key.keys)
        if shape.shard_key.is_hashed:  # an index that sharding makes by itself where there are no documents yet
            lines.append(f'db.getSiblingDB("{database_name}").{shape.name}.createIndex({key})')
        lines.append(f'sh.shardCollection("{database_name}.{shape.name}", {key})')
    return lines


async def inspect_sharding(database: Database, *, is_router: bool) -> list[Remark]:
    """Return what there is to say about sharding; nothing is changed.

    Args:
        database: The database.
        is_router: Whether it is reached through a router (mongos).

    Raises:
        OutcomeUnknownError: The database does not answer.
    """
    with unanswered_is_unknown():
        remarks = [remark for shape in COLLECTIONS for remark in await _unfit_indexes(database, shape)]
        if not is_router:
            return remarks or [
                Remark("a replica set, not sharded; every unique index fits the shard keys (--sharding lists them)")
            ]
        try:
            sharded = await _sharded(database)
        except OperationFailure as error:
            if error.code != _UNAUTHORIZED:
                raise
            grant = 'db.grantRolesToUser("<user>", [{role: "read", db: "config"}])'
            return [
                *remarks,
                Remark("a router that does not let this user see how collections are sharded", f"grant it: {grant}"),
            ]
    return [*remarks, *_judged(database.name, sharded)]


async def _unfit_indexes(database: Database, shape: CollectionShape) -> list[Remark]:
    """Return remarks on unique indexes, of whomever, that do not begin with the shard key."""
    found = await database.collection(shape.name).list_indexes().to_list(None)
    return [
        Remark(
            f"{shape.name} cannot be sharded by {_written(shape.shard_key.keys)} while there is the unique index "
            f"{index['name']}, which does not begin with it"
        )
        for index in found
        if index.get("unique") and not fits(shape.shard_key, index["key"])
    ]


async def _sharded(database: Database) -> dict[str, Keys]:
    """Return the shard keys of those of our collections that are sharded, by name."""
    names = {f"{database.name}.{shape.name}": shape.name for shape in COLLECTIONS}
    catalogue = database.events.database.client["config"]["collections"]
    found = await catalogue.find({"_id": {"$in": list(names)}}).to_list(None)
    # From version 8 on, a router also keeps account of collections that are not sharded.
    return {names[item["_id"]]: tuple(item["key"].items()) for item in found if not item.get("unsplittable")}


def _judged(database_name: str, sharded: Mapping[str, Keys]) -> list[Remark]:
    right: list[str] = []
    other: list[Remark] = []
    busy: list[CollectionShape] = []
    idle: list[CollectionShape] = []
    for shape in COLLECTIONS:
        found, wanted = sharded.get(shape.name), shape.shard_key.keys
        if found is None:
            (busy if shape.is_busy else idle).append(shape)
        elif found == wanted:
            right.append(f"{shape.name} by {_written(wanted)}")
        else:
            other.append(_other_key(database_name, shape, found))
    remarks = [Remark(f"as it should be: {', '.join(right)}")] if right else []
    remarks += other
    if idle:
        remarks.append(Remark(f"whole on one shard, where they should stay: {_names(idle)}"))
    if busy:
        remarks.append(Remark(f"whole on one shard, which is right until that has too much to do: {_names(busy)}"))
        remarks.append(Remark(f"to spread them, in mongosh: {'; '.join(commands(database_name, busy))}"))
    return remarks


def _other_key(database_name: str, shape: CollectionShape, found: Keys) -> Remark:
    """Say what comes of another shard key than the one that is wanted."""
    key, wanted = ShardKey(tuple(field for field, _ in found)), _written(shape.shard_key.keys)
    unique = [[field for field, _ in index.keys] for index in shape.indexes if index.options.get("unique")]
    is_part = set(key.fields) <= set(shape.shard_key.fields)
    if is_part and all(fits(key, fields) for fields in unique):
        return Remark(
            f"{shape.name} by {_written(found)}, not {wanted}: nothing fails, but what is new may all go to one shard"
        )
    return Remark(
        f"{shape.name} by {_written(found)}, where {wanted} is needed: commands that name that key are sent to every "
        "shard or refused",
        f'in mongosh: sh.reshardCollection("{database_name}.{shape.name}", {wanted})',
    )


def _names(shapes: Sequence[CollectionShape]) -> str:
    return ", ".join(shape.name for shape in shapes)


def _written(keys: Keys) -> str:
    """Write keys as mongosh reads them."""
    pairs = (f'{field}: "{kind}"' if isinstance(kind, str) else f"{field}: {kind:g}" for field, kind in keys)
    return "{" + ", ".join(pairs) + "}"
