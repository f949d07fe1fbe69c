"""Puts the gateway together from the settings, keeps it up to date while it runs, and takes it apart again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from gateway import metrics
from gateway.account.budgets import Budgets
from gateway.account.contents import Contents
from gateway.account.ledger import Ledger
from gateway.account.payment import Payment
from gateway.account.preference_store import PreferenceStore
from gateway.account.rates import Rates
from gateway.account.record import CallRecord
from gateway.account.retention import enforce
from gateway.account.shared_state import open_redis
from gateway.account.sole_gateway import SoleGateway
from gateway.account.tokens import warm_up
from gateway.account.workspaces import Workspaces
from gateway.call.breaker import Breakers
from gateway.call.breaker_events import BreakerEvents
from gateway.call.breaker_sharing import RedisSharing
from gateway.call.cache import AnswerCache
from gateway.call.cache_redis import RedisAnswers
from gateway.call.concurrency import Slots
from gateway.call.conversations import Conversations
from gateway.call.dispatch import Dispatcher
from gateway.call.health import Health
from gateway.call.judging import Judge
from gateway.call.probes import Prober
from gateway.call.providers.http import Http
from gateway.call.providers.wire import Upstreams
from gateway.call.providers.wires import open_wires
from gateway.call.recall import Recall
from gateway.call.retry_budget import RetryBudget
from gateway.call.semantic import SemanticCache
from gateway.call.streaming import drained
from gateway.call.threads import Threads
from gateway.call.voting import Voting
from gateway.choose.chooser import Chooser
from gateway.choose.policy import Policy, PriorPolicy
from gateway.configuration.loading import Configuration, load_configuration
from gateway.configuration.reloading import Reloader
from gateway.configuration.tuned import TunedModels
from gateway.gateway import Gateway, Parts
from gateway.improve.adaptation import TICK_S
from gateway.improve.improvement import Improvement, load_of
from gateway.improve.scoring_judge import sampled_judge
from gateway.improve.spending import LOOK_S
from gateway.prompt import Prompt
from models.quality.heuristic import score_text
from store import events
from store import ledger as promotions
from store.errors import MeritError
from store.settings import Settings

if TYPE_CHECKING:
    from gateway.choose.promoted_policy import PolicyWatch

log = logging.getLogger("merit.gateway")
POLICY = "routing"
RELOAD_SECONDS = 2.0
RETENTION_SECONDS = 3600.0
# Between two looks for journals of processes that died: well within the time for which Redis remembers that a call was
# settled, so that none is charged twice.
RECOVERY_SECONDS = 5.0
# A third of the time for which budgets hold what nobody touches.
TOUCH_SECONDS = 300.0
# When closing, for answers that are read to their end though nobody waits for them.
DRAIN_SECONDS = 3.0


class OpenGateway:
    """A gateway that runs, with everything that must be closed after it.

    Attributes
    ----------
    gateway : what serving asks.
    redis : shared with other gateways; None where none is set.
    improvement : what is learned while it runs.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closing = AsyncExitStack()
        self._reloading = asyncio.Lock()
        self._policies: PolicyWatch | None = None
        self.redis: Redis | None = None
        self.gateway: Gateway
        self.reloader: Reloader
        self.preferences: PreferenceStore
        self.improvement: Improvement

    async def open(self) -> Gateway:
        """Start every part; on an error, what was started is closed again.

        Raises
        ------
        SettingsError : the configuration is wrong, or another gateway runs on this database and no Redis is set.
        ServiceUnavailable : the database or Redis does not answer.
        """
        try:
            self.gateway = await self._open()
        except BaseException:
            await self._closing.aclose()
            raise
        return self.gateway

    async def __aenter__(self) -> OpenGateway:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop; calls under way have ended by then, and everything that they cost is written."""
        await self._closing.aclose()

    async def _open(self) -> Gateway:
        settings, closing = self._settings, self._closing
        redis = self.redis = open_redis(settings)
        if redis is not None:
            closing.push_async_callback(redis.aclose)
        # Where Redis is shared the lock is, too; it keeps out a gateway that would count alone beside the others.
        sole = SoleGateway(settings)
        await asyncio.to_thread(sole.acquire)
        closing.callback(sole.release)
        configuration = await asyncio.to_thread(load_configuration, settings)
        for note in configuration.notes:
            log.info("%s", note)
        self.reloader = Reloader(settings, configuration)
        self.tuned = TunedModels(settings)
        configuration = await asyncio.to_thread(self.tuned.laid_over, configuration)
        await asyncio.to_thread(warm_up)

        workspaces = Workspaces(settings)
        await asyncio.to_thread(workspaces.start)
        closing.callback(workspaces.close)
        ledger = Ledger(settings)
        await asyncio.to_thread(ledger.start)
        closing.push_async_callback(asyncio.to_thread, ledger.close)
        budgets = Budgets(settings, redis, flush=ledger.flush)
        await _charge(budgets, ledger.recovered)
        await budgets.start()
        closing.push_async_callback(budgets.close)
        rates = Rates(settings, redis)
        contents = Contents(settings)

        told = BreakerEvents(settings)
        closing.push_async_callback(told.close)
        http = Http()
        closing.push_async_callback(http.close)
        closing.push_async_callback(drained, DRAIN_SECONDS)
        breakers = Breakers(on_change=told.changed)
        breakers.retain(frozenset(configuration.models))
        health = Health(breakers)
        if redis is not None:
            sharing = RedisSharing(breakers, redis)
            await sharing.start()
            closing.push_async_callback(sharing.close)
        slots = Slots()
        retries = RetryBudget(share=configuration.retry_share, floor=configuration.retry_floor)
        metrics.watch(health, breakers, slots, retries)
        answers = AnswerCache(shared=None if redis is None else RedisAnswers(redis, contents.keyring))
        await answers.start()
        closing.push_async_callback(answers.close)

        self.preferences = PreferenceStore(settings)
        chooser = self._chooser(configuration, PriorPolicy(), health)
        payment = Payment(budgets, ledger)
        upstreams = Upstreams(configuration.providers, open_wires(http))

        async def before_attempt(run: Any, choice: Any) -> None:
            await gateway.before_attempt(run, choice)

        async def ask(prompt: Prompt) -> Mapping[str, Any]:
            return (await gateway.answer(prompt)).body

        dispatcher = Dispatcher(
            upstreams, breakers, health, slots, retries, before_attempt, attempts=configuration.attempts
        )
        dispatcher.seconds = configuration.deadline_s
        improvement = self.improvement = Improvement(
            settings, health, self.preferences, busy=lambda model: load_of(model, dispatcher.upstreams, slots)
        )
        improvement.start()
        closing.push_async_callback(improvement.close)
        prober = Prober(lambda: dispatcher.upstreams, breakers, health)
        prober.start()
        closing.push_async_callback(prober.close)
        gateway = Gateway(
            Parts(
                configuration=configuration,
                chooser=chooser,
                dispatcher=dispatcher,
                payment=payment,
                budgets=budgets,
                rates=rates,
                ledger=ledger,
                workspaces=workspaces,
                contents=contents,
                recall=Recall(answers, SemanticCache(answers), configuration.digest),
                threads=Threads(Conversations(settings, contents)),
                voting=Voting(chooser, dispatcher, payment, ledger, Judge(score_text, ask)),
                breakers=breakers,
                health=health,
                prober=prober,
                preferences=self.preferences,
                ended=improvement.ended,
            )
        )
        improvement.judge = sampled_judge(settings, gateway.answer)
        looked_after = [(self._reload, RELOAD_SECONDS), (self._retain, RETENTION_SECONDS)]
        looked_after.append((payment.touch, TOUCH_SECONDS))
        looked_after += [(improvement.adapt, TICK_S), (improvement.follow, settings.watch_seconds)]
        looked_after.append((self._follow_policy, settings.watch_seconds))
        looked_after.append((improvement.watch_spending, LOOK_S))
        if redis is not None:
            looked_after.append((self._recover, RECOVERY_SECONDS))
        for work, seconds in looked_after:
            closing.push_async_callback(_cancel, asyncio.create_task(_every(seconds, work)))
        return gateway

    def _chooser(self, configuration: Configuration, policy: Policy, health: Health) -> Chooser:
        return Chooser(
            tuple(configuration.models.values()),
            policy,
            health,
            preferences=self.preferences.of,
            aliases=configuration.aliases,
            ensembles=configuration.ensembles,
            seed=str(self._settings.seed),
        )

    async def reload(self) -> Configuration | None:
        """Take over a changed configuration now; None where nothing changed or what changed is wrong.

        Calls under way go on with the providers that they began with.
        """
        async with self._reloading:
            return await self._take_over()

    async def _take_over(self) -> Configuration | None:
        configuration = await asyncio.to_thread(self.reloader.poll)
        if configuration is None:
            if not await asyncio.to_thread(self.tuned.changed):
                return None
            configuration = self.reloader.current
        configuration = await asyncio.to_thread(self.tuned.laid_over, configuration)
        parts = self.gateway.parts
        chooser = self._chooser(configuration, parts.chooser.policy, parts.health)
        dispatcher = parts.dispatcher
        dispatcher.upstreams = Upstreams(configuration.providers, dispatcher.upstreams.wires)
        dispatcher.most_attempts, dispatcher.seconds = configuration.attempts, configuration.deadline_s
        dispatcher.retries.configure(configuration.retry_share, configuration.retry_floor)
        parts.health.retain(frozenset(configuration.models))
        parts.breakers.retain(frozenset(configuration.models))
        self.improvement.adaptation.retain(frozenset(configuration.models))
        parts.recall.configuration = configuration.digest
        parts.configuration, parts.chooser, parts.voting.chooser = configuration, chooser, chooser
        self.gateway.reconfigured()
        counts = {"models": len(configuration.models), "providers": len(configuration.providers)}
        shown = {"digest": configuration.digest, **counts, "notes": list(configuration.notes)}
        await asyncio.to_thread(events.emit, self._settings, "configuration", shown)
        return configuration

    async def _reload(self) -> None:
        await self.reload()

    async def _follow_policy(self) -> None:
        """Let the routing policy decide that is champion now."""
        if (policy := await asyncio.to_thread(self._promoted)) is not None:
            self.gateway.parts.chooser.replace_policy(policy)

    def _promoted(self) -> Policy | None:
        """A policy that is news; None where what decides is still the champion.

        Before anything was ever promoted nothing of it is imported: it brings pandas along, a third of a gateway's
        memory.
        """
        if self._policies is None:
            if not promotions.history(self._settings, POLICY, limit=1):
                return None
            from gateway.choose.promoted_policy import PolicyWatch

            self._policies = PolicyWatch(self._settings, name=POLICY)
        return self._policies.poll()

    async def _recover(self) -> None:
        """Calls of other gateways on this home that died; alone on it, there is nobody to look for."""
        parts = self.gateway.parts
        await _charge(parts.budgets, await asyncio.to_thread(parts.ledger.recover))

    async def _retain(self) -> None:
        removed = await asyncio.to_thread(enforce, self._settings)
        if any(removed.values()):
            log.info("Retention removed %s.", ", ".join(f"{count} {name}" for name, count in removed.items() if count))


async def _charge(budgets: Budgets, lost: Iterable[CallRecord]) -> None:
    """Charge calls that the ledger recovered."""
    for one in lost:
        # What had ended was settled when it did.
        if one.outcome == "unknown" and one.cost and one.provider is not None:
            await budgets.recover_unknown(one.id, one.tenant, {one.provider: one.cost})
        if one.parent is not None:
            await budgets.release_unknown(one.parent, one.tenant)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except MeritError as error:
            log.error("%s", error)
        except Exception:  # what is looked after must go on being looked after
            log.exception("Looking after the gateway failed and is tried again.")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
