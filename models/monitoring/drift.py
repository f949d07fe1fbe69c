"""Has what the champion reads moved away from what it learned from?

A feature has drifted when three things hold: the difference is beyond chance among all features (Benjamini–Hochberg
over Kolmogorov–Smirnov and chi-square tests), it is large (population stability index), and it is larger than the
feature ever moved within the reference over as long a time. The last one keeps seasons, and populations that slowly
grow older, from raising an alarm every night: the reference has seen them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from models.monitoring.bins import MISSING, Bins, as_numbers, as_text, bins_of, kind_of, psi, psi_by_chance
from models.monitoring.multiplicity import benjamini_hochberg
from models.monitoring.policy import MonitorPolicy

# A reference of two years of months has two dozen moments: more tell nothing that these do not.
_MOST_MOMENTS = 60
# Large indices vary by chance themselves: as far as a season went, and a quarter more.
_BEYOND = 1.25


@dataclass(frozen=True)
class FeatureDrift:
    """What is said about one feature.

    Attributes
    ----------
    psi : population stability index; None where it could not be computed.
    limit : that it must exceed: the policy's, plus what chance does to it, or a quarter more than the most it moved
        within the reference over as long a time, whichever is larger.
    seasonal : the most it moved within the reference or a year before; None where neither is known.
    test, statistic, p_value, q_value : the test, and its p-value adjusted for the number of features.
    missing : share of missing values in the reference and now.
    labels, reference, now : bins and the shares in them, for pictures.
    note : why it drifted without a test (a type that changed), or why nothing is said.
    """

    feature: str
    kind: str
    drifted: bool
    psi: float | None = None
    limit: float | None = None
    seasonal: float | None = None
    test: str = ""
    statistic: float | None = None
    p_value: float | None = None
    q_value: float | None = None
    missing: tuple[float, float] = (0.0, 0.0)
    labels: tuple[str, ...] = ()
    reference: tuple[float, ...] = ()
    now: tuple[float, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def drift(
    reference: pd.DataFrame,
    now: pd.DataFrame,
    *,
    history: Mapping[Any, pd.DataFrame] | None = None,
    gap: timedelta | None = None,
    year_before: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    policy: MonitorPolicy | None = None,
) -> list[FeatureDrift]:
    """Compare every feature of two frames of entities, the most moved first.

    Parameters
    ----------
    reference, now : one row per entity, features as columns.
    history : moment → the entities as they were then, within the reference. What moved as much between two of these
        moments, as far apart as `gap`, is not called drift.
    gap : time between the reference and now.
    year_before : the entities on the same two days of the year before: a season may be shorter than the steps between
        the moments of the history.
    """
    policy = policy or MonitorPolicy()
    found = []
    before = dict(history or {})
    pairs = [(before[a], before[b]) for a, b in _pairs(before, gap)] if gap is not None else []
    pairs += [year_before] if year_before is not None else []
    for feature in dict.fromkeys([*reference.columns, *now.columns]):
        name = str(feature)
        if feature not in now.columns:
            found.append(FeatureDrift(name, kind_of(reference[feature]), True, note="not there any more"))
        elif feature not in reference.columns:
            found.append(FeatureDrift(name, kind_of(now[feature]), False, note="new: the champion does not read it"))
        else:
            moves = [(a[feature], b[feature]) for a, b in pairs if feature in a.columns and feature in b.columns]
            found.append(_one(name, reference[feature], now[feature], moves, policy))
    q_values = benjamini_hochberg([np.nan if one.p_value is None else one.p_value for one in found])
    judged = [_judged(one, float(q), policy) for one, q in zip(found, q_values, strict=True)]
    return sorted(judged, key=lambda one: (not one.drifted, -(one.psi or 0.0), one.feature))


def _pairs(history: Mapping[Any, pd.DataFrame], gap: timedelta) -> Iterator[tuple[Any, Any]]:
    """Pairs of moments as far apart as `gap`, or as nearly as there are any."""
    moments = sorted(history)[-_MOST_MOMENTS:]
    lags = [(pd.Timestamp(b) - pd.Timestamp(a), a, b) for i, a in enumerate(moments) for b in moments[i + 1 :]]
    if not lags:
        return
    steps = [pd.Timestamp(b) - pd.Timestamp(a) for a, b in pairwise(moments)]
    slack = min(steps) / 2
    nearest = min(abs(lag - gap) for lag, _, _ in lags)
    for lag, first, second in lags:
        if abs(lag - gap) <= max(slack, nearest):
            yield first, second


def _one(
    name: str,
    reference: pd.Series,
    now: pd.Series,
    moves: list[tuple[pd.Series, pd.Series]],
    policy: MonitorPolicy,
) -> FeatureDrift:
    if not reference.notna().any() and kind_of(reference) != kind_of(now):
        # A column that nobody had filled has the type of nothing: that of what it is filled with now.
        reference = pd.Series([None] * len(reference), dtype=object if kind_of(now) == "category" else float)
    kind = kind_of(reference)
    if now.notna().any() and reference.notna().any() and kind_of(now) != kind:
        return FeatureDrift(name, kind, True, note=f"was a {kind}, is a {kind_of(now)} now")
    if min(len(reference), len(now)) < policy.fewest_rows:
        few = f"{len(reference)} and {len(now)} rows are too few to tell (fewest: {policy.fewest_rows})"
        return FeatureDrift(name, kind, False, note=few)
    bins = bins_of(reference, bins=policy.bins, levels=policy.levels)
    then, today = bins.count(reference), bins.count(now)
    index = psi(then, today)
    limit = policy.psi + _by_chance(then, today)
    seasonal = max((_moved(a, b, policy) for a, b in moves), default=None)
    test, statistic, p_value = _test(reference, now, bins)
    return FeatureDrift(
        feature=name,
        kind=kind,
        drifted=False,
        psi=index,
        limit=max(limit, _BEYOND * (seasonal or 0.0)),
        seasonal=seasonal,
        test=test,
        statistic=statistic,
        p_value=p_value,
        missing=(float(reference.isna().mean()), float(now.isna().mean())),
        labels=bins.labels,
        reference=tuple((then / then.sum()).tolist()),
        now=tuple((today / today.sum()).tolist()),
    )


def _moved(first: pd.Series, second: pd.Series, policy: MonitorPolicy) -> float:
    # At the beginning of the data nothing is known of the time before: that a feature came to be is no season.
    if min(first.notna().sum(), second.notna().sum()) < policy.fewest_rows:
        return 0.0
    bins = bins_of(first, bins=policy.bins, levels=policy.levels)
    return psi(bins.count(first), bins.count(second)) if kind_of(second) == bins.kind else 0.0


def _by_chance(then: np.ndarray[Any, Any], today: np.ndarray[Any, Any]) -> float:
    used = int(((then + today) > 0).sum())
    return psi_by_chance(float(then.sum()), float(today.sum()), used)


def _test(reference: pd.Series, now: pd.Series, bins: Bins) -> tuple[str, float | None, float | None]:
    """Two-sample Kolmogorov–Smirnov of numbers, chi-square of levels; with it, whether more or fewer are missing."""
    from scipy import stats

    if bins.kind == "category":
        sizes = (len(reference), len(now))
        levels = pd.concat([as_text(reference), as_text(now)], ignore_index=True).fillna(MISSING)
        table = pd.crosstab(np.repeat([0, 1], sizes), levels.to_numpy()).to_numpy()
        if table.shape[1] < 2:
            return "chi-square", 0.0, 1.0
        # Levels that hardly occur make the test claim more than it knows (Cochran 1954): they are one.
        rare = table.sum(axis=0) * min(sizes) / sum(sizes) < 5
        if rare.sum() > 1:
            table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
        if table.shape[1] < 2:
            return "chi-square", 0.0, 1.0
        found = stats.chi2_contingency(table, correction=False)
        return "chi-square", float(found.statistic), float(found.pvalue)
    a, b = (numbers[~np.isnan(numbers)] for numbers in (as_numbers(reference), as_numbers(now)))
    absent = [len(reference) - len(a), len(now) - len(b)]
    p_values = []
    statistic = 0.0
    if len(a) and len(b):
        found = stats.ks_2samp(a, b, method="asymp")
        statistic = float(found.statistic)
        p_values.append(float(found.pvalue))
    if sum(absent) and sum(absent) < len(reference) + len(now):
        there = [len(a), len(b)]
        p_values.append(float(stats.chi2_contingency([absent, there], correction=False).pvalue))
    # Two looks at one feature (Bonferroni).
    return "Kolmogorov–Smirnov", statistic, min(1.0, len(p_values) * min(p_values)) if p_values else 1.0


def _judged(one: FeatureDrift, q_value: float, policy: MonitorPolicy) -> FeatureDrift:
    if one.p_value is None or one.psi is None or one.limit is None:
        return one
    return replace(one, q_value=q_value, drifted=q_value <= policy.false_discovery and one.psi > one.limit)
