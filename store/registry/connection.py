"""The way to MLflow: quiet, with the store initialised once, and its errors in our words."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from store.errors import RegistryError, ServiceUnavailable, SettingsError
from store.locks import file_lock
from store.settings import Settings

# Read by MLflow when it is imported. What the user sets wins.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # MLflow's defaults (7 retries of 120 s) hang for minutes on a server that is gone.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
Answer = TypeVar("Answer")
_ready: set[str] = set()
_guard = threading.Lock()


def mlflow() -> Any:
    """The library, imported at first use (1 s) and silenced."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow as library

    return library


def tracking_uri(settings: Settings) -> str:
    """The URI as MLflow takes it: drivers spelled out, writers of SQLite waiting for each other."""
    uri = settings.resolved_mlflow_uri
    if uri.startswith(("http://", "https://", "databricks")):
        return uri
    try:
        url = sa.make_url(uri)
    except sa.exc.ArgumentError:
        raise SettingsError(
            "MERIT_MLFLOW_URI is not an MLflow tracking URI.",
            remedy="Use sqlite:////path/to/mlflow.db, postgresql://user:password@host/database or http://host:port.",
            field="MERIT_MLFLOW_URI",
        ) from None
    kind = url.get_backend_name() if "+" not in url.drivername else url.drivername.partition("+")[0]
    if kind == "sqlite":
        return url.update_query_dict({"timeout": "30"}).render_as_string(hide_password=False)
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    raise SettingsError(
        f"MERIT_MLFLOW_URI names the store {kind!r}; SQLite, Postgres and http servers are supported.",
        remedy="Use sqlite:////path/to/mlflow.db, postgresql://user:password@host/database or http://host:port.",
        field="MERIT_MLFLOW_URI",
        value=kind,
    )


def client(settings: Settings) -> Any:
    """An `MlflowClient` on an initialised store.

    Raises
    ------
    ServiceUnavailable : the server or database does not answer.
    """
    library = mlflow()
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
    # A server that is gone is told of by our error, once, not by every attempt to reach it.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    uri = tracking_uri(settings)
    if uri.startswith("http"):
        return library.MlflowClient(tracking_uri=uri, registry_uri=uri)
    with _guard:
        if uri in _ready:
            return library.MlflowClient(tracking_uri=uri, registry_uri=uri)
        # The first use of a store makes its tables, and MLflow lets two processes do so at once.
        with file_lock(settings.root / "locks" / "mlflow.lock", timeout=180), translated(settings):
            _prepare_sqlite(uri)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's migrations are not for our users to mend
                made = library.MlflowClient(tracking_uri=uri, registry_uri=uri)
                made.search_experiments(max_results=1)
                made.search_registered_models(max_results=1)
        _ready.add(uri)
    return made


def close_client(made: Any) -> None:
    """Close the connections of a client that speaks to a database; a server's are closed by themselves."""
    for store in (made._tracking_client.store, made._get_registry_client().store):
        if (engine := getattr(store, "engine", None)) is not None:
            engine.dispose()


def sqlite_file(uri: str) -> Path | None:
    """The file of a store on SQLite."""
    if uri.startswith(("http://", "https://", "databricks")):
        return None
    url = sa.make_url(uri)
    return Path(url.database).absolute() if url.get_backend_name() == "sqlite" and url.database else None


def _prepare_sqlite(uri: str) -> None:
    path = sqlite_file(uri)
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Kept in the file: those who read the registry no longer wait for those who write to it.
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


@contextmanager
def resolving(settings: Settings) -> Iterator[None]:
    """Let MLflow's process-wide tracking URI be ours for a moment.

    Its SQL store looks `models:/` addresses up there, whatever the client was made with. Everything is put back: the
    URI may hold a password, and MLflow exports it to child processes.
    """
    library = mlflow()
    with _guard:
        before = os.environ.get("MLFLOW_TRACKING_URI")
        library.set_tracking_uri(tracking_uri(settings))
        try:
            yield
        finally:
            library.set_tracking_uri(None)
            if before is not None:
                os.environ["MLFLOW_TRACKING_URI"] = before


@contextmanager
def translated(settings: Settings) -> Iterator[None]:
    """MLflow's exceptions as ours.

    Raises
    ------
    ServiceUnavailable : the server or database does not answer.
    RegistryError : everything else that MLflow refuses.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise as_ours(error, settings) from error


def once_more(settings: Settings, call: Callable[[], Answer]) -> Answer:
    """Ask MLflow, and ask again where somebody else made or removed the same row at that moment.

    It looks whether a row is there, then adds or changes it, and does not expect others to do so in between; the second
    time it finds what they left.
    """
    try:
        with translated(settings):
            return call()
    except RegistryError as error:
        if not any(sign in str(error).lower() for sign in ("unique constraint", "0 were matched")):
            raise
    with translated(settings):
        return call()


def as_ours(error: Exception, settings: Settings) -> RegistryError | ServiceUnavailable:
    """One of MLflow's exceptions in our words, without passwords."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    uri = settings.resolved_mlflow_uri
    shown = sa.make_url(uri).render_as_string(hide_password=True) if "://" in uri else uri
    text = text.replace(uri, shown)
    code = getattr(error, "error_code", "")
    if code == "TEMPORARILY_UNAVAILABLE" or "failed with exception" in text or "Max retries exceeded" in text:
        return ServiceUnavailable(
            f"MLflow at {shown} does not answer: {text}",
            remedy="Start it with `merit up`, or correct MERIT_MLFLOW_URI.",
        )
    remedy = "See `merit registry list` for what there is."
    if "out-of-date database schema" in text:
        remedy = "Make a copy of the database, then run `mlflow db upgrade` on it."
    return RegistryError(f"MLflow: {text}", remedy=remedy)


def missing(error: Exception) -> bool:
    """Whether MLflow says that something asked for does not exist."""
    code = getattr(error, "error_code", "")
    return code == "RESOURCE_DOES_NOT_EXIST" or (code == "INVALID_PARAMETER_VALUE" and "alias" in str(error).lower())
