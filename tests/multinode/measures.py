"""Measured times in words."""

from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def told(what: str, seconds: Sequence[float]) -> str:
    """Return a line on how long something took."""
    shares = " ".join(f"p{share:g} {1000 * quantile(seconds, share / 100):.1f}" for share in (50, 90, 99, 100))
    return f"{what}: {len(seconds)} times, in ms: {shares}"
