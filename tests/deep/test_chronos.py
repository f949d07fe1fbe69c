"""Chronos-2 as a forecasting member: the real pipeline in its own process, on a tiny model with random weights."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.families import Spec
from models.forecasting.deep import chronos
from models.forecasting.deep.chronos import Chronos
from models.forecasting.panel_members import PANEL_MEMBERS
from models.forecasting.series import Series

Weekly = Callable[[str, int, int], Series]
MEMBER = PANEL_MEMBERS["Chronos2"]


@pytest.fixture
def model(tiny_chronos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MERIT_CHRONOS_MODEL", str(tiny_chronos))
    return tiny_chronos


def test_a_forecast_is_that_of_the_pipeline_in_32_bits(model: Path, weekly: Weekly) -> None:
    import torch
    from chronos import Chronos2Pipeline

    values = weekly("a", 100, 0).y
    with Chronos(str(model), 60) as process:
        found = process.forecast(values, 20)
        again = process.forecast(values, 20)
    pipeline = Chronos2Pipeline.from_pretrained(str(model), device_map="cpu", dtype=torch.float32)
    _, middle = pipeline.predict_quantiles([torch.tensor(values, dtype=torch.float32)], prediction_length=20)
    assert found.shape == (20,)
    assert np.array_equal(found, again)
    np.testing.assert_allclose(found, middle[0][0].numpy(), rtol=1e-5)
    assert np.std(found) > 0


def test_a_forecast_does_not_change_with_its_batch(model: Path, weekly: Weekly) -> None:
    wanted = [(one, len(one)) for one in (weekly(name, 100 + 13 * k, k) for k, name in enumerate("abc"))]
    together = MEMBER.fit(wanted, 14)(wanted, 14)
    alone = MEMBER.fit(wanted[1:2], 14)(wanted[1:2], 14)
    assert np.array_equal(alone[0], together[1])
    assert not np.array_equal(together[0], together[1])


def test_a_forecast_that_takes_too_long_is_really_ended(model: Path, weekly: Weekly) -> None:
    process = Chronos(str(model), 60)
    process.forecast(weekly("a", 50, 0).y, 8)
    os.kill(process._process.pid, signal.SIGSTOP)  # it hangs, as a library does
    process.seconds = 0.3
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"series 'slow' took longer than 0\.3 s and was ended; MERIT_CHRONOS_SECONDS"):
        process.forecast(weekly("a", 50, 0).y, 8, "slow")
    assert time.monotonic() - started < 20
    assert process._process.poll() is not None


@pytest.mark.parametrize(
    ("folder", "said"), [("/nowhere/at/all", "MERIT_CHRONOS_MODEL=/nowhere/at/all is no folder"), ("", "Error")]
)
def test_a_model_that_is_none_is_told(folder: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said), Chronos(folder or str(tmp_path), 60) as process:
        process.forecast(np.ones(10), 3)


def test_without_a_model_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MERIT_CHRONOS_MODEL", raising=False)
    assert "set MERIT_CHRONOS_MODEL" in chronos.absent()


def test_it_is_a_candidate_of_the_family_and_another_goes_on_without_it(
    model: Path, monkeypatch: pytest.MonkeyPatch, weekly: Weekly
) -> None:
    days = pd.date_range("2025-01-01", periods=130, freq="D")
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": days, "y": weekly(name, 130, k).y}) for k, name in enumerate("ab")
    )
    roles = {"entity": "unique_id", "time": "ds", "target": "y"}
    options = {"horizon": 14, "freq": "D", "members": ["SeasonalNaive", "Chronos2"]}
    family = Spec("forecasting", "forecasting", options).build()
    split = family.split(frame, roles)
    fitted = {}
    for candidate in family.candidates():
        fitted[candidate.name] = family.fit(candidate, split.train, roles, fitted)
    evaluation = family.evaluate(fitted["Chronos2"], split.holdout, split.train, roles)
    assert evaluation.metrics["mase"].value > 0
    assert set(fitted["combination"].contract["series"]["a"]["weights"]) <= {"SeasonalNaive", "Chronos2"}
    monkeypatch.setenv("MERIT_CHRONOS_SECONDS", "1e-9")
    chronos_alone = next(one for one in family.candidates() if one.name == "Chronos2")
    with pytest.raises(ValueError, match="took longer than 1e-09 s"):
        family.fit(chronos_alone, split.train, roles, {})
