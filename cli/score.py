"""`merit score`: every entity scored by the champion."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.files import check_writable, write_frame
from cli.output import AsJson, dump, errors, screen, show, steps
from cli.session import actor, prepared


def score(
    model: Annotated[str, typer.Argument(help="Registered model, such as churn.", show_default=False)],
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of",
            help="Score what was known at this moment, UTC. (default: the end of the data)",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
            metavar="YYYY-MM-DD",
        ),
    ] = None,
    version: Annotated[int | None, typer.Option(help="A version instead of the champion.", min=1)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write all scores as .csv, .parquet or .json.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score every entity with the champion: a row each in the database, and one Parquet file.

    Repeated for the same version and moment it changes nothing; interrupted, it goes on where it was.
    """
    from flows.run import run_flow
    from models.lifecycle.scoring import read_scores, scorer_of

    check_writable(out)
    settings = prepared()
    scorer_of(settings, model, version)  # what cannot score is told of before a server is started for it
    parameters = {"name": model, "as_of": as_of, "version": version}
    with steps() as report:
        scored = run_flow(settings, "score", parameters, actor=actor(), progress=report)
    if out:
        write_frame(read_scores(scored.uri).rename_axis("entity_id").reset_index(), out)
    if as_json:
        body = {name: getattr(scored, name) for name in ("model", "version", "as_of", "rows", "state", "digest")}
        dump({**body, "file": str(out or scored.uri), "labels": scored.labels, "notes": scored.notes})
        return
    for note in scored.notes:
        errors.print(note, style="yellow", highlight=False, markup=False)
    screen.print(scored.headline, highlight=False, markup=False)
    labels = [{**one, "share": f"{one['rows'] / scored.rows:.1%}"} for one in scored.labels]
    show(labels, ["label", "rows", "share", "mean_value", "total_value"], as_json=False)
    screen.print(f"Scores in {out or scored.uri}", style="dim", highlight=False, markup=False, soft_wrap=True)
