"""Is a newly promoted champion worse than the one it replaced, on the same rows of truth?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from models.lifecycle.evaluation import Evaluation
from models.lifecycle.family import Model, ModelFamily
from models.lifecycle.gate import Comparison, GatePolicy, run_test
from models.lifecycle.statistics import PairedTest, pair
from models.monitoring import reported
from models.monitoring.arrived import Arrived
from models.monitoring.comparison import ece_by_chance
from models.monitoring.policy import MonitorPolicy
from models.monitoring.truth import evaluated
from store.errors import DataError, MeritError
from store.ledger import Promotion
from store.outcomes import Outcome


@dataclass(frozen=True)
class GuardFinding:
    """A champion against its predecessor.

    Attributes
    ----------
    predecessor : version that a rollback would go to.
    source : "arrived" or "reported" outcomes.
    test : of loss(predecessor) − loss(champion); below zero the champion is worse.
    ece : expected calibration error of (champion, predecessor); None where they give no probabilities.
    broken : why the champion should go; "" when it may stay.
    problem : why nothing could be compared; "" when it was.
    """

    predecessor: int
    source: str
    rows: int = 0
    champion_loss: float | None = None
    predecessor_loss: float | None = None
    test: PairedTest | None = None
    ece: tuple[float, float] | None = None
    broken: str = ""
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def watched(promotion: Promotion | None, version: int, now: datetime, policy: MonitorPolicy) -> str:
    """Why the guards do not watch this champion; "" when they do.

    They watch what was promoted, for a time. A champion that a rollback brought back has nobody better before it, and
    one that was made champion past Meritorder is somebody's own decision.
    """
    if promotion is None or promotion.to_version != version:
        return "The ledger does not know how it became champion."
    if promotion.kind != "promotion":
        return f"It became champion by a {promotion.kind}, not by a promotion."
    since = promotion.settled_at or promotion.created_at
    if now - since > timedelta(days=policy.watch_days):
        return f"It was promoted on {since:%Y-%m-%d}, more than {policy.watch_days} days ago."
    return ""


def on_arrived(
    family: ModelFamily,
    champion: Evaluation | None,
    predecessor: Model,
    version: int,
    data: Arrived,
    policy: MonitorPolicy,
) -> GuardFinding:
    """Compare on outcomes that came after the champion's training.

    Parameters
    ----------
    champion : its evaluation on these rows; None where there is none.
    version : of the predecessor.
    """
    if champion is None:
        return GuardFinding(version, "arrived", problem=data.problem or "The champion could not be judged.")
    other = evaluated(family, predecessor, data)
    if isinstance(other, str):
        return GuardFinding(version, "arrived", problem=f"The predecessor could not be judged: {other}")
    ece = None
    if "ece" in champion.metrics and "ece" in other.metrics:
        ece = (champion.metrics["ece"].value, other.metrics["ece"].value)
    return _compare(version, "arrived", champion.losses, other.losses, ece, family.comparison, policy)


def on_reported(predecessor: Any, version: int, outcomes: Sequence[Outcome], policy: MonitorPolicy) -> GuardFinding:
    """Compare on reported outcomes: the predecessor is asked the features that the champion was given.

    Parameters
    ----------
    predecessor : a model with `predict(frame)` → probabilities.
    """
    from models.churn.metrics import ece

    known = reported.judgeable(outcomes)
    if len(known) < policy.fewest_rows:
        return GuardFinding(version, "reported", len(known), problem=f"{len(known)} reported outcomes are too few.")
    frame = pd.DataFrame([dict(one.features) for one in known])
    try:
        p = np.asarray(predecessor.predict(frame), dtype=np.float64)
    except (DataError, AttributeError) as error:
        problem = error.message if isinstance(error, DataError) else "it gives no probabilities"
        return GuardFinding(version, "reported", problem=f"The predecessor cannot answer the same questions: {problem}")
    own, y, _ = reported.columns(known)
    gap = (ece(y.astype(np.int64), own), ece(y.astype(np.int64), p))
    losses = (reported.losses(own, known), reported.losses(p, known))
    return _compare(version, "reported", *losses, gap, "paired_bootstrap", policy)


def _compare(
    version: int,
    source: str,
    champion: pd.DataFrame,
    predecessor: pd.DataFrame,
    ece: tuple[float, float] | None,
    comparison: Comparison,
    policy: MonitorPolicy,
) -> GuardFinding:
    if len(champion) < policy.fewest_rows:
        return GuardFinding(version, source, len(champion), problem=f"{len(champion)} outcomes are too few.")
    groups = int(champion["group"].nunique())
    if comparison == "paired_bootstrap" and groups < policy.fewest_groups:
        problem = f"{len(champion)} outcomes come from {groups} entities (fewest: {policy.fewest_groups})."
        return GuardFinding(version, source, len(champion), problem=problem)
    try:
        test = run_test(pair(predecessor, champion), comparison, GatePolicy(confidence=policy.confidence))
    except MeritError as error:
        return GuardFinding(version, source, len(champion), problem=error.message)
    own, other = float(champion["loss"].mean()), float(predecessor["loss"].mean())
    broken = ""
    if test.high < 0 and -test.difference > policy.guard_margin * abs(other):
        broken = (
            f"its loss is {own:.4g} against {other:.4g} of version {version} on the same {test.rows} {source} "
            f"outcomes, {-test.difference:+.4g} [{-test.high:+.4g}, {-test.low:+.4g}] at {policy.confidence:.0%}"
        )
    elif (
        ece is not None
        and ece[0] - ece[1] > policy.ece_tolerance + ece_by_chance(len(champion))
        and test.difference < 0
    ):
        broken = (
            f"its expected calibration error is {ece[0]:.3f} against {ece[1]:.3f} of version {version} on the same "
            f"{test.rows} {source} outcomes, and its loss is no better"
        )
    return GuardFinding(version, source, test.rows, own, other, test, ece, broken)
