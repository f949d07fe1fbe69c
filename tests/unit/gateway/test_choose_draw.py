"""The stated probability of every choice is the one with which it is made."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.choose.draw import draw, kept, numbers
from gateway.choose.strategies import RoundRobin

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=6)
MANY = 20_000


@given(SHARES, st.integers(1, 6))
def test_the_orders_own_probabilities_add_up(shares: list[float], tied: int) -> None:
    chances = kept(min(tied, len(shares)), shares)
    assert sum(chances) == pytest.approx(1.0)
    assert min(chances) >= 0.0


def test_the_first_takes_all_where_nothing_was_lowered() -> None:
    assert kept(1, [1.0, 1.0, 1.0]) == [1.0, 0.0, 0.0]
    assert kept(2, [1.0, 1.0, 1.0]) == [0.5, 0.5, 0.0]


def test_what_a_model_does_not_keep_goes_to_the_next() -> None:
    assert kept(1, [0.25, 1.0, 1.0]) == [0.25, 0.75, 0.0]
    assert kept(1, [0.0, 0.5, 0.0]) == [0.5, 0.5, 0.0]
    assert kept(1, [0.0, 0.0]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("tied", "shares", "explore", "weights"),
    [
        (1, [1.0, 1.0, 1.0], 0.0, None),
        (3, [1.0, 1.0, 1.0], 0.0, None),
        (1, [1.0, 1.0, 1.0], 0.3, [1.0, 1.0, 2.0]),
        (1, [1.0, 1.0, 1.0], 0.3, [0.0, 1.0, 0.0]),
        (1, [1.0, 1.0, 1.0], 0.3, [0.0, 0.0, 0.0]),
        (2, [0.5, 0.2, 1.0, 1.0], 0.25, [1.0, 0.5, 0.25, 0.0]),
        (2, [0.0, 0.0, 0.0], 0.5, [1.0, 0.0, 1.0]),
    ],
)
def test_the_propensity_is_the_frequency(
    tied: int, shares: list[float], explore: float, weights: list[float] | None
) -> None:
    stated: dict[int, float] = {}
    counts: Counter[int] = Counter()
    for number in range(MANY):
        drawn = draw(tied, shares, numbers(f"{number:032x}", b"seed"), explore, weights)
        counts[drawn.at] += 1
        assert stated.setdefault(drawn.at, drawn.propensity) == pytest.approx(drawn.propensity)
    assert sum(stated.values()) == pytest.approx(1.0)
    for at, propensity in stated.items():
        # Five standard errors: the ids are fixed, so this holds always or never.
        assert abs(counts[at] / MANY - propensity) < 5 * (propensity * (1 - propensity) / MANY) ** 0.5 + 1e-9


@given(
    st.integers(1, 6),
    SHARES,
    st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
    st.floats(0, 1),
    st.data(),
)
def test_every_choice_is_possible_and_its_propensity_exact(
    tied: int, shares: list[float], chance: tuple[float, float], explore: float, data: st.DataObject
) -> None:
    tied = min(tied, len(shares))
    weights = data.draw(st.none() | st.lists(st.floats(0, 1), min_size=len(shares), max_size=len(shares)))
    drawn = draw(tied, shares, chance, explore, weights)
    total = sum(weights) if weights is not None and explore > 0 else 0.0
    rate = explore if total > 1e-12 else 0.0
    expected = (1 - rate) * kept(tied, shares)[drawn.at]
    if rate:
        assert weights is not None
        expected += rate * weights[drawn.at] / total
    assert 0.0 < drawn.propensity <= 1.0 + 1e-9
    assert drawn.propensity == pytest.approx(expected)


def test_the_same_prompt_is_drawn_in_the_same_way_and_another_seed_differs() -> None:
    assert numbers("a" * 32, b"x") == numbers("a" * 32, b"x")
    assert numbers("a" * 32, b"x") != numbers("a" * 32, b"y")
    assert numbers("a" * 32, b"x") != numbers("b" * 32, b"x")


def turns(robin: RoundRobin, ids: list[str], weights: list[float], count: int) -> list[str]:
    made = []
    for _ in range(count):
        credits = robin.turn(ids, weights)
        made.append(ids[credits.index(max(credits))])
    return made


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_turns_go_by_weight_exactly_after_each_round(weights: list[int]) -> None:
    ids = [f"m{n}" for n in range(len(weights))]
    made = turns(RoundRobin(), ids, [float(one) for one in weights], 3 * sum(weights))
    assert Counter(made) == {id_: 3 * weight for id_, weight in zip(ids, weights, strict=True)}


def test_turns_are_spread_and_not_in_bursts() -> None:
    made = turns(RoundRobin(), ["a", "b", "c"], [5.0, 1.0, 1.0], 7)
    assert made.count("a") == 5
    assert "a" * 4 not in "".join(made)


def test_who_could_not_be_asked_is_not_owed_a_burst() -> None:
    robin = RoundRobin()
    turns(robin, ["a", "b"], [1.0, 1.0], 4)
    turns(robin, ["a"], [1.0], 100)
    assert Counter(turns(robin, ["a", "b"], [1.0, 1.0], 10)) == {"a": 5, "b": 5}


def test_looking_takes_no_turn() -> None:
    robin = RoundRobin()
    first = robin.turn(["a", "b"], [1.0, 1.0], dry=True)
    assert robin.turn(["a", "b"], [1.0, 1.0], dry=True) == first


def test_a_busy_model_weighs_less() -> None:
    assert RoundRobin().weights([1.0, 1.0, 0.5], [0, 3, 0]) == [1.0, 0.25, 0.5]
