"""Training of churn models, as a Prefect flow."""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from flows.environment import current_settings
from flows.lifecycle import Trained, finished, name_of_run, notify_failure, train_family
from models.families import Spec
from store.settings import Settings


@flow(name="train-churn", flow_run_name=name_of_run, on_failure=[notify_failure])
def train_churn(
    name: str = "churn",
    as_of: datetime | None = None,
    horizon_days: int = 30,
    every_days: int = 30,
    folds: int = 5,
) -> Trained:
    """Train every churn model on the customers in the database and promote the best one if the gate agrees.

    Args:
        name: The registered model to compete for. Another name keeps a model of its own.
        as_of: Learn only from what was known at this moment. Empty means the end of the data.
        horizon_days: A customer who leaves within this many days counts as churned.
        every_days: Distance in days between the moments at which customers are looked at.
        folds: Folds for the predictions that calibration, weights and the choice of a candidate rest on.
    """
    settings = current_settings()
    spec = churn_spec(settings, name, horizon_days=horizon_days, every_days=every_days, folds=folds)
    trained = train_family(spec, as_of, side_by_side=settings.threads)
    return finished(trained)


def churn_spec(settings: Settings, name: str = "churn", **options: object) -> Spec:
    """What to train, with the cost of an offer from the settings."""
    economics = {key: getattr(settings, key) for key in ("offer_cost", "offer_value", "offer_success")}
    # Candidates are fitted side by side already.
    return Spec("churn", name, {"seed": settings.seed, "threads": 1, **economics, **options})
