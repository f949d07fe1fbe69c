"""Training of pricing models, as a Prefect flow."""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from flows.environment import current_settings
from flows.lifecycle import Trained, finished, name_of_run, notify_failure, train_family
from models.families import Spec
from store.settings import Settings


@flow(name="train-pricing", flow_run_name=name_of_run, on_failure=[notify_failure])
def train_pricing(
    name: str = "pricing",
    as_of: datetime | None = None,
    level: float = 0.9,
    holdout_share: float = 0.7,
) -> Trained:
    """Train demand models and price elasticities on the sign-ups in the database; promote them if the gate agrees.

    Args:
        name: The registered model to compete for. Another name keeps a model of its own.
        as_of: Learn only from what was known at this moment. Empty means the end of the data.
        level: Of the intervals of elasticities.
        holdout_share: Share of the latest rows that models are judged on, each part foreseen from all before it.
    """
    settings = current_settings()
    spec = pricing_spec(settings, name, level=level, holdout_share=holdout_share)
    trained = train_family(spec, as_of, side_by_side=settings.threads)
    return finished(trained)


def pricing_spec(settings: Settings, name: str = "pricing", **options: object) -> Spec:
    """What to train; candidates are fitted side by side already, so each takes one thread."""
    return Spec("pricing", name, {"seed": settings.seed, "threads": 1, **options})
