"""The bill without what will not come again: days on which somebody's program ran away are no base for a forecast.

A day of the whole bill or of one workspace stands out where it is several times, and many usual deviations, away from
the same weekdays around it, and is over within ten days. On such days every cell (a workspace's use of a model) that is
beyond its own usual is put back to that, so that cells still add up to the total by every dimension. Whatever lasts
longer is a new level, and stays. What is set aside is told, never hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

Floats = np.ndarray[Any, np.dtype[np.float64]]
Places = np.ndarray[Any, np.dtype[np.intp]]

TIMES = 3.0  # what stands out is at least so many times the usual
DEVIATIONS = 6.0
_SHARE = 0.25  # and more than this share of the whole bill's usual day apart from it
_AROUND = 4  # weeks on each side that say what is usual
_LONGEST = 10
# Days that still last at the end of the data count as passing for so long.
_WAIT = 3


@dataclass(frozen=True)
class Aside:
    """Days that are not learned from.

    Attributes
    ----------
    subject : `total`, or the owner, `workspace=support`.
    start, end : first and last day.
    spent, usual : dollars of these days, and what they usually are.
    ongoing : whether the last day of the data is among them.
    """

    subject: str
    start: datetime
    end: datetime
    spent: float
    usual: float
    ongoing: bool

    def __str__(self) -> str:
        days = f"{self.start:%Y-%m-%d}" + (f" – {self.end:%Y-%m-%d}" if self.end > self.start else "")
        lasts = "; should it last, the forecast is too low" if self.ongoing and self.spent > self.usual else ""
        return f"{days} of {self.subject} is set aside: ${self.spent:,.2f} instead of about ${self.usual:,.2f}{lasts}."


def set_aside(
    cells: pd.DataFrame, owner: str = "workspace", part: str = "model"
) -> tuple[pd.DataFrame, tuple[Aside, ...]]:
    """Daily cells with what stands out put back to its usual, and what that was.

    Parameters
    ----------
    cells : day, cost and the columns `owner` and `part`, as `features.views.spend.daily_cells` has them.
    """
    if cells.empty:
        return cells, ()
    days = pd.date_range(cells["day"].min(), cells["day"].max(), freq="D")
    names = list(dict.fromkeys((owner, part)))
    table = cells.pivot_table(index="day", columns=names, values="cost", aggfunc="sum")
    table = table.reindex(days).fillna(0.0)
    values = table.to_numpy(np.float64)
    owners = table.columns.get_level_values(owner).astype(str).to_numpy()
    whole = values.sum(axis=1)
    least = _SHARE * float(np.median(usual_of(whole)))
    subjects: list[tuple[str, np.ndarray[Any, np.dtype[np.bool_]]]] = [("total", np.ones(len(owners), dtype=bool))]
    subjects += [(f"{owner}={name}", owners == name) for name in sorted(set(owners))]
    cleaned = values.copy()
    found: list[Aside] = []
    for subject, mine in subjects[::-1]:  # a workspace before the whole, so that the whole is not told twice
        series = cleaned[:, mine].sum(axis=1)
        for places in _runs(_outstanding(series, least)):
            ongoing = places[-1] == len(days) - 1
            if len(places) > (_WAIT if ongoing else _LONGEST):
                continue
            usual = np.column_stack([usual_of(cleaned[:, cell], leave_out=places) for cell in np.flatnonzero(mine)])
            before = cleaned[np.ix_(places, np.flatnonzero(mine))]
            beyond = np.abs(before - usual[places]) > np.maximum((TIMES - 1.0) * usual[places], 0.02 * least)
            cleaned[np.ix_(places, np.flatnonzero(mine))] = np.where(beyond, usual[places], before)
            first, last = days[places[0]].to_pydatetime(), days[places[-1]].to_pydatetime()
            spent, expected = float(before.sum()), float(cleaned[np.ix_(places, np.flatnonzero(mine))].sum())
            found.append(Aside(subject, first, last, spent, expected, bool(ongoing)))
    if not found:
        return cells, ()
    long = pd.DataFrame(cleaned, index=pd.Index(days, name="day"), columns=table.columns)
    stacked = long.melt(ignore_index=False, value_name="cost").reset_index()
    return stacked, tuple(sorted(found, key=lambda one: (one.start, one.subject)))


def usual_of(y: Floats, season: int = 7, leave_out: Places | None = None) -> Floats:
    """What is usual at each step, shape (n,): between what it was before and what it was after, itself left out."""
    sides = _sides(y, season, leave_out)
    return np.asarray(np.nanmean(sides, axis=0))


def _sides(y: Floats, season: int, leave_out: Places | None) -> Floats:
    """Medians of the same place of the season in the weeks before and after each step, shape (2, n); where one of them
    is not known it is the other, and where none is, the median of everything."""
    n = len(y)
    known = y.astype(np.float64).copy()
    if leave_out is not None:
        known[leave_out] = np.nan
    found = np.full((2, n), np.nan)
    for side, sign in enumerate((-1, 1)):
        around = np.full((_AROUND, n), np.nan)
        for k in range(_AROUND):
            source = np.arange(n) + sign * (k + 1) * season
            inside = (source >= 0) & (source < n)
            around[k, inside] = known[source[inside]]
        there = np.isfinite(around).any(axis=0)
        found[side, there] = np.nanmedian(around[:, there], axis=0)
    found = np.where(np.isfinite(found), found, found[::-1])
    middle = float(np.nanmedian(known)) if np.isfinite(known).any() else 0.0
    return np.where(np.isfinite(found), found, middle)


def _outstanding(y: Floats, least: float) -> Places:
    """Steps that are far both from what was before and from what was after: a new level is far from one alone."""
    places: Places = np.array([], dtype=np.intp)
    for _ in range(3):
        sides = _sides(y, 7, places)
        rest = np.delete(y - sides.mean(axis=0), places)
        deviation = 1.4826 * float(np.median(np.abs(rest - np.median(rest)))) if len(rest) else 0.0
        gap = np.abs(y - sides).min(axis=0)
        far = (gap > DEVIATIONS * deviation) & (gap > least)
        begun = np.arange(len(y)) > (int(np.argmax(y > 0)) if (y > 0).any() else len(y))
        far &= (y > TIMES * sides.max(axis=0)) | ((sides.min(axis=0) > TIMES * y) & begun)
        again = np.flatnonzero(far)
        if np.array_equal(again, places):
            break
        places = again
    return places


def _runs(places: Places) -> list[Places]:
    """Steps that follow each other, together."""
    return [run for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(run)]
