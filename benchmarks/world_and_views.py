"""How long the demo world and its views take, how large it is, and the AUC of the truth.

python benchmarks/world_and_views.py --customers 2000
python benchmarks/world_and_views.py --customers 100000
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from features.views.churn import current_features, training_frame
from features.views.series import business_panel
from features.world import build
from store.dataset import SnapshotRef

T = TypeVar("T")


def timed(label: str, work: Callable[[], T], size: Callable[[T], str]) -> T:
    """Run, print wall and processor seconds, and what came out."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    print(f"{label:22} {time.perf_counter() - wall:8.1f} {time.process_time() - cpu:8.1f}   {size(result)}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=2000)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--views", action=argparse.BooleanOptionalAction, default=True, help="Also time the views")
    asked = parser.parse_args()
    print(f"{'':22} {'wall s':>8} {'cpu s':>8}")
    with TemporaryDirectory() as folder:
        world = timed(
            "build",
            lambda: build(folder, customers=asked.customers, days=asked.days, seed=asked.seed, end=date(2026, 6, 30)),
            lambda made: f"{sum(made.tables.values()):,} rows",
        )
        # The tables as they lie stand for a snapshot: everything in them was known by `as_of`.
        snapshot = SnapshotRef(str(world.folder / "tables"), "", world.tables, world.as_of)
        if asked.views:
            timed("churn training frame", lambda: training_frame(snapshot), lambda f: f"{len(f):,} rows")
            timed("churn current features", lambda: current_features(snapshot), lambda f: f"{len(f):,} rows")
            timed("business panel", lambda: business_panel(snapshot), lambda f: f"{f['unique_id'].nunique()} series")
        for name in ("tables", "truth"):
            size = sum(path.stat().st_size for path in (Path(folder) / name).iterdir())
            print(f"{name:22} {size / 1e6:8.1f} MB")
        print(f"{'peak memory':22} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:8.0f} MB")
        print(json.dumps(json.loads(world.truth("world.json").read_text())["churn_30_days"], indent=2))


if __name__ == "__main__":
    main()
