"""Threads that calculate: results in order, and the limit on linear algebra as long as anybody relies on it."""

from __future__ import annotations

import sys
import threading
from types import ModuleType

import numpy as np
import pytest
import threadpoolctl
from threadpoolctl import threadpool_info, threadpool_limits

from models.lifecycle.threads import one_blas_thread, one_thread_of, side_by_side


def blas_threads() -> set[int]:
    np.eye(2) @ np.eye(2)  # loaded in any case
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_results_come_in_order_and_work_goes_on_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=30)  # broken, were one to wait for the other

    def work(number: int) -> int:
        if number < 2:
            both.wait()
        return number**2

    assert side_by_side(work, range(5), 2) == [0, 1, 4, 9, 16]
    assert side_by_side(lambda number: number, (4, 3), 1) == [4, 3]


def test_who_leaves_first_does_not_lift_the_limit_for_the_others() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == before == {2}


def test_libraries_are_looked_for_again_once_something_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[threadpoolctl.ThreadpoolController] = []

    class Looking(threadpoolctl.ThreadpoolController):
        def __init__(self) -> None:
            super().__init__()
            looked.append(self)

    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", Looking)
    monkeypatch.setitem(sys.modules, "imported_first", ModuleType("imported_first"))
    for _ in range(3):
        with one_blas_thread(), one_thread_of("openmp"):
            assert len(looked) == 1
    monkeypatch.setitem(sys.modules, "imported_later", ModuleType("imported_later"))
    with one_blas_thread():
        assert len(looked) == 2
