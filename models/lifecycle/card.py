"""The card of a version: one HTML page that needs nothing from the internet and no knowledge of statistics."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from models.lifecycle.card_data import about, lineage, slices_of
from models.lifecycle.card_tables import blocks, text, words
from models.lifecycle.card_words import limits_in_words, meaning, verdict_in_words
from models.lifecycle.evaluation import Estimate, Evaluation
from models.lifecycle.family import Metric
from models.lifecycle.gate import GateReport
from store.dataset import DatasetRef

_TEMPLATE = Path(__file__).with_name("card.html")
_MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class Bar:
    """A metric with its interval, as positions on an axis from 0 to 100."""

    label: str
    value: float
    low: float
    high: float
    at: float
    start: float
    width: float
    chosen: bool
    baseline: bool


def bars(rows: Sequence[Mapping[str, Any]], metric: str, chosen: str) -> list[Bar]:
    """Positions of one metric of every candidate on a common axis.

    Parameters
    ----------
    rows : as `stages.leaderboard` returns them.
    """
    found = [
        (row, Estimate.from_dict(row["metrics"][metric]))
        for row in rows
        if row.get("metrics", {}).get(metric, {}).get("value") is not None
    ]
    if not found:
        return []
    ends = [end for _, estimate in found for end in (estimate.low, estimate.value, estimate.high) if end == end]
    floor, ceiling = min(ends), max(ends)
    scale = 100 / (ceiling - floor) if ceiling > floor else 0.0

    def position(number: float, otherwise: float) -> float:
        return round(((number if number == number else otherwise) - floor) * scale, 2)

    return [
        Bar(
            label=row["candidate"],
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            at=position(estimate.value, estimate.value),
            start=position(estimate.low, estimate.value),
            width=round(position(estimate.high, estimate.value) - position(estimate.low, estimate.value), 2),
            chosen=row["candidate"] == chosen,
            baseline=bool(row["baseline"]),
        )
        for row, estimate in found
    ]


def render(
    *,
    name: str,
    family: str,
    metric: Metric,
    dataset: DatasetRef,
    split: str,
    rows: Sequence[Mapping[str, Any]],
    evaluation: Evaluation,
    report: GateReport,
    notes: Sequence[str] = (),
    version: int | None = None,
    purpose: str = "",
    limits: Sequence[str] = (),
    tags: Mapping[str, Any] | None = None,
) -> str:
    """The page as HTML.

    Parameters
    ----------
    metric : the family's primary metric.
    rows : the leaderboard.
    evaluation : of the chosen candidate.
    notes : anything the reader must know about the data (suspected leaks, repaired series, …).
    purpose, limits : what the family says its models are for and cannot tell; see `models.lifecycle.family.Explains`.
    tags : where the version comes from; see `card_data.lineage`.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = text
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    shown = [name for name in evaluation.metrics if any(name in row.get("metrics", {}) for row in rows)]
    ordered = sorted(shown, key=lambda item: item != metric.name)
    plots = [
        (words(Path(file).stem), _MEDIA[Path(file).suffix], base64.b64encode(data).decode())
        for file, data in evaluation.plots.items()
        if Path(file).suffix in _MEDIA
    ]
    return template.render(
        name=name,
        version=version,
        family=family,
        purpose=purpose,
        metric=metric,
        split=split,
        rows=rows,
        report=report,
        notes=[*notes, *report.notes],
        data=about(dataset, len(evaluation.losses)),
        verdict=verdict_in_words(report, metric),
        charts=[(item, bars(rows, item, report.challenger)) for item in ordered],
        metric_names=ordered,
        meanings=[(item, meaning(item)) for item in ordered if meaning(item)],
        slices=slices_of(evaluation),
        everybody=float(evaluation.losses["loss"].mean()) if len(evaluation.losses) else None,
        plots=plots,
        blocks=blocks(evaluation.details),
        limits=limits_in_words(report, evaluation, rows, dataset, limits),
        lineage=lineage(dataset, tags or {}),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
