"""A past campaign as it is brought: who was made the offer, what came of it, and what was known of them before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.tabular import Column, check_roles, profile, read_target
from store.errors import InvalidValue, MissingColumn

Whole = NDArray[np.int64]

FEWEST_IN_ARM = 100
FEWEST_OUTCOMES = 10


@dataclass(frozen=True)
class Campaign:
    """Rows of a campaign.

    Attributes
    ----------
    treated : 1 for whom the offer was made to.
    left : 1 for the outcome that the offer is to prevent.
    columns : what was known of a customer and may be learned from.
    notes : what the user should know, one sentence each.
    """

    frame: pd.DataFrame
    treated: Whole
    left: Whole
    columns: tuple[Column, ...]
    notes: tuple[str, ...]


def read_campaign(
    frame: pd.DataFrame,
    *,
    treatment: str,
    outcome: str,
    treated: str | None = None,
    positive: str | None = None,
    wanted: bool = False,
    entity: str | None = None,
) -> Campaign:
    """Arms, outcomes and columns of a campaign.

    Parameters
    ----------
    treatment, outcome : columns with two values each.
    treated : value of `treatment` that means: was made the offer; an obvious one is recognised.
    positive : value of `outcome` that means: it happened; an obvious one is recognised.
    wanted : whether the outcome is what the offer is for (stayed, bought) rather than leaving.
    entity : column that names the customers; not learned from.

    Raises
    ------
    DataError : columns are missing or hold something else, an arm or an outcome has too few rows.
    """
    frame = frame.rename(columns=lambda name: str(name).strip())
    for role, name in (("treatment", treatment), ("outcome", outcome)):
        if name not in frame.columns:
            near = [str(one) for one in frame.columns if str(one).lower() == name.lower()]
            listed = ", ".join(map(str, list(frame.columns)[:20]))
            raise MissingColumn(
                f"There is no column {name!r} (--{role}).",
                remedy=f"Did you mean {near[0]!r}?" if near else f"Columns: {listed}.",
                field=name,
            )
    if treatment == outcome:
        raise InvalidValue(f"{treatment!r} is named as treatment and as outcome.", field=treatment)
    roles: Mapping[str, str] = {"target": outcome} | ({"entity": entity} if entity else {})
    check_roles(frame, roles)
    arm = _two_valued(frame[treatment], "treatment", treated, "was made the offer", "--treated")
    hit = _two_valued(frame[outcome], "outcome", positive, "means that it happened", "--positive")
    left = 1 - hit if wanted else hit
    _check_sizes(arm, left, treatment, outcome)
    others = frame.drop(columns=[treatment])
    found = profile(others, roles, left, keep_suspects=True)
    notes = [
        f"{int(arm.sum())} of {len(arm)} rows were made the offer; {outcome}: {100 * hit[arm == 1].mean():.1f} % of "
        f"them, {100 * hit[arm == 0].mean():.1f} % of the others."
    ]
    if found.leaks:
        names = ", ".join(one.column for one in found.leaks)
        raise InvalidValue(
            f"{names} seem to be written after the outcome: {found.leaks[0].evidence}.",
            remedy="Remove columns that were not known when the offer was made.",
            field=found.leaks[0].column,
        )
    if not found.columns:
        raise InvalidValue(
            "No column is left that tells one customer from another.",
            remedy="Bring what was known of the customers when the offer was made.",
        )
    return Campaign(frame, arm, left, found.columns, tuple(notes))


def _two_valued(series: pd.Series, role: str, chosen: str | None, meaning: str, option: str) -> Whole:
    try:
        return read_target(series, chosen, fewest=1).y
    except InvalidValue as error:
        raise InvalidValue(
            error.message.replace("The target", f"The {role}").replace("means that the customer left", meaning),
            remedy=error.remedy.replace("--positive", option).replace(
                "; score them later with `merit predict churn`", ""
            ),
            field=error.field,
            value=error.value,
        ) from None


def _check_sizes(arm: Whole, left: Whole, treatment: str, outcome: str) -> None:
    for value, name in ((1, "made the offer"), (0, "not made the offer")):
        rows = int((arm == value).sum())
        rarer = int(min(left[arm == value].sum(), rows - left[arm == value].sum()))
        if rows < FEWEST_IN_ARM:
            raise InvalidValue(
                f"{treatment}: only {rows} rows were {name}; at least {FEWEST_IN_ARM} are needed.",
                remedy="An effect cannot be learned from so few; run a larger campaign.",
                field=treatment,
                value=rows,
            )
        if rarer < FEWEST_OUTCOMES:
            raise InvalidValue(
                f"{outcome}: of {rows} rows that were {name} only {rarer} have the rarer outcome; at least "
                f"{FEWEST_OUTCOMES} are needed.",
                remedy="Wait for more outcomes, or run a larger campaign.",
                field=outcome,
                value=rarer,
            )
