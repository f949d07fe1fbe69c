"""A fitted routing policy: quality, cost, tokens and time of every model for a prompt, and the choice at a trade-off.

On disk: `contract.json` (all but the arrays), `arrays.npz`, and below `judged/` the same without the rows that it was
judged on, when it was made again from all rows. No words of prompts are in it, only how buckets of words count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.gist import VERSION, Gists, gists
from models.routing.amounts import Amounts
from models.routing.basis import Basis
from models.routing.blend import Blend, Strangeness
from models.routing.members import Linear, member_of
from models.routing.tradeoff import Tradeoff, choose
from store.errors import IntegrityFailed

FORMAT = 1
Floats = NDArray[np.float64]

# What every model is asked when it is loaded; nobody's prompts.
EXAMPLES = (
    "What is the capital of France?",
    "Write a Python function that merges two sorted lists and explain its complexity.",
    "Please answer with the letter of the correct answer.\n\nWhich planet is largest?\nA) Mars\nB) Jupiter\nC) Venus",
    "A train travels 120 km in 1.5 hours. How fast is it, and how long does it take for 300 km?",
    "Übersetze ins Englische: Der Zähler wird am Montag abgelesen. 请翻译。",
)


@dataclass(frozen=True)
class Scale:
    """Scores as the table writes them: `low` is 0 and `high` is 1."""

    low: float = 0.0
    high: float = 1.0

    def told(self, quality: Floats) -> Floats:
        return self.low + quality * (self.high - self.low)


@dataclass(frozen=True)
class RoutingModel:
    """A routing policy.

    Attributes
    ----------
    candidate : name of the recipe.
    selection : regret out of fold within the training rows; see `models.routing.regret`.
    models : names, in the order of every second axis.
    quality : before it is bounded to 0 and 1.
    tokens, latency : None where nobody measured them.
    cells : scores seen of each model.
    rivals : what the judgement compares it with: name → quality.
    scale : of the scores.
    facts : what else the contract states, JSON-ready.
    seen : 64-bit numbers of the rows that it learned from.
    judged : the same, without the rows that it was judged on; None where it has not been made again.
    """

    candidate: str
    selection: float
    models: tuple[str, ...]
    basis: Basis
    quality: Blend
    cost: Amounts
    tradeoff: Tradeoff
    cells: NDArray[np.int64]
    tokens: Amounts | None = None
    latency: Amounts | None = None
    rivals: Mapping[str, Blend] = field(default_factory=dict)
    rival_tradeoffs: Mapping[str, Tradeoff] = field(default_factory=dict)
    scale: Scale = Scale()
    facts: Mapping[str, Any] = field(default_factory=dict)
    seen: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    judged: RoutingModel | None = None

    def vectors(self, given: Gists, task: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Prompts in the policy's own space."""
        empty = np.zeros((len(given), 0), np.float32)
        return self.basis.vectors(given, empty if task is None else task)

    def predict(self, vectors: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Quality, 0 to 1, and cost of every model, (rows, models)."""
        return np.clip(self.quality.predict(vectors), 0.0, 1.0), self.cost.predict(vectors)

    def decide(
        self, texts: Sequence[str], tradeoffs: Sequence[float]
    ) -> list[tuple[NDArray[np.int64], Floats, Floats]]:
        """For each trade-off: number of the chosen model, its predicted quality on the table's own scale, and its
        predicted cost, one of each per text."""
        quality, cost = self.predict(self.vectors(gists(texts)))
        rows = np.arange(len(texts))
        made = []
        for one in tradeoffs:
            chosen = choose(quality, cost, self.tradeoff.weight(one))
            made.append((chosen, self.scale.told(quality[rows, chosen]), cost[rows, chosen]))
        return made

    def answer(self, given: pd.DataFrame) -> pd.DataFrame:
        """Quality and cost of every model for the column `prompt`, and the choice in the middle."""
        quality, cost = self.predict(self.vectors(gists(given["prompt"].astype(str).tolist())))
        chosen = choose(quality, cost, self.tradeoff.weight(0.5))
        made: dict[str, Any] = {f"{name}|quality": quality[:, i] for i, name in enumerate(self.models)}
        made |= {f"{name}|cost": cost[:, i] for i, name in enumerate(self.models)}
        return pd.DataFrame({**made, "model": [self.models[one] for one in chosen]})

    def signature(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Made-up prompts, and what it says of them."""
        given = pd.DataFrame({"prompt": list(EXAMPLES)})
        return given, self.answer(given)

    def contract(self) -> dict[str, Any]:
        """Everything but the arrays, JSON-ready."""
        return {
            "family": "routing",
            "format": FORMAT,
            "gist": VERSION,
            "candidate": self.candidate,
            "selection": {"metric": "regret", "value": self.selection, "how": "out of fold"},
            "models": list(self.models),
            "cells": self.cells.tolist(),
            "quality": _stated(self.quality),
            "rivals": {name: _stated(one) for name, one in self.rivals.items()},
            "tradeoff": list(self.tradeoff.weights),
            "rival_tradeoffs": {name: list(one.weights) for name, one in self.rival_tradeoffs.items()},
            "measured": [name for name in ("tokens", "latency") if getattr(self, name) is not None],
            "scale": [self.scale.low, self.scale.high],
            "facts": dict(self.facts),
            "made_again": self.judged is not None,
        }

    def save(self, folder: Path) -> None:
        """Write the model into an empty folder; the same model gives the same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {f"basis.{name}": one for name, one in self.basis.arrays().items()}
        arrays["seen"] = self.seen
        arrays |= _blend_arrays("quality", self.quality)
        for name, rival in self.rivals.items():
            arrays |= _blend_arrays(f"rival.{name}", rival)
        for name in ("cost", "tokens", "latency"):
            amounts: Amounts | None = getattr(self, name)
            if amounts is not None:
                own = {"factor": amounts.factor, "low": amounts.low, "high": amounts.high}
                arrays |= {f"{name}.{key}": one for key, one in {**amounts.logarithm.arrays(), **own}.items()}
        np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
        text = json.dumps(self.contract(), indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "contract.json").write_text(text + "\n", encoding="utf-8")
        if self.judged is not None:
            self.judged.save(folder / "judged")

    @classmethod
    def load(cls, folder: Path, *, judged: bool = True) -> RoutingModel:
        """Read back what `save` wrote.

        Parameters
        ----------
        judged : whether to read what it was judged as, too; deciding needs none of it.

        Raises
        ------
        IntegrityFailed : the folder holds no routing policy, or one of another format.
        """
        folder = Path(folder)
        try:
            data = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
            with np.load(folder / "arrays.npz", allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError) as error:
            raise IntegrityFailed(f"{folder} holds no readable policy: {error}.", remedy="Train again.") from None
        if data.get("family") != "routing" or data.get("format") != FORMAT or data.get("gist") != VERSION:
            raise IntegrityFailed(
                f"{folder} holds family {data.get('family')!r} format {data.get('format')!r} for gists "
                f"{data.get('gist')!r}, expected routing {FORMAT} for gists {VERSION}.",
                remedy="Load it with the release that wrote it, or train again.",
            )
        try:
            made = cls(
                candidate=data["candidate"],
                selection=data["selection"]["value"],
                models=tuple(data["models"]),
                basis=Basis.from_arrays(_part(arrays, "basis")),
                quality=_blend(data["quality"], arrays, "quality"),
                cost=_amounts(arrays, "cost"),
                tradeoff=Tradeoff(tuple(data["tradeoff"])),
                cells=np.asarray(data["cells"], np.int64),
                tokens=_amounts(arrays, "tokens") if "tokens" in data["measured"] else None,
                latency=_amounts(arrays, "latency") if "latency" in data["measured"] else None,
                rivals={name: _blend(one, arrays, f"rival.{name}") for name, one in data["rivals"].items()},
                rival_tradeoffs={name: Tradeoff(tuple(one)) for name, one in data["rival_tradeoffs"].items()},
                scale=Scale(*data["scale"]),
                facts=data["facts"],
                seen=arrays["seen"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityFailed(f"{folder} holds half a policy: {error!r}.", remedy="Train again.") from None
        if judged and data["made_again"]:
            made = replace(made, judged=cls.load(folder / "judged"))
        return made


def _stated(blend: Blend) -> dict[str, Any]:
    return {
        "members": {name: one.kind for name, one in blend.members.items()},
        "weights": blend.weights.tolist(),
        "apart": None if blend.apart is None else blend.apart.tolist(),
        "strangeness": (None if blend.strangeness is None else [blend.strangeness.offset, blend.strangeness.slope]),
    }


def _blend_arrays(prefix: str, blend: Blend) -> dict[str, NDArray[Any]]:
    made: dict[str, NDArray[Any]] = {f"{prefix}.level": blend.level}
    for name, member in blend.members.items():
        made |= {f"{prefix}.member.{name}.{key}": one for key, one in member.arrays().items()}
    if blend.strangeness is not None:
        made |= {f"{prefix}.centres": blend.strangeness.centres, f"{prefix}.radius": blend.strangeness.radius}
    return made


def _blend(stated: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str) -> Blend:
    members = {
        name: member_of(kind, _part(arrays, f"{prefix}.member.{name}")) for name, kind in stated["members"].items()
    }
    strange = stated["strangeness"]
    return Blend(
        arrays[f"{prefix}.level"],
        members,
        np.asarray(stated["weights"], np.float64),
        None if stated["apart"] is None else np.asarray(stated["apart"], np.float64),
        None if strange is None else Strangeness(arrays[f"{prefix}.centres"], arrays[f"{prefix}.radius"], *strange),
    )


def _amounts(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Amounts:
    own = _part(arrays, prefix)
    return Amounts(Linear(own["level"], own["slope"]), own["factor"], own["low"], own["high"])


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    start = f"{prefix}."
    return {name.removeprefix(start): one for name, one in arrays.items() if name.startswith(start)}
