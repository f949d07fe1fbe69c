"""Training for a range of past moments, as a Prefect flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal

from prefect import flow, runtime
from prefect.artifacts import create_table_artifact

from features.snapshot import utc
from flows.artifacts import artifact_key
from flows.churn import churn_spec
from flows.ending import ended
from flows.environment import current_settings
from flows.forecasting import forecasting_spec
from flows.lifecycle import Trained, finished, name_of_run, notify_failure, train_family
from flows.pricing import pricing_spec
from flows.segmentation import segmentation_spec
from models.families import Spec
from store.errors import InvalidValue, UnknownModel
from store.settings import Settings


def _name_of_backfill() -> str:
    given = runtime.flow_run.parameters
    first, last = given.get("start") or "12 weeks ago", given.get("end") or "today"
    return f"{given.get('name') or given['family']} from {first} to {last}"


@flow(name="backfill", flow_run_name=_name_of_backfill, on_failure=[notify_failure])
def backfill(
    family: Literal["churn", "forecasting", "segmentation", "pricing"],
    start: date | None = None,
    end: date | None = None,
    every_days: int = 7,
    name: str | None = None,
    options: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Train as of each date from start to end, oldest first, each only with what was known then.

    Running it again goes on where it was: a date that was trained on the same data with the same options is skipped. A
    model as of an earlier date than the champion's is registered but never replaces it.

    Args:
        family: What to train.
        start: First date (midnight UTC). Empty means twelve weeks before the last.
        end: Last date; included when the steps reach it. Empty means today.
        every_days: Days between two dates.
        name: The registered model to compete for. Empty means the family's own.
        options: Options of the family, such as {"horizon_days": 60}.
    """
    spec = spec_of(current_settings(), family, name, options or {})
    end = end or utc(runtime.flow_run.scheduled_start_time).date()
    start = start or end - timedelta(weeks=12)
    rows = []
    for moment in moments(start, end, every_days):
        rows.append(row_of(train_as_of(spec.family, spec.name, moment, dict(spec.options))))
    create_table_artifact(
        key=artifact_key("backfill", spec.name),
        table=rows,
        description=f"{spec.name} from {start} to {end}, every {every_days} days.",
    )
    return ended(headline(rows), rows)


# Its result is kept, so that a backfill that is retried does not ask for what is done.
@flow(name="train-as-of", flow_run_name=name_of_run, persist_result=True)
def train_as_of(family: str, name: str, as_of: datetime, options: dict[str, Any]) -> Trained:
    """One date of a backfill."""
    # Forecasting shares its threads out among the series of one candidate.
    side_by_side = 1 if family == "forecasting" else current_settings().threads
    trained = train_family(Spec(family, name, options), as_of, once=True, side_by_side=side_by_side)
    return finished(trained)


def spec_of(settings: Settings, family: str, name: str | None, options: dict[str, Any]) -> Spec:
    """What a training flow of this family would train, with other options."""
    makers = {
        "churn": churn_spec,
        "forecasting": forecasting_spec,
        "segmentation": segmentation_spec,
        "pricing": pricing_spec,
    }
    if family not in makers:
        raise UnknownModel(
            f"There is no family {family!r}.", remedy=f"Choose one of {', '.join(makers)}.", field="family"
        )
    return makers[family](settings, name or family, **options)


def moments(start: date, end: date, every_days: int) -> list[datetime]:
    """Midnights from `start` to `end`, oldest first.

    Raises
    ------
    InvalidValue : the range is empty or the step is not positive.
    """
    if every_days < 1:
        raise InvalidValue(
            f"every_days = {every_days}.", remedy="Give at least 1 day.", field="every_days", value=every_days
        )
    if end < start:
        raise InvalidValue(
            f"The range ends on {end}, before it starts on {start}.",
            remedy="Swap start and end.",
            field="end",
            value=end,
        )
    first = datetime(start.year, start.month, start.day)
    return [first + timedelta(days=days) for days in range(0, (end - start).days + 1, every_days)]


def row_of(trained: Trained) -> dict[str, Any]:
    """One date as a row of a table."""
    skipped = trained.verdict == "skip"
    return {
        "as_of": f"{trained.as_of:%Y-%m-%d}",
        "state": "skipped" if skipped else "trained",
        "version": trained.version,
        "verdict": "" if skipped else trained.verdict,
        "reason": trained.reason,
    }


def headline(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows in one sentence."""
    words = {"promote": "promoted", "keep": "not promoted", "conflict": "overtaken", "": "known already"}
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in words}
    parts = [f"{number} {words[verdict]}" for verdict, number in counts.items() if number]
    return f"{len(rows)} dates: {', '.join(parts)}"
