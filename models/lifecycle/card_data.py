"""What a card tells of its data: which rows, from when to when, how each group fared, and with what it was made."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd

from models.lifecycle.evaluation import Evaluation
from store.dataset import DatasetRef

MOST_SLICES = 40
LIBRARIES = ("numpy", "pandas", "scikit-learn", "catboost", "lightgbm", "xgboost-cpu", "statsforecast", "mlforecast")


@dataclass(frozen=True)
class Slice:
    """Mean loss of one group on the holdout.

    Attributes
    ----------
    low, high : 95 % interval, for rows of one customer or series that depend on each other; NaN where there is none.
    worse, better : whether the interval lies beyond the mean of everybody.
    """

    name: str
    rows: int
    value: float
    low: float
    high: float
    worse: bool
    better: bool


def slices_of(evaluation: Evaluation) -> list[Slice]:
    """The groups with their intervals, the hardest first.

    The standard error is that of a mean of clustered rows (Liang and Zeger 1986) with the usual correction for few
    clusters: √(G/(G − 1) Σ_g (Σ_{i∈g} (l_i − m))²) / n, and Student's t with G − 1 degrees of freedom.
    """
    from scipy.stats import t

    losses = evaluation.losses
    everybody = float(losses["loss"].mean()) if len(losses) else float("nan")
    found = []
    for row in evaluation.slices.sort_values("value", ascending=False).head(MOST_SLICES).to_dict("records"):
        name, value = str(row["slice"]), float(row["value"])
        low = high = float("nan")
        column, _, level = name.partition("=")
        if f"slice.{column}" in losses.columns:
            mine = losses[losses[f"slice.{column}"].astype(str) == level]
            groups = mine["group"].nunique()
            if groups > 1:
                sums = (mine["loss"] - mine["loss"].mean()).groupby(mine["group"], sort=False).sum()
                spread = float(np.sqrt(groups / (groups - 1) * (sums**2).sum())) / len(mine)
                half = float(t.ppf(0.975, groups - 1)) * spread
                # The approximation knows no floor; a loss that is never negative has one.
                low, high = max(value - half, 0.0 if mine["loss"].min() >= 0 else -np.inf), value + half
        found.append(Slice(name, int(row["rows"]), value, low, high, low > everybody, high < everybody))
    return found


def about(dataset: DatasetRef, holdout_rows: int) -> dict[str, str]:
    """Label → text: source, rows, who and when, digest. A file that is gone only says less."""
    found = {"Source": dataset.source or "–", "Rows": f"{dataset.rows:,}, of which {holdout_rows:,} to judge on"}
    for role, label in (("entity", "Told apart by"), ("time", "Time")):
        column = dataset.roles.get(role)
        values = _column(dataset, column)
        if values is None or values.dropna().empty:
            continue
        if role == "entity":
            found[label] = f"{column}: {values.nunique():,} of them"
        else:
            first, last = values.dropna().min(), values.dropna().max()
            found[label] = f"{column}: {_day(first)} to {_day(last)}"
    if target := dataset.roles.get("target"):
        found["Learned to tell"] = target
    if dataset.as_of:
        found["Known up to"] = f"{dataset.as_of:%Y-%m-%d %H:%M} UTC"
    return found


def made_with() -> str:
    """Python and the libraries that models rest on, with their versions."""
    found = [f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def lineage(dataset: DatasetRef, tags: Mapping[str, Any]) -> dict[str, str]:
    """Label → text: everything that leads from the version back to its data and code.

    Parameters
    ----------
    tags : of the version: `run_id`, `flow_run`, `snapshot`, `git_commit`, `actor`, `sha256`, … where known.
    """
    labels = {
        "sha256": "Digest of the model's files",
        "run_id": "MLflow run",
        "flow": "Flow",
        "flow_run": "Flow run",
        "actor": "Trained by",
        "snapshot": "Snapshot of the tables",
        "git_commit": "Commit of the code",
        "seed": "Seed",
        "options": "Options",
    }
    found = {label: str(tags[name]) for name, label in labels.items() if tags.get(name) not in (None, "")}
    return {"Digest over all rows": dataset.digest, **found, "Made with": made_with()}


def _column(dataset: DatasetRef, column: str | None) -> pd.Series[Any] | None:
    if column is None:
        return None
    try:
        return pd.read_parquet(dataset.path, columns=[column])[column]
    except (OSError, ValueError, KeyError):
        return None


def _day(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}" if value == value.normalize() else f"{value:%Y-%m-%d %H:%M}"
    return str(value)
