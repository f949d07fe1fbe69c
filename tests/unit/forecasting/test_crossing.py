from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from models.forecasting.crossing import Crossing, crossing, in_words, paths, row_of
from models.forecasting.dependence import Dependence, dependence_of, expected
from models.forecasting.family import ForecastingFamily, ForecastModel
from models.forecasting.forecast_file import forecast_frame
from models.forecasting.options import ForecastOptions
from store.errors import InvalidValue, UnknownEntity

WALK = Dependence(1.0, 1.0, 0.5)
INDEPENDENT = Dependence(0.0, 0.0, 0.0)
H = 40


def student_sizes(shares: np.ndarray) -> np.ndarray:
    """Sizes of errors distributed as Student's with five degrees of freedom."""
    return np.asarray(student.ppf((1 + shares) / 2, 5))


def test_a_random_walk_crosses_as_the_reflection_principle_says() -> None:
    scale = np.sqrt(np.arange(1, H + 1.0))
    for threshold in (3.0, 8.0, 15.0):
        found = crossing(np.zeros(H), scale, student_sizes, WALK, threshold)
        # A walk of steps of size s is over a by h with 2 P(S_h > a + 0.58 s); the common factor makes it Student's.
        truth = 2 * student.sf((threshold + 0.5826) / np.sqrt(H), 5)
        assert found.crossed[-1] == pytest.approx(truth, abs=0.025)


def test_independent_steps_cross_more_often_and_one_error_for_all_less() -> None:
    chances = [
        float(crossing(np.zeros(H), np.ones(H), student_sizes, one, 2.0).crossed[-1])
        for one in (Dependence(1.0, 1.0, 0.0), Dependence(0.7, 0.95, 0.0), INDEPENDENT)
    ]
    assert chances == sorted(chances)
    assert chances[0] == pytest.approx(student.sf(2.0, 5), abs=0.01)
    assert chances[2] > 0.4


@pytest.mark.parametrize("dependence", [WALK, INDEPENDENT, Dependence(0.6, 0.9, 0.25)])
def test_steps_are_distributed_as_the_intervals_say(dependence: Dependence) -> None:
    def sizes(shares: np.ndarray) -> np.ndarray:
        return np.asarray(3 * shares**2)

    drawn = paths(np.full(H, 10.0), np.full(H, 2.0), sizes, dependence, np.random.default_rng(0), 8_000)
    for level in (0.5, 0.8, 0.95):
        inside = np.abs(drawn - 10.0) <= 2.0 * 3 * level**2
        assert inside.mean(axis=0) == pytest.approx(np.full(H, level), abs=0.025)
    above = (drawn > 10).mean(axis=0)
    assert above == pytest.approx(np.full(H, 0.5), abs=0.03)


def test_drawn_steps_hang_together_as_they_should() -> None:
    steps = np.arange(1, 31.0)
    for one in (WALK, Dependence(0.7, 0.9, 0.25), Dependence(0.3, 0.5, 0.0)):
        drawn = one.draw(np.random.default_rng(1), 20_000, 30)
        assert np.cov(drawn.T) == pytest.approx(one.correlation(steps), abs=0.05)


def test_dependence_is_learned_from_the_errors_at_rolling_origins() -> None:
    rng = np.random.default_rng(0)
    steps = np.array([10.0, 40.0])
    independent = rng.standard_normal((6, 60))
    wandering = rng.standard_normal((6, 60)).cumsum(axis=1) / np.sqrt(np.arange(1, 61))
    noise, walk = dependence_of(independent, 0.0), dependence_of(wandering, 1.0)
    # What was seen counts, whatever the persistence lets expect.
    told = [expected(0.95).correlation(steps)[0, 1], dependence_of(independent, 0.95).correlation(steps)[0, 1]]
    assert told[1] < 0.7 * told[0]
    assert dependence_of(wandering, 0.0).correlation(steps)[0, 1] > 0.2 > expected(0.0).correlation(steps)[0, 1]
    assert noise.correlation(steps)[0, 1] < 0.15
    assert walk.correlation(steps)[0, 1] > 0.35
    assert walk.correlation(np.array([40.0, 44.0]))[0, 1] > 0.8
    nothing = dependence_of(np.empty((0, 20)), 0.9)
    assert nothing.correlation(steps)[0, 1] == pytest.approx(expected(0.9).correlation(steps)[0, 1], abs=0.1)
    assert 0 <= dependence_of(np.zeros((3, 20)), 0.5).share <= 1
    assert dependence_of(np.full((2, 20), np.nan), 0.5) == dependence_of(np.empty((0, 20)), 0.5)


def test_probabilities_never_fall_and_are_never_below_those_of_a_step() -> None:
    path = 10 + 0.5 * np.arange(H) + 5 * np.sin(np.arange(H))
    for direction in ("above", "below"):
        found = crossing(path, np.ones(H), student_sizes, Dependence(0.5, 0.9, 0.0), 20.0, direction)  # type: ignore[arg-type]
        assert (np.diff(found.crossed) >= 0).all()
        assert (found.crossed >= found.beyond - 1e-12).all()
    up = crossing(path, np.full(H, 0.01), student_sizes, INDEPENDENT, 20.0)
    assert up.by(50) == int(np.argmax(path >= 20.0)) + 1


def test_zero_is_the_lowest_where_values_stop_there() -> None:
    sizes = student_sizes
    free = crossing(np.ones(5), np.ones(5), sizes, INDEPENDENT, -0.5, "below")
    stopped = crossing(np.ones(5), np.ones(5), sizes, INDEPENDENT, -0.5, "below", nonnegative=True)
    assert free.crossed[-1] > 0.2
    assert stopped.crossed[-1] == 0
    assert crossing(np.ones(5), np.ones(5), sizes, INDEPENDENT, 0.0, "below", nonnegative=True).crossed[-1] > 0.2
    with pytest.raises(InvalidValue, match="threshold=nan"):
        crossing(np.ones(5), np.ones(5), sizes, INDEPENDENT, float("nan"))


def test_it_is_said_in_words() -> None:
    days = ["d1", "d2", "d3"]
    sure = Crossing(np.array([0.1, 0.6, 0.9]), np.array([0.1, 0.6, 0.96]))
    assert in_words(sure, days, 5.0, 10.0, "above") == (
        "It is at or above 10 with 50 % by d2, 80 % by d3, 95 % by d3; 96% by d3."
    )
    never = Crossing(np.zeros(3), np.array([0.0, 0.01, 0.02]))
    assert in_words(never, days, 5.0, 10.0, "above").startswith("Not within the horizon: the probability")
    assert row_of("a", never, days, 5.0, 10.0, "above")["by_50"] is None
    assert in_words(never, days, 11.0, 10.0, "above") == "It is already at or above 10 (last value 11)."
    assert row_of("a", never, days, 9.0, 10.0, "below")["already"]


def growing(n: int = 140) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    index = np.arange(n)
    y = 100 + 0.5 * index + 6 * np.sin(2 * np.pi * index / 7) + 2 * rng.standard_normal(n)
    return pd.DataFrame({"unique_id": "calls", "ds": pd.date_range("2025-01-01", periods=n), "y": y})


@pytest.fixture(scope="module")
def model() -> ForecastModel:
    family = ForecastingFamily(ForecastOptions(horizon=28, freq="D", members=("SeasonalNaive",)))
    return family.fit(family.candidates()[0], growing(), {}, {})


def test_the_model_answers_as_the_file_does(model: ForecastModel, tmp_path) -> None:  # type: ignore[no-untyped-def]
    options = ForecastOptions(horizon=28, freq="D", members=("SeasonalNaive",))
    made = forecast_frame(growing(), options, cross=(180.0, "above"))
    (row,) = made.crossings
    model.save(tmp_path / "m")
    loaded = ForecastModel.load(tmp_path / "m")
    found = loaded.crossing("calls", 180.0)
    assert found.crossed[-1] == pytest.approx(row["probability"], abs=0.01)
    assert np.array_equal(found.crossed, model.crossing("calls", 180.0).crossed)
    assert len(model.crossing("calls", 180.0, "below", horizon=7).crossed) == 7
    assert model.stamps_as_text("calls")[0] == "2025-05-21"
    assert row["last_value"] == growing()["y"].iloc[-1]
    with pytest.raises(UnknownEntity, match="nope"):
        model.crossing("nope", 1.0)
    with pytest.raises(InvalidValue, match="horizon=29"):
        model.crossing("calls", 1.0, horizon=29)


def test_a_version_from_before_says_so(model: ForecastModel) -> None:
    info = {key: value for key, value in model.contract["series"]["calls"].items() if key != "dependence"}
    old = replace(model, contract={**model.contract, "series": {"calls": info}})
    with pytest.raises(InvalidValue, match="hang together"):
        old.crossing("calls", 1.0)
