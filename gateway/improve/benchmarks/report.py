"""What a benchmark says: a table of models with intervals, and which of them really differ."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gateway.money import NANOS_PER_DOLLAR
from models.lifecycle.comparison import compare, mean_of
from store.llm_benchmarks import RESULT_COLUMNS, Result

# Measure → unit, and whether more is better.
MEASURES: Mapping[str, tuple[str, bool]] = {
    "quality": ("0 to 1", True),
    "cost": ("dollars a call", False),
    "latency_ms": ("milliseconds", False),
}


def report_of(results: Sequence[Result], models: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Means with 95 % intervals (bootstrap over groups of prompts, repeats within their group), and every pair of
    models compared on the prompts that both were asked (sign-flip test, Holm over the pairs of a measure).

    Parameters
    ----------
    models : in the order in which to tell of them; the table is sorted by quality.

    Returns
    -------
    JSON-ready: `models`, one row each, `pairs`, and `units`. A model without any answer has no row.
    """
    frame = pd.DataFrame([_row(one) for one in results])
    if frame.empty:
        return {"models": [], "pairs": [], "units": {name: unit for name, (unit, _) in MEASURES.items()}}
    told = [_model(name, rows, seed) for name in models if len(rows := frame[frame["model"] == name])]
    told.sort(key=lambda row: -row["quality"]["value"])
    # One value for each prompt and model: repeats are of the same prompt.
    means = frame.groupby(["model", "prompt"])[list(MEASURES)].mean()
    groups = frame.drop_duplicates("prompt").set_index("prompt")["group"]
    names = [row["model"] for row in told]
    pairs = [
        one.to_dict()
        for measure in MEASURES
        for one in compare({name: means.loc[name][measure] for name in names}, groups, measure, seed=seed)
    ]
    return {"models": told, "pairs": pairs, "units": {name: unit for name, (unit, _) in MEASURES.items()}}


def metrics_of(report: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of the table by name, as MLflow has them: `quality/simulated/small`, `quality_low/simulated/small`."""
    made: dict[str, float] = {}
    for row in report["models"]:
        for measure in MEASURES:
            value = row[measure]
            if value is None:
                continue
            made[f"{measure}/{row['model']}"] = value["value"]
            made |= {f"{measure}_{end}/{row['model']}": value[end] for end in ("low", "high")}
    return made


def as_csv(results: Sequence[Result]) -> str:
    """One line for each answer; cost in dollars."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(RESULT_COLUMNS)
    for one in results:
        values = [getattr(one, name) for name in RESULT_COLUMNS]
        values[RESULT_COLUMNS.index("cost")] = one.cost / NANOS_PER_DOLLAR
        writer.writerow([_harmless(value) for value in values])
    return out.getvalue()


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _row(one: Result) -> dict[str, Any]:
    return {
        "model": one.model,
        "prompt": one.prompt,
        "group": one.group,
        "quality": one.quality,
        "cost": one.cost / NANOS_PER_DOLLAR,
        "latency_ms": np.nan if one.latency_ms is None else one.latency_ms,
        "failed": one.error is not None,
        "answered_by": one.answered_by,
    }


def _model(name: str, rows: pd.DataFrame, seed: int) -> dict[str, Any]:
    told: dict[str, Any] = {"model": name, "prompts": int(rows["prompt"].nunique()), "answers": len(rows)}
    for measure in MEASURES:
        known = rows[rows[measure].notna()]
        values = known[measure].to_numpy(dtype=np.float64)
        told[measure] = mean_of(values, list(known["group"]), seed=seed).to_dict() if len(known) else None
    latency = rows["latency_ms"].dropna()
    told["latency_p95_ms"] = float(latency.quantile(0.95)) if len(latency) else None
    told["failed"] = int(rows["failed"].sum())
    told["spent"] = float(rows["cost"].sum())
    answered = rows["answered_by"].dropna().value_counts()
    told["answered_by"] = {str(model): int(count) for model, count in answered.items()}
    return told
