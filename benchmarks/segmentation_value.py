"""Segments and lifetime value against published figures, and against the truth of the demo world.

python -m benchmarks.segmentation_value
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from features.views.behaviour import behaviour_frame
from features.views.behaviour_purchases import purchases_frame
from features.world import build
from models.lifecycle.statistics import pair, paired_bootstrap
from models.segmentation.family import SegmentationFamily, SegmentationOptions
from models.segmentation.value.bgnbd import NAMES, fit_bgnbd
from models.segmentation.value.gamma_gamma import fit_gamma_gamma
from models.segmentation.value.subscriptions import COLUMNS, SubscriptionValue
from store.dataset import SnapshotRef


def cdnow(name: str) -> Path:
    """A data file of the package `lifetimes`, read without importing it."""
    spec = find_spec("lifetimes")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / name


def show(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(item) for item in row) + " |")
    print(flush=True)


def purchases_of_cdnow() -> None:
    table = pd.read_csv(cdnow("cdnow_customers_summary_with_transactions.csv"))
    x, last, age, mean = (table[name].to_numpy(float) for name in ("x", "t_x", "T", "zbar"))
    start = time.process_time()
    fit = fit_bgnbd(x, last, age)
    took = time.process_time() - start
    spend = fit_gamma_gamma(x, mean)
    published = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426, "p": 6.25, "q": 3.74, "gamma": 15.44}
    found = {**{name: fit.parameters[name] for name in NAMES}, **spend.parameters}
    rows = [
        (name, published[name], f"{one.value:.4f}", f"[{one.low:.3f}, {one.high:.3f}]") for name, one in found.items()
    ]
    rows.append(("log-likelihood", -9582.4, f"{fit.log_likelihood:.2f}", f"{took:.2f} s"))
    print("**CDNOW, 2,357 customers, 39 weeks**\n")
    show(("parameter", "published", "found", "95 % interval"), rows)
    log = pd.read_csv(
        cdnow("CDNOW_sample.txt"), sep=r"\s+", names=["m", "entity", "date", "n", "amount"], dtype={"entity": str}
    )
    log["date"] = pd.to_datetime(log["date"].astype(str), format="%Y%m%d")
    after = log[log["date"] > "1997-09-30"]
    expected = fit.expected_purchases(x, last, age, 39.0)
    rows = []
    for label, counted in (("transactions", after), ("days", after.drop_duplicates(["entity", "date"]))):
        actual = counted.groupby("entity").size().reindex(sorted(log["entity"].unique()), fill_value=0).to_numpy()
        error, naive = np.abs(expected - actual), np.abs(x / age * 39.0 - actual)
        off = expected.sum() / actual.sum() - 1
        rows.append((label, f"{error.mean():.3f} ± {interval(error)}", f"{naive.mean():.3f}", f"{off:+.1%}"))
    show(("39 weeks ahead, counted in", "MAE", "MAE of going on as before", "total"), rows)
    judge("CDNOW, segments by purchases", purchases_frame(log[["entity", "date", "amount"]]), 365)


def interval(values: np.ndarray) -> str:
    return f"{1.96 * values.std() / np.sqrt(len(values)):.3f}"


def judge(title: str, frame: pd.DataFrame, value_days: int) -> SegmentationFamily:
    """Every candidate on held-out customers and a later period."""
    family = SegmentationFamily(SegmentationOptions(value_days=value_days))
    split = family.split(frame, {})
    rows, first = [], None
    for candidate in family.candidates():
        start = time.process_time()
        model = family.fit(candidate, split.train, {}, {})
        took = time.process_time() - start
        found = family.evaluate(model, split.holdout, split.train, {})
        first = first or found
        test = paired_bootstrap(pair(first.losses, found.losses))
        metrics = {
            name: f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" if one.value == one.value else "–"
            for name, one in found.metrics.items()
        }
        gain = f"{test.difference:+.3f} [{test.low:+.3f}, {test.high:+.3f}]" if found is not first else ""
        rows.append(
            (candidate.name, len(model.segments), metrics["next_period_loss"], gain, metrics["silhouette"],
             metrics["stability"], f"{took:.1f}", f"{1000 * found.latency_ms:.0f}")
        )  # fmt: skip
    print(f"**{title}**: {split.rule}\n")
    header = (
        "candidate",
        "k",
        "loss on the next period",
        "gained",
        "silhouette",
        "stability",
        "s a fit",
        "µs to assign",
    )
    show(header, rows)
    worth = [name for name in found.metrics if name.startswith(("value", "purchases"))]
    show(("of the value model", "estimate [95 %]"), ((name, metrics[name]) for name in worth))
    return family


def survival_of_the_demo_world() -> None:
    with TemporaryDirectory() as folder:
        world = build(folder, customers=2_000, days=730, seed=7, end=date(2026, 6, 30))
        snapshot = SnapshotRef(str(world.folder / "tables"), "", world.tables, world.as_of)
        frame = behaviour_frame(snapshot)
        truth = pd.read_parquet(world.truth("hazard.parquet"))
    family = judge("Demo world, 2,000 customers, two years", frame, 1095)
    split = family.split(frame, {})
    model = family.fit(family.candidates()[0], split.train, {}, {})
    assert isinstance(model.value, SubscriptionValue)
    rows = []
    held = ~frame["customer_id"].isin(split.train["customer_id"])
    for periods in (1, 3, 6):
        # The others' customers, whose future no fit has seen, at all moments that were followed long enough.
        part = frame[held & (frame["followed_days"] >= 30 * periods)]
        left = ((part["left"] == 1) & (part["observed_days"] <= 30 * periods)).to_numpy()
        foreseen = 1 - model.value.survival({name: part[name].to_numpy(float) for name in COLUMNS}, periods)[:, -1]
        day = part["as_of"].dt.normalize()
        keys = pd.DataFrame({"customer_id": part["customer_id"], "day": day}).reset_index(drop=True)
        named = truth.assign(customer_id=truth["customer_id"].astype(str), day=truth["day"].astype("datetime64[us]"))
        true = keys.merge(named, how="left", on=["customer_id", "day"])["expected_30"].to_numpy()
        rank = pd.Series(foreseen).corr(pd.Series(true), method="spearman")
        rows.append(
            (30 * periods, len(part), f"{left.mean():.3f} ± {interval(left.astype(float))}", f"{foreseen.mean():.3f}",
             f"{rank:.2f}", f"{brier(foreseen, left):+.1%}")
        )  # fmt: skip
    header = ("days", "rows", "left", "foreseen", "rank correlation with the true 30-day risk", "Brier skill")
    show(header, rows)


def brier(foreseen: np.ndarray, left: np.ndarray) -> float:
    return 1 - float(np.mean((foreseen - left) ** 2) / np.mean((left.mean() - left) ** 2))


if __name__ == "__main__":
    purchases_of_cdnow()
    survival_of_the_demo_world()
