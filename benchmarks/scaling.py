"""Seconds and peak memory of every step against the number of customers and of series, each in a process of its own.

    python -m benchmarks.scaling --customers 1000 10000 --series 100 1000 --keep /tmp/scaling
    python -m benchmarks.scaling --customers --series 10000 --keep /tmp/scaling --steps panel naive-fit naive-judge

Results and intermediate files are kept in `--keep`: a step that was finished is not run again, so an interrupted run
goes on where it was, and sizes can be added later. A step that fails is told of and leaves out those that need it.

"grows" is the exponent between this size and the one before, log(ratio of processor seconds) / log(ratio of sizes):
1 is linear.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.snapshot import from_folder, read_dataset, write_dataset
from models.families import Spec
from models.lifecycle import scoring, stages
from store.dataset import DatasetRef, SnapshotRef
from store.settings import Settings

END = date(2026, 6, 30)
HORIZON = 90
CHURN = ("logistic", "catboost", "lightgbm", "xgboost", "blend")


@dataclass(frozen=True)
class Place:
    """Where one size keeps its files. `threads` are what a training may use."""

    folder: Path
    size: int
    threads: int

    @property
    def settings(self) -> Settings:
        return Settings(home=self.folder / "home", threads=self.threads)

    def put(self, name: str, body: Mapping[str, Any]) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(body))

    def get(self, name: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text())
        return body

    @property
    def snapshot(self) -> SnapshotRef:
        return SnapshotRef.from_dict(self.get("snapshot"))

    def dataset(self, family: str) -> DatasetRef:
        return DatasetRef.from_dict(self.get(family))

    def spec(self, family: str) -> Spec:
        options = {"horizon": HORIZON, "freq": "D"} if family == "forecasting" else {}
        return Spec(family, family, {"threads": self.threads, **options} if family != "segmentation" else options)


def world(place: Place) -> str:
    from features.world import build

    made = build(place.folder / "world", customers=place.size, end=END)
    place.put("world", {"as_of": made.as_of.isoformat()})
    return f"{sum(made.tables.values()):,} rows"


def snapshot(place: Place) -> str:
    # As of the end of the world: after it nobody would be known to leave.
    as_of = datetime.fromisoformat(place.get("world")["as_of"])
    made = from_folder(place.folder / "world", as_of, place.settings)
    place.put("snapshot", made.to_dict())
    return f"{sum(made.tables.values()):,} rows"


def frame_of(family: str) -> Callable[[Place], str]:
    def work(place: Place) -> str:
        made = place.spec(family).build().dataset(place.snapshot, place.folder / family)
        place.put(family, made.to_dict())
        return f"{made.rows:,} rows"

    return work


def fit(family: str, candidate: str) -> Callable[[Place], str]:
    def work(place: Place) -> str:
        folder = place.folder / family
        earlier = [
            stages.Fitted(path.name, False, path=str(path))
            for path in sorted((folder / "candidates").glob("*"))
            if path.is_dir()
        ]
        made = stages.fit(place.spec(family), candidate, place.dataset(family), folder, earlier)
        if made.error:
            raise RuntimeError(made.error)
        return f"{made.selection:.4g} in training"

    return work


def judge(family: str, candidate: str) -> Callable[[Place], str]:
    def work(place: Place) -> str:
        folder = place.folder / family
        fitted = stages.Fitted(candidate, False, path=str(folder / "candidates" / candidate))
        made = stages.judge(place.spec(family), fitted, place.dataset(family), folder)
        if made.error:
            raise RuntimeError(made.error)
        metric = place.spec(family).build().primary.name
        return f"{metric} {made.load().metrics[metric].value:.4g}"

    return work


def _scorer(place: Place) -> scoring.Scorer:
    return scoring.Scorer(place.spec("churn"), 1, str(place.folder / "churn" / "candidates" / "blend"), "0" * 64)


def features(place: Place) -> str:
    rows = scoring.gather(_scorer(place), place.snapshot, place.folder / "scores", 5_000)
    place.put("rows", {"path": rows.path, "rows": rows.rows, "shard_rows": rows.shard_rows, "folder": rows.folder})
    return f"{rows.rows:,} customers"


def score(place: Place) -> str:
    rows = scoring.Rows(**place.get("rows"))
    shards = [scoring.score_shard(_scorer(place), rows, number) for number in range(rows.shards)]
    scoring.join(rows, shards, place.folder / "scores")
    return f"{rows.rows:,} customers in {rows.shards} shards"


def write(place: Place) -> str:
    from store.database import migrate

    migrate(place.settings)
    path = place.folder / "scores" / scoring.SCORES
    return f"{scoring.keep(place.settings, _scorer(place), place.snapshot, path, None):,} rows"


def panel(place: Place) -> str:
    """Daily series of two years: level, trend, week, noise."""
    rng = np.random.default_rng(7)
    days = pd.date_range("2024-07-01", periods=730, freq="D")
    steps = np.arange(len(days))
    week = np.sin(2 * np.pi * steps / 7)
    ids = np.array([f"series-{number:06}" for number in range(place.size)], dtype=object)
    level, slope, swing = (
        rng.uniform(50, 500, place.size),
        rng.normal(0, 0.05, place.size),
        rng.uniform(1, 20, place.size),
    )
    values = level[:, None] + slope[:, None] * steps + swing[:, None] * week + rng.normal(0, 5, (place.size, len(days)))
    frame = pd.DataFrame({"unique_id": ids.repeat(len(days)), "ds": np.tile(days, place.size), "y": values.ravel()})
    roles = {"entity": "unique_id", "time": "ds", "target": "y"}
    place.put("forecasting", write_dataset(frame, place.folder / "forecasting", roles=roles).to_dict())
    return f"{len(frame):,} rows"


def finalise(candidate: str) -> Callable[[Place], str]:
    def work(place: Place) -> str:
        family = place.spec("forecasting").build()
        ref = place.dataset("forecasting")
        model = family.load(place.folder / "forecasting" / "candidates" / candidate)
        final = family.finalise(model, read_dataset(ref), ref.roles)
        target = place.folder / "forecasting" / f"final-{candidate}"
        target.mkdir(parents=True, exist_ok=True)
        final.save(target)
        return f"{sum(path.stat().st_size for path in target.rglob('*') if path.is_file()) / 1e6:.1f} MB"

    return work


def answer(candidate: str) -> Callable[[Place], str]:
    """Load the promoted model and forecast every series at two levels."""

    def work(place: Place) -> str:
        model: Any = place.spec("forecasting").build().load(place.folder / "forecasting" / f"final-{candidate}")
        found = model.forecast(levels=(80, 95))
        start = time.perf_counter()
        model.forecast(ids=[model.ids[0]], levels=(80, 95))
        return f"{len(found):,} rows; one series {1000 * (time.perf_counter() - start):.1f} ms"

    return work


CUSTOMERS: Mapping[str, Callable[[Place], str]] = {
    "world": world,
    "snapshot": snapshot,
    "churn-frame": frame_of("churn"),
    **{f"churn-fit-{name}": fit("churn", name) for name in CHURN},
    "churn-judge": judge("churn", "blend"),
    "features": features,
    "score": score,
    "write-scores": write,
    "segmentation-frame": frame_of("segmentation"),
    "segmentation-fit": fit("segmentation", "kmeans"),
}
# A member that costs nothing shows what the house itself takes for a series; the other one, what a real one takes.
LOCAL = {"naive": "SeasonalNaive", "theta": "DynamicOptimizedTheta"}
SERIES: Mapping[str, Callable[[Place], str]] = {
    "panel": panel,
    "global-boosting": fit("forecasting", "GlobalBoosting"),
    **{
        f"{short}-{step}": make(name)
        for short, name in LOCAL.items()
        for step, make in {
            "fit": lambda name: fit("forecasting", name),
            "judge": lambda name: judge("forecasting", name),
            "finalise": finalise,
            "answer": answer,
        }.items()
    },
}
KINDS = {"customers": CUSTOMERS, "series": SERIES}


def run_step(kind: str, name: str, place: Place) -> None:
    """One step in this process; prints what it took as JSON."""
    place.folder.mkdir(parents=True, exist_ok=True)
    start, cpu = time.perf_counter(), _cpu()
    told = KINDS[kind][name](place)
    # Linux tells kilobytes. Of children, the largest one.
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    took = {"seconds": time.perf_counter() - start, "cpu": _cpu() - cpu, "mb": peak / 1e3, "told": told}
    print(json.dumps(took))


def _cpu() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def measured(kind: str, name: str, place: Place) -> dict[str, Any]:
    """What a step took, from where it was kept or by running it in a fresh process."""
    kept = place.folder / "steps" / f"{name}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    command = [sys.executable, "-m", "benchmarks.scaling", "--step", kind, name, "--keep", str(place.folder.parent)]
    command += ["--size", str(place.size), "--threads", str(place.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["killed"])[-1][:200]}
    body = json.loads(done.stdout.strip().splitlines()[-1])
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(body))
    return dict(body)


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, nargs="*", default=[1000])
    parser.add_argument("--series", type=int, nargs="*", default=[100])
    parser.add_argument("--steps", nargs="*", choices=[*CUSTOMERS, *SERIES], help="only these")
    parser.add_argument("--keep", type=Path, required=True, help="folder of results and intermediate files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        kind, name = asked.step
        run_step(kind, name, Place(asked.keep / f"{kind}-{asked.size}", asked.size, asked.threads))
        return
    for kind, sizes in (("customers", asked.customers), ("series", asked.series)):
        if not sizes:
            continue
        print(f"\n| {kind} | step | seconds | processor s | peak MB | grows | |\n|---|---|---|---|---|---|---|")
        before: dict[str, tuple[int, float]] = {}
        for size in sorted(sizes):
            place = Place(asked.keep.absolute() / f"{kind}-{size}", size, asked.threads)
            for name in KINDS[kind]:
                if asked.steps and name not in asked.steps:
                    continue
                found = measured(kind, name, place)
                if "error" in found:
                    print(f"| {size:,} | {name} | | | | | {found['error']} |", flush=True)
                    continue
                grows = ""
                if name in before:
                    earlier, cpu = before[name]
                    grows = f"{math.log(max(found['cpu'], 0.01) / max(cpu, 0.01)) / math.log(size / earlier):.2f}"
                before[name] = size, found["cpu"]
                print(
                    f"| {size:,} | {name} | {found['seconds']:.1f} | {found['cpu']:.1f} | {found['mb']:.0f} | {grows} "
                    f"| {found['told']} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
