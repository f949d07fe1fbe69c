"""What can be chosen about routing policies."""

from __future__ import annotations

from dataclasses import dataclass

from store.errors import InvalidValue


@dataclass(frozen=True)
class RoutingOptions:
    """Options of the routing family.

    Attributes
    ----------
    seed : of folds, projections, clusters, trees and bootstrap.
    threads : that work on folds and trees; never changes a number.
    folds : for out-of-fold predictions.
    holdout_share : rows that are judged on.
    dimensions : of the space that words are projected into.
    vocabulary : buckets of words that are looked at, the most frequent first.
    trees : boosted trees of the candidate `boosting`; 0 leaves it out.
    replicates : of the bootstrap behind every interval.
    days : calls of the ledger that are learned from, counted back from the end.
    scale : what the table writes for scores of 0 and of 1.
    embeddings : what words mean, from a folder or the hub (see `models.routing.word_vectors`); "" for none.
    """

    seed: int = 7
    threads: int = 1
    folds: int = 5
    holdout_share: float = 0.2
    dimensions: int = 96
    vocabulary: int = 20_000
    trees: int = 100
    replicates: int = 400
    days: int = 180
    scale: tuple[float, float] = (0.0, 1.0)
    embeddings: str = ""

    def __post_init__(self) -> None:
        ranges = {
            "folds": (2, 20), "holdout_share": (0.05, 0.5), "dimensions": (2, 512), "vocabulary": (100, 200_000),
            "trees": (0, 2_000), "replicates": (50, 10_000), "days": (1, 3_650), "threads": (1, 256),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidValue(
                    f"{name} is {value}.", remedy=f"Choose between {low} and {high}.", field=name, value=value
                )
