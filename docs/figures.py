"""Copies the plots of the newest training of every family from `MERIT_HOME` to docs/figures: run it after `merit demo`.

python docs/figures.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from store.settings import load_settings

FIGURES = Path(__file__).parent / "figures"
SHOWN = {
    "forecasting": ("forecasts.png",),
    "churn": ("importance.svg", "gain.svg"),
    "segmentation": ("segments.png", "choice_of_k.png"),
    "pricing": ("elasticities.svg", "demand_curves.svg"),
    "quality": ("reliability.svg",),
}


def main() -> None:
    FIGURES.mkdir(exist_ok=True)
    runs = load_settings().root / "runs"
    for family, names in SHOWN.items():
        gates = sorted(runs.glob(f"{family}/*/gate.json"), key=lambda path: path.stat().st_mtime)
        if not gates:
            print(f"{runs / family} holds no finished training: `merit train {family}` makes one.")
            continue
        chosen = json.loads(gates[-1].read_text(encoding="utf-8"))["challenger"]
        for name in names:
            source = gates[-1].parent / "judged" / chosen / "plots" / name
            shutil.copyfile(source, FIGURES / f"{family}-{name.replace('_', '-')}")
            print(f"docs/figures/{family}-{name.replace('_', '-')} from {family}, {chosen}")


if __name__ == "__main__":
    main()
