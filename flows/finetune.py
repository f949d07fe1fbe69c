"""Fine-tuning of a model on the gateway's own good answers, as a Prefect flow."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import flow, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow

from flows.artifacts import artifact_key
from flows.ending import ended
from flows.environment import current_settings
from flows.run import watcher
from flows.stages import is_transient, within_run
from gateway.improve.finetuning.planning import Wish, prepare
from gateway.improve.finetuning.standing_in import bring_to_its_end, configuration_of
from gateway.improve.finetuning.tasks import Selection
from gateway.money import dollars
from gateway.prompt import DEFAULT_WORKSPACE, Tenant
from store.errors import TrainingError
from store.events import emit
from store.llm_finetunes import Finetune
from store.tables.base import utc_now
from store.workspaces import organisation_of

_STEPS = {"prepared": 0, "submitting": 1, "running": 2, "cancelling": 2, "evaluating": 3}


def _name_of_run() -> str:
    parameters = runtime.flow_run.parameters
    return f"tune {parameters.get('base_model')} on {parameters.get('task')}"


def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell whoever listens that a model was not tuned, and why."""
    error = state.result(raise_on_failure=False)
    reason = str(error) if isinstance(error, BaseException) else (state.message or "")
    payload = {"flow": flow.name, "run": flow_run.name, "run_id": str(flow_run.id), "reason": reason}
    emit(current_settings(), "finetune_failed", payload)


@flow(name="finetune", flow_run_name=_name_of_run, on_failure=[notify_failure])
def finetune(
    base_model: str,
    task: str = "any",
    workspace: str | None = None,
    name: str | None = None,
    days: int = 90,
    min_score: float = 0.75,
    most: int = 2000,
    epochs: int | None = None,
    max_cost: float = 1.0,
    hours: float = 24.0,
) -> dict[str, Any]:
    """Tune a model on good answers whose words are kept, compare it with its base, and let the gate admit it.

    Args:
        base_model: Id of the model to tune, such as "simulated/small".
        task: creative, analytical, conversational, any, a domain, or tag:NAME for calls with a tag of yours.
        workspace: Only its answers, and in its name. Empty means all that keep theirs and let the model have them.
        name: What the tuned model is called. Empty means the task.
        days: Answers of so many days count.
        min_score: Least judgement of a good answer, 0 to 1.
        most: Examples at most, the best and newest first.
        epochs: Passes over the examples. Empty means as many as their number asks for.
        max_cost: Dollars for training and evaluation. Nothing is submitted that is expected to cost more.
        hours: How long the run waits for the provider.
    """
    finetune_id = prepared(base_model, task, workspace, name, days, min_score, most, epochs)
    made = brought_to_its_end(finetune_id, max_cost, hours)
    told = f"{made['model'] or made['base_model']} is {made['state']}: {made['reason']}"
    return ended(told, made)


@task(name="prepare", task_run_name="collect examples", persist_result=True, cache_key_fn=within_run)
def prepared(
    base_model: str,
    task: str,
    workspace: str | None,
    name: str | None,
    days: int,
    min_score: float,
    most: int,
    epochs: int | None,
) -> str:
    """Id of a fine-tune with its examples and price; a run that is retried goes on with the same one."""
    settings = current_settings()
    payer = workspace or DEFAULT_WORKSPACE
    tenant = Tenant(payer, organisation_of(settings, payer), key_name="flow finetune", role="admin")
    wish = Wish(
        base_model=base_model,
        workspace=workspace,
        name=name,
        epochs=epochs,
        selection=Selection(task=task, days=days, min_score=min_score, most=most),
    )
    made = prepare(settings, configuration_of(settings), wish, tenant, utc_now())
    create_table_artifact(
        key=artifact_key("examples", made.name),
        table=[
            {
                "part": part,
                "examples": made.plan[part]["examples"],
                "tokens": made.plan[part]["tokens"],
                "domains": ", ".join(f"{count} {domain}" for domain, count in made.plan[part]["by_domain"].items()),
            }
            for part in ("training", "validation")
        ],
        description=f"Examples for {made.base_model}, expected to cost ${dollars(made.expected):.6g}",
    )
    return made.id


@task(
    name="submit and follow",
    task_run_name="submit, follow, evaluate",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[5.0, 30.0],
    retry_condition_fn=is_transient,
)
def brought_to_its_end(finetune_id: str, max_cost: float, hours: float) -> dict[str, Any]:
    """What became of it.

    Raises
    ------
    BudgetExceeded : it is expected to cost more than it may.
    TrainingError : it failed, and why.
    """
    report = watcher()

    def tell(found: Finetune) -> None:
        if report is not None:
            last = str(found.events[-1]["message"]) if found.events else found.state
            report(last[:60], _STEPS.get(found.state, 4), 4)

    settings = current_settings()
    ended = asyncio.run(bring_to_its_end(settings, finetune_id, max_cost=max_cost, hours=hours, tell=tell))
    if ended.state == "failed":
        raise TrainingError(
            f"The fine-tune {ended.id} failed: {ended.error}",
            remedy="Mend that, and run the flow again.",
            field="state",
        )
    create_markdown_artifact(
        key=artifact_key("finetune", ended.name),
        markdown=finetune_markdown(ended),
        description=f"{ended.base_model}: {ended.state}",
    )
    reason = ended.report["reason"] if ended.report is not None else "it was cancelled"
    return {
        "id": ended.id,
        "state": ended.state,
        "base_model": ended.base_model,
        "model": ended.upstream.get("model"),
        "cost": dollars(ended.cost),
        "reason": reason,
    }


def finetune_markdown(ended: Finetune) -> str:
    """What was learned from what, how both models did, and the gate's word."""
    plan, report = ended.plan, ended.report
    lines = [
        f"# {ended.upstream.get('model') or ended.base_model}: {ended.state}",
        "",
        f"{plan['training']['examples']} examples ({plan['training']['tokens']:,} tokens, {plan['epochs']} epochs) of "
        f"{', '.join(plan['workspaces'])}; {plan['validation']['examples']} held out.",
        "",
        f"Spent ${dollars(ended.cost):.6g}.",
        "",
    ]
    if report is not None:
        lines += ["| model | quality | 95 % interval | latency, ms |", "|---|---|---|---|"]
        lines += [
            f"| {one['model']} | {one['quality']['value']:.3f} | {one['quality']['low']:.3f} – "
            f"{one['quality']['high']:.3f} | {one['latency_ms']:.0f} |"
            for one in (report["base"], report["tuned"])
        ]
        lines += ["", str(report["reason"])]
    return "\n".join(lines) + "\n"
