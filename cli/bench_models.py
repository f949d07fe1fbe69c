"""`merit bench-models`: prompts asked of several models, with quality, cost and latency beside each other."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.api_client import Api, Url
from cli.files import check_plot, check_writable
from cli.output import AsJson, dump, errors, screen, show, steps
from cli.parsing import names
from store.errors import BudgetExceeded, FileUnreadable, InvalidValue

_POLL_S = 0.5
_PLACE = "/v1/benchmarks"


def bench_models(
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts", help='One JSON object a line: {"prompt": "…", "expected": "…"} or "messages", "reference", …'
        ),
    ] = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Ids, strategies or ensembles, with commas between.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="For the list and MLflow. (default: the file's)")] = None,
    repeats: Annotated[int, typer.Option(help="Times that each prompt is asked.", min=1, max=20)] = 1,
    max_cost: Annotated[
        float,
        typer.Option(help="Dollars: nothing begins that is expected to cost more, and more is never spent.", min=0),
    ] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.", min=1)] = 1_024,
    concurrency: Annotated[int, typer.Option(help="Calls at once.", min=1, max=64)] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would cost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether to spend it.")] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write every answer's numbers as .csv.", dir_okay=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw quality, cost and latency as .png.", dir_okay=False)
    ] = None,
    show_id: Annotated[
        str | None, typer.Option("--show", help="Show one that was made before, by its id; `list` lists them.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Measure models on prompts of yours: quality, cost and latency with 95 % intervals, and which really differ."""
    _check_csv(csv)
    check_plot(plot)
    api = Api(url)
    if show_id == "list":
        _listed(api, as_json)
        return
    if show_id is not None:
        _show(api, api.get(f"{_PLACE}/{show_id}"), csv, plot, as_json)
        return
    body = {
        "prompts": _read(prompts),
        "models": list(names(models)),
        "name": (name or prompts.stem if prompts else name) or "benchmark",
        "repeats": repeats,
        "max_cost": max_cost,
        "max_tokens": max_tokens,
        "concurrency": concurrency,
    }
    planned = api.post(_PLACE, {**body, "dry_run": True})
    cost = planned["expected"]
    told = f"expected to cost ${cost['expected']:.6f}, at most ${min(cost['most'], max_cost):.6f}"
    errors.print(f"{planned['total']} calls, {told}.", highlight=False, markup=False)
    if dry_run:
        if as_json:
            dump(planned)
        return
    if cost["expected"] <= max_cost and not yes and errors.is_terminal:
        typer.confirm("Spend it?", abort=True, err=True)
    if cost["expected"] > max_cost:
        raise BudgetExceeded(
            f"It is expected to cost ${cost['expected']:.6f}, and --max-cost is ${max_cost:g}.",
            remedy="Raise it, or take fewer prompts, models or repeats.",
            field="max_cost",
        )
    made = api.post(_PLACE, body)
    _show(api, _ended(api, made), csv, plot, as_json)


def _ended(api: Api, made: dict[str, Any]) -> dict[str, Any]:
    """The benchmark when it has ended; interrupted, it is cancelled."""
    try:
        with steps() as report:
            while made["status"] == "running" or made["finished_at"] is None:
                report("ask", made["done"], made["total"])
                if made["status"] == "failed":
                    break
                time.sleep(_POLL_S)
                made = api.get(f"{_PLACE}/{made['id']}")
    except KeyboardInterrupt:
        api.post(f"{_PLACE}/{made['id']}/cancel", {})
        raise
    return made


def _show(api: Api, made: Mapping[str, Any], csv: Path | None, plot: Path | None, as_json: bool) -> None:
    if csv is not None:
        csv.write_bytes(api.download(f"{_PLACE}/{made['id']}/results?format=csv"))
    if plot is not None and made["report"] and made["report"]["models"]:
        from gateway.improve.benchmarks.plots import plot as drawn

        plot.write_bytes(drawn(made["report"], f"{made['name']}: {made['prompts']} prompts"))
    if as_json:
        dump(made)
        return
    report = made["report"] or {"models": [], "pairs": []}
    rows = [
        {
            "model": row["model"],
            "answers": row["answers"],
            "quality": row["quality"],
            "$ a 1,000 calls": _scaled(row["cost"], 1_000),
            "latency, ms": row["latency_ms"],
            "95 % below": row["latency_p95_ms"],
            "failed": row["failed"],
        }
        for row in report["models"]
    ]
    columns = ["model", "answers", "quality", "$ a 1,000 calls", "latency, ms", "95 % below", "failed"]
    show(rows, columns, as_json=False, title=f"{made['name']}: {made['prompts']} prompts, means with 95 % intervals")
    pairs = [one for one in report["pairs"] if one["measure"] == "quality"]
    if pairs:
        shown = [
            {
                "quality": f"{one['first']} – {one['second']}",
                "difference": {"value": one["difference"], "low": one["low"], "high": one["high"]},
                "p (Holm)": one["adjusted"],
                "differ": one["significant"],
            }
            for one in pairs
        ]
        show(shown, ["quality", "difference", "p (Holm)", "differ"], as_json=False)
    told = f"Spent ${made['cost']:.6f} · {made['id']}"
    told += f" · MLflow run {made['mlflow_run']}" if made["mlflow_run"] else ""
    told += "".join(f" → {path}" for path in (csv, plot) if path)
    screen.print(told, highlight=False, markup=False)
    if made["status"] != "completed":
        errors.print(f"{made['status']}: {made['reason'] or ''}", style="yellow", highlight=False, markup=False)


def _listed(api: Api, as_json: bool) -> None:
    found = api.get(_PLACE)["benchmarks"]
    columns = ["id", "name", "status", "models", "prompts", "cost", "created_at"]
    show(found, columns, as_json=as_json)


def _check_csv(path: Path | None) -> None:
    check_writable(path)
    if path is not None and path.suffix.lower() != ".csv":
        raise InvalidValue(
            f"--csv {path} does not end in .csv.", remedy="Name a .csv file; --json prints JSON.", field="csv"
        )


def _scaled(estimate: Mapping[str, float] | None, factor: float) -> dict[str, float] | None:
    return None if estimate is None else {name: value * factor for name, value in estimate.items()}


def _read(path: Path | None) -> list[Any]:
    from gateway.improve.benchmarks.prompts import read_prompts

    if path is None:
        raise InvalidValue("--prompts is missing.", remedy="Name a file of JSON lines.", field="prompts")
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise FileUnreadable(
            f"{path} cannot be read: {error.strerror}.", remedy="Name a file of JSON lines.", field="prompts"
        ) from None
    read_prompts(lines)  # told here, by its line, rather than by the API
    return [json.loads(line) for line in lines if line.strip()]
