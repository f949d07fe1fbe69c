"""Drift monitoring on the demo world: false alarms while it is itself, and what is found once it is changed.

    python -m benchmarks.monitor_drift [--customers 1500] [--worlds 5] [--folder FOLDER]

A champion learned as of some months before the end of the world; the features of all customers then and now are
compared as the flow `monitor` does. The rules beside it are what is commonly done: an index above 0.2 alone, and a
Kolmogorov–Smirnov or chi-square test per feature at 5 % with and without control of false discoveries. The world has
seasons, price changes and a population that grows older, so that "nothing changed" is not "nothing moved".

The changes are planted in what is known now, at the customers' own features: usage halved, a quarter dearer against
competitors, tickets more than doubled, four of five ratings lost, a new channel that brought three of ten customers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from features.snapshot import from_folder
from features.world import build
from models.churn.family import ChurnFamily
from models.churn.options import ChurnOptions
from models.monitoring.arrived import arrived, compared
from models.monitoring.drift import FeatureDrift, drift
from models.monitoring.policy import MonitorPolicy
from store.settings import Settings

END = date(2026, 10, 31)
MONTHS = (1, 3, 6, 12)
POLICY = MonitorPolicy()

RULES: Mapping[str, Callable[[FeatureDrift], bool]] = {
    "test at 5 %": lambda one: one.p_value is not None and one.p_value < 0.05,
    "test with false-discovery control": lambda one: one.q_value is not None and one.q_value <= 0.05,
    "PSI above 0.2": lambda one: one.psi is not None and one.psi > 0.2,
    "this monitor": lambda one: one.drifted,
}


def usage_halved(frame: pd.DataFrame, _rng: np.random.Generator) -> list[str]:
    frame["api_calls_28d"] *= 0.5
    frame["active_users_28d"] *= 0.5
    return ["api_calls_28d", "active_users_28d"]


def dearer(frame: pd.DataFrame, _rng: np.random.Generator) -> list[str]:
    frame["competitor_gap"] += 0.25
    return ["competitor_gap"]


def more_tickets(frame: pd.DataFrame, rng: np.random.Generator) -> list[str]:
    frame["tickets_90d"] = frame["tickets_90d"] * 2 + rng.poisson(1.0, len(frame))
    return ["tickets_90d"]


def ratings_lost(frame: pd.DataFrame, rng: np.random.Generator) -> list[str]:
    frame["satisfaction_90d"] = frame["satisfaction_90d"].mask(rng.random(len(frame)) < 0.8)
    return ["satisfaction_90d"]


def new_channel(frame: pd.DataFrame, rng: np.random.Generator) -> list[str]:
    frame["channel"] = frame["channel"].mask(rng.random(len(frame)) < 0.3, "reseller")
    return ["channel"]


CHANGES = (usage_halved, dearer, more_tickets, ratings_lost, new_channel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_500)
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the worlds here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run(arguments.folder or Path(scratch), arguments.customers, arguments.worlds)


def run(root: Path, customers: int, worlds: int) -> None:
    family = ChurnFamily(ChurnOptions())
    settings = Settings(home=root / "home")
    named: dict[tuple[str, int], list[int]] = {}
    found: dict[str, list[tuple[int, int]]] = {}
    seconds, features = [], 0
    for seed in range(worlds):
        made = build(root / f"world-{customers}-{seed}", customers=customers, days=730, seed=seed, end=END)
        now = from_folder(made.folder, made.as_of, settings)
        for months in MONTHS:
            moment = datetime(END.year, END.month, 1) - timedelta(days=30 * months)
            then = from_folder(made.folder, moment, settings)
            data = arrived(family, then, now, root / "frames")
            both = compared(
                family, then, now, data, POLICY, lambda at, made=made: from_folder(made.folder, at, settings)
            )
            known = {"history": both.history, "gap": both.gap, "year_before": both.year_before, "policy": POLICY}
            begin = time.perf_counter()
            calm = drift(both.reference, both.now, **known)
            seconds.append(time.perf_counter() - begin)
            features = len(calm)
            for rule, alarm in RULES.items():
                named.setdefault((rule, months), []).append(sum(map(alarm, calm)))
            for change in CHANGES:
                changed = both.now.copy()
                planted = set(change(changed, np.random.default_rng(seed)))
                after = drift(both.reference, changed, **known)
                drifted = {one.feature for one in after if one.drifted}
                found.setdefault(change.__name__.replace("_", " "), []).append((len(drifted & planted), len(planted)))
    print(f"{worlds} worlds of {customers:,} customers over 730 days, {features} features.\n")
    print("Features named although nothing was changed, mean per look, by the age of the champion:\n")
    print("| rule | " + " | ".join(f"{months} months" for months in MONTHS) + " |")
    print("|---|" + "---|" * len(MONTHS))
    for rule in RULES:
        print(f"| {rule} | " + " | ".join(f"{np.mean(named[rule, months]):.1f}" for months in MONTHS) + " |")
    print("\n| change | changed features found |")
    print("|---|---|")
    for title, counts in found.items():
        print(f"| {title} | {sum(hit for hit, _ in counts)} of {sum(of for _, of in counts)} |")
    print(f"\nOne comparison takes {np.median(seconds):.2f} s.")


if __name__ == "__main__":
    main()
