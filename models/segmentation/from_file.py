"""A list of purchases that somebody brought: who, when, how much."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts.contract import suggestion
from features.dates import read_dates
from features.parsing import as_number, as_text, decimal_mark, distinct, missing_in
from features.reading import read_table
from features.snapshot import read_dataset, write_dataset
from features.views.behaviour_purchases import purchases_frame
from models.segmentation.model import SegmentationModel
from store.dataset import DatasetRef
from store.errors import EmptyData, InvalidValue, MissingColumn, WrongType

FEWEST_CUSTOMERS = 30
USUAL_HORIZON = 90
_EARLIEST = pd.Timestamp("1970-01-01")
_MOST_MISSING = 0.5
# Two coffees on one day are two purchases; every tenth row twice is rather a file written twice.
_MANY_SAME = 0.1


@dataclass(frozen=True)
class Prepared:
    """Purchases that are ready to be trained on.

    Attributes
    ----------
    ref : customers at moments, see `features.views.behaviour_purchases`.
    notes : what the user should know about the file, one sentence each.
    horizon_days : the period that was chosen, or that had been asked for.
    """

    ref: DatasetRef
    notes: tuple[str, ...]
    horizon_days: int
    customers: int


def prepare(
    source: str | Path,
    folder: Path,
    *,
    entity: str,
    time: str,
    amount: str,
    horizon_days: int | None = None,
    moments: int = 6,
) -> Prepared:
    """Read purchases, say what is odd about them, and write customers at moments as a data set below `folder`.

    Parameters
    ----------
    source : a CSV or Parquet file, or a database URL with `::table`.
    horizon_days : None for 90, or a third of the history where that is less.

    Raises
    ------
    FileUnreadable, EmptyData, MissingColumn, WrongType, InvalidValue : each says what is wrong and what to do.
    """
    purchases, notes = read_purchases(source, entity=entity, time=time, amount=amount)
    customers = purchases["entity"].nunique()
    if customers < FEWEST_CUSTOMERS:
        raise InvalidValue(
            f"The file holds purchases of {customers} customer{'s' if customers != 1 else ''}; segments need at least "
            f"{FEWEST_CUSTOMERS}.",
            remedy=f"Bring more customers, or check that --entity {entity} names the customer.",
            field=entity,
            value=customers,
        )
    span = int((purchases["date"].max().normalize() - purchases["date"].min().normalize()).days)
    if span < 2:
        raise InvalidValue(
            f"All purchases lie within {span + 1} day{'s' if span else ''}: what customers do next is not known.",
            remedy=f"Bring a longer history, or check that --time {time} names the date of the purchase.",
            field=time,
        )
    horizon = horizon_days or min(USUAL_HORIZON, max(1, span // 3))
    if horizon_days is None and horizon < USUAL_HORIZON:
        notes.append(f"The history spans {span} days, so periods of {horizon} days are looked at.")
    if 2 * horizon > span + 1:
        raise InvalidValue(
            f"Periods of {horizon} days do not fit twice into a history of {span} days.",
            remedy=f"Choose --horizon-days {max(1, span // 3)} or less, or bring a longer history.",
            field="horizon_days",
            value=horizon,
        )
    frame = purchases_frame(purchases, horizon_days=horizon, moments=moments)
    notes += _about_customers(frame, customers)
    ref = write_dataset(
        frame, folder, roles={"entity": "entity", "time": "as_of"}, source=Path(str(source).partition("::")[0]).name
    )
    return Prepared(ref, tuple(notes), horizon, customers)


def read_purchases(source: str | Path, *, entity: str, time: str, amount: str) -> tuple[pd.DataFrame, list[str]]:
    """The purchases as `entity` (text), `date` (naive) and `amount` (float), none missing, and notes about the file.

    Raises
    ------
    DataError : see `prepare`.
    """
    frame = read_table(str(source))
    frame.columns = [str(name).strip() for name in frame.columns]
    roles = {"entity": entity, "time": time, "amount": amount}
    for role, column in roles.items():
        if column not in frame.columns:
            names = [str(name) for name in frame.columns]
            raise MissingColumn(
                f"There is no column {column!r} (--{role}).", remedy=suggestion(column, names), field=column
            )
        if list(frame.columns).count(column) > 1:
            raise InvalidValue(f"Column {column!r} occurs twice.", remedy="Rename one of them.", field=column)
    if len(set(roles.values())) < len(roles):
        raise InvalidValue(f"One column has two roles: {roles}.", remedy="Give each role a column of its own.")
    frame = frame[list(roles.values())]
    notes: list[str] = []
    missing = pd.DataFrame({role: missing_in(frame[column]) for role, column in roles.items()})
    frame = _without(frame, missing, roles, notes)
    made = pd.DataFrame(
        {
            "entity": _texts(frame[entity]),
            "date": read_dates(frame[time], time, notes),
            "amount": _amounts(frame[amount], amount),
        }
    )
    return _within_time(made.reset_index(drop=True), time, notes), notes


def score_present(model: SegmentationModel, ref: DatasetRef, entity: str) -> pd.DataFrame:
    """Segment, expected purchases, probability of being a customer, and value of everybody at the end of the data.

    Returns
    -------
    DataFrame ordered by value, the highest first: the entity under its own name, segment (int), name,
    expected_purchases, p_alive, value.
    """
    frame = read_dataset(ref)
    present = frame[frame["as_of"] == frame["as_of"].max()].reset_index(drop=True)
    scores = model.score(present)
    out = pd.DataFrame(
        {
            entity: present["entity"],
            "segment": scores["label"].astype(int),
            "name": scores["name"],
            "expected_purchases": scores["expected_purchases"].round(4),
            "p_alive": scores["p_alive"].round(4),
            "value": scores["value"].round(2),
        }
    )
    return out.sort_values(["value", entity], ascending=[False, True], kind="stable", ignore_index=True)


def _without(frame: pd.DataFrame, missing: pd.DataFrame, roles: dict[str, str], notes: list[str]) -> pd.DataFrame:
    rows = len(frame)
    for role, column in roles.items():
        lost = int(missing[role].sum())
        if lost > _MOST_MISSING * rows:
            raise InvalidValue(
                f"{column} is missing in {lost} of {rows} rows.",
                remedy=f"Check that --{role} {column} is the right column.",
                field=column,
            )
        if lost:
            notes.append(f"Left out, since {column} is missing: {lost} of {_rows(rows)}.")
    kept = frame[~missing.any(axis=1)]
    if kept.empty:
        raise EmptyData("No row has a customer, a date and an amount.", remedy="Check the columns that were named.")
    return kept


def _texts(column: pd.Series) -> pd.Series:
    codes, levels = distinct(column)
    names = np.array([as_text(level) for level in levels], dtype=object)
    return pd.Series(names[codes], index=column.index, dtype="str")


def _amounts(column: pd.Series, name: str) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(np.float64)
    else:
        codes, levels = distinct(column)
        mark = decimal_mark([str(level) for level in levels]) or "."
        parsed = []
        for level in levels:
            try:
                parsed.append(as_number(level, mark))
            except ValueError:
                raise WrongType(
                    f"{name}: {str(level)[:80]!r} is no amount.",
                    remedy="Correct or remove the row, or name another column with --amount.",
                    field=name,
                    value=str(level)[:80],
                ) from None
        values = np.asarray(parsed, dtype=np.float64)[codes]
    if not np.isfinite(values).all():
        bad = column.iloc[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise InvalidValue(f"{name}: {bad} is not finite.", remedy="Correct or remove the row.", field=name)
    return pd.Series(values, index=column.index)


def _within_time(made: pd.DataFrame, name: str, notes: list[str]) -> pd.DataFrame:
    today = pd.Timestamp(datetime.now(UTC).replace(tzinfo=None)) + pd.Timedelta(days=1)
    for what, wrong in (("in the future", made["date"] > today), ("before 1970", made["date"] < _EARLIEST)):
        if wrong.any():
            first = made.loc[wrong, "date"].min()
            if wrong.all():
                raise InvalidValue(
                    f"All dates in {name} lie {what}, for example {first:%Y-%m-%d}.",
                    remedy="Check how dates are written.",
                    field=name,
                )
            notes.append(f"Left out, since {name} lies {what}: {_rows(int(wrong.sum()))} (the first {first:%Y-%m-%d}).")
            made = made[~wrong].reset_index(drop=True)
    returns = int((made["amount"] < 0).sum())
    if returns:
        notes.append(f"A negative amount in {_rows(returns)}: it counts as a return and lowers what was spent.")
    repeated = int(made.assign(day=made["date"].dt.normalize()).duplicated(["entity", "day"]).sum())
    if repeated:
        notes.append(f"The customer had another row of the same day in {_rows(repeated)}: a day is one purchase.")
    same = int(made.duplicated().sum())
    if same > _MANY_SAME * len(made):
        notes.append(
            f"{_rows(same).capitalize()} of {len(made)} repeat another one's customer, date and amount and are added "
            "up: does the file hold them twice?"
        )
    return made


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _about_customers(frame: pd.DataFrame, customers: int) -> list[str]:
    present = frame[frame["as_of"] == frame["as_of"].max()]
    once = int((present["repeats"] == 0).sum())
    notes = []
    if len(present) < customers:
        notes.append(
            f"Left out, since they only gave things back: {customers - len(present)} of {customers} customers."
        )
    if once:
        share = once / len(present)
        notes.append(
            f"{len(present)} customers, {once} of them ({share:.0%}) bought on one day only. They count as alive, "
            "since BG/NBD lets customers stop only after a repeat purchase; their expected purchases tell them apart."
        )
    return notes
