"""Forecasts of the bill where it is known what came: are intervals covered, when are budgets used up, how quick is it.

    python -m benchmarks.spend_forecast --seeds 61,62,63

Of each world of 160 days the bill is forecast once a week from the tenth week on, each time from nothing but what was
known then, and compared with what came: days of every series (all spending, each workspace and each model that costs
anything) and the sums of two and of four weeks of all spending and of each workspace, against their intervals. The days
on which one user's program runs away are in what came: no forecast knows of them, so a forecast that reaches into them
is counted apart.

Budgets: at each of these moments every workspace has a monthly budget of 0.9, 1.0 and 1.1 times what the month is
expected to cost; told is the probability that it is used up by the end of the month, and counted whether it was.

Intervals of shares are Wilson's at 95 %, as if moments a week apart were independent; they are not quite. Seconds: the
median of five, wall clock and processor, of 90 days of all series with the months, from the ledger's rows to numbers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from features.views.spend import TOTAL, daily_cells, panel_of
from features.world.llm_calls import LlmTruth, build_llm_world
from models.churn.fairness import wilson
from models.forecasting.options import level_name
from models.spend.bill import BY, Bill, bill_of
from models.spend.budgets import outlook_of
from models.spend.months import running_sums
from store.budgets import NANOS, Budget
from store.database import dispose
from store.settings import Settings

LAST, DAYS, WARM = date(2026, 11, 29), 160, 70
SPANS, LEVELS, TIMES = (14, 28), (80.0, 95.0), (0.9, 1.0, 1.1)
_DRAWS = 2_000


@dataclass
class Counts:
    """(what, level) → for each occasion whether what came lay inside; and (probability told, whether it came to it)."""

    inside: dict[tuple[str, float], list[bool]] = field(default_factory=lambda: defaultdict(list))
    budgets: list[tuple[float, bool]] = field(default_factory=list)
    seconds: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))


def one_world(seed: int, calls_per_day: float, counts: Counts) -> None:
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), threads=1)
        truth = build_llm_world(settings, days=DAYS, calls_per_day=calls_per_day, seed=seed, end=LAST)
        end = datetime.combine(LAST, datetime.min.time()) + timedelta(days=1)
        came = panel_of(daily_cells(settings, end, days=DAYS, by=BY), end, BY)
        series = {str(name): rows.set_index("ds")["y"] for name, rows in came.groupby("unique_id")}
        loop = tuple(datetime(1970, 1, 1) + timedelta(microseconds=at) for at in _ends(truth))
        moment = end - timedelta(days=DAYS - WARM)
        while moment + timedelta(days=SPANS[0]) <= end:
            bill = bill_of(settings, moment, 62)
            for span in SPANS:
                until = moment + timedelta(days=span)
                if until <= end:
                    planted = loop[0] < until and loop[1] > moment
                    _count(bill, series, moment, span, " into the loop" if planted else "", counts)
            if not (loop[0] < moment + timedelta(days=40) and loop[1] > moment):
                _budgets(bill, series, moment, end, counts)
            moment += timedelta(days=7)
        _timed(settings, end, counts)
        dispose(settings)


def _ends(truth: LlmTruth) -> tuple[int, int]:
    return truth.runaway.begins, truth.runaway.ends


def _count(bill: Bill, series: dict[str, pd.Series], moment: datetime, span: int, planted: str, counts: Counts) -> None:
    names = bill.outlook.model.ids
    days = [pd.Timestamp(moment) + pd.Timedelta(days=k) for k in range(span)]
    if span == SPANS[0]:
        frame = bill.outlook.forecast(names, span, LEVELS)
        real = np.array([float(series[str(row.unique_id)].get(row.ds, 0.0)) for row in frame.itertuples()])
        for level in LEVELS:
            low, high = (frame[f"{side}-{level_name(level)}"].to_numpy() for side in ("lo", "hi"))
            counts.inside[f"days of every series{planted}", level] += ((real >= low) & (real <= high)).tolist()
    for name in [TOTAL, *bill.outlook.series("workspace")]:
        sums = bill.outlook.draws(name, span, _DRAWS).sum(axis=1)
        real_sum = float(series[name].reindex(days).fillna(0.0).sum())
        what = "all spending" if name == TOTAL else "a workspace"
        for level in LEVELS:
            low, high = np.percentile(sums, [50 - level / 2, 50 + level / 2])
            counts.inside[f"{span} days of {what}{planted}", level].append(bool(low <= real_sum <= high))


def _budgets(bill: Bill, series: dict[str, pd.Series], moment: datetime, end: datetime, counts: Counts) -> None:
    """Of the month that goes on, where the ledger knows its end."""
    first = moment.replace(day=1)
    last = (first + timedelta(days=32)).replace(day=1)
    if last > end:
        return
    for name in bill.outlook.series("workspace"):
        spending = bill.spending(name, 62)
        _, sums = running_sums(spending.draws, spending.days, spending.before)[0]
        expected = float(sums[:, -1].mean())
        spent = float(series[name][(series[name].index >= first) & (series[name].index < last)].sum())
        for times in TIMES:
            told = outlook_of(_budget(times * expected), name, spending)
            counts.budgets.append((told.probability, spent >= told.amount))


def _budget(amount: float) -> Budget:
    now = datetime(2026, 1, 1)
    return Budget(
        id="0" * 32, scope="workspace", subject="", workspace="", period="month", amount=round(amount * NANOS),
        action="alert", created_at=now, updated_at=now,
    )  # fmt: skip


def _timed(settings: Settings, as_of: datetime, counts: Counts) -> None:
    def told(bill: Bill) -> None:
        bill.outlook.forecast(bill.outlook.model.ids, 90, LEVELS)
        bill.months(TOTAL, 90)

    model = bill_of(settings, as_of, 120).outlook.model
    ways: dict[str, Callable[[], Bill]] = {
        "worked out from the ledger": lambda: bill_of(settings, as_of, 90),
        "by a promoted model": lambda: bill_of(settings, as_of, 90, champion=(model, 1)),
    }
    for name, way in ways.items():
        for _ in range(5):
            begun, worked = time.perf_counter(), time.process_time()
            told(way())
            counts.seconds[name].append((time.perf_counter() - begun, time.process_time() - worked))


def tell(counts: Counts) -> None:
    print("\n| inside their interval | 80 % | 95 % | of |\n|---|---|---|---|")
    for what in sorted({what for what, _ in counts.inside}):
        cells = []
        for level in LEVELS:
            hits = counts.inside[what, level]
            share = float(np.mean(hits))
            low, high = wilson(share, len(hits))
            cells.append(f"{share:.1%} ({low:.0%} – {high:.0%})")
        print(f"| {what} | {' | '.join(cells)} | {len(hits)} |")
    print("\n| told that a budget is used up | so told, on average | it was | of |\n|---|---|---|---|")
    edges = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    for low_edge, high_edge in pairwise(edges):
        there = [one for one in counts.budgets if low_edge <= one[0] < high_edge or one[0] == high_edge == 1.0]
        if not there:
            continue
        told, true = (float(np.mean([one[place] for one in there])) for place in (0, 1))
        low, high = wilson(true, len(there))
        print(f"| {low_edge:.0%} – {high_edge:.0%} | {told:.0%} | {true:.0%} ({low:.0%} – {high:.0%}) | {len(there)} |")
    brier = float(np.mean([(told - came) ** 2 for told, came in counts.budgets]))
    rate = float(np.mean([came for _, came in counts.budgets]))
    print(f"\nBrier score {brier:.3f}; of always telling the mean, {rate:.0%}: {rate * (1 - rate):.3f}\n")
    for name, took in counts.seconds.items():
        wall, processor = (1_000 * median(one[place] for one in took) for place in (0, 1))
        print(f"{name}: {wall:.0f} ms, of a processor {processor:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="61,62,63")
    parser.add_argument("--calls-per-day", type=float, default=330.0)
    given = parser.parse_args()
    counts = Counts()
    for seed in given.seeds.split(","):
        begun = time.perf_counter()
        one_world(int(seed), given.calls_per_day, counts)
        print(f"world {seed}: {time.perf_counter() - begun:.0f} s", flush=True)
    tell(counts)


if __name__ == "__main__":
    main()
