"""Lasting breaks: how many planted ones are found, how many are made up, are dates and sizes inside their intervals?

    python -m benchmarks.forecasting_breaks        # 60 series of each kind, about a minute of one core

Series of 730 days with growth, a yearly wave, noise that remembers by ρ (standard deviation 3 %) and one to three
breaks, at least 110 days apart: jumps of 8 to 25 %, or changes of growth of 0.15 to 0.3 % a day. A break counts as
found within ten days of a jump and within forty of a change of growth. Numbers 0-39 were looked at while choosing the
penalty: the figures are of others.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from models.forecasting.change_points import find_breaks
from models.forecasting.series import Floats

N = 730
KINDS = (
    ("level", 0.0), ("level", 0.5), ("level", 0.8), ("growth", 0.0), ("growth", 0.5),
    ("none", 0.0), ("none", 0.5), ("none", 0.8), ("none", 1.0),
)  # fmt: skip


def simulate(number: int, kind: str, memory: float) -> tuple[Floats, list[int], list[float]]:
    """A series, the places of its breaks and their jumps."""
    rng = np.random.default_rng(number)
    day = np.arange(N)
    noise = np.zeros(N)
    for k in range(1, N):
        noise[k] = memory * noise[k - 1] + rng.standard_normal()
    noise *= 0.03 / noise.std() if memory < 1 else 0.01
    level = np.log(100) + 0.0003 * day + 0.1 * np.sin(2 * np.pi * day / 365.25 + rng.uniform(0, 6))
    places: list[int] = []
    jumps: list[float] = []
    if kind != "none":
        count = int(rng.integers(1, 4))
        places = sorted(int(at) for at in rng.choice(np.arange(100, N - 100, 110), size=count, replace=False))
    for at in places:
        sign = float(rng.choice([-1, 1]))
        if kind == "level":
            jumps.append(sign * float(rng.uniform(0.08, 0.25)))
            level = level + (day >= at) * jumps[-1]
        else:
            level = level + np.where(day >= at, (day - at) * sign * rng.uniform(0.0015, 0.003), 0)
    return np.exp(level + noise), places, jumps


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=60, help="series of each kind")
    parser.add_argument("--first", type=int, default=40, help="number of the first series")
    asked = parser.parse_args()
    print("| breaks | ρ | planted | found | made up | recall | precision | date inside 95 % | jump inside 95 % | ms |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind, memory in KINDS:
        planted = found = made_up = dated = sized = 0
        started = time.perf_counter()
        for number in range(asked.first, asked.first + asked.series):
            y, places, jumps = simulate(number, kind, memory)
            left = dict(zip(places, jumps or [0.0] * len(places), strict=True))
            planted += len(places)
            for point in find_breaks(y, year=365.25).points:
                near = [at for at in left if abs(at - point.at) <= (10 if kind == "level" else 40)]
                if not near:
                    made_up += 1
                    continue
                found += 1
                dated += point.low <= near[0] <= point.high
                sized += point.jump[1] <= np.expm1(left.pop(near[0])) <= point.jump[2]
        each = 1e3 * (time.perf_counter() - started) / asked.series
        shares = [f"{a / b:.0%}" if b else "–" for a, b in ((found, planted), (found, found + made_up), (dated, found))]
        size = f"{sized / found:.0%}" if found and kind == "level" else "–"
        print(
            f"| {kind} | {memory} | {planted} | {found} | {made_up} | {' | '.join(shares)} | {size} | {each:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
