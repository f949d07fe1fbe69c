"""`merit finetune`: tune a model on the gateway's own good answers, and let it earn its place."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.api_client import Api, Url
from cli.output import AsJson, dump, errors, screen, show, steps
from cli.parsing import names
from store.errors import BudgetExceeded, InvalidValue

app = typer.Typer(help="Tune a model on good answers of the ledger; the gate decides.", no_args_is_help=True)

_POLL_S = 1.0
_PLACE = "/v1/finetunes"
# What is behind at each state, of four steps.
_DONE = {"prepared": 0, "submitting": 1, "running": 2, "cancelling": 2, "evaluating": 3}

Id = Annotated[str, typer.Argument(metavar="ID", help="Of a fine-tune; `merit finetune list` lists them.")]


@app.command("start")
def start(
    base: Annotated[str, typer.Option("--base", help="Id of the model to tune.")],
    task: Annotated[
        str, typer.Option(help="creative, analytical, conversational, any, a domain, or tag:NAME.")
    ] = "any",
    workspace: Annotated[
        str | None, typer.Option(help="Only its answers. (default: the key's, or all that keep theirs)")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the tuned model is called. (default: the task)")] = None,
    days: Annotated[int, typer.Option(help="Calls of so many days.", min=1)] = 90,
    min_score: Annotated[float, typer.Option(help="Least judgement of a good answer.", min=0.5, max=1)] = 0.75,
    unjudged: Annotated[
        float | None,
        typer.Option(help="Score from words from which answers count that nobody judged.", min=0.5, max=1),
    ] = None,
    models: Annotated[str | None, typer.Option(help="Only answers of these, with commas between.")] = None,
    most: Annotated[int, typer.Option(help="Examples at most, the best and newest.", min=20)] = 2_000,
    epochs: Annotated[int | None, typer.Option(help="Passes over them. (default: by their number)", min=1)] = None,
    max_cost: Annotated[
        float | None, typer.Option(help="Dollars for training and evaluation. (default: as budgets allow)", min=0)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only prepare it, and tell what it would cost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether to spend it.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for its end.")] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Collect examples, show what it costs, submit, follow, and show how the tuned model did."""
    api = Api(url)
    body: dict[str, Any] = {
        "base_model": base,
        "task": task,
        "workspace": workspace,
        "name": name,
        "days": days,
        "min_score": min_score,
        "unjudged": unjudged,
        "models": list(names(models)),
        "most": most,
        "epochs": epochs,
    }
    made = api.post(_PLACE, {key: value for key, value in body.items() if value is not None})
    _tell_plan(made)
    if dry_run:
        if as_json:
            dump(made)
        return
    if max_cost is not None and made["expected"] > max_cost:
        raise BudgetExceeded(
            f"It is expected to cost ${made['expected']:.6f}, and --max-cost is ${max_cost:g}.",
            remedy="Raise it, or take fewer examples (--most) or epochs.",
            field="max_cost",
        )
    if not yes and errors.is_terminal:
        typer.confirm("Submit it?", abort=True, err=True)
    elif not yes and max_cost is None:
        raise InvalidValue(
            f"It would cost about ${made['expected']:.6f}, and nobody is at a terminal to be asked.",
            remedy=f"Add --yes or --max-cost, or submit it: `merit finetune submit {made['id']}`.",
            field="yes",
        )
    limit = {} if max_cost is None else {"max_cost": max_cost}
    made = api.post(f"{_PLACE}/{made['id']}/submit", limit)
    _show(_followed(api, made) if follow else made, as_json)


@app.command("submit")
def submit(
    finetune: Id,
    max_cost: Annotated[float | None, typer.Option(help="Dollars for training and evaluation.", min=0)] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit one that was prepared."""
    api = Api(url)
    made = api.post(f"{_PLACE}/{finetune}/submit", {} if max_cost is None else {"max_cost": max_cost})
    _show(_followed(api, made), as_json)


@app.command("list")
def listed(url: Url = None, as_json: AsJson = False) -> None:
    """Fine-tunes, newest first."""
    found = Api(url).get(_PLACE)["finetunes"]
    show(found, ["id", "state", "base_model", "task", "cost", "model"], as_json=as_json)


@app.command("show")
def shown(
    finetune: Id,
    events: Annotated[bool, typer.Option("--events", help="Everything that happened.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """One fine-tune: how far it is, and how the tuned model did."""
    made = Api(url).get(f"{_PLACE}/{finetune}")
    if events and not as_json:
        show(made["events"], ["at", "level", "message"], as_json=False)
    _show(made, as_json)


@app.command("cancel")
def cancel(finetune: Id, url: Url = None, as_json: AsJson = False) -> None:
    """End one, at the provider too."""
    _show(Api(url).post(f"{_PLACE}/{finetune}/cancel", {}), as_json)


@app.command("withdraw")
def withdraw(finetune: Id, url: Url = None, as_json: AsJson = False) -> None:
    """Take a tuned model out of the catalogue."""
    made = Api(url).post(f"{_PLACE}/{finetune}/withdraw", {})
    if as_json:
        dump(made)
        return
    screen.print(f"{made['model']} gets no more calls.", highlight=False, markup=False)


def _followed(api: Api, made: dict[str, Any]) -> dict[str, Any]:
    with steps() as report:
        while made["finished_at"] is None:
            last = made["events"][-1]["message"] if made["events"] else made["state"]
            report(last[:60], _DONE.get(made["state"], 0), 4)
            time.sleep(_POLL_S)
            made = api.get(f"{_PLACE}/{made['id']}")
    return made


def _tell_plan(made: Mapping[str, Any]) -> None:
    plan = made["plan"]
    train, held = plan["training"], plan["validation"]
    told = [
        f"{train['examples']} examples to learn from ({train['tokens']:,} tokens, {plan['epochs']} epochs), "
        f"{held['examples']} of {held['groups']} held out, from {', '.join(plan['workspaces'])}.",
    ]
    if plan["left_out"]:
        told.append("Left out: " + ", ".join(f"{count} {why}" for why, count in plan["left_out"].items()) + ".")
    if plan["workspaces_left_out"]:
        left = ", ".join(f"{name} ({why})" for name, why in plan["workspaces_left_out"].items())
        told.append(f"Workspaces left out: {left}.")
    if plan["personal_data_removed"]:
        taken = ", ".join(f"{count} × {what}" for what, count in plan["personal_data_removed"].items())
        told.append(f"Personal data removed: {taken}.")
    cost = plan["cost"]
    told.append(
        f"{made['id']} is expected to cost ${cost['total']:.6f}: "
        f"training ${cost['training']:.6f}, evaluation ${cost['evaluation']:.6f}."
    )
    errors.print("\n".join(told), highlight=False, markup=False)


def _show(made: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        dump(made)
        return
    report = made["report"]
    if report is not None:
        rows = [
            {
                "model": one["model"],
                "quality": one["quality"],
                "$ a 1,000 calls": {end: value * 1_000 for end, value in one["cost"].items()},
                "latency, ms": one["latency_ms"],
                "failed": one["failed"],
            }
            for one in (report["base"], report["tuned"])
        ]
        held = made["plan"]["validation"]
        title = f"{held['examples']} examples held out, means with 95 % intervals"
        show(rows, ["model", "quality", "$ a 1,000 calls", "latency, ms", "failed"], as_json=False, title=title)
        screen.print(report["reason"], highlight=False, markup=False)
    told = f"{made['id']} · {made['state']} · spent ${made['cost']:.6f}"
    told += f" · {made['model']}" if made["model"] else ""
    screen.print(told, highlight=False, markup=False)
    if made["error"]:
        errors.print(made["error"], style="yellow", highlight=False, markup=False)
