"""The gate: evidence promotes, chance does not, and any guard can hold a model back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.lifecycle.evaluation import Estimate, Evaluation
from models.lifecycle.family import Metric
from models.lifecycle.gate import GatePolicy, GateReport, decide
from store.errors import MissingColumn

LOSS = Metric("log_loss", "lower", "nats")


def evaluation(
    name: str, level: float, *, rows: int = 2000, noise: float = 0.2, seed: int = 0, **metrics: Estimate
) -> Evaluation:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "loss": level + rng.normal(0, noise, rows),
            "group": np.arange(rows) // 2,
            "step": 0,
            "slice.plan": np.where(np.arange(rows) % 4 == 0, "pro", "basic"),
        },
        index=[f"row-{number}" for number in range(rows)],
    )
    return Evaluation(name, frame, metrics, pd.DataFrame(columns=["slice", "rows", "value"]), latency_ms=1.0)


def judge(challenger: Evaluation, champion: Evaluation | None = None, policy: GatePolicy | None = None) -> GateReport:
    return decide(
        challenger,
        baseline=evaluation("prevalence", 0.6, seed=9),
        metric=LOSS,
        comparison="paired_bootstrap",
        champion=champion,
        champion_version=3 if champion else None,
        policy=policy,
    )


def test_without_a_champion_the_baseline_must_be_beaten() -> None:
    assert judge(evaluation("catboost", 0.4)).promoted
    kept = judge(evaluation("catboost", 0.6, seed=1))
    assert kept.verdict == "keep"
    assert "baseline prevalence" in kept.reason


def test_better_than_the_champion_is_promoted_with_the_numbers() -> None:
    report = judge(evaluation("blend", 0.40), evaluation("catboost", 0.45, seed=1))
    assert report.promoted
    assert report.opponent == "champion v3 (catboost)"
    assert report.test.low > 0
    assert report.test.units == 1000
    assert "better than champion v3" in report.reason


def test_chance_is_not_evidence() -> None:
    promoted = sum(
        judge(evaluation("b", 0.4, seed=seed), evaluation("a", 0.4, seed=seed + 500)).promoted for seed in range(60)
    )
    assert promoted <= 5


def test_worse_never_wins() -> None:
    assert not judge(evaluation("b", 0.5), evaluation("a", 0.4, seed=1)).promoted


def test_not_worse_and_cheaper_is_promoted() -> None:
    champion = evaluation("blend", 0.4, noise=0.001)
    same = evaluation("logistic", 0.4, noise=0.001, seed=1)
    assert not judge(same, champion).promoted
    cheaper = replace(same, latency_ms=0.3)
    report = judge(cheaper, champion)
    assert report.promoted
    assert "cheaper" in report.reason


def test_the_same_model_timed_twice_is_not_cheaper() -> None:
    champion = evaluation("blend", 0.4)
    again = judge(replace(champion, latency_ms=0.1 * champion.latency_ms), champion)
    assert again.verdict == "keep"
    assert "not better" in again.reason


def test_worse_calibration_holds_a_better_model_back() -> None:
    champion = evaluation("a", 0.45, seed=1, ece=Estimate(0.01, 0.005, 0.02))
    report = judge(evaluation("b", 0.40, ece=Estimate(0.06, 0.05, 0.07)), champion)
    assert report.verdict == "keep"
    assert "calibration" in report.reason
    assert "0.060" in report.reason


def test_intervals_that_cover_too_little_hold_a_model_back() -> None:
    report = judge(evaluation("b", 0.40, coverage_80=Estimate(0.62, 0.60, 0.64)))
    assert not report.promoted
    assert "coverage_80" in report.reason
    assert judge(evaluation("b", 0.40, coverage_80=Estimate(0.79, 0.77, 0.81))).promoted


@pytest.mark.parametrize(("groups", "promoted"), [(1, False), (9, False), (10, True)])
def test_rows_of_few_groups_are_no_evidence_however_many_they_are(groups: int, promoted: bool) -> None:
    better = evaluation("b", 0.40)
    few = better.losses.assign(group=np.arange(len(better.losses)) % groups)
    report = judge(replace(better, losses=few))
    assert report.promoted == promoted
    assert ("evidence" in report.reason) != promoted
    if groups == 1:
        assert "2000 judged rows come from 1 independent group, 10 are needed" in report.reason


@pytest.mark.parametrize(("groups", "promoted"), [(2, True), (30, False)])
def test_a_slice_of_few_groups_is_not_judged(groups: int, promoted: bool) -> None:
    champion, better = evaluation("a", 0.45, seed=1), evaluation("b", 0.40)
    rows = np.arange(len(better.losses))
    worse = better.losses.assign(
        loss=better.losses["loss"] + 0.3 * (rows < 60),
        group=np.where(rows < 60, -1 - rows % groups, better.losses["group"]),
    )
    worse["slice.plan"] = np.where(rows < 60, "pro", "basic")
    report = judge(replace(better, losses=worse), champion)
    assert report.promoted == promoted, report.reason


def test_slowness_holds_a_better_model_back() -> None:
    slow = replace(evaluation("b", 0.40), latency_ms=40.0)
    report = judge(slow, evaluation("a", 0.45, seed=1))
    assert not report.promoted
    assert "latency" in report.reason


def test_a_slice_made_worse_holds_a_better_model_back() -> None:
    champion = evaluation("a", 0.45, seed=1)
    better = evaluation("b", 0.40)
    hurt = better.losses.copy()
    hurt.loc[hurt["slice.plan"] == "pro", "loss"] += 0.12
    report = judge(replace(better, losses=hurt), champion)
    assert report.test.low > 0
    assert not report.promoted
    assert "plan=pro" in report.reason


@pytest.mark.parametrize(("incomparable", "expected"), [("keep", "keep"), ("promote", "promote")])
def test_a_champion_that_cannot_answer_on_this_data(incomparable: str, expected: str) -> None:
    report = decide(
        evaluation("b", 0.4),
        baseline=evaluation("prevalence", 0.6, seed=9),
        metric=LOSS,
        comparison="paired_bootstrap",
        champion_version=3,
        champion_problem=MissingColumn("Column 'tenure' is missing."),
        policy=GatePolicy(incomparable=incomparable),  # type: ignore[arg-type]
    )
    assert report.verdict == expected
    assert "'tenure' is missing" in report.reason


def test_the_report_is_json_and_holds_every_number() -> None:
    report = judge(evaluation("b", 0.40, ece=Estimate(0.01, 0.0, float("nan"))), evaluation("a", 0.45, seed=1))
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["test"]["difference"] == report.test.difference
    assert data["metrics"]["challenger"]["ece"] == {"value": 0.01, "low": 0.0, "high": None}
    assert {guard["name"] for guard in data["guards"]} >= {"calibration", "latency", "slices"}
