"""A recommendation that is followed: what the gateway can set, it sets; what it cannot, somebody is told to do.

| kind | accepting sets | reverting |
|---|---|---|
| cheaper model, provider switch | a rule: another model answers such calls, a tenth held back | takes it out |
| cache | the workspace's exact cache | puts back what was set before |
| prompt trimming, batch | nothing: programs send other requests, which is theirs to change | nothing |
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.account.contents import Contents
from gateway.account.workspace_settings import as_json
from gateway.account.workspaces import Workspaces
from gateway.call.cache import TTL_S
from gateway.call.cache_key import IRRELEVANT, digest
from gateway.choose.substitution import HELD_BACK
from gateway.improve.prompts.optimise import optimise
from models.spend.recommending.look import Means
from store import spend_recommendations as stored
from store.settings import Settings
from store.spend_recommendations import SpendRecommendation


def means(settings: Settings) -> Means:
    """What the gateway lends to whoever looks for ways to spend less."""
    return Means(key=_key, shrink=_shrink, read=Contents(settings).read, ttl_s=TTL_S)


def accept(
    settings: Settings,
    workspaces: Workspaces,
    recommendation_id: str,
    *,
    by: str | None,
    reason: str = "",
    since: datetime | None = None,
    held_back: float = HELD_BACK,
    workspace: str | None = None,
) -> SpendRecommendation:
    """Follow a recommendation: it is accepted, and what can be set is set.

    Parameters
    ----------
    since : from when it held, naive UTC; default: now.
    held_back : share of the calls that are answered as before, to compare with (0 – 0.5).
    workspace : the only one whose may be accepted; None: all.

    Raises
    ------
    UnknownEntity, StateConflict : there is none of that id, there, that is open.
    InvalidValue : `held_back` lies outside its limits.
    """
    row = stored.get(settings, recommendation_id, workspace)
    change = _change(workspaces, row, held_back)
    done = {"set": change, "steps": row.advice["steps"]}
    if row.kind == "cache" and row.workspace is not None:
        done["before"] = {"cache": workspaces.get(row.workspace).cache}
    # Accepted first: of two who do so at once one sets something.
    row = stored.accept(settings, row.id, by=by, reason=reason, since=since, done=done, workspace=workspace)
    if change and row.workspace is not None:
        try:
            workspaces.change(row.workspace, change)
        except BaseException:
            stored.reopen(settings, row.id)
            raise
    return row


def revert(
    settings: Settings,
    workspaces: Workspaces,
    recommendation_id: str,
    *,
    by: str | None,
    reason: str = "",
    workspace: str | None = None,
) -> SpendRecommendation:
    """Follow a recommendation no longer: what accepting it had set is taken back, where nobody has changed it since.

    Raises
    ------
    UnknownEntity, StateConflict : there is none of that id, there, that is in force.
    """
    row = stored.revert(settings, recommendation_id, by=by, reason=reason, workspace=workspace)
    if row.workspace is None or row.accepted is None:
        return row
    workspaces.refresh()
    shown = as_json(workspaces.get(row.workspace))
    if row.advice.get("setting", {}) and row.kind == "cache":
        before = row.accepted["done"].get("before", {})
        if before and shown["cache"] == row.advice["setting"]["cache"]:
            workspaces.change(row.workspace, before)
        return row
    left = [rule for rule in shown["substitutes"] if rule["because"] != row.id]
    if len(left) < len(shown["substitutes"]):
        workspaces.change(row.workspace, {"substitutes": left})
    return row


def _change(workspaces: Workspaces, row: SpendRecommendation, held_back: float) -> dict[str, Any]:
    """What is set for the workspace; {} where the platform can set nothing."""
    setting = row.advice.get("setting")
    if not setting or row.workspace is None:
        return {}
    workspaces.refresh()
    if "substitutes" not in setting:
        return dict(setting)
    rule = {**setting["substitutes"], "held_back": held_back, "because": row.id}
    # The first rule for a call counts: the latest word on what is asked.
    known = as_json(workspaces.get(row.workspace))["substitutes"]
    return {"substitutes": [rule, *(one for one in known if one["asked"] != rule["asked"])]}


def _key(asked: str, body: Any) -> bytes:
    """As `gateway.call.cache_key.key` has it, of one workspace: what is kept of a request may name the model that
    answered it."""
    told = {name: value for name, value in body.items() if name not in IRRELEVANT and name != "model"}
    return digest([asked, told])


def _shrink(body: Any) -> tuple[int, int]:
    found = optimise(body)
    return found.tokens_before, found.tokens_after
