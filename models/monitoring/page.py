"""The report of a look at a champion: one HTML page that needs nothing from the internet."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from models.monitoring.drift import FeatureDrift
from models.monitoring.report import HEADLINES, MonitorReport
from models.monitoring.truth import Truth

_TEMPLATE = Path(__file__).with_name("page.html")
MOST_FEATURES = 25
MOST_PICTURES = 6
_MOST_BARS = 14


def render(report: MonitorReport) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    environment.filters["chance"] = lambda value: (
        "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
    )
    environment.filters["share"] = lambda value: f"{100 * value:.1f} %"
    compared = [feature for feature in report.features if feature.psi is not None]
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        report=report,
        headline=HEADLINES[report.verdict],
        good=report.verdict in ("ok", "no_news"),
        features=report.features[:MOST_FEATURES],
        hidden=max(0, len(report.features) - MOST_FEATURES),
        longest=max([max(f.psi or 0.0, f.limit or 0.0) for f in compared], default=1.0) or 1.0,
        pictures=[_bars(feature) for feature in compared[:MOST_PICTURES]],
        curves=[(truth.source, _curve(truth)) for truth in report.truths if truth.calibration],
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _bars(feature: FeatureDrift) -> dict[str, Any]:
    """Shares of the bins as heights from 0 to 100; levels that hold least are put together."""
    rows = list(zip(feature.labels, feature.reference, feature.now, strict=True))
    if len(rows) > _MOST_BARS and feature.kind == "category":
        rows.sort(key=lambda row: -(row[1] + row[2]))
        rest = rows[_MOST_BARS - 1 :]
        rows = [*rows[: _MOST_BARS - 1], ("the rest", sum(r[1] for r in rest), sum(r[2] for r in rest))]
    rows = [row for row in rows if row[1] or row[2]]
    highest = max((max(row[1], row[2]) for row in rows), default=1.0)
    return {
        "feature": feature,
        "bars": [
            {
                "label": label if len(label) <= 18 else f"{label[:17]}…",
                "title": f"{label}: {then:.1%} then, {now:.1%} now",
                "then": round(100 * then / highest, 2),
                "now": round(100 * now / highest, 2),
            }
            for label, then, now in rows
        ],
    }


def _curve(truth: Truth) -> dict[str, Any]:
    """Mean probability against share that came, both on an axis that ends just above the largest."""
    assert truth.calibration is not None
    points = truth.calibration.curve
    end = min(1.0, 1.1 * max([max(p, y) for p, y, _ in points], default=1.0)) or 1.0
    placed = [
        {
            "x": round(200 * p / end, 1),
            "y": round(200 - 200 * y / end, 1),
            "title": f"{rows} rows: {p:.1%} predicted, {y:.1%} came",
        }
        for p, y, rows in points
    ]
    return {"points": placed, "end": end}


def _number(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
