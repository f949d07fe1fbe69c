"""All candidates, trained once on few customers of the platform's kind, and one on a table of somebody's own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.churn.family import ChurnFamily, ChurnModel, ChurnOptions

OPTIONS = ChurnOptions(threads=1, replicates=100, folds=2)


def platform_customers(rows: int = 700, seed: int = 0) -> pd.DataFrame:
    """Features as the churn view names them; tickets, a fall of usage and the basic plan go with leaving."""
    rng = np.random.default_rng(seed)
    recent, earlier = rng.poisson(0.6, rows), rng.poisson(1.2, rows)
    calls = rng.gamma(2, 50, rows)
    fall = rng.normal(0, 0.5, rows)
    frame = pd.DataFrame(
        {
            "customer_id": [f"C{i:05d}" for i in range(rows)],
            "region": rng.choice(["north", "south", "west"], rows),
            "plan": rng.choice(["basic", "plus", "pro", "max"], rows, p=[0.5, 0.3, 0.15, 0.05]),
            "monthly_price": rng.gamma(4, 20, rows).round(2),
            "tenure_days": rng.integers(30, 1500, rows).astype(float),
            "days_to_contract_end": rng.integers(0, 365, rows).astype(float),
            "price_change_90d": rng.choice([0.0, 0.0, 0.08], rows),
            "tickets_30d": recent.astype(float),
            "tickets_90d": (recent + earlier).astype(float),
            "api_calls_28d": calls.round(3),
            "api_calls_90d": (calls * np.exp(-fall)).round(3),
            "api_calls_trend_28d": fall.round(4),
            "satisfaction_90d": np.where(rng.random(rows) < 0.5, np.nan, rng.integers(1, 6, rows)),
        }
    )
    z = -1.5 + 0.9 * recent - 1.2 * fall + 0.8 * (frame["plan"] == "basic") - 0.001 * frame["tenure_days"]
    frame["churned"] = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(int)
    return frame


@pytest.fixture(scope="session")
def customers() -> pd.DataFrame:
    return platform_customers()


@pytest.fixture(scope="session")
def models(customers: pd.DataFrame) -> dict[str, ChurnModel]:
    """Every candidate, fitted on the platform's kind of customers."""
    family = ChurnFamily(OPTIONS)
    fitted: dict[str, ChurnModel] = {}
    for candidate in family.candidates():
        fitted[candidate.name] = family.fit(
            candidate, customers, {"entity": "customer_id", "target": "churned"}, fitted
        )
    return fitted


@pytest.fixture(scope="session")
def blend(models: dict[str, ChurnModel]) -> ChurnModel:
    return models["blend"]


@pytest.fixture(scope="session")
def own_model() -> tuple[ChurnModel, pd.DataFrame]:
    """A logistic regression on somebody's own columns, with like-named parts, codes, flags and holes."""
    rng = np.random.default_rng(1)
    rows = 600
    frame = pd.DataFrame(
        {
            "Contract": rng.choice(["Month-to-month", "Two year"], rows, p=[0.6, 0.4]),
            "Städtchen": rng.choice([f"Ort {i}" for i in range(20)], rows),
            "paperless": rng.choice(["Yes", "No"], rows, p=[0.7, 0.3]),
            "monthly_price": rng.normal(60, 10, rows).round(2),
            "total_day_charge": rng.gamma(2, 10, rows),
            "total_eve_charge": rng.gamma(2, 10, rows),
            "total_night_charge": rng.gamma(2, 10, rows),
        }
    )
    frame.loc[::7, "monthly_price"] = np.nan
    z = -1.5 + 1.5 * (frame["Contract"] == "Month-to-month") + 0.02 * frame.filter(like="total").sum(axis=1)
    frame["left"] = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(int)
    family = ChurnFamily(OPTIONS)
    logistic = next(one for one in family.candidates() if one.name == "logistic")
    return family.fit(logistic, frame, {"target": "left"}, {}), frame
