"""Metrics, their intervals, and the threshold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, log_loss, roc_auc_score

from models.churn.metrics import Offer, ece, estimates

OFFER = Offer(20.0, 120.0, 0.4)


def _draw(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(1.0, 3.0, rows).round(3)  # rounded: ties
    return (rng.random(rows) < p).astype(np.int64), p


def test_values_agree_with_scikit_learn() -> None:
    y, p = _draw(3000)
    found = estimates(y, p, 0.4, OFFER, replicates=100)
    assert found["auc"].value == pytest.approx(roc_auc_score(y, p))
    assert found["average_precision"].value == pytest.approx(average_precision_score(y, p))
    held = np.clip(p, 1e-12, 1 - 1e-12)
    assert found["log_loss"].value == pytest.approx(log_loss(y, held))
    assert found["brier"].value == pytest.approx(brier_score_loss(y, p))
    assert found["f1"].value == pytest.approx(f1_score(y, p >= 0.4))
    flagged = p >= 0.4
    assert found["expected_value"].value == pytest.approx(np.where(flagged, 48.0 * y - 20.0, 0.0).mean())


def test_intervals_cover_what_is_true() -> None:
    truth = estimates(*_draw(400_000, 99), 0.4, OFFER, replicates=100)
    names = ("auc", "average_precision", "log_loss", "brier", "f1", "expected_value")
    inside = dict.fromkeys(names, 0)
    for seed in range(60):
        found = estimates(*_draw(800, seed), 0.4, OFFER, replicates=300, seed=seed)
        for name in names:
            inside[name] += found[name].low <= truth[name].value <= found[name].high
    # 95 % of 60 is 57; below 50 would be a chance of one in a thousand.
    assert min(inside.values()) >= 50, inside


def test_rows_of_one_customer_do_not_count_as_many() -> None:
    y, p = _draw(500)
    alone = estimates(y, p, 0.4, OFFER, replicates=500)
    copied = np.repeat(np.arange(500), 10)
    naive = estimates(y[copied], p[copied], 0.4, OFFER, replicates=500)
    grouped = estimates(y[copied], p[copied], 0.4, OFFER, groups=copied, replicates=500)
    width = {k: v["log_loss"].high - v["log_loss"].low for k, v in {"a": alone, "n": naive, "g": grouped}.items()}
    assert width["g"] == pytest.approx(width["a"], rel=0.2)
    assert width["n"] < 0.5 * width["a"]


def test_calibration_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(100_000)
    y = (rng.random(100_000) < p).astype(np.int64)
    assert ece(y, p) < 0.01
    assert ece(y, np.clip(p + 0.1, 0, 1)) == pytest.approx(0.095, abs=0.01)
    assert ece(y, np.full(100_000, y.mean())) == pytest.approx(0.0, abs=1e-9)


def test_intervals_repeat_with_the_seed() -> None:
    y, p = _draw(500)
    assert estimates(y, p, 0.4, OFFER, seed=3) == estimates(y, p, 0.4, OFFER, seed=3)


@pytest.mark.parametrize("offer", [OFFER, Offer(5.0, 300.0, 0.2), Offer(30.0, 50.0, 0.9)])
def test_no_other_threshold_earns_more(offer: Offer) -> None:
    """With calibrated probabilities the formula is the best threshold there is."""
    p = np.linspace(0.0005, 0.9995, 1000)

    def earned(threshold: float) -> float:
        return float(np.where(p >= threshold, offer.success * offer.value * p - offer.cost, 0.0).sum())

    best = max(np.linspace(0, 1, 1001), key=earned)
    assert offer.threshold() == pytest.approx(offer.cost / (offer.success * offer.value))
    assert earned(offer.threshold()) >= earned(best) - 1e-9


def test_an_offer_that_never_pays_is_never_made() -> None:
    assert Offer(100.0, 120.0, 0.4).threshold() == 1.0
    assert Offer(0.0, 120.0, 0.4).threshold() == 0.0
