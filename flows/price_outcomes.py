"""What came of implemented prices, measured by the platform's own sign-ups, as a Prefect flow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, runtime, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from features.snapshot import utc
from features.views.demand import TABLES, demand_frame
from flows import stages
from flows.artifacts import artifact_key
from flows.ending import ended
from flows.environment import current_settings
from flows.lifecycle import actor, name_of_run
from models.pricing import measuring
from store.dataset import SnapshotRef


@flow(name="measure-prices", flow_run_name=name_of_run)
def measure_prices(
    name: str = "pricing", as_of: datetime | None = None, days: int | None = None
) -> list[dict[str, Any]]:
    """Measure implemented prices by the sign-ups since: revenue beside what was expected, and what was gained.

    Args:
        name: The registered model whose recommendations are measured.
        as_of: Count only what was known at this moment. Empty means the end of the data.
        days: Days that a price must have held for. Empty means the horizon that was asked for.
    """
    found: list[dict[str, Any]] = []
    if measuring.implemented(current_settings(), name):
        found = measure(name, stages.take_snapshot(TABLES, utc(as_of) if as_of else None), days)
        create_table_artifact(key=artifact_key("price-outcomes", name), table=found, description=_headline(found))
    return ended(_headline(found), found)


# What was measured is not measured again: a repeated run finds it so.
@task(name="measure prices", task_run_name="measure the prices of {name}", cache_policy=NO_CACHE)
def measure(name: str, snapshot: SnapshotRef, days: int | None) -> list[dict[str, Any]]:
    """Every implemented recommendation beside the sign-ups since."""
    daily = demand_frame(snapshot, every="day")
    by = actor() if runtime.flow_run.id else None
    return [vars(one) for one in measuring.measure_all(current_settings(), name, daily, days=days, by=by)]


def _headline(found: list[dict[str, Any]]) -> str:
    measured = sum(bool(one["verdict"]) for one in found)
    waiting = f", {len(found) - measured} wait" if len(found) > measured else ""
    return f"{measured} implemented prices measured{waiting}" if found else "no implemented price waits to be measured"
