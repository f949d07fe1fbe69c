"""From records to logged predictions: the churn model's probabilities with band, decision and an id each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from models.churn.reasons.explanation import explain
from serving.champions import Champion
from store.errors import DataError, MeritError, ServiceUnavailable
from store.predictions import Prediction
from store.tables.base import new_id, utc_now

# What one request may compute on the event loop while others wait.
INLINE_SECONDS = 0.002

Record = Mapping[str, Any]


async def score(
    champion: Champion,
    records: Sequence[Record],
    entities: Sequence[str | None],
    *,
    field: str,
    request_id: str | None,
    caller: str,
    explained: bool = False,
) -> list[Prediction]:
    """Predict every record; the result is ready to be logged and answered.

    Parameters
    ----------
    field : where the records stood in the request: `features`, `rows`, …; part of every error.
    explained : whether to tell the reasons; they cost a hundred times as much as the prediction.

    Raises
    ------
    MissingColumn, WrongType : a record does not fit; the error names the row and the column.
    ServiceUnavailable : the model answered with what is no probability.
    """
    scorer, vitals = champion.scorer, champion.vitals
    assert scorer is not None
    begin = time.perf_counter()
    try:
        # A thread costs more than a prediction does, until there are enough of them.
        if len(records) * scorer.seconds_per_row <= INLINE_SECONDS:
            probabilities = scorer.predict_records(records)
        else:
            probabilities = await asyncio.to_thread(scorer.predict_records, records)
    except DataError as error:
        raise _placed(champion, records, field, error) from None
    except Exception:
        vitals.fail()
        raise
    took = time.perf_counter() - begin
    told = await asyncio.to_thread(reasons, champion, records) if explained else None
    columns, band, threshold = scorer.columns, scorer.band, scorer.threshold
    now = utc_now()
    predictions = []
    for entity, record, probability in zip(entities, records, probabilities.tolist(), strict=True):
        if not 0.0 <= probability <= 1.0:  # nor is NaN
            vitals.fail(invalid=True)
            raise ServiceUnavailable(
                f"{champion.name} version {champion.version} answered with {probability}, which is no probability.",
                remedy=f"Go back with `merit registry rollback {champion.name}`.",
            )
        predictions.append(
            Prediction(
                id=new_id(),
                model=champion.name,
                version=champion.version,
                digest=champion.digest,
                run_id=champion.run_id,
                git_commit=champion.git_commit,
                entity_id=entity,
                # Published features are the model's own columns: nothing to leave out, nothing to copy.
                features=record if len(record) == len(columns) else {name: record[name] for name in columns},
                output={
                    "probability": probability,
                    "band": band(probability),
                    "decision": "offer" if probability >= threshold else "no_offer",
                    "threshold": threshold,
                },
                created_at=now,
                request_id=request_id,
                caller=caller,
            )
        )
    vitals.answer(took, len(records))
    if told is not None:
        predictions = [
            replace(made, output={**made.output, "reasons": one}) for made, one in zip(predictions, told, strict=True)
        ]
    return predictions


def reasons(champion: Champion, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Reasons of records that the champion can predict, one dictionary each; see `models.churn.reasons`."""
    model = champion.model
    frame = pd.DataFrame([{name: record[name] for name in model.columns} for record in records], dtype=object)
    return [one.to_dict() for one in explain(model, frame)]


def _placed(champion: Champion, records: Sequence[Record], field: str, error: MeritError) -> MeritError:
    """The same error, saying in which part of the request it arose."""
    place = field
    if len(records) > 1:
        for index, record in enumerate(records):
            try:
                champion.model.predict_records([record])
            except DataError as found:
                error, place = found, f"{field}[{index}]"
                break
    message = error.message if place == field else f"{place}: {error.message}"
    column = f"{place}.{error.field}" if error.field else place
    return type(error)(message, remedy=error.remedy, field=column, value=error.value)
