"""`merit registry`: what is champion, what was, and moving it by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import AsJson, cell, dump, screen, show
from cli.session import actor
from store.errors import InvalidValue, UnknownVersion
from store.settings import Settings, load_settings

app = typer.Typer(help="List models, show versions, promote and roll back.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the registered model.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why; stands in the promotion ledger.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Every model with its champion."""
    from store.registry import Registry

    rows = []
    registry = Registry(load_settings())
    for model in registry.models():
        version = model.aliases.get("champion")
        champion = registry.version(model.name, version) if version is not None else None
        rows.append(
            {
                "model": model.name,
                "family": champion.tags.get("family") if champion else None,
                "champion": version,
                "candidate": champion.tags.get("candidate") if champion else None,
                "newest": model.latest,
                "trained": champion.created_at if champion else None,
            }
        )
    show(rows, ["model", "family", "champion", "candidate", "newest", "trained"], as_json=as_json)


@app.command("show")
def show_model(name: Name, as_json: AsJson = False) -> None:
    """The versions of one model, newest first."""
    from store.registry import Registry

    versions = Registry(load_settings()).versions(name)
    rows = [
        {
            "version": one.version,
            "aliases": list(one.aliases),
            "candidate": one.tags.get("candidate"),
            "verdict": one.tags.get("verdict"),
            "created": one.created_at,
            "dataset": one.tags.get("dataset_digest"),
            "commit": one.tags.get("git_commit"),
            "run": one.run_id,
        }
        for one in versions
    ]
    if not as_json:
        # Digests are told apart by their first digits; the whole ones are in --json.
        rows = [
            {
                **row,
                "created": cell(row["created"])[:16],
                **{key: str(row[key] or "")[:8] for key in ("dataset", "commit", "run")},
            }
            for row in rows
        ]
    columns = ["version", "aliases", "candidate", "verdict", "created", "dataset", "commit", "run"]
    show(rows, columns, as_json=as_json, title=name)


@app.command("card")
def card(
    name: Name,
    version: Annotated[int | None, typer.Argument(help="(default: the champion, else the newest)", min=1)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file. (default: NAME-vVERSION.html)", dir_okay=False)
    ] = None,
) -> None:
    """Write the card of a version: one HTML page that explains it to anybody, without internet."""
    from store.registry import Registry

    registry = Registry(load_settings())
    model = registry.model(name)
    number = version or model.aliases.get("champion") or model.latest
    if number is None:
        raise UnknownVersion(f"{name!r} has no version.", remedy="Train it first: `merit train`.", field="version")
    path = out or Path(f"{name}-v{number}.html")
    if path.suffix.lower() not in (".html", ".htm"):
        raise InvalidValue(f"--out {path} is no page.", remedy="Name a file that ends in .html.", field="out")
    if not path.absolute().parent.is_dir():
        raise InvalidValue(f"{path} cannot be written.", remedy="Name a file in a folder that exists.", field="out")
    path.write_text(registry.card(name, number), encoding="utf-8")
    screen.print(f"Card of {name} v{number} in {path}", highlight=False, markup=False, soft_wrap=True)


@app.command("promote")
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(help="Version to make champion.", min=1)],
    reason: Reason = "promoted by hand",
    as_json: AsJson = False,
) -> None:
    """Make a version champion by hand; the API follows within seconds."""
    from store.promotions import promote as move
    from store.registry import Registry

    settings = load_settings()
    registry = Registry(settings)
    moved = move(
        settings,
        registry,
        name,
        version,
        expected=registry.alias(name, "champion"),
        actor=actor(),
        reason=reason,
    )
    _say(settings, moved.name, moved.from_version, moved.to_version, as_json=as_json)


@app.command("rollback")
def rollback(
    name: Name,
    to: Annotated[int | None, typer.Option(help="Version to go back to. (default: the one before)", min=1)] = None,
    reason: Reason = "rolled back by hand",
    as_json: AsJson = False,
) -> None:
    """Return to the champion before this one; needs neither training code nor a model that loads.

    Again, it goes farther back: never to a version that was itself rolled back from.
    """
    from store.promotions import rollback as back
    from store.registry import Registry

    settings = load_settings()
    moved = back(settings, Registry(settings), name, actor=actor(), reason=reason, to=to)
    _say(settings, moved.name, moved.from_version, moved.to_version, as_json=as_json)


@app.command("history")
def history(name: Name, as_json: AsJson = False) -> None:
    """Who promoted what, when and why: the promotion ledger, newest first."""
    from store.promotions import history as ledger
    from store.registry import Registry

    settings = load_settings()
    lines = list(reversed(ledger(settings, name)))
    rows = [one.to_dict() for one in lines]
    if not rows:
        Registry(settings).model(name)  # one that nobody knows is an error, one without history is not
    if as_json:
        dump(rows)
        return
    for one in lines:
        moved = f"{one.from_version or 'none'} → {one.to_version or 'none'}"
        state = "" if one.state == "done" else f", {one.state}"
        screen.print(
            f"{cell(one.created_at)}  {one.kind}{state}  {moved}  by {one.actor}", style="bold", highlight=False
        )
        screen.print(f"  {one.detail or one.reason}", highlight=False, markup=False)


def _say(settings: Settings, name: str, before: int | None, after: int | None, *, as_json: bool) -> None:
    if as_json:
        dump({"model": name, "from": before, "to": after})
        return
    screen.print(f"{name}: champion is now version {after} (was {before if before else 'none'}).", highlight=False)
    screen.print(f"A running API follows within {settings.watch_seconds + 1:.0f} s.", style="dim")
