"""A shadow against the champion it stood beside: how often they agree, how far they differ, who was right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.lifecycle.statistics import PairedTest, pair, paired_bootstrap
from store.shadows import Pair

_REPLICATES = 1_000
_FEWEST = 20


@dataclass(frozen=True)
class ShadowReport:
    """The comparison.

    Attributes
    ----------
    asked : questions that both were asked; `failed` of them the shadow could not answer.
    errors : the commonest reasons, with their number.
    agreement : share of answers with the same decision and with the same band, each with a 95 % interval.
    difference : of the shadow's probability less the champion's: mean with a 95 % interval, quantiles, largest.
    latency_ms : of the shadow, median and 95th percentile, one row at a time in the background.
    outcomes : with reported outcomes: log loss of both and the paired bootstrap of champion less shadow, by customer;
        above zero the shadow is better. None with too few.
    verdict : in one sentence.
    """

    model: str
    version: int
    champions: tuple[int, ...]
    asked: int
    failed: int
    errors: tuple[tuple[str, int], ...]
    agreement: dict[str, dict[str, float]]
    difference: dict[str, Any]
    latency_ms: dict[str, float]
    outcomes: dict[str, Any] | None
    verdict: str
    since: str = ""
    until: str = ""

    def to_dict(self) -> dict[str, Any]:
        made = {name: getattr(self, name) for name in self.__dataclass_fields__}
        made["errors"] = [{"error": error, "answers": number} for error, number in self.errors]
        made["champions"] = list(self.champions)
        return made


def compare(model: str, version: int, asked: Sequence[Pair]) -> ShadowReport:
    """Compare a shadow with the champions that answered the same questions."""
    answered = [one for one in asked if one.error is None and "probability" in one.shadow and "probability" in one.said]
    errors = Counter(one.error for one in asked if one.error is not None)
    groups = np.array([one.entity_id or one.prediction_id for one in answered], dtype=object)
    said = np.array([float(one.said["probability"]) for one in answered])
    shadow = np.array([float(one.shadow["probability"]) for one in answered])
    outcomes, test = _outcomes(answered, said, shadow)
    agreement = {
        name: _mean(np.array([float(one.said.get(name) == one.shadow.get(name)) for one in answered]), groups)
        for name in ("decision", "band")
        if answered
    }
    return ShadowReport(
        model=model,
        version=version,
        champions=tuple(sorted({one.champion for one in asked})),
        asked=len(asked),
        failed=sum(errors.values()),
        errors=tuple(errors.most_common(5)),
        agreement=agreement,
        difference=_difference(said, shadow, groups),
        latency_ms=_latency(answered),
        outcomes=outcomes,
        verdict=_verdict(version, len(asked), len(answered), agreement, test),
        since=str(asked[0].created_at)[:19] if asked else "",
        until=str(asked[-1].created_at)[:19] if asked else "",
    )


def _difference(said: NDArray[np.float64], shadow: NDArray[np.float64], groups: NDArray[Any]) -> dict[str, Any]:
    if not len(said):
        return {}
    gap = shadow - said
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    counts, edges = np.histogram(gap, bins=np.linspace(-1, 1, 41))
    used = np.flatnonzero(counts)
    return {
        "mean": _mean(gap, groups),
        "mean_absolute": float(np.abs(gap).mean()),
        "largest": float(gap[np.argmax(np.abs(gap))]),
        "quantiles": {
            f"{level:g}": float(value) for level, value in zip(levels, np.quantile(gap, levels), strict=True)
        },
        "histogram": [
            {"from": round(float(edges[i]), 3), "to": round(float(edges[i + 1]), 3), "answers": int(counts[i])}
            for i in (range(used[0], used[-1] + 1) if len(used) else ())
        ],
    }


def _mean(values: NDArray[np.float64], groups: NDArray[Any]) -> dict[str, float]:
    """Mean with a 95 % bootstrap interval over groups."""
    test = paired_bootstrap(pd.DataFrame({"difference": values, "group": groups}), replicates=_REPLICATES)
    return {"value": test.difference, "low": test.low, "high": test.high}


def _latency(answered: Sequence[Pair]) -> dict[str, float]:
    if not answered:
        return {}
    took = np.array([one.latency_ms for one in answered])
    return {"median": float(np.median(took)), "p95": float(np.quantile(took, 0.95))}


def _outcomes(
    answered: Sequence[Pair], said: NDArray[np.float64], shadow: NDArray[np.float64]
) -> tuple[dict[str, Any] | None, PairedTest | None]:
    from models.churn.metrics import log_loss_rows

    known = [place for place, one in enumerate(answered) if one.reported and one.actual in (0, 1, True, False)]
    if len(known) < _FEWEST:
        return ({"rows": len(known), "note": f"Fewer than {_FEWEST} outcomes were reported."}, None)
    if len({answered[place].entity_id or answered[place].prediction_id for place in known}) < _FEWEST:
        return ({"rows": len(known), "note": f"They were reported of fewer than {_FEWEST} customers."}, None)
    y = np.array([int(answered[place].actual) for place in known])
    index = pd.Index([answered[place].prediction_id for place in known])
    groups = [answered[place].entity_id or answered[place].prediction_id for place in known]
    champion, other = (
        pd.DataFrame({"loss": log_loss_rows(y, p[known]), "group": groups, "step": 0}, index=index)
        for p in (said, shadow)
    )
    test = paired_bootstrap(pair(champion, other), replicates=_REPLICATES)
    found = {
        "rows": len(known),
        "log_loss": {"champion": float(champion["loss"].mean()), "shadow": float(other["loss"].mean())},
        "difference": {"value": test.difference, "low": test.low, "high": test.high},
        "p_value": test.p_value,
    }
    return found, test


def _verdict(
    version: int, asked: int, answered: int, agreement: dict[str, dict[str, float]], test: PairedTest | None
) -> str:
    if not asked:
        return f"Version {version} has not been asked anything yet."
    if not answered:
        return f"Version {version} could answer none of {asked} questions."
    same = f"Same decision in {agreement['decision']['value']:.1%} of {answered} answers"
    failed = f", {asked - answered} failed" if asked > answered else ""
    if test is None:
        return f"{same}{failed}; too few outcomes were reported to say who was right."
    if test.low > 0:
        return f"{same}{failed}; version {version} was closer to what came on {test.rows} outcomes."
    if test.high < 0:
        return f"{same}{failed}; version {version} was farther from what came on {test.rows} outcomes."
    return f"{same}{failed}; on {test.rows} outcomes neither was closer beyond chance."
