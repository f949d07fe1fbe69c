"""Rolling origins of a panel member: what it would have forecast for every series at earlier moments.

It is fitted twice, as every member is: at the earliest rolling origin of the panel, the same number of steps before the
end for all series, and at the end. At a rolling origin it therefore knows nothing of any series that came later, which
holds only for series that end together: one that ends at another time than most is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from models.forecasting.backtest import origins_of
from models.forecasting.panel_members import PanelMember
from models.forecasting.series import Floats, Series

_WILD = 1e3  # a path beyond so many times the largest value of its series is none


def why_not(member: PanelMember, series: Sequence[Series]) -> dict[str, str]:
    """Series that a panel member cannot be used on, and why."""
    ends = [int(one.stamps(len(one) - 1, len(one))[0]) for one in series]
    usual = Counter(ends).most_common(1)[0][0] if ends else 0
    least = member.shortest(panel_season(member, series))
    found = {}
    for one, end in zip(series, ends, strict=True):
        if end != usual:
            found[one.name] = "it ends at another time than most series"
        elif len(one) < least:
            found[one.name] = f"{len(one)} values are too few, it needs {least}"
        elif np.all(one.y == one.y[0]):
            found[one.name] = "it is constant"
    return found


def panel_season(member: PanelMember, series: Sequence[Series]) -> int:
    """The longest season of any series that the member can carry; 1 when there is none."""
    return max((s for one in series for s in one.seasons if s <= member.longest), default=1)


def run_panel_member(
    member: PanelMember,
    series: Sequence[Series],
    h: int,
    known: Mapping[str, Mapping[int, Floats]] | None = None,
    at: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, dict[int, Floats]]:
    """Series → origin → path, for the series it can forecast; the path from the end is filed under the length.

    Parameters
    ----------
    known : paths computed before, by series and origin; they need no second fit.
    at : rolling origins by series; those of `backtest.origins_of` where none are named.

    Raises
    ------
    ValueError : it cannot be used here, or on none of these series. Whatever else the member raises passes through.
    """
    if reason := member.absent():
        raise ValueError(reason)
    problems = why_not(member, series)
    suited = [one for one in series if one.name not in problems]
    least = member.shortest(panel_season(member, series)) // 2
    origins: dict[str, list[int]] = {}
    for one in suited:
        own = [origin for origin in (known or {}).get(one.name, ()) if origin < len(one)]
        origins[one.name] = sorted(own) or list((at or {}).get(one.name) or origins_of(len(one), h, one.season))
    suited = [one for one in suited if origins[one.name] and origins[one.name][0] >= least]
    if not suited:
        raise ValueError("; ".join(dict.fromkeys(problems.values())) or "too few values before the rolling origins")
    found = {one.name: dict((known or {}).get(one.name, {})) for one in suited}
    missing = [(one, origin) for one in suited for origin in origins[one.name] if origin not in found[one.name]]
    if missing:
        back = max(len(one) - origins[one.name][0] for one in suited)
        early = [(one, len(one) - back) for one in suited if len(one) - back >= least]
        if not early:
            raise ValueError("too few values before the first rolling origin")
        for (one, origin), path in zip(missing, member.fit(early, h)(missing, h), strict=True):
            found[one.name][origin] = path
    ends = [(one, len(one)) for one in suited if len(one) not in found[one.name]]
    if ends:
        last = member.fit([(one, len(one)) for one in suited], h)(ends, h)
        for (one, n), path in zip(ends, last, strict=True):
            found[one.name][n] = path
    bound = {one.name: _WILD * (float(np.abs(one.y).max()) + 1.0) for one in suited}
    return {
        name: paths
        for name, paths in found.items()
        if all(path.shape == (h,) and np.all(np.isfinite(path)) for path in paths.values())
        and max(float(np.abs(path).max()) for path in paths.values()) <= bound[name]
    }
