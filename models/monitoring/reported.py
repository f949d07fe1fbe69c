"""How a champion did on the outcomes that callers reported of its answers.

Only answers that are a probability of a yes or no are judged here. What is reported is what somebody chose to report,
and an offer may have changed what came: the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from models.lifecycle.evaluation import Estimate
from models.lifecycle.family import Metric
from models.monitoring.calibration import bias, calibration, slices_of_records
from models.monitoring.comparison import changes
from models.monitoring.policy import MonitorPolicy
from models.monitoring.truth import Truth
from store.outcomes import Outcome

PRIMARY = Metric("log_loss", "lower", "nats")
_REPLICATES = 400


def judgeable(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that say whether something with a predicted probability came to pass."""
    return [one for one in outcomes if _is_probability(one.output.get("probability")) and _is_binary(one.value)]


def columns(outcomes: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability, outcome and group of each; answers about one entity go together."""
    p = np.array([one.output["probability"] for one in outcomes], dtype=np.float64)
    y = np.array([float(one.value) for one in outcomes])
    groups = np.array([one.entity_id or one.prediction_id for one in outcomes], dtype=object)
    return p, y, groups


def on_reported(outcomes: Sequence[Outcome], promised: Mapping[str, Estimate], policy: MonitorPolicy) -> Truth:
    """AUC, log loss, calibration and bias by slice of answered predictions, with intervals over entities."""
    from models.churn.metrics import Offer, estimates

    known = judgeable(outcomes)
    if not known:
        return Truth("reported", problem="No outcome was reported of its predictions.")
    p, y, groups = columns(known)
    found = Truth(
        source="reported",
        rows=len(known),
        groups=len(set(groups)),
        since=str(known[0].created_at)[:16],
        until=str(known[-1].created_at)[:16],
    )
    if len(known) < policy.fewest_rows:
        problem = f"{len(known)} reported outcomes are too few to judge (fewest: {policy.fewest_rows})."
        return replace(found, problem=problem)
    if found.groups < policy.fewest_groups:
        problem = f"Outcomes of {found.groups} entities are too few to judge (fewest: {policy.fewest_groups})."
        return replace(found, problem=problem)
    metrics = estimates(y.astype(np.int64), p, 0.5, Offer(0.0, 0.0, 0.0), groups=groups, replicates=_REPLICATES)
    shown = {name: metrics[name] for name in ("log_loss", "auc", "average_precision", "brier", "ece")}
    shown = {name: value for name, value in shown.items() if np.isfinite(value.value)}
    return replace(
        found,
        metrics=tuple(changes(shown, promised, PRIMARY, policy, rows=found.rows, groups=found.groups)),
        calibration=calibration(p, y, groups, policy),
        bias=tuple(bias(p, y, groups, slices_of_records([one.features for one in known], policy), policy)),
    )


def losses(p: np.ndarray, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Log loss of every outcome as `models.lifecycle.statistics.pair` takes it."""
    from models.churn.metrics import log_loss_rows

    _, y, groups = columns(outcomes)
    index = pd.Index([one.prediction_id for one in outcomes])
    return pd.DataFrame({"loss": log_loss_rows(y.astype(np.int64), p), "group": groups, "step": 0}, index=index)


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= 1.0


def _is_binary(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1))
