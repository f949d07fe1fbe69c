"""The scorer that is learned from feedback: better than words alone, calibrated, monotone, the same when read back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.world.llm.answers import FILLER, closed_answer, open_answer
from features.world.llm.feedback import judge
from features.world.llm.tasks import DOMAINS as TASK_DOMAINS
from features.world.llm.tasks import draw, grade
from gateway.choose.catalogue import DOMAINS as GATEWAY_DOMAINS
from gateway.choose.policy import COMPLEXITIES as GATEWAY_COMPLEXITIES
from models.lifecycle.gate import decide
from models.quality.design import COMPLEXITIES, DIRECTIONS, DOMAINS, WIDTH, design
from models.quality.family import QualityFamily, QualityModel, QualityOptions
from models.quality.features import NAMES, answer_of, features, prompt_of
from models.quality.heuristic import NOTHING
from models.quality.judged import ROLES, check_enough
from models.quality.metrics import auc, ece, estimates
from models.quality.parts import fit_line, fit_trees
from models.quality.shown import read
from models.quality.splitting import folds_of, unseen
from models.quality.wanted import wanted
from store.errors import IntegrityFailed, InvalidValue, MissingColumn, TrainingError

FLUFF = (
    "Many experts have written extensively about this fascinating subject over the years.",
    "Our ancestors would marvel at the bewildering panorama that unfolds before us.",
    "Each of these considerations deserves careful thought before any decision is taken.",
    "In today's fast-paced world, staying informed matters more than ever before.",
)
OPTIONS = QualityOptions(trees=40, replicates=60)
START = datetime(2026, 8, 1)


def judged_rows(count: int, seed: int = 1) -> pd.DataFrame:
    """Answers of simulated models with what people thought of them."""
    rng, rows = Random(seed), []
    for number in range(count):
        task = draw(rng, rng.choice(TASK_DOMAINS), rng.choice(("simple", "moderate", "complex", "expert")))
        if task.closed:
            text = closed_answer(task, rng.random() < 0.65, rng, 1.0)
        else:
            text = open_answer(task, rng.random(), rng, rng.choice((0.8, 1.0, 1.2)))
        given = judge(grade(task, text), 0.05, rng)
        person = f"p{rng.randrange(30):05}"
        numbers = features(task.prompt, text, "stop").numbers
        rows.append(
            (f"{number:032x}", START + timedelta(hours=number), person, "w", "m/x", task.domain, task.complexity,
             given.source, given.score, *[np.nan if one is None else one for one in numbers])
        )  # fmt: skip
    names = ["call", "at", "person", "workspace", "model", "domain", "complexity", "source", "score", *NAMES]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture(scope="module")
def judged() -> pd.DataFrame:
    return judged_rows(1_200)


@pytest.fixture(scope="module")
def fitted(judged: pd.DataFrame) -> Mapping[str, QualityModel]:
    family = QualityFamily(OPTIONS)
    train = family.split(judged, ROLES).train
    return {one.name: family.fit(one, train, ROLES, {}) for one in family.candidates()}


def test_it_agrees_better_with_people_than_words_length_and_kind_of_task(
    judged: pd.DataFrame, fitted: Mapping[str, QualityModel]
) -> None:
    family = QualityFamily(OPTIONS)
    split = family.split(judged, ROLES)
    found = {name: family.evaluate(model, split.holdout, split.train, ROLES) for name, model in fitted.items()}
    areas = {name: one.metrics["auc"].value for name, one in found.items()}
    for contender in ("line", "trees", "blend"):
        assert areas[contender] > areas["heuristic"] + 0.02
        assert areas[contender] > max(areas["length"], areas["task_mean"]) + 0.05
        assert found[contender].metrics["ece"].value < 0.08
    assert areas["prevalence"] == 0.5
    report = decide(found["blend"], baseline=found["heuristic"], metric=family.primary, comparison=family.comparison)
    assert report.verdict == "promote", report.reason
    assert report.opponent == "baseline heuristic"
    # What is no better than words alone is kept out.
    assert decide(
        found["length"], baseline=found["heuristic"], metric=family.primary, comparison=family.comparison
    ).verdict == "keep"  # fmt: skip
    told = found["blend"]
    assert {"auc_later", "auc_unseen"} <= set(told.metrics)
    assert told.plots["reliability.svg"].startswith(b"<?xml")
    assert set(told.losses["slice.person"]) == {"known", "unseen"}


def test_the_first_baseline_is_the_score_that_has_to_be_beaten() -> None:
    candidates = QualityFamily().candidates()
    assert candidates[0].name == "heuristic"
    assert [one.name for one in candidates if not one.baseline] == ["line", "trees", "blend"]
    with pytest.raises(TrainingError, match="train-quality"):
        QualityFamily().dataset(None, Path())  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.lists(st.sampled_from((*FILLER, *FLUFF)), min_size=1, max_size=4, unique=True))
def test_padding_does_not_pay_either(fitted: Mapping[str, QualityModel], seed: int, padding: list[str]) -> None:
    rng = Random(seed)
    task = draw(rng, rng.choice(("analysis", "writing", "summary", "knowledge")), rng.choice(("moderate", "complex")))
    text = open_answer(task, rng.random(), rng) if not task.closed else closed_answer(task, True, rng)
    # As for the score from words: what shares a word with the prompt is no fluff there.
    known = wanted(task.prompt).words.keys()
    assume(read(text).ends and all(one in FILLER or known.isdisjoint(read(one).stems) for one in padding))
    plain, padded = (features(task.prompt, one).numbers for one in (text, " ".join((text, *padding))))
    for name in ("line", "trees", "blend"):
        before, after = (fitted[name].score(one, task.domain, task.complexity) for one in (plain, padded))
        assert after <= before + 1e-9


def test_a_number_that_means_better_never_counts_against_an_answer(fitted: Mapping[str, QualityModel]) -> None:
    rng = np.random.default_rng(3)
    rows = rng.random((200, WIDTH))
    for model in (fitted["line"], fitted["trees"], fitted["blend"]):
        base = model.scores(rows)
        for place, direction in enumerate(DIRECTIONS):
            if direction:
                moved = rows.copy()
                moved[:, place] += 0.3
                assert np.all(direction * (model.scores(moved) - base) >= -1e-12)


def test_one_answer_and_many_are_scored_alike_and_read_back_the_same(
    judged: pd.DataFrame, fitted: Mapping[str, QualityModel], tmp_path: Path
) -> None:
    family = QualityFamily(OPTIONS)
    for name, model in fitted.items():
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
        again = family.load(tmp_path / name)
        (tmp_path / f"{name}2").mkdir()
        again.save(tmp_path / f"{name}2")
        assert (tmp_path / name / "contract.json").read_bytes() == (
            tmp_path / f"{name}2" / "contract.json"
        ).read_bytes()
        many = again.predict(judged.iloc[:40])
        assert np.array_equal(many, model.predict(judged.iloc[:40]))
        given, answered = model.signature()
        pd.testing.assert_frame_equal(again.answer(given), answered)
        np.testing.assert_allclose(again.predict(given), answered["score"], atol=1e-12)
        named = again.named("quality v3")
        found = features("What is 7 * 6?", "The answer is 42.", "stop")
        assert named.name == "quality v3"
        assert named.score(found, "math", "simple") == model.score(found.numbers, "math", "simple")
    assert features("Hello", "").scored == NOTHING
    assert fitted["trees"].named("x").score(features("Hello", ""), None, None) == 0.0


def test_another_format_is_refused(fitted: Mapping[str, QualityModel], tmp_path: Path) -> None:
    fitted["line"].save(tmp_path)
    path = tmp_path / "contract.json"
    path.write_text(path.read_text().replace('"relevance"', '"relevanz"'))
    with pytest.raises(IntegrityFailed, match="no scorer"):
        QualityFamily().load(tmp_path)


def test_the_latest_judgements_and_some_persons_are_held_out(judged: pd.DataFrame) -> None:
    split = QualityFamily(OPTIONS).split(judged, ROLES)
    held = unseen(judged, ROLES, OPTIONS)
    assert 0.05 < held.mean() < 0.4
    persons = set(judged.loc[held, "person"])
    assert persons.isdisjoint(split.train["person"])
    known = split.holdout[~split.holdout["person"].isin(persons)]
    assert split.train["at"].max() < known["at"].min()
    assert "persons drawn by a hash" in split.rule
    fold = folds_of(judged["person"].to_numpy(), 5, 1)
    assert judged.groupby("person").apply(lambda rows: len(set(fold[rows.index])), include_groups=False).max() == 1


def test_too_little_feedback_is_told_with_what_is_missing(judged: pd.DataFrame) -> None:
    check_enough(judged)
    with pytest.raises(InvalidValue, match=r"90 judged answers, 200 are needed") as told:
        check_enough(judged.iloc[:90])
    assert "until then the score from words is used" in told.value.remedy
    one = judged.assign(person="p00001")
    with pytest.raises(InvalidValue, match="1 persons who judged, 5 are needed"):
        check_enough(one)
    with pytest.raises(InvalidValue, match="0 bad ones, 40 are needed"):
        check_enough(judged.assign(score=1.0))
    with pytest.raises(InvalidValue, match="Collect more feedback"):
        QualityFamily(OPTIONS).split(judged.iloc[:40], ROLES)


def test_a_frame_of_something_else_is_refused(judged: pd.DataFrame) -> None:
    with pytest.raises(MissingColumn, match="coherence"):
        design(judged.drop(columns=["coherence"]), ROLES)
    odd = judged.iloc[:3].assign(domain="astrology", complexity=None)
    assert design(odd, ROLES)[:, len(NAMES) + 3 :].sum() == 0


def test_the_kinds_of_tasks_are_those_of_the_gateway() -> None:
    assert sorted(DOMAINS) == sorted(GATEWAY_DOMAINS)
    assert COMPLEXITIES == GATEWAY_COMPLEXITIES


def test_metrics_are_the_text_books() -> None:
    y, p = np.array([1.0, 0.0, 1.0, 0.0, 0.75]), np.array([0.9, 0.2, 0.6, 0.6, 0.8])
    assert auc(y, p) == pytest.approx((3 + 0.5 + 1 + 1) / 6)
    assert np.isnan(auc(np.ones(3), np.arange(3.0)))
    assert ece(np.full(10, 0.7), np.full(10, 0.7)) == 0.0
    found = estimates(y, p, np.array(list("abcde")), replicates=100, seed=1)
    assert found["brier"].value == pytest.approx(np.mean((p - y) ** 2))
    assert all(one.low <= one.value <= one.high for name, one in found.items() if name != "ece")


def test_soft_judgements_are_fitted_by_their_mean() -> None:
    rows = np.zeros((400, WIDTH))
    y = np.tile([1.0, 0.75, 0.5, 0.75], 100)
    line = fit_line(rows, y, range(WIDTH), 1.0)
    assert 1 / (1 + np.exp(-line.log_odds(rows[:1])[0])) == pytest.approx(0.75, abs=1e-3)
    rng = np.random.default_rng(1)
    trees = fit_trees(rng.random((400, WIDTH)), y, trees=150, threads=1, seed=1)
    assert (1 / (1 + np.exp(-trees.log_odds(rng.random((50, WIDTH)))))).mean() == pytest.approx(0.75, abs=0.05)


def test_words_are_found_in_any_shape_of_a_request() -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "image_url"}, {"type": "text", "text": "this?"}]
    messages = [{"role": "user", "content": "before"}, {"role": "user", "content": parts}]
    assert prompt_of({"messages": [*messages, {"role": "assistant", "content": "?"}]}) == "What is\nthis?"
    assert prompt_of({"messages": "odd"}) == ""
    assert answer_of({"choices": [{"message": {"content": None, "refusal": "No."}}]}) == ("No.", None)
    assert answer_of({"choices": [{"message": {"tool_calls": [{}], "content": "x"}}]}) is None
    assert answer_of({}) is None
