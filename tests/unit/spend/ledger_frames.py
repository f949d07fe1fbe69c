"""Small ledgers as frames, whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

WEEK = np.array([1.0, 1.1, 1.0, 1.0, 0.9, 0.15, 0.1])
START = pd.Timestamp("2026-06-01")  # a Monday


def days_of(count: int) -> pd.DatetimeIndex:
    return pd.date_range(START, periods=count, freq="D")


def daily(days: int = 91, *, growth: float = 0.0, noise: float = 0.1, seed: int = 0) -> pd.DataFrame:
    """Two workspaces with two models each: day, workspace, model, cost; about 16 dollars a weekday."""
    rng = np.random.default_rng(seed)
    at = np.arange(days)
    parts = []
    for workspace, size in (("north", 10.0), ("south", 6.0)):
        for model, share in (("a/big", 0.7), ("a/small", 0.3)):
            level = size * share * WEEK[at % 7] * (1.0 + growth) ** (at / 7)
            cost = level * np.exp(rng.normal(0.0, noise, days))
            parts.append(pd.DataFrame({"day": days_of(days), "workspace": workspace, "model": model, "cost": cost}))
    return pd.concat(parts, ignore_index=True)


PRICES = {"a/big": (3e-6, 15e-6), "a/small": (0.2e-6, 0.8e-6)}
"""Dollars a token of input and of output."""

_COLUMNS = ("calls", "answered", "input_tokens", "output_tokens", "cost", "latency_ms")


def hourly(days: int = 49, *, seed: int = 0) -> pd.DataFrame:
    """Two workspaces of three people each who work with two models from nine to five: as
    `features.views.spend.hourly_cells`, without anything unusual; about 13 dollars a weekday."""
    rng = np.random.default_rng(seed)
    parts = []
    hours = np.arange(9, 17)
    for workspace, users in (("north", 3), ("south", 3)):
        for user in range(users):
            for model, rate in (("a/big", 3.0), ("a/small", 9.0)):
                mean = rate * np.repeat(np.where(WEEK[np.arange(days) % 7] < 0.5, 0.15, 1.0), len(hours))
                calls = rng.poisson(mean).astype(float)
                at = START + pd.to_timedelta(np.repeat(np.arange(days), len(hours)) * 24 + np.tile(hours, days), "h")
                given = np.round(calls * 2_000 * np.exp(rng.normal(0, 0.2, len(calls))))
                made = np.round(calls * 400 * np.exp(rng.normal(0, 0.2, len(calls))))
                parts.append(
                    pd.DataFrame(
                        {
                            "hour": at, "workspace": workspace, "user": f"user-{user}", "model": model, "provider": "a",
                            "calls": calls, "requests": calls, "failures": 0.0, "cached": 0.0, "refused": 0.0,
                            "answered": calls, "input_tokens": given, "cached_tokens": 0.0, "cache_write_tokens": 0.0,
                            "output_tokens": made, "reasoning_tokens": 0.0,
                            "cost": given * PRICES[model][0] + made * PRICES[model][1],
                            "latency_ms": calls * 300.0 + made * 12.0 * np.exp(rng.normal(0, 0.1, len(calls))),
                        }
                    )
                )  # fmt: skip
    frame = pd.concat(parts, ignore_index=True)
    return frame[frame["calls"] > 0].sort_values("hour", ignore_index=True)


def by_day(hours: pd.DataFrame) -> pd.DataFrame:
    """Daily cells of hourly ones."""
    summed = hours.assign(day=hours["hour"].dt.floor("D")).groupby(["day", "workspace", "model"], as_index=False)
    return summed[list(_COLUMNS)].sum()


def no_failures() -> pd.DataFrame:
    """As `features.views.llm_attempts.failed_attempts` where nothing failed."""
    return pd.DataFrame({"hour": pd.to_datetime([]), "model": [], "failure": [], "failed": []})
