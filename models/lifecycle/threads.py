"""Work on several threads whose results do not depend on how many there are."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], items: Iterable[T], threads: int) -> list[R]:
    """`[work(item) for item in items]`. The libraries release the interpreter lock while they calculate."""
    jobs = list(items)
    with one_blas_thread():
        if threads == 1 or len(jobs) < 2:
            return [work(job) for job in jobs]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, jobs))


_guard = threading.Lock()
_limits: list[Any] = []
_within = 0


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Linear algebra on one thread: sums in the same order on every machine.

    The limit is one of the process. Who leaves first would lift it for the others: the last one does.
    """
    global _within
    with _guard:
        # Each time anew: libraries may have been loaded since.
        _limits.append(one_thread_of("blas"))
        _within += 1
    try:
        yield
    finally:
        with _guard:
            _within -= 1
            while not _within and _limits:
                _limits.pop().restore_original_limits()


def one_thread_of(libraries: Literal["blas", "openmp"]) -> Any:
    """A limit of this process, as a context, for what is loaded now."""
    from threadpoolctl import ThreadpoolController

    return _controller(ThreadpoolController, tuple(sys.modules)).limit(limits=1, user_api=libraries)


@functools.lru_cache(1)
def _controller(look: Callable[[], Any], _imported: tuple[str, ...]) -> Any:
    """What limits the libraries in C. Looking for them takes milliseconds; more come with an import alone."""
    return look()
