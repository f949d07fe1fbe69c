"""What judging a model yields: losses per row for paired tests, metrics with intervals, slices, plots.

An evaluation lies in a folder between the stage that makes it and the stages that read it (gate, report):
`evaluation.json`, `losses.parquet`, `slices.parquet` and `plots/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval, in the metric's own unit."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        return {"value": _finite(self.value), "low": _finite(self.low), "high": _finite(self.high)}

    @classmethod
    def from_dict(cls, data: Mapping[str, float | None]) -> Estimate:
        value, low, high = (data[key] for key in ("value", "low", "high"))
        nan = float("nan")
        return cls(nan if value is None else value, nan if low is None else low, nan if high is None else high)


class Plots(Mapping[str, bytes]):
    """Plots that are drawn when somebody looks at them: of the candidates that are judged, one is shown."""

    def __init__(self, draw: Callable[[], Mapping[str, bytes]]) -> None:
        self._draw = draw

    @cached_property
    def _drawn(self) -> Mapping[str, bytes]:
        return self._draw()

    def __getitem__(self, name: str) -> bytes:
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawn)

    def __len__(self) -> int:
        return len(self._drawn)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class Evaluation:
    """The judgement of one model on one holdout.

    Attributes
    ----------
    candidate : name of the recipe that was judged.
    losses : one row per judged row, index = a key that is the same for every model judged on this holdout. Columns:
        `loss` (lower is better), `group` (rows that are not independent of each other share one: a customer, a
        series), `step` (position in time for Diebold–Mariano; 0 where time plays no part), and any number of
        `slice.<name>` columns with the level each row belongs to, which the gate tests one by one.
    metrics : metric name → estimate with a 95 % interval.
    slices : one row per slice: `slice` (e.g. "plan=basic"), `rows`, `value` (mean loss).
    latency_ms : median time of predicting one row (or one series), in milliseconds.
    plots : file name → PNG or SVG bytes; none when read back from where they were left out.
    details : anything else worth keeping, JSON-ready (threshold, coverage table, …).
    """

    candidate: str
    losses: pd.DataFrame
    metrics: Mapping[str, Estimate]
    slices: pd.DataFrame
    latency_ms: float
    plots: Mapping[str, bytes] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path, *, plots: bool = True) -> None:
        """Write the evaluation into a folder, making it when needed; without its plots, they are not drawn."""
        (folder / "plots").mkdir(parents=True, exist_ok=True)
        self.losses.to_parquet(folder / "losses.parquet")
        self.slices.to_parquet(folder / "slices.parquet")
        for name, data in self.plots.items() if plots else ():
            (folder / "plots" / name).write_bytes(data)
        body = {
            "candidate": self.candidate,
            "metrics": {name: estimate.to_dict() for name, estimate in self.metrics.items()},
            "latency_ms": self.latency_ms,
            "details": dict(self.details),
        }
        (folder / "evaluation.json").write_text(json.dumps(body, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Read back what `save` wrote."""
        body = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        return cls(
            candidate=body["candidate"],
            losses=pd.read_parquet(folder / "losses.parquet"),
            metrics={name: Estimate.from_dict(value) for name, value in body["metrics"].items()},
            slices=pd.read_parquet(folder / "slices.parquet"),
            latency_ms=body["latency_ms"],
            plots={path.name: path.read_bytes() for path in sorted((folder / "plots").iterdir())},
            details=body["details"],
        )


def slices_of(losses: pd.DataFrame, at_least: int = 50) -> pd.DataFrame:
    """Mean loss of every slice that is large enough to say something.

    Parameters
    ----------
    losses : with `slice.<name>` columns, as in `Evaluation.losses`.

    Returns
    -------
    One row per slice: `slice` ("plan=basic"), `rows`, `value`.
    """
    rows = [
        {"slice": f"{column.removeprefix('slice.')}={level}", "rows": len(part), "value": float(part.mean())}
        for column in losses.columns
        if column.startswith("slice.")
        for level, part in losses["loss"].groupby(losses[column], sort=True, observed=True)
        if len(part) >= at_least
    ]
    return pd.DataFrame(rows, columns=["slice", "rows", "value"])
