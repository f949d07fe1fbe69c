"""How the training of a routing policy is told: its candidates beside references, and what it is ahead of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.output import cell, screen, show

_SHORT = {
    "aiq": "area",
    "apgr": "apgr",
    "quality_at_quarter": "quality at ¼ cost",
    "kept_at_quarter": "kept at ¼ cost",
}


def with_references(body: Mapping[str, Any]) -> dict[str, Any]:
    """The report with what needs no fit among its candidates: random, cheapest, best single, dataset mean, oracle."""
    chosen = dict(body["chosen"])
    references = chosen.pop("references", [])
    return {**body, "chosen": chosen, "candidates": [*body["candidates"], *references]}


def show_differences(body: Mapping[str, Any]) -> None:
    """The choice's own curve, and how far it lies above the others."""
    chosen = body["chosen"]
    _ahead(chosen.get("differences", []), "Paired differences with 95 % intervals")
    curve = [one for one in chosen.get("curve", []) if round(one["tradeoff"] * 20) % 2 == 0]
    points = [
        {"tradeoff": f"{one['tradeoff']:.1f}", "quality": cell(one["quality"]), "cost": cell(one["cost"])}
        for one in curve
    ]
    if points:
        show(points, ["tradeoff", "quality", "cost"], as_json=False, title="\nTrade-offs on the holdout")
    if (unseen := chosen.get("unseen_groups")) is not None:
        own = ", ".join(f"{_SHORT[name]} {cell(unseen['metrics'][name])}" for name in ("aiq", "kept_at_quarter"))
        screen.print(f"\nOn {unseen['rule']}: {own}", highlight=False, markup=False)
        _ahead(unseen["differences"], "The same differences there")
    apart = chosen.get("out_of_fold", {})
    for rule, found in apart.items():
        told = ", ".join(f"{_SHORT[name]} {found[name]:.4g}" for name in ("aiq", "kept_at_quarter"))
        screen.print(f"Out of fold {rule}: {told}", style="dim", highlight=False)


def _ahead(differences: Sequence[Mapping[str, Any]], title: str) -> None:
    rows = [
        {"ahead of": one["against"]} | {short: cell(one.get(name)) for name, short in _SHORT.items()}
        for one in differences
    ]
    if rows:
        show(rows, ["ahead of", *_SHORT.values()], as_json=False, title=f"\n{title}")
