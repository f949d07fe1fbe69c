"""The promotion gate: a challenger becomes champion only with evidence, and only if no guard objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pandas as pd

from models.lifecycle.evaluation import Estimate, Evaluation
from models.lifecycle.family import Metric
from models.lifecycle.statistics import PairedTest, diebold_mariano, pair, paired_bootstrap
from store.errors import MeritError

Comparison = Literal["paired_bootstrap", "diebold_mariano"]


@dataclass(frozen=True)
class GatePolicy:
    """How much evidence is enough, and what may not get worse.

    Attributes
    ----------
    confidence : of the paired test; the interval of the difference must lie above zero.
    margin : "not worse" means the interval stays above −margin × the champion's mean loss.
    cheaper : a challenger that is not worse is promoted when its latency is at most this share of the champion's.
    calibration_tolerance : how much the expected calibration error may rise.
    coverage_tolerance, coverage_excess : how far measured interval coverage may lie below and above its nominal level,
        unless the champion's lies farther. Too narrow misleads; too wide only wastes, which the loss shows as well.
    latency_factor, latency_floor_ms : a challenger may be this many times slower; below the floor nobody notices.
    fewest_groups : independent groups (customers, shops, moments) that a bootstrap needs to tell anything from chance;
        slices with fewer are not judged.
    slice_rows : slices with fewer rows are not judged.
    slice_margin : a slice is worse when its loss rises by more than this share of the champion's, beyond chance.
    incomparable : what to do when the champion cannot answer on this data at all (other columns): "keep" it, or judge
        the challenger against the baseline alone and "promote" it if it passes.
    """

    confidence: float = 0.95
    margin: float = 0.01
    cheaper: float = 0.8
    calibration_tolerance: float = 0.01
    coverage_tolerance: float = 0.05
    coverage_excess: float = 0.10
    latency_factor: float = 3.0
    latency_floor_ms: float = 5.0
    fewest_groups: int = 10
    slice_rows: int = 50
    slice_margin: float = 0.02
    incomparable: Literal["keep", "promote"] = "keep"


@dataclass(frozen=True)
class Guard:
    """One thing that must not get worse."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class GateReport:
    """A verdict with every number that it used.

    Attributes
    ----------
    verdict : "promote" or "keep" (the champion, or nobody when there is none).
    reason : one sentence for people.
    opponent : what the challenger was compared with: "champion v3 (catboost)" or "baseline prevalence".
    """

    verdict: Literal["promote", "keep"]
    reason: str
    challenger: str
    opponent: str
    metric: str
    challenger_loss: float
    opponent_loss: float
    test: PairedTest
    guards: tuple[Guard, ...]
    policy: GatePolicy
    champion_version: int | None = None
    notes: tuple[str, ...] = ()
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def promoted(self) -> bool:
        return self.verdict == "promote"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, for the ledger and the artifacts."""
        data = asdict(self)
        data["guards"] = [asdict(guard) for guard in self.guards]
        data["notes"] = list(self.notes)
        return data


def decide(
    challenger: Evaluation,
    *,
    baseline: Evaluation,
    metric: Metric,
    comparison: Comparison,
    champion: Evaluation | None = None,
    champion_version: int | None = None,
    champion_problem: MeritError | None = None,
    policy: GatePolicy | None = None,
    seed: int = 0,
) -> GateReport:
    """Compare a challenger with the champion, or with the baseline while there is no champion.

    Parameters
    ----------
    champion_problem : why the champion could not be judged on these rows, when it could not.

    Raises
    ------
    TrainingError : the two were not judged on the same rows.
    """
    policy = policy or GatePolicy()
    opponent = champion or baseline
    title = f"champion v{champion_version} ({champion.candidate})" if champion else f"baseline {baseline.candidate}"
    paired = pair(opponent.losses, challenger.losses)
    test = run_test(paired, comparison, policy, seed)
    guards = tuple(_guards(challenger, champion, paired, comparison, policy, seed))
    verdict, reason = _verdict(test, guards, challenger, opponent, title, metric, policy)
    notes: list[str] = []
    if champion_problem is not None:
        notes.append(f"Champion v{champion_version} could not be judged on these rows: {champion_problem.message}")
        if policy.incomparable == "keep":
            verdict = "keep"
            reason = (
                f"{notes[0]} Nothing was promoted, since there is no comparison on the same rows; promote by hand "
                "or train under another name."
            )
        else:
            reason += f" {notes[0]}"
    return GateReport(
        verdict=verdict,
        reason=reason,
        challenger=challenger.candidate,
        opponent=title,
        metric=metric.name,
        challenger_loss=float(challenger.losses["loss"].mean()),
        opponent_loss=float(opponent.losses["loss"].mean()),
        test=test,
        guards=guards,
        policy=policy,
        champion_version=champion_version,
        notes=tuple(notes),
        metrics={
            "challenger": {name: value.to_dict() for name, value in challenger.metrics.items()},
            "opponent": {name: value.to_dict() for name, value in opponent.metrics.items()},
        },
    )


def run_test(paired: pd.DataFrame, comparison: Comparison, policy: GatePolicy, seed: int = 0) -> PairedTest:
    """The family's paired test at the policy's confidence."""
    if comparison == "diebold_mariano":
        return diebold_mariano(paired, confidence=policy.confidence)
    return paired_bootstrap(paired, confidence=policy.confidence, seed=seed)


def _verdict(
    test: PairedTest,
    guards: tuple[Guard, ...],
    challenger: Evaluation,
    opponent: Evaluation,
    title: str,
    metric: Metric,
    policy: GatePolicy,
) -> tuple[Literal["promote", "keep"], str]:
    numbers = (
        f"mean loss {challenger.losses['loss'].mean():.4g} against {opponent.losses['loss'].mean():.4g} {metric.unit}, "
        f"difference {test.difference:+.4g} [{test.low:+.4g}, {test.high:+.4g}] at {policy.confidence:.0%} "
        f"on {test.rows} rows"
    )
    broken = [guard for guard in guards if not guard.passed]
    if test.high < 0:
        return "keep", f"{challenger.candidate} is worse than {title}: {numbers}."
    if broken:
        listed = "; ".join(f"{guard.name}: {guard.detail}" for guard in broken)
        return "keep", f"{challenger.candidate} is held back by {listed} ({numbers})."
    if test.low > 0:
        return "promote", f"{challenger.candidate} is better than {title}: {numbers}."
    allowance = policy.margin * abs(float(opponent.losses["loss"].mean()))
    # The same recipe that errs alike on every row is the same model: where its time differs, the machine was busy.
    twin = challenger.candidate == opponent.candidate and test.difference == test.low == test.high == 0
    saves = challenger.latency_ms <= policy.cheaper * opponent.latency_ms and not twin
    if not opponent_is_baseline(title) and test.low > -allowance and saves:
        return (
            "promote",
            f"{challenger.candidate} is not worse than {title} and cheaper "
            f"({challenger.latency_ms:.3g} ms against {opponent.latency_ms:.3g} ms): {numbers}.",
        )
    return "keep", f"{challenger.candidate} is not better than {title} beyond chance: {numbers}."


def opponent_is_baseline(title: str) -> bool:
    """Beating a baseline takes evidence; being cheaper than one is no merit."""
    return title.startswith("baseline")


def _guards(
    challenger: Evaluation,
    champion: Evaluation | None,
    paired: pd.DataFrame,
    comparison: Comparison,
    policy: GatePolicy,
    seed: int,
) -> list[Guard]:
    guards = []
    if comparison == "paired_bootstrap":
        guards.append(_evidence(paired, policy))
    if "ece" in challenger.metrics:
        guards.append(_calibration(challenger.metrics["ece"], champion, len(challenger.losses), policy))
    guards += [
        _coverage(name, value, champion, challenger.losses["group"].nunique(), policy)
        for name, value in challenger.metrics.items()
        if name.startswith("coverage_")
    ]
    if champion is not None:
        guards.append(_latency(challenger, champion, policy))
        guards += _slices(paired, champion, comparison, policy, seed)
    return guards


def _evidence(paired: pd.DataFrame, policy: GatePolicy) -> Guard:
    groups = int(paired["group"].nunique())
    rows = f"{len(paired)} judged rows come from {groups} independent group{'' if groups == 1 else 's'}"
    return Guard("evidence", groups >= policy.fewest_groups, f"{rows}, {policy.fewest_groups} are needed")


def _calibration(ece: Estimate, champion: Evaluation | None, rows: int, policy: GatePolicy) -> Guard:
    before = champion.metrics.get("ece") if champion else None
    chance = _calibration_by_chance(rows)
    # Without a champion the bar is absolute: an error 5 points beyond chance misleads decisions. With one, both were
    # measured on the same rows, and much of the chance is common to them.
    limit = before.value + policy.calibration_tolerance + chance / 2 if before else 0.05 + chance
    against = f"champion {before.value:.3f}" if before else f"chance alone {chance:.3f}"
    detail = f"expected calibration error {ece.value:.3f} ({against}, limit {limit:.3f})"
    return Guard("calibration", ece.value <= limit, detail)


def _calibration_by_chance(rows: int, bins: int = 10) -> float:
    """Expected calibration error that a perfectly calibrated model shows on this many rows, at most.

    Each bin's rate is off by sqrt(p (1 − p) bins / rows) in standard deviation, and by √(2/π) of that on average; the
    bound takes p = 1/2.
    """
    return math.sqrt(2 / math.pi * 0.25 * bins / rows)


def _coverage(name: str, value: Estimate, champion: Evaluation | None, groups: int, policy: GatePolicy) -> Guard:
    nominal = float(name.removeprefix("coverage_")) / 100
    off = abs(value.value - nominal)
    before = champion.metrics.get(name) if champion else None
    tolerance = policy.coverage_tolerance if value.value < nominal else policy.coverage_excess
    # The outcomes of one series miss or hit together: a few series measure coverage only roughly.
    tolerance += math.sqrt(nominal * (1 - nominal) / groups)
    allowed = max(tolerance, abs(before.value - nominal) if before else 0.0)
    # An interval that contains the nominal level is no evidence against it.
    passed = off <= allowed or value.low <= nominal <= value.high
    return Guard(name, passed, f"{value.value:.1%} of outcomes inside, nominal {nominal:.0%}, allowed ±{allowed:.1%}")


def _latency(challenger: Evaluation, champion: Evaluation, policy: GatePolicy) -> Guard:
    limit = max(policy.latency_floor_ms, policy.latency_factor * champion.latency_ms)
    passed = challenger.latency_ms <= limit
    return Guard("latency", passed, f"{challenger.latency_ms:.3g} ms a prediction, limit {limit:.3g} ms")


def _slices(
    paired: pd.DataFrame, champion: Evaluation, comparison: Comparison, policy: GatePolicy, seed: int
) -> list[Guard]:
    """Each slice is tested like the whole; the level is shared out among them (Bonferroni)."""
    columns = [column for column in paired.columns if column.startswith("slice.")]
    members = [
        (f"{column.removeprefix('slice.')}={level}", rows)
        for column in columns
        for level, rows in paired.groupby(column, observed=True)
        if len(rows) >= policy.slice_rows
        and (comparison != "paired_bootstrap" or rows["group"].nunique() >= policy.fewest_groups)
    ]
    if not members:
        return []
    strict = GatePolicy(confidence=1 - (1 - policy.confidence) / len(members))
    worse = []
    for title, rows in members:
        test = run_test(rows, comparison, strict, seed)
        before = float(champion.losses["loss"].reindex(rows.index).mean())
        if test.high < 0 and -test.difference > policy.slice_margin * abs(before):
            worse.append(f"{title} loses {-test.difference:.4g} on {len(rows)} rows")
    more = f" and {len(worse) - 3} more slices" if len(worse) > 3 else ""
    detail = "; ".join(worse[:3]) + more if worse else f"none of {len(members)} is worse beyond chance"
    return [Guard("slices", not worse, detail)]
