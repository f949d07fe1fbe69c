"""What a model answered in the demo world's past, and how good that was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.world.business import Array
from features.world.llm.answers import closed_answer, open_answer
from features.world.llm.logging_policy import CHAT
from features.world.llm.models import SimulatedModel
from features.world.llm.open_tasks import covered
from features.world.llm.task import Task, drawn_from
from features.world.llm.tokens import count

# Words of an answer that says more than the bare result.
_WORDS_AROUND = 14
_TOKENS_PER_WORD = 1.3
_HARDER = {"simple": 0.5, "moderate": 1.0, "complex": 1.5, "expert": 2.5}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes
    ----------
    quality : 0 to 1, what it truly is worth.
    output : tokens, those of the reasoning among them.
    """

    text: str
    quality: float
    output: int
    reasoning: int


def reply_to(model: SimulatedModel, task: Task, chance: float, *seed: object) -> Reply:
    """An answer that is right, or speaks of each part, with a chance."""
    rng = drawn_from(*seed)
    if task.closed:
        right = rng.random() < chance
        text, quality = closed_answer(task, right, rng, model.wordiness), float(right)
    else:
        text = open_answer(task, chance, rng, model.wordiness)
        quality = covered(task, text)
    shown = count(text)
    thought = round(model.thinking * _HARDER[task.complexity] * max(shown, 16)) if model.thinking else 0
    return Reply(text, quality, shown + thought, thought)


def expected_tokens(task: Task) -> Array:
    """Tokens to be expected of each model's answer, in the order of `CHAT`."""
    bare = count(task.right) if task.closed else 0
    tokens = np.empty(len(CHAT))
    for number, model in enumerate(CHAT):
        if not task.closed:
            shown = task.words * model.wordiness * _TOKENS_PER_WORD
        elif task.terse or task.kind == "function":
            shown = bare
        else:
            shown = bare + _WORDS_AROUND * model.wordiness * (model.wordiness > 0.8)
        tokens[number] = shown + model.thinking * _HARDER[task.complexity] * max(shown, 16)
    return tokens
