"""`merit price`: elasticities and recommended prices, from a file of sales or from the platform's promoted model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.files import check_writable, write_frame, write_json
from cli.output import AsJson, dump, errors, steps
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
from cli.price_tables import recommendation_rows, show_prices
from cli.session import actor, prepared
from cli.train import own_name
from store.errors import DataError, InvalidValue, NoChampion
from store.settings import Settings

if TYPE_CHECKING:
    from models.pricing.advice import Advice, Constraints
    from models.pricing.model import PricingModel

FAMILY = "pricing"
PICTURES = (".png", ".svg", ".pdf")


class Objective(StrEnum):
    """What is to become as large as possible."""

    margin = "margin"
    revenue = "revenue"


@dataclass(frozen=True)
class Priced:
    """A model and where it comes from.

    Attributes
    ----------
    about : model, version, verdict, data set: what the report says of it, JSON-ready.
    """

    model: PricingModel
    about: dict[str, Any]
    notes: tuple[str, ...] = field(default=())


Data = Annotated[
    str | None,
    typer.Option("--data", help="CSV or Parquet file, or database URL. Without it: the platform's promoted model."),
]
Cost = Annotated[str | None, typer.Option(help="Column with the variable cost of a unit, or one number for all.")]


def price(
    data: Data = None,
    product: Product = None,
    price: Price = None,
    quantity: Quantity = None,
    time: Time = None,
    group: Group = None,
    control: Control = None,
    cost: Cost = None,
    competitor: Competitor = None,
    segment: Segment = None,
    instrument: Instrument = None,
    floor: Annotated[float | None, typer.Option(help="Lowest price.")] = None,
    ceiling: Annotated[float | None, typer.Option(help="Highest price.")] = None,
    max_change: Annotated[float, typer.Option(help="Largest relative step from the present price.")] = 0.1,
    min_margin: Annotated[float | None, typer.Option(help="Smallest share of the price left after the cost.")] = None,
    fairness: Annotated[
        float | None, typer.Option(help="A price for each segment, the highest at most so many times the lowest.")
    ] = None,
    objective: Annotated[Objective, typer.Option(help="What is to become as large as possible.")] = Objective.margin,
    horizon_days: Annotated[int, typer.Option(help="Days over which the gain is added up.", min=1)] = 90,
    level: Annotated[float, typer.Option(help="Level of the intervals in percent.", min=50, max=99.9)] = 90,
    name: Annotated[
        str | None, typer.Option(help="Registered model. (default: pricing for the platform, pricing-own for a file)")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the recommendations: .csv, .parquet or .json.", dir_okay=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the demand curves: .png, .svg or .pdf.", dir_okay=False)
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the whole report as JSON.", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Elasticities with intervals and recommended prices; where the data cannot tell, why and what would settle it.

    With --data a model is trained on the file and competes for `pricing-own`; --price and --quantity name its columns.
    """
    _check_outputs(out, plot, report)
    unit_cost, cost_column = _cost(cost)
    columns = SalesColumns(
        product, price, quantity, time, group, listed(control), cost_column, competitor, segment, listed(instrument)
    )
    settings = prepared()
    with steps(quiet=as_json) as progress:
        if data is None:
            columns.refuse()
            priced = _promoted(settings, name or FAMILY, progress)
        else:
            priced = _trained(settings, data, name, level, columns, progress)
        for note in priced.notes:
            errors.print(note, style="yellow", highlight=False, markup=False)
        from models.pricing.advice import Constraints

        limits = Constraints(floor, ceiling, max_change, min_margin, fairness)
        advices, problems = _advise(
            priced.model, limits, objective.value, unit_cost, horizon_days, level / 100, progress
        )
    if objective is Objective.margin and not any(advice.question.unit_cost for advice in advices):
        line = "No unit cost is known, so that margin is the same as revenue: --cost COLUMN or --cost NUMBER tells it."
        errors.print(line, style="yellow", highlight=False, markup=False)
    body = _body(priced, advices, problems)
    if out:
        import pandas as pd

        write_frame(pd.DataFrame(recommendation_rows(advices, problems)), out)
    if plot:
        from cli.price_plot import draw

        draw(advices, plot)
    if report:
        write_json(body, report)
    if as_json:
        dump(body)
        return
    show_prices(body, advices, problems, out=out, plot=plot, report=report)


def _trained(
    settings: Settings,
    data: str,
    name: str | None,
    level: float,
    columns: SalesColumns,
    progress: Callable[[str, int, int], None],
) -> Priced:
    """A model trained on a file through the whole lifecycle: gate, registry, ledger."""
    from models.families import Spec
    from models.lifecycle.gate import GatePolicy
    from models.lifecycle.registration import summary
    from models.lifecycle.training import train
    from models.pricing.model import PricingModel

    options = {"seed": settings.seed, "threads": settings.threads, "level": level / 100}
    spec = Spec(FAMILY, own_name(FAMILY) if name is None else name, options)
    progress("read", 0, 1)
    ref, notes = columns.prepare(data, settings.root / "datasets")
    # A file with other columns asks another question than the champion answers: judged on its own merits.
    policy = GatePolicy(incomparable="promote")
    judgement, outcome = train(settings, spec, ref, actor=actor(), notes=notes, policy=policy, progress=progress)
    told = summary(judgement)
    made = outcome.registered
    about = {
        "model": {**told["model"], "version": made.version, "champion": outcome.champion, "run": made.run_id},
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "split": told["split"],
        "dataset": told["dataset"],
        "notes": list(notes),
        "candidates": told["candidates"],
        "chosen": told["chosen"]["candidate"],
    }
    return Priced(PricingModel.load(judgement.final), about, tuple(notes))


def _promoted(settings: Settings, name: str, progress: Callable[[str, int, int], None]) -> Priced:
    """The champion of the platform."""
    from models.pricing.model import PricingModel
    from store.registry import Registry

    progress("load the model", 0, 1)
    registry = Registry(settings)
    version = registry.alias(name, "champion")
    if version is None:
        raise NoChampion(
            f"Nothing is champion under {name!r} in {settings.root} (MERIT_HOME).",
            remedy="Train on the platform's tables with `merit train pricing`, or name a file: "
            "`merit price --data FILE --product COLUMN --price COLUMN --quantity COLUMN`.",
        )
    info = registry.version(name, version)
    about = {
        "model": {"name": name, "family": FAMILY, "version": version, "champion": version, "run": info.run_id},
        "dataset": {"digest": info.tags.get("dataset_digest")},
    }
    return Priced(PricingModel.load(registry.fetch(name, version)), about)


def _advise(
    model: PricingModel,
    constraints: Constraints,
    objective: Any,
    unit_cost: float | None,
    horizon_days: int,
    level: float,
    progress: Callable[[str, int, int], None],
) -> tuple[list[Advice], list[dict[str, str]]]:
    """Advice for every product, and the products for which the constraints make no sense."""
    from models.pricing.advice import Question

    advices, problems = [], []
    products = list(model.products)
    for done, product in enumerate(products):
        progress("recommend", done, len(products))
        cost = unit_cost if unit_cost is not None else model.unit_cost(product) or 0.0
        question = Question(
            product,
            unit_cost=cost,
            objective=objective,
            constraints=constraints,
            horizon_days=horizon_days,
            level=level,
        )
        try:
            advices.append(model.advise(question))
        except DataError as error:
            if len(products) == 1:
                raise
            problems.append({"product": product, "problem": error.message, "remedy": error.remedy})
    if not advices and problems:
        first = problems[0]
        raise InvalidValue(f"{first['product']}: {first['problem']}", remedy=first["remedy"])
    return advices, problems


def _body(priced: Priced, advices: Sequence[Advice], problems: Sequence[dict[str, str]]) -> dict[str, Any]:
    """The whole report, JSON-ready."""
    from models.pricing.advice import plain

    return {
        **priced.about,
        "elasticities": plain(priced.model.elasticities),
        "recommendations": plain(advices),
        "problems": list(problems),
        "facts": plain(priced.model.facts),
    }


def _check_outputs(out: Path | None, plot: Path | None, report: Path | None) -> None:
    check_writable(out)
    if plot is not None:
        if plot.suffix.lower() not in PICTURES:
            raise InvalidValue(
                f"--plot {plot}: the ending {plot.suffix!r} is unknown.",
                remedy=f"Use one of {', '.join(PICTURES)}.",
                field="plot",
            )
        if not plot.absolute().parent.is_dir():
            raise InvalidValue(
                f"{plot} cannot be written.", remedy="Name a file in a folder that exists.", field="plot"
            )
    check_writable(report)
    if report and report.suffix.lower() != ".json":
        raise InvalidValue(f"--report {report} is JSON.", remedy="Name a file that ends in .json.", field="report")


def _cost(given: str | None) -> tuple[float | None, str | None]:
    """A number for all products, or the name of a column."""
    if given is None:
        return None, None
    try:
        number = float(given)
    except ValueError:
        return None, given
    if not 0 <= number < 1e12:
        raise InvalidValue(f"--cost {given} is no cost.", remedy="Give a number of at least 0.", field="cost")
    return number, None
