"""What a run shows on its page in the Prefect UI: validation, leaderboard, verdict."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from features.validation import ValidationReport
from models.lifecycle.gate import GateReport
from models.lifecycle.registration import Judgement, Outcome
from models.lifecycle.stages import leaderboard as rows_of
from store.settings import Settings

_BAR = 24
_MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}
_LARGEST_PLOT = 250_000


def artifact_key(*parts: str) -> str:
    """Key of an artifact: Prefect allows lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def validation(name: str, reports: Sequence[ValidationReport]) -> None:
    """A table with one row per check that failed, and one per table where none did."""
    create_table_artifact(
        key=artifact_key("validation", name),
        table=validation_rows(reports),
        description=f"{sum(r.checks for r in reports)} checks on {sum(r.rows for r in reports):,} rows: "
        f"{sum(len(r.critical) for r in reports)} critical and {sum(len(r.warnings) for r in reports)} warnings.",
    )


def validation_rows(reports: Sequence[ValidationReport]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for report in reports:
        common = {"table": report.table, "rows": f"{report.rows:,}"}
        if not report.failures:
            rows.append(
                {**common, "severity": "ok", "check": f"all {report.checks} checks hold", "at fault": "", "values": ""}
            )
        rows += [
            {
                **common,
                "severity": failure.severity,
                "check": f"{failure.column} {failure.check}",
                "at fault": f"{failure.rows:,} ({failure.share:.2%})",
                "values": ", ".join(failure.samples),
            }
            for failure in report.failures
        ]
    return rows


def leaderboard(judgement: Judgement) -> None:
    """The candidates with their metrics and 95 % intervals."""
    metric = judgement.spec.build().primary
    rows = rows_of(judgement.fitted, judgement.judged)
    create_markdown_artifact(
        key=artifact_key("leaderboard", judgement.spec.name),
        markdown=leaderboard_markdown(rows, metric.name, metric.direction, judgement.report.challenger)
        + f"\nData: {judgement.dataset.rows:,} rows, {judgement.dataset.source}, "
        f"digest `{judgement.dataset.digest[:16]}`. Split: {judgement.split}.\n"
        + plots_markdown(judgement.challenger.load().plots),
        description=f"Candidates of {judgement.spec.name} on the holdout, with 95 % intervals.",
    )


def plots_markdown(plots: Mapping[str, bytes]) -> str:
    """The plots themselves, since a browser that shows a run reaches none of our files; large ones are left out."""
    return "".join(
        f"\n![{Path(name).stem}](data:{_MEDIA[Path(name).suffix]};base64,{base64.b64encode(data).decode()})\n"
        for name, data in plots.items()
        if Path(name).suffix in _MEDIA and len(data) <= _LARGEST_PLOT
    )


def leaderboard_markdown(rows: Sequence[Mapping[str, Any]], metric: str, direction: str, chosen: str) -> str:
    """A table of every candidate, the primary metric first and drawn as an interval on a common axis.

    Parameters
    ----------
    rows : as `models.lifecycle.stages.leaderboard` returns them.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.get("metrics", {})))
    names.sort(key=lambda name: name != metric)
    judged = [row["metrics"][metric] for row in rows if metric in row.get("metrics", {})]
    ends = [end for value in judged for end in (value["low"], value["value"], value["high"]) if end is not None]
    head = ["candidate", f"{metric} ({direction} is better)", "95 % interval", *names[1:], "fit, s", "predict, ms"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        title = f"**{row['candidate']}**" if row["candidate"] == chosen else row["candidate"]
        title += " (baseline)" if row["baseline"] else ""
        if row.get("error"):
            reason = row["error"].replace("|", "\\|")
            lines.append(f"| {title} | {reason} |" + " |" * (len(head) - 2))
            continue
        values = row.get("metrics", {})
        cells = [title, _estimate(values.get(metric)), f"`{interval_bar(values.get(metric), ends) or '·'}`"]
        cells += [_estimate(values.get(name)) for name in names[1:]]
        cells += [f"{row['fit_seconds']:.2f}", f"{row.get('latency_ms', math.nan):.3g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def interval_bar(estimate: Mapping[str, float | None] | None, ends: Sequence[float]) -> str:
    """An interval as text, `··──●───·`, on the axis from the least to the greatest of `ends`."""
    if not estimate or estimate["value"] is None or not ends:
        return ""
    low, high = min(ends), max(ends)

    def place(value: float | None) -> int:
        at = estimate["value"] if value is None else value
        assert at is not None
        return round((at - low) / (high - low) * (_BAR - 1)) if high > low else _BAR // 2

    start, stop = place(estimate["low"]), place(estimate["high"])
    # Dots, since a browser draws a row of blanks as one.
    line = ["─" if start <= i <= stop else "·" for i in range(_BAR)]
    line[place(estimate["value"])] = "●"
    return "".join(line)


def _estimate(value: Mapping[str, float | None] | None) -> str:
    if not value or value["value"] is None:
        return ""
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:.4g}"
    return f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"


def verdict(judgement: Judgement, outcome: Outcome, settings: Settings) -> None:
    """The gate's verdict with its reason and guards, and where to read more."""
    registered = outcome.registered
    create_markdown_artifact(
        key=artifact_key("verdict", judgement.spec.name),
        markdown=verdict_markdown(
            judgement.report, outcome, mlflow_page(settings, registered.name, registered.version)
        ),
        description=f"{registered.name} v{registered.version}: {outcome.verdict}",
    )


def mlflow_page(settings: Settings, name: str, version: int) -> str:
    """Address of a version in MLflow's browser."""
    uri = settings.mlflow_uri or ""
    base = uri.rstrip("/") if uri.startswith("http") else f"http://127.0.0.1:{settings.mlflow_port}"
    return f"{base}/#/models/{name}/versions/{version}"


_HEADLINES = {"promote": "Promoted", "keep": "Not promoted", "conflict": "Not promoted: somebody else was faster"}


def verdict_markdown(report: GateReport, outcome: Outcome, page: str) -> str:
    test = report.test
    champion = "none" if outcome.champion is None else f"version {outcome.champion}"
    guards = "\n".join(
        f"| {guard.name} | {'passed' if guard.passed else '**failed**'} | {guard.detail} |" for guard in report.guards
    )
    return (
        f"# {_HEADLINES[outcome.verdict]}: {report.challenger}\n\n{outcome.reason}\n\n"
        f"[Version {outcome.registered.version} in MLflow]({page}), with its report. "
        f"Champion now: {champion}.\n\n"
        "| | |\n|---|---|\n"
        f"| Compared with | {report.opponent} |\n"
        f"| Mean loss | {report.challenger_loss:.5g} against {report.opponent_loss:.5g} |\n"
        f"| Difference | {test.difference:+.5g} [{test.low:+.5g}, {test.high:+.5g}] at {test.confidence:.0%} |\n"
        f"| Test | {test.method}, {test.units:,} units, {test.rows:,} rows, p = {test.p_value:.4g} |\n\n"
        + (f"| guard | | |\n|---|---|---|\n{guards}\n" if guards else "")
        + "".join(f"\n{note}\n" for note in report.notes)
    )
