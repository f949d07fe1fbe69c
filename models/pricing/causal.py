"""All elasticities of a panel, each with its interval, and whether it may be acted upon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from models.pricing.absorbed import Codes, Floats
from models.pricing.advice import Elasticity
from models.pricing.elasticities import (
    PRODUCTS_AT_ONCE,
    Column,
    Estimated,
    Setting,
    common_columns,
    cross_columns,
    estimate,
    own_columns,
    setting_of,
)
from models.pricing.identification import FEWEST_ROWS, Evidence, experiment, reason
from models.pricing.options import PricingOptions
from models.pricing.panel import Panel
from models.pricing.pooling import shrunk
from store.errors import TrainingError

MOST_ESTIMATED = 2000
"""Products beyond these, by rows, are not estimated: nobody could read so many, and each says so."""


@dataclass(frozen=True)
class Causal:
    """Everything that is known about the response to prices.

    Attributes
    ----------
    experiments : product or product/segment → what would settle an own elasticity that is not identified.
    """

    elasticities: tuple[Elasticity, ...]
    experiments: dict[str, str]
    method: str
    response: str
    clusters: int


def causal(panel: Panel, options: PricingOptions) -> Causal:
    """Estimate whatever can be estimated; the rest is there with its reason and NaN.

    There is an own elasticity for all products (product None), for each product, and for each segment of a product;
    the competitor's for all and for each; and cross elasticities where all prices are known together.
    """
    setting = setting_of(panel, options)
    variation = _Variation(panel)
    found: list[Elasticity] = []
    spread = 1.0

    def settle(columns: Sequence[Column], level: float = options.level) -> list[Elasticity]:
        nonlocal spread
        estimated = _tolerant(setting, columns)
        if estimated:
            spread = estimated[0].dispersion
        return [_elasticity(setting, variation, one, level) for one in estimated or _nothing(columns)]

    if len(panel.products) > 1:
        found += settle(common_columns(setting))
    worth = _worth_estimating(panel, variation)
    for begin in range(0, len(worth), PRODUCTS_AT_ONCE):
        found += settle(own_columns(setting, worth[begin : begin + PRODUCTS_AT_ONCE]))
    if panel.has_segments:
        found += _by_segment(setting, variation, worth, settle)
    found += variation.hopeless(set(worth), setting, options.level)
    crossed = cross_columns(setting, worth)
    pairs = sum(one.of not in ("own", "competitor") for one in crossed)
    if pairs:
        # Many pairs are looked at: each has to convince as one of many.
        strict = 1 - (1 - options.level) / pairs
        found += [one for one in settle(crossed, strict) if one.of not in ("own", "competitor")]
    experiments = _experiments(setting, found, spread)
    clusters = int(setting.clusters.max()) + 1
    return Causal(tuple(found), experiments, setting.method, setting.response, clusters)


class _Variation:
    """How many rows, prices and units each product, or product in a segment, has."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._by_product = self._table(panel.product_code)
        self._names = {product: at for at, product in enumerate(panel.products)}

    def _table(self, codes: Codes) -> tuple[Floats, Floats, Floats]:
        count = int(codes.max()) + 1
        pairs = np.unique(np.column_stack([codes.astype(np.float64), self._panel.price]), axis=0)
        levels = np.bincount(pairs[:, 0].astype(np.int64), minlength=count).astype(np.float64)
        rows = np.bincount(codes, minlength=count).astype(np.float64)
        return rows, levels, np.bincount(codes, self._panel.quantity, count).astype(np.float64)

    def hopeless(self, estimated: set[str], setting: Setting, level: float) -> list[Elasticity]:
        """Of every product that is not estimated, and of its segments, why not."""
        panel, nan = self._panel, float("nan")
        found = []
        frame = pd.DataFrame({"product": panel.product, "segment": panel.segment, "price": panel.price})
        frame["units"] = panel.quantity
        frame = frame[~frame["product"].isin(estimated)]
        for keys in (["product"], ["product", "segment"])[: 1 + panel.has_segments]:
            grouped = frame.groupby(keys, sort=True)
            table = grouped["price"].agg(["size", "nunique", "first"]).join(grouped["units"].sum())
            for name, row in zip(table.index, table.itertuples(index=False), strict=True):
                product, segment = (str(name), None) if len(keys) == 1 else (str(name[0]), str(name[1]))
                who = product if segment is None else f"{product} in {segment}"
                told = reason(
                    Evidence(
                        who, "the price", int(row[0]), int(row[1]), float(row[2]), float(row[3]), nan, "", nan, nan,
                        nan, level, setting.response,
                    )
                )  # fmt: skip
                if told.startswith("nothing of"):
                    told = (
                        f"{who} is not among the {MOST_ESTIMATED:,} products with most rows, which alone are estimated"
                    )
                found.append(
                    Elasticity(
                        product, segment, "own", nan, nan, nan, nan, level, setting.method, int(row[0]), int(row[1]),
                        identified=False, reason=told,
                    )
                )  # fmt: skip
        return found

    def of_product(self, product: str) -> tuple[int, int, float]:
        """(rows, price levels, units)."""
        at = self._names[product]
        rows, levels, units = (table[at] for table in self._by_product)
        return int(rows), int(levels), float(units)

    def of(self, where: NDArray[np.bool_], values: Floats) -> tuple[int, int, float, float]:
        """(rows, levels, units, the last level) of some rows."""
        seen = np.unique(np.round(values[where], 10))
        units = float(self._panel.quantity[where].sum())
        return (
            int(where.sum()),
            len(seen),
            units,
            float(seen[0]) if len(seen) else 0.0,
        )


def _worth_estimating(panel: Panel, variation: _Variation) -> list[str]:
    rows = {product: variation.of_product(product) for product in panel.products}
    worth = [product for product, (count, levels, _) in rows.items() if count >= FEWEST_ROWS and levels > 1]
    if len(worth) > MOST_ESTIMATED:
        worth = sorted(sorted(worth, key=lambda product: -rows[product][0])[:MOST_ESTIMATED])
    return worth


def _tolerant(setting: Setting, columns: Sequence[Column]) -> list[Estimated]:
    """One regression; where it fails as a whole, nothing."""
    if not columns:
        return []
    try:
        return estimate(setting, columns)
    except TrainingError:
        return []


def _nothing(columns: Sequence[Column]) -> list[Estimated]:
    nan = float("nan")
    return [Estimated(one, nan, nan, 1.0, nan, 1.0) for one in columns]


def _by_segment(
    setting: Setting,
    variation: _Variation,
    products: Sequence[str],
    settle: Callable[[Sequence[Column]], list[Elasticity]],
) -> list[Elasticity]:
    """Each segment's own estimate, shrunk towards its siblings'."""
    found: list[Elasticity] = []
    for begin in range(0, len(products), PRODUCTS_AT_ONCE):
        columns = own_columns(setting, products[begin : begin + PRODUCTS_AT_ONCE], by_segment=True)
        alone = [one for one in settle(columns) if one.of == "own"]
        where = {(one.product, one.segment): one for one in columns if one.of == "own"}
        for product in dict.fromkeys(one.product for one in alone):
            siblings = [one for one in alone if one.product == product]
            usable = [one for one in siblings if np.isfinite(one.value) and 0 < one.standard_error < 20]
            pooled: dict[str | None, Elasticity] = {}
            if len(usable) > 1:
                values = np.asarray([one.value for one in usable])
                # An interval from few clusters is wider than its standard error says.
                errors = np.asarray([(one.high - one.low) / 2 / _normal(one.level) for one in usable])
                means, spreads = shrunk(values, errors)
                for one, mean, deviation in zip(usable, means, spreads, strict=True):
                    half = _normal(one.level) * float(deviation)
                    pooled[one.segment] = _judged(
                        setting,
                        variation,
                        where[product, one.segment],
                        replace(
                            one,
                            value=float(mean),
                            low=float(mean) - half,
                            high=float(mean) + half,
                            standard_error=float(deviation),
                            method="pooled",
                        ),
                        float("nan"),
                    )
            found += [pooled.get(one.segment, one) for one in siblings]
    return found


def _normal(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def _elasticity(setting: Setting, variation: _Variation, found: Estimated, level: float) -> Elasticity:
    column = found.column
    nan = float("nan")
    half = float(student.ppf((1 + level) / 2, found.freedom)) * found.error
    known = bool(np.isfinite(found.value) and np.isfinite(half) and found.error > 0)
    made = Elasticity(
        product=column.product,
        segment=column.segment,
        of=column.of,
        value=found.value if known else nan,
        low=found.value - half if known else nan,
        high=found.value + half if known else nan,
        # What draws are made with: an interval from few clusters is wider than its standard error says.
        standard_error=half / _normal(level) if known else nan,
        level=level,
        method="instruments" if np.isfinite(column.first_stage) else setting.method,
        rows=int(column.where.sum()),
        price_levels=0,
        identified=False,
    )
    return _judged(setting, variation, column, made, found.left)


def _judged(setting: Setting, variation: _Variation, column: Column, made: Elasticity, left: float) -> Elasticity:
    """With price levels, and the reason why it may not be acted upon, or that it may."""
    rows, levels, units, only = variation.of(column.where, np.exp(column.values))
    product = "all products" if column.product is None else str(column.product)
    who = product if column.segment is None else f"{product} in {column.segment}"
    of = {"own": "the price", "competitor": "the competitor's price"}.get(column.of, f"the price of {column.of}")
    told = reason(
        Evidence(
            who=who,
            of=of,
            rows=rows,
            levels=levels,
            only=only,
            units=units,
            left=float("nan") if np.isfinite(column.first_stage) else left,
            explained_by=setting.explained_by,
            value=made.value,
            low=made.low,
            high=made.high,
            level=made.level,
            response=setting.response,
            first_stage=column.first_stage,
            sign=-1 if column.of == "own" else 0,
        )
    )
    return replace(made, rows=rows, price_levels=levels, identified=not told, reason=told)


def _experiments(setting: Setting, elasticities: Sequence[Elasticity], dispersion: float) -> dict[str, str]:
    """What would settle each own elasticity that is not identified."""
    panel = setting.panel
    weeks = max(panel.span_days, float(panel.length.max())) / 7
    frame = pd.DataFrame(
        {"product": panel.product, "segment": panel.segment, "price": panel.price, "units": panel.quantity}
    )
    tables = {
        keys: frame.groupby(list(keys)).agg(price=("price", "median"), units=("units", "sum"), rows=("units", "size"))
        for keys in (("product",), ("product", "segment"))
    }
    records: dict[tuple[str, ...], dict[str, tuple[float, ...]]] = {}
    for keys, table in tables.items():
        names = table.index if len(keys) == 1 else [f"{product}/{segment}" for product, segment in table.index]
        records[keys] = dict(zip(map(str, names), table.itertuples(index=False, name=None), strict=True))
    found = {}
    for one in elasticities:
        if one.of != "own" or one.product is None or one.identified:
            continue
        whole = one.segment is None
        name = one.product if whole else f"{one.product}/{one.segment}"
        price, units, rows = records[("product",) if whole else ("product", "segment")][name]
        by = "by group and week" if (panel.group != "").any() else "by week"
        found[name] = experiment(
            price,
            units / weeks,
            rows / weeks,
            dispersion,
            setting.response,
            one.level,
            where="by segment and week" if panel.has_segments and whole else by,
        )
    return found
