"""What the adapters ask of the database: every command that the driver sends, and whether its shard key leads it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from coordinator.adapters.mongo.shapes import COLLECTIONS, ShardKey

SHARD_KEYS = {shape.name: shape.shard_key for shape in COLLECTIONS}

_NOT_ABOUT_DOCUMENTS = {"create", "collMod", "createIndexes", "dropIndexes", "listIndexes", "drop"}
_ABOUT_CURSORS = {"getMore", "killCursors"}


class Asked(NamedTuple):
    """A part of a command that concerns documents of one collection.

    Attributes:
        collection: The collection.
        command: The command.
        query: What it looks for; of an insertion, the document.
        is_single: Whether it changes one document at most: a router must know where that lies.
        operation: The method of a port that asked it, where that is noted.
    """

    collection: str
    command: str
    query: Mapping[str, Any]
    is_single: bool
    operation: str

    @property
    def fields(self) -> str:
        """The fields that it looks at, in the order of the alphabet."""
        return " ".join(sorted(self.query))

    @property
    def is_targeted(self) -> bool:
        """Whether a router can tell from it which shards hold what it is about."""
        return is_targeted(SHARD_KEYS[self.collection], self.query, is_single=self.is_single)


class CommandRecorder(CommandListener):
    """Keeps every command about documents of one database.

    Attributes:
        asked: What was asked so far.
        operation: What to note as the operation that asks.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.operation = ""
        self.database_name = ""

    def started(self, event: CommandStartedEvent) -> None:
        if event.database_name == self.database_name:
            self.asked += parts(event.command_name, event.command, self.operation)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Take no interest in the reply."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Take no interest in the reply."""


def parts(name: str, command: Mapping[str, Any], operation: str = "") -> list[Asked]:
    """Take a command apart; nothing is left of one that concerns no documents."""
    collection = command[name]
    if name in _NOT_ABOUT_DOCUMENTS | _ABOUT_CURSORS or collection not in SHARD_KEYS:
        return []

    def part(query: Mapping[str, Any], *, is_single: bool = False) -> Asked:
        return Asked(collection, name, query, is_single, operation)

    match name:
        case "find":
            return [part(command.get("filter", {}))]
        case "aggregate":
            return [part(_first_match(command["pipeline"]))]
        case "count" | "distinct":
            return [part(command.get("query", {}))]
        case "update":
            return [part(item["q"], is_single=not item.get("multi", False)) for item in command["updates"]]
        case "delete":
            return [part(item["q"], is_single=item["limit"] == 1) for item in command["deletes"]]
        case "findAndModify":
            return [part(command["query"], is_single=True)]
        case "insert":
            return [part(document, is_single=True) for document in command["documents"]]
    raise AssertionError(f"{name} on {collection}: nobody has thought about how a router treats that")


def is_targeted(key: ShardKey, query: Mapping[str, Any], *, is_single: bool) -> bool:
    """Tell whether a router can tell from a query which shards it concerns.

    From one value or a few of the key's fields, or of those that a key in order begins with; where one document is to
    be changed, from one value of all of them.
    """
    if is_single:
        return all(_is_value(query.get(field, {"$exists": True})) for field in key.fields)
    wanted = key.fields if key.is_hashed else key.fields[:1]
    return all(field in query and (_is_value(query[field]) or "$in" in query[field]) for field in wanted)


def _is_value(condition: Any) -> bool:
    return not isinstance(condition, Mapping) or not any(name.startswith("$") for name in condition)


def _first_match(pipeline: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    first = next(iter(pipeline), {})
    if "$changeStream" in first:
        return {"$changeStream": {}}
    query: Mapping[str, Any] = first.get("$match", {})
    return query
