"""From training rows to a fitted division: scale, number of segments, partition, outlook, words, value."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.segmentation.behaviour import Behaviour
from models.segmentation.choice import RULE, choose, try_numbers
from models.segmentation.fitting import Method, fit_partition, fit_scores, fit_whole
from models.segmentation.identity import numbered
from models.segmentation.model import Segment, SegmentationModel
from models.segmentation.naming import Wording, describe
from models.segmentation.options import SegmentationOptions
from models.segmentation.outlook import Outlook, fit_outlook, loss_rows, next_behaviour
from models.segmentation.partition import Partition, assign, centres_of
from models.segmentation.scaling import Floats, Scaler, fit_scaler
from models.segmentation.value.terms import Terms
from models.segmentation.value.valuing import ValueModel, fit_value, value_columns
from store.errors import InvalidValue

FEWEST_CUSTOMERS = 15
FOLDS = 3
EXAMPLES = 5


@dataclass(frozen=True)
class TrainingRows:
    """Training rows, read.

    Attributes
    ----------
    frame : customers at moments; latest : each customer at their last moment.
    y : next behaviour of `frame`, shape (rows, targets).
    """

    behaviour: Behaviour
    frame: pd.DataFrame
    latest: pd.DataFrame
    y: Floats


def read_rows(train: pd.DataFrame, behaviour: Behaviour) -> TrainingRows:
    """Training rows, ordered, each customer's last one apart.

    Raises
    ------
    InvalidValue : fewer than 20 customers.
    MissingColumn : what comes next is not in the rows.
    """
    ordered = train.sort_values(["as_of", behaviour.entity], kind="stable", ignore_index=True)
    latest = ordered.drop_duplicates(behaviour.entity, keep="last").reset_index(drop=True)
    if len(latest) < FEWEST_CUSTOMERS:
        raise InvalidValue(
            f"{len(latest)} customers are left to learn from, at least {FEWEST_CUSTOMERS} are needed.",
            remedy="Bring more customers: segments of a few people say nothing about the next one.",
            field=behaviour.entity,
            value=len(latest),
        )
    return TrainingRows(behaviour, ordered, latest, next_behaviour(ordered, behaviour.targets))


def fit_whole_model(rows: TrainingRows, options: SegmentationOptions) -> SegmentationModel:
    """Everybody in one segment: what a division must beat."""
    scaler = fit_scaler(rows.latest, rows.behaviour)
    return _model("one_segment", rows, options, scaler, fit_whole(scaler.matrix(rows.latest)), {})


def fit_scores_model(rows: TrainingRows, options: SegmentationOptions) -> SegmentationModel:
    """Quintiles of recency, frequency and money: the division of the textbooks."""
    scaler = fit_scaler(rows.latest, rows.behaviour)
    partition = fit_scores(scaler.matrix(rows.latest), scaler, rows.behaviour)
    return _model("rfm_quintiles", rows, options, scaler, partition, {})


def fit_clusters(method: Method, rows: TrainingRows, options: SegmentationOptions) -> SegmentationModel:
    """K-Means or a Gaussian mixture, with the number of segments by the rule unless it was given.

    One row per customer, the latest, makes the segments: a customer seen eight times is still one customer.
    """
    scaler = fit_scaler(rows.latest, rows.behaviour)
    z = scaler.matrix(rows.latest)
    most = max(2, min(options.most_k, len(z) // 5))
    numbers = [options.k] if options.k else list(range(2, most + 1))
    tried = try_numbers(method, z, numbers, options.seed, options.bootstraps)
    count = options.k or choose(tried)
    partition = fit_partition(method, z, count, options.seed)
    choice = {
        "k": count,
        "rule": RULE if options.k is None else "The number was given.",
        "tried": [one.to_dict() for one in tried],
    }
    return _model(method, rows, options, scaler, partition, choice)


def refit_value(model: SegmentationModel, frame: pd.DataFrame, options: SegmentationOptions) -> tuple[ValueModel, str]:
    """The value model fitted to everybody up to the end of the data, and that moment."""
    terms = terms_of(options)
    return fit_value(model.behaviour, frame, terms, options.seed), str(frame["as_of"].max())


def terms_of(options: SegmentationOptions) -> Terms:
    return Terms(options.horizon_days, options.value_days, options.discount, options.margin)


def segments_of(
    behaviour: Behaviour,
    scaler: Scaler,
    partition: Partition,
    frame: pd.DataFrame,
    value: ValueModel | None,
    ids: tuple[int, ...],
    wordings: tuple[Wording, ...] | None = None,
) -> tuple[Segment, ...]:
    """Segments in words, with the customers of `frame` in them.

    Parameters
    ----------
    frame : customers, each once.
    wordings : of the segments, where they are known already.
    """
    z = scaler.matrix(frame)
    codes = assign(partition, z)
    centres = centres_of(z, codes, partition.count)
    words = wordings or describe(behaviour, scaler, centres, frame, codes)
    worth = None
    if value is not None:
        columns = {name: frame[name].to_numpy(np.float64, na_value=np.nan) for name in value_columns(behaviour)}
        worth = value.worth(columns).value
    sizes = np.bincount(codes, minlength=partition.count)
    squares = ((z - centres[codes]) ** 2).sum(axis=1)
    made = []
    for place, wording in enumerate(words):
        mine = codes == place
        made.append(
            Segment(
                id=ids[place],
                wording=wording,
                rows=int(sizes[place]),
                share=float(sizes[place] / len(frame)),
                mean_value=None if worth is None or not sizes[place] else round(float(worth[mine].mean()), 6),
                centre=tuple(centres[place].tolist()),
                spread=float(np.sqrt(squares[mine].mean())) if sizes[place] else 0.0,
            )
        )
    return tuple(made)


def worth_order(behaviour: Behaviour, scaler: Scaler, partition: Partition, frame: pd.DataFrame) -> list[int]:
    """Segments from the one whose customers are worth most to the least; empty ones last."""
    codes = assign(partition, scaler.matrix(frame))
    sizes = np.bincount(codes, minlength=partition.count)
    sums = np.bincount(
        codes, weights=frame[behaviour.worth].fillna(0.0).to_numpy(np.float64), minlength=partition.count
    )
    means = np.where(sizes > 0, sums / np.maximum(sizes, 1), -np.inf)
    return [int(place) for place in np.lexsort((np.arange(partition.count), -means))]


def _model(
    candidate: str,
    rows: TrainingRows,
    options: SegmentationOptions,
    scaler: Scaler,
    partition: Partition,
    choice: Mapping[str, Any],
) -> SegmentationModel:
    behaviour = rows.behaviour
    z = scaler.matrix(rows.latest)
    codes = assign(partition, z)
    outlook = _outlook(rows, scaler, partition)
    value = fit_value(behaviour, rows.frame, terms_of(options), options.seed)
    order = worth_order(behaviour, scaler, partition, rows.latest)
    ids, highest = numbered({}, partition.count, (), 0, order)
    tried = {one["k"]: one["agreements"] for one in choice.get("tried", [])}
    facts = {
        "horizon_days": options.horizon_days,
        "choice": dict(choice),
        "stability": list(tried.get(choice.get("k"), [])),
        "rows": len(rows.frame),
        "customers": len(rows.latest),
        "moments": [str(moment) for moment in sorted(rows.frame["as_of"].unique())],
        "flat": list(scaler.flat),
        "settings": {"k": partition.count, "seed": options.seed},
        "sizes_in_training": np.bincount(codes, minlength=partition.count).tolist(),
    }
    model = SegmentationModel(
        candidate=candidate,
        selection=_cross_validated(candidate, rows, options, partition),
        behaviour=behaviour,
        scaler=scaler,
        partition=partition,
        outlook=outlook,
        segments=segments_of(behaviour, scaler, partition, rows.latest, value, ids),
        highest=highest,
        value=value,
        value_as_of=str(rows.frame["as_of"].max()),
        facts=facts,
    )
    return with_example(model, rows.latest)


def with_example(model: SegmentationModel, frame: pd.DataFrame) -> SegmentationModel:
    """The model with a few customers to be asked about after it was loaded."""
    from dataclasses import replace

    few = frame.iloc[np.unique(np.linspace(0, len(frame) - 1, EXAMPLES).round().astype(int))]
    records = few[list(model.columns)].astype("float64").astype(object).where(few[list(model.columns)].notna(), None)
    example = tuple({str(name): value for name, value in record.items()} for record in records.to_dict("records"))
    bare = replace(model, example=example, answers=())
    said = tuple({str(name): value for name, value in row.items()} for row in bare.signature()[1].to_dict("records"))
    return replace(bare, answers=said)


def _outlook(rows: TrainingRows, scaler: Scaler, partition: Partition) -> Outlook:
    codes = assign(partition, scaler.matrix(rows.frame))
    return fit_outlook(codes, rows.y, partition.count, rows.behaviour.targets)


def _cross_validated(candidate: str, rows: TrainingRows, options: SegmentationOptions, chosen: Partition) -> float:
    """Mean loss on customers left out in turn; the number of segments is the one that was chosen."""
    fold = fold_of(rows.frame[rows.behaviour.entity], "fold") % FOLDS
    losses = []
    for place in range(FOLDS):
        inside, outside = rows.frame[fold != place], rows.frame[fold == place]
        if len(outside) == 0 or inside[rows.behaviour.entity].nunique() < 2:
            continue
        latest = inside.drop_duplicates(rows.behaviour.entity, keep="last")
        scaler = fit_scaler(latest, rows.behaviour)
        z = scaler.matrix(latest)
        partition: Partition
        if candidate == "one_segment":
            partition = fit_whole(z)
        elif candidate == "rfm_quintiles":
            partition = fit_scores(z, scaler, rows.behaviour)
        else:
            method: Method = "kmeans" if candidate == "kmeans" else "gaussian_mixture"
            partition = fit_partition(method, z, chosen.count, options.seed)
        y_in, y_out = rows.y[fold != place], rows.y[fold == place]
        outlook = fit_outlook(assign(partition, scaler.matrix(inside)), y_in, partition.count, rows.behaviour.targets)
        predicted = outlook.predict(assign(partition, scaler.matrix(outside)))
        losses.append(loss_rows(predicted, y_out, y_in))
    return float(np.concatenate(losses).mean()) if losses else float("nan")


def fold_of(entities: pd.Series, salt: str) -> NDArray[np.int64]:
    """A number per customer that depends on the id alone: the same in every training, whatever the rows."""
    codes, names = pd.factorize(entities)
    hashes = np.array([zlib.crc32(f"{salt}\x1f{name}".encode()) for name in names], dtype=np.int64)
    return np.asarray(hashes[codes])
