"""Models that nobody used before and that cost something at once."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd

from models.spend.unusual.finding import Finding, score_of, severity_of_money

_BEFORE = 14  # days without it that make it new
_AFTER = 3
MATTERS = 0.05


def newcomer_findings(hours: pd.DataFrame, usual_per_day: float, workspace: str | None = None) -> list[Finding]:
    """New models within the hours, those that cost at least a twentieth of what is usually spent a day."""
    if hours.empty:
        return []
    begin = hours["hour"].min()
    found = []
    for model, rows in hours.groupby("model", sort=True):
        first = rows["hour"].min()
        if first - begin < pd.Timedelta(days=_BEFORE):
            continue
        lately = rows[rows["hour"] < first + pd.Timedelta(days=_AFTER)]
        last = min(first + pd.Timedelta(days=_AFTER), hours["hour"].max() + pd.Timedelta(hours=1))
        days = max((last - first) / pd.Timedelta(days=1), 1 / 24)
        cost = float(lately["cost"].sum())
        a_day = cost / max(days, 1.0)
        if a_day < MATTERS * usual_per_day:
            continue
        by = lately.groupby("workspace")["cost"].sum().sort_values(ascending=False)
        found.append(
            Finding(
                kind="new model",
                subject=f"model={model}",
                workspace=workspace,
                start=first.to_pydatetime(),
                end=(first + timedelta(days=_AFTER)).to_pydatetime(),
                severity=severity_of_money(a_day, usual_per_day),
                score=score_of(a_day / (MATTERS * usual_per_day)),
                value=a_day,
                expected=0.0,
                unit="dollars a day",
                excess=cost,
                words=f"{model} is used since {first:%Y-%m-%d %H:%M}, mostly by {by.index[0]}: ${a_day:,.4f} a day.",
                causes=[
                    {"dimension": "workspace", "value": str(name), "before": 0.0, "after": float(one) / days,
                     "change": float(one) / days, "share": float(one) / cost}
                    for name, one in by.head(4).items()
                ],
            )
        )  # fmt: skip
    return found
