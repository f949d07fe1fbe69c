"""Real models in a real registry, and the API over them: in this process, or as a uvicorn process of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from models.families import Spec
from models.pricing.advice import Elasticity
from models.pricing.encoding import Encoder
from models.pricing.market import WEEKS_AHEAD, WEEKS_BACK, Cell, Market
from models.pricing.members import Demand, Noise
from models.pricing.model import PricingModel
from serving.app import create_app
from store import feature_rows
from store.database import dispose, migrate
from store.promotions import promote
from store.registry import Registry
from store.settings import Settings

CUSTOMERS = 600


def customers() -> pd.DataFrame:
    """Customers whose reasons to leave are known: short tenure, many tickets, the basic plan."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{number:06d}" for number in range(1, CUSTOMERS + 1)],
            "tenure": rng.integers(1, 60, CUSTOMERS).astype(float),
            "price": rng.normal(50, 10, CUSTOMERS).round(2),
            "plan": rng.choice(["basic", "plus", "pro"], CUSTOMERS),
            "tickets": rng.poisson(2, CUSTOMERS).astype(float),
            "auto_pay": rng.integers(0, 2, CUSTOMERS).astype(bool),
        }
    )
    logit = -1 - 0.05 * frame["tenure"] + 0.5 * frame["tickets"] + (frame["plan"] == "basic")
    frame["churned"] = (rng.random(CUSTOMERS) < 1 / (1 + np.exp(-logit))).astype(int)
    return frame


@pytest.fixture(scope="session")
def churn_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved models by candidate: logistic, catboost, prevalence."""
    frame = customers()
    family = Spec("churn", "churn", {"replicates": 100, "folds": 2}).build()
    roles = {"entity": "customer_id", "target": "churned"}
    root = tmp_path_factory.mktemp("churn")
    folders = {}
    for candidate in family.candidates():
        if candidate.name in ("prevalence", "logistic", "catboost"):
            folders[candidate.name] = root / candidate.name
            family.fit(candidate, frame, roles, {}).save(folders[candidate.name])
    return folders


SERIES = ("api_calls/total", "revenue/plan=basic", "revenue/plan=pro")


@pytest.fixture(scope="session")
def forecast_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved forecaster of three daily series, 14 days ahead from 2026-03-01."""
    rng = np.random.default_rng(2)
    days = pd.date_range("2025-12-01", "2026-02-28", freq="D")
    week = 10 * np.sin(2 * np.pi * np.arange(len(days)) / 7)
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": days, "y": 100 * (place + 1) + week + rng.normal(0, 1, len(days))})
        for place, name in enumerate(SERIES)
    )
    family = Spec("forecasting", "forecasting", {"horizon": 14, "freq": "D", "members": ["SeasonalNaive"]}).build()
    roles = {"entity": "unique_id", "time": "ds", "target": "y"}
    candidate = next(one for one in family.candidates() if one.baseline)
    model = family.finalise(family.fit(candidate, frame, roles, {}), frame, roles)
    folder = tmp_path_factory.mktemp("forecasting") / "model"
    folder.mkdir()
    model.save(folder)
    return folder


MOMENTS = pd.to_datetime(["2025-07-05", "2025-10-03", "2026-01-01"])


def subscribers() -> pd.DataFrame:
    """600 subscribers at three moments, and what they did in the 90 days after: some large and busy ones that stay,
    many small and quiet ones of whom some leave, and newcomers. Names are those of `customers`."""
    rng = np.random.default_rng(4)
    kind = rng.choice(3, CUSTOMERS, p=[0.2, 0.5, 0.3])
    size = np.array([300.0, 25.0, 60.0])[kind] * np.exp(rng.normal(0, 0.2, CUSTOMERS))
    busy = np.array([20.0, 2.0, 6.0])[kind] * np.exp(rng.normal(0, 0.2, CUSTOMERS))
    stays = np.where(rng.random(CUSTOMERS) < np.array([0.01, 0.3, 0.1])[kind], rng.uniform(5, 250, CUSTOMERS), np.inf)
    parts = []
    for place, moment in enumerate(MOMENTS):
        past = 90.0 * place
        noise = np.exp(rng.normal(0, 0.1, CUSTOMERS))
        traits = {
            "monthly_price": size, "billed_90d": 3 * size, "api_calls_28d": 40 * busy * noise,
            "compute_hours_28d": 0.1 * busy * noise, "energy_kwh_28d": 5 * busy * noise,
            "api_calls_trend_28d": rng.normal(0, 0.1, CUSTOMERS), "active_users_28d": busy * noise,
            "active_users_trend_28d": rng.normal(0, 0.1, CUSTOMERS), "idle_days_28d": 1 / (1 + busy),
            "logins_28d": np.round(4 * busy * noise), "exports_28d": rng.poisson(1, CUSTOMERS),
            "automations_28d": rng.poisson(busy / 4), "tickets_90d": rng.poisson(1, CUSTOMERS),
            "late_invoices_90d": rng.poisson(0.2, CUSTOMERS), "recency_days": 1 + rng.poisson(1, CUSTOMERS),
            "active_days_90d": np.minimum(90, 40 + 2 * busy), "tenure_days": np.where(kind == 2, 20, 700) + past,
            "contract_months": np.where(kind == 0, 12.0, 1.0), "days_to_contract_end": np.where(kind == 0, 200, 15),
        }  # fmt: skip
        frame = pd.DataFrame(traits).astype("float64")
        frame.insert(0, "customer_id", [f"c{number:06d}" for number in range(1, CUSTOMERS + 1)])
        frame.insert(1, "as_of", moment)
        left = stays - past
        for name in ("api_calls_28d", "active_users_28d", "logins_28d", "monthly_price"):
            later = frame[name] * np.exp(rng.normal(0, 0.1, CUSTOMERS))
            frame[f"next_{name}"] = later.where(left > 90, 0.0) if place < len(MOMENTS) - 1 else np.nan
        seen = float((MOMENTS[-1] - moment).days)
        frame["observed_days"], frame["left"] = np.minimum(left, seen), (left <= seen).astype(float)
        frame["followed_days"] = seen
        parts.append(frame[left > 0])
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def segment_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two saved versions of segments: three of them, then four that succeed them."""
    frame, roles = subscribers(), {"entity": "customer_id", "time": "as_of"}
    root, before = tmp_path_factory.mktemp("segmentation"), None
    folders = {}
    for name, k in (("segments", 3), ("more segments", 4)):
        family = Spec("segmentation", "segmentation", {"k": k, "bootstraps": 2, "value_days": 1095}).build()
        candidate = next(one for one in family.candidates() if one.name == "kmeans")
        split = family.split(frame, roles)
        before = family.finalise(family.fit(candidate, split.train, roles, {}), frame, roles, before)
        folders[name] = root / name
        before.save(folders[name])
    return folders


# Of demand models nothing is asked here: elasticities and the market are given.
NOWHERE = Encoder((), (), rival=False, gap={}, first=0.0, last=0.0, seasonal=False, weekly=False)


def pricing_model(salt: float) -> PricingModel:
    """Tea in two segments, salt with the given elasticity, and jam, whose price never varied; sales are level."""
    nan, common = float("nan"), {"level": 0.9, "method": "double_ml", "rows": 200}

    def known(product: str, segment: str | None, of: str, value: float) -> Elasticity:
        low, high = value - 0.33, value + 0.33
        return Elasticity(product, segment, of, value, low, high, 0.2, price_levels=9, identified=True, **common)

    def sold(
        product: str, segment: str | None, price: float, rival: float | None, cost: float | None, a_day: float
    ) -> Cell:
        rates = np.full(WEEKS_BACK + WEEKS_AHEAD, a_day)
        return Cell(product, segment, price, rival, cost, 0.8 * price, 1.25 * price, rates)

    cells = (
        sold("tea", "north", 4.0, 4.4, 1.5, 20.0),
        sold("tea", "south", 4.2, 4.4, 1.5, 30.0),
        sold("salt", None, 1.0, 1.1, None, 5.0),
        sold("jam", None, 3.0, None, 1.0, 8.0),
    )
    never = {**common, "price_levels": 1, "identified": False, "reason": "its price never varied"}
    elasticities = (
        known("tea", None, "own", -1.8),
        known("tea", "north", "own", -1.6),
        known("tea", "south", "own", -2.0),
        known("tea", None, "competitor", 0.6),
        known("salt", None, "own", salt),
        known("salt", None, "competitor", 0.3),
        Elasticity("jam", None, "own", nan, nan, nan, nan, **never),
    )
    experiments = {"jam": "Ask 2.70 and 3.30 in turn for 8 weeks."}
    market = Market(cells, date(2026, 3, 1), 1.5, 0.05)
    return PricingModel("mean", 1.0, Demand(NOWHERE, (), (), Noise()), elasticities, market, experiments)


@pytest.fixture(scope="session")
def pricing_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved pricing models: `pricing`, and `pricing-later`, which finds salt more elastic."""
    root = tmp_path_factory.mktemp("pricing")
    for name, salt in (("pricing", -0.6), ("pricing-later", -0.9)):
        pricing_model(salt).save(root / name)
    return {path.name: path for path in root.iterdir()}


@dataclass(frozen=True)
class World:
    """A home with a registry, models to put into it, and published features."""

    settings: Settings
    registry: Registry
    folders: dict[str, Path]
    frame: pd.DataFrame

    def register(self, candidate: str = "logistic", name: str = "churn", folder: Path | None = None) -> int:
        """A new version of a churn model; not promoted."""
        place = folder or self.folders[candidate]
        family = next((one for one in ("forecasting", "segmentation", "pricing") if name.startswith(one)), "churn")
        model = Spec(family, name).build().load(self.folders[candidate])
        tags = {"family": family, "dataset_digest": "d" * 64, "git_commit": "a" * 40, "candidate": candidate}
        with self.registry.run(name, f"train {candidate}", {}) as run:
            return self.registry.register(name, place, run.id, model.signature(), tags)

    def promote(self, version: int, name: str = "churn") -> None:
        expected = self.registry.alias(name, "champion")
        promote(self.settings, self.registry, name, version, expected=expected, actor="test", reason="a test")

    def champion(self, candidate: str = "logistic", name: str = "churn") -> int:
        version = self.register(candidate, name)
        self.promote(version, name)
        return version

    def publish(self, name: str = "churn") -> None:
        rows = self.frame.drop(columns="churned").set_index("customer_id")
        feature_rows.publish(self.settings, name, rows, datetime(2026, 1, 1))

    def publish_segments(self) -> None:
        rows = subscribers()
        present = rows[rows["as_of"] == MOMENTS[-1]].set_index("customer_id")
        feature_rows.publish(self.settings, "segmentation", present.drop(columns=["as_of"]), datetime(2026, 1, 1))

    def features(self, row: int = 0) -> dict[str, Any]:
        """Features of one customer as they are sent."""
        record = self.frame.drop(columns=["churned", "customer_id"]).iloc[row]
        return {str(name): getattr(value, "item", lambda value=value: value)() for name, value in record.items()}

    def probability(self, row: int, candidate: str = "logistic") -> float:
        """What the saved model says of one customer."""
        model: Any = Spec("churn", "churn").build().load(self.folders[candidate])
        return float(model.predict_records([self.features(row)])[0])


@contextmanager
def _world(home: Path, folders: dict[str, Path], mlflow: Path) -> Iterator[World]:
    settings = Settings(home=home, threads=1, watch_seconds=0.5)
    shutil.copy(mlflow, settings.root / "mlflow.db")
    migrate(settings)
    yield World(settings, Registry(settings), folders, customers())
    dispose(settings)


@pytest.fixture(scope="session")
def make_world() -> Callable[..., Any]:
    """`with make_world(home, folders, mlflow_template) as world`."""
    return _world


@pytest.fixture(scope="session")
def folders(
    churn_folders: dict[str, Path],
    forecast_folder: Path,
    segment_folders: dict[str, Path],
    pricing_folders: dict[str, Path],
) -> dict[str, Path]:
    return {**churn_folders, **segment_folders, **pricing_folders, "forecaster": forecast_folder}


@pytest.fixture
def world(tmp_path: Path, folders: dict[str, Path], mlflow_template: Path) -> Iterator[World]:
    """A home of this test's own, with nothing promoted yet."""
    with _world(tmp_path / "home", folders, mlflow_template) as made:
        yield made


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path], mlflow_template: Path
) -> Iterator[World]:
    """A home for all tests that promote nothing: churn version 1, a forecaster and segments, features published."""
    with _world(tmp_path_factory.mktemp("shared") / "home", folders, mlflow_template) as made:
        made.champion("logistic")
        made.champion("forecaster", "forecasting")
        made.champion("pricing", "pricing")
        made.champion("segments", "segmentation")
        made.publish()
        made.publish_segments()
        yield made


@pytest.fixture(scope="session")
def client(shared: World) -> Iterator[TestClient]:
    """The API over the shared home, in this process and without keys."""
    with _client(shared.settings) as made:
        yield made


@contextmanager
def _client(settings: Settings) -> Iterator[TestClient]:
    app = create_app(settings)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50_000)) as client:
        until(lambda: app.state.services.champions.looked, 120)
        yield client


@pytest.fixture(scope="session")
def open_client() -> Callable[[Settings], Any]:
    """`with open_client(settings) as client`: the app in this process, its champions loaded."""
    return _client


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition; fail when it does not come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def eventually() -> Callable[..., None]:
    return until


@pytest.fixture
def api(world: World, tmp_path: Path, api_process: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """`api()` starts a process over this test's home; all are stopped at the end."""
    started: list[Any] = []

    def start(**environment: str) -> Any:
        process = api_process(world.settings, tmp_path / f"api-{len(started)}.log", **environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()
