"""CDNOW: 2,357 customers whose first purchase lies in the first quarter of 1997, followed until June 1998."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.views.behaviour_purchases import purchases_frame
from models.lifecycle.family import Split
from models.segmentation.family import SegmentationFamily, SegmentationModel, SegmentationOptions

ROLES = {"entity": "entity", "time": "as_of"}


def _cdnow(name: str) -> Path:
    # Read without importing the package, which is unmaintained.
    spec = find_spec("lifetimes")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / name


@pytest.fixture(scope="session")
def summary() -> dict[str, np.ndarray]:
    """The published calibration sample, in weeks: x, last, age, mean (of the repeat purchases)."""
    table = pd.read_csv(_cdnow("cdnow_customers_summary_with_transactions.csv"))
    named = table.rename(columns={"t_x": "last", "T": "age", "zbar": "mean"})
    return {name: named[name].to_numpy(np.float64) for name in ("x", "last", "age", "mean")}


@pytest.fixture(scope="session")
def purchases() -> pd.DataFrame:
    """The purchases of the same customers: entity, date, amount."""
    names = ["master", "entity", "date", "cds", "amount"]
    types = {"master": str, "entity": str, "date": str}
    table = pd.read_csv(_cdnow("CDNOW_sample.txt"), sep=r"\s+", names=names, dtype=types)
    table["date"] = pd.to_datetime(table["date"], format="%Y%m%d")
    return table[["entity", "date", "amount"]]


@pytest.fixture(scope="session")
def frame(purchases: pd.DataFrame) -> pd.DataFrame:
    """Customers at moments 90 days apart, as the lifecycle sees them."""
    return purchases_frame(purchases, horizon_days=90)


@pytest.fixture(scope="session")
def family() -> SegmentationFamily:
    return SegmentationFamily(SegmentationOptions(bootstraps=3, most_k=5, replicates=100))


@pytest.fixture(scope="session")
def split(family: SegmentationFamily, frame: pd.DataFrame) -> Split:
    return family.split(frame, ROLES)


@pytest.fixture(scope="session")
def fitted(family: SegmentationFamily, split: Split) -> dict[str, SegmentationModel]:
    """Every candidate, fitted to the training rows."""
    return {one.name: family.fit(one, split.train, ROLES, {}) for one in family.candidates()}
