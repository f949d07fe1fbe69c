"""`merit retain`: whom to offer what within a budget, and what a past campaign changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.champion import churn_champion
from cli.files import check_writable, write_frame
from cli.output import AsJson, dump, errors, screen, show_frame, steps
from cli.retain_report import show_campaign, show_plan
from cli.session import prepared
from store.errors import InvalidValue, NoChampion
from store.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from models.churn.retention.doubt import Doubt
    from models.churn.retention.plan import Customers
    from models.churn.uplift.learner import Learned
    from models.churn.uplift.model import UpliftModel

WHO, WHAT, PAST, OUTPUT = "Customers", "Offers", "Past campaign", "Output"
SHOWN = 15


def retain(
    offers: Annotated[
        str | None,
        typer.Option(
            help="Table of offers: name, cost, and success (share of leavers it keeps) or effect (points of "
            "probability, or the word campaign); optional eligible, such as: band = high and plan = basic|plus.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Most to spend in all. (default: every offer that pays)", rich_help_panel=WHAT)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Customers as CSV, Parquet or database URL: with a column probability (scores), or with the columns "
            "the model reads. (default: the platform's customers)",
            rich_help_panel=WHO,
        ),
    ] = None,
    entity: Annotated[
        str | None, typer.Option(help="Column with the customer's id. (default: as trained)", rich_help_panel=WHO)
    ] = None,
    revenue: Annotated[
        str | None,
        typer.Option(help="Column with the revenue per month. (default: monthly_price)", rich_help_panel=WHO),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(help="Column with what a kept customer is worth, instead of --revenue.", rich_help_panel=WHO),
    ] = None,
    months: Annotated[
        float, typer.Option(help="Months over which a kept customer's revenue counts.", rich_help_panel=WHO)
    ] = 12.0,
    name: Annotated[
        str | None,
        typer.Option(
            help="Registered model. (default: churn-own for a file where it has a champion, else churn)",
            rich_help_panel=WHO,
        ),
    ] = None,
    campaign: Annotated[
        str | None,
        typer.Option(
            help="Table of a campaign that chance handed out, or a folder written by --save: learn whom it helped.",
            rich_help_panel=PAST,
        ),
    ] = None,
    treatment: Annotated[
        str | None, typer.Option(help="Column that tells who was made the offer.", rich_help_panel=PAST)
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Column that tells who left afterwards.", rich_help_panel=PAST)
    ] = None,
    treated: Annotated[
        str | None, typer.Option(help="Value of --treatment that means: was made the offer.", rich_help_panel=PAST)
    ] = None,
    positive: Annotated[
        str | None, typer.Option(help="Value of --outcome that means: it happened.", rich_help_panel=PAST)
    ] = None,
    wanted: Annotated[
        bool,
        typer.Option("--wanted", help="The outcome is what the offer is for (stayed, bought).", rich_help_panel=PAST),
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(help="Keep what was learned from the campaign in this folder.", rich_help_panel=PAST),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write the Qini curve as .svg or .png.", rich_help_panel=PAST, dir_okay=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Write the plan as .csv, .parquet or .json.", rich_help_panel=OUTPUT, dir_okay=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Plan a retention campaign: at most one offer per customer, by expected value, never above the budget.

    Expected value of an offer = fall of the probability of leaving × value if kept − cost.

    With --campaign and without --offers: judge a past campaign, and whom it helped.

    Examples:

    merit retain --offers offers.csv --budget 5000 --out plan.csv

    merit retain --data customers.csv --revenue MonthlyCharges --offers offers.csv --budget 5000

    merit retain --campaign past.csv --treatment offered --outcome churned --plot qini.svg
    """
    _check(offers, budget, campaign, treatment, outcome, save, plot)
    check_writable(out)
    settings = prepared()
    from features.reading import read_table
    from models.churn.retention.offers import offers_of

    offered = offers_of(read_table(offers)) if offers else []
    with steps() as report:
        report("campaign" if campaign else "customers", 0, 3)
        learned, uplift = _uplift(campaign, treatment, outcome, treated, positive, wanted, entity)
        report("customers", 1, 3)
        if offers is None:
            assert uplift is not None
            _finish_campaign(uplift, learned, data, entity, save, plot, out, as_json)
            return
        customers, spread, source = _customers(settings, data, entity, revenue, value, months, name)
        if uplift is not None and any(one.from_campaign for one in offered):
            customers = _with_effect(customers, uplift)
        report("plan", 2, 3)
        from models.churn.retention.plan import plan

        made = plan(customers, offered, budget, spread)
    _keep(uplift, learned, save, plot)
    if out:
        write_frame(made.assignments, out)
    if as_json:
        extra = {"out": str(out)} if out else {"assignments": made.assignments.to_dict("records")}
        dump({"source": source, **made.summary, **({"campaign": dict(uplift.facts)} if uplift else {}), **extra})
        return
    if uplift is not None:
        show_campaign(uplift.facts)
    show_plan(source, made.summary)
    if out:
        screen.print(f"{len(made.assignments)} offers → {out}", highlight=False, markup=False)
        return
    columns = ["rank", "customer", "band", "probability", "value_if_kept", "offer", "cost", "revenue_saved", "net"]
    show_frame(made.assignments.head(SHOWN)[columns], as_json=False)
    if len(made.assignments) > SHOWN:
        screen.print(f"… and {len(made.assignments) - SHOWN} more; --out plan.csv writes all.", style="dim")


def _check(
    offers: str | None,
    budget: float | None,
    campaign: str | None,
    treatment: str | None,
    outcome: str | None,
    save: Path | None,
    plot: Path | None,
) -> None:
    """Refuse what does not go together, before any work."""
    if offers is None and campaign is None:
        raise InvalidValue(
            "Neither --offers nor --campaign is given.",
            remedy="Give --offers FILE to plan a campaign, or --campaign FILE to judge a past one.",
            field="offers",
        )
    if offers is None and budget is not None:
        raise InvalidValue("--budget goes with --offers.", remedy="Add --offers FILE.", field="budget")
    folder = campaign is not None and Path(campaign).is_dir()
    for option, column in (("--treatment", treatment), ("--outcome", outcome)):
        if campaign is not None and not folder and column is None:
            raise InvalidValue(
                f"{option} is missing.", remedy=f"Name the column: {option} COLUMN.", field=option.strip("-")
            )
        if campaign is None and column is not None:
            raise InvalidValue(
                f"{option} goes with --campaign.", remedy="Add --campaign FILE.", field=option.strip("-")
            )
    for option, path in (("--save", save), ("--plot", plot)):
        if path is not None and (campaign is None or folder):
            raise InvalidValue(f"{option} goes with --campaign FILE.", remedy="Leave it out.", field=option.strip("-"))
    if save is not None and save.exists() and (not save.is_dir() or any(save.iterdir())):
        raise InvalidValue(f"--save {save} is not an empty folder.", remedy="Name a new one.", field="save")
    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        raise InvalidValue(f"--plot {plot} is SVG or PNG.", remedy="Let it end in .svg or .png.", field="plot")
    if plot is not None and not plot.absolute().parent.is_dir():
        raise InvalidValue(f"{plot} cannot be written.", remedy="Name a file in a folder that exists.", field="plot")


def _uplift(
    campaign: str | None,
    treatment: str | None,
    outcome: str | None,
    treated: str | None,
    positive: str | None,
    wanted: bool,
    entity: str | None,
) -> tuple[Learned | None, UpliftModel | None]:
    """What a past campaign tells, learned now or before."""
    if campaign is None:
        return None, None
    from features.reading import read_table
    from models.churn.uplift.campaign import read_campaign
    from models.churn.uplift.learner import learn
    from models.churn.uplift.model import UpliftModel

    if Path(campaign).is_dir():
        return None, UpliftModel.load(Path(campaign))
    frame = read_table(campaign)
    frame.columns = [str(column).strip() for column in frame.columns]
    past = read_campaign(
        frame,
        treatment=str(treatment),
        outcome=str(outcome),
        treated=treated,
        positive=positive,
        wanted=wanted,
        entity=entity if entity in frame.columns else None,
    )
    learned = learn(past)
    return learned, learned.model


def _customers(
    settings: Settings,
    data: str | None,
    entity: str | None,
    revenue: str | None,
    value: str | None,
    months: float,
    name: str | None,
) -> tuple[Customers, Doubt | None, str]:
    """Whom to plan for, how far their probabilities may be off together, and where they come from."""
    from features.reading import read_table
    from models.churn.retention.doubt import doubt
    from models.churn.retention.from_file import customers_of, is_scored, scored_customers

    worth = {"revenue": revenue, "value": value, "months": months}
    if data is not None:
        frame = read_table(data)
        frame.columns = [str(column).strip() for column in frame.columns]
        if is_scored(frame):
            found = scored_customers(frame, entity=entity, otherwise=settings.offer_value, **worth)  # type: ignore[arg-type]  # a mapping of options
            return found, None, f"scores in {data}"
        chosen, number, model = churn_champion(settings, name)
    else:
        chosen, number, model = churn_champion(settings, name, own_first=False)
        frame, entity = _published(settings, chosen), "customer_id"
    found = customers_of(model, frame, entity=entity, **worth)  # type: ignore[arg-type]  # as above
    return found, doubt(model), f"{chosen} v{number}"


def _published(settings: Settings, view: str) -> pd.DataFrame:
    import pandas as pd

    from store.feature_rows import entities, lookup

    ids = entities(settings, view, limit=10_000_000)
    if not ids:
        raise NoChampion(
            f"No customers' features are published under {view!r}.",
            remedy="Run `merit train churn`, or bring customers with --data FILE.",
        )
    found = lookup(settings, view, ids)
    return pd.DataFrame([{"customer_id": one, **found[one]} for one in ids if one in found])


def _with_effect(customers: Customers, uplift: UpliftModel) -> Customers:
    from dataclasses import replace

    return replace(customers, uplift=uplift.effect(customers.frame))


def _keep(uplift: UpliftModel | None, learned: Learned | None, save: Path | None, plot: Path | None) -> None:
    if uplift is not None and save is not None:
        uplift.save(save)
    if learned is not None and plot is not None:
        from models.churn.uplift.plots import qini_plot

        plot.write_bytes(qini_plot(learned.rankings, "png" if plot.suffix.lower() == ".png" else "svg"))


def _finish_campaign(
    uplift: UpliftModel,
    learned: Learned | None,
    data: str | None,
    entity: str | None,
    save: Path | None,
    plot: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """The judgement of a campaign without a plan; with --data also the effect expected on every customer."""
    effects = _effects(uplift, data, entity) if data else None
    if out is not None and effects is None:
        raise InvalidValue(
            "--out has nothing to write: there are no customers and no offers.",
            remedy="Add --data FILE for the effect on each customer, or --offers FILE for a plan.",
            field="out",
        )
    _keep(uplift, learned, save, plot)
    if out is not None and effects is not None:
        write_frame(effects, out)
    body: Mapping[str, Any] = dict(uplift.facts)
    if as_json:
        extra = {} if effects is None or out else {"effects": effects.to_dict("records")}
        dump({**body, **extra, **({"out": str(out)} if out else {})})
        return
    show_campaign(body)
    if effects is not None and out is None:
        show_frame(effects.head(SHOWN), as_json=False)
    for label, path in (("Effects", out), ("Qini curve", plot), ("Model", save)):
        if path is not None:
            errors.print(f"{label} → {path}", style="dim", highlight=False, markup=False)


def _effects(uplift: UpliftModel, data: str, entity: str | None) -> pd.DataFrame:
    import pandas as pd

    from features.reading import read_table
    from models.churn.encoding import missing_columns

    frame = read_table(data)
    frame.columns = [str(column).strip() for column in frame.columns]
    if entity is not None and entity not in frame.columns:
        raise missing_columns([entity])
    names = frame[entity] if entity else pd.Series(range(1, len(frame) + 1))
    table = pd.DataFrame({entity or "row": names.to_numpy(), "effect": uplift.effect(frame)})
    return table.sort_values("effect", ascending=False, kind="stable").reset_index(drop=True)
