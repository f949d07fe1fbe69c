"""Counts in buckets whose bounds grow by a constant factor: percentiles within 6 %, in little memory, at no cost.

Bucket `i` holds values from 10^(i/20) up to 10^((i+1)/20), so that every fifth bound is a quarter of a decade and
histograms of quarter decades are exact sums of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log10

PER_DECADE = 20
# 0.01 to 10 million, of whatever unit: fewer than 200 buckets, however wild the values.
SMALLEST, LARGEST = 0.01, 1e7


def bucket(value: float) -> int:
    """The bucket of a value; what lies beyond the bounds counts as the bound, NaN as the largest."""
    if value > SMALLEST:
        # Not `round down`: all indexes but the smallest values' are positive, and there it makes no difference.
        return int(log10(value if value < LARGEST else LARGEST) * PER_DECADE + 100) - 100
    return -2 * PER_DECADE if value == value else 7 * PER_DECADE


def upper(index: int) -> float:
    """The bound that a bucket's values stay below."""
    return float(10.0 ** ((index + 1) / PER_DECADE))


def merged(parts: Iterable[tuple[Mapping[int, float], float]]) -> dict[int, float]:
    """Counts of several histograms together, each with its weight."""
    found: dict[int, float] = {}
    for counts, weight in parts:
        # A copy: whoever counts may go on meanwhile.
        for index, count in list(counts.items()):
            found[index] = found.get(index, 0.0) + weight * count
    return found


def percentiles(counts: Mapping[int, float], shares: tuple[float, ...]) -> tuple[float, ...] | None:
    """Values below which these shares of the counts lie; None without any count."""
    total = sum(counts.values())
    if total <= 0:
        return None
    ordered = sorted(counts.items())
    found = []
    for share in shares:
        wanted, below = share * total, 0.0
        for index, count in ordered:
            if below + count >= wanted or (index, count) == ordered[-1]:
                within = min(1.0, (wanted - below) / count) if count > 0 else 1.0
                found.append(float(10.0 ** ((index + within) / PER_DECADE)))
                break
            below += count
    return tuple(found)
