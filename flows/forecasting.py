"""Training of forecasts, as a Prefect flow."""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from flows.environment import current_settings
from flows.lifecycle import Trained, finished, name_of_run, notify_failure, train_family
from models.families import Spec
from store.settings import Settings


@flow(name="train-forecasting", flow_run_name=name_of_run, on_failure=[notify_failure])
def train_forecasting(
    name: str = "forecasting",
    as_of: datetime | None = None,
    horizon: int = 90,
    levels: tuple[float, ...] = (80, 95),
    seconds_per_series: float = 60.0,
    holidays: str | None = None,
    hierarchy: str | None = "/",
    also: tuple[str, ...] = (),
    members: tuple[str, ...] = (),
) -> Trained:
    """Train forecasts of the business series and promote them if the gate agrees.

    Args:
        name: The registered model to compete for. Another name keeps a model of its own.
        as_of: Learn only from what was known at this moment. Empty means the end of the data.
        horizon: Days ahead.
        levels: Levels of the intervals, in percent.
        seconds_per_series: Time budget for one series. Slower models are left out where it does not suffice.
        holidays: Country whose public holidays matter, and perhaps a part of it: DE, DE-BY. Empty for none.
        hierarchy: Character between the parts of a series' name: totals are the sums of their parts. Empty for none.
        also: Models besides the usual ones, such as LSTM and Chronos2 where the extra `deep` is installed.
        members: Only these models, such as AutoETS and GlobalBoosting. Empty for those that suit the series.
    """
    settings = current_settings()
    spec = forecasting_spec(
        settings,
        name,
        horizon=horizon,
        levels=list(levels),
        seconds_per_series=seconds_per_series,
        holidays=holidays or None,
        hierarchy=hierarchy or None,
        also=list(also),
        members=list(members) or None,
    )
    trained = train_family(spec, as_of)
    return finished(trained)


def forecasting_spec(settings: Settings, name: str = "forecasting", **options: object) -> Spec:
    """What to train. Series are worked on in parallel, so candidates need not be.

    Members are kept between runs: the champion, judged after the challenger, needs the same ones at the same origins.
    """
    cache = str(settings.root / "cache" / "forecasting")
    return Spec("forecasting", name, {"threads": settings.threads, "cache": cache, "hierarchy": "/", **options})
