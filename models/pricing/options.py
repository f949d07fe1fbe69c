"""What can be chosen about pricing models."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from store.errors import InvalidValue


@dataclass(frozen=True)
class PricingOptions:
    """Options of the pricing family.

    Attributes
    ----------
    seed : of folds, forests and draws.
    threads : of the tree learners; never changes a number.
    level : of the elasticities' intervals.
    folds : of the cross-fitting.
    origins : rolling origins for the demand models' out-of-time predictions.
    holdout_share : rows that are judged on; with time, each part of them is foreseen from everything before it. Less in
        small files, and at most 0.3 without time.
    blocks : how many parts.
    trees : of the forest; the boosting takes as many at most.
    replicates : of the bootstrap behind every interval of a metric.
    period_days : length of a period, where the time column holds numbers or there is none.
    """

    seed: int = 7
    threads: int = 1
    level: float = 0.9
    folds: int = 5
    origins: int = 3
    holdout_share: float = 0.7
    blocks: int = 6
    trees: int = 100
    replicates: int = 1000
    period_days: float = 7.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("threads", 1, 1024),
            ("level", 0.5, 0.999),
            ("folds", 2, 20),
            ("origins", 1, 10),
            ("holdout_share", 0.05, 0.8),
            ("blocks", 1, 50),
            ("trees", 10, 2000),
            ("replicates", 100, 100_000),
            ("period_days", 0.01, 400.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidValue(
                    f"{name} = {value!r} lies outside {low} to {high}.",
                    remedy=f"Choose {name} within {low} and {high}.",
                    field=name,
                    value=value,
                )

    def to_dict(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}
