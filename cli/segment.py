"""`merit segment`: segments and lifetime value for a list of purchases, with nothing set up and no server running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.files import check_writable, write_frame, write_json
from cli.output import AsJson, dump, errors, screen, show, steps
from cli.session import actor, prepared
from store.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd


def segment(
    data: Annotated[str, typer.Option("--data", help="CSV or Parquet file, or database URL.", show_default=False)],
    entity: Annotated[str, typer.Option(help="Column with the customer's id.", show_default=False)],
    time: Annotated[str, typer.Option(help="Column with the date of the purchase.", show_default=False)],
    amount: Annotated[str, typer.Option(help="Column with the amount; negative ones are returns.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write .csv, .parquet or .json, a row per customer.", dir_okay=False)
    ] = None,
    k: Annotated[
        int | None,
        typer.Option("--k", help="Number of segments. (default: by stability, silhouette and BIC)", min=2, max=30),
    ] = None,
    horizon_days: Annotated[
        int | None,
        typer.Option(
            help="Days in which purchases are expected, and by which segments are judged. (default: 90, or a third of "
            "a shorter history)",
            min=1,
        ),
    ] = None,
    value_days: Annotated[int, typer.Option(help="Days ahead that the value adds up.", min=30, max=36500)] = 365,
    discount: Annotated[
        float, typer.Option(help="Share by which money a year away is worth less.", min=0, max=10)
    ] = 0.1,
    margin: Annotated[float, typer.Option(help="Share of the amount that counts as value.", min=0, max=1)] = 1.0,
    name: Annotated[str, typer.Option(help="Registered model to compete for.")] = "segmentation-own",
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Write how the number of segments was chosen, as .png.", dir_okay=False),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as JSON.", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Divide the customers of a file into segments and value each: entity, segment, name, expected purchases, P(alive),
    value.

    Trained through the gate like any model: segments keep their ids from one file to the next.
    """
    check_writable(out)
    _check_ending(plot, ".png", "plot")
    _check_ending(report, ".json", "report")
    from models.families import Spec

    name = Spec("segmentation", name).name
    settings = prepared()
    from models.lifecycle.gate import GatePolicy
    from models.lifecycle.registration import summary
    from models.lifecycle.training import train
    from models.segmentation.from_file import prepare, score_present

    with steps() as progress:
        progress("read", 0, 1)
        made = prepare(
            data, settings.root / "datasets", entity=entity, time=time, amount=amount, horizon_days=horizon_days
        )
    for note in made.notes:
        errors.print(note, style="yellow", highlight=False, markup=False)
    options = {
        "seed": settings.seed,
        "k": k,
        "horizon_days": made.horizon_days,
        "value_days": value_days,
        "discount": discount,
        "margin": margin,
    }
    spec = Spec("segmentation", name, options)
    # A file with other periods asks another question than the champion answers: judged on its own merits.
    policy = GatePolicy(incomparable="promote")
    with steps() as progress:
        judgement, outcome = train(
            settings, spec, made.ref, actor=actor(), notes=made.notes, policy=policy, progress=progress
        )
    model: Any = spec.build().load(judgement.final)
    scores = score_present(model, made.ref, entity)
    version = outcome.registered.version
    body = summary(judgement)
    body["model"] |= {"version": version, "champion": outcome.champion, "run": outcome.registered.run_id}
    body |= {"verdict": outcome.verdict, "reason": outcome.reason, "segments": table_of(model, scores)}
    body |= {"customers": len(scores), "horizon_days": made.horizon_days, "value_days": value_days}
    body["value_model"] = model.value.to_dict()
    if out:
        write_frame(scores, out)
        body["out"] = str(out)
    if plot:
        _write_plot(judgement.challenger.load().plots, plot)
    if report:
        write_json(body, report)
    if as_json:
        dump(body if out else {**body, "scores": scores.to_dict("records")})
        return
    _tell(body, scores, model.value.notes, out)


def table_of(model: Any, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per segment, by id: customers, share, means over them, and what sets it apart."""
    rows = []
    for one in sorted(model.segments, key=lambda item: item.id):
        mine = scores[scores["segment"] == one.id]
        known = len(mine) > 0
        rows.append(
            {
                "segment": one.id,
                "name": one.name,
                "customers": len(mine),
                "share": len(mine) / len(scores),
                "mean_value": float(mine["value"].mean()) if known else None,
                "total_value": float(mine["value"].sum()),
                "expected_purchases": float(mine["expected_purchases"].mean()) if known else None,
                "p_alive": float(mine["p_alive"].mean()) if known else None,
                "description": one.wording.description,
            }
        )
    return rows


def _tell(body: Mapping[str, Any], scores: pd.DataFrame, notes: Sequence[str], out: Path | None) -> None:
    days = body["horizon_days"]
    for note in notes:
        errors.print(note, style="yellow", highlight=False, markup=False)
    shown = [
        {
            "segment": f"{row['segment']} {row['name']}",
            "customers": row["customers"],
            "share": f"{row['share']:.0%}",
            f"purchases in {days} d": _rounded(row["expected_purchases"], 2),
            "P(alive)": _rounded(row["p_alive"], 2),
            f"value, {body['value_days']} d": _rounded(row["mean_value"], 1),
        }
        for row in body["segments"]
    ]
    show(shown, list(shown[0]), as_json=False)
    screen.print()
    for row in body["segments"]:
        screen.print(f"{row['segment']}  {row['description']}", style="dim", highlight=False, markup=False)
    screen.print()
    screen.print(body["reason"], highlight=False, markup=False)
    model = body["model"]
    state = "is champion" if model["champion"] == model["version"] else "was registered and is not champion"
    where = f" → {out}" if out else ""
    line = f"{model['name']} v{model['version']} {state}. {len(scores)} customers{where}"
    screen.print(line, style="bold", highlight=False, markup=False)
    if out is None:
        screen.print("--out FILE.csv writes a row per customer.", style="dim", highlight=False)


def _rounded(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _write_plot(plots: Mapping[str, bytes], path: Path) -> None:
    # With a number that was given nothing was chosen: then the segments are shown.
    for name in ("choice_of_k.png", "segments.png"):
        if name in plots:
            partial = path.with_name(f".{path.name}.partial")
            try:
                partial.write_bytes(plots[name])
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
            return
    errors.print(f"There is a single segment: {path} was not written.", style="yellow", highlight=False)


def _check_ending(path: Path | None, ending: str, option: str) -> None:
    if path is None:
        return
    if path.suffix.lower() != ending:
        raise InvalidValue(f"--{option} {path} ends otherwise.", remedy=f"Name a file in {ending}.", field=option)
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise InvalidValue(f"{path} cannot be written.", remedy="Name a file in a folder that exists.", field=option)
