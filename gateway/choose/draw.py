"""Who is taken from an order, by chance where chance is meant, and with which probability.

Three things make a choice random: equal scores, a model whose share of traffic was lowered, and exploration. The random
numbers come from a hash of the prompt's id, so that the same prompt is decided in the same way again, and the
probability of every choice is known exactly: what was learned from the ledger can be weighed by it (inverse propensity,
Horvitz and Thompson 1952).

With the order's own probabilities g and exploration ε over the explorable models with weights w,

    P(i) = (1 − ε) · g(i) + ε · w(i) / Σ w
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

_UNIT = 2.0**-32
_NOTHING = 1e-12


@dataclass(slots=True)
class Drawn:
    """A choice.

    Attributes
    ----------
    at : its place in the order.
    propensity : the probability with which it was made.
    explored : whether it was made to learn.
    """

    at: int
    propensity: float
    explored: bool = False


def numbers(prompt_id: str, seed: bytes) -> tuple[float, float]:
    """Two numbers from 0 to 1 (excluded) that belong to a prompt: whether to explore, and whom to take."""
    digest = blake2b(prompt_id.encode("utf-8", "replace"), digest_size=8, key=seed).digest()
    return int.from_bytes(digest[:4], "little") * _UNIT, int.from_bytes(digest[4:], "little") * _UNIT


def draw(
    tied: int,
    shares: Sequence[float],
    chance: tuple[float, float],
    explore: float = 0.0,
    weights: Sequence[float] | None = None,
) -> Drawn:
    """Take one of an order.

    Parameters
    ----------
    tied : how many of the first have the same score.
    shares : of each place of the order, 0 to 1: the chance of a model to keep a call that would be its own; what it
        does not keep goes to the next one.
    chance : see `numbers`.
    explore : ε; 0 where nothing is to be tried.
    weights : of each place, how much it is explored; 0 for never.
    """
    first, second = chance
    total = sum(weights) if weights is not None and explore > 0.0 else 0.0
    if total <= _NOTHING or weights is None:
        explore, total, weights = 0.0, 1.0, ()
    if first < explore:
        at = _pick(weights, second * total)
        plain = tied == 1 and shares[0] >= 1.0
        own = (1.0 if at == 0 else 0.0) if plain else kept(tied, shares)[at]
        return Drawn(at, (1.0 - explore) * own + explore * weights[at] / total, at != 0)
    if tied == 1 and shares[0] >= 1.0:
        return Drawn(0, 1.0 - explore + (explore * weights[0] / total if explore else 0.0))
    own_of = kept(tied, shares)
    at = _pick(own_of, second)
    return Drawn(at, (1.0 - explore) * own_of[at] + (explore * weights[at] / total if explore else 0.0))


def kept(tied: int, shares: Sequence[float]) -> list[float]:
    """g: the probability of each place of the order without exploration; they add up to 1.

    Equals are asked in a random rotation of their order. Who is asked takes the call with the probability of its share,
    and otherwise the next one is asked; a call that nobody takes is that of the first.
    """
    count = len(shares)
    chances = [0.0] * count
    for turn in range(tied):
        left = 1.0 / tied
        head = turn
        for step in range(count):
            place = (turn + step) % tied if step < tied else step
            taken = left * min(1.0, max(0.0, shares[place]))
            chances[place] += taken
            left -= taken
            if left <= 0.0:
                break
        chances[head] += max(0.0, left)
    return chances


def _pick(weights: Sequence[float], target: float) -> int:
    """The place at which the running sum of the weights passes the target."""
    running = 0.0
    last = 0
    for place, weight in enumerate(weights):
        if weight > 0.0:
            running += weight
            last = place
            if target < running:
                return place
    return last
