"""A question about the platform's own numbers, put to several models side by side, and one checked answer of theirs.

Each model is asked through the gateway like everybody: budgets, filters, the ledger and what the workspace may use
hold. A model that fails is told beside those that answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from gateway.account.contents import Contents, answer_row
from gateway.choose.ensemble import MOST_MEMBERS
from gateway.prompt import Limits, Options, Prompt, Tenant
from models.insights.agreement import Answered as Said
from models.insights.agreement import Joint, join
from models.insights.asking import messages
from models.insights.checking import Verdict, check
from models.insights.row import Row
from store import insights as stored
from store.errors import GatewayError, UpstreamFailed
from store.insights import Insight, Words
from store.settings import Settings
from store.tables.base import new_id, utc_now

if TYPE_CHECKING:
    from gateway.gateway import Answered, Gateway
    from models.insights.gathering import Gathered

ENSEMBLE = "ensemble/majority"
_MOST_TOKENS = 700
TAG = "insights"

# `Gateway.answer`
Ask = Callable[[Prompt], Awaitable["Answered"]]


@dataclass(frozen=True)
class Member:
    """One model and what became of its answer.

    Attributes
    ----------
    call : id of its call.
    text : as it was given; "" where it failed.
    verdict : None where it failed.
    error : why.
    cost : nanos.
    """

    model: str
    call: str
    text: str = ""
    verdict: Verdict | None = None
    error: str | None = None
    cost: int = 0
    took_ms: float = 0.0

    def state(self, joint: Joint) -> str:
        """ "used" or "agrees" (with every sentence), "partly" (with some), "other" (says something else), "untold",
        "refused" or "failed"."""
        if self.verdict is None:
            return "failed"
        if self.verdict.refused is not None:
            return "refused"
        if not self.verdict.kept:
            return "untold"
        backed = [one for one in joint.sentences if self.model in one.models]
        if any(one.models[0] == self.model for one in joint.sentences):
            return "used"
        return "agrees" if backed and len(backed) == len(joint.sentences) else "partly" if backed else "other"

    def to_dict(self, joint: Joint, *, words: bool) -> dict[str, Any]:
        """JSON-ready; without what anybody said unless `words`."""
        verdict = self.verdict
        told: dict[str, Any] = {
            "model": self.model,
            "call": self.call,
            "state": self.state(joint),
            "kept": len(verdict.kept) if verdict is not None else 0,
            "removed": len(verdict.removed) if verdict is not None else 0,
            "agrees_with": sum(self.model in one.models for one in joint.sentences),
            "error": self.error,
            "cost": self.cost / 1e9,
            "took_ms": round(self.took_ms, 1),
        }
        if words:
            told["refused"] = verdict.refused if verdict is not None else None
            told["removed_sentences"] = [
                {"text": one.text, "reason": one.reason} for one in (verdict.removed if verdict is not None else ())
            ]
        return told


@dataclass(frozen=True)
class Found:
    """The answer to a question.

    Attributes
    ----------
    insight : as it is kept.
    joint : the one answer.
    """

    insight: Insight
    question: str
    gathered: Gathered
    members: tuple[Member, ...]
    joint: Joint

    def told(self) -> dict[str, Any]:
        """Everything that was said, JSON-ready."""
        return {
            "question": self.question,
            "answer": self.joint.text,
            "sentences": [
                {"text": one.text, "rows": [f"r{number}" for number in one.rows], "models": list(one.models)}
                for one in self.joint.sentences
            ],
            "members": [one.to_dict(self.joint, words=True) for one in self.members],
            "rows": [row.to_dict() for row in self.gathered.rows],
            "aliases": dict(self.gathered.aliases),
        }


async def ask_models(
    gateway: Gateway,
    settings: Settings,
    gathered: Gathered,
    question: str,
    *,
    tenant: Tenant,
    caller: str,
    workspace: str | None = None,
    models: Sequence[str] = (),
    max_cost: float | None = None,
) -> Found:
    """Ask, check, put together, and keep what the workspace keeps.

    Parameters
    ----------
    tenant : who pays.
    workspace : the only one whose rows were gathered; None: all.
    models : names as the field `model` of a request takes them, two or more; empty: the three best for the question.
    max_cost : dollars, of all models together.

    Raises
    ------
    GatewayError : no model answered; of several reasons the first one's.
    InvalidValue : what is named is no model.
    """
    asked_id = new_id()
    body: dict[str, Any] = {
        "messages": messages(question, gathered.rows), "temperature": 0, "max_tokens": _MOST_TOKENS,
    }  # fmt: skip
    prompt = Prompt(
        id=asked_id,
        tenant=tenant,
        kind="chat",
        model=ENSEMBLE,
        body={**body, "model": ENSEMBLE},
        limits=Limits(max_cost=max_cost),
        options=Options(explore=False, tags=(TAG,), members=tuple(models[:MOST_MEMBERS])),
    )
    decision = await asyncio.to_thread(gateway.decide, prompt)
    names = list(dict.fromkeys(one.model.id for one in decision.ranked))
    share = None if max_cost is None else max_cost / len(names)
    members = await asyncio.gather(*(_ask(gateway.answer, prompt, name, share, gathered.rows) for name in names))
    joint = join([Said(one.model, one.verdict) for one in members if one.verdict is not None])
    found = _found(asked_id, question, gathered, members, joint, tenant, caller, workspace)
    await asyncio.to_thread(_keep, gateway, settings, found)
    return found


async def _ask(ask: Ask, whole: Prompt, model: str, share: float | None, rows: Sequence[Row]) -> Member | _Failed:
    prompt = replace(
        whole,
        id=new_id(),
        model=model,
        body={**whole.body, "model": model},
        limits=Limits(max_cost=share),
        # Another model in its place would be asked twice.
        options=Options(explore=False, fallbacks=False, tags=(TAG,)),
    )
    begun = time.monotonic()
    try:
        answered = await ask(prompt)
    except GatewayError as error:
        return _Failed(model, prompt.id, error=error.message, raised=error)
    text = _said(answered.body)
    took = 1_000.0 * (time.monotonic() - begun)
    return Member(model, prompt.id, text, check(text, rows), cost=answered.run.cost, took_ms=took)


@dataclass(frozen=True)
class _Failed(Member):
    raised: GatewayError | None = None


def _said(body: Mapping[str, Any]) -> str:
    """What an answer says, without its thoughts: they cite nothing."""
    choices: Sequence[Mapping[str, Any]] = body.get("choices") or ({},)
    return str((choices[0].get("message") or {}).get("content") or "")


def _found(
    asked_id: str, question: str, gathered: Gathered, members: Sequence[Member], joint: Joint, tenant: Tenant,
    caller: str, workspace: str | None,
) -> Found:  # fmt: skip
    verdicts = [one.verdict for one in members if one.verdict is not None]
    if not verdicts:
        first = next((one.raised for one in members if isinstance(one, _Failed)), None)
        raise first or UpstreamFailed("No model answered.", remedy="Try again later.", field="models")
    status = "answered" if joint.sentences else "refused"
    if not joint.sentences and all(one.untold and one.refused is None for one in verdicts):
        status = "untold"
    insight = Insight(
        id=asked_id,
        at=utc_now(),
        workspace=workspace,
        asked_in=tenant.workspace,
        status=status,
        kept=len(joint.sentences),
        removed=sum(len(one.removed) for one in verdicts),
        rows_shown=len(gathered.rows),
        agreement=joint.agreement,
        cost=sum(one.cost for one in members),
        members=[one.to_dict(joint, words=False) for one in members],
        people=gathered.people,
        caller=caller,
    )
    return Found(insight, question, gathered, tuple(members), joint)


def _keep(gateway: Gateway, settings: Settings, found: Found) -> None:
    """What the workspace that asked keeps of words; what it took is kept always."""
    name, insight = found.insight.asked_in, found.insight
    contents, wanted = gateway.parts.contents, gateway.parts.workspaces.get(name)
    told = found.told()
    asked = {"question": told.pop("question"), "rows": told.pop("rows"), "aliases": told.pop("aliases")}
    sealed = contents.seal(wanted, name, insight.id, orjson.dumps(asked))
    answered = contents.seal(wanted, name, answer_row(insight.id), orjson.dumps(told))
    words = Words(sealed[0], sealed[1], answered[1]) if sealed is not None and answered is not None else None
    stored.create(settings, insight, words)


def read_words(contents: Contents, insight: Insight) -> dict[str, Any] | None:
    """What was asked and answered, as `Found.told` says it; None where it is not kept, or no longer.

    Raises
    ------
    SettingsError, IntegrityFailed : it cannot be decrypted.
    """
    said = contents.said(insight.asked_in, insight.id)
    return None if said is None else {**said["prompt"], **(said["answer"] or {})}
