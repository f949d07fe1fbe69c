"""A fitted scorer: what people would think of an answer, 0 to 1, from the numbers read off it.

On disk: `contract.json` alone. No words of anybody are in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.quality.design import design, design_row
from models.quality.features import NAMES, Features, features
from models.quality.parts import Part, part_of
from store.errors import IntegrityFailed

# 2: numbers of sentences that speak of what was asked, in place of those of all.
FORMAT = 2
Floats = NDArray[np.float64]

ROLES: Mapping[str, str] = {"domain": "domain", "complexity": "complexity"}
# What every scorer is asked when it is loaded; nobody's words.
EXAMPLES = (
    ("What is 17 * 23?", "The answer is 391.", "math", "simple"),
    ("Explain heat pumps. Mention noise limits and running costs.", "They are a thing.", "knowledge", "moderate"),
    ("Explain heat pumps. Mention noise limits and running costs.",
     "Heat pumps move warmth. Noise limits decide where they stand. Running costs depend on the price of power.",
     "knowledge", "moderate"),
    ("Write a Python function that doubles x.", "```python\ndef double(x)\n    return 2 * x\n```", "code", "simple"),
    ("Summarise the report.", "In general it is important to", "summary", "complex"),
)  # fmt: skip


@dataclass(frozen=True)
class QualityModel:
    """A scorer.

    Attributes
    ----------
    candidate : name of the recipe.
    selection : log loss out of fold within the training rows, nats.
    parts : their log-odds are averaged.
    calibration : (a, b): p = σ(a · log-odds + b), from predictions out of fold.
    facts : what else the contract states, JSON-ready.
    """

    candidate: str
    selection: float
    parts: tuple[Part, ...]
    calibration: tuple[float, float] = (1.0, 0.0)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, frame: pd.DataFrame, roles: Mapping[str, str] = ROLES) -> Floats:
        """Score of every row, 0 to 1.

        Raises
        ------
        MissingColumn, WrongType : the frame holds no judged answers.
        """
        return self.scores(design(frame, roles))

    def scores(self, rows: Floats) -> Floats:
        """Scores of rows of the design."""
        a, b = self.calibration
        z = a * self.log_odds(rows) + b
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -40.0, 40.0))))

    def log_odds(self, rows: Floats) -> Floats:
        """Before calibration."""
        total = np.zeros(len(rows))
        for part in self.parts:
            total += part.log_odds(rows)
        return np.asarray(total / len(self.parts))

    def score(self, numbers: Sequence[float | None], domain: str | None, complexity: str | None) -> float:
        """Score of one answer: the same as `predict`, without a frame."""
        return float(self.scores(design_row(numbers, domain, complexity))[0])

    def named(self, name: str) -> NamedScorer:
        """What the gateway asks."""
        return NamedScorer(self, name)

    def signature(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows = [
            (*features(prompt, answer, "stop").numbers, domain, complexity)
            for prompt, answer, domain, complexity in EXAMPLES
        ]
        given = pd.DataFrame(rows, columns=[*NAMES, "domain", "complexity"])
        given[list(NAMES)] = given[list(NAMES)].astype(np.float64)
        return given, self.answer(given)

    def answer(self, given: pd.DataFrame) -> pd.DataFrame:
        """Scores of rows as `signature` has them, one by one as the gateway asks."""
        scores = [
            self.score([None if one != one else float(one) for one in row[: len(NAMES)]], *row[len(NAMES) :])
            for row in given[[*NAMES, "domain", "complexity"]].itertuples(index=False, name=None)
        ]
        return pd.DataFrame({"score": np.array(scores, dtype=np.float64)})

    def save(self, folder: Path) -> None:
        body = {
            "format": FORMAT,
            "candidate": self.candidate,
            "selection": self.selection,
            "names": list(NAMES),
            "parts": [part.to_dict() for part in self.parts],
            "calibration": list(self.calibration),
            "facts": dict(self.facts),
        }
        (folder / "contract.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> QualityModel:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityFailed : the folder holds no scorer of this format, or one that reads other numbers off an answer.
        """
        try:
            body = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
            if body["format"] != FORMAT or body["names"] != list(NAMES):
                raise ValueError("another format")
            return cls(
                candidate=body["candidate"],
                selection=float(body["selection"]),
                parts=tuple(part_of(one) for one in body["parts"]),
                calibration=(float(body["calibration"][0]), float(body["calibration"][1])),
                facts=body["facts"],
            )
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise IntegrityFailed(
                f"{folder.name} holds no scorer of answers that this version can read ({type(error).__name__}).",
                remedy="Train again with `train-quality`.",
            ) from None


@dataclass(frozen=True)
class NamedScorer:
    """A version of the scorer as the gateway asks it; see `gateway.improve.scoring.Scorer`."""

    model: QualityModel
    name: str

    def score(self, found: Features, domain: str | None, complexity: str | None) -> float:
        """0 to 1; an answer that says nothing at all is worth nothing."""
        return self.model.score(found.numbers, domain, complexity) if found.scored.score > 0.0 else 0.0
