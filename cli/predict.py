"""`merit predict`: the champion's answers for a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.champion import churn_champion
from cli.files import check_writable, write_frame
from cli.output import AsJson, dump, errors, screen, show_frame, steps
from cli.session import prepared

app = typer.Typer(help="Score a file with the champion.", no_args_is_help=True)


@app.command("churn")
def churn(
    data: Annotated[str, typer.Option("--data", help="CSV or Parquet file, or database URL.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write .csv, .parquet or .json; without it, print.", dir_okay=False)
    ] = None,
    entity: Annotated[str | None, typer.Option(help="Column with the customer's id. (default: as trained)")] = None,
    name: Annotated[
        str | None, typer.Option(help="Registered model. (default: churn-own where it has a champion, else churn)")
    ] = None,
    version: Annotated[int | None, typer.Option(help="A version instead of the champion.", min=1)] = None,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="Add what speaks for leaving and against it, in words.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Churn probability and band for every row: entity, probability, band; with --reasons also why, in words."""
    from features.reading import read_table
    from models.churn.from_file import ignored_columns, score_frame
    from models.churn.reasons.explanation import NOTE, explain

    check_writable(out)
    settings = prepared()
    with steps() as report:
        report("load the model", 0, 3)
        chosen, number, model = churn_champion(settings, name, version)
        report("read", 1, 3)
        frame = read_table(data)
        frame.columns = [str(column).strip() for column in frame.columns]
        report("score", 2, 3)
        scores = score_frame(model, frame, entity)
        if reasons:
            told = explain(model, frame)
            scores["reasons"] = ["; ".join(one.text for one in each.raises) for each in told]
            scores["reasons_against"] = ["; ".join(one.text for one in each.lowers) for each in told]
    unnamed = int(scores.iloc[:, 0].isna().sum())
    if unnamed:
        line = f"{scores.columns[0]} is missing in {unnamed} of {len(scores)} rows; they are scored all the same."
        errors.print(line, style="yellow", highlight=False, markup=False)
    ignored = ignored_columns(model, frame, entity)
    if ignored:
        more = f" and {len(ignored) - 8} more" if len(ignored) > 8 else ""
        line = f"Not read by the model: {', '.join(ignored[:8])}{more}."
        errors.print(line, style="dim", highlight=False, markup=False)
    counts = scores["band"].value_counts()
    bands = {band: int(counts.get(band, 0)) for band in ("low", "medium", "high")}
    summary = {
        "model": chosen,
        "version": number,
        "rows": len(scores),
        "mean_probability": float(scores["probability"].mean()),
        "bands": bands,
    }
    if out:
        write_frame(scores, out)
    if as_json:
        dump({**summary, "out": str(out)} if out else {**summary, "scores": scores.to_dict("records")})
        return
    if out is None:
        show_frame(scores, as_json=False)
    said = ", ".join(f"{count} {band}" for band, count in bands.items())
    where = f" → {out}" if out else ""
    if reasons:
        screen.print(NOTE, style="dim", highlight=False, markup=False)
    screen.print(f"{chosen} v{number}: {len(scores)} rows, {said}{where}", highlight=False, markup=False)
