"""Calls of which it is known what every model would have cost: cells as the ledger gives them, and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.views.llm_costs import KEYS, SUMS
from features.world.llm.models import true_quality
from features.world.llm.offers import MODELS

START = pd.Timestamp("2026-09-01")
NAMES = ("nano", "small", "medium", "large", "coder", "vision")
CHAT = [MODELS[f"simulated/{name}"] for name in NAMES]
DOMAINS, COMPLEXITIES = ("writing", "summary", "translation", "code"), ("simple", "moderate", "complex", "expert")
_SHARES = {"marketing": (0.6, 0.15, 0.2, 0.05), "support": (0.2, 0.3, 0.3, 0.2), "engineering": (0.1, 0.1, 0.1, 0.7)}
_TOKENS = {"simple": 40.0, "moderate": 110.0, "complex": 230.0, "expert": 380.0}


@dataclass(frozen=True)
class Followed:
    """From a day on another model answers what asks for the large one."""

    use: str
    complexities: Sequence[str]
    day: int
    held_back: float = 0.1


def calls(seed: int, days: int, followed: Followed | None = None, *, dearer: float = 1.0, judged: float = 0.3) -> Any:
    """One row a call. `cost:<id>` is what each model would have cost, with this very prompt and answer's length.

    Parameters
    ----------
    dearer : factor to the price of the large model from the day on which it is followed.
    judged : share of answers that somebody judges.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for workspace, shares in _SHARES.items():
        per_day = rng.poisson(110 * (1 + 0.2 * np.sin(np.arange(days))), days)
        count = int(per_day.sum())
        parts.append(
            pd.DataFrame(
                {
                    "number": np.repeat(np.arange(days), per_day),
                    "workspace": workspace,
                    "domain": rng.choice(DOMAINS, count, p=shares),
                    "complexity": rng.choice(COMPLEXITIES, count, p=(0.45, 0.3, 0.17, 0.08)),
                }
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    count = len(frame)
    fixed = (frame["workspace"] == "marketing") & (rng.random(count) < 0.5)
    frame["asked"] = np.where(fixed, "simulated/large", "auto")
    frame["strategy"] = np.where(fixed, "explicit", "auto")
    chosen = np.where(fixed, NAMES.index("large"), rng.integers(0, len(CHAT), count))
    frame["part"] = ""
    if followed is not None:
        hit = fixed & (frame["number"] >= followed.day) & frame["complexity"].isin(followed.complexities)
        held = hit & (rng.random(count) < followed.held_back)
        frame["part"] = np.where(held, "held back", np.where(hit, "used", ""))
        use = [model.id for model in CHAT].index(followed.use)
        chosen = np.where(hit & ~held, use, chosen)
    else:
        rng.random(count)
    frame["input_tokens"] = np.maximum(np.round(rng.lognormal(4.8, 0.5, count)), 8)
    base = frame["complexity"].map(_TOKENS).to_numpy() * rng.lognormal(0.0, 0.4, count)
    tokens = np.stack([np.maximum(np.round(base * model.wordiness), 1) for model in CHAT], axis=1)
    since = frame["number"].to_numpy() >= (followed.day if followed is not None else 10**6)
    for place, model in enumerate(CHAT):
        cost = frame["input_tokens"].to_numpy() * model.input + tokens[:, place] * model.output
        factor = np.where(since, dearer, 1.0) if model.name == "large" else 1.0
        frame[f"cost:{model.id}"] = cost * factor / 1e9
    quality = np.array(
        [[[true_quality(model, domain, one) for model in CHAT] for one in COMPLEXITIES] for domain in DOMAINS]
    )
    where = (frame["domain"].map(DOMAINS.index), frame["complexity"].map(COMPLEXITIES.index))
    frame["quality"] = quality[where[0], where[1], chosen]
    frame["model"] = np.array([model.id for model in CHAT])[chosen]
    frame["output_tokens"] = tokens[np.arange(count), chosen].astype(float)
    frame["cost"] = np.stack([frame[f"cost:{model.id}"] for model in CHAT], axis=1)[np.arange(count), chosen]
    speed = np.array([[model.ttft_ms, 1_000 / model.tokens_per_second] for model in CHAT])[chosen]
    frame["latency_ms"] = speed[:, 0] + frame["output_tokens"] * speed[:, 1]
    frame["judged"] = (rng.random(count) < judged).astype(float)
    frame["judgement"] = frame["judged"] * (rng.random(count) < 0.07 + 0.86 * frame["quality"])
    return frame


def cells_of(frame: pd.DataFrame) -> pd.DataFrame:
    """As `features.views.llm_costs.cost_cells` sums calls up."""
    told = frame.assign(
        day=START + pd.to_timedelta(frame["number"], unit="D"),
        kind="chat",
        provider="simulated",
        batch=False,
        calls=1.0,
        cached_tokens=0.0,
        cache_write_tokens=0.0,
        scored=0.0,
        score=0.0,
    )
    return told.groupby(list(KEYS), as_index=False)[list(SUMS)].sum().astype(dict.fromkeys(SUMS, "float64"))
