"""One look at the ledger for whatever could be had for less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd

from features.views.llm_costs import cost_cells
from features.views.llm_prompts import Read, kept_prompts
from features.views.llm_waiting import waiting_cells
from features.views.spend import midnight
from models.lifecycle.threads import one_blas_thread
from models.spend.recommending.advice import MONTH, Advice
from models.spend.recommending.another_model import Tolerance, cheaper_models
from models.spend.recommending.expected import expected
from models.spend.recommending.offline import DISCOUNTS, batches
from models.spend.recommending.repeats import repeats
from models.spend.recommending.requests import Key, Shrink, read_requests
from models.spend.recommending.trimming import trims
from store.errors import EmptyData
from store.settings import Settings

DAYS, LEARNED = 28, 90
_MOST_PROMPTS = 100_000


@dataclass(frozen=True)
class Means:
    """What the gateway lends to whoever looks: models know nothing of requests.

    Attributes
    ----------
    key : when its cache takes two requests for the same.
    shrink : tokens of a request before and after it was optimised.
    read : opens words that are kept encrypted; None: those count as not kept.
    ttl_s : seconds for which its cache keeps an answer.
    """

    key: Key
    shrink: Shrink
    read: Read | None = None
    ttl_s: float = 3600.0


@dataclass(frozen=True)
class Wanted:
    """What whoever asks is ready to do.

    Attributes
    ----------
    tolerance : how much quality may be given up.
    discounts : provider → what its batch interface takes off.
    """

    tolerance: Tolerance = field(default_factory=Tolerance)
    discounts: Mapping[str, float] = field(default_factory=lambda: DISCOUNTS)


def look(
    settings: Settings,
    as_of: datetime,
    means: Means,
    wanted: Wanted | None = None,
    *,
    days: int = DAYS,
    workspace: str | None = None,
    seed: int = 0,
) -> tuple[Advice, ...]:
    """Every way to spend less that the ledger knows of, the largest saving first.

    Parameters
    ----------
    days : whole days before `as_of` whose calls are looked at; of quality, times and lengths the last ninety tell.
    workspace : the only one to be advised; what models are good at is learned from all.

    Raises
    ------
    EmptyData : no chat was answered in this time.
    """
    # Many small matrices: threads would wait for each other longer than they work.
    with one_blas_thread():
        return _look(settings, as_of, means, wanted or Wanted(), days, workspace, seed)


def _look(
    settings: Settings, as_of: datetime, means: Means, wanted: Wanted, days: int, workspace: str | None, seed: int
) -> tuple[Advice, ...]:
    until = midnight(as_of)
    since = until - timedelta(days=days)
    every = cost_cells(settings, until - timedelta(days=max(LEARNED, days)), until)
    recent = every[every["day"] >= pd.Timestamp(since)]
    if recent.empty:
        raise EmptyData(
            f"No call was answered in the {days} days before {until:%Y-%m-%d}.",
            remedy="Send prompts through the gateway first, or look at an earlier time.",
            field="as_of",
        )
    mine = recent if workspace is None else recent[recent["workspace"] == workspace]
    # A ledger of a week tells of a week.
    spell = min(float(days), (pd.Timestamp(until) - every["day"].min()) / pd.Timedelta(days=1))
    bill = float(mine["cost"].sum()) * MONTH / spell
    known = expected(every, seed=seed)
    found: list[Advice] = []
    found += cheaper_models(mine, known, days=spell, bill=bill, tolerance=wanted.tolerance)
    prompts = kept_prompts(settings, since, until, workspace=workspace, read=means.read, most=_MOST_PROMPTS)
    kept = read_requests(prompts, means.key, means.shrink)
    # Where there are too many, only the last ones were read.
    read = spell if kept.count < _MOST_PROMPTS or kept.first is None else (until - kept.first) / timedelta(days=1)
    found += repeats(kept.asked, until, days=read, ttl_s=means.ttl_s, bill=bill, seed=seed)
    found += trims(kept.tokens, mine, known.prices, days=spell, bill=bill, seed=seed)
    waiting = waiting_cells(settings, since, until, workspace=workspace)
    found += batches(waiting, days=spell, bill=bill, discounts=wanted.discounts, seed=seed)
    return tuple(sorted(found, key=lambda one: -one.saving.value))
