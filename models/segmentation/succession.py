"""Which ids the segments of a new version carry."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.segmentation.identity import match, numbered
from models.segmentation.model import SegmentationModel


def succeed(
    model: SegmentationModel, champion: SegmentationModel | None
) -> tuple[tuple[int, ...], int, dict[str, Any]]:
    """Ids of a new version's segments, by their centroids against those of the champion.

    Both are put on the new version's scale, in the traits that both read. A segment keeps the id of the one that it
    succeeds where their centres lie closer than the customers of either do to their own centre, on average.

    Returns
    -------
    Ids in the order of `model.segments`, the highest id ever given, and what became of the champion's segments.
    """
    if champion is None or champion.behaviour is not model.behaviour:
        return tuple(one.id for one in model.segments), model.highest, {"kept": [], "new": [], "vanished": []}
    shared = [name for name in model.scaler.columns if name in champion.scaler.columns]
    new = np.array([[one.centre[model.scaler.columns.index(name)] for name in shared] for one in model.segments])
    old = np.array([_moved(champion, model, shared, one.centre) for one in champion.segments])
    reach = np.array([[max(one.spread, two.spread) for two in model.segments] for one in champion.segments])
    pairs = match(old, new, reach)
    order = sorted(range(len(model.segments)), key=lambda place: model.segments[place].id)
    ids, highest = numbered(pairs, len(model.segments), [one.id for one in champion.segments], champion.highest, order)
    kept = sorted(champion.segments[place].id for place in pairs.values())
    vanished = sorted({one.id for one in champion.segments} - set(kept))
    return ids, highest, {"kept": kept, "new": sorted(set(ids) - set(kept)), "vanished": vanished}


def _moved(
    champion: SegmentationModel, model: SegmentationModel, shared: list[str], centre: tuple[float, ...]
) -> list[float]:
    """A champion's centre on the new version's scale: back to logarithms, then forth."""
    out = []
    for name in shared:
        before = champion.scaler.axes[champion.scaler.columns.index(name)]
        after = model.scaler.axes[model.scaler.columns.index(name)]
        raw = centre[champion.scaler.columns.index(name)] / before.weight * before.spread + before.mean
        out.append(after.weight * (min(max(raw, after.low), after.high) - after.mean) / after.spread)
    return out
