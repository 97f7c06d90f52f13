"""What came out: as tables on the screen, as report.md with a plot, and as raw figures in figures.json.

Owns how figures are shown; knows nothing of how they were measured.
"""

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scripts.benchmarks import plot
from scripts.benchmarks.contenders import LABELS, NODE, OURS, versions
from scripts.benchmarks.history import Past
from scripts.benchmarks.rows import FRESH, Row, Target, median, ratio
from scripts.benchmarks.setups import Measured, Size

NAMES = {**LABELS, FRESH: "fresh rooms"}
_PROCESSES = ("server", "database", "stand-in", "generator", "foreign")


@dataclass(frozen=True)
class Taken:
    """What one contender gave in one set-up and round; `seconds` is how long all of it took."""

    round: int
    setup: str
    contender: str
    measured: Measured
    seconds: float


@dataclass
class Outcome:
    """Everything that a run gave."""

    rows: Sequence[Row]
    size: Size
    past: Past
    rounds: int
    cores: str
    taken: list[Taken] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def figures(self) -> dict[str, dict[str, list[float]]]:
        """Return the figures by row and contender, one per round."""
        by_row: dict[str, dict[str, list[float]]] = {row.name: {} for row in self.rows}
        for taken in self.taken:
            for name, value in taken.measured.values.items():
                if name in by_row:
                    by_row[name].setdefault(taken.contender, []).append(value)
        return by_row

    def loads(self) -> Iterator[tuple[str, str, str, dict[str, float]]]:
        """Yield set-up, load, contender, and the median share of a core that each process used."""
        shares: dict[tuple[str, str, str], list[dict[str, float]]] = {}
        for taken in self.taken:
            for load, figure in taken.measured.figures.items():
                if figure.shares:
                    shares.setdefault((taken.setup, load, taken.contender), []).append(figure.shares)
        for key, several in shares.items():
            names = [name for name in _PROCESSES if name in several[0]]
            yield *key, {name: statistics.median(each[name] for each in several if name in each) for name in names}


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:,.{digits}f}".replace(",", " ")


def _standing(row: Row, target: Target, value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.3g} × {NAMES[target.against]}" if target.against else f"{_number(value, row.digits)} {row.unit}"


def verdicts(outcome: Outcome) -> Iterator[tuple[Row, Target, float, str]]:
    """Yield every target with what was reached."""
    figures = outcome.figures()
    for row in outcome.rows:
        for target in row.targets:
            value = ratio(figures, row.name, target.against)
            yield row, target, value, target.verdict(value)


def _conditions(outcome: Outcome) -> list[str]:
    past, size = outcome.past, outcome.size
    how = (
        f"Medians of {outcome.rounds} × {size.seconds:g} s, {size.rooms} rooms of 8; memory: {size.idle} connections; "
        f"history: {past.rooms} rooms with {past.events} events each. {outcome.cores.capitalize()}. "
        f"Taken {datetime.now(UTC):%Y-%m-%d %H:%M} UTC in {outcome.seconds:.0f} s."
    )
    return [how, *versions()]


def _figure_lines(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    figures = outcome.figures()
    names = list(dict.fromkeys(name for row in outcome.rows for name in row.contenders))
    shown = [name for name in names if any(name in figures[row.name] for row in outcome.rows)]
    head = ["figure", "", *(NAMES[name] for name in shown), f"to {NAMES[NODE]}"]
    lines = []
    for row in outcome.rows:
        against_node = ratio(figures, row.name, NODE)
        cells = [_number(median(figures, row.name, name), row.digits) for name in shown]
        lines.append([row.title, row.unit, *cells, "–" if math.isnan(against_node) else f"{against_node:.3g} ×"])
    return head, lines


def _target_lines(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    lines = [
        [row.title, _standing(row, target, value), target.says(target.must), target.says(target.aim), verdict]
        for row, target, value, verdict in verdicts(outcome)
    ]
    return ["figure", "reached", "must", "aim", "verdict"], lines


def _load_lines(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    lines = [
        [setup, load, NAMES[contender], *(f"{shares[name]:.0%}" if name in shares else "–" for name in _PROCESSES)]
        for setup, load, contender, shares in outcome.loads()
    ]
    return ["set-up", "load", "contender", *_PROCESSES], lines


def _missed(outcome: Outcome) -> list[str]:
    return [
        f"{row.title}: {_standing(row, target, value)}, must be {target.says(target.must)}"
        for row, target, value, verdict in verdicts(outcome)
        if verdict == "NOT REACHED"
    ]


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def write(outcome: Outcome, folder: Path) -> None:
    """Write report.md, figures.json and the plot."""
    raw = {
        "conditions": _conditions(outcome),
        "figures": outcome.figures(),
        "problems": outcome.problems,
        "taken": [asdict(taken) for taken in outcome.taken],
    }
    (folder / "figures.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    drawn = plot.draw(outcome.rows, outcome.figures(), folder)
    parts = [
        "# What was measured",
        "\n".join(f"- {line}" for line in _conditions(outcome)),
        _markdown(*_figure_lines(outcome)),
        *(["![Times better than Node](plot.svg)"] if drawn else []),
        "## What was to be reached",
        _markdown(*_target_lines(outcome)),
        "Not reached:\n\n" + "\n".join(f"- {line}" for line in _missed(outcome))
        if _missed(outcome)
        else "Everything that was measured reached what it must.",
        "## What to know of this run",
        "\n".join(f"- {problem}" for problem in outcome.problems)
        or "Every ack was ok, and every client saw every event once and in order.",
        "CPU as shares of one core; `foreign` is what everybody else on this machine used meanwhile.",
        _markdown(*_load_lines(outcome)),
        "How each row is measured, and what it does not say: scripts/benchmarks/README.md.",
    ]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def show(outcome: Outcome, console: Console) -> None:
    """Print the tables, and what was not reached."""
    for line in _conditions(outcome):
        console.print(line, highlight=False)
    for head, lines in (_figure_lines(outcome), _target_lines(outcome), _load_lines(outcome)):
        table = Table(*head)
        for cells in lines:
            table.add_row(*cells)
        console.print(table)
    for problem in outcome.problems:
        console.print(f"[bold yellow]note[/] {problem}", soft_wrap=True)
    missed = _missed(outcome)
    for line in missed:
        console.print(f"[bold red]not reached[/] {line}", soft_wrap=True)
    if not missed and any(OURS in by for by in outcome.figures().values()):
        console.print("[bold green]everything that was measured reached what it must[/]")
