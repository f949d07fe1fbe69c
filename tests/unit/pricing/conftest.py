"""Sales whose demand is known, and one trained model that tests share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.pricing.family import PricingFamily, PricingOptions
from models.pricing.model import PricingModel

ROLES: Mapping[str, str] = {
    "product": "item",
    "segment": "region",
    "time": "week",
    "price": "price",
    "quantity": "sold",
    "competitor": "rival",
    "cost": "cost",
}
ELASTICITY = {"bread": -2.0, "milk": -0.6, "salt": -1.0}
RIVAL = 0.8


def sales(weeks: int = 80, seed: int = 3, scale: float = 12.0) -> pd.DataFrame:
    """Counts of three products in three regions; the price of salt never varies, the others are drawn at random."""
    rng = np.random.default_rng(seed)
    rows = []
    days = pd.date_range("2025-01-06", periods=weeks, freq="7D", unit="us")
    season = 0.2 * np.sin(np.arange(weeks) / 4)
    for item, base in (("bread", 3.0), ("milk", 1.2), ("salt", 0.9)):
        for at, region in enumerate(("north", "south", "Ærø")):
            steps = np.repeat(rng.choice([0.8, 0.9, 1.0, 1.1, 1.25], weeks // 4 + 1), 4)[:weeks]
            price = np.round(base * steps, 2) if item != "salt" else np.full(weeks, base)
            rival = np.round(base * np.exp(rng.normal(0, 0.15, weeks // 4 + 1)).repeat(4)[:weeks], 2)
            rate = scale * (1 + at) * np.exp(season) * (price / base) ** ELASTICITY[item] * (rival / base) ** RIVAL
            rows.append(
                pd.DataFrame(
                    {
                        "item": item,
                        "region": region,
                        "week": days,
                        "price": price,
                        "rival": rival,
                        "cost": 0.4 * base,
                        "sold": rng.poisson(rate).astype(float),
                    }
                )
            )
    frame = pd.concat(rows, ignore_index=True)
    frame.loc[5, "sold"] = 0.0  # a count without a zero would be taken for a logarithm
    return frame


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return sales()


@pytest.fixture(scope="session")
def family() -> PricingFamily:
    return PricingFamily(PricingOptions(trees=20, blocks=2, origins=2, holdout_share=0.4, replicates=200))


@pytest.fixture(scope="session")
def fitted(family: PricingFamily, frame: pd.DataFrame) -> dict[str, PricingModel]:
    """Every candidate, fitted on the training rows."""
    train = family.split(frame, ROLES).train
    found: dict[str, PricingModel] = {}
    for candidate in family.candidates():
        found[candidate.name] = family.fit(candidate, train, ROLES, {name: found[name] for name in candidate.needs})
    return found


@pytest.fixture(scope="session")
def model(
    family: PricingFamily,
    fitted: dict[str, PricingModel],
    frame: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> PricingModel:
    """What would be registered, read back from disk."""
    folder: Path = tmp_path_factory.mktemp("pricing") / "model"
    family.finalise(fitted["ensemble"], frame, ROLES).save(folder)
    return PricingModel.load(folder)
