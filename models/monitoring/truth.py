"""How a champion did on outcomes that came after it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from models.lifecycle.evaluation import Estimate, Evaluation
from models.lifecycle.family import Metric, Model, ModelFamily
from models.monitoring.arrived import Arrived
from models.monitoring.calibration import SLICE, Calibration, SliceBias, bias, calibration
from models.monitoring.comparison import MetricChange, changes
from models.monitoring.policy import MonitorPolicy
from store.errors import MeritError


@dataclass(frozen=True)
class Truth:
    """Judgement on what came.

    Attributes
    ----------
    source : "arrived" for outcomes in the data, "reported" for those told of single predictions.
    since, until : of the outcomes, for people.
    calibration : None for models that give no probability.
    problem : why nothing was judged; "" when it was.
    """

    source: str
    rows: int = 0
    groups: int = 0
    since: str = ""
    until: str = ""
    metrics: tuple[MetricChange, ...] = ()
    calibration: Calibration | None = None
    bias: tuple[SliceBias, ...] = ()
    problem: str = ""

    @property
    def worse(self) -> list[MetricChange]:
        return [metric for metric in self.metrics if metric.worse]

    @property
    def biased(self) -> list[SliceBias]:
        return [one for one in self.bias if one.biased]

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "rows": self.rows,
            "groups": self.groups,
            "since": self.since,
            "until": self.until,
            "metrics": [metric.to_dict() for metric in self.metrics],
            "calibration": self.calibration.to_dict() if self.calibration else None,
            "bias": [one.to_dict() for one in self.bias[:40]],
            "slices": len(self.bias),
            "problem": self.problem,
        }


def on_arrived(
    family: ModelFamily, model: Model, data: Arrived, promised: Mapping[str, Estimate], policy: MonitorPolicy
) -> tuple[Truth, Evaluation | None]:
    """Judge a champion on the outcomes in the data that came after its training.

    Returns
    -------
    The judgement, and the evaluation behind it for comparisons on the same rows; None where there is none.
    """
    if data.problem:
        return Truth("arrived", problem=data.problem), None
    evaluation = evaluated(family, model, data)
    if isinstance(evaluation, str):
        return Truth("arrived", rows=len(data.rows), problem=evaluation), None
    moments = data.rows[data.roles["time"]]
    found = Truth(
        source="arrived",
        rows=len(evaluation.losses),
        groups=int(evaluation.losses["group"].nunique()),
        since=str(moments.min())[:16],
        until=str(moments.max())[:16],
    )
    many = found.rows >= policy.fewest_rows and (
        family.comparison != "paired_bootstrap" or found.groups >= policy.fewest_groups
    )
    found = replace(found, metrics=tuple(_judged(evaluation, promised, family.primary, policy, many=many)))
    probabilities = _probabilities(model, evaluation, data)
    if probabilities is None or not many:
        return found, evaluation
    p, y = probabilities
    groups = evaluation.losses["group"].to_numpy()
    slices = evaluation.losses[[name for name in evaluation.losses.columns if str(name).startswith(SLICE)]]
    whole = calibration(p, y, groups, policy)
    return replace(found, calibration=whole, bias=tuple(bias(p, y, groups, slices, policy))), evaluation


def evaluated(family: ModelFamily, model: Model, data: Arrived) -> Evaluation | str:
    """The evaluation on what came, or why there is none."""
    try:
        return family.evaluate(model, data.rows, data.learned, data.roles)
    except MeritError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - a library may raise anything; the reason is kept and shown
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]


def _judged(
    evaluation: Evaluation, promised: Mapping[str, Estimate], primary: Metric, policy: MonitorPolicy, *, many: bool
) -> list[MetricChange]:
    """Every metric then and now; called worse only where there are `many` outcomes, of many entities."""
    groups = int(evaluation.losses["group"].nunique())
    rows = len(evaluation.losses)
    found = changes(evaluation.metrics, promised, primary, policy, rows=rows, groups=groups)
    if many:
        return found
    return [MetricChange(one.name, one.now, one.promised, one.change) for one in found]


def _probabilities(model: Model, evaluation: Evaluation, data: Arrived) -> tuple[np.ndarray, np.ndarray] | None:
    """Predicted probability and outcome of every judged row, where that is what the model predicts."""
    target = data.roles.get("target")
    predict = getattr(model, "predict", None)
    if "ece" not in evaluation.metrics or target is None or not callable(predict):
        return None
    y = pd.to_numeric(data.rows[target], errors="coerce").to_numpy(dtype=np.float64)
    if len(y) != len(evaluation.losses) or not np.isin(y, (0.0, 1.0)).all():
        return None
    p = np.asarray(predict(data.rows), dtype=np.float64)
    return (p, y) if p.shape == y.shape and bool(((p >= 0) & (p <= 1)).all()) else None
