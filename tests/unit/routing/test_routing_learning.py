"""What a policy learns from a table: the kinds of prompts, with holes, with groups; and what it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.routing.blend import weights_of
from models.routing.fitting import difference_error, find_length, fit_constant, found
from models.routing.material import Material, out_of_fold, prepare
from models.routing.model import RoutingModel, Scale
from models.routing.normal import levels
from models.routing.options import RoutingOptions
from models.routing.outcomes import Outcomes
from models.routing.regret import regret_rows, worth
from models.routing.regret import weights_of as regret_weights
from models.routing.training import fit, member, members_of, refit
from store.errors import InvalidValue

Table = Callable[..., pd.DataFrame]
From = Callable[..., Outcomes]


def learned(table: Table, outcomes_from: From, options: RoutingOptions, **how: float) -> tuple[RoutingModel, Material]:
    given = prepare(outcomes_from(table(500, 1, **how)), options)
    return fit("blend", given, options, Scale()), given


def mean_regret(model: RoutingModel, seen: Outcomes, train: Outcomes) -> float:
    quality, cost = model.predict(model.vectors(seen.gists))
    return float(regret_rows(quality, cost, worth(seen), regret_weights(train)).mean())


def test_a_policy_sends_each_kind_to_its_model(table: Table, outcomes_from: From, few: RoutingOptions) -> None:
    model, _ = learned(table, outcomes_from, few)
    fresh = table(200, 9)
    chosen = model.decide(fresh["prompt"].tolist(), [0.15])[0][0]
    names = pd.Series([model.models[one] for one in chosen]).groupby(fresh["kind"]).agg(lambda one: one.mode()[0])
    assert names.to_dict() == {"chats": "cheap", "codes": "other", "sums": "dear"}


def test_the_blend_loses_less_than_its_baselines(table: Table, outcomes_from: From, few: RoutingOptions) -> None:
    model, given = learned(table, outcomes_from, few)
    fresh = outcomes_from(table(400, 8))
    own = mean_regret(model, fresh, given.outcomes)
    for name in ("blind", "length"):
        assert own < 0.8 * mean_regret(fit(name, given, few, Scale()), fresh, given.outcomes)


@pytest.mark.parametrize("missing", [0.3, 0.6])
def test_cells_may_be_missing(table: Table, outcomes_from: From, few: RoutingOptions, missing: float) -> None:
    model, given = learned(table, outcomes_from, few, missing=missing)
    assert not given.outcomes.whole
    fresh = outcomes_from(table(300, 7))
    quality, cost = model.predict(model.vectors(fresh.gists))
    assert np.isfinite(quality).all()
    assert (cost > 0).all()
    blind = fit("blind", given, few, Scale())
    assert mean_regret(model, fresh, given.outcomes) < mean_regret(blind, fresh, given.outcomes)


def test_a_model_seen_in_a_handful_of_rows_stays_near_the_mean() -> None:
    target = np.full((100, 2), 0.5)
    target[3:, 1] = float("nan")
    target[:3, 1] = 1.0
    assert 0.5 < levels(target, np.ones(100, bool))[1] < 0.75


def test_predicted_costs_are_right_on_average(table: Table, outcomes_from: From, few: RoutingOptions) -> None:
    model, _ = learned(table, outcomes_from, few)
    fresh = outcomes_from(table(500, 6))
    _, cost = model.predict(model.vectors(fresh.gists))
    assert np.allclose(cost.mean(axis=0), fresh.cost.mean(axis=0), rtol=0.05)
    assert np.corrcoef(np.log(cost[:, 0]), np.log(fresh.cost[:, 0]))[0, 1] > 0.8


def test_a_model_that_costs_nothing_is_told_to_cost_nothing(
    table: Table, outcomes_from: From, few: RoutingOptions
) -> None:
    frame = table(300, 2)
    frame["cheap|cost"] = 0.0
    model = fit("ridge", prepare(outcomes_from(frame), few), few, Scale())
    _, cost = model.predict(model.vectors(outcomes_from(frame).gists))
    assert (cost[:, 0] == 0).all()
    assert (cost[:, 2] > 0).all()


def test_noise_is_left_to_the_mean(outcomes_from: From, table: Table, few: RoutingOptions) -> None:
    frame = table(400, 3)
    draw = np.random.default_rng(0)
    for name in ("cheap", "other", "dear"):
        frame[f"{name}|score"] = draw.random(400)
    given = prepare(outcomes_from(frame), few)
    model = fit("blend", given, few, Scale())
    quality, _ = model.predict(given.vectors)
    assert quality.std(axis=0).max() < 0.06


def test_rows_of_one_prompt_share_a_fold(table: Table, outcomes_from: From, few: RoutingOptions) -> None:
    frame = pd.concat([table(100, 4)] * 3, ignore_index=True)
    fold = prepare(outcomes_from(frame), few).fold
    assert (pd.Series(fold).groupby(frame["prompt"]).nunique() == 1).all()


def test_out_of_fold_predictions_know_nothing_of_their_rows(
    table: Table, outcomes_from: From, few: RoutingOptions
) -> None:
    given = prepare(outcomes_from(table(200, 5)), few)
    before = out_of_fold(fit_constant, given, given.outcomes.score, given.fold)
    changed = given.outcomes.score.copy()
    changed[given.fold == 0] = 1.0
    after = out_of_fold(fit_constant, given, changed, given.fold)
    assert np.array_equal(before[given.fold == 0], after[given.fold == 0])
    assert not np.array_equal(before[given.fold == 1], after[given.fold == 1])


def test_a_kind_that_was_never_seen_is_strange(table: Table, outcomes_from: From, few: RoutingOptions) -> None:
    frame = table(600, 2)
    frame["kind"] = frame["kind"] + (frame.index % 3).astype(str)
    given = prepare(outcomes_from(frame, "kind"), few)
    assert given.group_fold is not None
    # Folds of whole groups: none of a group's rows is in two of them.
    assert (pd.Series(given.group_fold).groupby(frame["kind"]).nunique() == 1).all()
    assert given.task is not None
    model = fit("blend", given, few, Scale())
    assert "by group" in model.facts["out_of_fold"]


def test_weights_ignore_a_member_that_says_nothing(table: Table, outcomes_from: From, few: RoutingOptions) -> None:
    given = prepare(outcomes_from(table(400, 1)), few)
    score = given.outcomes.score
    level = levels(score, np.ones(len(given), bool))
    draw = np.random.default_rng(1)
    said = {"tasks": member("task_mean", given, few).predicted, "noise": level + draw.normal(0, 0.3, score.shape)}
    weights = weights_of(score, level, said)
    assert weights[0] > 0.7
    assert weights[1] < 0.2


def test_members_are_what_the_options_ask_for() -> None:
    assert "boosting" in members_of(RoutingOptions())
    assert "boosting" not in members_of(RoutingOptions(trees=0))
    with pytest.raises(InvalidValue, match="folds is 1"):
        RoutingOptions(folds=1)


def test_trees_say_the_same_of_one_row_and_of_many(table: Table, outcomes_from: From, few: RoutingOptions) -> None:
    options = replace(few, trees=12)
    given = prepare(outcomes_from(table(150, 1)), options)
    trees = member("boosting", given, options).member
    whole = trees.predict(given.vectors)
    assert np.array_equal(whole[:5], np.concatenate([trees.predict(given.vectors[[row]]) for row in range(5)]))
    assert whole.std(axis=0).min() > 0.01


def test_made_again_from_all_rows_it_keeps_what_was_judged(
    table: Table, outcomes_from: From, few: RoutingOptions
) -> None:
    model, given = learned(table, outcomes_from, few)
    whole = prepare(outcomes_from(pd.concat([table(500, 1), table(100, 2)], ignore_index=True)), few)
    again = refit(model, whole, few)
    assert again.judged is model
    assert again.facts["rows"] == 600
    assert again.rivals == {}
    quality, _ = again.predict(again.vectors(given.outcomes.gists))
    before, _ = model.predict(given.vectors)
    assert np.corrcoef(quality.ravel(), before.ravel())[0, 1] > 0.9


def test_errors_of_differences_ignore_what_models_have_in_common() -> None:
    target = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert difference_error(target, target + np.array([[0.3], [-0.2]])) == pytest.approx(0.0)
    lonely = np.array([[0.0, float("nan")], [float("nan"), 1.0]])
    assert difference_error(lonely, np.full((2, 2), 0.5)) == pytest.approx(0.25)


def test_length_alone_finds_what_length_tells(table: Table, outcomes_from: From, few: RoutingOptions) -> None:
    frame = table(400, 1)
    long = frame["prompt"].str.len() > frame["prompt"].str.len().median()
    frame["dear|score"], frame["cheap|score"] = 1.0, (~long).astype(float)
    given = prepare(outcomes_from(frame), few)
    score = given.outcomes.score
    blind = found(fit_constant, given, score).predicted
    assert difference_error(score, find_length(given, score).predicted) < 0.7 * difference_error(score, blind)


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_threads_change_nothing(table: Table, outcomes_from: From, few: RoutingOptions, missing: float) -> None:
    fresh = outcomes_from(table(50, 9))
    said = []
    for threads in (1, 3):
        model, given = learned(table, outcomes_from, replace(few, threads=threads), missing=missing)
        assert given.threads == threads
        said.append((model.selection, *model.predict(model.vectors(fresh.gists))))
    (one, quality, cost), (several, as_well, costs) = said
    assert one == several
    assert np.array_equal(quality, as_well)
    assert np.array_equal(cost, costs)
