"""What will not come again is set aside, is told, and leaves sums that hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spend.usual import set_aside, usual_of
from tests.unit.spend.ledger_frames import START, daily


def with_loop(cells: pd.DataFrame, first: int, days: int, cost: float = 200.0) -> pd.DataFrame:
    """A program of `north` that calls `a/big` in a loop for some days."""
    when = START + pd.Timedelta(days=first)
    mine = (cells["workspace"] == "north") & (cells["model"] == "a/big")
    mine &= (cells["day"] >= when) & (cells["day"] < when + pd.Timedelta(days=days))
    return cells.assign(cost=cells["cost"].where(~mine, cost))


def test_days_on_which_a_program_ran_away_are_put_back_to_their_usual_in_their_own_cell() -> None:
    cells = daily()
    cleaned, aside = set_aside(with_loop(cells, 50, 3))
    (found,) = aside
    begun, ended = ((START + pd.Timedelta(days=days)).to_pydatetime() for days in (50, 52))
    assert (found.subject, found.start, found.end) == ("workspace=north", begun, ended)
    assert found.spent > 600
    assert not found.ongoing
    assert "instead of about" in str(found)
    was = cells.set_index(["day", "workspace", "model"])["cost"]
    now = cleaned.set_index(["day", "workspace", "model"])["cost"].reindex(was.index)
    changed = was.index[np.abs(now - was) > 1e-9]
    assert {(workspace, model) for _, workspace, model in changed} == {("north", "a/big")}
    assert now[changed].max() < 15


def test_every_way_of_adding_up_gives_the_same_total() -> None:
    cleaned, _ = set_aside(with_loop(daily(), 50, 2))
    by_workspace = cleaned.groupby(["day", "workspace"])["cost"].sum().groupby("day").sum()
    by_model = cleaned.groupby(["day", "model"])["cost"].sum().groupby("day").sum()
    pd.testing.assert_series_equal(by_workspace, by_model)


def test_a_new_level_stays() -> None:
    cells = daily()
    mine = cells["day"] >= START + pd.Timedelta(days=60)
    cells = cells.assign(cost=cells["cost"].where(~mine, 5 * cells["cost"]))
    cleaned, aside = set_aside(cells)
    assert aside == ()
    assert cleaned["cost"].sum() == pytest.approx(cells["cost"].sum())


def test_what_still_lasts_is_set_aside_for_three_days_and_the_reader_is_warned() -> None:
    cells = daily(91)
    _, aside = set_aside(with_loop(cells, 89, 2))
    assert [one.ongoing for one in aside] == [True]
    assert "should it last" in str(aside[0])
    _, later = set_aside(with_loop(cells, 86, 5))
    assert later == ()


def test_a_workspace_that_begins_late_had_no_dips_before() -> None:
    cells = daily()
    late = (cells["workspace"] == "south") & (cells["day"] < START + pd.Timedelta(days=35))
    cells = cells[~late]
    cleaned, aside = set_aside(cells)
    assert aside == ()
    assert cleaned["cost"].sum() == pytest.approx(cells["cost"].sum())


def test_usual_spending_is_left_as_it_is() -> None:
    for seed in range(5):
        cells = daily(noise=0.3, seed=seed)
        cleaned, aside = set_aside(cells)
        assert aside == ()
        assert cleaned is cells
    empty, none = set_aside(cells[:0])
    assert len(empty) == 0
    assert none == ()


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=80))
def test_what_is_usual_lies_within_what_was_seen(values: list[float]) -> None:
    y = np.array(values)
    usual = usual_of(y)
    assert usual.shape == y.shape
    assert np.all((usual >= y.min() - 1e-9) & (usual <= y.max() + 1e-9))
