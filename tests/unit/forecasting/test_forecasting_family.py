from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.forecasting.family import ForecastingFamily, ForecastModel, ForecastOptions
from models.lifecycle.family import Split
from store.errors import EmptyData, IntegrityFailed, InvalidValue, TrainingError, UnknownEntity

H = 14
MEMBERS = ("DynamicOptimizedTheta", "AutoTheta")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    index = np.arange(150)
    parts = []
    for k in range(6):
        y = 100 + 10 * k + 0.1 * index + 10 * np.sin(2 * np.pi * (index + k) / 7) + 2 * rng.standard_normal(150)
        days = pd.date_range("2025-01-01", periods=150)
        parts.append(pd.DataFrame({"unique_id": f"g{k % 2}/s{k}", "ds": days, "y": y}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def family() -> ForecastingFamily:
    return ForecastingFamily(ForecastOptions(horizon=H, freq="D", members=MEMBERS))


@pytest.fixture(scope="module")
def split(family: ForecastingFamily, frame: pd.DataFrame) -> Split:
    return family.split(frame, {})


@pytest.fixture(scope="module")
def fitted(family: ForecastingFamily, split: Split) -> dict[str, ForecastModel]:
    models: dict[str, ForecastModel] = {}
    for candidate in family.candidates():
        models[candidate.name] = family.fit(
            candidate, split.train, {}, {need: models[need] for need in candidate.needs}
        )
    return models


def test_the_last_steps_of_each_series_are_the_holdout(split: Split, frame: pd.DataFrame) -> None:
    assert len(split.holdout) == 6 * H
    assert len(split.train) + len(split.holdout) == len(frame)
    assert split.train["ds"].max() < split.holdout["ds"].min()
    assert "last 14 steps" in split.rule


def test_short_series_are_trained_on_but_not_judged(family: ForecastingFamily, frame: pd.DataFrame) -> None:
    short = pd.DataFrame({"unique_id": "short", "ds": pd.date_range("2025-05-01", periods=10), "y": range(10)})
    split = family.split(pd.concat([frame, short]), {})
    assert "short" not in set(split.holdout["unique_id"])
    assert (split.train["unique_id"] == "short").sum() == 10
    with pytest.raises(EmptyData):
        family.split(short.head(5), {})


def test_roles_name_the_columns(family: ForecastingFamily, frame: pd.DataFrame) -> None:
    roles = {"entity": "shop", "time": "day", "target": "sales"}
    renamed = frame.rename(columns={"unique_id": "shop", "ds": "day", "y": "sales"})
    split = family.split(renamed, roles)
    assert list(split.train.columns) == ["shop", "day", "sales"]
    model = family.fit(family.candidates()[0], split.train, roles, {})
    assert family.evaluate(model, split.holdout, split.train, roles).metrics["mase"].value > 0


def test_the_baseline_comes_first_and_the_combination_needs_the_members(family: ForecastingFamily) -> None:
    first, *_, last = family.candidates()
    assert first.baseline
    assert last.name == "combination"
    assert set(last.needs) == {"SeasonalNaive", *MEMBERS}
    assert "AutoARIMA" in {one.name for one in ForecastingFamily(ForecastOptions(freq="MS")).candidates()}


def test_the_combination_takes_the_paths_of_its_members(fitted: dict[str, ForecastModel]) -> None:
    combined = fitted["combination"]
    low = np.minimum(*(fitted[name].paths for name in MEMBERS))
    high = np.maximum(*(fitted[name].paths for name in MEMBERS))
    assert np.all((combined.paths >= low - 1e-9) & (combined.paths <= high + 1e-9))
    assert 0 < combined.selection < fitted["SeasonalNaive"].selection


def test_evaluation_has_a_loss_per_series_and_step(
    family: ForecastingFamily, split: Split, fitted: dict[str, ForecastModel]
) -> None:
    ours = family.evaluate(fitted["combination"], split.holdout, split.train, {})
    base = family.evaluate(fitted["SeasonalNaive"], split.holdout, split.train, {})
    assert len(ours.losses) == 6 * H
    assert ours.losses.index.equals(base.losses.index)
    assert sorted(ours.losses["step"].unique()) == list(range(1, H + 1))
    assert ours.losses["group"].nunique() == 6
    assert set(ours.metrics) == {"mase", "smape", "coverage_80", "coverage_95", "crps"}
    assert ours.metrics["mase"].value == pytest.approx(ours.losses.groupby("group")["loss"].mean().mean())
    assert all(one.low <= one.value <= one.high for one in ours.metrics.values())
    assert ours.metrics["mase"].value < base.metrics["mase"].value
    assert list(ours.slices["slice"]) == ["series=g0", "series=g1"]
    assert ours.latency_ms < 100
    assert ours.plots["forecasts.png"][:4] == b"\x89PNG"


def test_the_loss_is_mase(family: ForecastingFamily, split: Split, fitted: dict[str, ForecastModel]) -> None:
    from utilsforecast.losses import mase

    judged = family.evaluate(fitted["combination"], split.holdout, split.train, {})
    found = fitted["combination"].forecast().merge(split.holdout, on=["unique_id", "ds"])
    expected = mase(found, ["forecast"], 7, split.train)["forecast"].mean()
    assert judged.metrics["mase"].value == pytest.approx(expected)


def test_save_and_load_give_the_same_model_and_the_same_bytes(fitted: dict[str, ForecastModel], tmp_path: Path) -> None:
    model = fitted["combination"]
    for name in ("one", "two"):
        model.save(tmp_path / name)
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    loaded = ForecastModel.load(tmp_path / "one")
    pd.testing.assert_frame_equal(loaded.forecast(levels=(50, 99.5)), model.forecast(levels=(50, 99.5)))
    assert loaded.selection == model.selection
    assert loaded.runs.keys() == model.runs.keys()


def test_a_broken_folder_is_refused(fitted: dict[str, ForecastModel], tmp_path: Path) -> None:
    fitted["combination"].save(tmp_path / "m")
    (tmp_path / "m" / "quantiles.parquet").unlink()
    with pytest.raises(IntegrityFailed):
        ForecastModel.load(tmp_path / "m")
    with pytest.raises(IntegrityFailed):
        ForecastModel.load(tmp_path)


def test_finalising_moves_the_origin_to_the_end_of_the_data(
    family: ForecastingFamily, frame: pd.DataFrame, split: Split, fitted: dict[str, ForecastModel], tmp_path: Path
) -> None:
    final = family.finalise(fitted["combination"], frame, {})
    found = final.forecast(["g0/s0"], 3, (80,))
    assert list(found["ds"]) == list(pd.date_range("2025-05-31", periods=3))
    assert not final.runs
    final.save(tmp_path / "final")
    assert not (tmp_path / "final" / "runs.parquet").exists()
    # As a champion it is judged by its recipe at the holdout's origin, not by what it knows since.
    again = family.evaluate(final, split.holdout, split.train, {})
    first = family.evaluate(fitted["combination"], split.holdout, split.train, {})
    assert again.metrics["mase"].value == pytest.approx(first.metrics["mase"].value)


def test_the_cache_saves_fitting_a_member_twice(
    frame: pd.DataFrame, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = ForecastingFamily(ForecastOptions(horizon=H, freq="D", members=MEMBERS, cache=str(tmp_path / "cache")))
    models: dict[str, ForecastModel] = {}
    for candidate in family.candidates():
        models[candidate.name] = family.fit(
            candidate, split.train, {}, {need: models[need] for need in candidate.needs}
        )
    final = family.finalise(models["combination"], frame, {})
    monkeypatch.setattr("models.forecasting.panel_runs.map_series", lambda *_: pytest.fail("fitted again"))
    again = family.evaluate(final, split.holdout, split.train, {})
    assert again.metrics["mase"].value > 0


def test_any_level_horizon_and_series_can_be_asked_for(fitted: dict[str, ForecastModel]) -> None:
    model = fitted["combination"]
    found = model.forecast(["g1/s5", "g0/s0"], 5, (50, 80, 99.9))
    assert list(found.columns) == [
        "unique_id", "ds", "model", "forecast", "lo-50", "hi-50", "lo-80", "hi-80", "lo-99.9", "hi-99.9",
    ]  # fmt: skip
    assert list(found["unique_id"].unique()) == ["g1/s5", "g0/s0"]
    assert (found["lo-99.9"] < found["lo-80"]).all()
    assert (found["lo-80"] < found["lo-50"]).all()
    assert (found["lo-50"] < found["forecast"]).all()
    assert (found["forecast"] < found["hi-50"]).all()
    with pytest.raises(UnknownEntity, match="nope"):
        model.forecast(["nope"])
    with pytest.raises(InvalidValue, match="horizon=15"):
        model.forecast(horizon=15)
    with pytest.raises(InvalidValue, match="level=100"):
        model.forecast(levels=(100,))


def test_a_signature_is_an_example_that_works(fitted: dict[str, ForecastModel]) -> None:
    inputs, outputs = fitted["combination"].signature()
    assert list(inputs["unique_id"]) == ["g0/s0"]
    assert len(outputs) == 3


def test_unknown_names_are_refused(family: ForecastingFamily, split: Split) -> None:
    from models.lifecycle.family import Candidate

    with pytest.raises(InvalidValue, match="Oracle"):
        ForecastingFamily(ForecastOptions(members=("Oracle",)))
    with pytest.raises(TrainingError, match="Oracle"):
        family.fit(Candidate("Oracle"), split.train, {}, {})
    with pytest.raises(TrainingError, match="AutoTheta"):
        family.fit(Candidate("combination", needs=("AutoTheta",)), split.train, {}, {})
    with pytest.raises(InvalidValue, match="horizon"):
        ForecastOptions(horizon=0)


def test_selection_is_the_rolling_error_and_the_same_measure_for_all(
    family: ForecastingFamily, split: Split, fitted: dict[str, ForecastModel]
) -> None:
    from models.lifecycle.family import Candidate

    # A combination of one member is that member: its rolling error must read the same under both names.
    alone = family.fit(
        Candidate("combination", needs=("AutoTheta",)), split.train, {}, {"AutoTheta": fitted["AutoTheta"]}
    )
    assert alone.selection == fitted["AutoTheta"].selection
    assert fitted["SeasonalNaive"].selection > fitted["combination"].selection


def test_a_member_that_suits_no_series_is_no_candidate_and_the_combination_goes_on() -> None:
    from models.lifecycle.family import Candidate

    rng = np.random.default_rng(1)
    days = pd.date_range("2025-01-01", periods=70)
    short = pd.DataFrame({"unique_id": "a", "ds": days, "y": 10 + np.arange(70) % 7 + rng.standard_normal(70)})
    family = ForecastingFamily(ForecastOptions(horizon=H, freq="D", members=("AutoTheta", "Boosting")))
    train = family.split(short, {}).train
    with pytest.raises(TrainingError, match=r"Boosting suits none of the 1 series \(series 'a'.*too few"):
        family.fit(Candidate("Boosting"), train, {}, {})
    whole = family.candidates()[-1]
    assert whole.partial
    theta = family.fit(Candidate("AutoTheta"), train, {}, {})
    combined = family.fit(whole, train, {}, {"AutoTheta": theta})
    assert np.array_equal(combined.paths, theta.paths)


def test_options_come_from_json() -> None:
    options = ForecastOptions(seasons=[24, 168], levels=[80], members=["MSTL"])  # type: ignore[arg-type]
    assert (options.seasons, options.levels, options.members) == ((24, 168), (80,), ("MSTL",))


def test_serving_a_model_imports_no_forecasting_library(fitted: dict[str, ForecastModel], tmp_path: Path) -> None:
    fitted["combination"].save(tmp_path / "m")
    code = (
        "import sys, pathlib\n"
        "from models.forecasting.model import ForecastModel\n"
        f"ForecastModel.load(pathlib.Path({str(tmp_path / 'm')!r})).forecast()\n"
        "heavy = {'statsforecast', 'prophet', 'lightgbm', 'sklearn', 'scipy', 'matplotlib', 'numba', 'joblib'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def with_driver() -> pd.DataFrame:
    """Two series that follow a known column, and `H` rows ahead that leave the target empty."""
    rng = np.random.default_rng(4)
    parts = []
    for k in range(2):
        warmth = 20 * rng.standard_normal(120 + H)
        y = 300 + 5 * k + 10 * np.sin(2 * np.pi * np.arange(120 + H) / 7) + 3 * warmth + rng.standard_normal(120 + H)
        y[120:] = np.nan
        days = pd.date_range("2025-01-01", periods=120 + H)
        parts.append(pd.DataFrame({"unique_id": f"s{k}", "ds": days, "y": y, "warmth": warmth}))
    return pd.concat(parts, ignore_index=True)


def test_columns_known_in_advance_go_through_the_lifecycle(with_driver: pd.DataFrame, tmp_path: Path) -> None:
    from features.snapshot import read_dataset
    from models.forecasting.from_file import prepare
    from store.errors import MissingColumn

    with_driver.to_csv(tmp_path / "panel.csv", index=False)
    ref, _ = prepare(tmp_path / "panel.csv", tmp_path / "data", exog=("warmth",), horizon=H)
    assert ref.roles["exog warmth"] == "warmth"
    data = read_dataset(ref)
    assert data["y"].isna().sum() == 2 * H
    options = ForecastOptions(horizon=H, freq="D", members=("AutoARIMA", "Boosting"), exog=("warmth",))
    family = ForecastingFamily(options)
    split = family.split(data, ref.roles)
    assert len(split.holdout) == 2 * H
    assert split.holdout["y"].notna().all()
    # The training part knows the holdout's column, never its target.
    ahead = split.train[split.train["y"].isna()]
    assert set(ahead["ds"]) == set(split.holdout["ds"])
    assert split.train.dropna()["ds"].max() < split.holdout["ds"].min()
    models: dict[str, ForecastModel] = {}
    for candidate in family.candidates():
        fitted = {need: models[need] for need in candidate.needs}
        models[candidate.name] = family.fit(candidate, split.train, ref.roles, fitted)
    whole = models["combination"]
    judged = family.evaluate(whole, split.holdout, split.train, ref.roles).metrics["mase"].value
    naive = family.evaluate(models["SeasonalNaive"], split.holdout, split.train, ref.roles).metrics["mase"].value
    assert judged < 0.5 * naive
    final = family.finalise(whole, data, ref.roles)
    assert final.stamps[0, 0] == np.datetime64("2025-05-01")
    assert final.contract["exog"] == ["warmth"]
    # As a champion, later and under other options: its own recipe, with its own columns, or none at all.
    final.save(tmp_path / "final")
    champion = ForecastModel.load(tmp_path / "final")
    later = ForecastingFamily(ForecastOptions(horizon=H, freq="D", members=("AutoARIMA", "Boosting")))
    again = later.evaluate(champion, split.holdout, split.train, ref.roles).metrics["mase"].value
    assert again == pytest.approx(judged)
    without = later.split(data.drop(columns="warmth"), {})
    with pytest.raises(MissingColumn, match="warmth"):
        later.evaluate(champion, without.holdout, without.train, {})


def test_training_needs_the_future_of_the_columns(with_driver: pd.DataFrame, tmp_path: Path) -> None:
    from models.forecasting.from_file import prepare

    with_driver.dropna().to_csv(tmp_path / "panel.csv", index=False)
    with pytest.raises(InvalidValue, match=r"'s0': 'warmth' is not known at 2025-05-01 \(14 of 14 steps ahead"):
        prepare(tmp_path / "panel.csv", tmp_path / "data", exog=("warmth",), horizon=H)
    future = with_driver[with_driver["y"].isna()].drop(columns="y")
    future.to_csv(tmp_path / "future.csv", index=False)
    made, _ = prepare(
        tmp_path / "panel.csv", tmp_path / "data", exog=("warmth",), horizon=H, future=tmp_path / "future.csv"
    )
    with_driver.to_csv(tmp_path / "whole.csv", index=False)
    assert made.digest == prepare(tmp_path / "whole.csv", tmp_path / "data", exog=("warmth",), horizon=H)[0].digest


def test_members_that_use_what_is_known_are_candidates() -> None:
    months = ForecastingFamily(ForecastOptions(freq="MS", exog=("price",)))
    assert {"AutoARIMA", "Prophet", "Boosting"} <= {one.name for one in months.candidates()}
    days = ForecastingFamily(ForecastOptions(freq="D", holidays="DE"))
    assert "AutoARIMA" in {one.name for one in days.candidates()}
    assert "AutoARIMA" not in {one.name for one in ForecastingFamily(ForecastOptions(freq="D")).candidates()}


def test_a_run_goes_on_without_a_member_that_suits_no_series(tmp_path: Path) -> None:
    from features.snapshot import write_dataset
    from models.families import Spec
    from models.lifecycle import stages

    rng = np.random.default_rng(1)
    days = pd.date_range("2025-01-01", periods=50)
    short = pd.DataFrame({"unique_id": "a", "ds": days, "y": 10 + np.arange(50) % 7 + rng.standard_normal(50)})
    ref = write_dataset(short, tmp_path / "data", roles={"entity": "unique_id", "time": "ds", "target": "y"})
    spec = Spec("forecasting", "own", {"horizon": 7, "freq": "D", "members": ["AutoTheta", "Boosting"]})
    fitted: list[stages.Fitted] = []
    for name in stages.candidate_names(spec):
        fitted.append(stages.fit(spec, name, ref, tmp_path, fitted))
    by_name = {one.candidate: one for one in fitted}
    assert "suits none of the 1 series" in by_name["Boosting"].error
    assert by_name["combination"].error == ""
    assert stages.choose(fitted, spec.build().primary).candidate == "combination"
