"""Whether the gateway can do its work: what `/readyz` tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from gateway.account.ledger import MOST_BEHIND, LedgerState
from gateway.account.shared_state import check as check_redis
from serving.dependencies import GatewayServices

PATIENCE_SECONDS = 3.0
# Of journal, beyond which calls will soon be refused.
FULL = MOST_BEHIND // 2


@dataclass(frozen=True)
class Condition:
    """One thing that the gateway needs.

    Attributes
    ----------
    stops : calls are not answered, or soon will not be, as long as it is not well.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    stops: bool = True


async def conditions(services: GatewayServices) -> AsyncIterator[Condition]:
    """Configuration, ledger, and Redis where one is set. Paths, addresses and keys are never among what is told."""
    if not services.llm.runs:
        # What is wrong in full would tell everybody what the configuration looks like: it is in the log.
        field = services.llm.why.field
        detail = f"The gateway does not run in this process{f', because of {field}' if field else ''}."
        remedy = "`merit gateway check` explains every error of the configuration, the log of the API any other."
        yield Condition("llm gateway", ok=False, detail=detail, remedy=remedy)
        return
    yield _running(services)
    opened = services.llm.opened
    if opened is not None and opened.reloader.error is not None:
        detail = "The configuration was changed and is wrong; the one before counts on."
        remedy = "`merit gateway check` explains every error."
        yield Condition("llm configuration", ok=False, detail=detail, remedy=remedy, stops=False)
    yield _ledger(services.gateway.parts.ledger.state())
    if opened is not None and opened.redis is not None:
        yield await _redis(services)


def _running(services: GatewayServices) -> Condition:
    parts = services.gateway.parts
    models = parts.configuration.models
    away = sum(parts.breakers.why_closed_to(one) is not None for one in models)
    shown = f"{len(models)} models of {len(parts.configuration.providers)} providers, {away} of them get no calls now."
    if models:
        return Condition("llm gateway", ok=True, detail=shown)
    remedy = "Set the key of a provider, or see `merit gateway check`."
    return Condition("llm gateway", ok=False, detail="No model may be called.", remedy=remedy)


def _ledger(state: LedgerState) -> Condition:
    detail = (
        f"{state.written:,} lines written, {state.behind_bytes:,} bytes of journal waiting, {state.open:,} calls under "
        f"way; {state.unwritable:,} lines could not be stored."
    )
    remedy = "`merit doctor` tells what is wrong with the database."
    if state.failing is not None:
        failed = f"The last write failed ({state.failing}); calls are kept in the journal. {detail}"
        return Condition("llm ledger", ok=False, detail=failed, remedy=remedy)
    if state.behind_bytes > FULL:
        return Condition("llm ledger", ok=False, detail=f"The database does not keep up. {detail}", remedy=remedy)
    return Condition("llm ledger", ok=True, detail=detail)


async def _redis(services: GatewayServices) -> Condition:
    opened = services.llm.opened
    assert opened is not None
    try:
        found = await asyncio.wait_for(check_redis(services.settings, opened.redis), PATIENCE_SECONDS)
        problem = found.problem
    except TimeoutError:
        problem = f"does not answer within {PATIENCE_SECONDS:g} s"
    if problem is None:
        return Condition("redis", ok=True, detail="Redis answers.")
    return Condition("redis", ok=False, detail=f"Redis {problem}.", remedy="`merit doctor` shows every setting.")
