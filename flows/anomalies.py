"""A look at the business series for what is unusual, as a Prefect flow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, runtime, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from features.snapshot import utc
from flows.ending import ended
from flows.environment import current_settings
from flows.run import watcher
from flows.stages import is_transient
from models.anomaly.keeping import keep
from models.anomaly.platform import watch_platform
from models.anomaly.rules import parse_rules
from models.anomaly.watch import WatchOptions
from store.events import emit

_SHOWN = ("incident", "series", "start", "end", "kind", "severity", "value", "expected", "caused_by")


def _name_of_run() -> str:
    as_of = runtime.flow_run.parameters.get("as_of")
    return f"anomalies, {f'as of {utc(as_of):%Y-%m-%d}' if as_of else 'latest data'}"


def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell whoever listens that nobody looked."""
    error = state.result(raise_on_failure=False)
    reason = str(error) if isinstance(error, BaseException) else (state.message or "")
    payload = {"flow": flow.name, "run": flow_run.name, "run_id": str(flow_run.id), "reason": reason}
    emit(current_settings(), "anomalies_failed", payload)


@flow(name="anomalies", flow_run_name=_name_of_run, on_failure=[notify_failure])
def anomalies(
    as_of: datetime | None = None,
    days: int = 30,
    false_alarms: float = 0.001,
    rules: str = "",
    holidays: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Look at every business series for what is unusual, tell of it once, and leave detectors for what comes next.

    Args:
        as_of: Look only at what was known at this moment. Empty means the end of the data.
        days: Tell of anomalies that ended within so many days.
        false_alarms: Share of usual values that may alarm.
        rules: Limits that hold for every series, such as "below 0, missing 2".
        holidays: Countries whose holidays matter. Empty means those with most customers.
    """
    fresh = look(as_of, days, false_alarms, rules, tuple(holidays or ()))
    incidents = len({row["incident"] for row in fresh})
    told = f"{len(fresh)} new anomalies in {incidents} incidents" if fresh else "nothing new is unusual"
    return ended(told, fresh)


@task(
    name="look",
    task_run_name="look at the series",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[2.0, 10.0],
    retry_condition_fn=is_transient,
)
def look(
    as_of: datetime | None, days: int, false_alarms: float, rules: str, holidays: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The anomalies that were not told of before."""
    settings = current_settings()
    options = WatchOptions(
        false_alarms=false_alarms,
        rules=tuple(str(rule) for rule in parse_rules(rules)),
        holidays=holidays,
        seed=settings.seed,
        threads=settings.threads,
    )
    report = watcher()
    found, snapshot = watch_platform(
        settings, options, as_of, progress=lambda done, total: report("check series", done, total) if report else None
    )
    fresh = keep(settings, found, snapshot.as_of, days)
    table = [{name: row[name] for name in _SHOWN} for row in fresh]
    create_table_artifact(key="anomalies", table=table, description="Anomalies that were not told of before")
    return fresh
