"""Sales rows as the demand models read them; learned once from the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.pricing.panel import Codes, Floats, Panel
from store.errors import MissingColumn

MOST_LEVELS = 50
TREND_BEYOND = 0.25
"""A trend goes on for this share of the time it was seen, then stays."""


@dataclass(frozen=True)
class Control:
    """A control column.

    Attributes
    ----------
    levels : of a category, the frequent ones; empty for a number.
    fill, scale : of a number.
    usual : what it was lately: a number, or a level.
    """

    name: str
    levels: tuple[str, ...] = ()
    fill: float = 0.0
    scale: float = 1.0
    usual: str | float = 0.0


@dataclass(frozen=True)
class Encoder:
    """Names and scales of the training rows.

    Attributes
    ----------
    places : product, segment and group of each panel unit, ordered.
    reference : usual log price of each place.
    rival : whether the competitor's price is read; where it is unknown, the usual distance to it is taken.
    gap : usual log distance from the own to the competitor's price, by product.
    first, last : days; equal without time.
    seasonal, weekly : whether there are seasons of the year and weekdays.
    """

    places: tuple[tuple[str, str, str], ...]
    reference: tuple[float, ...]
    rival: bool
    gap: Mapping[str, float]
    first: float
    last: float
    seasonal: bool
    weekly: bool
    controls: tuple[Control, ...] = field(default=())

    @classmethod
    def fit(cls, panel: Panel) -> Encoder:
        """Learn from training rows."""
        units = list(zip(panel.product.tolist(), panel.segment.tolist(), panel.group.tolist(), strict=True))
        places = sorted(set(units))
        codes = panel.place
        logs = np.log(panel.price)
        count = np.bincount(codes, minlength=len(places))
        reference = np.bincount(codes, logs, len(places)) / count
        gap: dict[str, float] = {}
        if panel.competitor is not None:
            known = panel.competitor > 0
            distance = pd.Series(np.log(np.where(known, panel.competitor, 1.0)) - logs)[known]
            means = distance.groupby(panel.product[known]).mean()
            gap = {str(name): float(value) for name, value in means.items()}
        first, last = (0.0, 0.0) if panel.day is None else (float(panel.day.min()), float(panel.day.max()))
        return cls(
            places=tuple(places),
            reference=tuple(reference.tolist()),
            rival=panel.competitor is not None,
            gap=gap,
            first=first,
            last=last,
            seasonal=panel.dated and panel.span_days > 550,
            weekly=panel.dated and bool(np.median(panel.length) <= 1),
            controls=tuple(_control(str(name), panel) for name in panel.controls.columns),
        )

    def place(self, panel: Panel) -> Codes:
        """Position in `places`, −1 for one that was not there."""
        indexes, keys = self._index
        key, known = np.zeros(len(panel), dtype=np.int64), np.ones(len(panel), dtype=bool)
        for index, values in zip(indexes, (panel.product, panel.segment, panel.group), strict=True):
            codes = _position(index, values)
            known &= codes >= 0
            key = key * len(index) + codes
        at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return np.where(known & (keys[at] == key), at, -1).astype(np.int64)

    def level(self, panel: Panel, part: int) -> Codes:
        """Code of the product (0), segment (1) or group (2), −1 for one that was not there."""
        values = (panel.product, panel.segment, panel.group)[part]
        return _position(self._index[0][part], values)

    @cached_property
    def _index(self) -> tuple[tuple[pd.Index, ...], Codes]:
        """Sorted names of products, segments and groups, and the places as one number each, rising."""
        indexes = tuple(pd.Index(sorted({unit[part] for unit in self.places}), dtype=object) for part in range(3))
        keys = np.zeros(len(self.places), dtype=np.int64)
        for part, index in enumerate(indexes):
            keys = keys * len(index) + _position(index, np.asarray([unit[part] for unit in self.places], dtype=object))
        return indexes, keys

    def log_price(self, panel: Panel) -> tuple[Floats, Floats]:
        """Log price, and its distance to what is usual at the place (0 at a place that was not there)."""
        logs = np.log(panel.price)
        place = self.place(panel)
        usual = np.asarray([*self.reference, 0.0])[place]
        return logs, np.where(place >= 0, logs - usual, 0.0)

    def log_rival(self, panel: Panel) -> Floats | None:
        """Log of the competitor's price; unknown ones at the usual distance from the usual own price."""
        if not self.rival:
            return None
        gap = np.asarray([self.gap.get(name, 0.0) for name in panel.product.tolist()])
        logs, off = self.log_price(panel)
        usual = logs - off + gap
        if panel.competitor is None:
            return np.asarray(usual, dtype=np.float64)
        known = panel.competitor > 0
        return np.asarray(np.where(known, np.log(np.where(known, panel.competitor, 1.0)), usual), dtype=np.float64)

    def trend(self, panel: Panel) -> Floats | None:
        """−1 … 0 over the training time, a little beyond after it; None without time."""
        if panel.day is None or self.last <= self.first:
            return None
        scaled = (panel.day - self.last) / (self.last - self.first)
        return np.minimum(scaled, TREND_BEYOND)

    def seasons(self, panel: Panel) -> list[Floats]:
        """Two waves of the year, and weekdays, where the training rows tell of them."""
        if panel.day is None:
            return []
        found: list[Floats] = []
        if self.seasonal:
            turn = 2 * np.pi * panel.day / 365.25
            found += [np.sin(turn), np.cos(turn), np.sin(2 * turn), np.cos(2 * turn)]
        if self.weekly:
            found += [((panel.day + 3) % 7 == day).astype(np.float64) for day in range(6)]
        return found

    def control_columns(self, panel: Panel) -> list[Floats]:
        """Numbers standardised, categories as indicators of their frequent levels.

        Raises
        ------
        MissingColumn : a control is not there.
        """
        found: list[Floats] = []
        for control in self.controls:
            if control.name not in panel.controls.columns:
                raise MissingColumn(
                    f"The model reads the control {control.name!r}, which is not there.",
                    remedy="Name it as a control.",
                    field=control.name,
                )
            values = panel.controls[control.name].to_numpy()
            if control.levels:
                found += [(values.astype(str) == level).astype(np.float64) for level in control.levels]
            else:
                numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=np.float64)
                found.append((np.where(np.isnan(numbers), control.fill, numbers) - control.fill) / control.scale)
        return found

    def tree_matrix(self, panel: Panel) -> tuple[Floats, list[int]]:
        """Columns for trees, and the direction in which the outcome may move with each: −1 for every function of the
        own price, 0 for the others."""
        logs, off = self.log_price(panel)
        columns, signs = [logs, off], [-1, -1]
        rival = self.log_rival(panel)
        if rival is not None:
            columns += [logs - rival, rival]
            signs += [-1, 0]
        trend = self.trend(panel)
        rest: list[NDArray[Any]] = [] if trend is None else [trend]
        rest += self.seasons(panel)
        rest += [self.level(panel, part) for part in range(3)]
        rest += self.control_columns(panel)
        columns += [one.astype(np.float64) for one in rest]
        signs += [0] * len(rest)
        return np.column_stack(columns), signs

    def to_dict(self) -> dict[str, Any]:
        return {
            "places": [list(unit) for unit in self.places],
            "reference": list(self.reference),
            "rival": self.rival,
            "gap": dict(self.gap),
            "first": self.first,
            "last": self.last,
            "seasonal": self.seasonal,
            "weekly": self.weekly,
            "controls": [{**one.__dict__, "levels": list(one.levels)} for one in self.controls],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Encoder:
        values = dict(data)
        values["places"] = tuple((unit[0], unit[1], unit[2]) for unit in data["places"])
        values["reference"] = tuple(data["reference"])
        values["controls"] = tuple(Control(**{**one, "levels": tuple(one["levels"])}) for one in data["controls"])
        return cls(**values)


def _position(index: pd.Index, values: NDArray[Any]) -> Codes:
    """Where each name stands in the index, −1 where it does not."""
    return np.asarray(index.get_indexer(pd.Index(values, dtype=object)), dtype=np.int64)


def _control(name: str, panel: Panel) -> Control:
    values = panel.controls[name].to_numpy()
    late = values if panel.day is None else values[panel.day >= np.quantile(panel.day, 0.9)]
    if values.dtype != object:
        fill = float(np.nanmedian(values)) if not np.isnan(values).all() else 0.0
        spread = float(np.nanstd(values)) if not np.isnan(values).all() else 0.0
        usual = float(np.nanmedian(late)) if not np.isnan(late).all() else fill
        return Control(name, fill=fill, scale=spread if spread > 1e-12 * (1 + abs(fill)) else 1.0, usual=usual)
    counts = pd.Series(values).value_counts()
    levels = sorted(str(level) for level in counts.index[:MOST_LEVELS])
    return Control(name, levels=tuple(levels), usual=str(pd.Series(late).mode().iloc[0]))
