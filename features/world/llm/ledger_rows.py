"""Calls of the demo world as the gateway's tables hold them: a line of the ledger, the words, a judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import orjson

from features.world.llm.attempts import Failure
from features.world.llm.logging_policy import CHAT, NAME, Choices, strategy_of
from features.world.llm.task import COMPLEXITIES, fraction
from features.world.llm.tasks import DOMAINS
from features.world.llm.workspaces import ORGANISATION, Habits
from store.database import session
from store.llm_calls import COLUMNS
from store.settings import Settings
from store.tables.gateway import FeedbackRow

_RANKED = 4
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended.

    Attributes
    ----------
    model : id of the model that answered or was tried last; None where none was asked.
    latency_ms : from the request to the end, all attempts together.
    """

    outcome: str
    latency_ms: float
    overhead_ms: float
    model: str | None = None
    error: str | None = None
    finish: str | None = None
    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    cost: int = 0
    reserved: int = 0
    first_ms: float | None = None
    failed: tuple[Failure, ...] = ()


def call_id(seed: int, at: int, number: int) -> str:
    """32 hex digits that sort by time and are the same for the same seed."""
    tail = int(fraction(seed, "call", number) * 2**53)
    return f"{at // 1000:012x}7{at % 1000 * 4:03x}8{tail:015x}"


def moment(at: float) -> str:
    """Microseconds since 1970 as the ledger writes moments."""
    return (_EPOCH + timedelta(microseconds=int(at))).isoformat(" ", "microseconds")


def ledger_row(
    call: str,
    at: int,
    habits: Habits,
    user: str,
    asked: str,
    row: int,
    choices: Choices,
    ended: Ended,
    *,
    streamed: bool,
    embeds: bool,
    tokens: int,
    conversation: str | None,
    extra: Mapping[str, Any] | None = None,
) -> tuple[Any, ...]:
    """One line, in the order of `store.llm_calls.COLUMNS`."""
    told = None if embeds else decision(call, asked, row, choices, tokens)
    values: dict[str, Any] = {
        "id": call,
        "at": moment(at),
        "organisation": ORGANISATION,
        "workspace": habits.name,
        "project": habits.project,
        "user": user,
        "key_id": key_id(habits.name),
        "key_name": f"{habits.name}-app",
        "kind": "embeddings" if embeds else "chat",
        "asked": asked,
        "strategy": strategy_of(asked),
        "outcome": ended.outcome,
        "model": ended.model,
        "provider": ended.model.partition("/")[0] if ended.model else None,
        "input_tokens": ended.input,
        "cached_tokens": ended.cached,
        "output_tokens": ended.output,
        "reasoning_tokens": ended.reasoning,
        "cost": ended.cost,
        "reserved": ended.reserved,
        "latency_ms": round(ended.latency_ms, 2),
        "first_token_ms": None if ended.first_ms is None else round(ended.first_ms, 2),
        "overhead_ms": round(ended.overhead_ms, 3),
        "stream": streamed,
        "error": ended.error,
        "finish_reason": ended.finish,
        "propensity": 1.0,
        "explored": False,
        "estimated": False,
        "conversation": conversation,
        "tags": "[]",
        "attempts": _tried(ended),
        "extra": None if extra is None else orjson.dumps(extra).decode(),
    }
    if told is not None:
        values |= {
            "complexity": told["task"]["complexity"],
            "domain": told["task"]["domain"],
            "confidence": told["confidence"],
            "propensity": told["propensity"],
            "explored": told["explored"],
            "policy": NAME,
            "decision": orjson.dumps(told).decode(),
        }
    return tuple(values.get(name, 0 if name in _COUNTS else None) for name in COLUMNS)


_COUNTS = frozenset(name for name in COLUMNS if name.endswith("_tokens"))


def decision(call: str, asked: str, row: int, choices: Choices, tokens: int) -> dict[str, Any]:
    """What `Decision.explain()` of the gateway says of a call: the chosen model first, then the next best."""
    score, chosen = choices.score[row], int(choices.chosen[row])
    explicit = "/" in asked
    order = [] if explicit else sorted(range(len(CHAT)), key=lambda number: -score[number])
    ranked = [chosen, *(one for one in order if one != chosen and choices.allowed[row, one])][:_RANKED]
    complexity, domain = COMPLEXITIES[choices.complexity[row]], DOMAINS[choices.domain[row]]
    explored = bool(choices.explored[row])
    why = "tried to learn of it" if explored else "asked for by name" if explicit else f"first for {asked}"
    return {
        "id": call,
        "asked": asked,
        "strategy": strategy_of(asked),
        "model": CHAT[chosen].id,
        "reason": f"{CHAT[chosen].id} is {why} on a {complexity} {domain} task.",
        "confidence": round(float(choices.quality[row, chosen]), 3),
        "policy": NAME,
        "propensity": round(float(choices.propensity[row]), 6),
        "explored": explored,
        "task": {"complexity": complexity, "domain": domain, "needs": ["chat"], "input_tokens": tokens},
        "candidates": [
            {
                "model": CHAT[one].id,
                "score": round(float(score[one]), 4),
                "quality": round(float(choices.quality[row, one]), 4),
                "cost": round(float(choices.cost[row, one])) / 1e9,
                "latency_ms": round(float(choices.latency_ms[row, one]), 1),
            }
            for one in ranked
        ],
        "excluded": {},
    }


def content_row(
    call: str, at: int, habits: Habits, user: str, messages: Sequence[Mapping[str, Any]], model: str, answer: str | None
) -> tuple[Any, ...]:
    """What was said: request and answer in OpenAI's shape."""
    body = orjson.dumps({"model": model, "messages": list(messages)})
    said = None
    if answer is not None:
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        said = orjson.dumps(
            {"id": f"chatcmpl-{call}", "object": "chat.completion", "model": model, "choices": [choice]}
        )
    return call, moment(at), habits.name, user, None, body, said


def insert_feedback(settings: Settings, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write judgements; those that are there already are left as they are.

    Parameters
    ----------
    rows : id, call_id, workspace, user, score, source, comment, at (text), reported_by.
    """
    names = ("id", "call_id", "workspace", "user_name", "score", "source", "comment", "at", "reported_by")
    with session(settings) as opened:
        connection = opened.connection()
        place = "?" if connection.dialect.name == "sqlite" else "%s"
        statement = (
            f"INSERT INTO {FeedbackRow.__tablename__} ({', '.join(names)}) "  # noqa: S608
            f"VALUES ({', '.join([place] * len(names))}) ON CONFLICT (id) DO NOTHING"
        )
        for begin in range(0, len(rows), 1_000):
            connection.exec_driver_sql(statement, list(rows[begin : begin + 1_000]))


@cache
def key_id(workspace: str) -> str:
    """Id of the API key of a workspace's application."""
    return f"{int(fraction('key', workspace) * 2**53):032x}"


def _tried(ended: Ended) -> str:
    failures, begun = [], 0.0
    for one in ended.failed:
        failures.append(
            {
                "model": CHAT[one.model].id,
                "started_ms": round(begun, 2),
                "took_ms": round(one.took_ms, 2),
                "failure": one.kind,
                "status": one.status,
                "cost": 0.0,
            }
        )
        begun += one.took_ms
    if ended.outcome in ("ok", "cancelled") and ended.model is not None:
        took = round(ended.latency_ms - begun, 2)
        failures.append(
            {"model": ended.model, "started_ms": round(begun, 2), "took_ms": took, "cost": ended.cost / 1e9}
        )
    return orjson.dumps(failures).decode()
