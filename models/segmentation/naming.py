"""Words for segments: what sets each apart from the customers as a whole, a name that no other has, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.segmentation.behaviour import REVERSED, Behaviour, Concept, Trait
from models.segmentation.scaling import Scaler

Floats = NDArray[np.float64]

NOTABLE = 0.4
"""From how many standard deviations off the mean of all customers a side of behaviour is worth a word."""

MOST_WORDS = 3
_MOST_TRAITS = 4


@dataclass(frozen=True)
class Wording:
    """Name and description of one segment, and the numbers behind them.

    Attributes
    ----------
    sides : concept → standard deviations off the mean of all customers, the most distant first.
    typical : trait → median of the segment and of everybody, in the unit of the data.
    """

    name: str
    description: str
    sides: Mapping[str, float]
    typical: Mapping[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        typical = {name: {"segment": one, "all": everybody} for name, (one, everybody) in self.typical.items()}
        return {"name": self.name, "description": self.description, "sides": dict(self.sides), "typical": typical}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Wording:
        typical = {name: (item["segment"], item["all"]) for name, item in data["typical"].items()}
        return cls(data["name"], data["description"], data["sides"], typical)


def describe(
    behaviour: Behaviour, scaler: Scaler, centres: Floats, frame: pd.DataFrame, codes: NDArray[np.intp]
) -> tuple[Wording, ...]:
    """Words for every segment.

    Parameters
    ----------
    centres : mean of each segment's rows on the scale, shape (segments, axes).
    frame, codes : the customers and the segment of each.
    """
    off = centres / scaler.weights
    sides = [_sides(behaviour, scaler, row) for row in off]
    names = unique_names(behaviour.concepts, sides)
    everybody = {trait.name: _median(frame[trait.name]) for trait in behaviour.traits}
    wordings = []
    for place, (name, side) in enumerate(zip(names, sides, strict=True)):
        mine = frame[codes == place]
        typical = {
            trait: (_median(mine[trait]) if len(mine) else everybody[trait], everybody[trait])
            for trait in behaviour.columns
        }
        traits = _distinct(behaviour, scaler, off[place])
        wordings.append(Wording(name, _sentence(behaviour, typical, traits), side, typical))
    return tuple(wordings)


def unique_names(concepts: Sequence[Concept], sides: Sequence[Mapping[str, float]]) -> list[str]:
    """A name for each segment: up to three notable sides; equal names get more words, and a number where words end."""
    words = [min(MOST_WORDS, max(1, _notable(side))) if _notable(side) else 0 for side in sides]
    while True:
        names = [_name(concepts, side, count) for side, count in zip(sides, words, strict=True)]
        repeated = {name for name in names if names.count(name) > 1}
        longer = [place for place, name in enumerate(names) if name in repeated and words[place] < len(sides[place])]
        if not longer:
            break
        for place in longer:
            words[place] += 1
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def _distinct(behaviour: Behaviour, scaler: Scaler, off: Floats) -> list[str]:
    """The traits farthest off the mean, one of each concept."""
    concept = {trait.name: trait.concept for trait in behaviour.traits}
    told: dict[str, str] = {}
    for column in np.argsort(-np.abs(off), kind="stable"):
        if abs(off[column]) >= NOTABLE:
            told.setdefault(concept[scaler.columns[column]], scaler.columns[column])
    return list(told.values())[:_MOST_TRAITS]


def _sides(behaviour: Behaviour, scaler: Scaler, off: Floats) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for trait in behaviour.traits:
        if trait.name in scaler.columns:
            sign = -1.0 if (behaviour.name, trait.name) in REVERSED else 1.0
            found.setdefault(trait.concept, []).append(sign * float(off[scaler.columns.index(trait.name)]))
    means = {concept: round(sum(values) / len(values), 4) for concept, values in found.items()}
    return dict(sorted(means.items(), key=lambda item: (-abs(item[1]), item[0])))


def _notable(side: Mapping[str, float]) -> int:
    return sum(abs(value) >= NOTABLE for value in side.values())


def _name(concepts: Sequence[Concept], side: Mapping[str, float], count: int) -> str:
    if not count:
        return "average"
    chosen = list(side)[:count]
    words = [concept.high if side[concept.name] >= 0 else concept.low for concept in concepts if concept.name in chosen]
    return ", ".join(words)


def _sentence(behaviour: Behaviour, typical: Mapping[str, tuple[float, float]], traits: Sequence[str]) -> str:
    if not traits:
        return "Like the customers as a whole."
    known = {trait.name: trait for trait in behaviour.traits}
    parts = []
    for name in traits:
        trait = known[name]
        one, everybody = typical[name]
        here, there = (_told(trait, value) for value in (one, everybody))
        parts.append(f"{trait.label} {here} (all: {there})")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _median(values: pd.Series) -> float:
    known = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    known = known[np.isfinite(known)]
    return round(float(np.median(known)), 6) if len(known) else 0.0


def _told(trait: Trait, value: float) -> str:
    if trait.scale == "ratio":
        return f"{np.expm1(value):+.0%}".replace("-", "−")
    return f"{_number(value)} {trait.unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
