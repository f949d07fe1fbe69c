"""The segmentation family on real purchases: split, judgement, what is kept, what is answered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.lifecycle.evaluation import Evaluation
from models.lifecycle.family import Answers, Model, ScoresEntities, Split
from models.lifecycle.statistics import pair, paired_bootstrap
from models.segmentation.family import SegmentationFamily, SegmentationModel, SegmentationOptions
from models.segmentation.outlook import loss_rows
from store.errors import EmptyData, IntegrityFailed, InvalidValue, MissingColumn, TrainingError
from store.registry import folder_sha256

ROLES = {"entity": "entity", "time": "as_of"}
NAMES = ("one_segment", "rfm_quintiles", "kmeans", "gaussian_mixture")


@pytest.fixture(scope="module")
def judged(family: SegmentationFamily, fitted: dict[str, SegmentationModel], split: Split) -> dict[str, Evaluation]:
    return {name: family.evaluate(model, split.holdout, split.train, ROLES) for name, model in fitted.items()}


@pytest.fixture(scope="module")
def final(family: SegmentationFamily, fitted: dict[str, SegmentationModel], frame: pd.DataFrame) -> SegmentationModel:
    made = family.finalise(fitted["kmeans"], frame, ROLES)
    assert isinstance(made, SegmentationModel)
    return made


def test_the_split_shares_neither_customers_nor_time(split: Split, frame: pd.DataFrame) -> None:
    assert not set(split.train["entity"]) & set(split.holdout["entity"])
    assert 0.2 < len(split.holdout) / frame["entity"].nunique() < 0.3
    judged_at = split.holdout["as_of"].unique()
    assert len(judged_at) == 1
    # What came after each moment that is learned from was over when the judged period began.
    assert split.train["as_of"].max() + pd.Timedelta(days=90) <= judged_at[0]
    assert split.holdout["next_orders"].notna().all()
    assert "the 90 days after 1998-04-02" in split.rule


def test_customers_stay_on_their_side_when_others_come(family: SegmentationFamily, frame: pd.DataFrame) -> None:
    whole = set(family.split(frame, ROLES).holdout["entity"])
    half = frame[frame["entity"].str[-1].isin(list("13579"))]
    assert set(family.split(half, ROLES).holdout["entity"]) == {name for name in whole if name[-1] in "13579"}


def test_candidates_and_their_contract(
    family: SegmentationFamily, fitted: dict[str, SegmentationModel], split: Split
) -> None:
    assert tuple(one.name for one in family.candidates()) == NAMES
    assert [one.baseline for one in family.candidates()] == [True, True, False, False]
    assert isinstance(family, ScoresEntities)
    for name, model in fitted.items():
        assert isinstance(model, Model)
        assert isinstance(model, Answers)
        assert model.candidate == name
        assert 0 < model.selection < 1.1
    assert fitted["kmeans"].selection < 0.95 * fitted["one_segment"].selection
    with pytest.raises(TrainingError, match="no segmentation candidate 'magic'"):
        family.fit(replace(family.candidates()[0], name="magic"), split.train, ROLES, {})


def test_segments_say_something_about_the_next_period(judged: dict[str, Evaluation]) -> None:
    assert len({tuple(one.losses.index) for one in judged.values()}) == 1
    test = paired_bootstrap(pair(judged["one_segment"].losses, judged["kmeans"].losses))
    assert test.low > 0
    metrics = judged["kmeans"].metrics
    for name in ("next_period_loss", "silhouette", "stability", "value_rmse", "value_total_error", "purchases_mae"):
        assert metrics[name].low <= metrics[name].value <= metrics[name].high, name
    assert metrics["next_period_loss"].value == pytest.approx(judged["kmeans"].losses["loss"].mean())
    assert metrics["purchases_mae"].value < metrics["purchases_mae_naive"].value
    assert metrics["value_rmse"].value < metrics["value_rmse_naive"].value
    assert set(judged["kmeans"].slices["slice"]) == {"buyer=bought again", "buyer=bought once"}
    assert judged["kmeans"].plots["choice_of_k.png"].startswith(b"\x89PNG")
    assert judged["kmeans"].plots["segments.png"].startswith(b"\x89PNG")
    told = json.loads(json.dumps(judged["kmeans"].details, allow_nan=False))
    assert {"k", "stability", "low", "high", "silhouette", "bic", "smallest"} == set(told["choice"]["tried"][0])


def test_the_loss_of_one_segment_is_one_by_definition() -> None:
    y = np.random.default_rng(0).normal(size=(500, 3)) * [1, 5, 100]
    assert loss_rows(np.tile(y.mean(axis=0), (500, 1)), y, y).mean() == pytest.approx(1.0)
    flat = np.column_stack([y, np.ones(500)])
    assert loss_rows(flat, flat + np.array([0, 0, 0, 9]), flat).sum() == 0
    assert loss_rows(np.ones((5, 1)), np.ones((5, 1)), np.ones((5, 1))).tolist() == [0.0] * 5


def test_the_value_model_is_judged_only_on_what_it_did_not_know(
    family: SegmentationFamily, final: SegmentationModel, split: Split
) -> None:
    """A registered version was fitted to the end of the data of its day."""
    evaluation = family.evaluate(final, split.holdout, split.train, ROLES)
    assert "value_rmse" not in evaluation.metrics
    assert "next_period_loss" in evaluation.metrics


def test_the_final_model_holds_everybody_at_the_end_of_the_data(
    final: SegmentationModel, fitted: dict[str, SegmentationModel], frame: pd.DataFrame
) -> None:
    assert sum(one.rows for one in final.segments) == frame["entity"].nunique() == 2_357
    assert final.partition is fitted["kmeans"].partition
    assert max(final.segments, key=lambda one: one.mean_value or 0).id == 1
    assert len({one.name for one in final.segments}) == len(final.segments)
    present = frame[frame["as_of"] == frame["as_of"].max()]
    means = final.score(present).assign(spent=present["spent"]).groupby("label")["spent"].mean()
    assert means["1"] > 2 * present["spent"].mean()
    best = next(one for one in final.segments if one.id == 1)
    assert "high spending" in best.name
    assert "(all: " in best.wording.description


def test_the_same_data_give_the_same_bytes_and_they_come_back(
    family: SegmentationFamily, final: SegmentationModel, split: Split, frame: pd.DataFrame, tmp_path: Path
) -> None:
    candidate = family.candidates()[2]
    again = family.finalise(family.fit(candidate, split.train, ROLES, {}), frame, ROLES)
    final.save(tmp_path / "a")
    again.save(tmp_path / "b")
    assert folder_sha256(tmp_path / "a") == folder_sha256(tmp_path / "b")
    loaded = family.load(tmp_path / "a")
    loaded.save(tmp_path / "c")
    assert folder_sha256(tmp_path / "a") == folder_sha256(tmp_path / "c")
    pd.testing.assert_frame_equal(loaded.score(frame.tail(50)), final.score(frame.tail(50)))
    given, expected = loaded.signature()
    pd.testing.assert_frame_equal(loaded.answer(given), expected, check_dtype=False, rtol=1e-9, atol=1e-9)


def test_a_changed_model_does_not_answer_as_it_did(final: SegmentationModel, tmp_path: Path) -> None:
    final.save(tmp_path)
    contract = json.loads((tmp_path / "contract.json").read_text())
    contract["value"]["spend"]["parameters"]["p"]["value"] *= 1.01
    (tmp_path / "contract.json").write_text(json.dumps(contract))
    loaded = SegmentationModel.load(tmp_path)
    given, expected = loaded.signature()
    assert not np.allclose(loaded.answer(given)["value"], expected["value"])


def test_a_customer_alone_and_among_others(final: SegmentationModel, frame: pd.DataFrame) -> None:
    few = frame.tail(30).reset_index(drop=True)
    scores = final.score(few)
    for place in (0, 7, 29):
        record = few.iloc[place].to_dict()
        found = final.assign(record)
        assert str(found.segment.id) == scores["label"].iloc[place]
        assert found.confidence == pytest.approx(scores["confidence"].iloc[place], abs=1e-8)
        worth = final.worth(record)
        assert worth is not None
        assert worth["value"] == pytest.approx(scores["value"].iloc[place], abs=1e-5)
        pd.testing.assert_frame_equal(final.score(few.iloc[[place]]), scores.iloc[[place]])
    unknown = dict.fromkeys(final.columns)
    assert final.assign(unknown).missing == final.scaler.columns
    assert np.isfinite(list((final.worth(unknown) or {}).values())).all()
    assert scores["value"].between(0, 1e6).all()
    assert scores["p_alive"].between(0, 1).all()
    assert len(final.score(few.iloc[:0])) == 0


def test_a_champion_of_other_periods_or_customers_cannot_be_compared(
    final: SegmentationModel, split: Split, family: SegmentationFamily
) -> None:
    other = SegmentationFamily(SegmentationOptions(horizon_days=30))
    with pytest.raises(InvalidValue, match="periods of 90 days, the rows hold 30"):
        other.evaluate(final, split.holdout, split.train, ROLES)
    with pytest.raises(MissingColumn, match="no known kind of customers; for buyers it lacks orders"):
        family.evaluate(final, split.holdout.drop(columns="orders"), split.train, ROLES)


def test_too_little_to_learn_from(family: SegmentationFamily, frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(EmptyData, match="shorter than two periods"):
        family.split(frame[frame["as_of"] == frame["as_of"].max()], ROLES)
    few = frame[frame["entity"].isin(frame["entity"].unique()[:12])]
    with pytest.raises(InvalidValue, match="are too few"):
        family.split(few, ROLES)
    with pytest.raises(IntegrityFailed, match="no readable contract"):
        family.load(tmp_path)
    (tmp_path / "contract.json").write_text('{"family": "churn", "format": 1}')
    with pytest.raises(IntegrityFailed, match="churn"):
        family.load(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("k", 1), ("horizon_days", 0), ("discount", -0.1), ("margin", 1.5)])
def test_options_out_of_range(name: str, value: float) -> None:
    with pytest.raises(InvalidValue, match=name):
        SegmentationOptions(**{name: value})  # type: ignore[arg-type]
