"""Training of segments and lifetime value, as a Prefect flow."""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from flows.environment import current_settings
from flows.lifecycle import Trained, finished, name_of_run, notify_failure, train_family
from models.families import Spec
from store.settings import Settings


@flow(name="train-segmentation", flow_run_name=name_of_run, on_failure=[notify_failure])
def train_segmentation(
    name: str = "segmentation",
    as_of: datetime | None = None,
    horizon_days: int = 90,
    k: int | None = None,
    value_days: int = 1095,
    discount: float = 0.1,
    margin: float = 1.0,
) -> Trained:
    """Divide the customers in the database into segments, work out what each is worth, and promote if the gate agrees.

    Args:
        name: The registered model to compete for. Another name keeps a model of its own.
        as_of: Learn only from what was known at this moment. Empty means the end of the data.
        horizon_days: Segments are judged by what they say about this many days ahead.
        k: Number of segments. Empty means that stability, silhouette and BIC decide.
        value_days: Days ahead that lifetime value adds up.
        discount: Share by which money a year away is worth less.
        margin: Share of the price that counts as value.
    """
    settings = current_settings()
    chosen = {"horizon_days": horizon_days, "k": k, "value_days": value_days, "discount": discount, "margin": margin}
    trained = train_family(segmentation_spec(settings, name, **chosen), as_of, side_by_side=settings.threads)
    return finished(trained)


def segmentation_spec(settings: Settings, name: str = "segmentation", **options: object) -> Spec:
    """What to train, with the seed from the settings."""
    return Spec("segmentation", name, {"seed": settings.seed, "value_days": 1095, **options})
