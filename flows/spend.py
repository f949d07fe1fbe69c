"""Training of the forecast of the bill, as a Prefect flow."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from prefect import flow, task

from features.snapshot import write_dataset
from features.views.spend import end_of_ledger, midnight
from flows.environment import current_settings
from flows.lifecycle import Trained, finished, name_of_run, notify_failure, train_family
from flows.stages import within_run
from models.families import Spec
from models.spend import NAME
from models.spend.bill import panel_as_of
from models.spend.outlook import LEARNED, options
from store.dataset import DatasetRef
from store.settings import Settings


@flow(name="train-spend", flow_run_name=name_of_run, on_failure=[notify_failure])
def train_spend(
    name: str = NAME,
    as_of: datetime | None = None,
    horizon: int = 120,
    holdout: int = 14,
    levels: tuple[float, ...] = (80, 95),
    seconds_per_series: float = 60.0,
    holidays: str | None = None,
) -> Trained:
    """Train forecasts of what language models will cost and promote them if the gate agrees.

    Args:
        name: The registered model to compete for. Another name keeps a model of its own.
        as_of: Learn only from calls on days that were over at this moment. Empty means the end of the ledger.
        horizon: Days ahead.
        holdout: Last days that models are judged on.
        levels: Levels of the intervals, in percent.
        seconds_per_series: Time budget for one series. Slower models are left out where it does not suffice.
        holidays: Country whose public holidays matter, and perhaps a part of it: DE, DE-BY. Empty for none.
    """
    spec = spend_spec(
        current_settings(),
        name,
        horizon=horizon,
        holdout=holdout,
        levels=list(levels),
        seconds_per_series=seconds_per_series,
        holidays=holidays or None,
    )
    return finished(train_family(spec, as_of, source=ledger))


def spend_spec(settings: Settings, name: str = NAME, *, horizon: int = 120, **more: object) -> Spec:
    """What to train: the family of forecasts on daily spending."""
    cache = str(settings.root / "cache" / "forecasting")
    chosen = {"members": list(LEARNED), "holdout": 14, **more}
    return Spec("forecasting", name, {"threads": settings.threads, "cache": cache, **options(horizon, **chosen)})


@task(name="ledger", task_run_name="daily spending of the ledger", persist_result=True, cache_key_fn=within_run)
def ledger(as_of: datetime | None, folder: Path) -> tuple[DatasetRef, list[str]]:
    """Daily spending in all, by workspace and by model, up to the last whole day; and which days were set aside."""
    settings = current_settings()
    moment = midnight(end_of_ledger(settings, as_of))
    panel, notes = panel_as_of(settings, moment)
    roles = {"entity": "unique_id", "time": "ds", "target": "y"}
    return write_dataset(panel, folder / "data", as_of=moment, roles=roles, source="ledger"), list(notes)
