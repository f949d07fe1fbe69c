"""A look at the gateway's ledger for what is unusual, every hour, as a Prefect flow."""

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
from models.spend.unusual.keeping import keep
from models.spend.unusual.look import look
from store.errors import EmptyData

_SHOWN = ("kind", "subject", "severity", "start", "end", "excess", "words")


def _name_of_run() -> str:
    as_of = runtime.flow_run.parameters.get("as_of")
    return f"watch spending, {f'as of {utc(as_of):%Y-%m-%d %H:%M}' if as_of else 'latest calls'}"


@flow(name="watch-spend", flow_run_name=_name_of_run, on_failure=[notify_failure])
def watch_spend(as_of: datetime | None = None, days: int = 7) -> list[dict[str, Any]]:
    """Look at the ledger for unusual spending, failing and slow models and budgets in danger, and tell of each once.

    Args:
        as_of: Look only at calls up to this moment. Empty means the end of the ledger.
        days: Tell of what was unusual within so many days.
    """
    told = look_and_tell(as_of, days)
    words = f"{len(told)} unusual things that were not told of before" if told else "nothing new is unusual"
    return ended(words, told)


@task(
    name="look at the ledger",
    task_run_name="look at the ledger",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[2.0, 10.0],
    retry_condition_fn=is_transient,
)
def look_and_tell(as_of: datetime | None, days: int) -> list[dict[str, Any]]:
    """What was not told of before."""
    settings = current_settings()
    try:
        moment = end_of_ledger(settings, utc(as_of) if as_of else None)
    except EmptyData:
        return []  # nobody has called yet
    told = keep(settings, look(settings, moment, days=days))
    table = [{name: row[name] for name in _SHOWN} for row in told]
    create_table_artifact(key="spend-anomalies", table=table, description="What is unusual in the ledger")
    return told
