"""The card of a version: whatever a family keeps is shown, nothing is loaded from elsewhere, words fit the numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.snapshot import write_dataset
from models.lifecycle import card
from models.lifecycle.card_data import slices_of
from models.lifecycle.card_tables import blocks, text
from models.lifecycle.card_words import limits_in_words, meaning, verdict_in_words
from models.lifecycle.evaluation import Estimate, Evaluation
from models.lifecycle.evaluation import slices_of as slices
from models.lifecycle.family import Metric
from models.lifecycle.gate import GateReport, decide
from store.dataset import DatasetRef

METRIC = Metric("log_loss", "lower", "nats")
NASTY = "<script>alert('ü')</script>"
ROWS = 300


def evaluation(candidate: str, shift: float = 0.0, **details: Any) -> Evaluation:
    rng = np.random.default_rng(3)
    losses = pd.DataFrame(
        {
            "loss": rng.gamma(2, 0.1, ROWS) + shift,
            "group": [f"C{number % 150}" for number in range(ROWS)],
            "step": 0,
            "slice.plan": np.where(np.arange(ROWS) % 2 == 0, "basic", NASTY),
        }
    )
    losses.loc[losses["slice.plan"] == "basic", "loss"] += 0.2
    mean = float(losses["loss"].mean())
    return Evaluation(
        candidate,
        losses,
        {"log_loss": Estimate(mean, 0.9 * mean, 1.1 * mean), "auc": Estimate(0.8, float("nan"), float("nan"))},
        slices(losses),
        latency_ms=0.1,
        plots={"roc_curve.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "notes.txt": b"no picture"},
        details=details,
    )


DETAILS: dict[str, Any] = {
    "threshold": 0.4167,
    "columns": [f"column_{number}" for number in range(70)],
    "bands_found": {"low": {"rows": 829, "left": 0.015}, "high": {"rows": 1, "left": None}},
    "importance": [{"column": NASTY, "value": 0.3, "deep": {"a": {"b": 1}}}] * 30,
    "mase_by_step": [float(number) for number in range(90)],
    "fairness": {
        "slices": [{"slice": "kind=a", "gap": {"value": 0.1, "low": -0.1, "high": 0.3}, "differs": []}],
        "words": ["No slice differs from the others by more than chance."],
    },
    "nothing": None,
    "empty": {},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    frame = pd.DataFrame(
        {
            "customer": [f"C{number % 40}" for number in range(120)],
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(120), unit="D"),
            "left": 0,
        }
    )
    roles = {"entity": "customer", "time": "day", "target": "left"}
    return write_dataset(
        frame, tmp_path_factory.mktemp("data"), as_of=datetime(2026, 5, 1), roles=roles, source="snapshot ab"
    )


def gate(mine: Evaluation, other: Evaluation) -> GateReport:
    return decide(mine, baseline=other, metric=METRIC, comparison="paired_bootstrap")


def page(dataset: DatasetRef, mine: Evaluation | None = None, **more: Any) -> str:
    mine = mine or evaluation("blend", **DETAILS)
    other = evaluation("prevalence", 0.05)
    rows = [
        {"candidate": one.candidate, "baseline": one is other, "selection": 0.2, "fit_seconds": 1.0, "latency_ms": 0.1,
         "metrics": {name: estimate.to_dict() for name, estimate in one.metrics.items()}}
        for one in (other, mine)
    ]  # fmt: skip
    rows.append({"candidate": "faulty", "baseline": False, "selection": None, "fit_seconds": 0.0, "error": NASTY})
    given: dict[str, Any] = {
        "name": "churn", "family": "churn", "metric": METRIC, "dataset": dataset, "split": "the latest rows",
        "rows": rows, "evaluation": mine, "report": gate(mine, other), "version": 3,
        "purpose": "Says who leaves.", "limits": ("Of its own.",), "tags": {"run_id": "abc", "seed": 7},
    }  # fmt: skip
    return card.render(**{**given, **more})


class Reader(HTMLParser):
    """Words of a page, and what it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "action", "data", "xlink:href"}]
        if tag not in {"meta", "br", "img"}:
            self.open.append(tag)
        assert tag != "script"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in {"meta", "br", "img"}:
            self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.said))


def test_a_card_says_everything_and_loads_nothing(dataset: DatasetRef) -> None:
    html = page(dataset, notes=["16 rows were repaired."])
    read = Reader(html)
    assert not read.open
    assert all(one.startswith("data:image/") for one in read.loads)
    assert len(read.loads) == 1, "a plot that is no picture was shown"
    assert "@import" not in html
    assert "url(" not in html
    for words in (
        "churn, version 3: blend",
        "Says who leaves.",
        "16 rows were repaired.",
        "120, of which 300 to judge on",
        "customer: 40 of them",
        "day: 2026-01-01 to 2026-04-30",
        "Known up to 2026-05-01 00:00 UTC",
        "prevalence (baseline)",
        NASTY,
        "plan=basic",
        "harder than the rest",
        "Roc curve",
        "Threshold 0.4167",
        "column_59 and 10 more",
        "Bands found",
        "… and 5 more.",
        "Mase by step",
        "Fairness: slices",
        "0.1 [-0.1, 0.3]",
        "No slice differs from the others by more than chance.",
        "Of its own.",
        "faulty",
        dataset.digest,
        "abc",
    ):
        assert words in read.text, words
    assert "nan" not in read.text.lower().replace("finance", "")


def test_a_card_of_next_to_nothing_is_a_card(tmp_path: Path) -> None:
    gone = DatasetRef(str(tmp_path / "gone.parquet"), "0" * 64, 5, roles={"entity": "id", "time": "when"})
    bare = evaluation("blend")
    bare = replace(bare, slices=bare.slices.iloc[:0], plots={}, metrics={})
    read = Reader(page(gone, bare, version=None, purpose="", limits=(), tags=None))
    assert "churn: blend" in read.text
    assert "No group was large enough" in read.text
    assert "In detail" not in read.text
    assert "Plots" not in read.text


@pytest.mark.parametrize(
    ("shift", "title", "change", "luck"),
    [
        (0.1, "The gate promotes it.", "less", "luck is an unlikely explanation for its lead"),
        (-0.1, "The gate does not promote it.", "more", "luck is an unlikely explanation for its lag"),
        (0.0, "The gate does not promote it.", "more", "luck may explain what there is"),
    ],
)
def test_the_verdict_in_words_is_the_verdict(
    dataset: DatasetRef, shift: float, title: str, change: str, luck: str
) -> None:
    report = gate(evaluation("blend"), evaluation("prevalence", shift))
    said = " ".join(verdict_in_words(report, METRIC))
    assert luck in said
    assert f"% {change}" in said.replace("%", " %").replace("  ", " ")
    assert "150" not in said  # of units there is talk where the numbers are
    assert "asked the same 300 questions" in said
    assert title in page(dataset, report=report)


def test_limits_follow_from_the_numbers(dataset: DatasetRef) -> None:
    mine = evaluation("blend")
    report = gate(mine, evaluation("prevalence", 0.1))
    said = " ".join(limits_in_words(report, mine, [{"candidate": "lost", "error": "why"}], dataset, ["Own."]))
    assert said.startswith("Own. Nothing that became known after 2026-05-01 00:00 is in it.")
    assert "on 150 cases that are independent" in said
    assert "no champion to compare it with" in said
    assert "could not be fitted or judged: lost." in said
    more = limits_in_words(replace(report, champion_version=2), mine, [], dataset)
    assert "no champion" not in " ".join(more)


def test_groups_have_intervals_that_know_who_belongs_together() -> None:
    rng = np.random.default_rng(0)
    customers = np.repeat(np.arange(60), 5)  # five identical rows each: sixty cases, not three hundred
    losses = pd.DataFrame({"loss": rng.exponential(1, 60)[customers], "group": customers, "step": 0, "slice.all": "x"})
    one = Evaluation("a", losses, {}, slices(losses), 0.0)
    (found,) = slices_of(one)
    mean, spread = losses["loss"].mean(), losses["loss"][::5].std() / np.sqrt(60)
    assert found.value == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx((mean - 2.000995 * spread, mean + 2.000995 * spread), rel=1e-6)
    assert not found.worse
    alone = replace(one, losses=losses.assign(group="one customer"))
    assert np.isnan(slices_of(alone)[0].low)


def test_details_of_any_shape_become_blocks() -> None:
    by_title = {block.title: block for block in blocks(DETAILS)}
    assert set(by_title) == {
        "Settings and findings", "Bands found", "Importance", "Mase by step", "Fairness: slices", "Fairness: words",
    }  # fmt: skip
    assert by_title["Bands found"].columns == ("", "Rows", "Left")
    assert by_title["Bands found"].rows == (("low", "829", "0.015"), ("high", "1", "–"))
    assert by_title["Importance"].columns == ("Column", "Value"), "what no cell can hold is left out"
    assert (len(by_title["Importance"].rows), by_title["Importance"].more) == (25, 5)
    assert by_title["Mase by step"].ends == ("0", "89")
    assert blocks({}) == []
    assert (text(float("nan")), text(True), text(1234567), text([]), text(0.00012345)) == (
        "–", "yes", "1,234,567", "–", "0.0001234",
    )  # fmt: skip


def test_metrics_are_explained() -> None:
    assert meaning("coverage_95").startswith("Share of true values that fell into the 95 % interval")
    assert "Mean absolute error" in meaning("purchases_mae")
    assert "rule of thumb" in meaning("purchases_mae_naive")
    assert meaning("whatever") == ""
