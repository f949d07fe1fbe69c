"""A cheaper model for what is simple: of calls that name their model, what another one would have cost and been worth.

Calls that let the gateway choose (`auto` and the like) are its router's to improve. A name that somebody once wrote
into a program is nobody's, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.spend.recommending.advice import (
    LEAST_SAVING,
    LEAST_SHARE,
    LEVEL,
    MONTH,
    Advice,
    Interval,
    drawn_days,
    interval,
    money,
)
from models.spend.recommending.expected import Expected
from store.spend_recommendations import Kind

Floats = np.ndarray[Any, np.dtype[np.float64]]

COMPLEXITIES = ("simple", "moderate", "complex", "expert")
STRATEGIES = ("explicit", "best")
_LEAST_CALLS, _LEAST_DAYS = 30, 8
# What is over is not worth advice: it must have been asked for within the last days.
_RECENT = 4
_SLOWER, _SLOWER_MS = 1.5, 1_000.0
_LEAST_CUT = 0.1


@dataclass(frozen=True)
class Tolerance:
    """How much quality may be given up for money.

    Attributes
    ----------
    expected : fall to be expected at most, on the scale of judgements, at each complexity.
    worst : fall at the lower end of the interval at most.
    """

    expected: float = 0.05
    worst: float = 0.15


@dataclass(frozen=True)
class _Option:
    model: str
    complexities: tuple[str, ...]
    saving: Interval
    spent: float
    calls: float
    quality: Interval
    quality_now: float
    worst: float
    latency: float


def cheaper_models(
    cells: pd.DataFrame, expected: Expected, *, days: float, bill: float, tolerance: Tolerance | None = None
) -> list[Advice]:
    """What other models would save.

    Parameters
    ----------
    cells : `cost_cells` of the last `days` days.
    bill : dollars a month that everything costs.
    """
    if expected.quality is None:
        return []
    asked = cells[
        (cells["kind"] == "chat") & cells["strategy"].isin(STRATEGIES) & ~cells["batch"] & (cells["part"] == "")
    ]
    asked = asked[asked["complexity"].isin(COMPLEXITIES)]
    found = []
    for (workspace, name), rows in asked.groupby(["workspace", "asked"], sort=True):
        if not _lasting(rows, cells):
            continue
        options = list(_options(rows, expected, days, tolerance or Tolerance()))
        least = max(LEAST_SAVING, LEAST_SHARE * bill)
        options = [one for one in options if one.saving.value >= least and one.saving.low > 0]
        if options:
            best = max(options, key=lambda one: one.saving.value)
            found.append(_advice(str(workspace), str(name), rows, best, expected))
    return found


def _lasting(rows: pd.DataFrame, cells: pd.DataFrame) -> bool:
    """Whether it is a habit: asked for on many days, and lately."""
    last = cells["day"].max()
    days = rows["day"].nunique()
    recent = rows["day"].max() > last - pd.Timedelta(days=_RECENT)
    return bool(rows["calls"].sum() >= _LEAST_CALLS and days >= _LEAST_DAYS and recent)


def _options(rows: pd.DataFrame, expected: Expected, days: float, tolerance: Tolerance) -> Iterator[_Option]:
    used = set(rows.groupby("model")["cost"].sum().nlargest(1).index)
    for model in sorted(expected.prices):
        if model in used or expected.prices[model].off > 0.05:
            continue
        for most in range(1, len(COMPLEXITIES) + 1):
            within = COMPLEXITIES[:most]
            mine = rows[rows["complexity"].isin(within)]
            if mine["calls"].sum() < _LEAST_CALLS or (most > 1 and not (mine["complexity"] == within[-1]).any()):
                continue
            option = _option(mine, expected, model, within, days)
            if option is not None and _allowed(option, mine, tolerance):
                yield option


def _option(mine: pd.DataFrame, expected: Expected, model: str, within: tuple[str, ...], days: float) -> _Option | None:
    cost = mine["cost"].to_numpy(np.float64)
    if cost.sum() <= 0:
        return None
    cells = mine.reset_index(drop=True)
    tokens = cells["output_tokens"].to_numpy(np.float64) * expected.longer(cells, model)
    after = expected.prices[model].cost(cells, tokens)
    saving, spent = monthly(cells, cost - after, days, expected.seed), cost.sum() * MONTH / days
    if saving.value < _LEAST_CUT * spent:
        return None
    weight = cells["calls"].to_numpy(np.float64)
    change = expected.better(cells, model)
    now = expected.quality_of(cells, str(cells["model"].mode()[0]))
    if change is None or now is None:
        return None
    latency = cells["latency_ms"].to_numpy(np.float64)
    # A fall on hard tasks must not hide behind many easy ones.
    kinds = [(cells["complexity"] == one).to_numpy() for one in within]
    by_kind = [change[0][kind] @ weight[kind] / weight[kind].sum() for kind in kinds if weight[kind].sum() > 0]
    return _Option(
        model=model,
        complexities=within,
        saving=saving,
        spent=float(spent),
        calls=float(weight.sum()),
        quality=interval(change @ weight / weight.sum(), float(change[0] @ weight / weight.sum())),
        quality_now=float(now[0] @ weight / weight.sum()),
        worst=float(min(by_kind)),
        latency=float(latency @ expected.slower(cells, model)[0] / latency.sum()),
    )


def monthly(cells: pd.DataFrame, saved: Floats, days: float, seed: int) -> Interval:
    """Dollars a month out of what cells would have saved in `days` days, shape (draws, cells)."""
    totals = drawn_totals(cells, saved, days, seed) * MONTH / days
    return interval(totals, float(totals[0]))


def drawn_totals(cells: pd.DataFrame, saved: Floats, days: float, seed: int) -> Floats:
    """Sums over the cells, shape (draws,): days are drawn anew, each time with another draw of what is not known."""
    codes, _ = pd.factorize(cells["day"])
    every = max(round(days), int(codes.max(initial=0)) + 1)
    by_day = np.zeros((len(saved), every))
    for day in np.unique(codes):
        by_day[:, day] = saved[:, codes == day].sum(axis=1)
    return np.asarray((by_day * drawn_days(every, len(saved), seed)).sum(axis=1))


def _allowed(option: _Option, mine: pd.DataFrame, tolerance: Tolerance) -> bool:
    took = float(mine["latency_ms"].sum() / mine["calls"].sum())
    slow = option.latency > _SLOWER and (option.latency - 1.0) * took > _SLOWER_MS
    falls = -option.worst > tolerance.expected or -option.quality.low > tolerance.worst
    return not slow and not falls


def _advice(workspace: str, asked: str, rows: pd.DataFrame, best: _Option, expected: Expected) -> Advice:
    whole = set(best.complexities) >= set(rows["complexity"])
    old = str(rows.groupby("model")["cost"].sum().idxmax())
    twin = old.partition("/")[2] == best.model.partition("/")[2]
    kind: Kind = "provider switch" if whole and twin else "cheaper model"
    what = "every task" if whole else f"{_listed(best.complexities)} tasks"
    quality = best.quality
    words = (
        f"{workspace} asks for {asked}. {best.model} for {what} would save {money(best.saving.value)} "
        f"[{money(best.saving.low)}, {money(best.saving.high)}] of {money(best.spent)} a month; judgements change by "
        f"{100 * quality.value:+.1f} points [{100 * quality.low:+.1f}, {100 * quality.high:+.1f}]."
    )
    complexities = list(best.complexities)
    substitute = {"asked": asked, "use": best.model, "complexities": complexities}
    price, before = expected.prices[best.model], expected.prices.get(old)
    notes = []
    if price.input == 0 and price.output == 0:
        notes.append(f"{best.model} charges nothing for tokens; what its machines cost is not in the ledger.")
    return Advice(
        kind=kind,
        workspace=workspace,
        subject=asked,
        words=words,
        saving=best.saving,
        spent=best.spent,
        quality=quality,
        latency=best.latency,
        scope={"asked": asked, "complexities": complexities, "use": best.model},
        setting={"substitutes": substitute},
        steps=(
            f"Accepting lets {best.model} answer {what} that {workspace} asks of {asked}, a tenth of them held back to "
            "compare with; the decision of each call says so.",
            f"Or ask for {best.model}, or for auto, in the program itself.",
        ),
        evidence={
            "calls": int(best.calls),
            "days": int(rows["day"].nunique()),
            "level": LEVEL,
            "quality_now": best.quality_now,
            "judged_by": expected.judged_by,
            "prices": {
                name: {"input": one.input, "output": one.output}
                for name, one in ((old, before), (best.model, price))
                if one is not None
            },
        },
        notes=notes,
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
