"""One picture of the ratios, as SVG and PNG. Owns how it looks; needs matplotlib, and says so where it is missing."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.benchmarks.contenders import LABELS, NODE, NODE_GROUPS, OURS, PYTHON
from scripts.benchmarks.rows import Figures, Row, median

_COLOURS = {OURS: "#2463a8", NODE_GROUPS: "#8fb359", PYTHON: "#c9a227"}
_LESS_IS_BETTER = frozenset({"ms", "µs", "KB"})


def _times_better(figures: Figures, row: Row, contender: str) -> float:
    theirs, node = median(figures, row.name, contender), median(figures, row.name, NODE)
    if math.isnan(theirs) or math.isnan(node) or not theirs or not node:
        return math.nan
    return node / theirs if row.unit in _LESS_IS_BETTER else theirs / node


def draw(rows: Sequence[Row], figures: Figures, folder: Path) -> bool:
    """Draw how many times better than Node everyone is, with what is to be reached; tell whether there is a picture."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("No plot: matplotlib is not installed (pip install -e '.[bench]').", file=sys.stderr)
        return False
    mpl.use("agg")
    from matplotlib import pyplot as plt

    shown = [row for row in rows if not math.isnan(_times_better(figures, row, OURS))]
    if not shown:
        return False
    figure, axes = plt.subplots(figsize=(11, 1.2 + 0.7 * len(shown)), layout="constrained")
    drawn = [who for who in _COLOURS if any(not math.isnan(_times_better(figures, row, who)) for row in shown)]
    height = 0.8 / len(drawn)
    for place, contender in enumerate(drawn):
        values = [_times_better(figures, row, contender) for row in shown]
        where = [line + (place - (len(drawn) - 1) / 2) * height for line in range(len(shown))]
        widths = [value - 1 for value in values]  # from 1, which is Node
        axes.barh(where, widths, height, left=1, color=_COLOURS[contender], label=LABELS[contender], zorder=2)
        for value, line in zip(values, where, strict=True):
            if not math.isnan(value):
                side = {"xytext": (4, 0), "ha": "left"} if value >= 1 else {"xytext": (-4, 0), "ha": "right"}
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
                axes.annotate(
                    f"{value:.3g}×", (value, line), textcoords="offset points", va="center", size=8, bbox=box, **side
                )
    for line, row in enumerate(shown):
        for target in row.targets:
            if target.against == NODE:
                for limit, style in ((target.must, "-"), (target.aim, ":")):
                    at = limit if target.at_least else 1 / limit
                    axes.plot(
                        [at, at], [line - 0.45, line + 0.45], color="black", linestyle=style, linewidth=1.5, zorder=3
                    )
    axes.axvline(1, color="grey", linewidth=1)
    axes.set_xscale("log")
    axes.margins(x=0.1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_yticks(range(len(shown)), [row.title for row in shown], size=8)
    axes.invert_yaxis()
    axes.set_xlabel("times better than Node (socket.io + mongodb); solid line: must, dotted: aim")
    axes.legend(loc="lower left", fontsize=8)
    for kind in ("svg", "png"):
        figure.savefig(folder / f"plot.{kind}", dpi=120)
    plt.close(figure)
    return True
