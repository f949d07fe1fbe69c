"""Ways to spend less: proposed once a week, and what those that are followed saved measured once a day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, runtime, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from features.snapshot import utc
from features.views.spend import end_of_ledger
from flows.anomalies import notify_failure
from flows.ending import ended
from flows.environment import current_settings
from flows.stages import is_transient
from gateway.improve.following import means
from models.spend.recommending.another_model import Tolerance
from models.spend.recommending.keeping import keep, measure_all
from models.spend.recommending.look import Wanted, look
from store.errors import EmptyData


def _name_of_run() -> str:
    as_of = runtime.flow_run.parameters.get("as_of")
    return f"{runtime.flow_run.flow_name}, {f'as of {utc(as_of):%Y-%m-%d}' if as_of else 'latest calls'}"


@flow(name="propose-savings", flow_run_name=_name_of_run, on_failure=[notify_failure])
def propose_savings(as_of: datetime | None = None, days: int = 28, tolerance: float = 0.05) -> list[dict[str, Any]]:
    """Look for ways to spend less, keep them as recommendations, and tell of each new one.

    Args:
        as_of: Look only at calls up to this moment. Empty means the end of the ledger.
        days: Whole days before whose calls are looked at.
        tolerance: How far judgements of answers may be expected to fall for a cheaper model, 0 to 1.
    """
    told = propose(as_of, days, tolerance)
    words = f"{len(told)} new recommendations" if told else "nothing new to recommend"
    return ended(words, told)


@flow(name="measure-savings", flow_run_name=_name_of_run, on_failure=[notify_failure])
def measure_savings(as_of: datetime | None = None) -> list[dict[str, Any]]:
    """Measure what every recommendation that is followed has saved, beside what would have been paid without it.

    Args:
        as_of: Count only calls up to this moment. Empty means the end of the ledger.
    """
    told = measure(as_of)
    words = f"{len(told)} recommendations measured" if told else "no recommendation is followed"
    return ended(words, told)


@task(
    name="look for savings",
    task_run_name="look for savings",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[2.0, 10.0],
    retry_condition_fn=is_transient,
)
def propose(as_of: datetime | None, days: int, tolerance: float) -> list[dict[str, Any]]:
    """Recommendations that are new."""
    settings = current_settings()
    wanted = Wanted(tolerance=Tolerance(expected=tolerance, worst=3 * tolerance))
    try:
        moment = end_of_ledger(settings, utc(as_of) if as_of else None)
        found = look(settings, moment, means(settings), wanted, days=days, seed=settings.seed)
    except EmptyData:
        return []  # nobody has called yet
    told = keep(settings, found)
    table = [
        {"kind": one.kind, "workspace": one.workspace, "a month": one.saving.value, "words": one.words} for one in found
    ]
    create_table_artifact(key="spend-recommendations", table=table, description="Ways to spend less")
    return told


@task(
    name="measure savings",
    task_run_name="measure savings",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[2.0, 10.0],
    retry_condition_fn=is_transient,
)
def measure(as_of: datetime | None) -> list[dict[str, Any]]:
    """What was measured."""
    settings = current_settings()
    try:
        moment = end_of_ledger(settings, utc(as_of) if as_of else None)
    except EmptyData:
        return []
    told = measure_all(settings, moment, seed=settings.seed)
    table = [{"kind": one["kind"], "workspace": one["workspace"], **one["measured"]} for one in told]
    create_table_artifact(key="spend-savings", table=table, description="What recommendations saved")
    return told
