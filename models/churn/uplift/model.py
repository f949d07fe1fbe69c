"""A fitted uplift model: by how much an offer lowers the probability of leaving, customer by customer.

On disk: `contract.json` and `trees/`, a native LightGBM model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.churn.encoding import Encoder
from models.churn.linear import LinearBasis
from models.churn.uplift.stages import EffectRegression
from store.errors import IntegrityFailed

FORMAT = 1


@dataclass(frozen=True)
class UpliftModel:
    """Effect of one offer.

    Attributes
    ----------
    centre : mean of the regression over the campaign's rows.
    average : effect on everybody alike; what all others are shrunk towards.
    trust : share of the regression's differences that the data bear out, 0 to 1.
    facts : the judgement, JSON-ready: balance, Qini coefficients, verdict.
    """

    encoder: Encoder
    regression: EffectRegression
    centre: float
    average: float
    trust: float
    facts: Mapping[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read from a frame."""
        return tuple(column.name for column in self.encoder.columns)

    @property
    def supported(self) -> bool:
        """Whether the data support choosing customers by effect."""
        return bool(self.facts.get("supported"))

    def predict(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """By how much the offer lowers the probability of leaving, −1 to 1; negative where it drives customers away.

        Raises
        ------
        MissingColumn, WrongType : as `ChurnModel.predict`.
        """
        spread = self.regression(self.encoder.matrix(frame)) - self.centre
        return np.clip(self.average + self.trust * spread, -1.0, 1.0)

    def effect(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """What a plan may count on: `predict` where the data support it, else the average effect for everybody, and
        nothing where even that cannot be told from none."""
        if self.supported:
            return self.predict(frame)
        average = self.facts.get("average_effect") or {}
        sure = average.get("low") is not None and average["low"] > 0
        return np.full(len(frame), self.average if sure else 0.0)

    def save(self, folder: Path) -> None:
        """Write the model into an empty folder; the same model gives the same bytes."""
        from store.registry import save_native

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_native(self.regression.trees, "lightgbm", folder / "trees")
        content = {
            "family": "churn-uplift",
            "format": FORMAT,
            "output": {"name": "uplift", "unit": "by how much the probability of leaving falls"},
            "encoder": self.encoder.to_dict(),
            "basis": self.regression.basis.to_dict(),
            "coefficients": self.regression.coefficients.tolist(),
            "intercept": self.regression.intercept,
            "centre": self.centre,
            "average": self.average,
            "trust": self.trust,
            "facts": dict(self.facts),
        }
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "contract.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> UpliftModel:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityFailed : the folder holds no uplift model of this format.
        """
        from store.registry import load_native

        folder = Path(folder)
        try:
            data = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise IntegrityFailed(f"{folder} holds no readable contract.json: {error}.") from None
        if data.get("family") != "churn-uplift" or data.get("format") != FORMAT:
            raise IntegrityFailed(
                f"{folder} holds family {data.get('family')!r} format {data.get('format')!r}, expected churn-uplift "
                f"{FORMAT}.",
                remedy="Learn from the campaign again.",
            )
        basis = LinearBasis.from_dict(data["basis"])
        trees = load_native(folder / "trees")
        regression = EffectRegression(basis, np.asarray(data["coefficients"]), data["intercept"], trees)
        return cls(
            Encoder.from_dict(data["encoder"]),
            regression,
            data["centre"],
            data["average"],
            data["trust"],
            data["facts"],
        )
