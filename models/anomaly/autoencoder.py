"""Autoencoder: what a small network cannot rebuild from four numbers is unusual.

It learns windows of two seasons (at most 48 values), each less its median and in usual deviations. Learning needs torch
(the extra `deep`); a learned one is four matrices, judges with NumPy alone, and is JSON like every detector. Where
torch is missing, it goes on judging by what it has learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np

from models.anomaly.scorers import View
from store.errors import InvalidValue

Floats = np.ndarray[Any, np.dtype[np.float64]]

_WIDE, _NARROW = 24, 4
_EPOCHS = 200
_FEWEST = 24  # windows below which nothing is learned
_LONGEST = 48
_FAR = 8.0


def check_installed() -> None:
    """Raise InvalidValue where torch is not there."""
    if find_spec("torch") is None:
        raise InvalidValue(
            "autoencoder: not installed.",
            remedy="Install the extra deep (`make install-deep`) and run from .venv-deep, or leave the detector out.",
            field="detectors",
            value="autoencoder",
        )


class Autoencoder:
    """The detector `autoencoder`; see `models.anomaly.scorers.Scorer`."""

    name = "autoencoder"

    def __init__(self) -> None:
        self._layers: list[tuple[Floats, Floats]] = []
        self._size = 1.0

    def learn(self, before: Floats, residuals: Floats, season: int, seed: int) -> None:
        del residuals
        span = _span(season)
        windows = [_centred(before[k : k + span]) for k in range(len(before) - span + 1)]
        windows = [window for window in windows if window is not None]
        if len(windows) < _FEWEST:
            return
        if self._layers and find_spec("torch") is None:
            return  # what was learned elsewhere goes on judging
        check_installed()
        points = np.array(windows)
        self._size = max(1.4826 * float(np.median(np.abs(points))), 1e-3 * float(np.abs(points).max()), 1e-9)
        self._layers = _learned(np.clip(points / self._size, -_FAR, _FAR), seed)

    def score(self, view: View) -> float:
        if not self._layers:
            return math.nan
        window = _centred(np.append(view.before, view.value)[-_span(view.season) :])
        if window is None or len(window) != len(self._layers[0][0]):
            return math.nan
        point = np.clip(window / self._size, -_FAR, _FAR)
        wrong = np.abs(_rebuilt(point, self._layers) - point)
        # The last value counts as much as the rest of the window: it is the one that is judged.
        return float(0.5 * wrong[-1] + 0.5 * wrong.mean())

    def state(self) -> dict[str, Any]:
        if not self._layers:
            return {}
        return {"size": self._size, "layers": [[weight.tolist(), bias.tolist()] for weight, bias in self._layers]}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state:
            self._size = float(state["size"])
            self._layers = [
                (np.array(weight, np.float64), np.array(bias, np.float64)) for weight, bias in state["layers"]
            ]


def _span(season: int) -> int:
    return min(max(2 * season, 12), _LONGEST)


def _centred(window: Floats) -> Floats | None:
    """Less its median, missing values as that; None where more than a quarter is missing."""
    known = np.isfinite(window)
    if 4 * int(known.sum()) < 3 * len(window):
        return None
    return np.where(known, window - np.median(window[known]), 0.0)


def _rebuilt(point: Floats, layers: list[tuple[Floats, Floats]]) -> Floats:
    found = point
    for weight, bias in layers[:-1]:
        found = np.tanh(found @ weight + bias)
    weight, bias = layers[-1]
    return np.asarray(found @ weight + bias)


def _learned(points: Floats, seed: int) -> list[tuple[Floats, Floats]]:
    """Weights and biases, layer by layer; the same points and seed give the same ones."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = (points.shape[1], _WIDE, _NARROW, _WIDE, points.shape[1])
            layers = [torch.nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise(sizes)]
            weights = [one for layer in layers for one in layer.parameters()]
            optimiser = torch.optim.Adam(weights, lr=0.01)
            given = torch.from_numpy(points)
            for _ in range(_EPOCHS):
                found = given
                for layer in layers[:-1]:
                    found = torch.tanh(layer(found))
                # Huber's loss: an incident in the past must not be learned by heart.
                loss = torch.nn.functional.huber_loss(layers[-1](found), given)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            return [(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in layers]
    finally:
        torch.set_num_threads(threads)
