"""Writes the TypeScript declarations of the client library: the wire from msgspec's types, the classes as they are.

Run by `scripts/schemas`. The types come from the same JSON schemas as `/asyncapi.json`; `classes.ts` beside this holds
what no schema says.
"""

import json
import sys
from pathlib import Path
from typing import Any

from coordinator.domain.errors import ERRORS
from coordinator.domain.events import EVENT_TYPES
from coordinator.protocol.asyncapi import schemas

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "coordinator" / "transports" / "web" / "client" / "coordinator-client.d.ts"
CLASSES = Path(__file__).with_name("classes.ts")
HEADER = "// Made by scripts/schemas from the coordinator's own types; what is changed here by hand is lost."
CLIENT_CODES = ("timeout", "disconnected", "closed", "left", "replaced", "listener_failed", "unknown")
PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
# The library wants these names for what programs see of a session.
RENAMED = {"Session": "SessionView", "Participant": "ParticipantView", "Event": "LogEntry", "Record": "FeedRecord"}


def declarations() -> str:
    """Return the whole file."""
    named = [_named(name, schema) for name, schema in schemas().items()]
    events = "\n".join(f'  | Envelope<"{kind}", {body.__name__}>' for kind, body in sorted(EVENT_TYPES.items()))
    codes = "\n".join(f'  | "{code}"' for code in (*sorted(ERRORS), *CLIENT_CODES))
    code_comment = "/** Why something was refused, or is over: the server's codes, and the library's own. */"
    parts = [
        HEADER,
        *named,
        f"{code_comment}\nexport type ErrorCode =\n{codes};",
        f"/** A persisted event; `type` tells which `data` it has. */\nexport type SessionEvent =\n{events};",
        CLASSES.read_text(encoding="utf-8").strip(),
    ]
    return "\n\n".join(parts) + "\n"


def _named(name: str, schema: dict[str, Any]) -> str:
    comment = f"/** {schema['description']} */\n" if schema.get("description") else ""
    return f"{comment}export type {RENAMED.get(name, name)} = {_type(schema)};"


def _type(schema: dict[str, Any], indent: str = "") -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return RENAMED.get(name, name)
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " | ".join(_type(one, indent) for one in schema[several])
    kind = schema.get("type")
    if kind == "array":
        return f"Array<{_type(schema['items'], indent)}>"
    if kind == "object":
        return _object(schema, indent)
    return PLAIN[kind] if isinstance(kind, str) else "unknown"


def _object(schema: dict[str, Any], indent: str) -> str:
    properties = schema.get("properties", {})
    if not properties:
        return "Record<string, unknown>" if "additionalProperties" in schema else "Record<string, never>"
    required, inner = set(schema.get("required", ())), f"{indent}  "
    lines = []
    for name, value in properties.items():
        optional = "" if name in required else "?"
        # What has no value is left out; null never goes over the wire.
        text = _type(value, inner).removesuffix(" | null") if optional else _type(value, inner)
        if value.get("description"):
            lines.append(f"{inner}/** {value['description']} */")
        lines.append(f"{inner}{name}{optional}: {text};")
    return "\n".join(["{", *lines, f"{indent}}}"])


def main() -> int:
    """Write the file, or compare it."""
    text = declarations()
    if "--check" in sys.argv[1:]:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            print(f"{TARGET.relative_to(ROOT)} is out of date: run scripts/schemas", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
