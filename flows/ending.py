"""How a flow run ends: with words for lists of runs, and with its result for whoever called the flow."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from prefect.exceptions import MissingResult
from prefect.states import Completed

Result = TypeVar("Result")

_results: ContextVar[list[Any] | None] = ContextVar("results_of_flows", default=None)


def ended(message: str, result: Result) -> Result:
    """End a flow run with `message` on its state: what a flow returns.

    Prefect takes the state apart again: whoever called the flow gets what is typed here.
    """
    if (kept := _results.get()) is not None:
        kept.append(result)
    return cast(Result, Completed(message=message, data=result))


def result_of(flow: Callable[..., Result], /, *given: Any, **parameters: Any) -> Result:
    """Call a flow that ends with `ended`, in this process.

    A server that is slow to answer the last word of a run is asked again, says then that it knows, and Prefect takes
    the state of the server, which holds no result. The one from here is returned.
    """
    kept: list[Any] = []
    token = _results.set(kept)
    try:
        return flow(*given, **parameters)
    except MissingResult:
        if not kept:
            raise
        return cast(Result, kept[-1])
    finally:
        _results.reset(token)
