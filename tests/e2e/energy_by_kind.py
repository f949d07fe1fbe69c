"""A family small enough to train in a second, and its flow: what the worker of `test_drift_retrains` runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from prefect import flow

import models.families as families
from features.snapshot import write_dataset
from flows.lifecycle import Trained, finished, name_of_run, train_family
from flows.run import FLOWS
from models.families import Spec
from models.lifecycle.evaluation import Estimate, Evaluation, slices_of
from models.lifecycle.family import Candidate, Metric, Model, Split
from store.dataset import DatasetRef, SnapshotRef


@dataclass(frozen=True)
class KindOptions:
    """`days` of usage that are learned from."""

    days: int = 60


@dataclass(frozen=True)
class KindModel:
    candidate: str
    selection: float
    means: Mapping[str, float]

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return frame["kind"].map(self.means).fillna(self.means[""]).to_numpy(dtype=float)

    def save(self, folder: Path) -> None:
        body = {"candidate": self.candidate, "selection": self.selection, "means": dict(self.means)}
        (folder / "contract.json").write_text(json.dumps(body, sort_keys=True))

    def signature(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return pd.DataFrame({"kind": ["business"]}), pd.DataFrame({"log_energy": [self.means[""]]})


class KindFamily:
    """Logarithm of the energy a customer meters on a day, by the kind of customer."""

    name = "energy"
    tables: tuple[str, ...] = ("customers", "usage_daily")
    primary = Metric("squared_error", "lower", "")
    comparison: Literal["paired_bootstrap", "diebold_mariano"] = "paired_bootstrap"

    def __init__(self, options: KindOptions) -> None:
        self.options = options

    def _usage(self, snapshot: SnapshotRef, days: int) -> pd.DataFrame:
        usage = pd.read_parquet(snapshot.table("usage_daily")).sort_values("recorded_at")
        usage = usage.drop_duplicates(["customer_id", "day"], keep="last")
        usage = usage[usage["day"] > usage["day"].max() - timedelta(days=days)]
        customers = pd.read_parquet(snapshot.table("customers")).drop_duplicates("customer_id", keep="last")
        frame = usage[["customer_id", "day", "energy_kwh"]].merge(customers[["customer_id", "kind"]], on="customer_id")
        return frame.assign(log_energy=np.log1p(frame["energy_kwh"])).drop(columns="energy_kwh")

    def dataset(self, snapshot: SnapshotRef, folder: Path) -> DatasetRef:
        roles = {"entity": "customer_id", "time": "day", "target": "log_energy"}
        frame = self._usage(snapshot, self.options.days)
        return write_dataset(frame, folder, as_of=snapshot.as_of, roles=roles, source=f"snapshot {snapshot.digest[:8]}")

    def split(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> Split:
        cut = frame["day"].drop_duplicates().sort_values().iloc[int(0.7 * frame["day"].nunique())]
        return Split(frame[frame["day"] < cut], frame[frame["day"] >= cut], f"days from {cut:%Y-%m-%d} are the holdout")

    def candidates(self) -> Sequence[Candidate]:
        return [Candidate("overall", baseline=True), Candidate("kind")]

    def fit(
        self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str], fitted: Mapping[str, Model]
    ) -> KindModel:
        means = {"": float(train["log_energy"].mean())}
        if candidate.name == "kind":
            means |= {str(key): float(value) for key, value in train.groupby("kind")["log_energy"].mean().items()}
        loss = float(np.mean((train["log_energy"] - KindModel("", 0.0, means).predict(train)) ** 2))
        return KindModel(candidate.name, loss, means)

    def load(self, folder: Path) -> KindModel:
        return KindModel(**json.loads((folder / "contract.json").read_text()))

    def evaluate(
        self, model: Model, holdout: pd.DataFrame, train: pd.DataFrame, roles: Mapping[str, str]
    ) -> Evaluation:
        assert isinstance(model, KindModel)
        loss = (holdout["log_energy"] - model.predict(holdout)) ** 2
        losses = pd.DataFrame({"loss": loss.to_numpy(), "group": holdout["customer_id"].to_numpy(), "step": 0})
        losses.index = pd.Index(holdout["customer_id"] + holdout["day"].dt.strftime(" %Y-%m-%d"))
        by_customer = losses.groupby("group")["loss"].mean()
        mean, half = float(loss.mean()), 1.96 * float(by_customer.std() / np.sqrt(len(by_customer)))
        estimate = Estimate(mean, mean - half, mean + half)
        return Evaluation(model.candidate, losses, {"squared_error": estimate}, slices_of(losses), latency_ms=0.01)

    def finalise(
        self, model: Model, frame: pd.DataFrame, roles: Mapping[str, str], champion: Model | None = None
    ) -> Model:
        return model

    def online(self, snapshot: SnapshotRef) -> pd.DataFrame | None:
        recent = self._usage(snapshot, 14)
        return recent.groupby("customer_id").agg(log_energy_14d=("log_energy", "mean"), kind=("kind", "first"))


@flow(name="train-energy", flow_run_name=name_of_run)
def train_energy(name: str = "energy", as_of: datetime | None = None, days: int = 30) -> Trained:
    """Train it."""
    return finished(train_family(energy_spec(None, name, days=days), as_of))


def energy_spec(_settings: object, name: str = "energy", **options: object) -> Spec:
    return Spec("energy", name, options)


# Known to whichever process loads the flow from this file.
families.FAMILIES = {**families.FAMILIES, "energy": ("energy_by_kind", "KindFamily", "KindOptions")}
FLOWS["train-energy"] = ("energy_by_kind", "train_energy")  # type: ignore[index]
