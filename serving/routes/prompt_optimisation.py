"""Shorter prompts at the same meaning: what would go, why, and what it would save at each model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from gateway.improve.prompts.optimise import Options, optimise
from serving.dependencies import Application, GatewayDep
from store.errors import MissingColumn

router = APIRouter(prefix="/v1/prompts", tags=["Money"])

_EXAMPLES: dict[str, Any] = {
    "a request": {
        "value": {
            "request": {
                "messages": [
                    {"role": "system", "content": "Be polite and brief.   \n\n\n\nBe polite and brief."},
                    {"role": "user", "content": "What is a heat pump?"},
                ]
            }
        }
    },
    "instructions alone": {"value": {"text": "Today is 2026-11-30.\n\nYou answer customers of an energy company."}},
}


class OptimiseRequest(BaseModel):
    """A request of OpenAI's shape, or instructions alone."""

    model_config = ConfigDict(extra="forbid")

    request: dict[str, Any] | None = Field(default=None, description="Body of a chat completion")
    text: Annotated[str | None, Field(min_length=1, description="A system prompt that stands alone")] = None
    repeated_data: bool = Field(
        default=False, description="Leave out repeated passages also where they hold code, quotations or data"
    )
    history: Annotated[int | None, Field(ge=1, le=10_000)] = Field(
        default=None, description="Messages at the end that stay whole; answers before them are compacted. null: all"
    )
    order: bool = Field(default=True, description="Move what changes with every call behind what is always the same")


class ChangeAnswer(BaseModel):
    """One change, and why."""

    what: Literal["blanks", "repeats", "history", "order"]
    message: int = Field(description="Its number in the request, from 0")
    tokens: int = Field(description="That went; 0 of what only moved")
    words: str


class CostAnswer(BaseModel):
    """Dollars of the prompt at a model."""

    model: str
    before: float
    after: float
    after_cached: float = Field(description="Once the provider has the stable beginning in its cache")
    saved: float


class OptimiseAnswer(BaseModel):
    """The shorter prompt. Code, quotations and data in it are as they were, byte for byte."""

    request: dict[str, Any] | None
    text: str | None
    tokens_before: int
    tokens_after: int
    stable_before: int = Field(description="Tokens at the beginning that are the same in every call")
    stable_after: int
    changes: list[ChangeAnswer]
    costs: list[CostAnswer] = Field(description="At each model that the caller may use, the largest saving first")


@router.post("/optimise", summary="Shorten a prompt")
def shorten(
    body: Annotated[OptimiseRequest, Body(openapi_examples=_EXAMPLES)], services: GatewayDep, caller: Application
) -> OptimiseAnswer:
    """Fewer tokens at the same meaning. Nothing is asked of any model, and nothing is kept."""
    if (body.request is None) == (body.text is None):
        raise MissingColumn(
            "Exactly one of `request` and `text` is needed.",
            remedy="Send the body of a chat completion as `request`, or instructions alone as `text`.",
            field="request",
        )
    given = body.request
    if given is None:
        given = {"messages": [{"role": "system", "content": body.text}]}
    options = Options(repeated_data=body.repeated_data, history=body.history, order=body.order)
    found = optimise(given, options)
    known = services.gateway.parts.configuration.models
    offered = {str(one["id"]) for one in services.gateway.offered(caller.tenant)}
    return OptimiseAnswer(
        request=found.body if body.text is None else None,
        text=None if body.text is None else str(found.body["messages"][0]["content"]),
        tokens_before=found.tokens_before,
        tokens_after=found.tokens_after,
        stable_before=found.stable_before,
        stable_after=found.stable_after,
        changes=[ChangeAnswer(**one.to_dict()) for one in found.changes],
        costs=[CostAnswer(**row) for row in found.costs(one for name, one in known.items() if name in offered)],
    )
