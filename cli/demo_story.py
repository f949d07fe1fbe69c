"""What came of the closing part of the demo: the rows of its table, and a figure of each that the program drew."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from store.settings import Settings

FIGURES = ("policy", "next-calls", "runaway", "forecast", "saving")
"""One for each promise; `python docs/figures.py` copies them to the documentation."""


@dataclass
class LoopStory:
    """What came of it, for the table at the end.

    Attributes
    ----------
    rows : `what`, `number`, `against` (what it is measured by), `holds`.
    policy : the policy beside each baseline, by the truth.
    figures : name, one of `FIGURES` → where it lies.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    policy: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Path] = field(default_factory=dict)

    def add(self, what: str, number: str, against: str, *, holds: bool) -> None:
        """One line of the table."""
        self.rows.append({"what": what, "number": number, "against": against, "holds": holds})

    def draw(self, settings: Settings, name: str, png: bytes) -> None:
        """Keep a figure in the home, in place of the one of a demo before."""
        assert name in FIGURES
        target = figures_of(settings) / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png)
        self.figures[name] = target


def figures_of(settings: Settings) -> Path:
    """The folder of the demo's figures."""
    return settings.root / "demo"
