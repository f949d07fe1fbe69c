"""A program that runs away: what is too much for a user to spend, and how it is told.

Nothing here needs a table: the gateway asks the same while it runs, where memory is dear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import floor

from models.spend.unusual.finding import Finding, score_of, severity_of_money

WINDOWS = (1, 6, 24)
"""Hours within which spending is summed up."""

TIMES = 5.0  # a dear day of the user's own
MATTERS = 0.15  # of what everybody usually spends a day
HISTORY_DAYS = 28
_DEAR = 0.95
_LEAST_DAYS = 3
_OTHERS = 3.0
_TOLD = 4
_SHARE = 0.005  # of what was spent: models below are no cause


def dear_day(daily: Sequence[float]) -> float:
    """What is spent on a dear day: of the days with any spending, what 95 of 100 stay below."""
    active = sorted(cost for cost in daily if cost > 0)
    if not active:
        return 0.0
    place = _DEAR * (len(active) - 1)
    low = floor(place)
    high = min(low + 1, len(active) - 1)
    return active[low] + (place - low) * (active[high] - active[low])


def most_allowed(own: Sequence[float], others: float, usual_per_day: float) -> float:
    """Dollars within a day, or a part of it, beyond which a user's program runs away.

    Parameters
    ----------
    own : what the user spent on each of the days before.
    others : `dear_day` of the users of the workspace.
    usual_per_day : what everybody usually spends a day.
    """
    mine = dear_day(own) if sum(cost > 0 for cost in own) >= _LEAST_DAYS else 0.0
    # A loop that went on yesterday is not what is usual: dear days of others bound it.
    mine = min(mine, _OTHERS * others) if others > 0 else mine
    return max(TIMES * max(mine, others), MATTERS * usual_per_day)


def runaway(
    workspace: str,
    user: str,
    begin: datetime,
    end: datetime,
    *,
    spent: float,
    usual: float,
    usual_per_day: float,
    everybody: float,
    times: float,
    models: Mapping[str, float],
    hours: Sequence[tuple[datetime, int, float]],
    ongoing: bool,
) -> Finding:
    """The finding.

    Parameters
    ----------
    spent, everybody : dollars between the two moments, of the user and of all.
    usual : the user's dollars a day before.
    times : the most that a window spent, over what is allowed.
    models : dollars by model.
    hours : of the dearest ones: hour, calls, dollars.
    """
    days = max((end - begin) / timedelta(days=1), 1 / 24)
    ranked = sorted(models.items(), key=lambda item: -item[1])
    return Finding(
        kind="runaway user",
        subject=f"user={workspace}/{user}",
        workspace=workspace,
        start=begin,
        end=end,
        ongoing=ongoing,
        severity=severity_of_money(max(spent - usual * days, 0.0) / max(days, 1.0), usual_per_day),
        score=score_of(times),
        value=spent / days,
        expected=usual,
        unit="dollars a day",
        excess=spent - usual * days,
        words=(
            f"{user} in {workspace} spent ${spent:,.2f} from {begin:%Y-%m-%d %H:%M}, {spent / everybody:.0%} of "
            f"everybody's, mostly on {ranked[0][0]}; usually ${usual:,.4f} a day."
        ),
        causes=[
            {"dimension": "model", "value": model, "before": 0.0, "after": cost / days, "change": cost / days,
             "share": cost / spent}
            for model, cost in ranked[:_TOLD]
            if cost >= _SHARE * spent
        ],
        evidence=[{"hour": f"{hour:%Y-%m-%dT%H:00}", "calls": calls, "cost": cost} for hour, calls, cost in hours],
    )  # fmt: skip
