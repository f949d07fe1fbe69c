"""Things that went wrong, or went wild: known days, kinds and sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.world.business import REGIONS, Array, Span


@dataclass(frozen=True)
class Kind:
    """Sizes are factors on a normal day: of API calls, of energy, of product errors, of tickets."""

    name: str
    days: tuple[int, int]
    usage: float
    energy: float
    errors: float
    tickets: float


KINDS = (
    Kind("outage", (1, 2), usage=0.35, energy=0.95, errors=9.0, tickets=5.0),
    Kind("degradation", (5, 9), usage=0.80, energy=1.0, errors=4.0, tickets=2.2),
    Kind("traffic_surge", (2, 4), usage=1.70, energy=1.02, errors=1.5, tickets=1.2),
    Kind("cold_snap", (4, 7), usage=1.05, energy=1.40, errors=1.0, tickets=1.1),
)


@dataclass(frozen=True)
class Incidents:
    """Logarithms of daily factors by region, each (regions, days), and the list of what happened."""

    usage: Array
    energy: Array
    errors: Array
    tickets: Array
    listed: pd.DataFrame


def incidents(span: Span, rng: np.random.Generator) -> Incidents:
    """One incident in every 60 days, in one region or in all.

    `listed` has incident, kind, region ("all" or one), first_day, last_day and the four factors.
    """
    logs = {name: np.zeros((len(REGIONS), span.days)) for name in ("usage", "energy", "errors", "tickets")}
    rows = []
    for number, block in enumerate(range(30, span.days - 15, 60)):
        kind = KINDS[number % len(KINDS)]
        begin = block + int(rng.integers(0, min(45, span.days - 12 - block)))
        length = int(rng.integers(kind.days[0], kind.days[1] + 1))
        everywhere = bool(rng.random() < 0.5)
        region = int(rng.integers(len(REGIONS)))
        where = slice(None) if everywhere else slice(region, region + 1)
        window = slice(begin, begin + length)
        for name, log in logs.items():
            log[where, window] += np.log(getattr(kind, name))
        first, last = span.dates(np.array([begin, min(begin + length, span.days) - 1]))
        place = "all" if everywhere else REGIONS[region]
        rows.append(
            {
                "incident": f"incident-{number + 1:02d}",
                "kind": kind.name,
                "region": place,
                "first_day": first,
                "last_day": last,
                **{name: getattr(kind, name) for name in logs},
            }
        )
    arrays = {name: log.astype(np.float32) for name, log in logs.items()}
    return Incidents(**arrays, listed=pd.DataFrame(rows))
