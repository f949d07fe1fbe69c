"""What counts as drift, as worse, and as a broken guard."""

from __future__ import annotations

from dataclasses import dataclass

from store.errors import InvalidValue


@dataclass(frozen=True)
class MonitorPolicy:
    """Thresholds of monitoring. Each alarm needs evidence *and* a size that matters: many rows alone raise none.

    Attributes
    ----------
    psi : population stability index from which a feature may count as drifted (0.2: "a major shift"; Siddiqi 2006).
    false_discovery : expected share of false findings among the features, and among the slices, that are named.
    bins : quantile bins of a number.
    levels : most levels of a category that are told apart.
    fewest_rows : on either side; with fewer, nothing is said about a feature or a metric.
    fewest_groups : entities that outcomes must come from before intervals over entities decide anything: many rows of
        one customer are one customer.
    confidence : of the intervals that decide on losses and calibration.
    margin : a loss is worse only when it rose by more than this share.
    calibration_gap : least difference between what was predicted and what came, as a probability, that matters.
    calibration_share : the same as a share of the base rate; the larger of the two counts.
    ece_tolerance : how much the expected calibration error may rise beyond chance.
    coverage_tolerance : how far measured interval coverage may lie from its nominal level.
    slice_rows : slices with fewer rows are not judged.
    guard_margin : share by which a champion's loss must exceed its predecessor's on the same rows to be rolled back.
    watch_days : days after a promotion in which a broken guard rolls it back.
    reported_days : reported outcomes of predictions made within this many days are looked at.
    again_days : the same alarm about the same version is told, and trained upon, once within this many days.
    """

    psi: float = 0.2
    false_discovery: float = 0.05
    bins: int = 10
    levels: int = 50
    fewest_rows: int = 50
    fewest_groups: int = 10
    confidence: float = 0.99
    margin: float = 0.1
    calibration_gap: float = 0.02
    calibration_share: float = 0.25
    ece_tolerance: float = 0.02
    coverage_tolerance: float = 0.1
    slice_rows: int = 50
    guard_margin: float = 0.02
    watch_days: int = 90
    reported_days: int = 180
    again_days: int = 7

    def __post_init__(self) -> None:
        for name, low, high in (
            ("psi", 0.0, 100.0),
            ("false_discovery", 0.0, 1.0),
            ("bins", 2, 100),
            ("levels", 2, 1_000),
            ("fewest_rows", 2, 10**9),
            ("fewest_groups", 2, 10**9),
            ("confidence", 0.5, 0.99999),
            ("margin", 0.0, 100.0),
            ("calibration_gap", 0.0, 1.0),
            ("calibration_share", 0.0, 100.0),
            ("ece_tolerance", 0.0, 1.0),
            ("coverage_tolerance", 0.0, 1.0),
            ("slice_rows", 2, 10**9),
            ("guard_margin", 0.0, 100.0),
            ("watch_days", 0, 36_500),
            ("reported_days", 1, 36_500),
            ("again_days", 0, 36_500),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidValue(
                    f"{name} = {value!r} lies outside {low} to {high}.",
                    remedy=f"Choose {name} within {low} and {high}.",
                    field=name,
                    value=value,
                )
