"""The same pure function over many series, in this process or in several; the result does not depend on which."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]  # (series done, series in all)

_WORTH_A_PROCESS = 8  # series below which starting processes costs more than it saves


def map_series(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int, progress: Progress | None = None
) -> list[Result]:
    """`[function(item) for item in items]`, with up to `threads` processes.

    Parameters
    ----------
    function : picklable (a module's function or a partial of one).
    progress : called after every series.
    """
    results: list[Result] = []
    for result in _results(function, items, threads):
        results.append(result)
        if progress:
            progress(len(results), len(items))
    return results


def _results(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    if threads <= 1 or len(items) < _WORTH_A_PROCESS:
        for item in items:
            yield function(item)
        return
    from joblib import Parallel, delayed

    size = max(1, min(16, len(items) // (threads * 8)))
    work = Parallel(n_jobs=threads, backend="loky", return_as="generator", batch_size=size, pre_dispatch="2*n_jobs")
    with warnings.catch_warnings():
        # A worker that has grown is replaced between two series; nothing is lost.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
        yield from work(delayed(function)(item) for item in items)
