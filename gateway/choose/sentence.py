"""Why a model was chosen, in one sentence for people."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.choose.decision import Ranked, Task
from gateway.choose.policy import COMPLEXITIES
from gateway.choose.virtual import Strategy

_BECAUSE = {
    Strategy.AUTO: "the best balance for {task} task",
    Strategy.CHEAPEST: "the cheapest that is good enough for {task} task",
    Strategy.FASTEST: "expected to have answered first",
    Strategy.BEST: "the best answer to {task} task, whatever it costs",
    Strategy.ROUND_ROBIN: "its turn",
    Strategy.CAPABILITY: "the best match for {domain}",
    Strategy.PREFERRED: "the best balance for {task} task with what this user likes",
    Strategy.PRIVATE: "the best balance among models on the own machines for {task} task",
    Strategy.EXPLICIT: "asked for by name",
    Strategy.ENSEMBLE: "one of several",
}
_ARTICLED = {one: f"{'an' if one[0] in 'aeiou' else 'a'} {one} " for one in COMPLEXITIES}


def reason_of(strategy: Strategy, task: Task, ranked: Sequence[Ranked], *, explored: bool, stays: bool) -> str:
    """One sentence.

    Parameters
    ----------
    stays : the conversation must not leave this model now.
    """
    first = ranked[0]
    if explored:
        because = "tried to learn of it, as it is used little"
    elif stays and strategy is not Strategy.EXPLICIT:
        because = "the conversation stays with it while its tools are at work"
    else:
        because = _BECAUSE[strategy].format(task=_ARTICLED[task.complexity] + task.domain, domain=task.domain)
    then = f", then {ranked[1].model.id}" if len(ranked) > 1 else ""
    return (
        f"{first.model.id} is {because}: quality {first.quality:.2f}, ${first.cost / 1e9:.6f} and "
        f"{first.latency_ms / 1000.0:.1f} s are expected{then}."
    )


def reason_of_ensemble(rule: str, ranked: Sequence[Ranked]) -> str:
    """One sentence for all members."""
    total = sum([one.cost for one in ranked]) / 1e9
    return f"{', '.join([one.model.id for one in ranked])} answer and {rule} decides: ${total:.6f} is expected in all."
