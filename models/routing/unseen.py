"""How a policy does where it has learned nothing: whole groups held out in turn, workspaces where it learns from calls.

The holdout is later than what is learned from, or of other prompts; those who ask are mostly the same. So the rows that
are learned from are dealt into folds of whole groups, and what is said of each comes from fits without its group: of
quality by every member, their weights for prompts unlike any before, and of cost. Chosen, read off and compared as on
the holdout. Of calls only those count that were drawn by chance and have a score. What nobody saw is told by the reward
model, out of fold by prompt, for every policy alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.routing.judging import Drawn, differences, estimate, points_of, readings, references
from models.routing.material import Material, row_numbers
from models.routing.options import RoutingOptions
from models.routing.regret import Worth
from models.routing.tradeoff import Tradeoff

Floats = NDArray[np.float64]

FEWEST = 100
_MOST_ROWS = 20_000


def on_unseen_groups(
    given: Material,
    real: Worth,
    cost: Floats,
    own: tuple[Floats, Tradeoff],
    rivals: Mapping[str, tuple[Floats, Tradeoff]],
    options: RoutingOptions,
) -> dict[str, Any] | None:
    """What is read off the curve with whole groups held out, and how far it lies above the others.

    Parameters
    ----------
    real : worth of the rows that are learned from.
    cost : said of each row by a fit without its group, (rows, models).
    own, rivals : the same of quality, not bounded, and where the trade-offs lie.

    Returns
    -------
    `rule`, `groups`, `rows`, `metrics` and `differences` as in an evaluation's details; None where there are no groups,
    or fewer than `FEWEST` rows that tell.
    """
    if given.group_fold is None:
        return None
    rows = _telling(given)
    if len(rows) < FEWEST:
        return None
    seen = given.outcomes
    quality, spent = real.quality[rows], real.cost[rows]
    part = Worth(quality, spent, real.best_quality[rows], real.best_cost[rows], real.estimated)
    units = np.unique(row_numbers(seen)[rows], return_inverse=True)[1].astype(np.int64)
    drawn = Drawn.of(units, options.replicates, options.seed)

    def read(said: Floats, knots: Tradeoff) -> dict[str, Floats]:
        return readings(points_of(np.clip(said[rows], 0.0, 1.0), cost[rows], knots, part), part, drawn)

    mine = read(*own)
    blind = np.nanmean(seen.score, axis=0), np.nanmean(seen.cost, axis=0)
    others = {name: read(*rival) for name, rival in rivals.items()}
    others |= {name: readings(points, part, drawn) for name, points in references(part, blind, None, cost).items()}
    groups, folds = len(np.unique(seen.group[rows])), len(np.unique(given.group_fold))
    calls = bool(seen.task.shape[1])
    whole = "workspaces" if calls else "groups"
    what = "calls that were drawn by chance and have a score" if calls else "rows"
    return {
        "rule": f"{len(rows)} {what}, of {groups} {whole}: each is judged by fits to other {whole}, dealt into {folds} "
        f"folds by a draw (seed {options.seed})",
        "groups": groups,
        "rows": len(rows),
        "metrics": {name: estimate(values).to_dict() for name, values in mine.items()},
        "differences": differences(mine, others),
    }


def _telling(given: Material) -> NDArray[np.int64]:
    """Numbers of the rows that are judged: of calls those whose model was drawn; of very many, some."""
    seen = given.outcomes
    known = seen.seen.any(axis=1)
    if seen.task.shape[1]:
        known &= seen.shown.max(axis=1) < 1.0
    rows = np.flatnonzero(known)
    return rows if len(rows) <= _MOST_ROWS else rows[np.linspace(0, len(rows) - 1, _MOST_ROWS).astype(np.int64)]
