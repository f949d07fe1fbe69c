"""What a customer is worth who is about to leave and stays, and how much revenue is so at risk.

With a monthly revenue r, a probability p of leaving within each period of h days and a horizon of M months, a customer
who is kept now stays for k further periods with probability (1 − p)^k, so that

    value if kept = r · (h / 30) · Σ_{k=0}^{K−1} (1 − p)^k,    K = 30·M / h     (the last period counts in part)

and revenue at risk = p · value if kept. The hazard is taken as constant at p: a customer who is hard to keep once is
hard to keep again. Where the length of a period is not known, a kept customer counts for all M months. Nothing is
discounted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.parsing import as_number, decimal_mark
from models.churn.model import ChurnModel
from store.errors import InvalidValue, MissingColumn, WrongType

Floats = NDArray[np.float64]

REVENUE = "monthly_price"
HORIZON_MONTHS = 12.0
DAYS_OF_MONTH = 30.0


@dataclass(frozen=True)
class Worth:
    """Value of every customer if kept, and how it was found.

    Attributes
    ----------
    values : in currency, ≥ 0.
    basis : in one sentence.
    """

    values: Floats
    basis: str


def worth(
    model: ChurnModel,
    frame: pd.DataFrame,
    probability: Floats,
    *,
    revenue: str | None = None,
    value: str | None = None,
    months: float = HORIZON_MONTHS,
) -> Worth:
    """What customers are worth who are kept.

    Parameters
    ----------
    revenue : column with the revenue per month; by default `monthly_price`, where there is one.
    value : column with the value of a kept customer itself; goes before `revenue`.
    months : horizon over which revenue counts.

    Raises
    ------
    MissingColumn : a column that was named is not there.
    WrongType, InvalidValue : it holds no number, is missing or negative somewhere; says where.
    """
    return worth_of(
        frame,
        probability,
        period_days=float(model.facts.get("horizon_days") or 0),
        otherwise=model.offer.value,
        revenue=revenue,
        value=value,
        months=months,
    )


def worth_where_known(
    model: ChurnModel, frame: pd.DataFrame, probability: Floats, months: float = HORIZON_MONTHS
) -> Worth:
    """As `worth` from published features: NaN for a customer whose revenue is not known, so that one hole does not
    keep everybody else from an answer; the basis says how many there are."""
    if REVENUE not in frame.columns:
        return worth(model, frame, probability, months=months)
    monthly = pd.to_numeric(frame[REVENUE], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(monthly) & (monthly >= 0)
    values = np.full(len(frame), np.nan)
    told = worth(model, frame.loc[known].assign(**{REVENUE: monthly[known]}), probability[known], months=months)
    values[known] = told.values
    lost = int((~known).sum())
    return Worth(values, told.basis + (f"; not known of {lost} of {len(frame)} customers" if lost else ""))


def worth_of(
    frame: pd.DataFrame,
    probability: Floats,
    *,
    period_days: float,
    otherwise: float | None,
    revenue: str | None = None,
    value: str | None = None,
    months: float = HORIZON_MONTHS,
) -> Worth:
    """As `worth`, from plain numbers.

    Parameters
    ----------
    period_days : in which the probability holds; 0 where that is not known.
    otherwise : value of a kept customer where no column tells; None when one must.
    """
    if not 0 < months <= 1200:
        raise InvalidValue(f"The horizon of {months:g} months lies outside 1 to 1,200.", field="months", value=months)
    if value is not None:
        return Worth(money(frame, value), f"column {value}")
    name = revenue or (REVENUE if REVENUE in frame.columns else None)
    if name is None:
        if otherwise is None:
            raise InvalidValue(
                "Nothing tells what a customer is worth.",
                remedy="Name the column with the revenue per month (--revenue) or with the value itself (--value).",
                field="revenue",
            )
        return Worth(np.full(len(frame), float(otherwise)), f"{otherwise:g} for every customer (MERIT_OFFER_VALUE)")
    monthly = money(frame, name)
    if period_days <= 0:
        basis = f"{name} × {months:g} months; the period of the probability is not known"
        return Worth(monthly * months, basis)
    basis = f"{name} over {months:g} months, staying each {period_days:g} days with 1 − the probability of leaving"
    return Worth(monthly * _months_kept(probability, period_days, months), basis)


def _months_kept(probability: Floats, period_days: float, months: float) -> Floats:
    """Expected months that a kept customer stays within the horizon."""
    periods = months * DAYS_OF_MONTH / period_days
    whole = int(periods)
    stay = np.clip(1.0 - probability, 0.0, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.where(stay < 1.0, (1.0 - stay**whole) / (1.0 - stay), float(whole))
    total = total + (periods - whole) * stay**whole
    return np.asarray(total * period_days / DAYS_OF_MONTH)


def money(frame: pd.DataFrame, name: str) -> Floats:
    """A column of amounts, none of them missing or negative.

    Raises
    ------
    MissingColumn, WrongType, InvalidValue : naming the column, the row and the value.
    """
    if name not in frame.columns:
        listed = ", ".join(map(str, list(frame.columns)[:20]))
        raise MissingColumn(f"There is no column {name!r}.", remedy=f"Columns: {listed}.", field=name)
    column = frame[name]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        texts = [str(one).strip() for one in column.dropna().unique()]
        mark = decimal_mark(sorted(texts)) or "."
        try:
            values = np.asarray([as_number(one, mark) for one in column], dtype=np.float64)
        except (ValueError, TypeError):
            wrong = next(one for one in column if not _is_number(one, mark))
            raise WrongType(
                f"{name} = {str(wrong)[:60]!r}: expected an amount, found {type(wrong).__name__}.",
                remedy="Give numbers, without a currency.",
                field=name,
                value=str(wrong)[:60],
            ) from None
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        what = "missing or not finite" if not np.isfinite(values[row]) else f"negative ({values[row]:g})"
        raise InvalidValue(
            f"{name} is {what} in row {row + 1}; {int(bad.sum())} of {len(values)} rows are no amount.",
            remedy="Give every customer an amount of 0 or more, or leave these rows out.",
            field=name,
            value=None if not np.isfinite(values[row]) else float(values[row]),
        )
    return values


def _is_number(value: object, mark: str) -> bool:
    try:
        as_number(value, "," if mark == "," else ".")
    except (ValueError, TypeError):
        return False
    return True
