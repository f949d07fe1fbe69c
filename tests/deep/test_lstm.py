"""The network over a panel: it learns, repeats itself, and forecasts a series by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from features.frequency import Grid
from models.forecasting.deep import lstm
from models.forecasting.deep.lstm import GlobalLstm
from models.forecasting.panel_members import PANEL_MEMBERS
from models.forecasting.series import Floats, Series

Weekly = Callable[[str, int, int], Series]
DAILY = Grid("fixed", 86_400 * 10**9)


@pytest.fixture(scope="module")
def panel() -> list[Series]:
    """Sizes far apart, a common shape: a sawtooth of ten days, which nobody is told of."""
    rng = np.random.default_rng(0)
    index = np.arange(240)
    return [
        Series(name, size * (1 + 0.3 * ((index + k) % 10) / 10 + 0.01 * rng.standard_normal(240)), (7,), DAILY)
        for k, (name, size) in enumerate((("a", 1.0), ("b", 1e3), ("c", 1e6)))
    ]


@pytest.fixture(scope="module")
def network(panel: list[Series]) -> GlobalLstm:
    return GlobalLstm([(one, 220) for one in panel], 10)


def error(path: Floats, one: Series) -> float:
    return float(np.abs(path - one.y[220:230]).mean() / one.y[:220].mean())


def test_it_learns_what_the_seasonal_naive_forecast_does_not_know(network: GlobalLstm, panel: list[Series]) -> None:
    for one, path in zip(panel, network.paths([(one, 220) for one in panel], 10), strict=True):
        naive = np.resize(one.y[213:220], 10)
        assert path.shape == (10,)
        assert error(path, one) < 0.9 * error(naive, one)


def test_a_forecast_does_not_change_with_its_batch(network: GlobalLstm, panel: list[Series]) -> None:
    together = network.paths([(one, 220) for one in panel], 10)
    for one, path in zip(panel, together, strict=True):
        assert np.array_equal(network.paths([(one, 220)], 10)[0], path)


def test_it_sees_nothing_after_its_origin(network: GlobalLstm, panel: list[Series]) -> None:
    one = panel[0]
    changed = Series(one.name, np.concatenate((one.y[:220], np.full(20, 1e9))), one.seasons, one.grid)
    assert np.array_equal(network.paths([(changed, 220)], 10)[0], network.paths([(one, 220)], 10)[0])
    again = GlobalLstm([(changed, 220), *((other, 220) for other in panel[1:])], 10)
    assert np.array_equal(again.paths([(one, 220)], 10)[0], network.paths([(one, 220)], 10)[0])


def test_the_same_data_give_the_same_network_whatever_the_process_drew_before(weekly: Weekly) -> None:
    import torch

    short = [(weekly("a", 80, 0), 80)]
    first = GlobalLstm(short, 7).paths(short, 7)[0]
    before = torch.random.get_rng_state()
    torch.manual_seed(99)
    assert np.array_equal(GlobalLstm(short, 7).paths(short, 7)[0], first)
    torch.manual_seed(99)
    drawn = torch.rand(1)
    torch.manual_seed(99)
    GlobalLstm(short, 7)
    assert torch.equal(torch.rand(1), drawn), "it draws from a generator of its own"
    torch.random.set_rng_state(before)


def test_too_few_values_are_said(weekly: Weekly) -> None:
    with pytest.raises(ValueError, match="no series has the"):
        GlobalLstm([(weekly("a", 20, 0), 20)], 15)


def test_it_is_a_usual_candidate_where_torch_is_there() -> None:
    assert PANEL_MEMBERS["LSTM"].usual
    assert lstm.absent() == ""


def test_importing_the_members_imports_no_torch() -> None:
    code = "import sys, models.forecasting.family, models.anomaly.watch; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
