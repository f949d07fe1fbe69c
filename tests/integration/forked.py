"""Processes that begin where another one has imported everything: there seconds before an interpreter of its own.

What a process imports, and that it can, is shown by those that tests start with `sys.executable`.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

# Forked from a process without threads, which does nothing else.
_CONTEXT = multiprocessing.get_context("forkserver")
_STORES = ("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store", "psycopg")
_CONTEXT.set_forkserver_preload(["uvicorn", "serving.app", "serving.gateway_app", *_STORES, "skops.io", "catboost"])

_BEGIN = """
import os
with open(log, "ab") as output:
    for number in (1, 2):
        os.dup2(output.fileno(), number)
os.environ.clear()
os.environ.update(variables)
exec(program, given)
"""

# As `python -m module arguments…` would.
MODULE = """
import runpy, sys
sys.argv[1:] = arguments
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def stop_forking() -> None:
    """End the process that others are forked off. By itself it goes a second after this one has gone."""
    forkserver._forkserver._stop()


class Forked:
    """A program in a process of its own, with what tests use of `subprocess.Popen`.

    Parameters
    ----------
    program : source.
    variables : of its environment, all of them.
    log : file that gets what it prints.
    given : names that it finds.
    """

    def __init__(self, program: str, variables: Mapping[str, str], log: Path, **given: Any) -> None:
        names = {"program": program, "variables": dict(variables), "log": str(log), "given": given}
        self._process = _CONTEXT.Process(target=exec, args=(_BEGIN, names))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()
