"""A recommendation that is followed in the demo world: from a moment on another model answers some calls.

Everything else of the world stays as it is, call by call: the difference to the same world without it is what it saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from features.world.business import Array
from features.world.llm.attempts import Attempts
from features.world.llm.happenings import Happenings
from features.world.llm.logging_policy import CHAT, Choices
from features.world.llm.task import COMPLEXITIES, fraction
from features.world.llm.traffic import Traffic
from features.world.llm.workspaces import WORKSPACES
from store.errors import InvalidValue


@dataclass(frozen=True)
class Adopted:
    """What is followed, as `gateway.choose.substitution.Substitute` has it.

    Attributes
    ----------
    since : naive UTC.
    held_back : share of the calls that are answered as before.
    because : id of the recommendation.
    """

    workspace: str
    asked: str
    use: str
    complexities: Sequence[str]
    since: datetime
    held_back: float = 0.1
    because: str = ""


def adopt(
    one: Adopted, seed: int, calls: Traffic, choices: Choices, tried: Attempts, happened: Happenings
) -> tuple[Choices, Attempts, Array]:
    """Choices and attempts as they are with it, and of each call "used", "held back" or "".

    Raises
    ------
    InvalidValue : there is no such model or workspace.
    """
    names = [model.id for model in CHAT]
    for field, value, known in (
        ("use", one.use, names),
        ("workspace", one.workspace, [habits.name for habits in WORKSPACES]),
    ):
        if value not in known:
            raise InvalidValue(
                f"{field}={value!r} is not of the demo world.",
                remedy=f"Use one of {', '.join(known)}.",
                field=field,
                value=value,
            )
    use, place = names.index(one.use), [habits.name for habits in WORKSPACES].index(one.workspace)
    begins = int(one.since.replace(tzinfo=UTC).timestamp() * 1e6)
    complexities = [COMPLEXITIES.index(name) for name in one.complexities]
    concerned = (
        (calls.workspace == place)
        & (calls.asked == one.asked)
        & (calls.at >= begins)
        & np.isin(choices.complexity, complexities)
        & ~calls.embeds
    )
    drawn = np.array([bool(hit) and fraction(seed, "held back", n) < one.held_back for n, hit in enumerate(concerned)])
    used = concerned & ~drawn
    part = np.where(used, "used", np.where(concerned, "held back", ""))
    answers = used & (tried.answered == choices.chosen)
    slower = np.where(answers, happened.slower(one.use, calls.at), tried.slower)
    share = 1.0 - one.held_back
    propensity = np.where(used, choices.propensity * share, choices.propensity)
    return (
        replace(
            choices,
            chosen=np.where(used, use, choices.chosen),
            propensity=np.where(part == "held back", propensity * one.held_back, propensity),
        ),
        replace(tried, answered=np.where(answers, use, tried.answered), slower=slower),
        part,
    )
