"""Tables of outcomes with known structure, small enough to learn from in a second."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from features.gist import gists
from models.routing.options import RoutingOptions
from models.routing.outcomes import Outcomes

KINDS = {
    # words of a kind of prompt, and how well cheap, other and dear answer it
    "sums": ("add", "how many", "apples are left", (0.35, 0.4, 0.95)),
    "codes": ("def", "return a list", "python function", (0.3, 0.9, 0.85)),
    "chats": ("hello", "how are you", "nice weather", (0.9, 0.9, 0.92)),
}
MODELS = ("cheap", "other", "dear")
PRICES = (1.0, 4.0, 40.0)

Table = Callable[..., pd.DataFrame]


@pytest.fixture
def few() -> RoutingOptions:
    """Options under which everything is quick."""
    return RoutingOptions(folds=3, dimensions=12, trees=0, replicates=60)


def make_table(rows: int = 600, seed: int = 0, *, missing: float = 0.0) -> pd.DataFrame:
    """`prompt`, `kind`, and scores and costs of three models."""
    draw = np.random.default_rng(seed)
    names = list(KINDS)
    kind = draw.integers(0, len(names), rows)
    filler = [f"word{number}" for number in range(80)]
    prompts = []
    for number in kind:
        first, second, third, _ = KINDS[names[number]]
        extra = " ".join(draw.choice(filler, draw.integers(3, 25)))
        prompts.append(f"{first} {extra} {second} {draw.integers(1, 99)} {third}?")
    chance = np.array([KINDS[names[number]][3] for number in kind])
    frame = pd.DataFrame({"prompt": prompts, "kind": [names[number] for number in kind]})
    length = np.array([len(text) for text in prompts])
    for place, name in enumerate(MODELS):
        frame[f"{name}|score"] = (draw.random(rows) < chance[:, place]).astype(float)
        frame[f"{name}|cost"] = 1e-6 * PRICES[place] * length * np.exp(draw.normal(0, 0.1, rows))
        if missing:
            gone = draw.random(rows) < missing
            frame.loc[gone, [f"{name}|score", f"{name}|cost"]] = float("nan")
    return frame


@pytest.fixture
def table() -> Table:
    return make_table


def outcomes_of(frame: pd.DataFrame, group: str | None = None) -> Outcomes:
    score = frame[[f"{name}|score" for name in MODELS]].to_numpy()
    cost = frame[[f"{name}|cost" for name in MODELS]].to_numpy()
    empty = np.full(score.shape, float("nan"))
    share = (~np.isnan(score)).mean(axis=0)
    numbers = pd.factorize(frame[group])[0] if group else np.arange(len(frame))
    return Outcomes(
        MODELS,
        gists(frame["prompt"].tolist()),
        np.zeros((len(frame), 0), np.float32),
        score,
        cost,
        empty,
        empty,
        np.broadcast_to(share, score.shape).copy(),
        numbers.astype(np.int64),
        pd.RangeIndex(len(frame)),
    )


@pytest.fixture
def outcomes_from() -> Callable[..., Outcomes]:
    return outcomes_of
