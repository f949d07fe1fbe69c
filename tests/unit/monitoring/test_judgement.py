"""Calibration, bias, metrics then and now, reported outcomes, the comparison with a shadow."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.lifecycle.evaluation import Estimate
from models.lifecycle.family import Metric
from models.monitoring import guards, page, reported
from models.monitoring.calibration import bias, calibration, slices_of_records
from models.monitoring.comparison import changes, difference
from models.monitoring.drift import drift
from models.monitoring.policy import MonitorPolicy
from models.monitoring.report import MonitorReport
from models.monitoring.shadowing import compare
from store.ledger import Promotion
from store.outcomes import Outcome
from store.shadows import Pair

POLICY = MonitorPolicy()
NOW = datetime(2026, 3, 1)
LOSS = Metric("log_loss", "lower", "nats")


def world(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Probabilities, outcomes that come true with them, and slices."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 6, rows)
    y = (rng.random(rows) < p).astype(float)
    slices = pd.DataFrame(
        {"slice.plan": rng.choice(["a", "b", "c"], rows), "slice.rare": ["x"] * (rows - 5) + ["y"] * 5}
    )
    return p, y, slices


def test_calibration_in_the_large() -> None:
    p, y, _ = world(4_000)
    groups = np.arange(len(p))
    good = calibration(p, y, groups, POLICY)
    assert good.gap.value == pytest.approx(y.mean() - p.mean())
    half = 2.5758 * (y - p).std(ddof=1) / np.sqrt(len(p))
    assert good.gap.high - good.gap.value == pytest.approx(half, rel=1e-3)
    assert good.gap.low < 0 < good.gap.high
    assert not good.off
    assert sum(rows for _, _, rows in good.curve) == 4_000
    bad = calibration(p * 0.5, y, groups, POLICY)
    assert bad.off
    assert bad.gap.value > 0
    # Certain but of no matter.
    assert not calibration(np.clip(p + 0.005, 0, 1), y, groups, MonitorPolicy(confidence=0.6)).off


def test_rows_of_one_customer_count_once() -> None:
    p, y, _ = world(500)
    once = calibration(p, y, np.arange(500), POLICY).gap
    again = calibration(np.tile(p, 8), np.tile(y, 8), np.tile(np.arange(500), 8), POLICY).gap
    assert again.low == pytest.approx(once.low)
    assert again.high == pytest.approx(once.high)


def test_a_biased_slice_is_named_and_a_general_gap_is_not() -> None:
    p, y, slices = world(6_000)
    groups = np.arange(len(p))
    assert not any(one.biased for one in bias(p, y, groups, slices, POLICY))
    assert not any(one.biased for one in bias(p * 0.9, y, groups, slices, POLICY))
    skewed = np.where(slices["slice.plan"] == "b", p * 0.3, p)
    found = bias(skewed, y, groups, slices, POLICY)
    assert found[0].slice == "plan=b"
    assert found[0].biased
    assert found[0].gap > 0
    assert {one.slice for one in found} == {"plan=a", "plan=b", "plan=c"}  # five rows say nothing
    assert found[0].q_value >= found[0].p_value


def test_slices_are_made_of_what_was_sent() -> None:
    records = [
        {"plan": "a", "age": 3, "pays": True, "note": None},
        {"plan": None, "age": 4, "pays": False, "note": None},
    ]
    found = slices_of_records(records, POLICY)
    assert list(found.columns) == ["slice.plan", "slice.pays"]
    assert found["slice.plan"].tolist() == ["a", "(missing)"]
    assert found["slice.pays"].tolist() == ["yes", "no"]


def test_the_difference_of_two_estimates() -> None:
    # Symmetric intervals at the level of the estimates: half-widths add in squares.
    found = difference(Estimate(1.3, 1.0, 1.6), Estimate(1.0, 0.6, 1.4), 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((0.3, -0.2, 0.8))
    wider = difference(Estimate(1.3, 1.0, 1.6), Estimate(1.0, 0.6, 1.4), 0.99)
    assert wider.low == pytest.approx(0.3 - 0.5 * 2.5758 / 1.96, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "now", "before", "direction", "worse"),
    [
        ("log_loss", (0.50, 0.48, 0.52), (0.30, 0.28, 0.32), "lower", True),
        ("log_loss", (0.30, 0.28, 0.32), (0.50, 0.48, 0.52), "lower", False),
        ("log_loss", (0.31, 0.3099, 0.3101), (0.30, 0.2999, 0.3001), "lower", False),  # certain, small
        ("log_loss", (0.50, 0.20, 0.90), (0.30, 0.10, 0.50), "lower", False),  # large, uncertain
        ("log_loss", (0.50, 0.48, 0.52), (0.70, 0.68, 0.72), "higher", True),
        ("ece", (0.09, 0.07, 0.11), (0.01, 0.0, 0.02), "lower", True),
        ("ece", (0.03, 0.0, 0.06), (0.01, 0.0, 0.02), "lower", False),
        ("coverage_80", (0.5, 0.4, 0.6), (0.8, 0.7, 0.9), "lower", True),
        ("coverage_80", (0.78, 0.6, 0.9), (0.8, 0.7, 0.9), "lower", False),
        ("auc", (0.5, 0.4, 0.6), (0.9, 0.8, 0.95), "lower", False),  # shown, not judged
        ("log_loss", (0.50, float("nan"), float("nan")), (0.30, 0.28, 0.32), "lower", False),
    ],
)
def test_worse_than_promised(name: str, now: Any, before: Any, direction: Any, worse: bool) -> None:
    primary = Metric("log_loss", direction, "nats")
    (found,) = changes({name: Estimate(*now)}, {name: Estimate(*before)}, primary, POLICY, rows=2_000, groups=50)
    assert found.worse is worse
    assert bool(found.reason) is worse
    assert found.now.value == now[0]


def told(rows: int, *, seed: int = 0, factor: float = 1.0, value: Any = None) -> list[Outcome]:
    p, y, slices = world(rows, seed)
    return [
        Outcome(
            prediction_id=f"{number:032x}",
            version=1,
            entity_id=f"c{number % (rows // 2)}",
            features={"plan": slices["slice.plan"].iloc[number], "x": float(p[number])},
            output={"probability": float(min(1.0, factor * p[number]))},
            value=bool(y[number]) if value is None else value,
            created_at=NOW + timedelta(minutes=number),
            reported_at=NOW + timedelta(days=30),
        )
        for number in range(rows)
    ]


def test_reported_outcomes_are_judged() -> None:
    promised = {"log_loss": Estimate(0.36, 0.34, 0.38), "ece": Estimate(0.01, 0.0, 0.02)}
    good = reported.on_reported(told(1_000), promised, POLICY)
    assert (good.rows, good.groups, good.problem) == (1_000, 500, "")
    assert good.metrics[0].name == "log_loss"
    assert good.calibration is not None
    assert not good.calibration.off
    assert not good.worse
    assert {one.slice for one in good.bias} == {"plan=a", "plan=b", "plan=c"}
    bad = reported.on_reported(told(1_000, factor=4.0), promised, POLICY)
    assert bad.calibration is not None
    assert bad.calibration.off
    assert {metric.name for metric in bad.worse} == {"log_loss", "ece"}


def test_few_odd_or_no_outcomes_are_said_to_be_so() -> None:
    assert "No outcome was reported" in reported.on_reported([], {}, POLICY).problem
    assert "10 reported outcomes are too few" in reported.on_reported(told(10), {}, POLICY).problem
    assert "No outcome was reported" in reported.on_reported(told(60, value="left"), {}, POLICY).problem
    same = reported.on_reported(told(60, value=False), {}, POLICY)  # nobody left: no AUC, and no NaN
    assert "auc" not in {metric.name for metric in same.metrics}


class Other:
    """A predecessor that reads `x` alone."""

    def __init__(self, factor: float, column: str = "x") -> None:
        self.factor, self.column = factor, column

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        from store.errors import MissingColumn

        if self.column not in frame:
            raise MissingColumn(f"There is no column {self.column!r}.")
        return np.clip(self.factor * frame[self.column].to_numpy(dtype=float), 0, 1)


def test_a_champion_is_compared_with_its_predecessor_on_reported_outcomes() -> None:
    worse = guards.on_reported(Other(1.0), 3, told(1_000, factor=4.0), POLICY)
    assert worse.broken.startswith("its loss is ")
    assert "of version 3 on the same 1000 reported outcomes" in worse.broken
    assert guards.on_reported(Other(4.0), 3, told(1_000), POLICY).broken == ""
    assert guards.on_reported(Other(1.0), 3, told(1_000), POLICY).broken == ""
    gone = guards.on_reported(Other(1.0, "gone"), 3, told(1_000, factor=4.0), POLICY)
    assert (gone.broken, "no column 'gone'" in gone.problem) == ("", True)
    assert "too few" in guards.on_reported(Other(1.0), 3, told(20, factor=4.0), POLICY).problem


def test_many_outcomes_of_one_customer_are_one_customer() -> None:
    """An interval over customers has no width where there is one: it would be certain of anything."""
    one = [replace(outcome, entity_id=f"c{place % 3}") for place, outcome in enumerate(told(1_000, factor=4.0))]
    promised = {"log_loss": Estimate(0.36, 0.34, 0.38)}
    judged = reported.on_reported(one, promised, POLICY)
    assert (judged.rows, judged.groups, judged.metrics, judged.calibration) == (1_000, 3, (), None)
    assert "3 entities are too few" in judged.problem
    guard = guards.on_reported(Other(1.0), 3, one, POLICY)
    assert (guard.broken, guard.test) == ("", None)
    assert "come from 3 entities" in guard.problem
    alone = [replace(pair, entity_id="c1") for pair in asked(800, 4.0, 600)]
    assert "too few outcomes" in compare("m", 2, alone).verdict


def line(kind: str = "promotion", days: int = 1, to: int = 2) -> Promotion:
    return Promotion(
        id=1, name="m", kind=kind, state="done", from_version=1, to_version=to, actor="a", reason="r", detail=None,
        report=None, artifact_sha256=None, dataset_digest=None, run_id=None, key=None,
        created_at=NOW - timedelta(days=days), settled_at=NOW - timedelta(days=days),
    )  # fmt: skip


def test_who_is_watched() -> None:
    assert guards.watched(line(), 2, NOW, POLICY) == ""
    assert "by a rollback" in guards.watched(line("rollback"), 2, NOW, POLICY)
    assert "more than 90 days ago" in guards.watched(line(days=91), 2, NOW, POLICY)
    assert "ledger does not know" in guards.watched(line(to=5), 2, NOW, POLICY)
    assert "ledger does not know" in guards.watched(None, 2, NOW, POLICY)


def asked(rows: int, factor: float, reported_rows: int) -> list[Pair]:
    found = []
    for number, one in enumerate(told(rows)):
        p = float(one.output["probability"])
        other = min(1.0, factor * p)
        found.append(
            Pair(
                prediction_id=one.prediction_id,
                entity_id=one.entity_id,
                champion=1,
                said={"probability": p, "decision": "offer" if p > 0.3 else "no_offer", "band": "low"},
                shadow={"probability": other, "decision": "offer" if other > 0.3 else "no_offer", "band": "low"},
                latency_ms=1.0 + number % 10,
                error=None,
                actual=one.value if number < reported_rows else None,
                reported=number < reported_rows,
                created_at=one.created_at,
            )
        )
    return found


def test_a_shadow_is_compared() -> None:
    none = compare("m", 2, [])
    assert none.verdict == "Version 2 has not been asked anything yet."
    assert none.to_dict()["difference"] == {}
    same = compare("m", 2, asked(200, 1.0, 0))
    assert same.agreement["decision"]["value"] == 1.0
    assert same.difference["largest"] == 0
    assert "too few outcomes" in same.verdict
    worse = compare("m", 2, asked(800, 4.0, 600))
    assert worse.outcomes is not None
    assert worse.outcomes["rows"] == 600
    assert worse.outcomes["difference"]["high"] < 0
    assert "farther from what came" in worse.verdict
    assert worse.agreement["decision"]["value"] < 0.9
    assert worse.latency_ms == {"median": 5.5, "p95": 10.0}
    failed = [Pair("f" * 32, None, 1, {}, {}, 0.1, "MissingColumn: x", None, False, NOW)] * 3
    assert compare("m", 2, failed).verdict == "Version 2 could answer none of 3 questions."
    assert compare("m", 2, failed).to_dict()["errors"] == [{"error": "MissingColumn: x", "answers": 3}]


def test_the_page_needs_nothing_from_the_internet_and_runs_nothing() -> None:
    rng = np.random.default_rng(0)
    then = pd.DataFrame({"<script>alert(1)</script>": rng.normal(0, 1, 300), "plan": rng.choice(list("abc"), 300)})
    now = then.assign(plan="d")
    report = MonitorReport(
        model="m",
        family="churn",
        version=4,
        as_of=NOW,
        trained_as_of=NOW - timedelta(days=30),
        features=tuple(drift(then, now)),
        truths=(reported.on_reported(told(300, factor=4.0), {}, POLICY),),
    )
    assert report.verdict == "worse"
    assert report.retrain
    html = page.render(report)
    assert "<script>" not in html
    assert "http" not in html
    assert "Worse than promised." in html
    assert html.count("<circle") == 10
