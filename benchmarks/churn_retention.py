"""Retention plans and reasons: how close to the best, what the same budget brings otherwise, and what they cost.

    python -m benchmarks.churn_retention [--customers 2000,20000,100000]

Customers are drawn (probabilities Beta(1, 9), value if kept Gamma(2) · 200); three offers, a budget of 2 a customer.
Reasons are those of a blend trained on the demo world's features in this run.
"""

from __future__ import annotations

import argparse
import time
from datetime import date
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from features.views.churn import current_features, training_frame
from features.world import build
from models.churn.family import ChurnFamily, ChurnModel, ChurnOptions
from models.churn.reasons.contributions import contributions
from models.churn.retention.knapsack import MICRO, choose, in_micros
from models.churn.retention.offers import RetentionOffer
from models.churn.retention.plan import Customers, plan
from store.dataset import SnapshotRef

OFFERS = [RetentionOffer("call", 6.0, success=0.2), RetentionOffer("visit", 22.5, success=0.4),
          RetentionOffer("discount", 49.9, success=0.5)]  # fmt: skip


def customers_of(count: int, seed: int = 0) -> Customers:
    """Drawn customers."""
    rng = np.random.default_rng(seed)
    ids = np.asarray([f"c{i:07d}" for i in range(count)], dtype=object)
    probability, value = rng.beta(1, 9, count), rng.gamma(2, 200, count)
    return Customers(ids, probability, np.full(count, "", dtype=object), value, pd.DataFrame({"id": ids}), "drawn")


def plans(counts: list[int]) -> None:
    """One row per number of customers."""
    print("| customers | plan: net | below the best possible | by risk | at random | s |\n|---|---|---|---|---|---|")
    for count in counts:
        customers, budget = customers_of(count), 2.0 * count
        begin = time.process_time()
        made = plan(customers, OFFERS, budget).summary
        took = time.process_time() - begin
        optimal, instead = made["optimal"], made["instead"]
        gap = "0, proven" if optimal["exact"] else f"{optimal['distance']:.1e}"
        print(
            f"| {count:,} | {made['net']['value']:,.0f} | {gap} | {instead['by_risk']['net']:,.0f} | "
            f"{instead['at_random']['net']:,.0f} | {took:.2f} |",
            flush=True,
        )


def greedy_against_exact(trials: int = 200) -> None:
    """The greedy way beside the exact one where both can be had."""
    gaps = []
    rng = np.random.default_rng(0)
    costs = np.asarray([in_micros(one.cost, up=True) for one in OFFERS])
    for _ in range(trials):
        probability, value = rng.beta(1, 9, 40), rng.gamma(2, 200, 40)
        net = np.column_stack([one.saved(probability) for one in OFFERS]) * value[:, None] - costs / MICRO
        price = np.broadcast_to(costs, net.shape)
        best, quick = (choose(net, price, 120 * MICRO, most_cells=cells) for cells in (10**9, 0))
        gaps.append(1 - quick.value / best.value)
    print(
        f"\nGreedy beside exact, 40 customers, {trials} draws: mean {np.mean(gaps):.2%} below, at most {max(gaps):.2%}."
    )


def reasons(count: int = 2_000) -> None:
    """Seconds to score customers with reasons, by a blend of the demo world, and how well contributions add up."""
    with TemporaryDirectory() as folder:
        world = build(folder, customers=count, days=365, seed=7, end=date(2026, 6, 30))
        snapshot = SnapshotRef(str(world.folder / "tables"), "", world.tables, world.as_of)
        frame = training_frame(snapshot)
        now = current_features(snapshot).set_index("customer_id").drop(columns="as_of")
    family = ChurnFamily(ChurnOptions(folds=3))
    fitted: dict[str, ChurnModel] = {}
    for candidate in family.candidates():
        roles = {"entity": "customer_id", "time": "as_of", "target": "churned"}
        fitted[candidate.name] = family.fit(candidate, frame, roles, fitted)
    model = fitted["blend"]
    rows = pd.concat([now] * -(-count // len(now))).iloc[:count]
    took = {}
    for name, work in (("predict", model.predict), ("score with reasons", lambda part: family.score(model, part))):
        work(rows.iloc[:10])
        begin = time.process_time()
        work(rows)
        took[name] = time.process_time() - begin
    found = contributions(model, rows)
    error = np.abs(found.base + found.values.sum(axis=1) - model.log_odds(model.encoder.matrix(rows))).max()
    weights = ", ".join(f"{one.name} {weight:.2f}" for one, weight in zip(model.members, model.weights, strict=True))
    print(
        f"\n{count:,} customers, {len(model.columns)} columns, blend of {weights}: predict {took['predict']:.3f} s, "
        f"score with reasons {took['score with reasons']:.2f} s; contributions add up to the log-odds within "
        f"{error:.1e}."
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", default="2000,20000,100000")
    chosen = parser.parse_args()
    plans([int(part) for part in chosen.customers.split(",")])
    greedy_against_exact()
    reasons()


if __name__ == "__main__":
    main()
