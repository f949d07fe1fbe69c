"""What can be chosen about segments."""

from __future__ import annotations

from dataclasses import dataclass

from store.errors import InvalidValue


@dataclass(frozen=True)
class SegmentationOptions:
    """Options of the segmentation family.

    Attributes
    ----------
    seed : of starts, bootstraps and intervals.
    k : number of segments; None lets stability, silhouette and BIC decide.
    most_k : the largest number that is tried.
    horizon_days : the period after a moment that segments are judged by and purchases are expected in.
    moments : how many moments, one horizon apart, are looked at.
    value_days : days that lifetime value looks ahead.
    discount : share by which money a year away is worth less.
    margin : share of the amount that counts as value.
    holdout_share : customers that are judged on.
    bootstraps : refits behind the stability of each k.
    replicates : of the bootstrap behind every interval.
    """

    seed: int = 7
    k: int | None = None
    most_k: int = 8
    horizon_days: int = 90
    moments: int = 8
    value_days: int = 365
    discount: float = 0.10
    margin: float = 1.0
    holdout_share: float = 0.25
    bootstraps: int = 12
    replicates: int = 500

    def __post_init__(self) -> None:
        for name, low, high in (
            ("k", 2, 30),
            ("most_k", 2, 30),
            ("horizon_days", 1, 3650),
            ("moments", 1, 100),
            ("value_days", 30, 36_500),
            ("discount", 0.0, 10.0),
            ("margin", 0.0, 1.0),
            ("holdout_share", 0.05, 0.8),
            ("bootstraps", 2, 1000),
            ("replicates", 100, 100_000),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InvalidValue(
                    f"{name} = {value!r} lies outside {low} to {high}.",
                    remedy=f"Choose {name} within {low} and {high}.",
                    field=name,
                    value=value,
                )
