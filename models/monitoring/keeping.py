"""Where a look at a champion is kept and told: the database, an MLflow run with the page, events for the webhook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.monitoring import page
from models.monitoring.report import MonitorReport
from store import monitor_reports
from store.events import emit
from store.registry import Registry
from store.settings import Settings

PAGE = "monitor.html"
_MOST_TOLD = 10


def keep(settings: Settings, report: MonitorReport, folder: Path, flow_run: str | None = None) -> str:
    """Keep a report and tell of it; returns its id in the database.

    The page is `monitor.html` in the folder and in MLflow, there in a run of the experiment `<model>-monitoring`, so
    that training runs stay comparable among themselves.
    """
    html = page.render(report)
    (folder / PAGE).write_text(html, encoding="utf-8")
    run_id = _log(settings, report, html, flow_run)
    record = monitor_reports.MonitorRecord(
        model=report.model,
        version=report.version,
        as_of=report.as_of,
        verdict=report.verdict,
        report={**report.to_dict(), "run_id": run_id},
        flow_run=flow_run,
    )
    monitor_reports.write(settings, record)
    if not report.repeated:
        _tell(settings, report, record.id)
    return record.id


def numbers(report: MonitorReport) -> dict[str, float]:
    """Flat metrics for MLflow: `drift.features`, `arrived.log_loss`, `arrived.log_loss.change`, …"""
    indices = [feature.psi for feature in report.features if feature.psi is not None]
    flat: dict[str, float] = {"drift.features": float(len(report.drifted)), "alarms": float(len(report.alarms))}
    if indices:
        flat["drift.largest_psi"] = max(indices)
    for truth in report.truths:
        flat[f"{truth.source}.rows"] = float(truth.rows)
        for metric in truth.metrics:
            flat[f"{truth.source}.{metric.name}"] = metric.now.value
            if metric.change is not None:
                flat[f"{truth.source}.{metric.name}.change"] = metric.change.value
        if truth.calibration is not None:
            flat[f"{truth.source}.calibration_gap"] = truth.calibration.gap.value
    return flat


def _log(settings: Settings, report: MonitorReport, html: str, flow_run: str | None) -> str:
    tags = {
        "family": report.family,
        "model": report.model,
        "version": report.version,
        "verdict": report.verdict,
        "as_of": report.as_of.isoformat(),
        "flow_run": flow_run or "",
    }
    name = f"{report.model} v{report.version} as of {report.as_of:%Y-%m-%d}"
    with Registry(settings).run(f"{report.model}-monitoring", name, tags) as run:
        run.log_metrics(numbers(report))
        run.log_text(html, PAGE)
        run.log_text(json.dumps(report.to_dict(), indent=1, default=str), "monitor.json")
        return run.id


def _tell(settings: Settings, report: MonitorReport, report_id: str) -> None:
    about: dict[str, Any] = {
        "model": report.model,
        "version": report.version,
        "as_of": report.as_of.isoformat(),
        "report": report_id,
        "headline": report.headline,
    }
    drift = [alarm.to_dict() for alarm in report.alarms if alarm.kind == "drift"]
    other = [alarm.to_dict() for alarm in report.alarms if alarm.kind != "drift"]
    if drift:
        emit(settings, "drift", {**about, "features": len(drift), "alarms": drift[:_MOST_TOLD]})
    if other:
        emit(settings, "performance", {**about, "alarms": other[:_MOST_TOLD]})
    if report.rollback is not None and not report.rollback["done"]:
        emit(settings, "rollback_failed", {**about, **report.rollback})
