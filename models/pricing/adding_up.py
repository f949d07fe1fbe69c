"""Several rows of one product, place and time, such as receipts, as one."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def place_columns(roles: Mapping[str, str]) -> list[str]:
    """What makes a place: product, and segment and group where there are some."""
    return [roles[role] for role in ("product", "segment", "group") if role in roles]


def added_up(frame: pd.DataFrame, roles: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """One row per place and time, ordered by them, and a sentence where rows were added up.

    Quantities are summed; prices and other numbers are means weighted by quantity; of texts the first stays.
    """
    time = roles.get("time")
    if not time:
        return frame, []
    keys = [*place_columns(roles), time]
    if not frame.duplicated(keys).any():
        return frame, []
    price, quantity = roles["price"], roles["quantity"]
    # Rows that sold nothing count a little, so that their price is not lost where all of them sold nothing.
    weight = frame[quantity] + 1e-9 * max(1.0, float(frame[quantity].mean()))
    grouped = frame.groupby(keys, sort=True, dropna=False)
    sums = weight.groupby([frame[key] for key in keys], sort=True, dropna=False).sum()
    found = pd.DataFrame({quantity: grouped[quantity].sum()})
    for role, name in roles.items():
        if name in keys or name == quantity:
            continue
        if pd.api.types.is_numeric_dtype(frame[name]):
            known = frame[name].notna()
            top = (frame[name].fillna(0.0) * weight).groupby([frame[key] for key in keys], sort=True).sum()
            bottom = weight.where(known, 0.0).groupby([frame[key] for key in keys], sort=True).sum()
            found[name] = top / (sums if role == "price" else bottom.where(bottom > 0))
        else:
            found[name] = grouped[name].first()
    spread = grouped[price].agg(lambda values: values.max() / values.min() - 1)
    differing = int((spread > 0.01).sum())
    notes = [
        f"{len(frame)} rows were added up to {len(found)}, one for each {', '.join(keys)}; in {differing} of them "
        f"{price} differed and its mean was taken."
        + ("" if "group" in roles else " If the rows are different shops or customers, name them with --group.")
    ]
    return found.reset_index()[list(frame.columns)], notes
