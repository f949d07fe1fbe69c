"""The rules by which a model's share of traffic is shifted between trainings: each from evidence to the share it wants.

| rule | begins | ends | share wanted |
|---|---|---|---|
| latency | time is 2.5 × the usual, 8 calls | below 1.6 × | 1.6 / ratio, 0.8 at least |
| errors | more than 10 % fail, with 95 % confidence | below 5 % | (1 − failing)² |
| cost | 1.4 × what was expected, surely above 1.2 × | below 1.15 × | 1.15 / ratio |
| load | 95 % of the provider's slots are taken | below 70 % | 0.7 / load |
| quality | scores have dropped; see `adaptation_drop` | they are back | 1 − 3 · drop |
| recovery | no rule holds it down for 15 s | the share is whole | 0.1 more every 15 s |

Decisions weigh time, failures and price by themselves as they are measured; the rules are for what goes beyond, so
they begin late and take little. A rule that has begun holds on until its second bound, so that a number at the bound
does not make the share flutter, and as long as nothing new is known. The strongest rule decides. A share falls by 0.05
to 0.3 in one step and never below `FLOOR`: what gets no traffic tells nothing of itself, and could not come back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import exp, sqrt
from typing import Any

FLOOR = 0.1
STEP_DOWN, STEP_UP, STEP_LEAST = 0.3, 0.1, 0.05
QUIET_S = 15.0

SLOWER, NO_LONGER_SLOWER = 2.5, 1.6
# `auto` weighs time as it is measured: what is taken beside it costs more than it brings, the more is taken
# (`benchmarks/gateway_adaptation.py`). The rest is for strategies that do not look at time.
LEFT_TO_SLOW = 0.8
FEWEST_TIMED = 8
FAILING, NO_LONGER_FAILING = 0.10, 0.05
DEARER, SURELY_DEARER, NO_LONGER_DEARER = 1.4, 1.2, 1.15
FEWEST_PAID = 12
BUSY, NO_LONGER_BUSY = 0.95, 0.7
LOST_BY_DROP = 3.0
# One-sided 95 %.
_Z = 1.645


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a model at a moment; None: not known.

    Attributes
    ----------
    answered, failed : calls of the last minute or so, without those that were the caller's fault.
    slower : its time for an answer of one length, over what is usual for it.
    dearer : mean logarithm of cost over what was expected; `dearer_error` : its standard error; `paid` : of how many.
    busy : calls under way and waiting, over the slots of its provider.
    drop : how far scores of its answers lie below what they were; 0 where there is no alarm.
    """

    answered: float = 0.0
    failed: float = 0.0
    slower: float | None = None
    dearer: float | None = None
    dearer_error: float = 0.0
    paid: float = 0.0
    busy: float | None = None
    drop: float = 0.0


@dataclass(frozen=True, slots=True)
class Demand:
    """What a rule wants.

    Attributes
    ----------
    share : `FLOOR` to 1.
    why : one sentence for people.
    numbers : the evidence, JSON-ready.
    """

    rule: str
    share: float
    why: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


# (evidence, what the rule wants already) → what it wants; None: nothing.
Rule = Callable[[Evidence, Demand | None], Demand | None]


def latency(evidence: Evidence, held: Demand | None) -> Demand | None:
    """Slower than usual for itself, in times that count the same length."""
    ratio = evidence.slower
    if ratio is None:
        return held
    if ratio < (SLOWER if held is None else NO_LONGER_SLOWER):
        return None
    if held is None and evidence.answered < FEWEST_TIMED:
        return None
    numbers = {"slower": round(ratio, 3), "answered": round(evidence.answered, 1)}
    return Demand(
        "latency",
        max(LEFT_TO_SLOW, _kept(NO_LONGER_SLOWER / ratio)),
        f"It takes {ratio:.1f} times as long as usual.",
        numbers,
    )


def errors(evidence: Evidence, held: Demand | None) -> Demand | None:
    """Fails more often than chance explains (Wilson's lower bound, 1927)."""
    calls = evidence.answered + evidence.failed
    if calls < 1.0:
        return held
    failing = evidence.failed / calls
    if held is not None:
        if failing < NO_LONGER_FAILING:
            return None
    elif at_least(evidence.failed, calls) <= FAILING:
        return None
    numbers = {"failing": round(failing, 4), "calls": round(calls, 1)}
    return Demand("errors", _kept((1.0 - failing) ** 2), f"{failing:.0%} of {calls:.0f} calls failed.", numbers)


def cost(evidence: Evidence, held: Demand | None) -> Demand | None:
    """Dearer than decisions expect: its answers are longer than they were, or what they cost is."""
    if evidence.dearer is None:
        return held
    ratio = exp(evidence.dearer)
    surely = exp(evidence.dearer - _Z * evidence.dearer_error)
    begins = evidence.paid >= FEWEST_PAID and ratio >= DEARER and surely >= SURELY_DEARER
    if ratio < NO_LONGER_DEARER or not (begins or held is not None):
        return None
    numbers = {"dearer": round(ratio, 3), "surely": round(surely, 3), "calls": round(evidence.paid, 1)}
    return Demand("cost", _kept(NO_LONGER_DEARER / ratio), f"Calls cost {ratio:.1f} times what was expected.", numbers)


def load(evidence: Evidence, held: Demand | None) -> Demand | None:
    """Its provider has hardly a slot left: others take over before calls have to wait."""
    busy = evidence.busy
    if busy is None or busy < (BUSY if held is None else NO_LONGER_BUSY):
        return None
    why = f"{busy:.0%} of its provider's slots are taken or waited for."
    return Demand("load", _kept(NO_LONGER_BUSY / busy), why, {"busy": round(busy, 3)})


def quality(evidence: Evidence, held: Demand | None) -> Demand | None:  # noqa: ARG001 - the detector holds on by itself
    """Its answers have become worse than they were on tasks of the same kind."""
    if evidence.drop <= 0.0:
        return None
    why = f"Scores of its answers have dropped by {evidence.drop:.2f}."
    return Demand("quality", _kept(1.0 - LOST_BY_DROP * evidence.drop), why, {"drop": round(evidence.drop, 4)})


RULES: Mapping[str, Rule] = {"latency": latency, "errors": errors, "cost": cost, "load": load, "quality": quality}


def recovery(share: float, quiet_s: float) -> Demand | None:
    """A model that nothing speaks against gets its share back a little at a time.

    Parameters
    ----------
    quiet_s : seconds since a rule held it down, or since the last step.
    """
    if share >= 1.0 or quiet_s < QUIET_S:
        return None
    why = f"Nothing has spoken against it for {quiet_s:.0f} s."
    return Demand("recovery", min(1.0, round(share + STEP_UP, 3)), why, {"quiet_s": round(quiet_s, 1)})


def lowered(share: float, wanted: float) -> float:
    """One step from a share down to what a rule wants; the share itself where that is hardly below it."""
    return max(wanted, round(share - STEP_DOWN, 3), FLOOR) if wanted <= share - STEP_LEAST else share


def at_least(hits: float, trials: float) -> float:
    """Lower end of Wilson's interval of a share, one-sided 95 %."""
    share = hits / trials
    centre = share + _Z**2 / (2 * trials)
    half = _Z * sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    return max(0.0, (centre - half) / (1 + _Z**2 / trials))


def _kept(share: float) -> float:
    return round(min(1.0, max(FLOOR, share)), 3)
