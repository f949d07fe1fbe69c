"""A family that the lifecycle has never heard of goes through all of it: that is what the contract of a family is for.

The family predicts a number by the mean of its group; data, registry and ledger are real.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

import models.families as families
from features.snapshot import write_dataset
from models.families import Spec
from models.lifecycle.evaluation import Estimate, Evaluation, Plots
from models.lifecycle.family import Candidate, Metric, Model, Split
from models.lifecycle.gate import GatePolicy
from models.lifecycle.registration import Judgement, summary
from models.lifecycle.training import train
from store.dataset import DatasetRef, SnapshotRef
from store.errors import InvalidValue, TrainingError, UnknownModel
from store.promotions import history
from store.registry import Registry
from store.settings import Settings


@dataclass(frozen=True)
class MeanOptions:
    candidates: tuple[str, ...] = ("overall", "by_group")
    broken: bool = False
    unjudgeable: str = ""


@dataclass(frozen=True)
class MeanModel:
    candidate: str
    selection: float
    means: Mapping[str, float]

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return frame["group"].map(self.means).fillna(self.means[""]).to_numpy(dtype=float)

    def save(self, folder: Path) -> None:
        body = {"candidate": self.candidate, "selection": self.selection, "means": dict(self.means)}
        (folder / "contract.json").write_text(json.dumps(body, sort_keys=True))

    def signature(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return pd.DataFrame({"group": ["a"]}), pd.DataFrame({"y": [self.means[""]]})


class MeanFamily:
    name = "means"
    tables: tuple[str, ...] = ()
    primary = Metric("squared_error", "lower", "units²")
    comparison: Literal["paired_bootstrap", "diebold_mariano"] = "paired_bootstrap"

    def __init__(self, options: MeanOptions) -> None:
        self.options = options

    def dataset(self, snapshot: SnapshotRef, folder: Path) -> DatasetRef:
        raise TrainingError("This family only learns from files.")

    def split(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> Split:
        ordered = frame.sort_values("row")
        cut = int(0.7 * len(ordered))
        return Split(ordered.iloc[:cut], ordered.iloc[cut:], "the last 30 % of the rows are the holdout")

    def candidates(self) -> Sequence[Candidate]:
        return [
            Candidate(
                name,
                baseline=name == "overall",
                needs=("by_group", "faulty") if name == "combined" else (),
                partial=name == "combined",
            )
            for name in self.options.candidates
        ]

    def fit(
        self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str], fitted: Mapping[str, Model]
    ) -> MeanModel:
        if candidate.name == "faulty" or (self.options.broken and not candidate.baseline):
            raise RuntimeError("the library gave up")
        if candidate.name == "combined":
            (part,) = fitted.values()
            assert isinstance(part, MeanModel)
            return MeanModel("combined", part.selection, part.means)
        means = {"": float(train["y"].mean())}
        if candidate.name == "by_group":
            means |= {str(group): float(value) for group, value in train.groupby("group")["y"].mean().items()}
        model = MeanModel(candidate.name, 0.0, means)
        return MeanModel(candidate.name, float(np.mean((train["y"] - model.predict(train)) ** 2)), means)

    def load(self, folder: Path) -> MeanModel:
        return MeanModel(**json.loads((folder / "contract.json").read_text()))

    def evaluate(
        self, model: Model, holdout: pd.DataFrame, train: pd.DataFrame, roles: Mapping[str, str]
    ) -> Evaluation:
        assert isinstance(model, MeanModel)
        if model.candidate == self.options.unjudgeable:
            raise ZeroDivisionError("nobody could have known")
        loss = (holdout["y"] - model.predict(holdout)) ** 2
        losses = pd.DataFrame({"loss": loss.to_numpy(), "group": holdout["row"].to_numpy(), "step": 0})
        losses.index = pd.Index(holdout["row"].astype(str))
        mean = float(loss.mean())
        estimate = Estimate(mean, mean - 0.1, mean + 0.1)
        slices = pd.DataFrame({"slice": ["all"], "rows": [len(holdout)], "value": [mean]})
        plots = Plots(lambda: {"means.svg": f"<svg>{model.candidate}</svg>".encode()})
        return Evaluation(model.candidate, losses, {"squared_error": estimate}, slices, latency_ms=0.01, plots=plots)

    def finalise(
        self, model: Model, frame: pd.DataFrame, roles: Mapping[str, str], champion: Model | None = None
    ) -> Model:
        return model

    def online(self, snapshot: SnapshotRef) -> pd.DataFrame | None:
        return None


@pytest.fixture
def settings(settings: Settings, mlflow_template: Path) -> Settings:
    """A home with an MLflow store."""
    shutil.copy(mlflow_template, settings.root / "mlflow.db")
    return settings


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> Spec:
    import sys

    known = {**families.FAMILIES, "means": ("test_new_family_module", "MeanFamily", "MeanOptions")}
    monkeypatch.setattr(families, "FAMILIES", known)
    monkeypatch.setitem(sys.modules, "test_new_family_module", sys.modules[__name__])
    return Spec("means", "means-of-groups")


def dataset(tmp_path: Path, *, effect: float, seed: int) -> DatasetRef:
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b", "c"], 600)
    shift = pd.Series(group).map({"a": -effect, "b": 0.0, "c": effect}).to_numpy()
    frame = pd.DataFrame({"row": np.arange(600), "group": group, "y": shift + rng.normal(0, 1, 600)})
    return write_dataset(frame, tmp_path, as_of=None, roles={"target": "y"}, source="a test")


def plots(judgement: Judgement) -> dict[str, list[str]]:
    """The plots of every candidate that was judged."""
    return {one.candidate: sorted(one.load().plots) for one in judgement.judged if one.path}


def test_a_new_family_is_trained_gated_registered_and_promoted(settings: Settings, spec: Spec, tmp_path: Path) -> None:
    seen: list[str] = []
    judgement, outcome = train(
        settings,
        spec,
        dataset(tmp_path, effect=2.0, seed=1),
        actor="ada",
        progress=lambda label, *_: seen.append(label),
    )
    assert outcome.verdict == "promote"
    assert judgement.report.opponent == "baseline overall"
    assert seen[0] == "fit overall"
    assert seen[-1] == "done"
    registry = Registry(settings)
    assert registry.alias("means-of-groups", "champion") == outcome.registered.version == 1
    line = history(settings, "means-of-groups")[-1]
    assert (line.state, line.actor, line.to_version) == ("done", "ada", 1)
    assert line.report is not None
    assert line.report["test"]["difference"] == judgement.report.test.difference
    served = MeanFamily(MeanOptions()).load(registry.fetch("means-of-groups", 1))
    assert served.candidate == "by_group"

    again, second = train(settings, spec, dataset(tmp_path, effect=2.0, seed=1), actor="ada")
    assert second.verdict == "keep"
    assert again.report.opponent == "champion v1 (by_group)"
    assert again.report.test.difference == 0
    assert registry.alias("means-of-groups", "champion") == 1
    assert registry.alias("means-of-groups", "challenger") == 2
    assert [line.state for line in history(settings, "means-of-groups")] == ["done", "refused"]


def test_a_name_belongs_to_one_family(settings: Settings, spec: Spec, tmp_path: Path) -> None:
    ref = dataset(tmp_path, effect=2.0, seed=1)
    train(settings, spec, ref, actor="ada")
    other = Spec("churn", spec.name)
    with pytest.raises(InvalidValue, match="means-of-groups is a means model; a churn model cannot") as caught:
        # Whatever the policy says of champions that cannot be compared.
        train(settings, other, ref, actor="ada", policy=GatePolicy(incomparable="promote"))
    assert "--name churn-own" in caught.value.remedy
    assert Registry(settings).alias("means-of-groups", "champion") == 1


def test_no_effect_no_champion(settings: Settings, spec: Spec, tmp_path: Path) -> None:
    _, outcome = train(settings, spec, dataset(tmp_path, effect=0.0, seed=2), actor="ada")
    assert outcome.verdict == "keep"
    assert outcome.champion is None
    assert "not better than baseline overall" in outcome.reason
    assert Registry(settings).alias("means-of-groups", "champion") is None


def test_the_same_data_give_the_same_numbers(settings: Settings, spec: Spec, tmp_path: Path) -> None:
    ref = dataset(tmp_path, effect=1.0, seed=3)
    first, _ = train(settings, spec, ref, actor="ada")
    second, _ = train(settings, spec, dataset(tmp_path / "again", effect=1.0, seed=3), actor="ada")
    assert first.dataset.digest == second.dataset.digest
    assert first.challenger.load().metrics == second.challenger.load().metrics


def test_when_no_candidate_can_be_fitted_the_reasons_are_told(settings: Settings, spec: Spec, tmp_path: Path) -> None:
    broken = Spec(spec.family, spec.name, {"broken": True})
    with pytest.raises(TrainingError, match="by_group: RuntimeError: the library gave up"):
        train(settings, broken, dataset(tmp_path, effect=1.0, seed=4), actor="ada")


def test_one_member_that_fails_does_not_take_the_others_along(settings: Settings, spec: Spec, tmp_path: Path) -> None:
    names = ("overall", "by_group", "faulty", "combined")
    four = Spec(spec.family, spec.name, {"candidates": names})
    judgement, outcome = train(settings, four, dataset(tmp_path, effect=2.0, seed=6), actor="ada")
    assert plots(judgement) == {"overall": [], "by_group": ["means.svg"], "combined": []}
    errors = {one.candidate: one.error for one in judgement.fitted}
    assert errors == {**dict.fromkeys(names, ""), "faulty": "RuntimeError: the library gave up"}
    assert outcome.verdict == "promote"


def test_a_candidate_that_cannot_be_judged_is_not_chosen(settings: Settings, spec: Spec, tmp_path: Path) -> None:
    options = {"candidates": ("overall", "by_group", "combined"), "unjudgeable": "by_group"}
    broken = Spec(spec.family, spec.name, options)
    judgement, outcome = train(settings, broken, dataset(tmp_path, effect=2.0, seed=7), actor="ada")
    assert judgement.report.challenger == "combined"
    rows = {row["candidate"]: row for row in summary(judgement)["candidates"]}
    assert rows["by_group"]["error"] == "ZeroDivisionError: nobody could have known"
    assert "metrics" not in rows["by_group"]
    assert outcome.verdict == "promote"
    # Whoever takes its place is drawn.
    assert plots(judgement) == {"overall": [], "combined": ["means.svg"]}


@pytest.mark.parametrize("name", ["", "a/b", "../up", " x", "a b", "x" * 101])
def test_a_name_that_cannot_be_one_is_refused_before_the_work(name: str) -> None:
    with pytest.raises(InvalidValue, match="cannot be the name of a model"):
        Spec("churn", name)


def test_unknown_families_and_options_are_named(spec: Spec) -> None:
    with pytest.raises(UnknownModel, match="'weather'"):
        Spec("weather", "w").build()
    with pytest.raises(InvalidValue, match="no option 'candidate'"):
        Spec("means", "m", {"candidate": ("overall",)}).build()


def test_the_report_page_needs_nothing_from_the_internet(settings: Settings, spec: Spec, tmp_path: Path) -> None:
    _, outcome = train(settings, spec, dataset(tmp_path, effect=2.0, seed=5), actor="<script>alert(1)</script>")
    pages = list(settings.root.rglob("report.html"))
    assert len(pages) == 1
    page = pages[0].read_text()
    assert outcome.registered.run_id in str(pages[0])
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "by_group" in page
    assert "The gate promotes it." in page
