"""What can be chosen about scorers of answers."""

from __future__ import annotations

from dataclasses import dataclass

from store.errors import InvalidValue


@dataclass(frozen=True)
class QualityOptions:
    """Options of the quality family.

    Attributes
    ----------
    seed : of folds, trees and bootstrap.
    threads : for trees; never changes a number.
    folds : for out-of-fold predictions, whole persons together.
    holdout_share : of the latest judgements, which are judged on.
    unseen_share : of the persons, all of whose judgements are judged on.
    trees : boosted trees of the candidate `trees`.
    replicates : of the bootstrap behind every interval.
    """

    seed: int = 7
    threads: int = 1
    folds: int = 5
    holdout_share: float = 0.25
    unseen_share: float = 0.2
    trees: int = 150
    replicates: int = 500

    def __post_init__(self) -> None:
        ranges = {
            "threads": (1, 256), "folds": (2, 20), "holdout_share": (0.05, 0.5), "unseen_share": (0.0, 0.5),
            "trees": (1, 2_000), "replicates": (50, 10_000),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidValue(
                    f"{name} is {value}.", remedy=f"Choose between {low} and {high}.", field=name, value=value
                )
