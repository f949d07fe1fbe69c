"""Gamma-Gamma: how much customers spend on a purchase.

A customer's purchases are Gamma(p, ν) with a rate ν ~ Gamma(q, γ) of their own. With a mean m of x purchases:

    L = Γ(px + q) / (Γ(px) Γ(q)) · γ^q m^(px − 1) x^(px) / (γ + m x)^(px + q)
    E[spend | m, x] = p (γ + x m) / (p x + q − 1)

Fader & Hardie (2013), "The Gamma-Gamma model of monetary value". q is held above 1, without which the mean spend of
the population would be infinite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.segmentation.value.likelihood import Floats, Parameter, maximise

NAMES = ("p", "q", "gamma")


@dataclass(frozen=True)
class GammaGamma:
    """A fitted Gamma-Gamma model.

    Attributes
    ----------
    parameters : p, q, gamma (in the unit of the amounts), with intervals.
    customers : how many it was fitted to: those with a repeat purchase of a positive amount.
    """

    parameters: Mapping[str, Parameter]
    log_likelihood: float
    customers: int
    identified: bool

    def expected_spend(self, x: Floats, mean: Floats) -> Floats:
        """Mean amount of a customer's future purchases, in the unit of the amounts.

        Parameters
        ----------
        x : purchases that `mean` is over; 0 where there are none: the mean of the population.
        mean : mean amount of them.
        """
        p, q, gamma = (self.parameters[name].value for name in NAMES)
        seen = np.where(x > 0, mean, 0.0)
        return np.asarray(p * (gamma + x * seen) / (p * x + q - 1))

    def to_dict(self) -> dict[str, Any]:
        return {
            "parameters": {name: self.parameters[name].to_dict() for name in NAMES},
            "log_likelihood": self.log_likelihood,
            "customers": self.customers,
            "identified": self.identified,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GammaGamma:
        found = {name: Parameter.from_dict(data["parameters"][name]) for name in NAMES}
        return cls(found, data["log_likelihood"], data["customers"], data["identified"])


def fit_gamma_gamma(x: Floats, mean: Floats) -> GammaGamma:
    """Fit to the customers with x > 0 and a positive mean amount.

    Raises
    ------
    TrainingError : the likelihood is finite nowhere.
    """
    used = (x > 0) & (mean > 0)
    table, count = np.unique(np.column_stack([x[used], mean[used]]), axis=0, return_counts=True)
    total = int(count.sum())
    unit = float(np.exp(np.average(np.log(table[:, 1]), weights=count)))
    x, mean = table[:, 0], table[:, 1] / unit
    weight = count / total

    def objective(at: Floats) -> tuple[float, Floats]:
        value, gradient = log_likelihood(np.exp(at) + np.array([0.0, 1.0, 0.0]), x, mean)
        # By log p, log(q − 1), log γ.
        return -float(weight @ value), -(weight @ gradient) * np.exp(at)

    starts = [(np.log(p), np.log(q - 1), np.log(g)) for p, q in ((6.0, 4.0), (1.5, 2.5), (20.0, 8.0)) for g in (0.5, 3)]
    found = maximise(objective, starts, total, (0.0, 1.0, 0.0))
    parameters = dict(zip(NAMES, found.parameters, strict=True))
    one = parameters["gamma"]
    scaled = [None if item is None else item * unit for item in (one.standard_error, one.low, one.high)]
    parameters["gamma"] = Parameter(one.value * unit, *scaled)
    return GammaGamma(parameters, found.log_likelihood - total * np.log(unit), total, found.free)


def log_likelihood(at: Floats, x: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Log-likelihood of every customer and its gradient by (p, q, γ): shapes (customers,) and (customers, 3)."""
    from scipy.special import digamma, gammaln

    p, q, gamma = (float(value) for value in at)
    shape, spent = p * x, mean * x
    reach = np.log(gamma + spent)
    value = (
        gammaln(shape + q) - gammaln(shape) - gammaln(q)
        + q * np.log(gamma) + (shape - 1) * np.log(mean) + shape * np.log(x) - (shape + q) * reach
    )  # fmt: skip
    by_p = x * (digamma(shape + q) - digamma(shape) + np.log(spent) - reach)
    by_q = digamma(shape + q) - digamma(q) + np.log(gamma) - reach
    by_gamma = q / gamma - (shape + q) / (gamma + spent)
    return value, np.column_stack([by_p, by_q, by_gamma])
