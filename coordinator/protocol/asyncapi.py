"""The AsyncAPI 3.0 document: everything that goes over Socket.IO, in its words (SPEC section 3).

Owns the document and nothing that it documents: that is the contract, and the types that messages are read with.
"""

import inspect
from collections.abc import Iterable
from typing import Any

import msgspec

from coordinator.domain.events import EVENT_TYPES, EventBody
from coordinator.protocol.contract import CONTRACTS, Command, Contract, Refused
from coordinator.protocol.views import Actor

Json = dict[str, Any]

_DESCRIPTION = """\
Socket.IO 5 over Engine.IO 4, at `/socket.io/`; any current client works. The handshake carries `auth: {token}`, a JWT.

- Every command is acked: `{ok: true, …}` once what it did is durable; or `{ok: false, error}`, and nothing changed.
- Repeating a command is always safe.
- Events of a session carry `seq`: dense, from 1, the same order for everybody. After `join` or `watch` every later
  event comes exactly once, in order; after a lost connection, `after` with the last `seq` seen brings what was missed.
- Fields without a value are left out. Unknown fields are refused.
"""


def document(version: str) -> Json:
    """Return the AsyncAPI document, as JSON data."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Conversation Coordinator, live",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "coordinator": {
                "host": "{host}",
                "pathname": "/socket.io/",
                "protocol": "socketio",
                "variables": {"host": {"default": "localhost:8080", "description": "Where it listens."}},
            }
        },
        "channels": {_key(contract): _channel(contract) for contract in CONTRACTS},
        "operations": {name: operation for contract in CONTRACTS for name, operation in _operations(contract).items()},
        "components": {"schemas": schemas()},
    }


def schemas() -> Json:
    """Return the JSON schema of every type that goes over Socket.IO; a persisted event is named after its body."""
    kinds: set[type[msgspec.Struct]] = {Refused, Actor, *EVENT_TYPES.values()}
    for contract in CONTRACTS:
        kinds |= {kind for command in contract.commands for kind in (command.message, command.reply)}
        kinds |= {notice.payload for notice in contract.notices}
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    return dict(sorted(components.items()))


def _key(contract: Contract) -> str:
    return contract.namespace.strip("/")


def _channel(contract: Contract) -> Json:
    described: Json = {}
    for command in contract.commands:
        described[command.name] = _message(command.name, command.message, _reference(command.message))
        described[f"{command.name}.ack"] = _message(f"ack of {command.name}", command.reply, _ack(command))
    for body in contract.events:
        described[f"event.{body.kind}"] = _message(body.kind, body, _event(body))
    for notice in contract.notices:
        described[f"event.{notice.name}"] = _message(notice.name, notice.payload, _reference(notice.payload))
    roles = " or ".join(f"`{role}`" for role in contract.roles)
    return {
        "address": contract.namespace,
        "title": f"Namespace {contract.namespace}",
        "description": f"{contract.purpose} The token's role must be {roles}.",
        "messages": described,
    }


def _operations(contract: Contract) -> Json:
    channel = f"#/channels/{_key(contract)}"
    # The point of view is the server's: it receives commands, and sends everything else.
    operations: Json = {
        f"{_key(contract)}.{command.name}": {
            "action": "receive",
            "channel": {"$ref": channel},
            "summary": _meaning(command.message),
            "messages": [{"$ref": f"{channel}/messages/{command.name}"}],
            "reply": {"channel": {"$ref": channel}, "messages": [{"$ref": f"{channel}/messages/{command.name}.ack"}]},
        }
        for command in contract.commands
    }
    names: Iterable[str] = [*(body.kind for body in contract.events), *(notice.name for notice in contract.notices)]
    operations[f"{_key(contract)}.events"] = {
        "action": "send",
        "channel": {"$ref": channel},
        "summary": "Sent as it happens.",
        "messages": [{"$ref": f"{channel}/messages/event.{name}"} for name in names],
    }
    return operations


def _message(name: str, kind: type[msgspec.Struct], payload: Json) -> Json:
    return {"name": name, "summary": _meaning(kind), "payload": payload}


def _ack(command: Command) -> Json:
    exact = {"type": "object", "properties": {"error": {"properties": {"code": {"enum": command.codes}}}}}
    return {"oneOf": [_reference(command.reply), {"allOf": [_reference(Refused), exact]}]}


def _event(body: type[EventBody]) -> Json:
    return {
        "type": "object",
        "properties": {
            "type": {"const": body.kind},
            "sessionId": {"type": "string", "pattern": "^[0-9a-f]{24}$"},
            "seq": {"type": "integer", "minimum": 1},
            "at": {"type": "string", "format": "date-time"},
            "actor": _reference(Actor),
            "data": _reference(body),
        },
        "required": ["type", "sessionId", "seq", "at", "actor", "data"],
    }


def _reference(kind: type[msgspec.Struct]) -> Json:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _meaning(kind: type[msgspec.Struct]) -> str:
    return (inspect.getdoc(kind) or kind.__name__).splitlines()[0]
