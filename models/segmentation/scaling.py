"""Behaviour on one scale: logarithms, outliers held, standardised, every concept with the same weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.parsing import as_number
from models.segmentation.behaviour import Behaviour
from store.errors import InvalidValue, MissingColumn, WrongType

Floats = NDArray[np.float64]

# What lies beyond these quantiles of the training rows is moved onto them: one giant must not make a segment.
_HELD = (0.005, 0.995)
_FLAT = 1e-9


@dataclass(frozen=True)
class Axis:
    """One trait on its way to the scale: z = weight · (clip(f(x), low, high) − mean) / spread.

    Attributes
    ----------
    log : whether f(x) = log(1 + max(x, 0)); else f(x) = x.
    fill : what stands in for a missing value, after f: the median of the training rows.
    """

    name: str
    log: bool
    low: float
    high: float
    mean: float
    spread: float
    weight: float
    fill: float

    def of(self, value: float) -> float:
        """One value on the scale; NaN counts as missing."""
        moved = self.fill if value != value else (math.log1p(value) if value > 0 else 0.0) if self.log else value
        return self.weight * (min(max(moved, self.low), self.high) - self.mean) / self.spread


@dataclass(frozen=True)
class Scaler:
    """All traits on one scale.

    Attributes
    ----------
    flat : traits that did not differ in the training rows and are left out.
    """

    axes: tuple[Axis, ...]
    flat: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.axes)

    @property
    def weights(self) -> Floats:
        return np.array([axis.weight for axis in self.axes])

    def matrix(self, frame: pd.DataFrame) -> Floats:
        """Rows on the scale, shape (rows, axes); missing values count as typical.

        Raises
        ------
        MissingColumn, WrongType, InvalidValue : a column is absent, no number, or infinite.
        """
        absent = [name for name in self.columns if name not in frame.columns]
        if absent:
            raise _missing(absent)
        out = np.empty((len(frame), len(self.axes)))
        for place, axis in enumerate(self.axes):
            values = _numbers(frame[axis.name])
            moved = np.log1p(np.maximum(values, 0.0)) if axis.log else values
            moved = np.where(np.isnan(values), axis.fill, moved)
            out[:, place] = axis.weight * (np.clip(moved, axis.low, axis.high) - axis.mean) / axis.spread
        return out

    def row(self, record: Mapping[str, Any]) -> list[float]:
        """One record on the scale, without pandas: in microseconds. A key that is absent is an error; null is missing.

        Raises
        ------
        MissingColumn, WrongType, InvalidValue : as `matrix`.
        """
        try:
            return [axis.of(number_of(record[axis.name], axis.name)) for axis in self.axes]
        except KeyError:
            raise _missing([name for name in self.columns if name not in record]) from None

    def missing(self, record: Mapping[str, Any]) -> list[str]:
        """Traits whose value is not known and counts as typical."""
        return [name for name in self.columns if math.isnan(number_of(record.get(name), name))]

    def to_dict(self) -> dict[str, Any]:
        return {"axes": [vars(axis) for axis in self.axes], "flat": list(self.flat)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scaler:
        return cls(tuple(Axis(**axis) for axis in data["axes"]), tuple(data["flat"]))


def fit_scaler(frame: pd.DataFrame, behaviour: Behaviour) -> Scaler:
    """Learn the scale.

    A concept with several traits gives each of them the weight 1/√n, so that five signs of the same thing do not count
    five times.

    Raises
    ------
    InvalidValue : no trait differs between customers.
    """
    kept: list[tuple[str, bool, Floats]] = []
    flat = []
    for trait in behaviour.traits:
        values = _numbers(frame[trait.name])
        known = values[~np.isnan(values)]
        moved = np.log1p(np.maximum(known, 0.0)) if trait.scale == "log" else known
        if len(moved):
            low, high = np.quantile(moved, _HELD)
            if high - low <= _FLAT:
                low, high = moved.min(), moved.max()
            if np.std(np.clip(moved, low, high)) > _FLAT:
                kept.append((trait.name, trait.scale == "log", moved))
                continue
        flat.append(trait.name)
    if not kept:
        raise InvalidValue(
            f"All {len(frame)} customers behave alike: {', '.join(flat)} do not differ.",
            remedy="There is nothing to divide them by; bring a longer history or more customers.",
            field=flat[0],
        )
    concept = {trait.name: trait.concept for trait in behaviour.traits}
    count: dict[str, int] = {}
    for name, _, _ in kept:
        count[concept[name]] = count.get(concept[name], 0) + 1
    axes = []
    for name, log, moved in kept:
        low, high = (float(edge) for edge in np.quantile(moved, _HELD))
        if high - low <= _FLAT:
            low, high = float(moved.min()), float(moved.max())
        held = np.clip(moved, low, high)
        axes.append(
            Axis(
                name=name,
                log=log,
                low=low,
                high=high,
                mean=float(held.mean()),
                spread=float(held.std()),
                weight=1.0 / math.sqrt(count[concept[name]]),
                fill=float(np.median(held)),
            )
        )
    return Scaler(tuple(axes), tuple(flat))


def _numbers(column: pd.Series) -> Floats:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        values = np.array([number_of(value, str(column.name)) for value in column], dtype=np.float64)
    if np.isinf(values).any():
        raise _infinite(str(column.name))
    return values


def number_of(value: Any, name: str) -> float:
    """A value of a column as a number; NaN where missing.

    Raises
    ------
    WrongType, InvalidValue : it is no number, or infinite.
    """
    try:
        number = float(value) if type(value) is float else as_number(value)
    except (ValueError, OverflowError):
        raise WrongType(
            f"{name}: {str(value)[:80]!r} is no number.", remedy="Send a number, or null.", field=name, value=value
        ) from None
    if math.isinf(number):
        raise _infinite(name)
    return number


def _infinite(name: str) -> InvalidValue:
    return InvalidValue(f"{name} is infinite.", remedy="Send a finite number, or null.", field=name)


def _missing(names: Sequence[str]) -> MissingColumn:
    plural = "s are" if len(names) > 1 else " is"
    return MissingColumn(
        f"The column{plural} missing: {', '.join(names)}.",
        remedy="Send every column that segments are made from, null where a value is not known.",
        field=names[0],
        value=list(names),
    )
