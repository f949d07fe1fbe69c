"""Where budgets are headed, and which amounts would fit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spend.budgets import Spending, advise, outlook_of, rounded_up
from models.spend.user_limits import user_limit
from store.budgets import NANOS, Budget
from tests.unit.spend.ledger_frames import days_of

NOW = datetime(2026, 11, 10, 12)


def budget(amount: float, period: Any = "month") -> Budget:
    return Budget(
        id="0" * 32, scope="workspace", subject="north", workspace="north", period=period,
        amount=round(amount * NANOS), action="refuse", created_at=NOW, updated_at=NOW,
    )  # fmt: skip


def spending(draws: np.ndarray[Any, Any], before: float = 0.0, today: float = 0.0) -> Spending:
    first = datetime(2026, 11, 10)
    return Spending(draws, [first + timedelta(days=k) for k in range(draws.shape[1])], before, today)


def test_the_probability_counts_the_ways_in_which_the_month_may_go() -> None:
    draws = np.ones((10, 60))
    draws[:3] = 2.0  # three of ten spend twice as much
    found = outlook_of(budget(40.0), "workspace=north", spending(draws, before=9.0))
    assert found.probability == 0.3  # 9 + 42 reaches 40, 9 + 21 does not
    assert found.spent == 9.0
    assert found.expected == pytest.approx(9 + 21 * 1.3)
    # With 50 % it is only in December, when those three have used it up again: never.
    assert found.by == {50: None, 80: None, 95: None}
    assert found.later == {"2026-12": 0.3}
    assert "30% that it is used up" in found.summary


def test_the_day_of_a_crossing_is_the_first_that_so_many_have_reached() -> None:
    draws = np.tile(np.array([1.0, 2.0, 4.0])[:, None], (1, 30))
    found = outlook_of(budget(12.0), "workspace=north", spending(draws))
    # 4 a day reaches 12 on the third day, 2 a day on the sixth, 1 a day on the twelfth.
    assert found.by == {50: "2026-11-15", 80: "2026-11-21", 95: "2026-11-21"}
    assert found.probability == 1.0


def test_a_budget_begins_anew_with_each_month() -> None:
    found = outlook_of(budget(25.0), "workspace=north", spending(np.ones((4, 60))))
    assert found.probability == 0.0  # 21 days of November
    assert found.later == {"2026-12": 1.0}
    assert found.by[95] == "2026-12-25"


def test_a_days_budget_looks_at_days() -> None:
    draws = np.ones((10, 14))
    draws[:6, 5] = 9.0
    found = outlook_of(budget(5.0, "day"), "user=north/ada", spending(draws, before=100.0, today=0.5))
    assert found.spent == 0.5
    assert found.probability == 0.0
    assert found.by == {50: "2026-11-15", 80: None, 95: None}
    assert found.later == {}


def test_what_is_used_up_is_told_so() -> None:
    found = outlook_of(budget(5.0), "workspace=north", spending(np.ones((4, 20)), before=7.0))
    assert found.probability == 1.0
    assert found.summary.endswith("it is used up.")
    told = found.to_dict()
    assert (told["amount"], told["by_50"]) == (5.0, "2026-11-10")


@given(
    st.floats(0.01, 100.0),
    st.floats(0.0, 50.0),
    st.integers(1, 90),
    st.integers(0, 10_000),
)
def test_probabilities_and_days_hang_together(amount: float, before: float, days: int, seed: int) -> None:
    draws = np.random.default_rng(seed).exponential(1.0, (50, days))
    found = outlook_of(budget(amount), "workspace=north", spending(draws, before=before))
    assert 0.0 <= found.probability <= 1.0
    assert found.low <= found.high
    known = [day for day in found.by.values() if day is not None]
    assert known == sorted(known)
    more = outlook_of(budget(2 * amount), "workspace=north", spending(draws, before=before))
    assert more.probability <= found.probability


def test_advice_has_room_for_nearly_every_way_in_which_the_dearest_month_may_go() -> None:
    rng = np.random.default_rng(1)
    draws = rng.gamma(20.0, 0.05, (2_000, 85)) * np.linspace(1.0, 1.5, 85)
    found = advise("workspace=north", spending(draws))
    assert found is not None
    assert found.month == "2027-01"
    assert found.quantiles[95] <= found.amount <= found.quantiles[95] * 1.1
    assert found.verdict == "none yet"
    tight = advise("workspace=north", spending(draws), budget(found.quantiles[50] * 0.95))
    loose = advise("workspace=north", spending(draws), budget(found.amount * 3))
    fits = advise("workspace=north", spending(draws), budget(found.quantiles[99]))
    assert tight is not None
    assert loose is not None
    assert fits is not None
    assert (tight.verdict, loose.verdict, fits.verdict) == ("tight", "loose", "fits")
    assert "probability" in tight.reasons[1]
    assert advise("workspace=north", spending(draws[:, :20])) is None


@given(st.floats(1e-6, 1e9))
def test_rounding_up_never_gives_less_and_never_much_more(value: float) -> None:
    rounded = rounded_up(value)
    assert value * (1 - 1e-8) <= rounded <= value * 1.1001
    assert rounded == pytest.approx(float(f"{rounded:.2g}"))


def test_a_users_daily_amount_stops_the_loop_and_nobody_else() -> None:
    rng = np.random.default_rng(2)
    parts = [
        pd.DataFrame({"day": days_of(60), "workspace": "north", "user": f"user-{k}", "cost": rng.gamma(2.0, 0.01, 60)})
        for k in range(12)
    ]
    cells = pd.concat(parts, ignore_index=True)
    loop = (cells["user"] == "user-3") & cells["day"].isin(days_of(60)[40:43])
    cells.loc[loop, "cost"] = 4.0
    found = user_limit(cells)
    assert found is not None
    assert [(hit.user, hit.days) for hit in found.hits] == [("user-3", 3)]
    assert found.saved == pytest.approx(12.0 - 3 * found.amount)
    assert "user-3 in north on 3 days" in found.reasons[-1]
    assert user_limit(cells[:20]) is None
    calm = user_limit(cells[~loop])
    assert calm is not None
    assert calm.hits == ()
    assert calm.to_dict()["saved"] == 0.0
