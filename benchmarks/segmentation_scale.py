"""What `merit segment` costs as the number of customers grows: simulated purchases, one thread.

python -m benchmarks.segmentation_scale --customers 1000,10000,100000
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

MERIT = Path(sys.executable).with_name("merit")


def purchases(customers: int, seed: int = 1) -> pd.DataFrame:
    """BG/NBD customers of two years: rates of one purchase in 75 days, on average, until they stop."""
    rng = np.random.default_rng(seed)
    rate, p = rng.gamma(0.8, 1 / 60, customers), rng.beta(0.8, 2.4, customers)
    first, spend = rng.integers(0, 500, customers), rng.gamma(4, 10, customers)
    now, who = first.astype(float), np.arange(customers)
    rows, days = [], []
    while len(who):
        rows.append(who)
        days.append(now[who].astype(int))
        who = who[(rng.random(len(who)) >= p[who]) | (now[who] == first[who])]
        now[who] += np.maximum(1.0, rng.exponential(1 / rate[who]))
        who = who[now[who] < 720]
    row, day = np.concatenate(rows), np.concatenate(days)
    when = pd.Timestamp("2024-01-01") + pd.to_timedelta(day, unit="D")
    return pd.DataFrame({"id": row, "date": when, "amount": (spend[row] * rng.gamma(5, 0.2, len(row))).round(2)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", default="1000,10000,100000")
    asked = parser.parse_args()
    print("| customers | purchases | processor s | wall s | peak MB |\n|---|---|---|---|---|")
    for count in (int(item) for item in asked.customers.split(",")):
        with TemporaryDirectory() as folder:
            table = purchases(count)
            table.to_csv(Path(folder) / "shop.csv", index=False)
            command = [str(MERIT), "segment", "--data", "shop.csv", "--entity", "id", "--time", "date"]
            command += ["--amount", "amount", "--out", "out.csv"]
            environment = {**os.environ, "MERIT_HOME": folder, "MERIT_THREADS": "1", "OMP_NUM_THREADS": "1"}
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
            wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"| {count:,} | {len(table):,} | {cpu:.1f} | {wall:.1f} | {after.ru_maxrss / 1e3:.0f} |", flush=True)


if __name__ == "__main__":
    main()
