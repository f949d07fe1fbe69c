"""Is every kind of customer judged alike? Calibration, errors and selection per slice, with many tests allowed for.

Per level of every column that divides customers into kinds:

| name | definition |
|---|---|
| calibration_gap | mean probability − share that left; above zero their risk is overstated |
| false_negative_rate | share not flagged among those that left |
| false_positive_rate | share flagged among those that stayed |
| selection_rate | share flagged |
| flagged_ratio | Σ_y P(y)·P(flag ∣ y, slice) / Σ_y P(y)·P(flag ∣ y, all others): flagged at the same outcomes |

Intervals are 95 %, from influence functions summed over groups (rows of one customer count together; Huber's sandwich).
Whether a slice differs from all others is tested per measure, and the share of false alarms among all these tests is
held at 5 % (Benjamini & Hochberg 1995).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.lifecycle.evaluation import Estimate
from models.monitoring.multiplicity import benjamini_hochberg

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEWEST_ROWS = 50
# Of an outcome in a slice and outside of it, or an error rate of the slice says nothing.
FEWEST_OF_OUTCOME = 10
MOST_LEVELS = 20
MOST_WORDS = 10
FALSE_DISCOVERIES = 0.05
EXPECTED = (
    "Where slices truly differ in risk, errors at one threshold differ even if every probability is right "
    "(Kleinberg, Mullainathan & Raghavan 2017); a misstated risk is never explained by that."
)
Z = 1.959963984540054


@dataclass(frozen=True)
class SliceFairness:
    """One slice beside all other customers.

    Attributes
    ----------
    measures : name → estimate; NaN where there are too few of an outcome.
    tests : name → (difference to all others, or the ratio itself; p-value; Benjamini–Hochberg-adjusted p-value).
    differs : measures in which it differs from all others after the adjustment.
    """

    column: str
    level: str
    rows: int
    left: int
    measures: Mapping[str, Estimate]
    tests: Mapping[str, tuple[float, float, float]]

    @property
    def differs(self) -> tuple[str, ...]:
        return tuple(name for name, (_, _, adjusted) in self.tests.items() if adjusted <= FALSE_DISCOVERIES)

    def to_dict(self) -> dict[str, Any]:
        return {
            "slice": f"{self.column}={self.level}",
            "rows": self.rows,
            "left": self.left,
            **{name: one.to_dict() for name, one in self.measures.items()},
            "tests": {
                name: {"difference": _plain(difference), "p_value": _plain(p), "adjusted": _plain(adjusted)}
                for name, (difference, p, adjusted) in self.tests.items()
            },
            "differs": list(self.differs),
        }


@dataclass(frozen=True)
class Fairness:
    """All slices, and what they show in sentences."""

    slices: tuple[SliceFairness, ...]
    words: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "slices": [one.to_dict() for one in self.slices],
            "words": list(self.words),
            "how": "95 % intervals; differences to all other customers at a false discovery rate of 5 % "
            "(Benjamini–Hochberg over all slices and measures)",
        }


def fairness(
    y: NDArray[np.int64], p: Floats, threshold: float, levels: pd.DataFrame, groups: NDArray[Any] | None = None
) -> Fairness:
    """Judge every level of every column of `levels` that has at least 50 rows, and 50 outside of it.

    Parameters
    ----------
    levels : one text column per kind of slice, row by row with `y`.
    groups : one key per row; None when every row is its own.
    """
    codes = np.arange(len(y)) if groups is None else pd.factorize(groups)[0]
    flagged = p >= threshold
    found: list[tuple[str, str, Mask]] = []
    for name in levels.columns:
        texts = levels[name].astype(str).to_numpy()
        for level in (
            pd.Series(texts).value_counts().sort_index().sort_values(ascending=False, kind="stable").index[:MOST_LEVELS]
        ):
            inside = texts == level
            if min(inside.sum(), (~inside).sum()) >= FEWEST_ROWS:
                found.append((str(name), str(level), inside))
    judged = [_judged(y, p, flagged, inside, codes) for _, _, inside in found]
    raw = [(k, name, p_value) for k, (_, tests) in enumerate(judged) for name, (_, p_value) in tests.items()]
    q_values = benjamini_hochberg([p_value for _, _, p_value in raw]).tolist()
    adjusted = {(k, name): q for (k, name, _), q in zip(raw, q_values, strict=True)}
    slices = tuple(
        SliceFairness(
            column,
            level,
            int(inside.sum()),
            int(y[inside].sum()),
            measures,
            {name: (*test, adjusted[k, name]) for name, test in tests.items()},
        )
        for k, ((column, level, inside), (measures, tests)) in enumerate(zip(found, judged, strict=True))
    )
    return Fairness(slices, _words(slices))


class _Ratio:
    """Σ number / Σ of, and its influence function per group."""

    def __init__(self, number: Floats, of: Floats, codes: NDArray[np.intp]) -> None:
        total = float(of.sum())
        self.value = float(number.sum()) / total
        self.influence = np.bincount(codes, weights=(number - self.value * of) / total)
        self.size = total


def _judged(
    y: NDArray[np.int64], p: Floats, flagged: Mask, inside: Mask, codes: NDArray[np.intp]
) -> tuple[dict[str, Estimate], dict[str, tuple[float, float]]]:
    measures: dict[str, Estimate] = {}
    tests: dict[str, tuple[float, float]] = {}
    left, stayed = (y == 1).astype(np.float64), (y == 0).astype(np.float64)
    within, others = inside.astype(np.float64), (~inside).astype(np.float64)
    hit = flagged.astype(np.float64)
    enough = {
        k: min((own * within).sum(), (own * others).sum()) >= FEWEST_OF_OUTCOME for k, own in ((1, left), (0, stayed))
    }
    for name, number, of, wanted in (
        ("calibration_gap", p - y, np.ones(len(y)), True),
        ("false_negative_rate", (1 - hit) * left, left, enough[1]),
        ("false_positive_rate", hit * stayed, stayed, enough[0]),
        ("selection_rate", hit, np.ones(len(y)), True),
    ):
        if not wanted:
            measures[name] = Estimate(float("nan"), float("nan"), float("nan"))
            continue
        own = _Ratio(number * within, of * within, codes)
        rest = _Ratio(number * others, of * others, codes)
        measures[name] = _interval(own, rate=name != "calibration_gap")
        if name != "selection_rate":  # who is at higher risk is flagged more often: no test of that
            tests[name] = _difference(own, rest, rate=name != "calibration_gap")
    measures["flagged_ratio"] = Estimate(float("nan"), float("nan"), float("nan"))
    if enough[0] and enough[1]:
        ratio = _flagged_ratio(hit, left, stayed, within, others, codes)
        if ratio is not None:
            measures["flagged_ratio"], tests["flagged_ratio"] = ratio
    return measures, tests


def _flagged_ratio(
    hit: Floats, left: Floats, stayed: Floats, within: Floats, others: Floats, codes: NDArray[np.intp]
) -> tuple[Estimate, tuple[float, float]] | None:
    """Ratio of flagged shares at the same outcomes. Shares of outcomes count as given; the interval is of its log."""
    share = float(left.mean())
    rates: list[float] = []
    influences: list[Floats] = []
    for side in (within, others):
        parts = [_Ratio(hit * own * side, own * side, codes) for own in (left, stayed)]
        rates.append(share * parts[0].value + (1 - share) * parts[1].value)
        influences.append(share * parts[0].influence + (1 - share) * parts[1].influence)
    if min(rates) <= 0:
        return None
    log = float(np.log(rates[0] / rates[1]))
    error = float(np.sqrt(((influences[0] / rates[0] - influences[1] / rates[1]) ** 2).sum()))
    estimate = Estimate(float(np.exp(log)), float(np.exp(log - Z * error)), float(np.exp(log + Z * error)))
    return estimate, (float(np.exp(log)), _p_value(log, error))


def _interval(ratio: _Ratio, *, rate: bool) -> Estimate:
    error = float(np.sqrt((ratio.influence**2).sum()))
    if not rate:
        return Estimate(ratio.value, ratio.value - Z * error, ratio.value + Z * error)
    spread = ratio.value * (1 - ratio.value)
    # Wilson's interval at the number of independent rows that the error amounts to; all of them where it is none.
    size = spread / error**2 if error > 0 and spread > 0 else ratio.size
    return Estimate(ratio.value, *wilson(ratio.value, size))


def wilson(share: float, size: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `size` independent rows (Wilson 1927)."""
    if size <= 0:
        return float("nan"), float("nan")
    centre = share + Z**2 / (2 * size)
    half = Z * float(np.sqrt(share * (1 - share) / size + Z**2 / (4 * size**2)))
    scale = 1 + Z**2 / size
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _difference(own: _Ratio, rest: _Ratio, *, rate: bool) -> tuple[float, float]:
    difference = own.value - rest.value
    error = float(np.sqrt(((own.influence - rest.influence) ** 2).sum()))
    if rate:
        # Without a difference the spread is that of both together (a score test): where none or all of few rows
        # count, a side's own spread would be zero.
        pooled = (own.value * own.size + rest.value * rest.size) / (own.size + rest.size)
        error = max(error, float(np.sqrt(pooled * (1 - pooled) * (1 / own.size + 1 / rest.size))))
    return difference, _p_value(difference, error)


def _p_value(value: float, error: float) -> float:
    from math import erfc, sqrt

    if error <= 0:
        return 1.0 if value == 0 else 0.0
    return erfc(abs(value) / error / sqrt(2))


def _words(slices: Sequence[SliceFairness]) -> tuple[str, ...]:
    """Misstated risks first, then at most one sentence per slice, the clearest first."""
    gaps = [(one.tests["calibration_gap"][1], _gap(one)) for one in slices if "calibration_gap" in one.differs]
    errors = []
    for one in slices:
        told = [name for name in one.differs if name != "calibration_gap"]
        if told:
            name = "flagged_ratio" if "flagged_ratio" in told else min(told, key=lambda name: one.tests[name][1])
            errors.append((one.tests[name][1], _error(one, name)))
    said = [text for found in (gaps, errors) for _, text in sorted(found, key=lambda item: item[0])]
    if not said:
        return ("No slice differs from the others by more than chance.",)
    more = (f"And {len(said) - MOST_WORDS} more; the table has all of them.",) if len(said) > MOST_WORDS else ()
    return (*said[:MOST_WORDS], *more, *((EXPECTED,) if errors else ()))


def _gap(one: SliceFairness) -> str:
    gap = one.measures["calibration_gap"]
    if gap.low <= 0 <= gap.high:
        # Theirs may well be right, and that of the others wrong.
        difference = one.tests["calibration_gap"][0]
        return (
            f"Beside what happened, the risk of customers with {one.column} = {one.level} is put "
            f"{abs(100 * difference):.1f} points {'higher' if difference > 0 else 'lower'} than that of others."
        )
    way = "overstated" if gap.value > 0 else "understated"
    return (
        f"The risk of customers with {one.column} = {one.level} is {way} by {abs(100 * gap.value):.1f} points "
        f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]."
    )


def _error(one: SliceFairness, name: str) -> str:
    estimate = one.measures[name]
    who = f"ustomers with {one.column} = {one.level}"
    if name == "flagged_ratio":
        return (
            f"C{who} are flagged {_times(estimate.value)} as often as others with the same outcome "
            f"[{_times(estimate.low)}, {_times(estimate.high)}]."
        )
    missed = name == "false_negative_rate"
    among, what = ("leave", "are missed") if missed else ("stay", "are flagged")
    difference = one.tests[name][0]
    return (
        f"Of the c{who} that {among}, {100 * estimate.value:.0f} % {what}, "
        f"{abs(100 * difference):.0f} points {'more' if difference > 0 else 'fewer'} than of others."
    )


def _times(ratio: float) -> str:
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.2g}×"


def _plain(value: float) -> float | None:
    return round(value, 6) if value == value and abs(value) != float("inf") else None
