"""Redraw the generated parts of ``coordinator/README.md``: what stands between `begin` and `end` comments."""

import sys
from pathlib import Path

from coordinator.domain.errors import ERRORS
from coordinator.domain.events import EVENT_TYPES
from coordinator.domain.transitions import participant_diagram, session_diagram

README = Path(__file__).resolve().parent.parent / "coordinator" / "README.md"


def _mermaid(diagram: str) -> str:
    return f"```mermaid\n{diagram}\n```"


def _events() -> str:
    rows = []
    for kind, body in EVENT_TYPES.items():
        fields = ", ".join(f"`{name}`" for name in body.__struct_encode_fields__)
        rows.append(f"| `{kind}` | {fields or 'none'} | {_first_line(body)} |")
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
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"{README.name} has no place for: {name}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{draw()}\n{end}{rest.partition(end)[2]}"
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
