"""One fine-tune brought to its end by a process that answers nobody: by the gateway that runs, or one opened for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from gateway.account.sole_gateway import SoleGateway
from gateway.configuration.loading import Configuration, load_configuration
from gateway.configuration.tuned import TunedModels
from gateway.improve.finetuning.bill import refuse_dear
from gateway.improve.finetuning.working import Finetunes
from gateway.money import nanos
from store import llm_finetunes
from store.errors import ServiceUnavailable, SettingsError
from store.llm_finetunes import Finetune
from store.settings import Settings

_LOOK_S = 0.5
# A gateway that runs takes a fine-tune up within seconds; after so many nobody does.
_NOBODY_S = 60.0


def configuration_of(settings: Settings) -> Configuration:
    """What a gateway here would run with."""
    return TunedModels(settings).laid_over(load_configuration(settings))


async def bring_to_its_end(
    settings: Settings,
    finetune_id: str,
    *,
    max_cost: float | None,
    hours: float,
    tell: Callable[[Finetune], None] = lambda _: None,
) -> Finetune:
    """Submit it where that was not done yet, and wait until it has ended.

    Parameters
    ----------
    max_cost : dollars, training and evaluation together; None: as budgets allow.
    hours : to wait at most; it goes on without anybody waiting.
    tell : called with how far it is.

    Raises
    ------
    BudgetExceeded : it is expected to cost more than it may.
    ServiceUnavailable : it has not ended in time, or the gateway that runs does not take it up.
    """
    found = await asyncio.to_thread(llm_finetunes.get, settings, finetune_id)
    limit = None if max_cost is None else nanos(max_cost)
    async with AsyncExitStack() as closing:
        own = await _opened(settings, closing)
        if found.state == "prepared":
            if own is not None:
                found = await own.submit(finetune_id, max_cost=max_cost)
            else:
                refuse_dear(found.expected, limit)
                found = await asyncio.to_thread(llm_finetunes.submit, settings, finetune_id, max_cost=limit)
        begun = time.monotonic()
        while not found.ended:
            tell(found)
            await asyncio.sleep(_LOOK_S)
            found = await asyncio.to_thread(llm_finetunes.get, settings, finetune_id)
            waited = time.monotonic() - begun
            if found.state == "submitting" and not found.events and own is None and waited > _NOBODY_S:
                raise ServiceUnavailable(
                    f"The gateway that runs does not take up the fine-tune {finetune_id}.",
                    remedy="Start the whole API (`merit up`): a worker that is a gateway alone tunes nothing.",
                )
            if waited > 3_600 * hours and not found.ended:
                raise ServiceUnavailable(
                    f"The fine-tune {finetune_id} is {found.state} after {hours:g} hours.",
                    remedy="It goes on; `merit finetune show` tells how far it is.",
                )
    tell(found)
    return found


async def _opened(settings: Settings, closing: AsyncExitStack) -> Finetunes | None:
    """What works on fine-tunes here; None where another gateway is to do it."""
    from gateway.opening import OpenGateway

    opened = OpenGateway(settings)
    try:
        await asyncio.to_thread(_look, settings)
        gateway = await opened.open()
    except SettingsError as error:
        if error.field == "MERIT_REDIS_URL":
            return None  # another one has this database
        raise
    closing.push_async_callback(opened.close)
    scoring = opened.improvement.scoring
    working = Finetunes(settings, gateway, opened.reload, lambda: scoring.scorer, alone=opened.redis is None)
    await working.start()
    closing.push_async_callback(working.close)
    return working


def _look(settings: Settings) -> None:
    """See at once whether another gateway has the database, rather than wait for it to end.

    Raises
    ------
    SettingsError : one has.
    """
    sole = SoleGateway(settings)
    sole.acquire(timeout=0.0)
    sole.release()
