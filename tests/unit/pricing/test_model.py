"""A trained model: what it advises, simulates and measures, and that it is the same when read back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.lifecycle.family import Answers
from models.pricing.advice import Constraints, Question, Scenario, plain
from models.pricing.family import PricingFamily
from models.pricing.model import PricingModel
from models.pricing.panel import panel_of
from store.errors import IntegrityFailed, InvalidValue, MissingColumn, UnknownEntity
from tests.unit.pricing.conftest import ROLES


def test_an_elastic_product_is_made_cheaper_and_an_inelastic_one_dearer(model: PricingModel) -> None:
    bread = model.advise(Question("bread", "south", unit_cost=0.6, objective="revenue"))
    assert bread.advised
    assert bread.price == pytest.approx(0.9 * bread.current_price, rel=0.01)
    assert "max_change" in bread.binding
    milk = model.advise(Question("milk", "south", objective="revenue"))
    assert milk.price == pytest.approx(1.1 * milk.current_price, rel=0.01)
    for one in (bread, milk):
        assert one.now is not None
        assert one.then is not None
        assert one.gain_revenue is not None
        assert one.gain_revenue.low < one.gain_revenue.value < one.gain_revenue.high
        assert one.gain_revenue.value == pytest.approx(one.then.revenue.value - one.now.revenue.value)
        # Both outlooks share their errors, so the difference is known better than either.
        assert one.gain_revenue.high - one.gain_revenue.low < one.now.revenue.high - one.now.revenue.low
        assert one.then.margin.value <= one.then.revenue.value
        assert one.position == pytest.approx(one.price / _rival(model, one.question.product, "south"))
    assert plain(bread)["elasticity"]["product"] == "bread"


def _rival(model: PricingModel, product: str, segment: str) -> float:
    return next(s.competitor_price for s in model.standings() if (s.product, s.segment) == (product, segment))


def test_a_price_that_never_varied_is_left_alone_with_its_reason(model: PricingModel) -> None:
    for segment in (None, "south"):
        found = model.advise(Question("salt", segment))
        assert not found.advised
        assert found.reason.startswith("cannot advise, because the price of salt")
        assert "Draw the price at random" in found.experiment
        assert found.price == found.current_price
        assert found.now is not None
        assert found.then is None
    with pytest.raises(InvalidValue, match="cannot be simulated, because"):
        model.simulate(Scenario(prices={"salt": 1.0}))


def test_nothing_is_advised_from_where_nothing_was_seen(model: PricingModel) -> None:
    found = model.advise(Question("bread", "north", current_price=50.0))
    assert not found.advised
    assert "outside the prices in the data" in found.reason


def test_a_product_moves_as_one_or_each_segment_within_a_fair_ratio(model: PricingModel) -> None:
    whole = model.advise(Question("bread", objective="revenue"))
    steps = {one.segment: one.price / one.current_price for one in whole.segments}
    assert set(steps) == {"north", "south", "Ærø"}
    assert list(steps.values()) == pytest.approx([0.9] * 3, rel=0.01)
    constraints = Constraints(fairness=1.05, max_change=0.5)
    fair = model.advise(Question("bread", unit_cost=1.0, constraints=constraints))
    prices = [one.price for one in fair.segments]
    assert max(prices) <= 1.05 * min(prices) * (1 + 1e-9)


def test_a_dearer_competitor_brings_more_and_the_horizon_adds_up(model: PricingModel) -> None:
    short = model.advise(Question("bread", "north", horizon_days=30))
    same = model.advise(Question("bread", "north", horizon_days=60))
    dearer = model.advise(Question("bread", "north", horizon_days=30, competitor_price=6.0))
    assert short.now
    assert same.now
    assert dearer.now
    assert dearer.now.quantity.value > short.now.quantity.value
    assert same.now.quantity.value == pytest.approx(2 * short.now.quantity.value, rel=0.3)


@pytest.mark.parametrize(
    ("question", "error", "field"),
    [
        (Question("beer"), UnknownEntity, "product"),
        (Question("bread", "west"), UnknownEntity, "segment"),
        (Question("bread", current_price=0.0), InvalidValue, "current_price"),
        (Question("bread", unit_cost=float("nan")), InvalidValue, "unit_cost"),
        (Question("bread", horizon_days=1000), InvalidValue, "horizon_days"),
        (Question("bread", level=1.5), InvalidValue, "level"),
        (Question("bread", objective="fame"), InvalidValue, "objective"),  # type: ignore[arg-type]  # as JSON may bring
        (Question("bread", constraints=Constraints(floor=9.0)), InvalidValue, "constraints.floor"),
    ],
)
def test_questions_that_make_no_sense_are_refused(
    model: PricingModel, question: Question, error: type[InvalidValue], field: str
) -> None:
    with pytest.raises(error) as caught:
        model.advise(question)
    assert caught.value.field == field
    assert caught.value.remedy


def test_a_scenario_is_told_in_weeks_and_months_beside_what_would_be(model: PricingModel) -> None:
    weeks = model.simulate(Scenario(prices={"bread": 3.3, "bread/north": 2.7}, horizon_days=28))
    assert {one.product for one in weeks} == {"bread"}
    assert len(weeks) == 3 * 4
    north = [one for one in weeks if one.segment == "north"]
    assert {one.price for one in north} == {2.7}
    current = next(cell.price for cell in model.market.cells if cell.name == "bread/north")  # type: ignore[union-attr]
    for one in north:
        cheaper = current > 2.7
        assert (one.quantity.value > one.quantity_unchanged) == cheaper
        assert one.quantity.low < one.quantity.value < one.quantity.high
    months = model.simulate(Scenario(horizon_days=180))
    assert {one.product for one in months} == {"bread", "milk", "salt"}
    assert sum(one.days for one in months if (one.product, one.segment) == ("salt", "north")) == 180
    for name in ("beer", "bread/west"):
        with pytest.raises(UnknownEntity, match=name):
            model.simulate(Scenario(prices={name: 3.0}))


def test_what_came_of_a_price_is_compared_with_what_was_expected_for_those_days(model: PricingModel) -> None:
    market = model.market
    assert market is not None
    price = next(cell.price for cell in market.cells if cell.name == "bread/north") * 0.95
    days = [market.start + timedelta(days=step) for step in range(28)]
    own = next(one for one in model.elasticities if (one.product, one.segment, one.of) == ("bread", "north", "own"))
    usual = sum(market.expected(cell, tuple(days)) for cell in market.select("bread", "north")) * 0.95**own.value

    def verdict(share: float) -> str:
        observed = pd.DataFrame({"date": pd.to_datetime(days), "quantity": usual * share / 28})
        found = model.realised("bread", "north", price, observed)
        assert found.revenue == pytest.approx(usual * share * price)
        assert found.expected_revenue.value == pytest.approx(usual * price)
        assert found.days == 28
        return found.verdict

    assert [verdict(share) for share in (0.2, 1.0, 3.0)] == ["below", "as expected", "above"]
    with pytest.raises(MissingColumn):
        model.realised("bread", "north", price, pd.DataFrame({"date": days}))
    for bad in ({"date": ["soon"], "quantity": [1]}, {"date": ["2031-01-01"], "quantity": [1]}):
        with pytest.raises(InvalidValue):
            model.realised("bread", "north", price, pd.DataFrame(bad))
    with pytest.raises(InvalidValue, match="-1"):
        model.realised("bread", None, price, pd.DataFrame({"date": days[:1], "quantity": [-1]}))


def test_the_same_model_is_the_same_bytes_and_answers_its_example(
    family: PricingFamily, model: PricingModel, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        model.save(tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert files
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path
    again = family.load(tmp_path / "a")
    assert isinstance(again, Answers)
    given, expected = again.signature()
    pd.testing.assert_frame_equal(again.answer(given), expected, rtol=1e-9, atol=1e-9)
    assert plain(again.elasticities) == plain(model.elasticities)
    (tmp_path / "a" / "contract.json").write_text("{}")
    with pytest.raises(IntegrityFailed, match="expected pricing"):
        family.load(tmp_path / "a")


def test_no_member_ever_sells_more_at_a_higher_price(
    fitted: dict[str, PricingModel], frame: pd.DataFrame, family: PricingFamily
) -> None:
    panel = panel_of(family.split(frame, ROLES).holdout, ROLES)
    for name in ("loglog", "forest", "boosting", "ensemble"):
        demand = fitted[name].demand
        curve = np.array([demand.mean(replace(panel, price=panel.price * step)) for step in np.geomspace(0.5, 2, 12)])
        assert (np.diff(curve, axis=0) <= 1e-9 * curve[:-1]).all(), name
        assert curve[0].sum() > 1.1 * curve[-1].sum(), name
