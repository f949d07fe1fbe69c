"""Calls of the gateway as answers: a line of the ledger, and everything about one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from gateway.account.contents import Contents
from gateway.money import dollars
from serving.access import Caller
from serving.dependencies import GatewayServices
from serving.llm_scope import Scope
from serving.moments import Moment
from store import llm_calls, llm_feedback
from store.errors import MeritError

_TOKENS = ("input", "cached", "cache_write", "output", "reasoning", "audio_input", "audio_output")


class TokensAnswer(BaseModel):
    """What was used; cached and reasoning tokens are parts of input and output."""

    input: int
    cached: int
    cache_write: int
    output: int
    reasoning: int
    audio_input: int
    audio_output: int
    estimated: bool = Field(description="Counted by the gateway, since the provider told nothing")


class RunAnswer(BaseModel):
    """A call, as the ledger has it. Money in dollars."""

    id: str
    at: Moment
    organisation: str
    workspace: str
    project: str | None
    user: str | None = Field(description="For whom, as the application named them")
    key_id: str | None
    key_name: str | None
    kind: str = Field(description="chat or embeddings")
    asked: str = Field(description="What the field `model` of the request said")
    strategy: str
    outcome: str = Field(description="ok, cached, failed, broken, cancelled, refused or unknown")
    model: str | None = Field(description="That answered, or was tried last")
    provider: str | None
    tokens: TokensAnswer
    cost: float
    reserved: float = Field(description="Set aside before the call")
    latency_ms: float
    first_token_ms: float | None
    overhead_ms: float | None = Field(description="Of the latency, what the gateway itself took")
    stream: bool
    error: str | None
    finish_reason: str | None
    complexity: str | None
    domain: str | None
    confidence: float | None
    explored: bool
    policy: str | None
    cache: str | None
    parent: str | None = Field(description="Of a member of an ensemble, the ensemble's call")
    conversation: str | None
    batch: str | None
    request_id: str | None
    quality: float | None
    tags: list[str]


class RunPage(BaseModel):
    """Calls, newest first."""

    runs: list[RunAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")
    complete: bool = Field(description="False while the ledger cannot be written: the newest calls are missing")


class Words(BaseModel):
    """What was said."""

    prompt: dict[str, Any]
    answer: dict[str, Any] | None


class JudgementAnswer(BaseModel):
    """What somebody thought of an answer."""

    id: str
    call_id: str
    workspace: str
    user: str | None
    score: float = Field(description="0 to 1")
    source: str = Field(description="thumb, stars, score or edit; repeat: the same was asked again at once")
    comment: str | None
    at: Moment
    reported_by: str | None


class RunDetail(RunAnswer):
    """Everything about a call."""

    decision: dict[str, Any] | None = Field(description="As `POST /v1/llm/route` answers it")
    attempts: list[dict[str, Any]] = Field(description="Every call of a provider, in order")
    extra: dict[str, Any] = Field(description="Votes, a downgrade, and what else happened")
    members: list[RunAnswer] = Field(description="Of an ensemble")
    feedback: list[JudgementAnswer]
    words: Words | None
    words_missing: str | None = Field(description="Why there are no words")


def run(line: Mapping[str, Any]) -> RunAnswer:
    """A line of the ledger as an answer."""
    return RunAnswer(**_fields(line))


def page(services: GatewayServices, scope: Scope, **query: Any) -> RunPage:
    """Lines that a caller may see; see `store.llm_calls.calls`."""
    complete = flushed(services)
    found = llm_calls.calls(services.settings, workspace=scope.workspace, **query)
    return RunPage(runs=[run(line) for line in found.items], next_cursor=found.next_cursor, complete=complete)


def line_of(services: GatewayServices, scope: Scope, call_id: str) -> dict[str, Any]:
    """One line that a caller may see.

    Raises
    ------
    UnknownEntity : there is none; what others asked for is not even said to exist.
    """
    flushed(services)
    line = llm_calls.get(services.settings, call_id, scope.workspace)
    if scope.key_id is not None and line["key_id"] != scope.key_id:
        raise llm_calls.unknown(call_id)
    return line


def detail(services: GatewayServices, scope: Scope, caller: Caller, call_id: str) -> RunDetail:
    """Everything about one call; its words for the key that said them and for admins.

    Raises
    ------
    UnknownEntity : there is no such call that the caller may see.
    """
    line = line_of(services, scope, call_id)
    members = llm_calls.calls(services.settings, filters={"parent": line["id"]}, limit=50)
    given = llm_feedback.judgements(services.settings, call_id=line["id"], limit=100)
    words, missing = _words(services, line, caller)
    return RunDetail(
        **_fields(line),
        decision=line["decision"],
        attempts=line["attempts"],
        extra=line["extra"] or {},
        members=[run(one) for one in members.items],
        feedback=[judgement(one) for one in given.items],
        words=words,
        words_missing=missing,
    )


def judgement(found: llm_feedback.Judgement) -> JudgementAnswer:
    """Feedback as an answer."""
    return JudgementAnswer(**{name: getattr(found, name) for name in JudgementAnswer.model_fields})


def flushed(services: GatewayServices) -> bool:
    """Wait until every call that has ended is in the database; False where that cannot be."""
    return not services.llm.runs or services.gateway.parts.ledger.flush()


def _words(services: GatewayServices, line: Mapping[str, Any], caller: Caller) -> tuple[Words | None, str | None]:
    if caller.role != "admin" and (caller.key_id is None or line["key_id"] != caller.key_id):
        return None, "They are shown to the key that said them, and to admins."
    contents = services.gateway.parts.contents if services.llm.runs else Contents(services.settings)
    try:
        said = contents.said(line["workspace"], line["id"])
    except MeritError as error:
        return None, f"They cannot be read: {error.message}"
    return (None, "They were not kept, or are no longer.") if said is None else (Words(**said), None)


def _fields(line: Mapping[str, Any]) -> dict[str, Any]:
    tokens = {name: line[f"{name}_tokens"] for name in _TOKENS}
    return {
        **{name: line[name] for name in RunAnswer.model_fields if name in line},
        "tokens": TokensAnswer(**tokens, estimated=line["estimated"]),
        "cost": dollars(line["cost"]),
        "reserved": dollars(line["reserved"]),
    }
