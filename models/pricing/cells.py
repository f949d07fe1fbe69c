"""The baseline of every demand model: what is usual at a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.pricing.encoding import Encoder
from models.pricing.panel import Floats, Panel

LEAST = 1e-9


@dataclass(frozen=True)
class CellMean:
    """The baseline: what was sold per day at the place, whatever the price.

    Attributes
    ----------
    rates : per day, one per place of the encoder.
    elsewhere : product → rate, for places that were not there.
    overall : for products that were not there.
    """

    encoder: Encoder
    rates: tuple[float, ...]
    elsewhere: Mapping[str, float]
    overall: float
    name = "cell_mean"
    penalty = 0.0

    @classmethod
    def fit(cls, encoder: Encoder, panel: Panel) -> CellMean:
        """Count."""
        place = encoder.place(panel)
        count = len(encoder.places)
        # Half a unit more than was sold: a place without any sale may have one tomorrow.
        sold = np.bincount(place, panel.quantity, count) + 0.5 * panel.quantity.sum() / len(panel)
        rates = sold / (np.bincount(place, panel.length, count) + 0.5 * panel.length.mean())
        table = (
            pd.DataFrame({"product": panel.product, "q": panel.quantity, "l": panel.length}).groupby("product").sum()
        )
        elsewhere = {str(name): float(row["q"] / row["l"]) for name, row in table.iterrows()}
        return cls(encoder, tuple(rates.tolist()), elsewhere, float(panel.quantity.sum() / panel.length.sum()))

    def mean(self, panel: Panel) -> Floats:
        """Expected quantity of each row."""
        place = self.encoder.place(panel)
        other = np.asarray([self.elsewhere.get(name, self.overall) for name in panel.product.tolist()])
        rate = np.where(place >= 0, np.asarray([*self.rates, 0.0])[place], other)
        return np.asarray(np.maximum(rate, LEAST) * panel.length, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        return {"rates": list(self.rates), "elsewhere": dict(self.elsewhere), "overall": self.overall}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], encoder: Encoder) -> CellMean:
        return cls(encoder, tuple(data["rates"]), data["elsewhere"], data["overall"])
