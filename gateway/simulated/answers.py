"""The answer of a model: a function of seed, model and prompt, within the limits that the request sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import orjson

from features.world.llm.answers import closed_answer, open_answer, thoughts
from features.world.llm.models import SimulatedModel, chance, item_effect, logit
from features.world.llm.task import Task, drawn_from, final, fraction
from features.world.llm.tasks import recognise
from features.world.llm.tokens import count, cut
from gateway.simulated import tools
from gateway.simulated.asked import Asked
from gateway.simulated.grounded import Cited, grounded_answer, rows_of
from gateway.simulated.schema import fill, spoil

# What models add to JSON when nothing is asked of it but to be JSON.
_ANSWER = "answer"
_MOST_KEPT = 4_096


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model says.

    Attributes
    ----------
    tool : (name, arguments as JSON) of the tool that it calls instead of saying something.
    finish : "stop", "length" or "tool_calls".
    output : tokens, those of `reasoning` among them.
    """

    text: str
    reasoning: str
    tool: tuple[str, str] | None
    finish: str
    output: int
    reasoning_tokens: int


class Answers:
    """Answers to requests. The same request is answered in the same way, unless it asks for chance by a temperature.

    Parameters
    ----------
    seed : of the world; the item effects are those of `features.world.llm`.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._kept: dict[tuple[Any, ...], Reply] = {}

    def clear(self) -> None:
        """Forget answers: a model was adjusted."""
        self._kept.clear()

    def reply(self, model: SimulatedModel, asked: Asked, shift: float = 0.0, variant: object = 0) -> Reply:
        """What the model says.

        Parameters
        ----------
        shift : logits added to the model's skill.
        variant : which of the answers that chance allows; the same one gives the same answer.
        """
        if asked.tools or asked.schema is not None or asked.tool_result is not None or len(asked.text) > 4_000:
            return self._limited(self._made(model, asked, shift, variant), asked, model)
        key = (model.id, asked.text, shift, variant, asked.max_tokens, asked.stop, asked.thinking)
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            kept = self._kept[key] = self._limited(self._made(model, asked, shift, variant), asked, model)
        return kept

    def _made(self, model: SimulatedModel, asked: Asked, shift: float, variant: object) -> Reply:
        if rows := rows_of(asked.text):
            return self._grounded(model, asked, rows, shift, variant)
        task = recognise(asked.text)
        own = chance(logit(model, task.domain, task.complexity, shift) - item_effect(self.seed, task.prompt))
        luck = fraction(self.seed, model.id, task.prompt, variant)
        rng = drawn_from(luck)
        if (called := tools.call(asked, luck < own, rng)) is not None:
            tool, arguments = called
            return Reply("", "", (tool.name, arguments), "tool_calls", count(arguments) + count(tool.name) + 8, 0)
        text = self._text(model, asked, task, own, luck, rng)
        reasoning = ""
        if model.thinking and asked.thinking:
            reasoning = thoughts(task, len(text.split()), model.thinking, rng)
        thought = count(reasoning) if reasoning else 0
        return Reply(text, reasoning, None, "stop", count(text) + thought, thought)

    def _grounded(self, model: SimulatedModel, asked: Asked, rows: list[Cited], shift: float, variant: object) -> Reply:
        """About rows of numbers. Reading them is a moderate analysis, however many there are."""
        own = chance(logit(model, "analysis", "moderate", shift) - item_effect(self.seed, asked.text))
        luck = fraction(self.seed, model.id, asked.text, variant)
        text = grounded_answer(rows, luck < own, drawn_from(luck))
        return Reply(text, "", None, "stop", count(text), 0)

    def _text(self, model: SimulatedModel, asked: Asked, task: Task, own: float, luck: float, rng: Random) -> str:
        if asked.tool_result is not None:
            return tools.told(*asked.tool_result)
        if asked.schema is not None:
            return _json(asked.schema, task, luck < own, rng)
        if task.closed:
            return closed_answer(task, luck < own, rng, model.wordiness)
        return open_answer(task, own, rng, model.wordiness)

    def _limited(self, reply: Reply, asked: Asked, model: SimulatedModel) -> Reply:
        text = reply.text
        for stop in filter(None, asked.stop):
            text = text.partition(stop)[0]
        if text != reply.text:
            reply = replace(reply, text=text, output=count(text) + reply.reasoning_tokens)
        most = min(asked.max_tokens or model.max_output, model.max_output)
        if reply.output <= most or reply.tool is not None:
            return reply
        if reply.reasoning_tokens >= most:
            return replace(
                reply,
                text="",
                reasoning=cut(reply.reasoning, most),
                finish="length",
                output=most,
                reasoning_tokens=most,
            )
        return replace(reply, text=cut(text, most - reply.reasoning_tokens), finish="length", output=most)


def _json(schema: Mapping[str, Any], task: Task, right: bool, rng: Random) -> str:
    """The answer as JSON. A model that is not right answers the wrong thing, in the wrong shape, or breaks off."""
    said = None
    if task.closed:
        said = final(closed_answer(replace(task, terse=True), right, rng, 0.5))
    elif not schema:
        said = open_answer(task, float(right), rng, 0.5)
    value = fill(schema, task.prompt, said) if schema else {_ANSWER: said}
    way = rng.random()
    if schema and not right and (not task.closed or way < 0.5):
        value = spoil(value, schema, rng)
    text = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    return text[: max(1, len(text) * 2 // 3)] if not right and way > 0.9 else text
