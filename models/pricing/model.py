"""A fitted pricing model: causal elasticities, and demand models for the level.

On disk: `contract.json` (elasticities, market, experiments, demand), `rates.parquet` (expected quantity a day for
every week and cell), `members/<name>/` in native formats, `out_of_fold.parquet`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.pricing import advising, simulation
from models.pricing.advice import (
    Advice,
    Elasticity,
    Question,
    Realised,
    Scenario,
    SimulatedPeriod,
    Standing,
    plain,
)
from models.pricing.market import Market
from models.pricing.members import Demand
from store.errors import IntegrityFailed

FORMAT = 1
EXAMPLES = 5


@dataclass(frozen=True)
class PricingModel:
    """Which price to ask, and what happens if one does.

    The response to a price comes from `elasticities`, estimated with cross-fitting from all that was known; the demand
    models only tell the level of sales at the prices last seen. A predictive model's price slope is a correlation and
    is never acted upon.

    Attributes
    ----------
    candidate : name of the recipe of `demand`.
    selection : out-of-fold deviance within the training rows.
    demand : the demand models, with what is needed to ask them.
    elasticities : own by product and by segment, competitor's, and cross; empty before `finalise`.
    market : None before `finalise`: a candidate is judged by its demand alone.
    experiments : product or product/segment → what would settle an elasticity that is not identified.
    facts : what else the contract states, JSON-ready.
    answers : what the model said of its example when it was made.
    """

    candidate: str
    selection: float
    demand: Demand
    elasticities: tuple[Elasticity, ...] = ()
    market: Market | None = None
    experiments: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    answers: tuple[tuple[float, float], ...] = ()

    @cached_property
    def _known(self) -> advising.Known:
        assert self.market is not None, "a candidate knows no market yet: finalise it"
        by_key = {(one.product, one.segment, one.of): one for one in self.elasticities}
        return advising.Known(self.market, by_key, self.experiments)

    @property
    def products(self) -> Mapping[str, tuple[str, ...]]:
        """Product → its segments; no segments where the data know none."""
        return self.market.products if self.market else {}

    def unit_cost(self, product: str, segment: str | None = None) -> float | None:
        """The cost of a unit last seen in the data, the mean over segments; None where the data hold none.

        Raises
        ------
        UnknownEntity : the model knows no such product or segment.
        """
        costs = [cell.unit_cost for cell in self._known.market.select(product, segment)]
        present = [cost for cost in costs if cost is not None]
        return float(np.mean(present)) if present else None

    def advise(self, question: Question) -> Advice:
        """The best price within the constraints, or "cannot advise, because …"; see `models.pricing.advising`.

        Raises
        ------
        UnknownEntity : the model knows no such product or segment.
        InvalidValue : an impossible number, or constraints that contradict each other.
        """
        return advising.advise(self._known, question)

    def simulate(self, scenario: Scenario) -> list[SimulatedPeriod]:
        """A scenario in weeks, or months beyond 92 days; see `models.pricing.simulation`.

        Raises
        ------
        UnknownEntity, InvalidValue : a name or number of the scenario does not fit.
        """
        return simulation.simulate(self._known, scenario)

    def standings(self) -> list[Standing]:
        """Where each product stands beside its competitor, the relatively dearest first."""
        return simulation.standings(self._known)

    def realised(
        self,
        product: str,
        segment: str | None,
        price: float,
        observed: pd.DataFrame,
        *,
        competitor_price: float | None = None,
        level: float = 0.9,
    ) -> Realised:
        """What was sold at an implemented price beside what was expected for those days; `observed`: date, quantity.

        Raises
        ------
        UnknownEntity, MissingColumn, InvalidValue, EmptyData : what is given does not fit.
        """
        return simulation.realised(
            self._known, product, segment, price, observed, competitor_price=competitor_price, level=level
        )

    def signature(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A few products with their price, and what was advised for them when the model was made."""
        given = self._example()
        if self.market is None:
            return given, pd.DataFrame({"price": pd.Series(dtype="float64"), "quantity": pd.Series(dtype="float64")})
        if not self.answers:
            return given, self.answer(given)
        return given, pd.DataFrame(list(self.answers), columns=["price", "quantity"], dtype="float64")

    def answer(self, given: pd.DataFrame) -> pd.DataFrame:
        """Advised price (today's where none is), and the quantity expected at today's price over 90 days."""
        rows = []
        for record in given.to_dict("records"):
            segment = str(record["segment"]) or None
            question = Question(
                str(record["product"]),
                segment,
                current_price=float(record["current_price"]),
                unit_cost=float(record["unit_cost"]),
            )
            made = self.advise(question)
            rows.append((made.price, made.now.quantity.value if made.now else 0.0))
        return pd.DataFrame(rows, columns=["price", "quantity"], dtype="float64")

    def _example(self) -> pd.DataFrame:
        cells = self.market.cells[:EXAMPLES] if self.market else ()
        return pd.DataFrame(
            {
                "product": pd.Series([cell.product for cell in cells], dtype=object),
                "segment": pd.Series([cell.segment or "" for cell in cells], dtype=object),
                "current_price": pd.Series([cell.price for cell in cells], dtype="float64"),
                "unit_cost": pd.Series([cell.unit_cost or 0.0 for cell in cells], dtype="float64"),
            }
        )

    def contract(self) -> dict[str, Any]:
        """Everything but the trees and the rates, JSON-ready."""
        answers = self.answers
        if self.market is not None and not answers:
            answers = tuple(map(tuple, self.answer(self._example()).to_numpy().tolist()))
        return {
            "family": "pricing",
            "format": FORMAT,
            "candidate": self.candidate,
            "selection": {"metric": "deviance", "value": self.selection, "how": "out of time"},
            "elasticities": plain(self.elasticities),
            "market": self.market.to_dict() if self.market else None,
            "experiments": dict(self.experiments),
            "facts": dict(self.facts),
            # Kept from the first time on, so that a later release of a library can be held to them.
            "answers": [list(one) for one in answers],
        }

    def save(self, folder: Path) -> None:
        """Write the model into an empty folder; the same model gives the same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = {**self.contract(), "demand": self.demand.save(folder)}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "contract.json").write_text(text + "\n", encoding="utf-8")
        if self.market is not None:
            rates = np.stack([cell.rates for cell in self.market.cells])
            names = [f"week {at}" for at in range(rates.shape[1])]
            pd.DataFrame(rates, columns=names).to_parquet(folder / "rates.parquet", index=False)

    @classmethod
    def load(cls, folder: Path) -> PricingModel:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityFailed : the folder holds no pricing model, or one of another format.
        """
        folder = Path(folder)
        try:
            data = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise IntegrityFailed(
                f"{folder} holds no readable contract.json: {error}.", remedy="Train again."
            ) from None
        if data.get("family") != "pricing" or data.get("format") != FORMAT:
            raise IntegrityFailed(
                f"{folder} holds family {data.get('family')!r} format {data.get('format')!r}, "
                f"expected pricing {FORMAT}.",
                remedy="Load it with the release that wrote it, or train again.",
            )
        market = None
        if data["market"] is not None:
            rates = pd.read_parquet(folder / "rates.parquet").to_numpy(dtype=np.float64)
            market = Market.from_dict(data["market"], rates)
        return cls(
            candidate=data["candidate"],
            selection=data["selection"]["value"],
            demand=Demand.load(folder, data["demand"]),
            elasticities=tuple(_elasticity(one) for one in data["elasticities"]),
            market=market,
            experiments=data["experiments"],
            facts=data["facts"],
            answers=tuple((float(one[0]), float(one[1])) for one in data["answers"]),
        )


def _elasticity(data: Mapping[str, Any]) -> Elasticity:
    values: dict[str, Any] = {item.name: data[item.name] for item in fields(Elasticity)}
    for name in ("value", "low", "high", "standard_error"):
        values[name] = float("nan") if values[name] is None else values[name]
    return Elasticity(**values)
