"""Rows to learn from and rows to be judged on: the latest ones, or whole groups, or rows drawn by their content."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from models.lifecycle.family import Split
from models.pricing.options import PricingOptions
from models.pricing.panel import panel_of
from store.errors import InvalidValue

FEWEST_TRAIN = 30
FEWEST_HOLDOUT = 10
MANY_GROUPS = 10
SMALL_SHARE = 0.3
ENOUGH_TRAIN = 60


def split(frame: pd.DataFrame, roles: Mapping[str, str], options: PricingOptions) -> Split:
    """By time where there are at least four moments; else by groups where there are ten, else by a hash of the row.

    Raises
    ------
    DataError : the roles or values do not fit.
    InvalidValue : one side is left with too little.
    """
    panel = panel_of(frame, roles, options.period_days)
    # Much may be judged where parts of it are learned from in turn; a small file needs its rows to learn from.
    share = min(options.holdout_share, max(SMALL_SHARE, 1 - ENOUGH_TRAIN / len(panel)))
    if panel.day is not None and len(np.unique(panel.day)) >= 4:
        moments, counts = np.unique(panel.day, return_counts=True)
        reached = np.cumsum(counts[::-1])[::-1] <= share * len(panel)
        cut = moments[reached][0] if reached.any() else moments[-1]
        holdout = panel.day >= cut
        name = roles["time"]
        shown = frame.loc[holdout, name].min()
        shown = f"{shown:%Y-%m-%d}" if isinstance(shown, pd.Timestamp) else str(shown)
        rule = f"rows with {name} from {shown} on are the holdout"
    elif len(set(panel.group.tolist())) >= MANY_GROUPS:
        drawn = _hash(pd.Series(panel.group, dtype="str"), options.seed)
        holdout = drawn < min(share, SMALL_SHARE)
        rule = f"whole {roles['group']} are the holdout, drawn by a hash of their name (seed {options.seed})"
    else:
        table = frame[[roles[role] for role in ("product", "price", "quantity")]].astype(str)
        # The same row twice is drawn twice: it counts how often it was seen before.
        text = table.agg("\0".join, axis=1)
        drawn = _hash(text + "\0" + text.groupby(text).cumcount().astype(str), options.seed)
        holdout = drawn < min(share, SMALL_SHARE)
        rule = f"rows drawn by a hash of their content (seed {options.seed}) are the holdout"
    rule += f", {holdout.mean():.0%} of {len(frame)} rows"
    train, held = int((~holdout).sum()), int(holdout.sum())
    if train < FEWEST_TRAIN or held < FEWEST_HOLDOUT:
        raise InvalidValue(
            f"{train} rows are left to learn from and {held} to be judged on ({rule}); at least {FEWEST_TRAIN} and "
            f"{FEWEST_HOLDOUT} are needed.",
            remedy="Bring more rows or a longer period.",
            value=len(frame),
        )
    for side, rows in (("training rows", ~holdout), ("holdout", holdout)):
        if panel.quantity[rows].sum() <= 0:
            raise InvalidValue(
                f"Nothing was sold in any of the {side} ({rule}).",
                remedy="Bring rows with sales, or check which column is the quantity.",
                field=roles["quantity"],
                value=0,
            )
    return Split(frame[~holdout], frame[holdout], rule)


def _hash(values: pd.Series, seed: int) -> np.ndarray:
    """0 to 1 for each value, the same in any order and on any machine."""
    salted = pd.util.hash_pandas_object(values.astype("str") + f"\0{seed}", index=False).to_numpy()
    return np.asarray(salted / 2.0**64, dtype=np.float64)
