"""A fitted churn model: one member or a blend of them, calibrated, with its threshold and bands.

On disk: `contract.json` (everything but the trees), `members/<name>/` in native formats, `out_of_fold.parquet`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.churn.blend import mix
from models.churn.calibration import Calibration
from models.churn.encoding import Encoder, Matrix
from models.churn.members import Member, load_member
from models.churn.metrics import Offer
from store.errors import IntegrityFailed

FORMAT = 1
FEW = 16

Band = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class Bands:
    """Cut points of the risk bands: `high` from `high` on, `medium` from `medium` on, `low` below."""

    medium: float
    high: float

    def __call__(self, probability: float) -> Band:
        if probability >= self.high:
            return "high"
        return "medium" if probability >= self.medium else "low"

    @classmethod
    def around(cls, threshold: float, base_rate: float) -> Bands:
        """High where an offer pays; medium from the usual risk on, or from half the threshold where that is lower."""
        return cls(min(base_rate, threshold / 2.0) if base_rate >= threshold else base_rate, threshold)


@dataclass(frozen=True)
class Trace:
    """Out-of-fold predictions of the training rows, in their order.

    Attributes
    ----------
    log_odds : before calibration.
    fold : of every row.
    """

    y: NDArray[np.int64]
    fold: NDArray[np.int64]
    log_odds: NDArray[np.float64]


@dataclass(frozen=True)
class ChurnModel:
    """Probability that a customer leaves.

    Attributes
    ----------
    candidate : name of the recipe.
    selection : out-of-fold log loss within the training rows, nats.
    weights : one per member, of their log-odds.
    offer : the economics behind `threshold`.
    base_rate : share of positives in the training rows.
    facts : what else the contract states, JSON-ready: settings, rows, dropped columns, suspected leaks, ranges.
    example : a few training rows, as records.
    answers : what the model said of them when it was saved; empty before.
    """

    candidate: str
    selection: float
    encoder: Encoder
    members: tuple[Member, ...]
    weights: tuple[float, ...]
    calibration: Calibration
    offer: Offer
    base_rate: float
    trace: Trace
    facts: Mapping[str, Any] = field(default_factory=dict)
    example: tuple[Mapping[str, Any], ...] = ()
    answers: tuple[float, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read from a frame or a record; each may be missing (null) but must be there."""
        return tuple(column.name for column in self.encoder.columns)

    @property
    def entity(self) -> str | None:
        """Column that named the customers in training."""
        name = self.facts.get("entity")
        return str(name) if name else None

    @property
    def threshold(self) -> float:
        """Probability from which an offer pays."""
        return self.offer.threshold()

    @property
    def bands(self) -> Bands:
        return Bands.around(self.threshold, self.base_rate)

    def band(self, probability: float) -> Band:
        """Risk band of a probability."""
        return self.bands(probability)

    def predict(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Probability of churn for every row, float64; other columns are ignored.

        Raises
        ------
        MissingColumn : columns are not there; the message lists all of them.
        WrongType : a value does not fit its column.
        """
        return self._probability(self.encoder.matrix(frame))

    def predict_records(self, records: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """As `predict`, from dictionaries and without pandas: the same numbers, in microseconds for one row.

        Raises
        ------
        MissingColumn, WrongType : as `predict`.
        """
        rows = [self.encoder.row(record) for record in records]
        if len(rows) > FEW:
            return self._probability(np.asarray(rows, dtype=np.float64))
        log_odds = np.asarray([self._log_odds_of_row(row) for row in rows], dtype=np.float64)
        return self.calibration(log_odds)

    def log_odds(self, matrix: Matrix) -> NDArray[np.float64]:
        """Blended log-odds of encoded rows, before calibration."""
        return mix(np.column_stack([one.log_odds(matrix) for one in self.members]), np.asarray(self.weights))

    def contract(self) -> dict[str, Any]:
        """Everything but the trees, JSON-ready."""
        bands = self.bands
        return {
            "family": "churn",
            "format": FORMAT,
            "candidate": self.candidate,
            "selection": {"metric": "log_loss", "value": self.selection, "unit": "nats", "how": "out of fold"},
            "output": {"name": "probability", "unit": "probability of leaving, 0 to 1"},
            "base_rate": self.base_rate,
            "offer": {"cost": self.offer.cost, "value": self.offer.value, "success": self.offer.success},
            "threshold": {"value": self.threshold, "rule": "cost / (success × value), at most 1"},
            "bands": {"low": [0.0, bands.medium], "medium": [bands.medium, bands.high], "high": [bands.high, 1.0]},
            "calibration": self.calibration.to_dict(),
            "weights": {one.name: weight for one, weight in zip(self.members, self.weights, strict=True)},
            "encoder": self.encoder.to_dict(),
            "facts": dict(self.facts),
            "example": [dict(record) for record in self.example],
            # Kept from the first time on, so that a later release of a library can be held to them.
            "answers": list(self.answers or self.signature()[1]["probability"].tolist()),
        }

    def save(self, folder: Path) -> None:
        """Write the model into an empty folder; the same model gives the same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        kept = {one.name: one.save(folder / "members" / one.name) for one in self.members}
        content = {**self.contract(), "members": kept}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "contract.json").write_text(text + "\n", encoding="utf-8")
        trace = pd.DataFrame({"y": self.trace.y, "fold": self.trace.fold, "log_odds": self.trace.log_odds})
        trace.to_parquet(folder / "out_of_fold.parquet", index=False)

    @classmethod
    def load(cls, folder: Path) -> ChurnModel:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityFailed : the folder holds no churn model, or one of another format.
        """
        folder = Path(folder)
        try:
            data = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise IntegrityFailed(
                f"{folder} holds no readable contract.json: {error}.", remedy="Train again."
            ) from None
        if data.get("family") != "churn" or data.get("format") != FORMAT:
            raise IntegrityFailed(
                f"{folder} holds family {data.get('family')!r} format {data.get('format')!r}, expected churn {FORMAT}.",
                remedy="Load it with the release that wrote it, or train again.",
            )
        encoder = Encoder.from_dict(data["encoder"])
        names = list(data["weights"])
        members = tuple(load_member(name, folder / "members" / name, data["members"][name], encoder) for name in names)
        trace = pd.read_parquet(folder / "out_of_fold.parquet")
        return cls(
            candidate=data["candidate"],
            selection=data["selection"]["value"],
            encoder=encoder,
            members=members,
            weights=tuple(data["weights"][name] for name in names),
            calibration=Calibration.from_dict(data["calibration"]),
            offer=Offer(**data["offer"]),
            base_rate=data["base_rate"],
            trace=Trace(trace["y"].to_numpy(), trace["fold"].to_numpy(), trace["log_odds"].to_numpy()),
            facts=data["facts"],
            example=tuple(data["example"]),
            answers=tuple(data.get("answers", ())),
        )

    def signature(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A few training rows and their predictions. Numbers and flags are float64, categories text."""
        frame = pd.DataFrame(list(self.example), columns=list(self.columns))
        given = pd.DataFrame(index=frame.index)
        for column in self.encoder.columns:
            values = frame[column.name]
            given[column.name] = values.astype(object) if column.kind == "category" else values.astype("float64")
        answered = self.predict(given)
        return given, pd.DataFrame({"probability": answered, "band": [self.band(float(p)) for p in answered]})

    def _probability(self, matrix: Matrix) -> NDArray[np.float64]:
        if not len(matrix):
            return np.empty(0)
        return self.calibration(self.log_odds(matrix))

    def _log_odds_of_row(self, row: list[float]) -> float:
        total = self.members[0].log_odds_of_row(row) * self.weights[0]
        for one, weight in zip(self.members[1:], self.weights[1:], strict=True):
            total += one.log_odds_of_row(row) * weight
        return total
