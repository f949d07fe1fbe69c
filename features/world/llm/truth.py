"""What is true of the demo world's LLM calls and stands in no table: tasks, all models' qualities, what was planted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.world.business import Array
from features.world.llm import feedback, logging_policy
from features.world.llm.happenings import Happening, Happenings, Runaway
from features.world.llm.models import DIFFICULTY, ITEM_SPREAD
from features.world.llm.offers import MODELS
from features.world.llm.task import COMPLEXITIES
from features.world.llm.tasks import DOMAINS
from features.world.llm.workspaces import WORKSPACES


@dataclass(frozen=True)
class LlmTruth:
    """The LLM side of a world, and where its truth lies.

    Attributes
    ----------
    folder : holds `calls.parquet`, one row per call, and `world.json`.
    calls, contents, feedback : rows written to the ledger's tables.
    spent : nanos, all calls together.
    spent_by_runaway : nanos of the runaway user's loop.
    happenings : price changes, outages, slow-downs and the silent drop of quality, with their moments.
    """

    folder: Path
    seed: int
    start: date
    end: date
    calls: int
    contents: int
    feedback: int
    spent: int
    spent_by_runaway: int
    runaway: Runaway
    happenings: Sequence[Happening]

    def frame(self) -> pd.DataFrame:
        """One row per call.

        Returns
        -------
        `id, at, workspace, user, model, outcome, runs_away, again`, the task's true `domain, complexity, kind, closed`
        (empty for calls for vectors), `item_effect`, `realised` (quality of the answer that was given, NaN where none
        was), and for every chat model `quality:<id>` (expected of its answer to this prompt at that moment),
        `cost:<id>` (expected nanos) and `latency:<id>` (expected milliseconds).
        """
        return pd.read_parquet(self.folder / "calls.parquet")


def expected_quality(domain: Array, complexity: Array, item: Array, at: Array, happened: Happenings) -> Array:
    """(calls, models of `logging_policy.CHAT`): quality to be expected of each model's answer to each prompt."""
    skill = np.array([[model.skill(name) for model in logging_policy.CHAT] for name in DOMAINS])[domain]
    hard = np.array([DIFFICULTY[name] for name in COMPLEXITIES])[complexity] + item
    shift = np.stack([happened.shift(model.id, at) for model in logging_policy.CHAT], axis=1)
    # As in `features.world.llm.models.chance`.
    quality: Array = 0.01 + 0.98 / (1.0 + np.exp(-(skill + shift - hard[:, None])))
    return quality


def write(folder: Path, frame: pd.DataFrame, truth: LlmTruth) -> None:
    """Put the truth beside the world: a Parquet file and a statement in words and numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "calls.parquet", index=False, compression="zstd")
    (folder / "world.json").write_text(json.dumps(_statement(truth, frame), indent=2) + "\n", encoding="utf-8")


def _statement(truth: LlmTruth, frame: pd.DataFrame) -> Mapping[str, Any]:
    chats = frame[frame["domain"] != ""]
    return {
        "seed": truth.seed,
        "start": truth.start.isoformat(),
        "end": truth.end.isoformat(),
        "calls": truth.calls,
        "contents": truth.contents,
        "feedback": truth.feedback,
        "spent_dollars": round(truth.spent / 1e9, 6),
        "spent_by_runaway_dollars": round(truth.spent_by_runaway / 1e9, 6),
        "runaway": truth.runaway.told(),
        "happenings": [one.told() for one in truth.happenings],
        "workspaces": [asdict(one) for one in WORKSPACES],
        "models": {
            model.id: {
                "mean_expected_quality": round(float(chats[f"quality:{model.id}"].mean()), 4),
                "quality": dict(model.quality),
            }
            for model in MODELS.values()
            if model.kind == "chat"
        },
        "logging_policy": {
            "explore": logging_policy.EXPLORE,
            "temperature": logging_policy.TEMPERATURE,
            "dollars_weight": logging_policy.DOLLARS_WEIGHT,
            "seconds_weight": logging_policy.SECONDS_WEIGHT,
        },
        "difficulty": dict(DIFFICULTY),
        "item_spread": ITEM_SPREAD,
        "thumb_up": list(feedback.THUMB_UP),
    }
