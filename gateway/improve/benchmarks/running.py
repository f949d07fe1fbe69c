"""Benchmarks while they run: prompts go through the gateway like any other, are graded, and what comes out is kept."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.call.batch_allowance import Allowance
from gateway.improve.benchmarks.planning import Order, Plan, plan, refuse_dear
from gateway.improve.benchmarks.prompts import BenchmarkPrompt, digest_of
from gateway.improve.benchmarks.report import as_csv, metrics_of, report_of
from gateway.improve.benchmarks.scoring import grade
from gateway.improve.scoring import Scorer
from gateway.money import dollars
from gateway.prompt import Tenant
from models.quality.features import answer_of
from store import events, llm_benchmarks
from store.errors import BudgetExceeded, GatewayError, MeritError, RateLimited
from store.llm_benchmarks import Benchmark, Result
from store.settings import Settings

if TYPE_CHECKING:
    from gateway.gateway import Answered, Gateway

log = logging.getLogger("merit.gateway")

EXPERIMENT = "benchmarks"
_STORE_EVERY_S = 0.5
_MOST_WAITS = 5
_LONGEST_WAIT_S = 30.0


@dataclass
class _Job:
    """One benchmark under way."""

    benchmark: Benchmark
    order: Order
    tenant: Tenant
    allowance: Allowance
    unstored: list[Result] = field(default_factory=list)
    stopped: str | None = None


class Benchmarks:
    """Runs benchmarks. One in a process, used from its event loop.

    Parameters
    ----------
    scorer : what scores answers of which nothing is known.
    """

    def __init__(self, settings: Settings, gateway: Gateway, scorer: Callable[[], Scorer]) -> None:
        self._settings = settings
        self._gateway = gateway
        self._scorer = scorer
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def plan(self, order: Order, tenant: Tenant) -> Plan:
        """What it would cost; raises as `gateway.improve.benchmarks.planning.plan`."""
        return await plan(self._gateway, order, tenant)

    async def start(self, order: Order, tenant: Tenant) -> Benchmark:
        """Begin; returns at once.

        Raises
        ------
        BudgetExceeded : it is expected to cost more than it may.
        UnknownLlm, NoCandidate : a model is none, or may not answer one of the prompts.
        """
        planned = await self.plan(order, tenant)
        refuse_dear(planned, order.max_cost)
        benchmark = Benchmark(
            workspace=tenant.workspace,
            name=order.name,
            models=list(order.models),
            prompts=len(order.prompts),
            repeats=order.repeats,
            total=order.total,
            expected=planned.expected,
            max_cost=order.max_cost,
            details={
                "digest": digest_of(order.prompts),
                "expected": planned.to_dict(),
                "options": {"max_tokens": order.max_tokens, "temperature": order.temperature},
            },
            created_by=tenant.key_name,
        )
        await asyncio.to_thread(llm_benchmarks.create, self._settings, benchmark)
        job = _Job(benchmark, order, tenant, Allowance(order.max_cost))
        task = asyncio.create_task(self._run(job))
        self._tasks[benchmark.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(benchmark.id, None))
        return benchmark

    async def wait(self, benchmark_id: str) -> None:
        """Return when one of this process has ended."""
        if (task := self._tasks.get(benchmark_id)) is not None:
            await asyncio.wait({task})

    async def close(self) -> None:
        """Stop what runs; it is told of as failed."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, job: _Job) -> None:
        benchmark_id = job.benchmark.id
        try:
            storing = asyncio.create_task(self._store_now_and_then(job))
            try:
                await self._ask_all(job)
            finally:
                storing.cancel()
                with suppress(asyncio.CancelledError):
                    await storing
            await self._store(job)
            ended = await asyncio.to_thread(self._finish, job)
            events.emit(self._settings, "benchmark_finished", _told(ended))
        except asyncio.CancelledError:
            reason = "The gateway that ran it ended."
            with suppress(MeritError, SQLAlchemyError):
                llm_benchmarks.finish(self._settings, benchmark_id, "failed", None, reason=reason)
            raise
        except Exception as error:  # one benchmark must not take the gateway along
            log.exception("The benchmark %s failed.", benchmark_id)
            reason = error.message if isinstance(error, MeritError) else "Something went wrong that should not have."
            with suppress(MeritError, SQLAlchemyError):
                await asyncio.to_thread(
                    llm_benchmarks.finish, self._settings, benchmark_id, "failed", None, reason=reason
                )

    async def _ask_all(self, job: _Job) -> None:
        """Every model of a prompt one after the other, so that they meet the same weather."""
        items = _items(job.order)

        async def work() -> None:
            for place, one, model, repeat in items:
                if job.stopped is not None:
                    return
                result = await self._ask(job, place, one, model, repeat)
                if result is not None:
                    job.unstored.append(result)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(job.order.concurrency, job.order.total)):
                group.create_task(work())

    async def _ask(self, job: _Job, place: int, one: BenchmarkPrompt, model: str, repeat: int) -> Result | None:
        """One answer and its grade; None where there is no money left for it."""
        for _ in range(_MOST_WAITS):
            prompt = job.order.prompt(one, model, job.tenant, job.benchmark.id)
            grant, cost = None, 0
            try:
                grant = await job.allowance.grant(self._gateway, prompt)
                started = time.perf_counter()
                answered = await self._gateway.answer(grant.prompt)
                took_ms = 1000.0 * (time.perf_counter() - started)
                cost = answered.run.cost
                return await asyncio.to_thread(self._graded, place, one, model, repeat, answered, took_ms)
            except RateLimited as limited:
                await asyncio.sleep(min(limited.retry_after or 1.0, _LONGEST_WAIT_S))
            except BudgetExceeded as exceeded:
                job.stopped = (
                    f"The rest may cost more than the ${dollars(job.order.max_cost):g} that were allowed."
                    if grant is None
                    else exceeded.message
                )
                return None
            except GatewayError as error:
                cost = sum(round(1e9 * float(told.get("cost", 0))) for told in error.details.get("attempts", ()))
                return _failed(place, one, model, repeat, prompt.id, type(error).__name__, cost)
            finally:
                if grant is not None:
                    job.allowance.settle(grant, cost)
        return _failed(place, one, model, repeat, None, "RateLimited", 0)

    def _graded(
        self, place: int, one: BenchmarkPrompt, model: str, repeat: int, answered: Answered, took_ms: float
    ) -> Result:
        run = answered.run
        text, finish_reason = answer_of(answered.body) or ("", None)
        graded = grade(
            one.asked,
            text,
            finish_reason,
            expected=one.expected,
            reference=one.reference,
            response_format=one.response_format,
            domain=run.task.domain,
            complexity=run.task.complexity,
            scorer=self._scorer(),
        )
        return Result(
            model=model,
            prompt=place,
            repeat=repeat,
            prompt_id=one.id,
            group=one.group,
            domain=run.task.domain,
            call_id=run.prompt.id,
            answered_by=run.current.model.id if run.current is not None else None,
            quality=graded.score,
            scored_by=graded.by,
            cost=run.cost,
            latency_ms=took_ms,
            input_tokens=run.usage.input,
            output_tokens=run.usage.output,
        )

    async def _store_now_and_then(self, job: _Job) -> None:
        while True:
            await asyncio.sleep(_STORE_EVERY_S)
            try:
                await self._store(job)
            except (MeritError, SQLAlchemyError) as error:
                log.error("Answers of the benchmark %s are not stored yet: %s", job.benchmark.id, error)

    async def _store(self, job: _Job) -> None:
        portion = job.unstored[:]
        status = await asyncio.to_thread(llm_benchmarks.add, self._settings, job.benchmark.id, portion)
        del job.unstored[: len(portion)]
        if status == "cancelled":
            job.stopped = "It was cancelled."

    def _finish(self, job: _Job) -> Benchmark:
        benchmark = job.benchmark
        results = llm_benchmarks.results(self._settings, benchmark.id)
        report = report_of(results, benchmark.models, seed=self._settings.seed)
        run_id, untold = None, None
        try:
            run_id = self._to_mlflow(benchmark, report, results)
        except MeritError as error:
            # What was measured is in the table; MLflow shows it as well where it answers.
            untold = error.message
            log.warning("The benchmark %s is not in MLflow: %s", benchmark.id, error)
        status: Any = "completed" if job.stopped is None else "stopped"
        return llm_benchmarks.finish(
            self._settings, benchmark.id, status, report, reason=job.stopped, run=run_id, not_in_mlflow=untold
        )

    def _to_mlflow(self, benchmark: Benchmark, report: dict[str, Any], results: list[Result]) -> str:
        from store.registry import Registry

        registry = Registry(self._settings)
        try:
            tags = {"benchmark": benchmark.id, "workspace": benchmark.workspace}
            with registry.run(EXPERIMENT, benchmark.name, tags) as run:
                run.log_params(
                    {
                        "models": list(benchmark.models),
                        "prompts": benchmark.prompts,
                        "prompts_digest": benchmark.details["digest"],
                        "repeats": benchmark.repeats,
                        **benchmark.details["options"],
                    }
                )
                run.log_metrics(metrics_of(report))
                run.log_text(as_csv(results), "answers.csv")
                run.log_text(json.dumps(report, indent=1), "report.json")
                return str(run.id)
        finally:
            registry.close()


def _items(order: Order) -> Iterator[tuple[int, BenchmarkPrompt, str, int]]:
    for repeat in range(order.repeats):
        for place, one in enumerate(order.prompts):
            for model in order.models:
                yield place, one, model, repeat


def _failed(
    place: int, one: BenchmarkPrompt, model: str, repeat: int, call_id: str | None, error: str, cost: int
) -> Result:
    """No answer: of no quality, and of no latency that could be compared."""
    return Result(
        model=model, prompt=place, repeat=repeat, prompt_id=one.id, group=one.group, domain=None, call_id=call_id,
        answered_by=None, quality=0.0, scored_by="nothing", cost=cost, latency_ms=None, input_tokens=0,
        output_tokens=0, error=error[:64],
    )  # fmt: skip


def _told(ended: Benchmark) -> dict[str, Any]:
    """The event of its end."""
    rows = [] if ended.report is None else ended.report["models"]
    return {
        "benchmark": ended.id,
        "workspace": ended.workspace,
        "name": ended.name,
        "status": ended.status,
        "cost": dollars(ended.cost),
        "quality": {row["model"]: row["quality"]["value"] for row in rows},
    }
