"""List prices, what a competitor asks, and randomised price experiments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.world.business import HISTORY_DAYS, LIST_PRICE, PLANS, REGIONS, Array, Span

MULTIPLIERS = (0.8, 0.9, 1.0, 1.1, 1.25)
EXPERIMENT_EVERY = 75
EXPERIMENT_DAYS = 45
RISE_MONTHS = (3, 10)
"""List prices are reviewed on the first of these months; customers on monthly contracts feel it at once."""


@dataclass(frozen=True)
class PriceBook:
    """Prices of every day from `HISTORY_DAYS` before the span to its end; index day + HISTORY_DAYS.

    Attributes
    ----------
    listed : (plans, regions, days) EUR per month, without experiments: what renewals pay.
    shelf : the same with experiments: what a new customer pays.
    competitor : the competitor's price of the comparable plan.
    experiment : (plans, regions, days) index into `names`, or −1.
    names : names of the experiments.
    reviews : days (offsets, may be negative) on which list prices changed.
    """

    listed: Array
    shelf: Array
    competitor: Array
    experiment: Array
    names: tuple[str, ...]
    reviews: Array


def price_book(span: Span, rng: np.random.Generator) -> PriceBook:
    """Draw the price history: two reviews a year, competitor moves every quarter, an experiment every 75 days.

    In an experiment each plan and region gets one of `MULTIPLIERS` at random, so that price is independent of
    everything else that drives sign-ups.
    """
    cells = (len(PLANS), len(REGIONS))
    days = np.arange(-HISTORY_DAYS, span.days)
    dates = span.dates(days)
    month = dates.astype("datetime64[M]")
    first = dates == month.astype("datetime64[D]")
    reviews = days[first & np.isin(month.astype(np.int64) % 12 + 1, RISE_MONTHS)]

    log_list = np.zeros((*cells, len(days)))
    for review in reviews:
        rise = np.clip(rng.normal(0.035, 0.025, cells), 0.0, 0.10)
        log_list[:, :, review + HISTORY_DAYS :] += rise[:, :, None]
    listed = np.round(LIST_PRICE[:, None, None] * np.exp(log_list), 2)

    gap = rng.normal(0.0, 0.08, cells)
    log_gap = np.empty_like(log_list)
    for begin in range(0, len(days), 91):
        gap = 0.8 * gap + rng.normal(0.0, 0.06, cells)
        log_gap[:, :, begin : begin + 91] = gap[:, :, None]
    # The competitor follows our price reviews late: half a year behind.
    lagged = np.concatenate([np.repeat(log_list[:, :, :1], 182, axis=2), log_list[:, :, :-182]], axis=2)
    competitor = np.round(LIST_PRICE[:, None, None] * np.exp(lagged + log_gap), 2)

    experiment = np.full(listed.shape, -1)
    factor = np.ones_like(listed)
    names: list[str] = []
    for begin in range(20, span.days - EXPERIMENT_DAYS, EXPERIMENT_EVERY):
        window = slice(begin + HISTORY_DAYS, begin + EXPERIMENT_DAYS + HISTORY_DAYS)
        dealt = np.resize(np.array(MULTIPLIERS), cells[0] * cells[1])
        factor[:, :, window] = rng.permutation(dealt).reshape(cells)[:, :, None]
        experiment[:, :, window] = len(names)
        names.append(f"price-test-{span.dates(np.array([begin]))[0]}")
    shelf = np.round(listed * factor, 2)
    return PriceBook(listed, shelf, competitor, experiment, tuple(names), reviews)


def price_changes(book: PriceBook) -> pd.DataFrame:
    """One row per plan, region and day on which anything about the price changed.

    Returns
    -------
    DataFrame with plan, region, valid_from (day offset), price, competitor_price, experiment.
    """
    rows = []
    for p, plan in enumerate(PLANS):
        for r, region in enumerate(REGIONS):
            state = np.stack([book.shelf[p, r], book.competitor[p, r], book.experiment[p, r]])
            at = np.flatnonzero(np.r_[True, (state[:, 1:] != state[:, :-1]).any(axis=0)])
            named = [book.names[e] if e >= 0 else None for e in book.experiment[p, r, at]]
            rows.append(
                pd.DataFrame(
                    {
                        "plan": plan,
                        "region": region,
                        "valid_from": at - HISTORY_DAYS,
                        "price": book.shelf[p, r, at],
                        "competitor_price": book.competitor[p, r, at],
                        "experiment": pd.Series(named, dtype=object),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def experiment_cells(book: PriceBook, span: Span) -> pd.DataFrame:
    """What each experiment did where, for the truth.

    Returns
    -------
    DataFrame with experiment, plan, region, first_day, last_day, multiplier.
    """
    rows = []
    for e, name in enumerate(book.names):
        for p, plan in enumerate(PLANS):
            for r, region in enumerate(REGIONS):
                at = np.flatnonzero(book.experiment[p, r] == e)
                ratio = book.shelf[p, r, at[0]] / book.listed[p, r, at[0]]
                first, last = span.dates(at[[0, -1]] - HISTORY_DAYS)
                rows.append((name, plan, region, first, last, round(float(ratio), 2)))
    columns = ["experiment", "plan", "region", "first_day", "last_day", "multiplier"]
    return pd.DataFrame(rows, columns=columns)
