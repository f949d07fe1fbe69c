"""One series from its values to a forecast with intervals. Nothing here looks at another series."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.forecasting.backtest import MemberRun, actuals, origins_of, run_member
from models.forecasting.combination import COMBINATION, combine
from models.forecasting.conformal import Scores, calibrate, interval
from models.forecasting.conformal_prior import prior_scores
from models.forecasting.dependence import Dependence, dependence_of
from models.forecasting.members import LONGEST_STATE_SEASON, MEMBERS, Member
from models.forecasting.series import Floats, Series, naive_scale, persistence

CLASSICAL = ("AutoETS", "DynamicOptimizedTheta", "AutoTheta", "AutoARIMA", "AutoCES")
SHORT_DAILY = ("AutoETS", "DynamicOptimizedTheta", "AutoCES", "MSTL")
DAILY = ("DynamicOptimizedTheta", "Prophet", "Boosting")
YEARLY = ("MSTL", "Prophet", "Boosting")
BASELINE = "SeasonalNaive"
USE_COVARIATES = ("AutoARIMA", "Prophet", "Boosting")
ENOUGH_DAYS = 100
Known = Mapping[str, Mapping[int, Floats]]  # member → origin → path


@dataclass(frozen=True)
class SeriesForecast:
    """The forecast of one series.

    Attributes
    ----------
    model : "combination" or the single member that was used.
    path : shape (h,).
    scores : for intervals at any level.
    runs : the members that worked.
    weights : member → weight in the combination.
    backtest : the same at the rolling origins, shape (k, h).
    notes : what was left out and why.
    nonnegative : whether the forecast stops at zero.
    spread, spreads : how far the members disagree, at the coming steps and at the rolling origins.
    dependence : how errors hang together from step to step, see `models.forecasting.dependence`.
    """

    name: str
    model: str
    path: Floats
    scores: Scores
    runs: Mapping[str, MemberRun]
    weights: Mapping[str, float]
    backtest: Floats
    spread: Floats
    spreads: Floats
    dependence: Dependence
    notes: tuple[str, ...] = field(default=())
    nonnegative: bool = False

    def interval(self, level: float) -> tuple[Floats, Floats]:
        """Lower and upper end at a level in percent, each of shape (h,), strictly around the path."""
        half = self.scores.half_width(level)
        return interval(self.path, half, self.scores.scale, level, nonnegative=self.nonnegative)


def plan(
    series: Series, asked: Sequence[str] | None, budget: float, *, also: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Members for a series, and notes on those left out: over the budget, or asked for and unsuited.

    `also` joins those that are asked for or usual; members that learn from a panel are not planned here.

    Depends on its length, seasons and grid alone.

    Months, quarters, years, plain steps: ETS, two thetas, ARIMA, CES. A hundred days or more: DOT, Prophet, boosting;
    where two years of days or weeks show a yearly pattern, MSTL in place of DOT. Finer steps: MSTL and boosting, which
    can carry a day or a week of steps, and DOT where the longest season is a day of hours. Where something is known in
    advance, the members that can use it join those.
    """
    n = len(series)
    per_year = series.grid.per_year
    if asked is not None:
        wanted = tuple(asked)
    elif n < 3 or np.all(series.y == series.y[0]):
        wanted = (BASELINE,)
    elif is_long(series):
        wanted = YEARLY if 0 < per_year <= 370 else ("MSTL", "Boosting")
    elif per_year > 370 and series.seasons and n >= ENOUGH_DAYS:
        wanted = ("DynamicOptimizedTheta", "MSTL", "Boosting")
    elif per_year > 200:
        wanted = DAILY if n >= ENOUGH_DAYS and series.seasons else SHORT_DAILY
    else:
        wanted = CLASSICAL
    if asked is None and series.covariates is not None and wanted != (BASELINE,):
        wanted = tuple(dict.fromkeys((*wanted, *covariate_members(per_year, n))))
    wanted = tuple(dict.fromkeys((*wanted, *also)))
    season = max((s for s in series.seasons if s <= LONGEST_STATE_SEASON), default=1)
    kept, notes, spent = [], [], 0.0
    for name in wanted:
        if name not in MEMBERS:
            continue
        member = MEMBERS[name]
        why = member.absent() or _unsuited(member, series, season)
        if why:
            if name in (asked or also):  # nobody asked for the others
                notes.append(f"{name}: {why}")
            continue
        cost = 2.0 * member.cost(n, season)
        if spent + cost > budget:
            notes.append(f"{name}: over the time budget")
            continue
        spent += cost
        kept.append(name)
    return tuple(kept) or (BASELINE,), tuple(notes)


def _unsuited(member: Member, series: Series, season: int) -> str:
    """Why a member is not tried on a series; empty when it is."""
    least = member.shortest(season)
    if member.only_seasonal:
        least = max(least, 2 * series.season + 1)  # two cycles before a rolling origin
    if len(series) < least:
        return f"{len(series)} values are too few, it needs {least}"
    return "it needs a season, and the series has none" if member.only_seasonal and not series.seasons else ""


def _reason(error: Exception) -> str:
    """What an error of a member says, in words."""
    text = " ".join(str(error).split())[:160]
    if "tiny datasets" in text:
        return "too few values before the first rolling origin"
    return text if type(error) is ValueError else f"it could not be fitted ({type(error).__name__}: {text})"


def covariate_members(per_year: float, n: int) -> tuple[str, ...]:
    """Members that can use what is known in advance, on such a grid: ARIMA and Prophet for days and longer steps,
    boosting for days and finer ones, and where a hundred values are there.
    """
    names = ("AutoARIMA", "Prophet") if 0 < per_year <= 370 else ("AutoARIMA",) if per_year == 0 else ()
    return (*names, "Boosting") if per_year > 200 or n >= ENOUGH_DAYS else names


def weight_power(series: Series) -> float:
    """How hard members are weighted by their rolling errors: not at all (the median) for months and longer steps,
    inversely for days and for years of weeks, inversely squared for finer steps, where origins are many and alike, and
    where something is known in advance: members that use it and members that cannot are no equals.
    """
    if series.grid.per_year > 370 or series.covariates is not None:
        return 2.0
    return 1.0 if is_long(series) or series.grid.per_year > 200 else 0.0


def is_long(series: Series) -> bool:
    """Whether a season is longer than state space models can carry."""
    return bool(series.seasons) and series.seasons[-1] > LONGEST_STATE_SEASON


def run_members(
    series: Series, names: Sequence[str], h: int, *, budget: float, known: Known | None = None,
    origins: Sequence[int] | None = None, clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, MemberRun], list[str]]:  # fmt: skip
    """Every member that works, in order, and notes on those that do not.

    `budget` holds between members: none is begun once the seconds are spent. When nothing worked, the seasonal naive
    forecast does.
    """
    started = clock()
    chosen = tuple(origins) if origins is not None else origins_of(len(series), h, series.season)
    runs: dict[str, MemberRun] = {}
    notes: list[str] = []
    for name in names:
        if runs and clock() - started > budget:
            notes.append(f"{name}: the time budget of {budget:g} s was spent")
            continue
        try:
            runs[name] = run_member(MEMBERS[name], series, h, chosen, (known or {}).get(name))
        except Exception as error:  # noqa: BLE001 - a member that cannot fit this series is not used for it
            notes.append(f"{name}: {_reason(error)}")
    wild = 1e3 * (np.abs(series.y).max() + 1.0)
    for name in [name for name, run in runs.items() if np.abs(run.path).max() > wild]:
        notes.append(f"{name}: exploded")
        del runs[name]
    if not runs:
        runs[BASELINE] = run_member(MEMBERS[BASELINE], series, h, chosen)
    return runs, notes


def conclude(
    series: Series, runs: Mapping[str, MemberRun], h: int, *, notes: Sequence[str] = (),
    nonnegative: bool | None = None,
) -> SeriesForecast:  # fmt: skip
    """Combine the members of a series and calibrate the intervals."""
    combined = combine(runs, series.y, h, power=weight_power(series))
    positive = bool(series.y.min() >= 0) if nonnegative is None else nonnegative
    path = np.maximum(combined.path, 0.0) if positive else combined.path
    single = combined.model != COMBINATION  # nobody to disagree with
    spread = np.zeros(h) if single else combined.spread
    backtest = combined.paths.reshape(-1, h)
    spreads = np.zeros_like(backtest) if single else combined.spreads.reshape(-1, h)
    scores, dependence = _calibrated(series, runs, backtest, spread, spreads)
    return SeriesForecast(
        series.name, combined.model, path, scores, runs, combined.weights, backtest, spread, spreads, dependence,
        tuple(notes), positive,
    )  # fmt: skip


def moved(series: Series, result: SeriesForecast, path: Floats, backtest: Floats) -> SeriesForecast:
    """The same forecast with other paths, and intervals calibrated on what those got wrong.

    Parameters
    ----------
    path, backtest : from the end and from the rolling origins, of the shapes that `result` has.
    """
    scores, dependence = _calibrated(series, result.runs, backtest, result.spread, result.spreads)
    return replace(result, path=path, backtest=backtest, scores=scores, dependence=dependence)


def _calibrated(
    series: Series, runs: Mapping[str, MemberRun], backtest: Floats, spread: Floats, spreads: Floats
) -> tuple[Scores, Dependence]:
    """Intervals and the dependence of errors, from the paths at the rolling origins and what came."""
    origins = next(iter(runs.values())).origins
    errors = actuals(series.y, origins, len(spread)) - backtest
    naive, lasting = _naive(series), persistence(series.y, series.season)
    scores = calibrate(naive, spread, np.abs(errors), spreads, prior_scores(series.season), lasting)
    return scores, dependence_of(errors / scores.scale, lasting)


def _naive(series: Series) -> float:
    """`naive_scale`, never 0: a constant was never off, but its next value may be."""
    naive = naive_scale(series.y, series.season)
    if naive > 0:
        return naive
    size = float(np.abs(series.y).max()) or 1.0
    return size * (0.1 if len(series) < 3 else 0.01)


def forecast_series(
    series: Series, h: int, *, members: Sequence[str] | None = None, also: Sequence[str] = (), budget: float = 60.0,
    nonnegative: bool | None = None, known: Known | None = None, ready: Mapping[str, MemberRun] | None = None,
    notes: Sequence[str] = (), origins: Sequence[int] | None = None,
) -> SeriesForecast:  # fmt: skip
    """Forecast one series `h` steps ahead with the combination of the members that suit it.

    Parameters
    ----------
    ready : runs that were computed elsewhere and go into the combination; with the same rolling origins.
    notes : what to say of the series besides.
    origins : rolling origins; None for those of `backtest.origins_of`.
    """
    names, left_out = plan(series, members, budget, also=also)
    if ready and members is not None and not any(name in MEMBERS for name in members):
        names = ()  # nothing else was asked for
    runs: dict[str, MemberRun] = {}
    said: list[str] = []
    if names or not ready:
        runs, said = run_members(series, names, h, budget=budget, known=known, origins=origins)
    runs |= ready or {}
    of_columns = series.covariates.notes if series.covariates else ()
    return conclude(series, runs, h, notes=[*of_columns, *notes, *left_out, *said], nonnegative=nonnegative)
