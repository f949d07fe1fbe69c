"""Customers to learn from and others, at a later moment, to be judged on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.lifecycle.family import Split
from models.segmentation.behaviour import Behaviour, behaviour_of
from models.segmentation.options import SegmentationOptions
from models.segmentation.training import FEWEST_CUSTOMERS, fold_of
from store.errors import EmptyData, InvalidValue

_BUCKETS = 10_000


def split(frame: pd.DataFrame, options: SegmentationOptions) -> Split:
    """Hold out a share of the customers, the same ones in every training, at the latest moment whose next period is
    known; learn from the others at moments at least one period earlier, knowing nothing later than that moment.

    Where the history has only one such moment, both sides share it and only the customers differ.

    Raises
    ------
    MissingColumn : the frame describes no known kind of customers.
    EmptyData : no moment has a known next period.
    InvalidValue : too few customers.
    """
    behaviour = behaviour_of(frame)
    known = frame[frame[list(behaviour.targets)].notna().all(axis=1)]
    if known.empty:
        raise EmptyData(
            f"The history is shorter than two periods of {options.horizon_days} days: nobody's next period is known.",
            remedy="Bring a longer history, or choose a shorter --horizon-days.",
            field="as_of",
        )
    latest = known["as_of"].max()
    held = fold_of(known[behaviour.entity], "holdout") % _BUCKETS < options.holdout_share * _BUCKETS
    now = (known["as_of"] == latest).to_numpy()
    horizon = pd.Timedelta(days=options.horizon_days)
    before = (known["as_of"] + horizon <= latest).to_numpy()
    holdout = known[held & now].reset_index(drop=True)
    enough = known[~held & before][behaviour.entity].nunique() >= FEWEST_CUSTOMERS
    train = known[~held & (before if enough else now)].reset_index(drop=True)
    customers = train[behaviour.entity].nunique()
    if not len(holdout) or customers < FEWEST_CUSTOMERS:
        raise InvalidValue(
            f"{customers} customers to learn from and {len(holdout)} to judge on are too few: segments need at least "
            f"{FEWEST_CUSTOMERS} customers to learn from.",
            remedy="Bring more customers.",
            field=behaviour.entity,
            value=int(known[behaviour.entity].nunique()),
        )
    rule = (
        f"{len(holdout)} customers (by a hash of their id) are judged on the {options.horizon_days} days after "
        f"{latest:%Y-%m-%d}; {customers} others are learned from "
        + (f"at moments up to {train['as_of'].max():%Y-%m-%d}" if enough else "at the same moment")
    )
    return Split(_censored(train, behaviour, latest), with_slices(holdout, behaviour), rule)


def with_slices(frame: pd.DataFrame, behaviour: Behaviour) -> pd.DataFrame:
    """Columns that divide customers into kinds, where they have to be made."""
    if behaviour.name == "buyers":
        return frame.assign(buyer=np.where(frame["repeats"] > 0, "bought again", "bought once"))
    return frame


def _censored(train: pd.DataFrame, behaviour: Behaviour, moment: pd.Timestamp) -> pd.DataFrame:
    """Nothing of what happened after the moment of the holdout, for subscribers who were followed beyond it."""
    if behaviour.name != "subscribers":
        return train
    limit = ((moment - train["as_of"]).dt.total_seconds() / 86_400).clip(lower=0.0)
    beyond = train["observed_days"] > limit
    return train.assign(
        observed_days=train["observed_days"].where(~beyond, limit),
        left=train["left"].where(~beyond, 0.0),
        followed_days=train["followed_days"].clip(upper=limit),
    )
