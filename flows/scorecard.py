"""The platform's own scorecard, every day, as a Prefect flow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, runtime, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from features.snapshot import utc
from features.views.spend import end_of_ledger
from flows.ending import ended
from flows.environment import current_settings
from flows.stages import is_transient
from models.forecasting.model import ForecastModel
from models.spend import NAME
from models.spend.scorecard import TOLD, Champion
from models.spend.scorecard import scorecard as measured
from models.spend.telling import keep
from store.errors import EmptyData
from store.registry import Registry
from store.settings import Settings

_SHOWN = ("day", "measure", "value", "low", "high", "count")


def _name_of_run() -> str:
    as_of = runtime.flow_run.parameters.get("as_of")
    return f"scorecard, {f'as of {utc(as_of):%Y-%m-%d}' if as_of else 'up to yesterday'}"


@flow(name="scorecard", flow_run_name=_name_of_run)
def scorecard(as_of: datetime | None = None) -> list[dict[str, Any]]:
    """Keep how right routing, forecasts and alarms were up to the last whole day, and what recommendations brought.

    What the coming fortnight is expected to cost is told by an event.

    Args:
        as_of: Measure up to the last whole day before this moment. Empty means the end of the ledger.
    """
    rows = measure_and_keep(as_of)
    told = sum(row["value"] is not None for row in rows)
    return ended(f"{told} of {len(rows)} measures of the day", rows)


@task(
    name="measure",
    task_run_name="measure the platform",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[2.0, 10.0],
    retry_condition_fn=is_transient,
)
def measure_and_keep(as_of: datetime | None) -> list[dict[str, Any]]:
    """The measures of the day."""
    settings = current_settings()
    try:
        moment = end_of_ledger(settings, utc(as_of) if as_of else None)
    except EmptyData:
        return []  # nobody has called yet
    found = measured(settings, moment, _champion(settings))
    keep(settings, found)
    rows = [{name: getattr(one, name) for name in _SHOWN} for one in found if one.measure != TOLD]
    create_table_artifact(key="scorecard", table=rows, description="The platform's own scorecard")
    return rows


def _champion(settings: Settings) -> Champion | None:
    """The promoted forecaster of the bill; None while there is none."""
    registry = Registry(settings)
    try:
        version = registry.alias(NAME, "champion")
        return None if version is None else (ForecastModel.load(registry.fetch(NAME, version)), version)
    finally:
        registry.close()
