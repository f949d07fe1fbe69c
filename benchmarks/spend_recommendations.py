"""Recommendations on spending against the demo world's truth: what is estimated, and what was measured once followed.

    python -m benchmarks.spend_recommendations --seeds 3

Of each seed ninety days are simulated twice: once as they are, and once with the recommendation for `marketing`
followed for the last four weeks, a tenth of its calls held back. Everything else is the same, call by call, so that the
difference of the two ledgers is what was truly saved. The estimate is compared with what the very calls of the four
weeks before would have cost (expected, from the truth of the world). Intervals are 90 % ones.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from features.world.llm.adopted import Adopted
from features.world.llm_calls import build_llm_world
from gateway.improve.following import means
from models.spend.recommending.keeping import keep
from models.spend.recommending.look import look
from models.spend.recommending.measuring import measure
from store import spend_recommendations as stored
from store.database import dispose, session
from store.settings import Settings
from store.tables.gateway import LlmCallRow

END, SINCE = date(2026, 11, 30), datetime(2026, 11, 2)
WORKSPACE = "marketing"


def ledger(settings: Settings) -> pd.DataFrame:
    """The workspace's answered calls: id, asked, complexity as it was seen, cost in dollars, part."""
    part = LlmCallRow.extra["substitution"]["part"].as_string()
    query = sa.select(LlmCallRow.id, LlmCallRow.asked, LlmCallRow.complexity, LlmCallRow.cost / 1e9, part).where(
        LlmCallRow.workspace == WORKSPACE, LlmCallRow.outcome == "ok"
    )
    with session(settings, readonly=True) as opened:
        rows = opened.execute(query).all()
    return pd.DataFrame([tuple(row) for row in rows], columns=["id", "asked", "seen", "spent", "part"]).set_index("id")


def one_seed(seed: int, folder: Path, calls_per_day: float) -> dict[str, Any] | None:
    """What was estimated, measured and true; None where nothing was advised."""
    plain, followed = (Settings(home=folder / f"{seed}-{name}", threads=1) for name in ("plain", "followed"))
    world: dict[str, Any] = {"days": 90, "calls_per_day": calls_per_day, "seed": seed, "end": END}
    truth = build_llm_world(plain, **world)
    build_llm_world(followed, **world, until=SINCE)
    begun = time.perf_counter()
    found = look(followed, SINCE, means(followed))
    took = time.perf_counter() - begun
    keep(followed, found)
    rows = stored.page(followed, workspace=WORKSPACE).items
    row = next((one for one in rows if "use" in one.advice["scope"]), None)
    if row is None:
        return None
    scope = row.advice["scope"]
    before = truth.frame().set_index("id").join(ledger(plain), how="inner")
    mine = before[before["seen"].isin(scope["complexities"]) & (before["asked"] == scope["asked"])]
    mine = mine[(mine["at"] >= SINCE - timedelta(days=28)) & (mine["at"] < SINCE)]
    would = mine["spent"].sum() - mine[f"cost:{scope['use']}"].sum() / 1e9

    row = stored.accept(followed, row.id, by="benchmark", since=SINCE)
    adopted = Adopted(WORKSPACE, scope["asked"], scope["use"], scope["complexities"], SINCE, 0.1, row.id)
    build_llm_world(followed, **world, adopted=adopted)
    begun = time.perf_counter()
    report = measure(followed, row, datetime(2026, 12, 1))
    measured_in = time.perf_counter() - begun
    now = ledger(followed)
    used = now[now["part"] == "used"]
    saved = float((ledger(plain)["spent"].reindex(used.index) - used["spent"]).sum())
    for settings in (plain, followed):
        dispose(settings)
    return {
        "seed": seed,
        "use": scope["use"],
        "for": "+".join(scope["complexities"]),
        "estimated": row.advice["saving"],
        "would": would * 30 / 28,
        "measured": report["saved"],
        "saved": saved,
        "check": report["check"],
        "quality": report["quality"],
        "look_s": took,
        "measure_s": measured_in,
    }


def told(interval: dict[str, float] | None, truth: float) -> str:
    if interval is None:
        return "–"
    inside = "covers" if interval["low"] <= truth <= interval["high"] else "MISSES"
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}] {inside} {truth:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--calls-per-day", type=float, default=330.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, chosen.seeds + 1):
            row = one_seed(seed, Path(folder), chosen.calls_per_day)
            if row is None:
                print(f"seed {seed}: nothing is advised")
                continue
            took = f"look {row['look_s']:.1f} s, measure {row['measure_s']:.1f} s"
            print(f"seed {seed}: {row['use']} for {row['for']}; {took}")
            print(f"  estimated, dollars a month   {told(row['estimated'], row['would'])}")
            print(f"  measured, dollars so far     {told(row['measured'], row['saved'])}")
            print(f"  difference in differences    {told(row['check'], row['saved'])}")
            if (quality := row["quality"]) is not None:
                ends = f"[{quality['low']:+.3f}, {quality['high']:+.3f}]"
                print(f"  judgements                   {quality['change']:+.3f} {ends}")


if __name__ == "__main__":
    main()
