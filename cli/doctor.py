"""`merit doctor`: every setting, and whether what they point at works."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib import metadata
from typing import Any

import httpx
import sqlalchemy as sa
import typer

from cli.output import AsJson, dump, errors, screen, show
from store.errors import MeritError
from store.settings import Settings, load_settings

PACKAGES = ("prefect", "mlflow", "fastapi", "pandas", "scikit-learn", "catboost", "lightgbm", "xgboost-cpu", "prophet")


def doctor(as_json: AsJson = False) -> None:
    """Show every setting and check what it points at. Exits 1 when something that is needed does not work."""
    settings = load_settings()
    shown = [
        {
            "setting": f"MERIT_{name.upper()}",
            "value": str(getattr(settings, name)),
            "set": "environment" if name in settings.model_fields_set else "default",
            "meaning": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]
    checks = [
        _check("home is writable", lambda: _writable(settings)),
        _check("database", lambda: _database(settings)),
        _check("registry", lambda: _registry(settings)),
        _check("Prefect server", lambda: _server(settings.prefect_api_url, "/health"), needed=False),
    ]
    versions = {name: _version(name) for name in ("meritorder", *PACKAGES)}
    unknown = sorted(name for name in os.environ if name.startswith("MERIT_") and name not in known_variables())
    for name in unknown:
        errors.print(f"{name} is set, but there is no such setting.", style="yellow", highlight=False)
    failed = any(not one["ok"] for one in checks if one["needed"])
    if as_json:
        dump({"python": platform.python_version(), "packages": versions, "settings": shown, "checks": checks})
    else:
        show(shown, ["setting", "value", "set", "meaning"], as_json=False, title="Settings")
        screen.print()
        rows = [{**one, "ok": "ok" if one["ok"] else ("FAILED" if one["needed"] else "not there")} for one in checks]
        show(rows, ["check", "ok", "detail"], as_json=False, title="Checks")
        screen.print()
        screen.print(
            f"Python {platform.python_version()}, " + ", ".join(f"{n} {v}" for n, v in versions.items()), style="dim"
        )
    if failed:
        raise typer.Exit(1)


def known_variables() -> set[str]:
    """Environment variables that mean something here."""
    return {f"MERIT_{name.upper()}" for name in Settings.model_fields} | {"MERIT_ACTOR", "MERIT_API_KEY"}


def _check(name: str, test: Callable[[], str], *, needed: bool = True) -> dict[str, Any]:
    try:
        return {"check": name, "ok": True, "needed": needed, "detail": test()}
    except MeritError as error:
        return {"check": name, "ok": False, "needed": needed, "detail": str(error)}
    except (OSError, sa.exc.SQLAlchemyError, httpx.HTTPError) as error:
        return {"check": name, "ok": False, "needed": needed, "detail": f"{type(error).__name__}: {error}"}


def _writable(settings: Settings) -> str:
    probe = settings.root / ".probe"
    probe.write_text("")
    probe.unlink()
    return str(settings.root)


def _database(settings: Settings) -> str:
    from store.database import engine, migrate

    migrate(settings)
    made = engine(settings)
    with made.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    return made.url.render_as_string(hide_password=True)


def _registry(settings: Settings) -> str:
    from store.registry import Registry

    models = Registry(settings).models()
    return f"{len(models)} models at {_hidden(settings.resolved_mlflow_uri)}"


def _server(url: str | None, path: str) -> str:
    if not url:
        return "MERIT_PREFECT_API_URL is not set: flows run in process (`merit up` starts a server)"
    httpx.get(url.rstrip("/") + path, timeout=3).raise_for_status()
    return url


def _hidden(uri: str) -> str:
    try:
        return sa.make_url(uri).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return uri


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
