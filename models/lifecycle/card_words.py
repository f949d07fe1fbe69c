"""What a card says in words: what a metric means, what the gate found, what the numbers cannot tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from models.lifecycle.evaluation import Evaluation
from models.lifecycle.family import Metric
from models.lifecycle.gate import GateReport
from store.dataset import DatasetRef

# Fewer units that are independent of each other than this, and every interval is wide.
FEW_UNITS = 200

MEANINGS: Mapping[str, str] = {
    "log_loss": "How far the stated probabilities are from what happened; certain and wrong costs most. 0 is perfect.",
    "brier": "Mean squared distance between the probability and what happened (0 or 1). 0 is perfect.",
    "auc": "How often somebody who left was ranked above somebody who stayed. 0.5 is chance, 1 is perfect.",
    "average_precision": "Precision averaged over every cut through the ranking; chance is the share who left.",
    "ece": "Expected calibration error: the mean gap between a stated probability and the share it came true.",
    "f1": "Balance of precision and recall at the threshold. 1 is perfect.",
    "expected_value": "What acting on the model is worth per row, given the cost and the value of an offer.",
    "mase": "Mean absolute error over that of repeating the last season: below 1 is better than repeating it.",
    "smape": "Error in percent of the size of the values, symmetric in over- and underestimation.",
    "crps": "Error of the whole predicted distribution, scaled like MASE; rewards intervals that are narrow and true.",
    "rmse": "Root of the mean squared error, in the unit of the target.",
    "mae": "Mean absolute error, in the unit of the target.",
    "deviance": "How far the stated expectations are from what came, measured by likelihood. 0 is perfect.",
    "wape": "Sum of the absolute errors as a share of the sum of the true values.",
    "bias": "Expected total over true total, less 1: above 0 is too much, below 0 too little.",
    "r2": "Share of the variation that is explained: 1 is all of it, 0 none.",
    "silhouette": "How much closer rows are to their own segment than to the next: 1 is far apart, 0 is overlapping.",
    "stability": "Agreement of the segments when the data are drawn anew (adjusted Rand index): 1 is the same ones.",
    "next_period_loss": "How far the next period of new customers is from what their segment did, in variances.",
}


def meaning(metric: str) -> str:
    """A metric in one sentence; "" for one that is not known."""
    if level := re.fullmatch(r"coverage_(\d+(?:\.\d+)?)", metric):
        return f"Share of true values that fell into the {level[1]} % interval; it should be {level[1]} %."
    if metric.endswith("_naive"):
        return f"The same as {metric.removesuffix('_naive')} for a rule of thumb: the past goes on."
    if metric.endswith("_total_error"):
        return "How far the predicted total is from the true total, as a share of it."
    return MEANINGS.get(metric) or next((text for name, text in MEANINGS.items() if metric.endswith(f"_{name}")), "")


def verdict_in_words(report: GateReport, metric: Metric) -> list[str]:
    """What the gate compared, what it found and what it concluded, for somebody who knows no statistics."""
    test, mine, theirs = report.test, report.challenger_loss, report.opponent_loss
    said = [
        f"{report.challenger} and {report.opponent} were asked the same {test.rows:,} questions, whose answers were "
        f"known and which {report.challenger} had not learned from."
    ]
    unit = f" {metric.unit}" if metric.unit else ""
    change = f", {abs(1 - mine / theirs):.1%} {'less' if mine < theirs else 'more'}" if theirs > 0 else ""
    said.append(f"The mean error of {report.challenger} was {mine:.4g}{unit} against {theirs:.4g}{unit}{change}.")
    if test.low > 0:
        outcome = "so that luck is an unlikely explanation for its lead"
    elif test.high < 0:
        outcome = "so that luck is an unlikely explanation for its lag"
    else:
        outcome = "and includes no difference at all: luck may explain what there is"
    said.append(
        f"With {test.confidence:.0%} confidence the true difference lies between {test.low:+.4g} and {test.high:+.4g} "
        f"(above zero favours {report.challenger}), {outcome}."
    )
    failed = [guard.name for guard in report.guards if not guard.passed]
    if failed:
        said.append(f"What must not get worse did: {', '.join(failed)}.")
    elif report.guards:
        count = len(report.guards)
        passed = {1: "The check", 2: "Both checks"}.get(count, f"All {count} checks")
        said.append(f"{passed} of what must not get worse passed.")
    return said


def limits_in_words(
    report: GateReport,
    evaluation: Evaluation,
    rows: Sequence[Mapping[str, Any]],
    dataset: DatasetRef,
    own: Sequence[str] = (),
) -> list[str]:
    """What the numbers of the card cannot tell.

    Parameters
    ----------
    rows : the leaderboard.
    own : what the family says of its models.
    """
    said = list(own)
    if dataset.as_of:
        said.append(f"Nothing that became known after {dataset.as_of:%Y-%m-%d %H:%M} is in it.")
    units = evaluation.losses["group"].nunique()
    if units < FEW_UNITS:
        said.append(
            f"It was judged on {units:,} cases that are independent of each other: few, so the intervals are wide, and "
            "small differences could not have been seen."
        )
    if report.champion_version is None:
        said.append("There was no champion to compare it with, only a rule of thumb.")
    if evaluation.slices.empty:
        said.append("No group was large enough to be judged by itself: it may be worse for some of them.")
    failed = [str(row["candidate"]) for row in rows if row.get("error")]
    if failed:
        said.append(f"Not compared, because they could not be fitted or judged: {', '.join(failed)}.")
    said += [
        "The numbers hold for cases like those it was judged on. They say nothing about customers, products or series "
        "of another kind, nor about what follows a change that the data do not contain.",
    ]
    if not own:
        said.append("They are about prediction, not about causes: what goes together need not follow from each other.")
    return said
