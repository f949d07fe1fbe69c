"""Prompts are shortened by the API, and held-out ones are answered both ways through the gateway."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest

from features.world.llm.prompts import RULES
from features.world.llm.tasks import draw
from gateway.improve.prompts.validation import validate
from store.errors import InvalidValue
from tests.integration.serving_llm.conftest import Api

MODEL = "simulated/small"
NOISY = "  \n\n\n\n".join((*RULES, *RULES)).replace(". ", ".   ")


def held_out(count: int, seed: int) -> list[dict[str, Any]]:
    """Requests with instructions that say everything twice, and tasks of the demo world."""
    rng = random.Random(seed)
    tasks = [draw(rng, domain, "simple") for domain in ("extraction", "math", "knowledge", "writing")]
    tasks += [draw(rng, "math", "moderate") for _ in range(count - len(tasks))]
    return [
        {"messages": [{"role": "system", "content": NOISY}, {"role": "user", "content": task.prompt}]} for task in tasks
    ]


def test_the_api_tells_what_went_and_what_it_saves_at_each_model_of_the_caller(api: Api) -> None:
    body = held_out(4, 0)[0]
    told = api.post("application@north", "/v1/prompts/optimise", {"request": {**body, "temperature": 0.3}})
    assert told["tokens_after"] < 0.7 * told["tokens_before"]
    assert {one["what"] for one in told["changes"]} == {"blanks", "repeats"}
    assert told["request"]["temperature"] == 0.3
    assert told["request"]["messages"][1] == body["messages"][1]
    costs = {row["model"]: row for row in told["costs"]}
    saved = told["tokens_before"] - told["tokens_after"]
    assert costs["simulated/large"]["saved"] == pytest.approx(saved * 3_000 / 1e9)
    assert "simulated/embed" not in costs
    alone = api.post("application@north", "/v1/prompts/optimise", {"text": f"Today is 2026-11-30.\n\n{RULES[1]}"})
    assert alone["text"] == f"{RULES[1]}\n\nToday is 2026-11-30."
    assert alone["stable_after"] > alone["stable_before"] == 0


@pytest.mark.parametrize("body", [{}, {"text": "a", "request": {"messages": []}}, {"text": "a", "what": 1}])
def test_what_is_not_asked_rightly_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert api.ask("application@north", "POST", "/v1/prompts/optimise", json=body).status_code == 422


def test_held_out_prompts_are_answered_as_well_and_a_harmful_change_is_noticed(api: Api) -> None:
    async def ask(model: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await asyncio.to_thread(
            api.post, "application@north", "/v1/chat/completions", dict(request)
        )
        return answer

    prompts = held_out(16, 1)
    (found,) = asyncio.run(validate(prompts, [MODEL], ask))
    assert (found.model, found.prompts) == (MODEL, 16)
    assert found.tokens_after < found.tokens_before
    assert found.low <= found.difference <= found.high
    assert found.difference == pytest.approx(found.score_after - found.score_before)
    assert found.verdict != "worse"

    # An answer that only the whole prompt gets: the shorter one is worse, and it says so.
    async def forgetful(_: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        whole = request["messages"][0]["content"] == NOISY
        content = "yes" if whole else "no"
        return {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]
        }

    (worse,) = asyncio.run(validate(prompts, [MODEL], forgetful, score=lambda _, answer: float(answer == "yes")))
    assert (worse.difference, worse.verdict) == (-1.0, "worse")
    with pytest.raises(InvalidValue, match="become shorter"):
        asyncio.run(validate([{"messages": [{"role": "user", "content": "Hello"}]}], [MODEL], ask))
