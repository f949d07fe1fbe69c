"""Elasticities: own by product and by segment, the competitor's, and across products.

log q (or q itself, as a count) responds to log prices beside effects of panel unit and period, absorbed exactly, and
whatever controls and calendar tell, learned out of fold (`crossfit`). The estimate is the partially linear model's
orthogonal one (`absorbed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.pricing.absorbed import Codes, Effects, Estimates, Floats, Response, fit
from models.pricing.crossfit import MANY_GROUPS, covariates, folds_of, predicted, stretch_of
from models.pricing.options import PricingOptions
from models.pricing.panel import Panel
from store.errors import TrainingError

PRODUCTS_AT_ONCE = 40
MOST_CROSSED = 8
STRETCHES = 13
FEWEST_DAYS = 28.0
SECOND_THOUGHTS = 3
USUAL = (-8.0, 2.0)
"""A preliminary elasticity outside is noise; the offset is made with the nearer end."""


@dataclass(frozen=True)
class Column:
    """One coefficient.

    Attributes
    ----------
    product, segment : where it applies; None for everywhere.
    of : "own", "competitor", another product, or "nuisance".
    values : log price where it applies, 0 elsewhere.
    excess : what is left of it out of fold, or what the instruments say of it; 0 elsewhere.
    where : rows it applies to.
    first_stage : F of its instruments; NaN without any.
    """

    product: str | None
    segment: str | None
    of: str
    values: Floats
    excess: Floats
    where: NDArray[np.bool_]
    first_stage: float = float("nan")


@dataclass(frozen=True)
class Estimated:
    """A column's coefficient."""

    column: Column
    value: float
    error: float
    freedom: float
    left: float
    dispersion: float


@dataclass(frozen=True)
class Setting:
    """What all regressions on one panel share.

    Attributes
    ----------
    y : logarithm of the quantity per day, or the quantity.
    base : log exposure of counts, 0 for logarithms.
    learned : g(X), out of fold; 0 where there is nothing to learn from.
    logs : "own" and "competitor" → log price.
    excess : the same less its out-of-fold prediction.
    """

    panel: Panel
    response: Response
    y: Floats
    base: Floats
    learned: Floats
    logs: Mapping[str, Floats]
    excess: Mapping[str, Floats]
    instruments: Floats
    effects: Effects
    clusters: Codes
    nested: bool
    method: str
    explained_by: str


def response_of(panel: Panel) -> Response:
    """Logarithms where everything was sold in every row, counts where some rows are zero."""
    return "log" if bool((panel.quantity > 0).all()) else "count"


def setting_of(panel: Panel, options: PricingOptions) -> Setting:
    """Effects, clusters, and what is learned out of fold."""
    response = response_of(panel)
    length = np.log(panel.length)
    y = np.log(panel.quantity) - length if response == "log" else panel.quantity
    base = np.zeros(len(y)) if response == "log" else length
    logs = {"own": np.log(panel.price)}
    if (rival := _competitor(panel)) is not None:
        logs["competitor"] = rival
    effects = Effects(_cells(panel), _periods(panel, response))
    clusters, nested = _clusters(panel, effects.cell)
    plain = Setting(
        panel, response, y, base, np.zeros(len(y)), logs, logs, panel.instruments, effects, clusters, nested,
        "fixed_effects", "the panel's unit and period",
    )  # fmt: skip
    X = covariates(panel)
    if X is None:
        return plain
    fold = folds_of(panel, options.folds, options.seed)
    roughly = _slopes(plain)
    seed, threads = options.seed, options.threads

    def learn(roughly: Floats) -> Floats:
        return predicted(X, y, fold, response, base=base + roughly, seed=seed, threads=threads)

    learned = learn(roughly)
    weights = np.exp(np.clip(learned + base + roughly, -40.0, 40.0)) if response == "count" else None

    def left_of(values: Floats) -> Floats:
        return values - predicted(X, values, fold, "log", weights=weights, seed=seed, threads=threads)

    excess = {name: left_of(values) for name, values in logs.items()}
    instruments = panel.instruments
    if instruments.shape[1]:
        instruments = np.column_stack([left_of(one) for one in instruments.T])
    named = [name for name in X.names if name != "product"]
    setting = replace(
        plain,
        learned=learned,
        excess=excess,
        instruments=instruments,
        method="double_ml",
        explained_by=f"{', '.join(named)} and the panel's unit and period",
    )
    # g(X) was learned beside a rough idea of what prices do; with a better one it is learned better.
    for _ in range(SECOND_THOUGHTS):
        better = _slopes(setting)
        if np.sqrt(np.mean((better - roughly) ** 2)) < 0.02:
            break
        roughly = better
        setting = replace(setting, learned=learn(roughly))
    return setting


def estimate(setting: Setting, columns: Sequence[Column]) -> list[Estimated]:
    """All coefficients of some columns in one regression, besides trends where no period effects could be told."""
    whole = [*columns, *_trends(setting, columns)]
    rows = np.any([one.where for one in columns], axis=0)
    if setting.panel.instruments.shape[1]:
        whole = [_instrumented(setting, one, rows) if one.of == "own" else one for one in whole]
    found = _regress(setting, whole, rows)
    return [
        Estimated(one, float(found.beta[at]), float(np.sqrt(found.covariance[at, at])), float(found.freedom[at]),
                  float(found.left[at]), found.dispersion)
        for at, one in enumerate(whole[: len(columns)])
    ]  # fmt: skip


def own_columns(setting: Setting, products: Sequence[str], *, by_segment: bool = False) -> list[Column]:
    """Own price of each product, or of each product in each segment, and the competitor's of each product."""
    panel = setting.panel
    found = []
    for product in products:
        of_product = panel.product == product
        if by_segment:
            for segment in sorted(set(panel.segment[of_product].tolist())):
                found.append(_column(setting, product, segment, "own", of_product & (panel.segment == segment)))
        else:
            found.append(_column(setting, product, None, "own", of_product))
        if "competitor" in setting.logs:
            found.append(_column(setting, product, None, "competitor", of_product))
    return found


def common_columns(setting: Setting) -> list[Column]:
    """One own and one competitor's elasticity for all products."""
    everywhere = np.ones(len(setting.y), dtype=bool)
    return [_column(setting, None, None, name, everywhere) for name in setting.logs]


def cross_columns(setting: Setting, products: Sequence[str]) -> list[Column]:
    """The prices of the other products at the same place and time, for each product; only rows that know all of them.

    Empty where there are too many products, no time, or too few rows that know all prices.
    """
    panel = setting.panel
    if not 2 <= len(products) <= MOST_CROSSED or panel.day is None:
        return []
    place = np.unique(
        np.char.add(np.char.add(panel.segment.astype(str), "\0"), panel.group.astype(str)), return_inverse=True
    )[1]
    moment = np.unique(panel.day, return_inverse=True)[1]
    key = place * (int(moment.max()) + 1) + moment
    size = int(key.max()) + 1
    known = {}
    for product in products:
        rows = panel.product == product
        seen = np.bincount(key[rows], minlength=size)
        with np.errstate(invalid="ignore", divide="ignore"):
            known[product] = tuple(
                (np.bincount(key[rows], values[rows], size) / seen)[key]
                for values in (setting.logs["own"], setting.excess["own"])
            )
    complete = np.all([np.isfinite(values) for values, _ in known.values()], axis=0)
    if complete.sum() < 0.5 * len(complete):
        return []
    found = []
    for product in products:
        where = (panel.product == product) & complete
        found.append(_column(setting, product, None, "own", where))
        if "competitor" in setting.logs:
            found.append(_column(setting, product, None, "competitor", where))
        for other in products:
            if other != product:
                values, excess = known[other]
                found.append(
                    Column(product, None, other, np.where(where, values, 0.0), np.where(where, excess, 0.0), where)
                )
    return found


def _column(setting: Setting, product: str | None, segment: str | None, of: str, where: NDArray[np.bool_]) -> Column:
    values = np.where(where, setting.logs[of], 0.0)
    return Column(product, segment, of, values, np.where(where, setting.excess[of], 0.0), where)


def _regress(setting: Setting, columns: Sequence[Column], rows: NDArray[np.bool_]) -> Estimates:
    effects = Effects(
        np.unique(setting.effects.cell[rows], return_inverse=True)[1].astype(np.int64),
        np.unique(setting.effects.period[rows], return_inverse=True)[1].astype(np.int64),
    )
    return fit(
        setting.y[rows],
        np.column_stack([one.values[rows] for one in columns]),
        effects,
        setting.clusters[rows],
        setting.response,
        instruments=np.column_stack([one.excess[rows] for one in columns]),
        offset=(setting.base + setting.learned)[rows],
        nested=setting.nested,
    )


def _instrumented(setting: Setting, column: Column, rows: NDArray[np.bool_]) -> Column:
    """Replace what is left of a price by what the instruments say of it, and note how much that is."""
    where = column.where & rows
    effects = Effects(
        np.unique(setting.effects.cell[where], return_inverse=True)[1].astype(np.int64),
        np.unique(setting.effects.period[where], return_inverse=True)[1].astype(np.int64),
    )
    Z = setting.instruments[where]
    first = fit(column.values[where], Z, effects, setting.clusters[where], "log", nested=setting.nested)
    told = np.isfinite(first.beta)
    if not told.any():
        return replace(column, first_stage=0.0)
    beta, covariance = first.beta[told], first.covariance[np.ix_(told, told)]
    strength = float(beta @ np.linalg.pinv(covariance) @ beta) / int(told.sum())
    excess = np.zeros(len(column.values))
    excess[where] = Z[:, told] @ beta
    return replace(column, excess=excess, first_stage=strength)


def _trends(setting: Setting, columns: Sequence[Column]) -> list[Column]:
    """A trend, and seasons where two years are known, for each product, where one series leaves no period effects."""
    panel = setting.panel
    if panel.day is None or int(setting.effects.period.max()) > 0 or panel.span_days <= 3 * panel.length.max():
        return []
    scaled = (panel.day - panel.day.mean()) / max(panel.span_days, 1.0)
    shapes = [scaled]
    if panel.dated and panel.span_days > 550:
        turn = 2 * np.pi * panel.day / 365.25
        shapes += [np.sin(turn), np.cos(turn)]
    places = {one.product: np.zeros(len(scaled), dtype=bool) for one in columns}
    for one in columns:
        places[one.product] |= one.where
    return [
        Column(product, None, "nuisance", np.where(where, shape, 0.0), np.where(where, shape, 0.0), where)
        for product, where in places.items()
        for shape in shapes
    ]


def _slopes(setting: Setting) -> Floats:
    """Roughly what prices do to each row, the same for all products: the offset under which g(X) is learned."""
    try:
        found = estimate(setting, common_columns(setting))
    except TrainingError:
        return np.zeros(len(setting.y))
    slopes = np.clip(np.nan_to_num([one.value for one in found]), *USUAL)
    return np.asarray(np.column_stack([one.column.values for one in found]) @ slopes, dtype=np.float64)


def _competitor(panel: Panel) -> Floats | None:
    """Log of the competitor's price; where it is unknown, its mean in the same product and segment. None where more
    than a fifth is unknown."""
    if panel.competitor is None:
        return None
    logs = np.log(np.where(panel.competitor > 0, panel.competitor, np.nan))
    lost = np.isnan(logs)
    if lost.mean() > 0.2 or np.ptp(logs[~lost]) == 0:
        return None
    if lost.any():
        codes = panel.market_code
        count = np.bincount(codes[~lost], minlength=int(codes.max()) + 1)
        sums = np.bincount(codes[~lost], logs[~lost], int(codes.max()) + 1)
        usual = np.where(count > 0, sums / np.maximum(count, 1), logs[~lost].mean())
        logs = np.where(lost, usual[codes], logs)
    return logs


def _cells(panel: Panel) -> Codes:
    """Panel units, as fine as rows allow: an effect for every row would leave nothing to learn from."""
    for codes in (panel.place, panel.market_code):
        if len(codes) / (int(codes.max()) + 1) >= 3:
            return codes
    return panel.product_code


def _periods(panel: Panel, response: Response) -> Codes:
    """Period effects, as fine as the data carry; one period for all where there is no time or only one series."""
    none = np.zeros(len(panel), dtype=np.int64)
    if panel.day is None:
        return none
    for width in (None, 7.0, 28.0, 91.0):
        moments = panel.day if width is None else np.floor(panel.day / width)
        codes = np.unique(moments, return_inverse=True)[1].astype(np.int64)
        count = int(codes.max()) + 1
        cells = len(np.unique(panel.place * count + codes)) / count
        enough = panel.quantity.sum() / count >= 5 if response == "count" else True
        # Two units of a panel at least: with one, a period's effect is the period.
        if cells >= 2 and len(codes) / count >= 3 and enough:
            return codes
    return none


def _clusters(panel: Panel, cells: Codes) -> tuple[Codes, bool]:
    """Groups where there are many; else stretches of time within each cell; else each row by itself."""
    groups = np.unique(panel.group.astype(str), return_inverse=True)[1].astype(np.int64)
    if int(groups.max()) + 1 >= MANY_GROUPS:
        return groups, True
    if panel.day is not None and panel.span_days > panel.length.max():
        stretches = max(2, min(STRETCHES, int(panel.span_days // FEWEST_DAYS)))
        return cells * stretches + stretch_of(panel.day, stretches), False
    return np.arange(len(panel), dtype=np.int64), False
