"""Training of routing policies from the gateway's ledger, as a Prefect flow."""

from __future__ import annotations

from datetime import datetime

from prefect import flow

from flows.environment import current_settings
from flows.lifecycle import Trained, finished, name_of_run, notify_failure, train_family
from models.families import Spec
from store.settings import Settings


@flow(name="train-routing", flow_run_name=name_of_run, on_failure=[notify_failure])
def train_routing(
    name: str = "routing",
    as_of: datetime | None = None,
    days: int = 180,
    trees: int = 100,
    embeddings: str = "",
) -> Trained:
    """Learn from the gateway's calls which model answers what how well, and promote the policy if the gate agrees.

    Args:
        name: The registered policy to compete for. The gateway follows the champion of "routing".
        as_of: Learn only from what was known at this moment. Empty means the end of the ledger.
        days: Calls of so many days before that are learned from.
        trees: Boosted trees among the members of the blend; 0 for none.
        embeddings: A folder of Model2Vec, or its name on the hub. Empty means MERIT_EMBEDDINGS_MODEL, or none.
    """
    settings = current_settings()
    embeddings = embeddings or settings.embeddings_model or ""
    spec = routing_spec(settings, name, days=days, trees=trees, embeddings=embeddings)
    trained = train_family(spec, as_of, side_by_side=settings.threads)
    return finished(trained)


def routing_spec(settings: Settings, name: str = "routing", **options: object) -> Spec:
    """What to train, with the seed from the settings."""
    # Candidates share what they learn from, so that they take turns.
    return Spec("routing", name, {"seed": settings.seed, "threads": settings.threads, **options})
