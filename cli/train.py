"""`merit train`: candidates, judgement, gate, registry; on a file of your own or on the platform's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.files import check_writable, write_json
from cli.leaderboard import show_training
from cli.output import AsJson, dump, errors, screen, steps
from cli.parsing import names, numbers, whole_numbers
from cli.price_options import (
    Competitor,
    Control,
    Group,
    Instrument,
    Price,
    Product,
    Quantity,
    SalesColumns,
    Segment,
    Time,
    listed,
)
from cli.routing_scoreboard import show_differences, with_references
from cli.series_options import Also, Exog, Freq, Future, Hierarchy, Holidays, Id, Level, Models, Season
from cli.session import actor, prepared
from store.errors import InvalidValue
from store.settings import Settings

app = typer.Typer(
    help="Train a family of models and promote the best candidate if the gate agrees.", no_args_is_help=True
)

Data = Annotated[
    str | None,
    typer.Option("--data", help="CSV or Parquet file, or database URL. Without it: the platform's own tables."),
]
Name = Annotated[
    str | None,
    typer.Option(help="Registered model to compete for. (default: FAMILY for the platform, FAMILY-own for a file)"),
]
Report = Annotated[Path | None, typer.Option(help="Write the report as JSON.", dir_okay=False)]
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", help="Platform tables: learn only from what was known then.", formats=["%Y-%m-%d"]),
]


def own_name(family: str) -> str:
    """Where models trained from files compete, so that one never replaces what the API serves by accident."""
    return f"{family}-own"


@app.command("churn")
def churn(
    data: Data = None,
    entity: Annotated[str | None, typer.Option(help="Column with the customer's id.")] = None,
    target: Annotated[str | None, typer.Option(help="Column with the outcome.")] = None,
    positive: Annotated[str | None, typer.Option(help="Value of the target that means: has left.")] = None,
    time: Annotated[str | None, typer.Option(help="Column with dates: the latest rows become the holdout.")] = None,
    name: Name = None,
    report: Report = None,
    as_of: AsOf = None,
    horizon_days: Annotated[
        int | None,
        typer.Option(
            help="Days within which a customer leaves or stays; with --time so many are left out before the holdout.  "
            "(default: 30 on the platform, 0 for a file)",
            min=0,
        ),
    ] = None,
    keep_suspects: Annotated[bool, typer.Option(help="Learn from columns that seem to give the target away.")] = False,
    as_json: AsJson = False,
) -> None:
    """Churn: who is about to leave, with calibrated probabilities."""
    _check_report(report)
    name = _checked_name("churn", name, data)
    settings = prepared()
    if data is None:
        suspects = "given" if keep_suspects else None
        _refuse_file_options(entity=entity, target=target, positive=positive, time=time, keep_suspects=suspects)
        _from_platform(settings, "churn", name, as_of, report, as_json, horizon_days=horizon_days)
        return
    _refuse_platform_options(as_of)
    _require(target=target)
    from models.churn.from_file import prepare

    options = {
        "seed": settings.seed,
        "threads": settings.threads,
        "offer_cost": settings.offer_cost,
        "offer_value": settings.offer_value,
        "offer_success": settings.offer_success,
        "keep_suspects": keep_suspects,
        "horizon_days": horizon_days or 0,
    }
    made = prepare(
        data,
        settings.root / "datasets",
        target=str(target),
        entity=entity,
        positive=positive,
        time=time,
        keep_suspects=keep_suspects,
    )
    notes = list(made.notes)
    if time and not horizon_days:
        notes.append(
            "Every row before the holdout is learned from; --horizon-days N leaves out outcomes not known then."
        )
    told = options | {"positive_written": made.positive}
    _from_file(settings, "churn", name, told, made.ref, notes, report, as_json, positive=made.positive)


@app.command("forecasting")
def forecasting(
    data: Data = None,
    id_column: Id = None,
    time: Annotated[str | None, typer.Option(help="Column with the time. (default: ds)")] = None,
    target: Annotated[str | None, typer.Option(help="Column with the value. (default: y)")] = None,
    horizon: Annotated[int, typer.Option(help="Steps ahead.", min=1)] = 90,
    freq: Freq = None,
    season: Season = None,
    level: Level = "80,95",
    exog: Exog = None,
    future: Future = None,
    holidays: Holidays = None,
    hierarchy: Hierarchy = None,
    models: Models = None,
    also: Also = None,
    name: Name = None,
    report: Report = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Forecasting: panels of series with calibrated intervals."""
    _check_report(report)
    name = _checked_name("forecasting", name, data)
    settings = prepared()
    if data is None:
        _refuse_file_options(id=id_column, time=time, target=target, freq=freq, season=season)
        _refuse_file_options(exog=exog, future=future)
        levels = numbers(level, "--level")
        asked = {"also": names(also) or None, "members": names(models) or None}
        told: dict[str, Any] = {"holidays": holidays, "hierarchy": hierarchy, **asked}
        _from_platform(settings, "forecasting", name, as_of, report, as_json, horizon=horizon, levels=levels, **told)
        return
    _refuse_platform_options(as_of)
    from models.forecasting.from_file import prepare
    from models.forecasting.totals import separator_of

    options = {
        "horizon": horizon,
        "freq": freq,
        "seasons": whole_numbers(season, "--season"),
        "levels": numbers(level, "--level"),
        "threads": settings.threads,
        "exog": names(exog),
        "holidays": holidays,
        "hierarchy": None if hierarchy is None else separator_of(hierarchy),
        "also": names(also),
        "members": names(models) or None,
    }
    folder = settings.root / "datasets"
    ref, notes = prepare(
        data,
        folder,
        id_column=id_column,
        time_column=time or "ds",
        target_column=target or "y",
        freq=freq,
        exog=names(exog),
        future=future,
        horizon=horizon,
        hierarchy=hierarchy,
    )
    _from_file(settings, "forecasting", name, options, ref, notes, report, as_json)


@app.command("pricing")
def pricing(
    data: Data = None,
    product: Product = None,
    price: Price = None,
    quantity: Quantity = None,
    time: Time = None,
    group: Group = None,
    control: Control = None,
    cost: Annotated[str | None, typer.Option(help="Column with the variable cost of a unit.")] = None,
    competitor: Competitor = None,
    segment: Segment = None,
    instrument: Instrument = None,
    level: Annotated[float, typer.Option(help="Level of the intervals in percent.", min=50, max=99.9)] = 90,
    name: Name = None,
    report: Report = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Pricing: demand, and elasticities with intervals; `merit price` recommends."""
    _check_report(report)
    name = _checked_name("pricing", name, data)
    settings = prepared()
    columns = SalesColumns(
        product, price, quantity, time, group, listed(control), cost, competitor, segment, listed(instrument)
    )
    if data is None:
        columns.refuse()
        _from_platform(settings, "pricing", name, as_of, report, as_json)
        return
    _refuse_platform_options(as_of)
    ref, notes = columns.prepare(data, settings.root / "datasets")
    options = {"seed": settings.seed, "threads": settings.threads, "level": level / 100}
    _from_file(settings, "pricing", name, options, ref, notes, report, as_json)


@app.command("segmentation")
def segmentation(
    name: Name = None,
    report: Report = None,
    as_of: AsOf = None,
    horizon_days: Annotated[int, typer.Option(help="Days ahead that segments are judged by.", min=1)] = 90,
    k: Annotated[int | None, typer.Option("--k", help="Number of segments. (default: the data decide)", min=2)] = None,
    value_days: Annotated[int, typer.Option(help="Days ahead that lifetime value adds up.", min=30)] = 1095,
    as_json: AsJson = False,
) -> None:
    """Segmentation: customers by behaviour, with lifetime value. For a file of purchases: `merit segment`."""
    _check_report(report)
    options = {"horizon_days": horizon_days, "k": k, "value_days": value_days}
    _from_platform(
        prepared(), "segmentation", _checked_name("segmentation", name, None), as_of, report, as_json, **options
    )


@app.command("routing")
def routing(
    data: Data = None,
    prompt: Annotated[str | None, typer.Option(help="Column with the prompt. (default: prompt)")] = None,
    group: Annotated[str | None, typer.Option(help="Column whose rows stay together in every split.")] = None,
    time: Annotated[str | None, typer.Option(help="Column with dates: the latest rows become the holdout.")] = None,
    name: Name = None,
    report: Report = None,
    as_of: AsOf = None,
    trees: Annotated[int, typer.Option(help="Boosted trees among the members; 0 for none.", min=0)] = 100,
    embeddings: Annotated[
        str | None,
        typer.Option(help="What words mean: a folder of Model2Vec, or its name on the hub (the extra embeddings)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Routing: which model answers a prompt; on a table of outcomes or on the gateway's own calls.

    A table holds `prompt` and, for each model, `MODEL|score` and `MODEL|cost`; `MODEL|latency` and `MODEL|tokens` may
    follow, and cells may be missing.
    """
    _check_report(report)
    name = _checked_name("routing", name, data)
    settings = prepared()
    embeddings = embeddings or settings.embeddings_model or ""
    if data is None:
        _refuse_file_options(prompt=prompt, group=group, time=time)
        _from_platform(settings, "routing", name, as_of, report, as_json, trees=trees, embeddings=embeddings)
        return
    _refuse_platform_options(as_of)
    from models.routing.from_file import prepare

    made = prepare(data, settings.root / "datasets", prompt=prompt or "prompt", group=group, time=time)
    options = {
        "seed": settings.seed,
        "threads": settings.threads,
        "trees": trees,
        "scale": made.scale,
        "embeddings": embeddings,
    }
    _from_file(settings, "routing", name, options, made.ref, made.notes, report, as_json)


@app.command("quality")
def quality(
    name: Name = None,
    report: Report = None,
    as_of: AsOf = None,
    days: Annotated[int, typer.Option(help="Calls of so many days before that are learned from.", min=1)] = 180,
    as_json: AsJson = False,
) -> None:
    """Quality of answers: what people think of them, learned from the feedback that was given to the gateway."""
    _check_report(report)
    _from_platform(prepared(), "quality", _checked_name("quality", name, None), as_of, report, as_json, days=days)


def _checked_name(family: str, name: str | None, data: str | None) -> str:
    """The registered model to compete for; refused before any work when it cannot be one."""
    from models.families import Spec

    default = family if data is None else own_name(family)
    return Spec(family, default if name is None else name).name


def _from_file(
    settings: Settings,
    family: str,
    name: str,
    options: Mapping[str, Any],
    ref: Any,
    notes: Sequence[str],
    report: Path | None,
    as_json: bool,
    **about_data: str,
) -> None:
    from models.families import Spec
    from models.lifecycle.gate import GatePolicy
    from models.lifecycle.registration import summary
    from models.lifecycle.training import train

    for note in notes:
        errors.print(note, style="yellow", highlight=False, markup=False)
    spec = Spec(family, name, options)
    # A file with other columns asks another question than the champion answers: judged on its own merits.
    policy = GatePolicy(incomparable="promote")
    with steps() as progress:
        judgement, outcome = train(settings, spec, ref, actor=actor(), notes=notes, policy=policy, progress=progress)
    body = summary(judgement)
    made = outcome.registered
    body["model"] |= {"version": made.version, "champion": outcome.champion, "run": made.run_id}
    body["dataset"] |= about_data
    body |= {"verdict": outcome.verdict, "reason": outcome.reason}
    _finish(body, report, as_json)


def _from_platform(
    settings: Settings,
    family: str,
    name: str,
    as_of: datetime | None,
    report: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    from flows.run import run_flow

    parameters = {"name": name, "as_of": as_of}
    parameters |= {option: value for option, value in options.items() if value is not None}
    with steps() as progress:
        trained = run_flow(settings, f"train-{family}", parameters, actor=actor(), progress=progress)
    body = dict(trained.report)
    model = {**body.get("model", {}), "version": trained.version, "champion": trained.champion, "run": trained.run_id}
    body |= {"model": model, "verdict": trained.verdict, "reason": trained.reason}
    _finish(body, report, as_json)


def _finish(body: dict[str, Any], report: Path | None, as_json: bool) -> None:
    if body.get("model", {}).get("family") == "routing":
        body = with_references(body)
    if report:
        write_json(body, report)
    if as_json:
        dump(body)
        return
    show_training(body)
    if body.get("model", {}).get("family") == "routing":
        show_differences(body)
    if report:
        screen.print(f"Report in {report}", style="dim", highlight=False)


def _check_report(report: Path | None) -> None:
    check_writable(report)
    if report and report.suffix.lower() != ".json":
        raise InvalidValue(f"--report {report} is JSON.", remedy="Name a file that ends in .json.", field="report")


def _require(**given: object) -> None:
    for name, value in given.items():
        if value is None:
            raise InvalidValue(
                f"--{name} is missing.", remedy=f"With --data, name the column: --{name} COLUMN.", field=name
            )


def _refuse_file_options(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise InvalidValue(
                f"{option} {value} goes with --data.", remedy="Add --data FILE, or leave it out.", field=name
            )


def _refuse_platform_options(as_of: datetime | None) -> None:
    if as_of is not None:
        raise InvalidValue(
            f"--as-of {as_of:%Y-%m-%d} goes with the platform's tables.",
            remedy="Leave it out: a file holds what it holds.",
            field="as_of",
        )
