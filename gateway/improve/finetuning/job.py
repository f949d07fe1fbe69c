"""One fine-tune from its submission to its end. Each step is written down before the next one begins, so that whoever
takes it up after a kill goes on where it was, submits nothing twice and charges nothing twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.call.providers.openai_tuning import JobEvent, OpenAITuning, TuningJob
from gateway.call.providers.wire import RETRIABLE, Provider, ProviderFailure
from gateway.choose.catalogue import Model
from gateway.improve.finetuning.bill import TAG, Bill, refuse_dear
from gateway.improve.finetuning.chat_format import check_enough, write
from gateway.improve.finetuning.evaluation import Compared, evaluate, expected_quality
from gateway.improve.finetuning.planning import rebuilt, training_cost, tunable
from gateway.improve.scoring import Scorer
from gateway.money import dollars
from gateway.prompt import Tenant
from store import events, llm_finetunes, tuned_models
from store.errors import MeritError, ServiceUnavailable, StateConflict
from store.llm_finetunes import Finetune
from store.settings import Settings
from store.tables.base import utc_now

if TYPE_CHECKING:
    from gateway.gateway import Gateway

log = logging.getLogger("merit.gateway")

# The name under which a job is found again at the provider.
MARK = "merit_finetune"
_HOLD_S = 120.0


class LostClaim(Exception):
    """Somebody else works on it now."""


class NotNow(Exception):
    """The provider does not answer just now; try again later."""


@dataclass(frozen=True)
class Tools:
    """What a job works with.

    Attributes
    ----------
    reload : has the gateway take over changes of the catalogue now.
    scorer : what scores answers.
    poll_s : seconds between two looks at a job.
    """

    settings: Settings
    gateway: Gateway
    tuning: OpenAITuning
    reload: Callable[[], Awaitable[object]]
    scorer: Callable[[], Scorer]
    poll_s: float = 5.0


class Job:
    """Brings one claimed fine-tune to its end.

    Parameters
    ----------
    owner : in whose name it was claimed.
    """

    def __init__(self, tools: Tools, finetune: Finetune, owner: str) -> None:
        self._tools = tools
        self._owner = owner
        self.finetune = finetune
        self._tenant = Tenant(**finetune.tenant)
        self._bill = Bill(tools.settings, tools.gateway.parts, finetune)
        self._told: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Work until it has ended.

        Raises
        ------
        LostClaim : somebody else works on it now.
        NotNow : it cannot go on for a while.
        """
        try:
            while self.finetune.state in llm_finetunes.ACTIVE:
                step = {
                    "submitting": self._submit,
                    "running": self._follow,
                    "evaluating": self._evaluate,
                    "cancelling": self._cancel,
                }[self.finetune.state]
                await step(*self._where())
        except ProviderFailure as failure:
            # Once it is under way, a wrong key or a server that is down will be mended.
            if failure.kind in RETRIABLE or (failure.kind == "credentials" and self.finetune.state != "submitting"):
                raise NotNow(failure.message) from None
            await self._fail(failure.message)
        except ServiceUnavailable as error:
            raise NotNow(error.message) from None
        except MeritError as error:
            await self._fail(f"{error.message} {error.remedy}".strip())
        finally:
            await self._bill.release()

    def _where(self) -> tuple[Provider, Model]:
        """The provider and the base model, as they are configured now."""
        configuration = self._tools.gateway.parts.configuration
        model = tunable(configuration, self.finetune.base_model)
        return configuration.providers[model.provider], model

    async def _submit(self, provider: Provider, model: Model) -> None:
        """Files and job, once: one that was begun before a kill is found by its mark."""
        tuning, finetune = self._tools.tuning, self.finetune
        written, held = await asyncio.to_thread(rebuilt, self._tools.settings, finetune, model)
        check_enough(written)
        assert model.tuning is not None
        cost = training_cost(model, written.tokens, int(finetune.options["epochs"]))
        refuse_dear(cost, finetune.max_cost)
        await self._bill.reserve(model, cost)
        found = await tuning.find(provider, MARK, finetune.id)
        if found is None:
            if "training_file" not in finetune.upstream:
                file = await tuning.upload(provider, f"{_beginning(finetune)}train.jsonl", written.content)
                await self._change(upstream={"training_file": file}, told=[_note("The examples are uploaded.")])
            if "validation_file" not in self.finetune.upstream:
                other = write([one for one, _ in held], model.tuning.longest)
                file = await tuning.upload(provider, f"{_beginning(finetune)}validation.jsonl", other.content)
                await self._change(upstream={"validation_file": file})
            if self.finetune.state != "submitting":
                return  # cancelled meanwhile: nothing was begun
            upstream = self.finetune.upstream
            found = await tuning.create(
                provider,
                model=model.tuning.name,
                training_file=str(upstream["training_file"]),
                validation_file=str(upstream["validation_file"]),
                suffix=finetune.name,
                epochs=int(finetune.options["epochs"]),
                seed=self._tools.settings.seed,
                metadata={MARK: finetune.id},
            )
        told = [_note(f"Submitted to {provider.name} as {found.id}, expected to cost ${dollars(cost):.6g}.")]
        await self._change(state="running", upstream={"job": found.id, "status": found.status}, told=told)

    async def _follow(self, provider: Provider, model: Model) -> None:
        """Until the job has ended; then it is paid for, and the model is put on trial."""
        tuning, job_id = self._tools.tuning, str(self.finetune.upstream["job"])
        await self._bill.reserve(model)
        job = await tuning.job(provider, job_id)
        await self._tell(await tuning.events(provider, job_id, self._known()), status=job.status)
        if not job.ended:
            await self._bill.touch()
            await asyncio.sleep(self._tools.poll_s)
            await self._change()
            return
        await self._pay(model, job)
        await self._clean_up(provider)
        if job.status != "succeeded" or job.model is None:
            await self._fail(job.error or f"The job is {job.status}.")
            return
        points = await tuning.checkpoints(provider, job_id)
        tuned = f"{model.provider}/{job.model}"
        await self._put(tuned, "trial", dict(model.quality))
        await self._change(
            state="evaluating",
            upstream={"model": tuned, "trained_tokens": job.trained_tokens, "checkpoints": points},
            told=[_note(f"{tuned} is on trial.")],
        )

    async def _evaluate(self, provider: Provider, model: Model) -> None:
        """Ask both models what is held out, and let the gate decide."""
        finetune, tools = self.finetune, self._tools
        tuned = str(finetune.upstream["model"])
        _, held = await asyncio.to_thread(rebuilt, tools.settings, finetune, model)
        log.info("%s of %s is compared with %s on %d examples.", tuned, provider.name, model.id, len(held))
        await tools.reload()
        outcome = await self._holding(
            evaluate(
                tools.gateway,
                held,
                model,
                tuned,
                self._tenant,
                own_workspaces=finetune.workspace is None,
                tag=f"{TAG}{finetune.id}",
                scorer=tools.scorer(),
                seed=tools.settings.seed,
            )
        )
        if outcome is None:
            return
        admitted = outcome.gate.promoted
        await self._put(tuned, "admitted" if admitted else "withdrawn", expected_quality(model, outcome))
        # Before it is told: who reads that it is admitted may ask it.
        await tools.reload()
        await self._change(
            state="admitted" if admitted else "rejected",
            report=await asyncio.to_thread(outcome.to_dict),
            spent=outcome.cost,
            told=[_note(outcome.gate.reason)],
        )
        self._emit()

    async def _cancel(self, provider: Provider, model: Model) -> None:
        """End the provider's job, pay for what it trained, and let go of the model."""
        upstream = self.finetune.upstream
        job_id = upstream.get("job")
        job = None
        if job_id is None:
            job = await self._tools.tuning.find(provider, MARK, self.finetune.id)
            job_id = None if job is None else job.id
        if job_id is not None:
            job = await self._tools.tuning.cancel(provider, str(job_id))
            await self._pay(model, job)
        await self._clean_up(provider)
        if (tuned := upstream.get("model")) is not None:
            await self._put(str(tuned), "withdrawn", dict(model.quality))
            await self._tools.reload()
        await self._change(state="cancelled", told=[_note("It was cancelled.")])
        self._emit()

    async def _clean_up(self, provider: Provider) -> None:
        """Nobody needs the words there any more."""
        if self.finetune.upstream.get("removed"):
            return
        # By their names: one that was uploaded just before a kill is known by nobody.
        for file in await self._tools.tuning.files(provider, _beginning(self.finetune)):
            await self._tools.tuning.remove_file(provider, file)
        await self._change(upstream={"removed": True})

    async def _pay(self, model: Model, job: TuningJob) -> None:
        cost = await self._bill.pay(model, job)
        if "charged" not in self.finetune.upstream:
            await self._change(spent=cost, upstream={"charged": dollars(cost)})

    async def _put(self, tuned: str, state: tuned_models.State, quality: Mapping[str, float]) -> None:
        finetune = self.finetune
        await asyncio.to_thread(
            tuned_models.put,
            self._tools.settings,
            tuned,
            base_model=finetune.base_model,
            state=state,
            workspaces=finetune.plan["workspaces"],
            quality=quality,
            finetune_id=finetune.id,
        )

    def _known(self) -> frozenset[str]:
        return self._told or frozenset(str(one["id"]) for one in self.finetune.events if one.get("id"))

    async def _tell(self, fresh: Sequence[JobEvent], status: str) -> None:
        self._told = self._known() | {one.id for one in fresh}
        told = [
            {"id": one.id, "at": _moment(one.at), "level": one.level, "message": one.message, "data": dict(one.data)}
            for one in fresh
        ]
        await self._change(upstream={"status": status}, told=told)

    async def _holding(self, work: Coroutine[Any, Any, Compared]) -> Compared | None:
        """Do something that takes long, and say meanwhile that it is still being done; None: it was cancelled."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=self._tools.poll_s)
                await self._change()
                if self.finetune.state == "cancelling":
                    return None
        finally:
            task.cancel()
        return task.result()

    async def _change(self, **values: Any) -> None:
        changed = await asyncio.to_thread(
            llm_finetunes.change, self._tools.settings, self.finetune.id, self._owner, hold_s=_HOLD_S, **values
        )
        if changed is None:
            raise LostClaim
        self.finetune = changed

    async def _fail(self, reason: str) -> None:
        tuned = self.finetune.upstream.get("model")
        if tuned is not None:
            await self._put(str(tuned), "withdrawn", {})
            await self._tools.reload()
        await self._change(state="failed", error=reason, told=[_note(reason, "error")])
        self._emit()

    def _emit(self) -> None:
        finetune = self.finetune
        told = {
            "finetune": finetune.id,
            "workspace": finetune.workspace,
            "name": finetune.name,
            "base_model": finetune.base_model,
            "state": finetune.state,
            "model": finetune.upstream.get("model"),
            "cost": dollars(finetune.cost),
            "reason": finetune.error or (finetune.report or {}).get("reason"),
        }
        events.emit(self._tools.settings, "finetune_finished", told)


def withdraw(settings: Settings, finetune: Finetune) -> None:
    """Take what a fine-tune made out of the catalogue.

    Raises
    ------
    StateConflict : it made nothing that is there.
    """
    if finetune.state != "admitted" or "model" not in finetune.upstream:
        raise StateConflict(
            f"The fine-tune {finetune.id} is {finetune.state}: it has no model in the catalogue.",
            remedy="Only one that was admitted can be withdrawn.",
            field="state",
            value=finetune.state,
        )
    tuned_models.withdraw(settings, str(finetune.upstream["model"]))


def _beginning(finetune: Finetune) -> str:
    return f"merit-{finetune.id}-"


def _note(message: str, level: str = "info") -> dict[str, Any]:
    return {"at": f"{utc_now().isoformat(timespec='seconds')}Z", "level": level, "message": message}


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
