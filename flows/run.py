"""Running a flow in this process, against a server or without one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

from flows.environment import prefect_environment, using
from store.errors import InvalidValue, UnknownEntity
from store.settings import Settings

Progress = Callable[[str, int, int], None]

# Name of the flow and of its deployment → module and function. Imported when asked for: prefect takes a second.
FLOWS: Mapping[str, tuple[str, str]] = {
    "train-churn": ("flows.churn", "train_churn"),
    "train-forecasting": ("flows.forecasting", "train_forecasting"),
    "train-pricing": ("flows.pricing", "train_pricing"),
    "train-segmentation": ("flows.segmentation", "train_segmentation"),
    "train-routing": ("flows.policy", "train_routing"),
    "train-quality": ("flows.quality", "train_quality"),
    "train-spend": ("flows.spend", "train_spend"),
    "scorecard": ("flows.scorecard", "scorecard"),
    "propose-savings": ("flows.recommendations", "propose_savings"),
    "measure-savings": ("flows.recommendations", "measure_savings"),
    "watch-spend": ("flows.spend_watch", "watch_spend"),
    "finetune": ("flows.finetune", "finetune"),
    "measure-prices": ("flows.price_outcomes", "measure_prices"),
    "anomalies": ("flows.anomalies", "anomalies"),
    "backfill": ("flows.backfill", "backfill"),
    "monitor": ("flows.monitor", "monitor"),
    "score": ("flows.score", "score"),
}

_watching: ContextVar[Progress | None] = ContextVar("progress_of_flows", default=None)


def run_flow(
    settings: Settings,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    actor: str | None = None,
    progress: Progress | None = None,
) -> Any:
    """Run a flow here and return what it returns.

    It is a run of the server at `settings.prefect_api_url` and can be seen and retried there; without one Prefect
    starts a server on a free port, on the same database, that ends with this process.

    Parameters
    ----------
    name : a key of `FLOWS`.
    actor : who runs it, for the promotion ledger; by default the flow itself.
    progress : called with (what is being done, steps done, steps in all); Prefect itself then prints nothing.

    Raises
    ------
    UnknownEntity : there is no such flow.
    InvalidValue : a parameter is not one of the flow's or has the wrong type.
    """
    if name not in FLOWS:
        raise UnknownEntity(f"There is no flow {name!r}.", remedy=f"Choose one of {', '.join(FLOWS)}.", field="flow")
    quiet = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "50"} if progress else {}
    with prefect_here({**prefect_environment(settings), **quiet}, url=settings.prefect_api_url), using(settings):
        from prefect import tags
        from prefect.exceptions import ParameterBindError, ParameterTypeError

        from flows.ending import result_of

        module, function = FLOWS[name]
        flow = getattr(import_module(module), function)
        token = _watching.set(progress)
        try:
            kind = "training" if name.startswith("train-") or name == "backfill" else name
            with tags(kind, *([f"actor:{actor}"] if actor else [])):
                return result_of(flow, **dict(parameters or {}))
        except (ParameterBindError, ParameterTypeError) as error:
            raise InvalidValue(
                f"The parameters do not fit the flow {name}: {error}",
                remedy=f"It takes {', '.join(flow.parameters.properties)}.",
                field="parameters",
            ) from error
        finally:
            _watching.reset(token)


def watcher() -> Progress | None:
    """Who wants to know how far the flow is that runs in this context."""
    return _watching.get()


@contextmanager
def prefect_here(environment: Mapping[str, str], *, url: str | None) -> Iterator[None]:
    """Let Prefect in this process, and what it starts, see `environment`, whether or not it was imported before."""
    before = dict(os.environ)
    os.environ.update(environment)
    if url is None:
        # An address left in the shell belongs to somebody else's server.
        os.environ.pop("PREFECT_API_URL", None)
        # The server for this process alone tells on the console what nobody can act on.
        os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    try:
        from prefect.context import SettingsContext, get_settings_context
        from prefect.logging.configuration import setup_logging
        from prefect.settings import Settings as PrefectSettings

        with SettingsContext(profile=get_settings_context().profile, settings=PrefectSettings()):
            setup_logging()
            # Python prints an error that no handler takes; whoever runs the flow tells of it in its own words.
            for name in ("prefect.flow_runs", "prefect.task_runs"):
                logging.getLogger(name).addHandler(logging.NullHandler())
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
