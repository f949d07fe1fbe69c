"""`merit route`: which model would answer a prompt, and why; nothing is asked and nothing is spent.

A prompt is decided by the gateway that runs; a file of prompts by a policy of the registry, in this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.api_client import Api, Url
from cli.files import check_writable
from cli.llm_options import (
    Ask,
    Capabilities,
    Llm,
    LocalOnly,
    MaxCost,
    MaxLatency,
    MinQuality,
    System,
    chat_body,
)
from cli.output import AsJson, dump, errors, progress_bar, screen, show
from cli.parsing import numbers
from store.errors import InvalidValue, NoChampion

_SHOWN_EXCLUDED = 12


def route(
    prompt: Ask = "",
    model: Llm = "auto",
    system: System = None,
    max_cost: MaxCost = None,
    max_latency_ms: MaxLatency = None,
    min_quality: MinQuality = None,
    capabilities: Capabilities = None,
    local_only: LocalOnly = False,
    policy: Annotated[str | None, typer.Option(help="Decide for a file, with this policy of the registry.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="With --policy: CSV or Parquet file of prompts.")] = None,
    tradeoff: Annotated[
        str | None, typer.Option(help="With --policy: from 0, quality, to 1, cost: 0,0.5,1. (default: 0.5)")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --policy: write here, .csv or .parquet.")] = None,
    column: Annotated[str | None, typer.Option(help="With --policy: column of prompts. (default: prompt)")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the decision for a prompt without making the call: candidates, scores, cost, and what was excluded.

    With --policy NAME --data FILE --out FILE, decide for every prompt of a file: one row for each prompt and trade-off
    with the chosen model and its predicted quality and cost.
    """
    if policy is not None:
        _refuse(prompt)
        _decide(policy, data, tradeoff, out, column or "prompt")
        return
    for name, given in {"data": data, "tradeoff": tradeoff, "out": out, "column": column}.items():
        if given is not None:
            raise InvalidValue(
                f"--{name} goes with --policy.", remedy="Add --policy NAME, or leave it out.", field=name
            )
    if not prompt:
        raise InvalidValue(
            "There is no prompt.",
            remedy="Give one, - for standard input, or --policy NAME --data FILE.",
            field="prompt",
        )
    body = chat_body(
        prompt,
        model=model,
        system=system,
        max_cost=max_cost,
        max_latency_ms=max_latency_ms,
        min_quality=min_quality,
        capabilities=capabilities,
        local_only=local_only,
    )
    answer = Api(url).post("/v1/llm/route", body)
    if as_json:
        dump(answer)
        return
    show_decision(answer.get("decision", answer))


def _refuse(prompt: str) -> None:
    if prompt:
        raise InvalidValue(
            "A prompt is decided by the gateway, a file by --policy.",
            remedy="Give the prompt or --policy with --data, not both.",
            field="prompt",
        )


def _decide(name: str, data: str | None, tradeoff: str | None, out: Path | None, column: str) -> None:
    for option, given in {"data": data, "out": out}.items():
        if given is None:
            raise InvalidValue(f"--{option} is missing.", remedy=f"Add --{option} FILE.", field=option)
    assert data is not None
    assert out is not None
    check_writable(out)
    if out.suffix.lower() == ".json":
        raise InvalidValue(f"--out {out} is CSV or Parquet.", remedy="End it in .csv or .parquet.", field="out")
    from features.reading import read_table
    from models.routing.deciding import checked_tradeoffs, decisions, write
    from models.routing.from_file import prompts_of
    from models.routing.model import RoutingModel
    from store.registry import Registry
    from store.settings import load_settings

    tradeoffs = checked_tradeoffs(numbers(tradeoff or "0.5", "--tradeoff"))
    registry = Registry(load_settings())
    version = _version(registry, name)
    model = RoutingModel.load(registry.fetch(name, version), judged=False)
    texts = prompts_of(read_table(data), column)
    with progress_bar() as bar:
        task = bar.add_task("decide", total=len(texts))
        rows = write(
            decisions(model, texts, tradeoffs, lambda done, _: bar.update(task, completed=done)),
            out,
        )
    screen.print(f"{rows} decisions of {name} v{version} in {out}", highlight=False, markup=False)


def _version(registry: Any, name: str) -> int:
    """The champion; the latest version where nothing was promoted yet, which is told."""
    champion: int | None = registry.alias(name, "champion")
    if champion is not None:
        _check_family(registry, name, champion)
        return champion
    versions = sorted(one.version for one in registry.versions(name))
    if not versions:
        raise NoChampion(
            f"The model {name!r} has no version.", remedy=f"Run `merit train routing --name {name}`.", field="policy"
        )
    _check_family(registry, name, versions[-1])
    errors.print(
        f"{name} has no champion: version {versions[-1]} decides, which the gate did not promote.",
        style="yellow",
        highlight=False,
        markup=False,
    )
    return int(versions[-1])


def _check_family(registry: Any, name: str, version: int) -> None:
    family = registry.version(name, version).tags.get("family")
    if family != "routing":
        raise InvalidValue(
            f"The model {name!r} belongs to the family {family}: it chooses no models.",
            remedy="Name a policy made by `merit train routing`.",
            field="policy",
            value=name,
        )


def show_decision(decision: Mapping[str, Any]) -> None:
    """A decision for people, as `Decision.explain` tells it."""
    task = decision.get("task") or {}
    asked = f"{task.get('complexity')} {task.get('domain')}, {task.get('input_tokens')} tokens"
    needs = f", needs {', '.join(task['needs'])}" if task.get("needs") else ""
    screen.print(f"{decision['model']}: {decision.get('reason', '')}", style="bold", highlight=False, markup=False)
    screen.print(f"Task: {asked}{needs}. {'; '.join(task.get('reasons') or [])}", style="dim", markup=False)
    rows = [
        {
            "model": one["model"],
            "score": one["score"],
            "quality": one["quality"],
            "$ per 1000": 1000 * one["cost"],
            "ms": round(one["latency_ms"]),
        }
        for one in decision.get("candidates", [])
    ]
    show(rows, ["model", "score", "quality", "$ per 1000", "ms"], as_json=False)
    excluded = list((decision.get("excluded") or {}).items())
    for name, why in excluded[:_SHOWN_EXCLUDED]:
        screen.print(f"not {name}: {why}", style="dim", highlight=False, markup=False)
    if len(excluded) > _SHOWN_EXCLUDED:
        screen.print(f"and {len(excluded) - _SHOWN_EXCLUDED} more; --json has all.", style="dim", markup=False)
    sure = f"Confidence {decision.get('confidence', 1):.0%}, policy {decision.get('policy')}."
    screen.print(sure, style="dim", highlight=False, markup=False)
