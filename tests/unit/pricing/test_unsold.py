"""Lists that hold sales alone: days without a sale are put back, at the price that was asked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.pricing import unsold
from models.pricing.adding_up import added_up
from models.pricing.causal import causal
from models.pricing.gaps import _expected
from models.pricing.options import PricingOptions
from models.pricing.panel import panel_of
from models.pricing.unsold import with_unsold
from store.errors import InvalidValue

ROLES = {"product": "item", "time": "day", "price": "price", "quantity": "sold"}
DAYS = 700


def receipts(rates: dict[str, float], *, every: int = 7, closed: int | None = None, seed: int = 0) -> pd.DataFrame:
    """A row per piece sold; elasticity −2, a new price every few days; Sundays are 6."""
    rng = np.random.default_rng(seed)
    rows = []
    for item, rate in rates.items():
        price = np.round(30 * rng.choice([0.75, 0.85, 1.0, 1.15, 1.3], DAYS // every + 1), 2).repeat(every)[:DAYS]
        count = rng.poisson(rate * (price / 30) ** -2.0)
        days = pd.date_range("2024-06-03", periods=DAYS, unit="us")
        count[days.day_of_week == closed] = 0
        at = np.arange(DAYS).repeat(count)
        rows.append(pd.DataFrame({"item": item, "day": days[at], "price": price[at], "sold": 1.0}))
    return added_up(pd.concat(rows, ignore_index=True), ROLES)[0]


def _own(frame: pd.DataFrame) -> dict[str | None, tuple[float, float, float]]:
    found = causal(panel_of(frame, ROLES), PricingOptions(threads=1))
    return {one.product: (one.low, one.value, one.high) for one in found.elasticities if one.of == "own"}


def test_slow_products_are_as_elastic_as_they_are() -> None:
    frame = receipts({"lamp": 0.5, "vase": 1.2})
    low, _, high = _own(frame)[None]
    assert -1 < low < high < 0  # of the days on which somebody bought: nobody would believe −2
    whole, notes = with_unsold(frame, ROLES)
    low, value, high = _own(whole)[None]
    assert low < -2 < high
    assert value == pytest.approx(-2, abs=0.4)
    assert f"the {len(whole) - len(frame)} periods of a product without a row" in notes[0]
    assert whole["sold"].sum() == frame["sold"].sum()
    assert not whole.duplicated(["item", "day"]).any()
    assert len(whole) == pytest.approx(2 * DAYS, abs=10)
    assert whole.dtypes.equals(frame.dtypes)


@pytest.mark.parametrize(("every", "told"), [(7, True), (14, False)])
def test_that_intervals_say_too_much_is_told_where_prices_change_often(every: int, told: bool) -> None:
    _, notes = with_unsold(receipts({"lamp": 0.5, "vase": 1.2}, every=every), ROLES)
    assert len(notes) == 1 + told
    assert not told or notes[1].startswith("After 19% of the sales price had changed by the next one")


def test_days_on_which_the_shop_is_closed_are_none() -> None:
    whole, _ = with_unsold(receipts({"lamp": 0.5}, closed=6), ROLES)
    assert set(whole["day"].dt.day_of_week) == {0, 1, 2, 3, 4, 5}
    assert len(whole) == pytest.approx(DAYS * 6 / 7, abs=10)


def test_who_was_not_on_offer_any_more_sold_nothing_for_another_reason() -> None:
    frame = receipts({"lamp": 0.8, "vase": 1.2})
    over = frame["day"].min() + pd.Timedelta(days=300)
    whole, _ = with_unsold(frame[(frame["item"] == "vase") | (frame["day"] < over)], ROLES)
    assert whole.loc[whole["item"] == "lamp", "day"].max() < over


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f: f.assign(sold=f["sold"].where(f.index > 0, 0.0)), id="rows that sold nothing are there"),
        pytest.param(lambda f: f.assign(sold=40 * f["sold"]), id="so much is not sold one day and nothing the next"),
        pytest.param(lambda f: f.assign(sold=f["sold"] + 0.4), id="no counts"),
        pytest.param(lambda f: f.assign(day=f["day"].dt.to_period("M").dt.to_timestamp()), id="every month is there"),
    ],
)
def test_other_lists_stay_as_they_are(change: object) -> None:
    frame = added_up(change(receipts({"lamp": 0.5})), ROLES)[0]  # type: ignore[operator]
    whole, notes = with_unsold(frame, ROLES)
    assert whole is frame
    assert notes == []


def test_prices_that_change_with_every_sale_cannot_be_told() -> None:
    frame = receipts({"lamp": 0.5}, every=1)
    with pytest.raises(InvalidValue, match="Nothing can be learned of lamp") as caught:
        with_unsold(frame, ROLES)
    assert "sold = 0" in caught.value.remedy
    steady = receipts({"vase": 1.2}, seed=1)
    whole, notes = with_unsold(pd.concat([frame, steady], ignore_index=True), ROLES)
    assert set(whole["item"]) == {"vase"}
    assert "Left out are 1 of 2 products (lamp)" in notes[1]


def test_many_products_are_put_together_to_weeks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsold, "MOST_ROWS", 700)
    frame = receipts({"lamp": 0.3, "vase": 0.4}, every=21)
    whole, notes = with_unsold(frame, ROLES)
    assert set(whole["day"].dt.day_of_week) == {0}
    assert whole["sold"].sum() == frame["sold"].sum()
    assert len(whole) <= 202
    assert notes[0].startswith("Days were put together to weeks. ")


def test_a_change_is_expected_where_less_is_sold() -> None:
    for excess, periods in ((0.0, 6), (1e-7, 6), (0.3, 1), (0.3, 12), (-0.8, 9), (40.0, 30), (-40.0, 30)):
        k = np.arange(periods + 1)
        weight = np.exp(-excess * k - (-excess * k).max())
        found = _expected(np.array([excess]), np.array([periods]))[0]
        assert found == pytest.approx((k * weight).sum() / weight.sum(), abs=1e-4)
