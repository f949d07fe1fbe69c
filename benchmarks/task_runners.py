"""The same training and scoring on threads and on a Dask cluster of separate processes: seconds, and whether the
results are the same to the last bit.

python -m benchmarks.task_runners [--customers 500] [--days 365] [--workers 2]
"""

from __future__ import annotations

import argparse
import time
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cli.ingest import load_tables
from features.world import build
from flows.run import run_flow
from store.registry import Registry
from store.settings import Settings


def timed(settings: Settings, flow: str, parameters: dict[str, Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    done = run_flow(settings, flow, parameters, progress=lambda *_: None)
    return done, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    from distributed import LocalCluster

    with TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home", threads=asked.workers)
        world = build(
            Path(folder) / "world",
            customers=asked.customers,
            days=asked.days,
            seed=settings.seed,
            end=date(2026, 6, 30),
        )
        load_tables(settings, world.folder / "tables")
        run_flow(settings, "train-churn", {"name": "warm-up", "folds": 2}, progress=lambda *_: None)
        local = {"n_workers": asked.workers, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
        with LocalCluster(processes=True, **local) as cluster:
            there = {"task_runner": "dask", "dask_address": cluster.scheduler_address}
            runners = {"threads": settings, f"Dask, {asked.workers} processes": settings.model_copy(update=there)}
            print(f"| runner | train churn, s | score {asked.customers} customers in 5 shards, s | model | scores |")
            print("|---|---|---|---|---|")
            for number, (title, chosen) in enumerate(runners.items()):
                name = f"churn-{number}"
                _, training = timed(chosen, "train-churn", {"name": name})
                scored, scoring = timed(
                    chosen, "score", {"name": name, "version": 1, "shard_rows": asked.customers // 5}
                )
                model = Registry(settings).version(name, 1).sha256 or ""
                print(f"| {title} | {training:.1f} | {scoring:.1f} | {model[:12]} | {scored.digest[:12]} |", flush=True)


if __name__ == "__main__":
    main()
