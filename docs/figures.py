"""Copies the plots of the newest training of every family, and those of the closed loop, from `MERIT_HOME` to
docs/figures: run it after `merit demo`.

python docs/figures.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from cli.demo_story import FIGURES as LOOP
from cli.demo_story import figures_of
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
    settings = load_settings()
    runs = settings.root / "runs"
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
    for name in LOOP:
        source = figures_of(settings) / f"{name}.png"
        if not source.exists():
            print(f"{source} is not there: `merit demo` draws it.")
            continue
        shutil.copyfile(source, FIGURES / f"loop-{name}.png")
        print(f"docs/figures/loop-{name}.png from the demo's loop")


if __name__ == "__main__":
    main()
