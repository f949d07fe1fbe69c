"""What prompts came to: for each prompt and model the score, the cost and more, as far as it was seen.

A table of outcomes shows every cell, or all but some; the ledger shows one cell of each row, the model that was called,
and the probability with which it was. Both are the same thing, a matrix with holes, and learned from alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.gist import Gists, unpacked
from store.errors import MissingColumn

Floats = NDArray[np.float64]

SCORE, COST, LATENCY, TOKENS = "|score", "|cost", "|latency", "|tokens"
DOMAINS = (
    "code", "math", "reasoning", "analysis", "writing", "translation", "summary", "extraction", "conversation",
    "knowledge",
)  # fmt: skip
COMPLEXITIES = ("simple", "moderate", "complex", "expert")
# Of a call: domain, complexity, both together, tokens of the prompt.
TASK_WIDTH = len(DOMAINS) + len(COMPLEXITIES) + 1
# A model called with less than this probability tells as much as with it, so that one call does not outweigh dozens:
# a little bias, as far as the reward model errs there, for much less variance.
LEAST_PROPENSITY = 0.05


@dataclass(frozen=True)
class Outcomes:
    """Prompts and what each model made of them.

    Attributes
    ----------
    models : names; the second axis of what has two.
    task : (rows, `TASK_WIDTH` or 0), what the gateway told of the task; nothing for a table.
    score : 0 to 1, NaN where it was not seen; so are the others.
    cost : dollars, or whatever the table counts in.
    latency : milliseconds; NaN throughout where nobody measured.
    tokens : of the answer; likewise.
    shown : probability with which the cell was to be seen; 1 in a table.
    group : number of the group that each row belongs to.
    keys : of the rows, unique.
    """

    models: tuple[str, ...]
    gists: Gists
    task: NDArray[np.float32]
    score: Floats
    cost: Floats
    latency: Floats
    tokens: Floats
    shown: Floats
    group: NDArray[np.int64]
    keys: pd.Index

    def __len__(self) -> int:
        return len(self.score)

    @property
    def seen(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.score)

    @property
    def whole(self) -> bool:
        """Whether every score and cost is there."""
        return not (np.isnan(self.score).any() or np.isnan(self.cost).any())

    def for_models(self, models: Sequence[str]) -> Outcomes:
        """The same rows with other columns: models that are not here have no cell."""
        place = {name: i for i, name in enumerate(self.models)}
        take = [place.get(name, -1) for name in models]
        holes = np.array([one < 0 for one in take])

        def picked(cells: Floats, empty: float) -> Floats:
            made = cells[:, take].copy()
            made[:, holes] = empty
            return made

        nan = float("nan")
        return replace(
            self,
            models=tuple(models),
            score=picked(self.score, nan),
            cost=picked(self.cost, nan),
            latency=picked(self.latency, nan),
            tokens=picked(self.tokens, nan),
            shown=picked(self.shown, 0.0),
        )


def outcomes(frame: pd.DataFrame, roles: Mapping[str, str], models: Sequence[str] | None = None) -> Outcomes:
    """Read a data set of the family.

    Parameters
    ----------
    models : which ones, in their order; all that the frame knows, by name.

    Raises
    ------
    MissingColumn : the frame is no table of outcomes.
    """
    for role in ("words", "structure"):
        if roles.get(role) not in frame:
            raise MissingColumn(
                f"The data set has no column with the {role} of prompts.",
                remedy="Prepare it with `merit train routing --data FILE`, or from the ledger.",
                field=role,
            )
    gists = unpacked(frame[roles["words"]].tolist(), frame[roles["structure"]].tolist())
    group = pd.factorize(frame[roles["group"]])[0].astype(np.int64) if "group" in roles else np.arange(len(frame))
    keys = pd.Index(frame[roles["row"]])
    if "model" in roles:
        return _from_calls(frame, roles, gists, group, keys, models)
    found = sorted(name.removesuffix(SCORE) for name in map(str, frame.columns) if name.endswith(SCORE))
    names = tuple(found if models is None else models)
    empty = pd.Series(float("nan"), index=frame.index)

    def cells(kind: str) -> Floats:
        columns = [frame.get(f"{name}{kind}", empty) for name in names]
        return np.column_stack([column.to_numpy(dtype=np.float64) for column in columns])

    score = cells(SCORE)
    share = (~np.isnan(score)).mean(axis=0)
    return Outcomes(
        names,
        gists,
        np.zeros((len(frame), 0), np.float32),
        score,
        cells(COST),
        cells(LATENCY),
        cells(TOKENS),
        # Where cells are missing, they are so by chance, as far as anybody knows.
        np.broadcast_to(share, score.shape).copy(),
        group,
        keys,
    )


def _from_calls(
    frame: pd.DataFrame,
    roles: Mapping[str, str],
    gists: Gists,
    group: NDArray[np.int64],
    keys: pd.Index,
    models: Sequence[str] | None,
) -> Outcomes:
    called = frame[roles["model"]].astype(str)
    names = tuple(sorted(called.unique()) if models is None else models)
    place = called.map({name: i for i, name in enumerate(names)})
    known = place.notna().to_numpy()
    rows, columns = np.flatnonzero(known), place[known].to_numpy(dtype=np.int64)

    def cells(name: str) -> Floats:
        made = np.full((len(frame), len(names)), float("nan"))
        made[rows, columns] = frame[name].to_numpy(dtype=np.float64)[rows]
        return made

    shown = np.zeros((len(frame), len(names)))
    shown[rows, columns] = np.maximum(frame["propensity"].to_numpy(dtype=np.float64)[rows], LEAST_PROPENSITY)
    task = task_block(
        frame["domain"].tolist(), frame["complexity"].tolist(), frame["input_tokens"].to_numpy(dtype=np.float64)
    )
    return Outcomes(
        names,
        gists,
        task,
        cells("score"),
        cells("cost"),
        cells("latency"),
        cells("tokens"),
        shown,
        group,
        keys,
    )


def task_block(
    domains: Sequence[str | None], complexities: Sequence[str | None], tokens: Floats
) -> NDArray[np.float32]:
    """What the gateway tells of tasks, as numbers: (rows, `TASK_WIDTH`)."""
    block = np.zeros((len(domains), TASK_WIDTH), np.float32)
    width = len(DOMAINS)
    for row, (domain, complexity) in enumerate(zip(domains, complexities, strict=True)):
        if domain in _DOMAIN:
            block[row, _DOMAIN[domain]] = 1.0
        if complexity in _COMPLEXITY:
            block[row, width + _COMPLEXITY[complexity]] = 1.0
    block[:, -1] = np.log1p(np.nan_to_num(tokens)) / 10.0
    return block


_DOMAIN = {name: i for i, name in enumerate(DOMAINS)}
_COMPLEXITY = {name: i for i, name in enumerate(COMPLEXITIES)}
