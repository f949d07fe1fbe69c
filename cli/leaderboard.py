"""How a training run is told to people: the leaderboard, the verdict, what became of the version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.output import cell, screen, show

# As wide as a terminal of eighty columns: metrics under short names, the first alone with its interval.
SHORT = {"average_precision": "avg prec", "coverage_80": "cover 80", "coverage_95": "cover 95"}
SHORT |= {"quality_at_quarter": "q at ¼", "kept_at_quarter": "kept at ¼"}
METRICS = 6


def show_leaderboard(body: Mapping[str, Any], title: str) -> None:
    """Every candidate on the holdout: the first metric with its 95 % interval, the others as numbers."""
    chosen = body["chosen"]["candidate"]
    first, *others = list(body["chosen"]["metrics"])[:METRICS]
    rows = []
    for row in body["candidates"]:
        metrics = row.get("metrics", {})
        line = {"candidate": f"{row['candidate']} *" if row["candidate"] == chosen else row["candidate"]}
        line[first] = cell(metrics.get(first)) if metrics else "not fitted"
        rows.append(line | {SHORT.get(name, name): _rounded(metrics.get(name)) for name in others})
    show(rows, ["candidate", first, *(SHORT.get(name, name) for name in others)], as_json=False, title=title)
    for row in body["candidates"]:
        if row.get("error"):
            screen.print(f"{row['candidate']}: {row['error']}", style="yellow", highlight=False, markup=False)


def _rounded(estimate: Mapping[str, float | None] | None) -> str:
    value = estimate.get("value") if estimate else None
    return "–" if value is None else f"{value:.3g}"


def show_training(body: Mapping[str, Any]) -> None:
    """The leaderboard and the verdict, for people."""
    show_leaderboard(body, title=str(body["split"]))
    model = body["model"]
    champion = model.get("champion")
    screen.print()
    screen.print(body["reason"], highlight=False, markup=False)
    state = "is champion" if champion == model["version"] else f"was registered; champion is version {champion}"
    if champion is None:
        by_hand = f"`merit registry promote {model['name']} {model['version']}` makes it one"
        state = f"was registered; there is no champion ({by_hand})"
    screen.print(f"{model['name']} v{model['version']} {state}.", style="bold", highlight=False, markup=False)
