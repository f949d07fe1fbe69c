"""Weekdays, holidays and the time of the year: how much busier or quieter a day is for each kind of customer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.world.business import COUNTRIES, KINDS, Array, Span

# Factor on activity by weekday, Monday first.
WEEK = {
    "household": (0.95, 0.94, 0.94, 0.95, 1.00, 1.14, 1.10),
    "business": (1.16, 1.20, 1.18, 1.15, 1.05, 0.62, 0.50),
    "industrial": (1.05, 1.07, 1.07, 1.06, 1.03, 0.88, 0.80),
}
HOLIDAY = {"household": 1.10, "business": 0.55, "industrial": 0.78}
SUMMER_DIP = {"household": 0.05, "business": 0.16, "industrial": 0.10}
"""Share of activity that is lost in the first week of August."""

WINTER_HEATING = (0.38, 0.36, 0.12, 0.18, 0.30, 0.28, 0.26, 0.24)
"""Half the winter-to-summer swing of log energy, by country."""

SUMMER_COOLING = (0.0, 0.0, 0.26, 0.22, 0.03, 0.03, 0.04, 0.02)
"""Extra log energy in the last week of July, by country."""


@dataclass(frozen=True)
class Calendar:
    """Logarithms of daily factors.

    Attributes
    ----------
    weekday : (days,) 0 = Monday.
    holiday : (countries, days) bool.
    activity : (kinds, countries, days) on API calls, compute and users.
    energy : (kinds, countries, days) on energy.
    """

    weekday: Array
    holiday: Array
    activity: Array
    energy: Array


def calendar(span: Span) -> Calendar:
    """The calendar of the span. Holidays are the public ones of each country (package `holidays`)."""
    days = np.arange(span.days)
    dates = span.dates(days)
    weekday = (days + span.start.weekday()) % 7
    holiday = np.stack([_public_holidays(country, dates) for country in COUNTRIES])

    year = dates.astype("datetime64[Y]")
    of_year = (dates - year.astype("datetime64[D]")).astype(np.int64)
    turn = 2 * np.pi * of_year / 365.25
    # Offices empty between Christmas and New Year, also where the days are not holidays.
    quiet = (of_year >= 357) | (of_year < 1)

    activity = np.zeros((len(KINDS), len(COUNTRIES), span.days))
    energy = np.zeros_like(activity)
    august = _bump(of_year, centre=217, width=18)
    cooling = _bump(of_year, centre=206, width=24)
    for k, kind in enumerate(KINDS):
        week = np.log(np.array(WEEK[kind]))[weekday]
        yearly = np.log1p(-SUMMER_DIP[kind] * august) + 0.03 * np.cos(turn - 0.6)
        for c in range(len(COUNTRIES)):
            free = np.log(HOLIDAY[kind]) * holiday[c] + np.where(quiet & ~holiday[c], np.log(HOLIDAY[kind]) * 0.5, 0.0)
            activity[k, c] = week + yearly + free
            heating = WINTER_HEATING[c] * np.cos(turn - 2 * np.pi * 15 / 365.25)
            energy[k, c] = 0.45 * (week + free) + heating + SUMMER_COOLING[c] * cooling
    return Calendar(weekday, holiday, activity.astype(np.float32), energy.astype(np.float32))


def _bump(of_year: Array, *, centre: int, width: float) -> Array:
    away = np.abs(of_year - centre)
    away = np.minimum(away, 365.25 - away)
    bump: Array = np.exp(-0.5 * (away / width) ** 2)
    return bump


def _public_holidays(country: str, dates: Array) -> Array:
    import holidays

    years = range(int(str(dates[0])[:4]), int(str(dates[-1])[:4]) + 1)
    free = np.array(sorted(holidays.country_holidays(country, years=years)), dtype="datetime64[D]")
    return np.isin(dates, free)
