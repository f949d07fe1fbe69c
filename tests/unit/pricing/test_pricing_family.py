"""Pricing in the lifecycle: candidates, judgement, gate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.lifecycle.evaluation import Evaluation
from models.lifecycle.gate import decide
from models.pricing.family import PricingFamily, PricingOptions
from models.pricing.members import Noise
from models.pricing.metrics import deviance_rows, given_totals, percentiles
from models.pricing.model import PricingModel
from models.pricing.training import best_weights
from store.errors import EmptyData, InvalidValue, MissingColumn, TrainingError
from tests.unit.pricing.conftest import ROLES


@pytest.fixture(scope="module")
def judged(family: PricingFamily, fitted: dict[str, PricingModel], frame: pd.DataFrame) -> dict[str, Evaluation]:
    split = family.split(frame, ROLES)
    return {
        name: family.evaluate(fitted[name], split.holdout, split.train, ROLES)
        for name in ("cell_mean", "loglog", "ensemble")
    }


def test_the_latest_weeks_are_the_holdout(family: PricingFamily, frame: pd.DataFrame) -> None:
    split = family.split(frame, ROLES)
    assert split.train["week"].max() < split.holdout["week"].min()
    assert len(split.train) + len(split.holdout) == len(frame)
    assert "are the holdout, 40% of 720 rows" in split.rule


def test_the_gate_promotes_the_ensemble_over_the_mean_of_each_place(
    family: PricingFamily, judged: dict[str, Evaluation]
) -> None:
    report = decide(
        judged["ensemble"],
        baseline=judged["cell_mean"],
        metric=family.primary,
        comparison=family.comparison,
    )
    assert report.promoted, report.reason
    assert judged["ensemble"].metrics["deviance"].value < judged["cell_mean"].metrics["deviance"].value
    assert {"deviance", "wape", "bias", "mae", "coverage_90"} == set(judged["ensemble"].metrics)
    assert 0.8 < judged["ensemble"].metrics["coverage_90"].value < 0.99
    assert set(judged["ensemble"].plots) == {"demand_curves.svg", "foreseen.svg", "elasticities.svg"}
    assert judged["ensemble"].details["elasticities"]["bread"]["identified"]
    assert {"slice.product", "slice.segment"} <= set(judged["ensemble"].losses.columns)


def test_a_registered_model_is_judged_by_its_recipe_and_not_by_what_it_has_seen(
    family: PricingFamily, model: PricingModel, judged: dict[str, Evaluation], frame: pd.DataFrame
) -> None:
    split = family.split(frame, ROLES)
    # The weights and the noise of a registered model have seen the holdout: whatever they are must not count.
    seen = replace(model.demand, weights=(0.1, 0.2, 0.7), noise=Noise(9.0, 0.9, True))
    again = family.evaluate(replace(model, demand=seen), split.holdout, split.train, ROLES)
    assert again.losses.equals(judged["ensemble"].losses)
    assert again.metrics == judged["ensemble"].metrics


def test_candidates_fail_with_reasons(
    family: PricingFamily, fitted: dict[str, PricingModel], frame: pd.DataFrame
) -> None:
    ensemble = family.candidates()[-1]
    with pytest.raises(TrainingError, match="needs two members, 1"):
        family.fit(ensemble, frame, ROLES, {"loglog": fitted["loglog"]})
    other = family.fit(family.candidates()[1], frame.iloc[:300], ROLES, {})
    with pytest.raises(TrainingError, match="other rows"):
        family.fit(ensemble, frame, ROLES, {"loglog": other, "forest": fitted["forest"]})
    with pytest.raises(EmptyData):
        family.split(frame.iloc[:0], ROLES)
    with pytest.raises(InvalidValue, match="at least 30"):
        family.split(frame.iloc[:20], ROLES)
    with pytest.raises(MissingColumn, match="rival"):
        family.split(frame.drop(columns="rival"), ROLES)
    with pytest.raises(InvalidValue, match="level = 2"):
        PricingOptions(level=2)


def test_without_time_rows_keep_their_side_when_the_file_grows(family: PricingFamily, frame: pd.DataFrame) -> None:
    roles = {role: name for role, name in ROLES.items() if role != "time"}
    few = family.split(frame.iloc[:400], roles)
    more = family.split(frame, roles)
    assert set(few.holdout.index) <= set(more.holdout.index)
    assert "hash of their content" in more.rule


def test_without_time_as_well_a_registered_model_is_judged_without_what_it_has_seen(
    family: PricingFamily, frame: pd.DataFrame
) -> None:
    roles = {role: name for role, name in ROLES.items() if role not in ("time", "competitor")}
    few = frame.iloc[::6]
    split = family.split(few, roles)
    fitted = family.fit(family.candidates()[3], split.train, roles, {})
    first = family.evaluate(fitted, split.holdout, split.train, roles)
    again = family.evaluate(family.finalise(fitted, few, roles), split.holdout, split.train, roles)
    assert again.losses["loss"].to_numpy() == pytest.approx(first.losses["loss"].to_numpy())


def test_given_the_totals_only_the_shares_are_judged() -> None:
    y, mean = np.array([3.0, 1.0, 0.0, 2.0]), np.array([6.0, 2.0, 1.0, 1.0])
    moment = np.array([0, 0, 1, 1])
    scaled = given_totals(y, mean, moment)
    assert scaled.tolist() == [3.0, 1.0, 1.0, 1.0]
    assert given_totals(y, mean * 7, moment) == pytest.approx(scaled)
    assert deviance_rows(y, scaled)[:2] == pytest.approx(0.0)
    assert deviance_rows(y, scaled).sum() == pytest.approx(2 * np.log(2))


def test_percentiles_of_the_right_distribution_are_uniform() -> None:
    rng = np.random.default_rng(0)
    mean = rng.uniform(0.2, 5, 4000)
    exact = percentiles(rng.poisson(mean).astype(float), mean, Noise(1.0, 0.0, True), 1)
    assert np.mean(np.abs(exact - 0.5) < 0.45) == pytest.approx(0.9, abs=0.02)
    wide = percentiles(rng.poisson(mean * rng.gamma(4, 0.25, 4000)).astype(float), mean, Noise(1.0, 0.5, True), 1)
    assert np.mean(np.abs(wide - 0.5) < 0.45) == pytest.approx(0.9, abs=0.02)
    measured = percentiles(mean * rng.gamma(4, 0.25, 4000), mean, Noise(1e-9, 0.5, False), 0)
    assert np.mean(np.abs(measured - 0.5) < 0.45) == pytest.approx(0.9, abs=0.02)


def test_weights_find_the_member_that_knows() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 5, 2000)
    means = np.column_stack([truth, np.full(2000, truth.mean()), rng.permutation(truth)])
    for moment in (None, np.repeat(np.arange(500), 4)):
        weights = best_weights(means, rng.poisson(truth).astype(float), moment)
        assert weights.sum() == pytest.approx(1.0)
        assert weights[0] > 0.9
