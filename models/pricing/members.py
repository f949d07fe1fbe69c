"""Demand models and their weighted mean: expected quantity at a price, and how far outcomes lie from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from models.pricing.cells import LEAST, CellMean
from models.pricing.encoding import Encoder
from models.pricing.loglog import LogLog
from models.pricing.panel import Floats, Panel
from models.pricing.trees import Boosting, Forest

MEMBERS = ("loglog", "forest", "boosting")
OUT_OF_TIME = "out_of_time.parquet"


class Member(Protocol):
    """One demand model."""

    @property
    def name(self) -> str: ...

    @property
    def encoder(self) -> Encoder: ...

    @property
    def penalty(self) -> float:
        """What was chosen out of time; see `training.PENALTIES`."""

    def mean(self, panel: Panel) -> Floats:
        """Expected quantity of each row."""


@dataclass(frozen=True)
class Noise:
    """How far outcomes lie from what is expected, from predictions out of time.

    Attributes
    ----------
    dispersion : variance per unit of the mean, within a place and stretch of time.
    level_spread : standard deviation of the log level of such a stretch.
    counts : whether quantities are whole numbers.
    """

    dispersion: float = 1.0
    level_spread: float = 0.0
    counts: bool = True

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Demand:
    """Members and their weights.

    Attributes
    ----------
    out_of_time : predictions of training rows made without them: `row` (position in the training rows), `origin`,
        `quantity`, `mean`.
    """

    encoder: Encoder
    members: tuple[Member, ...]
    weights: tuple[float, ...]
    noise: Noise
    out_of_time: pd.DataFrame = field(default_factory=lambda: trace([], [], [], []))

    def mean(self, panel: Panel) -> Floats:
        """Expected quantity of each row: the weighted mean of the members, so never rising in the own price."""
        total = np.zeros(len(panel))
        for member, weight in zip(self.members, self.weights, strict=True):
            if weight > 0:
                total += weight * member.mean(panel)
        return np.maximum(total, LEAST * panel.length)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the trees and the trace below the folder; returns the rest, JSON-ready."""
        kept: dict[str, Any] = {}
        for member in self.members:
            if isinstance(member, LogLog | CellMean):
                kept[member.name] = member.to_dict()
            else:
                tree = member.opened() if isinstance(member, LazyTrees) else member
                assert isinstance(tree, Boosting | Forest)
                tree.save(folder / "members" / tree.name)
                kept[tree.name] = {"penalty": tree.penalty, "usual": tree.usual.to_dict()}
        self.out_of_time.to_parquet(folder / OUT_OF_TIME, index=False)
        weights = {member.name: weight for member, weight in zip(self.members, self.weights, strict=True)}
        return {
            "encoder": self.encoder.to_dict(),
            "members": kept,
            "weights": weights,
            "noise": self.noise.to_dict(),
        }

    @classmethod
    def load(cls, folder: Path, data: Mapping[str, Any]) -> Demand:
        """Read back what `save` wrote; trees are opened only when they are asked."""
        encoder = Encoder.from_dict(data["encoder"])
        members = tuple(_load(name, folder / "members" / name, one, encoder) for name, one in data["members"].items())
        return cls(
            encoder=encoder,
            members=members,
            weights=tuple(data["weights"][member.name] for member in members),
            noise=Noise(**data["noise"]),
            out_of_time=pd.read_parquet(folder / OUT_OF_TIME),
        )


class LazyTrees:
    """A forest or boosting on disk: serving answers from what was written down and never asks the trees."""

    def __init__(self, name: str, folder: Path, data: Mapping[str, Any], encoder: Encoder) -> None:
        self.name, self.encoder = name, encoder
        self.penalty = float(data["penalty"])
        self._folder, self._data = folder, data
        self._model: Forest | Boosting | None = None

    def mean(self, panel: Panel) -> Floats:
        """Expected quantity of each row."""
        return self.opened().mean(panel)

    def opened(self) -> Forest | Boosting:
        """The model in memory."""
        if self._model is None:
            from store.registry import load_native

            native = load_native(self._folder)
            usual = CellMean.from_dict(self._data["usual"], self.encoder)
            kind = Boosting if self.name == "boosting" else Forest
            self._model = kind(self.encoder, native, usual, self.penalty)
        return self._model


def trace(row: Any, origin: Any, quantity: Any, mean: Any) -> pd.DataFrame:
    """Out-of-time predictions as a frame of fixed types."""
    return pd.DataFrame(
        {
            "row": np.asarray(row, dtype=np.int64),
            "origin": np.asarray(origin, dtype=np.int64),
            "quantity": np.asarray(quantity, dtype=np.float64),
            "mean": np.asarray(mean, dtype=np.float64),
        }
    )


def _load(name: str, folder: Path, data: Mapping[str, Any], encoder: Encoder) -> Member:
    if name == "loglog":
        return LogLog.from_dict(data, encoder)
    if name == "cell_mean":
        return CellMean.from_dict(data, encoder)
    return LazyTrees(name, folder, data, encoder)
