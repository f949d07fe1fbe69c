"""A user's own file into the lifecycle, and a new file through a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features.parsing import as_text, as_times
from features.reading import read_table
from features.snapshot import write_dataset
from features.tabular import TableProfile, check_roles, profile, read_target
from models.churn.encoding import missing_columns
from models.churn.model import ChurnModel
from store.dataset import DatasetRef
from store.errors import EmptyData, InvalidValue


@dataclass(frozen=True)
class Prepared:
    """A file that is ready to be trained on.

    Attributes
    ----------
    ref : the data with the target as 0/1, and its roles.
    profile : what was recognised, column by column.
    notes : what the user should know about it, one sentence each.
    positive : the value of the target that means leaving, as the file writes it.
    """

    ref: DatasetRef
    profile: TableProfile
    notes: tuple[str, ...]
    positive: str


def prepare(
    source: str | Path,
    folder: Path,
    *,
    target: str,
    entity: str | None = None,
    positive: str | None = None,
    time: str | None = None,
    keep_suspects: bool = False,
) -> Prepared:
    """Read a table, check its roles and outcome, and write it as a data set below `folder`.

    Every column is kept in the data set; what is learned from is decided at the fit, by the rule that `notes` report.

    Parameters
    ----------
    source : a CSV or Parquet file, or a database URL with `::table`.
    positive : the value of `target` that means leaving; an obvious one is recognised.

    Raises
    ------
    FileUnreadable, EmptyData, MissingColumn, InvalidValue : each says what is wrong and what to do.
    """
    frame = read_table(str(source))
    frame.columns = [str(name).strip() for name in frame.columns]
    roles = {"target": target} | ({"entity": entity} if entity else {}) | ({"time": time} if time else {})
    check_roles(frame, roles)
    outcome = read_target(frame[target], positive)
    notes = [outcome.note] if outcome.note else []
    hits = int(outcome.y.sum())
    notes.append(f"{target} = {outcome.positive} in {hits} of {len(frame)} rows ({hits / len(frame):.1%}).")
    if entity:
        notes += _about_entities(frame[entity], time)
    found = profile(frame, roles, outcome.y, keep_suspects=keep_suspects)
    notes += _about_columns(found, keep_suspects)
    unsupported = {one.name for one in found.dropped if one.reason in {"unsupported", "empty"}}
    clean = frame[[name for name in frame.columns if name not in unsupported]].copy()
    clean[target] = outcome.y
    if time:
        moments = as_times(clean[time])
        # Where nothing can be read the split says which value; dates are kept as dates.
        clean[time] = clean[time].astype(str) if moments.isna().any() else moments
    for name in clean.columns:
        if isinstance(clean[name].dtype, pd.DatetimeTZDtype):
            clean[name] = as_times(clean[name])
        elif clean[name].dtype == object:
            clean[name] = pd.Series([as_text(value) for value in clean[name]], index=clean.index, dtype="str")
    ref = write_dataset(clean, folder, roles=roles, source=Path(str(source)).name)
    return Prepared(ref, found, tuple(notes), outcome.positive)


def score_frame(model: ChurnModel, frame: pd.DataFrame, entity: str | None = None) -> pd.DataFrame:
    """Probability and band for every row of a new table, in its order.

    Parameters
    ----------
    entity : column that names the customers; by default the one that the model was trained with.

    Returns
    -------
    DataFrame with the entity column under its own name (row numbers from 1 as `row` when there is none), `probability`
    (float64) and `band` (low, medium, high).

    Raises
    ------
    MissingColumn : the entity or columns of the model are not there; the message lists all of them.
    WrongType : a value does not fit its column.
    EmptyData : no rows.
    """
    if not len(frame):
        raise EmptyData("The table has no rows.", remedy="Check that the file holds data below its header.")
    frame = frame.rename(columns=lambda name: str(name).strip())
    entity = entity or model.entity
    absent = [name for name in ([entity] if entity else []) + list(model.columns) if name not in frame.columns]
    if absent:
        raise missing_columns(absent)
    probability = model.predict(frame)
    names = frame[entity].to_numpy() if entity else range(1, len(frame) + 1)
    return pd.DataFrame(
        {entity or "row": names, "probability": probability, "band": [model.band(float(p)) for p in probability]}
    )


def ignored_columns(model: ChurnModel, frame: pd.DataFrame, entity: str | None = None) -> list[str]:
    """Columns of a new table that the model does not read."""
    read = {*model.columns, entity or model.entity}
    return [name for name in map(str, frame.columns) if name.strip() not in read]


def _about_entities(entities: pd.Series, time: str | None) -> list[str]:
    lost = int(entities.isna().sum())
    if lost:
        raise InvalidValue(
            f"{entities.name} is missing in {lost} of {len(entities)} rows.",
            remedy="Every row needs the customer that it belongs to.",
            field=str(entities.name),
        )
    different = entities.nunique()
    if different == len(entities):
        return []
    kept = "the split is by time" if time else "rows of one customer stay on one side of the split"
    return [f"{len(entities)} rows belong to {different} different {entities.name}: {kept}."]


def _about_columns(found: TableProfile, keep_suspects: bool) -> list[str]:
    notes = []
    for leak in found.leaks:
        what = "it was kept as you asked" if keep_suspects else "it is not learned from"
        notes.append(f"Suspected leak: {leak.evidence}; {what}.")
    notes += [f"{one.question} It is learned from; remove it if it is not." for one in found.strong]
    by_reason: dict[str, list[str]] = {}
    for one in found.dropped:
        if one.reason != "suspected leak":
            by_reason.setdefault(one.reason, []).append(one.name)
    for reason, names in by_reason.items():
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        notes.append(f"Not learned from ({reason}): {', '.join(names[:10])}{more}.")
    return notes
