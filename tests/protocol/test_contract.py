"""The contract of Socket.IO against what namespaces really take, and the AsyncAPI document made of it."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft7Validator

from coordinator.domain.events import EVENT_TYPES
from coordinator.protocol.asyncapi import document, schemas
from coordinator.protocol.contract import CONTRACTS, Contract
from coordinator.transports.socketio import moderation, recording, rooms
from coordinator.transports.socketio.namespace import Namespace

PACKAGES = Path(__file__).parents[1] / "transports" / "node" / "node_modules"
SPECIFICATION = PACKAGES / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
NAMESPACES: dict[str, Any] = {
    rooms.NAMESPACE: rooms,
    moderation.NAMESPACE: moderation,
    recording.NAMESPACE: recording,
}


def handled(module: Any) -> dict[str, str]:
    """Read from a namespace's source which events it handles, and as which message."""
    (kind,) = [
        item
        for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, Namespace) and item is not Namespace
    ]
    pattern = r'"(\w+)": (?:Handler|Immediate)\((?:\w+\.)?(\w+),'
    return dict(re.findall(pattern, inspect.getsource(kind.__init__)))


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.namespace)
def test_the_contract_lists_what_is_handled(contract: Contract) -> None:
    module = NAMESPACES[contract.namespace]
    assert {command.name: command.message.__name__ for command in contract.commands} == handled(module)
    assert set(contract.roles) == module.ROLES


def test_every_event_is_in_it() -> None:
    for contract in CONTRACTS[:2]:
        assert {body.kind for body in contract.events} == set(EVENT_TYPES)


def test_the_document_is_asyncapi() -> None:
    """Held to the specification's own schema, which `scripts/test` installs."""
    validator = Draft7Validator(json.loads(SPECIFICATION.read_text(encoding="utf-8")))
    whole = json.loads(json.dumps(document("1.0.0")))
    assert [error.message for error in validator.iter_errors(whole)] == []
    whole["operations"]["rooms.join"]["action"] = "take"
    assert not validator.is_valid(whole)


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(item) for item in value.values()))
    return set().union(*(references(item) for item in value)) if isinstance(value, list) else set()


def test_every_reference_of_the_document_leads_somewhere() -> None:
    whole = json.loads(json.dumps(document("1.0.0")))
    assert whole["asyncapi"] == "3.0.0"
    for reference in references(whole):
        place: Any = whole
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert place
    assert set(whole["channels"]) == {"rooms", "moderation", "recording"}
    assert whole["operations"]["rooms.join"]["action"] == "receive"
    assert {reference.rsplit("/", 1)[1] for reference in references(whole) if "/schemas/" in reference} <= set(
        schemas()
    )
