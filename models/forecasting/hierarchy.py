"""Which series of a panel are sums of others.

Read off the ids: parts separated by a character. `revenue/plan=pro` and `revenue/plan=basic` add up to
`revenue/total`, or to `revenue` where that is a series; what stands before an equals sign is a dimension, and each
dimension of a total adds up on its own. Whether they do is looked up in the data: a sum that does not hold there is no
constraint on the forecasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.forecasting.series import Series
from store.errors import InvalidValue

TOTAL = "total"
_TOLERANCE = 1e-6  # of the total's largest value
_EXCEPTIONS = 0.02  # of the steps may miss the sum: values that were filled in


@dataclass(frozen=True)
class Sum:
    """A series that is the sum of others.

    Attributes
    ----------
    parts : at least one; each of one dimension.
    """

    total: str
    parts: tuple[str, ...]


def check_separator(separator: str) -> None:
    """Raise InvalidValue unless ids can be taken apart at it."""
    if not separator.strip() or "=" in separator or any(character.isalnum() for character in separator):
        raise InvalidValue(
            f"hierarchy {separator!r} is no separator.",
            remedy='Give the character between the parts of an id, e.g. "/" for EU/DE/Berlin.',
            field="hierarchy",
            value=separator,
        )


def sums_of(ids: Iterable[str], separator: str) -> tuple[Sum, ...]:
    """The sums that ids tell of, by total and dimension in order of appearance."""
    known = dict.fromkeys(str(name) for name in ids)
    parts: dict[tuple[str, str], list[str]] = {}
    for name in known:
        above, _, last = name.rpartition(separator)
        if last == TOTAL:
            continue
        total = f"{above}{separator}{TOTAL}" if above else TOTAL
        if total not in known:
            total = above
        if total in known and total != name:
            parts.setdefault((total, last.partition("=")[0] if "=" in last else ""), []).append(name)
    return tuple(Sum(total, tuple(names)) for (total, _), names in parts.items())


def sums_that_hold(series: Sequence[Series], sums: Sequence[Sum]) -> tuple[tuple[Sum, ...], tuple[str, ...]]:
    """The sums that the data bear out, and a sentence on each that they do not."""
    by_name = {one.name: one for one in series}
    kept, notes = [], []
    for one in sums:
        if problem := _problem(one, {name: by_name[name] for name in (one.total, *one.parts) if name in by_name}):
            notes.append(f"{one.total} is not reconciled with {_listed(one.parts)}: {problem}")
        else:
            kept.append(one)
    return tuple(kept), tuple(notes)


def _problem(one: Sum, found: dict[str, Series]) -> str:
    if len(found) < 1 + len(one.parts):
        return f"{next(name for name in one.parts if name not in found)} is missing"
    total = found[one.total]
    for name in one.parts:
        part = found[name]
        if part.first + len(part) != total.first + len(total) or len(part) > len(total) or part.grid != total.grid:
            return f"{name} does not end with it"
    # A part that begins later is nothing before.
    parts = [np.append(np.zeros(len(total) - len(found[name])), found[name].y) for name in one.parts]
    gap = np.abs(total.y - np.sum(parts, axis=0))
    size = float(np.abs(total.y).max())
    off = gap > _TOLERANCE * max(size, 1e-300)
    if off.mean() > _EXCEPTIONS:
        return f"they add up to something else at {off.mean():.0%} of the steps (by up to {gap.max():.4g})"
    return ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
