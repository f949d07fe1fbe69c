"""Which new segment is which old one: centroids matched one to one, so that a number stays the same people's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def match(old: Floats, new: Floats, reach: Floats) -> dict[int, int]:
    """New segment → old segment, by the assignment with the smallest sum of distances (Kuhn, 1955, "Hungarian").

    A pair farther apart than `reach` is none: what has no counterpart is new, and what finds none has vanished.

    Parameters
    ----------
    old, new : centroids on one scale, shapes (old, axes) and (new, axes).
    reach : (old, new) the farthest that a pair may lie apart.
    """
    from scipy.optimize import linear_sum_assignment

    distance = np.sqrt(((old[:, None, :] - new[None, :, :]) ** 2).sum(axis=2))
    # A pair out of reach costs more than any way round it, so it is only made where nothing else is left.
    cost = np.where(distance <= reach, distance, distance + 1e6)
    rows, columns = linear_sum_assignment(cost)
    return {int(j): int(i) for i, j in zip(rows, columns, strict=True) if distance[i, j] <= reach[i, j]}


def numbered(
    pairs: dict[int, int], count: int, old_ids: Sequence[int], highest: int, order: Sequence[int]
) -> tuple[tuple[int, ...], int]:
    """Ids of the new segments and the highest one ever given.

    Parameters
    ----------
    pairs : new segment → old segment; order : new segments in the order in which new ids are given out.
    highest : ids up to this one were given out before and do not come back.
    """
    ids: dict[int, int] = {new: old_ids[old] for new, old in pairs.items()}
    for place in order:
        if place not in ids:
            highest += 1
            ids[place] = highest
    return tuple(ids[place] for place in range(count)), highest
