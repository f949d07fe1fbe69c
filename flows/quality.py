"""Training of scorers of answers from the feedback that was given, as a Prefect flow."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from prefect import flow, task

from features.snapshot import write_dataset
from features.views.llm_calls import end_of_calls
from flows.environment import current_settings
from flows.lifecycle import Trained, finished, name_of_run, notify_failure, train_family
from flows.stages import within_run
from gateway.account.contents import Contents
from models.families import Spec
from models.quality.judged import ROLES, check_enough, judged_answers
from store.dataset import DatasetRef
from store.llm_feedback import SOURCES
from store.settings import Settings


@flow(name="train-quality", flow_run_name=name_of_run, on_failure=[notify_failure])
def train_quality(
    name: str = "quality",
    as_of: datetime | None = None,
    days: int = 180,
    trees: int = 150,
) -> Trained:
    """Learn from feedback what people think of answers, and promote the scorer if it beats the score from words.

    Args:
        name: The registered scorer to compete for. The gateway follows the champion of "quality".
        as_of: Learn only from what was known at this moment. Empty means the end of the ledger.
        days: Calls of so many days before that are learned from.
        trees: Boosted trees of the candidate that has some.
    """
    spec = quality_spec(current_settings(), name, trees=trees)
    return finished(train_family(spec, as_of, source=lambda moment, folder: judged(moment, folder, days)))


def quality_spec(settings: Settings, name: str = "quality", **options: object) -> Spec:
    """What to train, with the seed from the settings."""
    return Spec("quality", name, {"seed": settings.seed, "threads": settings.threads, **options})


@task(name="judged answers", task_run_name="judged answers", persist_result=True, cache_key_fn=within_run)
def judged(as_of: datetime | None, folder: Path, days: int) -> tuple[DatasetRef, list[str]]:
    """Answers that were judged, as numbers, with persons by number; and where the judgements came from."""
    return dataset(current_settings(), as_of, folder, days=days)


def dataset(settings: Settings, as_of: datetime | None, folder: Path, *, days: int) -> tuple[DatasetRef, list[str]]:
    """Judged answers of the last days, and where the judgements came from.

    Raises
    ------
    EmptyData : the ledger is empty, or nobody has judged anything.
    InvalidValue : there is too little feedback; the message says what is missing.
    """
    moment = as_of if as_of is not None else end_of_calls(settings)
    # Words that are kept encrypted are opened here, and leave as numbers.
    frame = judged_answers(settings, as_of=moment, days=days, read=Contents(settings).read)
    check_enough(frame)
    counts = frame["source"].value_counts()
    told = ", ".join(f"{counts[name]} {name}" for name in SOURCES if name in counts)
    notes = [f"{len(frame)} judged answers of {frame['person'].nunique()} persons: {told}."]
    return write_dataset(frame, folder / "data", as_of=moment, roles=ROLES, source="ledger"), notes
