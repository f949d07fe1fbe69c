"""What is true of the simulated models and of their answers: for tests and benchmarks, never for the gateway."""

from __future__ import annotations

from features.world.llm import models, tasks
from features.world.llm.offers import MODELS
from features.world.llm.task import Task
from store.errors import UnknownLlm


def true_quality(model: str, domain: str, complexity: str, shift: float = 0.0) -> float:
    """Expected quality of a model, `simulated/nano`, over all prompts of a domain and complexity.

    Parameters
    ----------
    shift : logits by which its quality was adjusted.

    Raises
    ------
    UnknownLlm : there is no such simulated model.
    """
    if model not in MODELS:
        raise UnknownLlm(
            f"There is no simulated model {model!r}.",
            remedy=f"Use one of {', '.join(MODELS)}.",
            field="model",
            value=model,
        )
    return models.true_quality(MODELS[model], domain, complexity, shift)


def grade(prompt: str | Task, answer: str) -> float:
    """How good an answer is, 0 to 1: right or wrong, or the share of what was to be spoken of that was."""
    return tasks.grade(tasks.recognise(prompt) if isinstance(prompt, str) else prompt, answer)
