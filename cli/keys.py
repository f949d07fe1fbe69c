"""`merit keys`: API keys and their roles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from cli.output import AsJson, dump, screen, show
from cli.session import actor, prepared

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)


class Role(StrEnum):
    """What a key may do."""

    admin = "admin"
    analyst = "analyst"
    application = "application"


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.", show_default=False)],
    role: Annotated[Role, typer.Option(help="What the key may do.")] = Role.application,
    days: Annotated[int | None, typer.Option(help="Days until it expires; none: never.", min=1)] = None,
    workspace: Annotated[str | None, typer.Option(help="Bind it to a workspace; none: the whole platform.")] = None,
    project: Annotated[str | None, typer.Option(help="What its calls of the gateway count for.")] = None,
    rpm: Annotated[int | None, typer.Option(help="Requests a minute to the gateway.", min=1)] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens a minute to the gateway.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it once; only its hash is kept."""
    from store import audit
    from store.keys import create as make

    settings = prepared()
    expires = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=days) if days else None
    info, secret = make(
        settings,
        name,
        role.value,
        expires,
        workspace=workspace,
        project=project,
        requests_per_minute=rpm,
        tokens_per_minute=tpm,
    )
    told = {"id": info.id, "role": info.role, "expires_at": info.expires_at, "project": info.project}
    audit.write(settings, actor(), "admin", info.workspace, "key.create", info.name, after=told)
    if as_json:
        dump({"id": info.id, "name": info.name, "role": info.role, "workspace": info.workspace, "key": secret})
        return
    screen.print(secret, highlight=False)
    screen.print("Shown once. Send it as `Authorization: Bearer …`.", style="dim")


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Every key, without its secret."""
    from store.keys import list_keys as every

    rows = [
        {
            "id": one.id,
            "name": one.name,
            "role": one.role,
            "workspace": one.workspace,
            "created": one.created_at,
            "expires": one.expires_at,
            "revoked": one.revoked_at,
        }
        for one in every(prepared())
    ]
    show(rows, ["id", "name", "role", "workspace", "created", "expires", "revoked"], as_json=as_json)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `merit keys list` shows it.", show_default=False)],
) -> None:
    """Revoke a key; a running API refuses it within seconds."""
    from store import audit
    from store.keys import revoke as end

    settings = prepared()
    info = end(settings, key_id)
    audit.write(settings, actor(), "admin", info.workspace, "key.revoke", info.name, before={"id": info.id})
    screen.print(f"Key {info.name!r} ({info.id}) is revoked.", highlight=False)
