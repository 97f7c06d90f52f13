"""Redraw the generated parts of ``coordinator/README.md``: what stands between `begin` and `end` comments."""

import re
import sys
from pathlib import Path

from coordinator.domain.errors import ERRORS
from coordinator.domain.events import EVENT_TYPES
from coordinator.domain.transitions import participant_diagram, session_diagram

README = Path(__file__).resolve().parent.parent / "coordinator" / "README.md"


def _mermaid(diagram: str) -> str:
    return f"```mermaid\n{diagram}\n```"


def _events() -> str:
    rows = [
        f"| `{kind}` | {', '.join(f'`{name}`' for name in body.__struct_encode_fields__) or '–'} | {_first_line(body)} |"
        for kind, body in EVENT_TYPES.items()
    ]
    return "\n".join(["| event | data | what happened |", "|---|---|---|", *rows])


def _errors() -> str:
    rows = [
        f"| `{code}` | {error.status} | {'yes' if error.retryable else 'no'} | {_first_line(error)} |"
        for code, error in ERRORS.items()
    ]
    return "\n".join(["| code | HTTP | retryable | meaning |", "|---|---|---|---|", *rows])


def _first_line(thing: type) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


PARTS = {
    "session diagram": lambda: _mermaid(session_diagram()),
    "participant diagram": lambda: _mermaid(participant_diagram()),
    "events": _events,
    "errors": _errors,
}


def redraw(text: str) -> str:
    """Return the README with every generated part made anew.

    Raises:
        ValueError: A part has no place in it.
    """
    for name, draw in PARTS.items():
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{README.name} has no place for: {name}")
        text = pattern.sub(lambda match, drawn=draw(): f"{match[1]}{drawn}\n{match[2]}", text)
    return text


def main() -> int:
    """Redraw, or with `--check` compare; return the exit code."""
    text = README.read_text(encoding="utf-8")
    drawn = redraw(text)
    if "--check" in sys.argv[1:]:
        if text != drawn:
            print("coordinator/README.md is out of date; run scripts/diagrams")
        return int(text != drawn)
    README.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
