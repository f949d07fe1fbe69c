"""What can be chosen about churn models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from store.errors import InvalidValue


@dataclass(frozen=True)
class ChurnOptions:
    """Options of the churn family.

    Attributes
    ----------
    seed : of folds, boosters and bootstrap.
    threads : folds trained side by side; never changes a number.
    folds : for out-of-fold predictions.
    holdout_share : rows that are judged on.
    horizon_days : days after `as_of` in which a customer leaves or stays; also the gap before the holdout.
    every_days : distance of the training dates.
    offer_cost, offer_value : of one retention offer and of a customer kept, in one currency.
    offer_success : share of leaving customers that an offer keeps.
    positive : value of the target that means leaving; an obvious one is recognised.
    positive_written : how the user's file writes it, where the target was turned into 0/1; for messages and reports.
    keep_suspects : learn from columns suspected of giving the target away.
    replicates : of the bootstrap behind every interval.
    """

    seed: int = 7
    threads: int = 1
    folds: int = 5
    holdout_share: float = 0.2
    horizon_days: int = 30
    every_days: int = 30
    offer_cost: float = 20.0
    offer_value: float = 120.0
    offer_success: float = 0.4
    positive: str | None = None
    positive_written: str | None = None
    keep_suspects: bool = False
    replicates: int = 1000

    def __post_init__(self) -> None:
        for name, low, high in (
            ("threads", 1, 1024),
            ("folds", 2, 20),
            ("holdout_share", 0.02, 0.8),
            ("horizon_days", 0, 3650),
            ("every_days", 1, 3650),
            ("offer_cost", 0.0, float("inf")),
            ("offer_value", 0.0, float("inf")),
            ("offer_success", 0.0, 1.0),
            ("replicates", 100, 100_000),
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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ChurnOptions:
        return cls(**data)
