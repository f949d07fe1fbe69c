"""Was the offer handed out at random? If what is known of customers tells who got it, effects cannot be read off.

Two looks: the standardised difference of every column between the arms (Austin 2009), and how well all columns together
predict the arm, out of fold. Either must be larger than chance allows *and* large enough to matter before a campaign is
refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from features.tabular import values_of
from models.churn.encoding import Encoder
from models.churn.linear import fit_ridge, log_odds
from models.churn.out_of_fold import assign_folds
from models.churn.uplift.campaign import Campaign
from models.churn.uplift.stages import plain_basis
from models.lifecycle.threads import one_blas_thread
from models.monitoring.multiplicity import benjamini_hochberg
from store.errors import InvalidValue

Floats = NDArray[np.float64]

ALPHA = 0.001
AUC_THAT_MATTERS = 0.52
DIFFERENCE_THAT_MATTERS = 0.1
FOLDS = 5
STRENGTH = 0.1


@dataclass(frozen=True)
class Balance:
    """How alike the arms are.

    Attributes
    ----------
    auc : of predicting the arm out of fold; 0.5 by chance.
    auc_p : one-sided, of "no better than chance" (Mann–Whitney).
    differences : column → (standardised difference, adjusted p-value), largest first.
    """

    auc: float
    auc_p: float
    differences: tuple[tuple[str, float, float], ...]

    @property
    def random(self) -> bool:
        """Whether nothing speaks against an offer handed out at random."""
        predictable = self.auc_p < ALPHA and self.auc > AUC_THAT_MATTERS
        return not predictable and not self._apart()

    def _apart(self) -> list[tuple[str, float, float]]:
        return [one for one in self.differences if one[2] < ALPHA and abs(one[1]) > DIFFERENCE_THAT_MATTERS]

    def refuse(self) -> None:
        """Raise unless the campaign looks random.

        Raises
        ------
        InvalidValue : naming what gives the arm away.
        """
        if self.random:
            return
        worst = self._apart() or list(self.differences)
        said = ", ".join(f"{name} ({difference:+.2f} standard deviations)" for name, difference, _ in worst[:3])
        raise InvalidValue(
            f"The offer was not handed out at random: what is known of the customers predicts who got it (AUC "
            f"{self.auc:.3f}, p = {max(self.auc_p, 1e-16):.2g}); the arms differ most in {said}.",
            remedy="Learn effects from a campaign in which chance decided; those who were picked differ from the rest "
            "in more than the offer.",
            field=worst[0][0] if worst else None,
        )

    def to_dict(self) -> dict[str, object]:
        return {
            "random": self.random,
            "auc": self.auc,
            "auc_p": self.auc_p,
            "differences": [
                {"column": name, "standardised": round(difference, 6), "adjusted_p": round(p, 6)}
                for name, difference, p in self.differences[:20]
            ],
        }


def balance(campaign: Campaign, seed: int = 0) -> Balance:
    """Compare the arms."""
    differences = [(column.name, *_difference(campaign, at)) for at, column in enumerate(campaign.columns)]
    adjusted = benjamini_hochberg([one[2] for one in differences]).tolist()
    ranked = sorted(
        ((name, difference, p) for (name, difference, _), p in zip(differences, adjusted, strict=True)),
        key=lambda one: (-abs(one[1]), one[0]),
    )
    auc, p = _predictable(campaign, seed)
    return Balance(auc, p, tuple(ranked))


def _difference(campaign: Campaign, at: int) -> tuple[float, float]:
    """Standardised difference and p-value: of the mean, of a share, or of the level (or hole) furthest apart."""
    column = campaign.columns[at]
    values = values_of(campaign.frame[column.name], column)
    if column.kind == "category":
        texts = values.fillna("(missing)")
        levels = [str(level) for level, count in texts.value_counts().sort_index().items() if int(count) >= 20]
        found = [_two_means(np.asarray(texts == level, dtype=np.float64), campaign.treated) for level in levels]
        if not found:
            return 0.0, 1.0
        strongest = max(found, key=lambda one: abs(one[0]))
        # The level was picked among many.
        return strongest[0], min(1.0, strongest[1] * len(found))
    numbers = values.to_numpy(dtype=np.float64)
    lacking = np.isnan(numbers)
    own = _two_means(numbers[~lacking], campaign.treated[~lacking])
    if not lacking.any():
        return own
    holes = _two_means(lacking.astype(np.float64), campaign.treated)
    strongest = max(own, holes, key=lambda one: abs(one[0]))
    return strongest[0], min(1.0, 2 * strongest[1])


def _two_means(values: Floats, treated: NDArray[np.int64]) -> tuple[float, float]:
    one, other = values[treated == 1], values[treated == 0]
    if min(len(one), len(other)) < 2:
        return 0.0, 1.0
    spread = sqrt((float(one.var(ddof=1)) + float(other.var(ddof=1))) / 2)
    error = sqrt(float(one.var(ddof=1)) / len(one) + float(other.var(ddof=1)) / len(other))
    if spread <= 0:
        return 0.0, 1.0
    difference = float(one.mean() - other.mean())
    return difference / spread, erfc(abs(difference) / error / sqrt(2))


def _predictable(campaign: Campaign, seed: int) -> tuple[float, float]:
    """AUC of the arm out of fold, and how likely chance reaches it."""
    fold = assign_folds(campaign.treated, None, FOLDS, seed)
    ranks = np.empty(len(fold))
    with one_blas_thread():
        for k in range(FOLDS):
            inside = fold != k
            encoder = Encoder.fit(campaign.frame[inside], campaign.columns)
            basis = plain_basis(encoder.matrix(campaign.frame[inside]), encoder)
            design = basis.design(encoder.matrix(campaign.frame[inside]))
            native = fit_ridge(design, campaign.treated[inside], STRENGTH)
            said = log_odds(
                basis.design(encoder.matrix(campaign.frame[~inside])), native.coef_[0], float(native.intercept_[0])
            )
            # Each fold has a level of its own: ranks within folds compare.
            ranks[~inside] = _ranks(said) / (len(said) + 1)
    n, m = int(campaign.treated.sum()), int((1 - campaign.treated).sum())
    order = _ranks(ranks)
    auc = float((order[campaign.treated == 1].sum() - n * (n + 1) / 2) / (n * m))
    return auc, 0.5 * erfc((auc - 0.5) / sqrt((n + m + 1) / (12 * n * m)) / sqrt(2))


def _ranks(values: Floats) -> Floats:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64)
