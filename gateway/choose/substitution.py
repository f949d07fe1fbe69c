"""Another model for what is simple: a workspace lets one answer calls that name a dearer one.

It is said in the decision of every call, and a share of the calls is held back: drawn by chance, they are answered as
before, so that what the change saves and what it does to quality can be told from what would have happened without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from gateway.choose.decision import Decision, Task
from gateway.choose.request import in_tool_loop
from gateway.prompt import Prompt

Complexity = Literal["simple", "moderate", "complex", "expert"]
EVERY: tuple[Complexity, ...] = ("simple", "moderate", "complex", "expert")
HELD_BACK = 0.1


@checked(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Substitute:
    """Which calls another model answers.

    Attributes
    ----------
    asked : what stands in the field `model` of these calls: a model's id, or a strategy.
    use : what is asked instead; when it fails, `asked` is next.
    complexities : of these tasks alone.
    held_back : share of the calls that are answered as before.
    because : id of the recommendation that it follows; "" for none.
    """

    asked: Annotated[str, Field(min_length=1, max_length=256)]
    use: Annotated[str, Field(min_length=1, max_length=256)]
    complexities: tuple[Complexity, ...] = EVERY
    held_back: Annotated[float, Field(ge=0, le=0.5)] = HELD_BACK
    because: Annotated[str, Field(max_length=64)] = ""


@dataclass(frozen=True, slots=True)
class Substitution:
    """What becomes of one call.

    Attributes
    ----------
    part : "used", "held back", or "not possible" where the other model may not answer it.
    """

    rule: Substitute
    part: Literal["used", "held back", "not possible"]

    def explain(self) -> dict[str, Any]:
        """As it is stored with the call."""
        return {"use": self.rule.use, "part": self.part, "because": self.rule.because}


def substitution(rules: Sequence[Substitute], prompt: Prompt, task: Task) -> Substitution | None:
    """Whether another model answers a call; None: no rule is about it.

    What a conversation is in the middle of stays with its model.
    """
    if not rules or prompt.kind != "chat" or prompt.stay is not None:
        return None
    for rule in rules:
        if rule.asked == prompt.model and task.complexity in rule.complexities and not in_tool_loop(prompt.body):
            return Substitution(rule, "held back" if _chance(prompt.id, rule) < rule.held_back else "used")
    return None


def substituted(found: Substitution, as_asked: Decision, instead: Decision | None) -> tuple[Decision, Substitution]:
    """The decision of such a call, and what became of it.

    Parameters
    ----------
    as_asked : without the rule.
    instead : of the other model; None: it may not answer.
    """
    rule = found.rule
    why = f" (recommendation {rule.because})" if rule.because else ""
    if instead is None:
        told = f"{rule.use}, which the workspace has answer {as_asked.task.complexity} tasks, may not answer this one."
        return replace(as_asked, reason=f"{as_asked.reason} {told}"), replace(found, part="not possible")
    if found.part == "held back":
        told = f"Held back from {rule.use} to compare with{why}."
        propensity = as_asked.propensity * rule.held_back
        return replace(as_asked, reason=f"{as_asked.reason} {told}", propensity=propensity), found
    told = f"The workspace has {rule.use} answer {as_asked.task.complexity} tasks that ask for {rule.asked}{why}."
    first = instead.ranked[0]
    rest = [one for one in as_asked.ranked if one.model.id != first.model.id]
    return replace(
        as_asked,
        ranked=(first, *rest),
        policy=instead.policy,
        propensity=instead.propensity * (1.0 - rule.held_back),
        explored=instead.explored,
        reason=told,
    ), found


def _chance(prompt_id: str, rule: Substitute) -> float:
    """The same for the same call and rule, 0 to 1."""
    digest = hashlib.blake2b(f"{prompt_id}\n{rule.asked}\n{rule.use}".encode(), digest_size=8).digest()
    return float(int.from_bytes(digest, "big") / 2.0**64)
