"""`merit monitor` and `merit shadow`: what became of a champion, and a challenger that answers silently."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import AsJson, dump, screen, show, steps
from cli.session import actor, prepared
from store.errors import InvalidValue, UnknownVersion
from store.settings import Settings

shadow = typer.Typer(help="Let a challenger answer silently beside the champion, and compare.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="Name of the registered model.", show_default=False)]
_SHOWN = 12


def monitor(
    model: Annotated[
        str | None, typer.Argument(help="Name of the registered model. (default: every champion)", show_default=False)
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            metavar="DATE",
            help="Look only at what was known at this moment. (default: the end of the data)",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Another threshold, such as psi=0.3. May be repeated."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the page to this .html file (one model).", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at a champion: drift of what it reads, how it did on what came, whether it is worse than the one before.

    A champion worse than its predecessor is rolled back. Drift and worse results are told as events; on the server of
    `merit up` they begin a training.
    """
    from flows.run import run_flow

    _check_page(report, model)
    parameters = {"name": model, "as_of": as_of, "thresholds": _thresholds(threshold or [])}
    with steps() as progress:
        found: list[dict[str, Any]] = run_flow(prepared(), "monitor", parameters, actor=actor(), progress=progress)
    if report is not None:
        shutil.copyfile(found[0]["page"], report)
    if as_json:
        dump(found[0] if model else found)
        return
    if not found:
        screen.print("There is no champion to look at.", style="dim")
    for one in found:
        _tell(one)
    for one in found:
        screen.print(f"Page: {report or one['page']}", style="dim", highlight=False, soft_wrap=True)


def _check_page(report: Path | None, model: str | None) -> None:
    if report is None:
        return
    if model is None:
        raise InvalidValue(
            f"--report {report} is the page of one model.",
            remedy="Name the model: `merit monitor MODEL`.",
            field="report",
        )
    if report.suffix.lower() not in (".html", ".htm") or not report.absolute().parent.is_dir():
        raise InvalidValue(
            f"--report {report} cannot be written as a page.",
            remedy="Name a file that ends in .html in a folder that exists.",
            field="report",
        )


def _thresholds(given: Sequence[str]) -> dict[str, float] | None:
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise InvalidValue(
                f"--threshold {text} is no threshold.",
                remedy="Write name=number, such as psi=0.3.",
                field="threshold",
                value=text,
            ) from None
    return found or None


def _tell(report: Mapping[str, Any]) -> None:
    screen.print(report["headline"], style="bold", highlight=False, markup=False)
    if report["rollback"] and not report["rollback"]["done"]:
        screen.print(f"It stays champion: {report['rollback']['problem']}", style="red", highlight=False, markup=False)
    compared = [feature for feature in report["features"] if feature["psi"] is not None]
    if compared:
        rows = [
            {
                "feature": one["feature"],
                "PSI": one["psi"],
                "limit": one["limit"],
                "q": one["q_value"],
                "drifted": one["drifted"],
            }
            for one in compared[:_SHOWN]
        ]
        more = f", of {len(compared)}" if len(compared) > _SHOWN else ""
        title = f"Features that moved most{more}"
        show(rows, ["feature", "PSI", "limit", "q", "drifted"], as_json=False, title=title)
    for truth in report["truths"]:
        if truth["metrics"]:
            rows = [
                {"metric": one["name"], "now": one["now"], "at promotion": one["promised"], "worse": one["worse"]}
                for one in truth["metrics"]
            ]
            title = f"{truth['rows']} {truth['source']} outcomes"
            show(rows, ["metric", "now", "at promotion", "worse"], as_json=False, title=title)
        elif truth["problem"] and truth["problem"] not in report["notes"]:
            screen.print(f"{truth['source']}: {truth['problem']}", style="dim", highlight=False, markup=False)
    for note in report["notes"]:
        screen.print(note, style="dim", highlight=False, markup=False)


@shadow.command("start")
def start(
    model: Model,
    version: Annotated[
        int | None, typer.Argument(help="Version. (default: the challenger)", min=1, show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a version answer silently beside the champion; every running API follows within seconds."""
    from store import shadows
    from store.registry import Registry

    settings = prepared()
    started = shadows.start(settings, Registry(settings), model, version, actor=actor())
    if as_json:
        dump({"model": model, "shadow": started})
        return
    screen.print(f"{model} version {started} answers silently from now on.", highlight=False)
    screen.print(f"Compare with `merit shadow report {model}`.", style="dim", highlight=False)


@shadow.command("stop")
def stop(model: Model, as_json: AsJson = False) -> None:
    """Let it fall silent; what it answered is kept."""
    from store import shadows
    from store.registry import Registry

    settings = prepared()
    stopped = shadows.stop(settings, Registry(settings), model, actor=actor())
    if as_json:
        dump({"model": model, "stopped": stopped})
        return
    said = (
        f"{model} version {stopped} is silent." if stopped else f"No version of {model} was asked to answer silently."
    )
    screen.print(said, highlight=False)


@shadow.command("report")
def report(
    model: Model,
    version: Annotated[
        int | None, typer.Option(help="Version. (default: the shadow, else the latest that was one)", min=1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How a shadow compares with the champion on the same questions."""
    from models.monitoring.shadowing import compare
    from store import shadows

    settings = prepared()
    chosen = _chosen(settings, model, version)
    with steps() as progress:
        progress("read the answers", 0, 2)
        asked = shadows.pairs(settings, model, chosen)
        progress("compare", 1, 2)
        body = compare(model, chosen, asked).to_dict()
    if as_json:
        dump(body)
        return
    screen.print(body["verdict"], style="bold", highlight=False, markup=False)
    if not body["asked"]:
        return
    rows = [{"": f"same {name}", "value": value} for name, value in body["agreement"].items()]
    difference = body["difference"]
    if difference:
        rows += [
            {"": "probability less the champion's", "value": difference["mean"]},
            {"": "… 5 % to 95 % of answers", "value": _range(difference["quantiles"])},
            {"": "… largest", "value": difference["largest"]},
            {"": "milliseconds a row, median and 95th percentile", "value": _times(body["latency_ms"])},
        ]
    outcomes = body["outcomes"]
    if outcomes and "log_loss" in outcomes:
        rows += [{"": f"log loss of the {who}", "value": value} for who, value in outcomes["log_loss"].items()]
        rows.append({"": f"champion less shadow, {outcomes['rows']} outcomes", "value": outcomes["difference"]})
    show(rows, ["", "value"], as_json=False, title=f"{model} v{chosen}, {body['asked']} questions")
    for one in body["errors"]:
        screen.print(f"{one['answers']} × {one['error']}", style="yellow", highlight=False, markup=False)


def _chosen(settings: Settings, model: str, version: int | None) -> int:
    from store import shadows
    from store.registry import Registry

    registry = Registry(settings)
    running = registry.model(model).aliases.get(shadows.ALIAS)
    chosen = version or running or next(iter(shadows.counts(settings, model)), None)
    if chosen is None:
        raise UnknownVersion(
            f"No version of {model!r} has answered silently yet.",
            remedy=f"Start one: `merit shadow start {model}`.",
            field="version",
        )
    return registry.version(model, chosen).version


def _range(quantiles: Mapping[str, float]) -> str:
    return f"{quantiles['0.05']:+.4f} to {quantiles['0.95']:+.4f}"


def _times(latency: Mapping[str, float]) -> str:
    return f"{latency['median']:.2f}, {latency['p95']:.2f}"
